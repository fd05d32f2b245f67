"""The page on temporal networks: its code runs, its figures are there, its tables are complete."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vibrissa.tnn import GraphSpec, InputGate, Unrolled
from vibrissa.tnn.cells import cells
from vibrissa.tnn.modules import memory_modules
from vibrissa.tnn.peer_cells import CELLS
from vibrissa.tnn.unrolling import unroll

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tnn.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_the_code_of_the_page_runs(tmp_path):
    """In a process of its own: the page registers a cell."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pytest.importorskip("matplotlib")
    found = blocks("python")
    assert len(found) > 8
    script = tmp_path / "page.py"
    script.write_text("\n".join(found), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "8 @ 6x8" in done.stdout  # the table
    assert "did you mean 'ugrnn'" in done.stdout
    for name in ("graph.png", "graph.pt", "state.pt", "step.onnx"):
        assert (tmp_path / name).stat().st_size > 0


def test_the_yaml_of_the_page_is_the_graph_in_python(tmp_path):
    (text,) = blocks("yaml")
    spec = GraphSpec.from_tree(yaml.safe_load(text))
    scope: dict = {}
    exec(blocks("python")[0].split("graph = TemporalGraph")[0], scope)
    assert spec == scope["spec"]
    (tmp_path / "graph.yaml").write_text(text, encoding="utf-8")
    assert GraphSpec.from_file(tmp_path / "graph.yaml") == spec


def test_figures_are_there_and_small():
    names = re.findall(r"\]\(images/(\w+\.png)\)", TEXT)
    assert set(names) == {"tnn_graph.png", "tnn_unrolled.png"}
    for name in names:
        path = ROOT / "docs" / "images" / name
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert path.stat().st_size <= 300_000


def test_tables_name_everything():
    for name in (*cells.names(), *memory_modules.names()):
        assert f"`{name}`" in TEXT, name
    coming_from = TEXT[TEXT.index("## Coming from PyTorchTNN") :]
    for name in CELLS:
        assert f"`{name}`" in coming_from, name
    parameters = set(unroll.__annotations__) - {"graph", "inputs", "return"}
    table = TEXT[TEXT.index("| option of `unroll`") :].split("\n\n")[0]
    for name in parameters:
        assert f"`{name}`" in table, name
    assert "first_input_step" in Unrolled.__annotations__
    assert set(InputGate.__annotations__) == {"shown", "blank"}


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").strip().lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("http"):
            assert (PAGE.parent / target).exists(), target
