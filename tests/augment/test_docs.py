"""The page on augmentation: its code runs, and every name in it is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from vibrissa.augment import augmentations, pipelines

TEXT = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text(encoding="utf-8")


def test_the_code_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 4
    found: dict[str, Any] = {}
    try:
        for block in blocks:
            exec(compile(block, "augmentation.md", "exec"), found)
    finally:
        augmentations._entries.pop("deaf_columns", None)
    assert found["view"].shape == found["x"].shape
    assert not torch.equal(found["view"], found["x"])


def test_every_name_is_explained():
    for name in (*pipelines, *augmentations):
        if name not in ("identity", "compose", "image_style"):
            assert f"`{name}`" in TEXT, name
