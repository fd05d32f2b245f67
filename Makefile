# Every target makes its own environment first; on a fresh machine `make demo` is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The CPU build of torch: it needs no CUDA packages. For another build: make TORCH='torch==2.13.0'.
TORCH ?= torch==2.13.0+cpu
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

# Processes that share the tests, a file each at a time.
TEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test slow check validate stress bench bench-data learning docs package clean

help:
	@echo "make demo      the whole path on a small default, report in demo/report.html"
	@echo "make test      the tests, warnings are errors"
	@echo "make slow      the long tests: 55 kills of a build, gradients, active whisking"
	@echo "make check     format, lint, types, import order"
	@echo "make validate  the simulation against theory and published numbers"
	@echo "make stress    10,000 random sweeps; OBJECTS=FOLDER adds your meshes"
	@echo "make bench     speed of the simulation"
	@echo "make bench-data  cost and memory of a data set, speed of its loader"
	@echo "make learning  a ConvRNN against a linear machine, SimCLR against random features"
	@echo "make package   wheel and source archive in dist/, without a network"
	@echo "make docs      the site of guide, tutorials and API, in out/site"
	@echo "make clean     remove what the targets made, .venv included"

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; run: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)" || \
	  $(BIN)/python -m pip install --quiet --index-url $(TORCH_CPU_INDEX) "$(firstword $(subst +, ,$(TORCH)))"
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	@touch $@

demo: $(STAMP)
	$(BIN)/vibrissa demo --out demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not cuda"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

validate: $(STAMP)
	$(BIN)/python benchmarks/validate.py

stress: $(STAMP)
	$(BIN)/python benchmarks/stress.py $(if $(OBJECTS),--objects $(OBJECTS)) --out out/stress.json

bench: $(STAMP)
	$(BIN)/python benchmarks/simulation.py

bench-data: $(STAMP)
	$(BIN)/python benchmarks/dataset.py cost
	$(BIN)/python benchmarks/dataset.py memory
	$(BIN)/python benchmarks/loader.py

learning: $(STAMP)
	$(BIN)/python benchmarks/learning.py --out out/learning

package: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --no-isolation

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean
	@echo "out/site/index.html"

clean:
	rm -rf $(VENV) demo out build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
