"""Small stores for trainings of seconds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

# Stores of drawn loads, as the tests of the data room make them.
_source = Path(__file__).parents[1] / "data" / "conftest.py"
_spec = importlib.util.spec_from_file_location("stores_of_drawn_loads", _source)
assert _spec is not None
assert _spec.loader is not None
_stores = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _stores
_spec.loader.exec_module(_stores)


def write_split_store(path: Path, **settings: Any) -> Any:
    """A store with the splits ``by_object`` and ``by_class``."""
    from vibrissa.data import ByClass, ByObject, Split, SweepStore

    store = _stores.write_store(path, **settings)
    store.save_split(Split.make("by_object", ByObject(), store.table))
    store.save_split(Split.make("by_class", ByClass(), store.table))
    return SweepStore.open(path)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """24 objects of three classes, 4 sweeps each: 72 to train with."""
    return write_split_store(tmp_path_factory.mktemp("train") / "store", objects=24, sweeps=4)


@pytest.fixture(scope="session")
def make_split_store() -> Any:
    """See :func:`write_split_store`."""
    return write_split_store


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """The same rounding in this process and in those that tests start, also in what modules share.

    It comes before the other fixtures of a module, which train as well.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
