"""The page on objectives: its code runs, its numbers are true, every name is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from vibrissa.objectives import objectives, probe_kinds

TEXT = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text(encoding="utf-8")


def test_the_code_runs(capsys: pytest.CaptureFixture[str]):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 3
    found: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "objectives.md", "exec"), found)
    assert found["result"].loss.isfinite()
    said = re.search(r"print\(\s*found\s*\)  # (.*)", TEXT)
    assert said is not None
    assert said[1] in capsys.readouterr().out


@pytest.mark.parametrize("name", objectives)
def test_head_sizes_are_true(name: str):
    objective = objectives.get(name)().build(512, 22, 117, (22, 30, 5, 7), 100)
    count = sum(p.numel() for p in objective.parameters())
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
    assert (f"{count:,}" if count else "none") in row


def test_every_probe_is_explained():
    assert all(f"| `{name}` |" in TEXT for name in probe_kinds)
