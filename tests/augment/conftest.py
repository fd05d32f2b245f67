"""Makes ``mirrored_world`` importable beside the tests, and keeps caches apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    """No test reads or writes the user's cache of distance fields; the tests here share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIBRISSA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
