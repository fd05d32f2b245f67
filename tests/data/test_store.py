"""The store: any way of reading gives the shards' own numbers."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_farm import read_one

from vibrissa.core.errors import InputError
from vibrissa.data.index import SHARDS, gather, write_index
from vibrissa.data.normalising import measured
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.shard import Shard
from vibrissa.data.splits import BySweep, Split
from vibrissa.data.store import SweepStore

OBJECTS, SWEEPS = 7, 4


@pytest.fixture(scope="module")
def store(make_store, tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store"), objects=OBJECTS, sweeps=SWEEPS)


@pytest.fixture(scope="module")
def everything(store):
    """(sweep, time, whisker, channel), read shard by shard in the order of their paths."""
    parts = []
    for path in sorted((store.path / SHARDS).rglob("*.h5")):
        with Shard(path) as shard:
            parts.append(shard.loads())
    return np.concatenate(parts)


def test_length_and_layout(store, everything):
    assert len(store) == OBJECTS * SWEEPS == len(everything)
    assert store.time == 110
    assert len(store.whiskers) == 30
    assert store.rate_hz == 110.0
    assert store.labels == ("ball", "cup", "fork")
    assert store.frames == ("base",)
    assert "28 sweeps of 7 objects in 3 classes" in repr(store)


@settings(max_examples=60, deadline=None)
@given(indices=st.lists(st.integers(-OBJECTS * SWEEPS, OBJECTS * SWEEPS - 1), max_size=12))
def test_any_list_of_indices(store, everything, indices):
    np.testing.assert_array_equal(store.loads(indices), everything[np.array(indices, dtype=int)])


def test_one_index_slice_and_mask(store, everything):
    np.testing.assert_array_equal(store.loads(5), everything[5])
    np.testing.assert_array_equal(store.loads(slice(3, 20, 4)), everything[3:20:4])
    mask = np.arange(len(store)) % 5 == 0
    np.testing.assert_array_equal(store.loads(mask), everything[mask])
    assert store.contact([3, 1]).shape == (2, 110, 30)
    assert store.contact(2).dtype == bool


def test_shards_go_through_all(store, everything):
    seen = []
    for indices, shard in store.shards():
        np.testing.assert_array_equal(shard.loads(), everything[indices])
        assert set(store.table["object"][indices]) == {shard.object}
        seen += indices.tolist()
    assert seen == list(range(len(store)))


@pytest.mark.parametrize("bad", [28, -29, [0, 28], 1.5, [[0]], "a"])
def test_bad_indices(store, bad):
    with pytest.raises(InputError, match="ind"):
        store.loads(bad)


def test_table_is_that_of_the_shards(store):
    table = store.table
    for row in range(len(store)):
        path = store.path / SHARDS / store.objects["path"][table["shard"][row]]
        with Shard(path) as shard:
            inside = int(table["row"][row])
            assert shard.names[inside] == table["sweep"][row]
            assert shard.object == table["object"][row]
            assert shard.label == table["label"][row] == store.labels[table["label_index"][row]]
            for name, value in shard.parameters[inside].items():
                assert table[name][row] == value
            assert table["peak_force_uN"][row] == shard.summary[inside, 1]
    assert store.objects["sweeps"].tolist() == [SWEEPS] * OBJECTS
    assert len(store.refusals) == 1


def test_query_and_where(store):
    table = store.table
    wanted = [
        k for k in range(len(store)) if table["label"][k] == "cup" and table["theta_deg"][k] > 50
    ]
    assert wanted
    assert store.query("label == 'cup' and theta_deg > 50").tolist() == wanted
    by_value = store.where(label="cup", distance_mm=5.0)
    assert by_value.tolist() == store.query("label == 'cup' and distance_mm == 5").tolist()
    both = store.where(label=("cup", "fork"))
    assert both.tolist() == store.query("label in ('cup', 'fork')").tolist()


def test_bad_queries(store):
    with pytest.raises(InputError, match="use the columns sweep, object, label"):
        store.query("no_such_column == 1")
    with pytest.raises(InputError, match="query"):
        store.query("label ==")
    with pytest.raises(InputError, match="no condition"):
        store.query("row")
    with pytest.raises(InputError, match="did you mean 'distance_mm'"):
        store.where(distance=5)


def test_xarray_has_names(store, everything):
    labelled = store.to_xarray([4, 9])
    assert labelled.dims == ("sweep", "time", "whisker", "channel")
    np.testing.assert_array_equal(
        labelled.sel(whisker="RC2", channel="My")[1], everything[9][:, 12, 4]
    )
    assert labelled.coords["label"].values.tolist() == store.table["label"][[4, 9]].tolist()
    assert labelled.attrs["units"]["Mx"] == "uN*mm"
    assert float(labelled.time[0]) == pytest.approx(1 / 110)


def test_many_threads_read_alike(store, everything):
    draws = np.random.default_rng(0)
    wanted = [draws.integers(0, len(store), 9) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for indices, found in zip(wanted, pool.map(store.loads, wanted), strict=True):
            np.testing.assert_array_equal(found, everything[indices])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_alike(store, everything, method):
    store.loads(0)  # with files open in this process
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(read_one, [(store, k) for k in range(8)])
    for k in range(8):
        np.testing.assert_array_equal(found[k], everything[k])


def test_pickled(store, everything):
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.loads([2, 8]), everything[[2, 8]])
    assert again.digest == store.digest


def test_an_index_is_not_needed(store, everything, tmp_path):
    import shutil

    shutil.copytree(store.path, tmp_path / "copy")
    (tmp_path / "copy" / "index.h5").unlink()
    without = SweepStore.open(tmp_path / "copy")
    assert without.table.equals(store.table)
    assert without.objects.equals(store.objects)
    assert without.refusals.equals(store.refusals)
    np.testing.assert_array_equal(without.loads(slice(None)), everything)


def test_an_index_follows_the_shards(make_store, tmp_path):
    """Removed, changed and added shards: the table is that of a fresh scan."""
    store = make_store(tmp_path / "one", objects=5, sweeps=3)
    other = make_store(tmp_path / "two", objects=6, sweeps=3, seed=1)
    shards = sorted(p.relative_to(other.path / SHARDS) for p in (other.path / SHARDS).rglob("*.h5"))
    (store.path / SHARDS / shards[0]).unlink()
    (store.path / SHARDS / shards[1]).write_bytes((other.path / SHARDS / shards[1]).read_bytes())
    (store.path / SHARDS / shards[-1]).parent.mkdir(exist_ok=True)
    (store.path / SHARDS / shards[-1]).write_bytes((other.path / SHARDS / shards[-1]).read_bytes())
    reused = gather(store.path)
    (store.path / "index.h5").unlink()
    fresh = gather(store.path)
    assert reused.sweeps.equals(fresh.sweeps)
    assert reused.objects.equals(fresh.objects)
    assert reused.refusals.equals(fresh.refusals)
    write_index(store.path)
    assert gather(store.path).sweeps.equals(fresh.sweeps)


def test_a_store_of_two_layouts_is_refused(make_store, tmp_path):
    store = make_store(tmp_path / "one", objects=3, sweeps=2)
    other = make_store(tmp_path / "two", objects=3, sweeps=2, frames=55)
    shard = store.objects["path"][0]
    (store.path / SHARDS / shard).write_bytes((other.path / SHARDS / shard).read_bytes())
    with pytest.raises(InputError, match="layout"):
        SweepStore.open(store.path)


def test_no_store(tmp_path):
    with pytest.raises(InputError, match=r"no store\.json there"):
        SweepStore.open(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        SweepStore.open(tmp_path)


def test_splits_are_kept_in_the_store(store):
    split = Split.make("mine", BySweep(seed=3), store.table)
    split = measured(store, split, Preprocessing())
    store.save_split(split)
    assert store.splits == ("mine",)
    again = store.split("mine")
    assert again.codes(store.table).tolist() == split.codes(store.table).tolist()
    with pytest.raises(InputError, match="did you mean 'mine'"):
        store.split("mime")
    normalisation = again.normalisation("rms", "base")
    assert normalisation is not None
    training = store.loads(split.indices("train", store.table)).astype(np.float64)
    scale = np.sqrt((training**2).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(normalisation.scale, scale, rtol=1e-12)
