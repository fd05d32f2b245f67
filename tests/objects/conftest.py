"""Shared by the tests of the objects room."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def reference_objects() -> Path:
    """Folder of real meshes, class/name.ext; not part of the project."""
    given = os.environ.get("VIBRISSA_REFERENCE_DATA")
    root = Path(given) if given else Path(__file__).parents[3] / "shared" / "data"
    if not (root / "objects").is_dir():
        pytest.skip("reference meshes are absent; set VIBRISSA_REFERENCE_DATA")
    return root / "objects"
