"""The tutorials: each runs top to bottom without network, and what it shows is kept in its file."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.ipynb"))
NEEDS = {"own_encoder": "lightning", "own_recordings": "pynwb"}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def kinds(book: Any) -> list[list[tuple[str, ...]]]:
    """Of each cell the kinds of its outputs."""
    return [
        [(o.output_type, *sorted(o.get("data", {}))) for o in cell.get("outputs", ())]
        for cell in book.cells
    ]


def test_there_are_five() -> None:
    assert {path.stem for path in TUTORIALS} == {
        "first_sweep", "own_objects", "own_encoder", "own_recordings", "from_pytorchtnn",
    }  # fmt: skip


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_runs_top_to_bottom(path: Path, tmp_path: Path) -> None:
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    done = subprocess.run(
        [sys.executable, DOCS / "tutorials" / "execute.py", path.stem, "--out", tmp_path],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
             "VIBRISSA_CACHE": str(tmp_path / "cache"), "NO_PROXY": "*", "https_proxy": "nowhere"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    # What is kept in the file is what the cells give today.
    assert kinds(read(tmp_path / path.name)) == kinds(read(path))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_outputs_are_kept_and_small(path: Path) -> None:
    book = read(path)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    figures = [
        base64.b64decode(output.data["image/png"])
        for cell in code
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert figures
    assert max(map(len, figures)) < 200_000
    assert path.stat().st_size < 500_000
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/tmp/|/home/|it/s\]|Traceback", text)
    # A tutorial says in words what it shows: no code cell that draws stands at the end.
    assert book.cells[-1].cell_type == "markdown"
