"""A tiny run, trained for one epoch on drawn loads."""

import importlib.util
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def write_store(path, **options):
    """That of tests/data."""
    place = TESTS / "data" / "conftest.py"
    spec = importlib.util.spec_from_file_location("stores_of_tests", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_store(path, **options)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    from vibrissa.data import ByObject, Split

    made = write_store(tmp_path_factory.mktemp("store") / "set", objects=9, sweeps=3)
    made.save_split(Split.make("by_object", ByObject(), made.table))
    return made


@pytest.fixture(scope="session")
def run_folder(store, tmp_path_factory):
    pytest.importorskip("lightning")
    from vibrissa.train import TrainConfig, train
    from vibrissa.train.config import DataConfig

    out = tmp_path_factory.mktemp("run") / "run"
    config = TrainConfig(
        model="tiny:ugrnn+none+linear", epochs=1, data=DataConfig(batch_size=8), probe="none"
    )
    train(config, store, out=out)
    return out
