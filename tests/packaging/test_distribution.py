"""Wheel and source archive: built without a network, whole, and usable away from the source."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "vibrissa"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Uses every kind of data file through the code that reads it.
READS_ITS_DATA = """
import vibrissa, sys
from vibrissa.models import build
from vibrissa.report import Page
from vibrissa.study.grids import grid, grid_names
from vibrissa.tnn import published_graph, published_graphs
from vibrissa.train.recipe_files import recipe, recipe_names
assert vibrissa.__file__.startswith(sys.argv[1]), vibrissa.__file__
assert len(vibrissa.mouse_array()) == 30 and len(vibrissa.rat_array()) == 27
assert len(vibrissa.mouse_array(individual=1)) > 0
assert len(vibrissa.zoo()) >= 60
for name in grid_names():
    grid(name)
for name in recipe_names():
    recipe(name)
for name in published_graphs():
    published_graph(name)
for name in ("tiny:zhuang+none+linear", "tiny:resnet+none+linear"):
    build(name, n_classes=2, seed=0)
assert "--paper" in Page(title="t", lead="l", sections=[]).to_html()
print("sound")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the source archive and the wheel made from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def archive(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        yield {name.split("/", 1)[1] for name in opened.getnames() if "/" in name}


def below(folder):
    """Files of a folder that are no left-overs of a run, as paths from the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
        and path.suffix != ".pyc"
    }


def test_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("src/") for name in below(SOURCE)}
    assert "vibrissa/py.typed" in names
    suffixes = {Path(name).suffix for name in names}
    assert suffixes == {".py", ".csv", ".yaml", ".css", ".typed"}


def test_wheel_says_what_it_is(wheel):
    (name,) = (n for n in wheel.namelist() if n.endswith("/METADATA"))
    told = HeaderParser().parsestr(wheel.read(name).decode("utf-8"))
    assert told["Name"] == "vibrissa"
    assert told["Version"] == PROJECT["version"]
    assert told["License-Expression"] == "BSD-3-Clause"
    assert set(told.get_all("Provides-Extra") or ()) == set(PROJECT["optional-dependencies"])
    assert any(n.endswith("/licenses/LICENSE") for n in wheel.namelist())
    (entries,) = (n for n in wheel.namelist() if n.endswith("/entry_points.txt"))
    assert b"vibrissa = vibrissa.cli:main" in wheel.read(entries)


def test_archive_holds_what_the_tests_read(archive):
    for folder in ("src", "tests", "docs", "benchmarks", ".ci"):
        assert below(ROOT / folder) <= archive, folder
    for name in ("README.md", "LICENSE", "Makefile", "CHANGELOG.md", "CITATION.cff"):
        assert name in archive
    assert not {name for name in archive if name.startswith((".venv", ".git/", "demo/", "out/"))}


def test_the_unpacked_wheel_reads_its_data(wheel, tmp_path):
    wheel.extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READS_ITS_DATA, str(tmp_path / "site")],
        capture_output=True, text=True, cwd=tmp_path / "elsewhere",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "sound"


def test_version_stands_in_one_place():
    version = PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == version
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
    assert str(citation["date-released"]) == newest[2]


def test_citation_has_what_its_format_asks_for():
    """The required keys and the forms of the Citation File Format 1.2.0."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["license"]
    for entry in [citation, *citation["references"]]:
        for author in entry["authors"]:
            assert "name" in author or {"family-names", "given-names"} & set(author)
        assert re.fullmatch(r"10\.\d{4,}/\S+", entry.get("doi", "10.1234/x"))
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)


def test_python_versions_agree():
    minors = [
        int(c.rsplit(".", 1)[1])
        for c in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", c)
    ]
    assert PROJECT["requires-python"] == f">=3.{min(minors)}"
    assert minors == list(range(min(minors), max(minors) + 1))
