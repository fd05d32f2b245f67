"""The page on alignment: its code runs, its pictures are there, every measure is explained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vibrissa.cli import VERBS
from vibrissa.neural.measures import measures

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "alignment.md").read_text(encoding="utf-8")


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "alignment.md", "exec"), found)
    assert (tmp_path / "alignment.h5").exists()
    assert found["result"].models.iloc[0]["best_layer"] == "conv2"


def test_every_measure_and_picture_is_there() -> None:
    for name in measures.names():
        assert f"`{name}`" in TEXT, name
    for name in re.findall(r"\]\((images/[^)]+|[a-z]+\.md)\)", TEXT):
        assert (ROOT / "docs" / name).exists(), name
    verbs = {verb.name for verb in VERBS}
    for line in re.findall(r"^    vibrissa (.*)$", TEXT, re.MULTILINE):
        words = line.split()
        assert " ".join(words[:2]) in verbs or words[0] in verbs, line
