"""The code blocks of docs/models.md run, in order, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
BLOCKS = re.findall(r"```python(?: file=(\S+))?\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


def test_there_are_blocks():
    assert len(BLOCKS) >= 6


def test_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k, (file, text) in enumerate(BLOCKS):
        if file:
            Path(file).write_text(text)
            assert len(text.splitlines()) <= 20
        else:
            try:
                exec(compile(text, f"block {k} of {DOCS.name}", "exec"), {})
            except Exception as error:
                pytest.fail(f"block {k}: {type(error).__name__}: {error}\n{text}")
