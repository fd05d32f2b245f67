"""Batches: their values, their order, on several processes, from the middle, and their errors."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.core.seeds import generator
from vibrissa.data.datamodule import DataModule, LoaderConfig
from vibrissa.data.loader import SweepDataset, TactileBatch, TactileLoader
from vibrissa.data.normalisation import Normalisation
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.splits import ByObject, BySweep, Split
from vibrissa.data.store import SweepStore

SCALE = (100.0, 100.0, 30.0, 300.0, 700.0, 700.0)
MEASURED = Normalisation(kind="rms", scale=SCALE)


@pytest.fixture(scope="module")
def store(make_store: Any, tmp_path_factory: pytest.TempPathFactory) -> SweepStore:
    return make_store(tmp_path_factory.mktemp("data") / "store", objects=6, sweeps=5, seed=1)


@pytest.fixture(scope="module")
def dataset(store: SweepStore) -> SweepDataset:
    return SweepDataset(store, normalisation=MEASURED)


def indices_of(loader: TactileLoader) -> list[list[int]]:
    return [batch.index.tolist() for batch in loader]


def joined(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def ahead_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("vibrissa-ahead")]


# --- values ----------------------------------------------------------------------------------


def test_values_are_those_of_the_store(store: SweepStore, dataset: SweepDataset):
    chosen = np.array([7, 0, 29, 7])
    batch = dataset.batch(chosen)
    grid = np.zeros((4, 110, 6, 5, 7), np.float32)
    for k, name in enumerate(store.whiskers):
        grid[..., "ABCDE".index(name[1]), int(name[2])] = store.loads(chosen)[:, :, k]
    grid /= np.array(SCALE, np.float32)[:, None, None]
    assert np.array_equal(batch.input.numpy(), grid.reshape(4, 22, 30, 5, 7))
    assert batch.index.tolist() == chosen.tolist()
    assert [store.labels[k] for k in batch.label] == store.table["label"].iloc[chosen].tolist()
    one, label = dataset[-1]
    assert torch.equal(one, batch.input[2])
    assert label == int(batch.label[2])


def test_world_frame_is_turned_as_the_store_turns_it(store: SweepStore):
    config = Preprocessing(frame="world", normalise="none", steps=None)
    batch = SweepDataset(store, preprocessing=config).batch(np.array([3, 11]))
    world = store.loads([3, 11], "world")
    place = store.whiskers.index("RC2")
    assert np.array_equal(batch.input[:, :, :, 2, 2].numpy(), world[:, :, place])


def test_batch_refuses_other_shapes():
    good: dict[str, Any] = {
        "input": torch.zeros(3, 22, 30, 5, 7),
        "label": torch.zeros(3, dtype=torch.int64),
        "index": torch.zeros(3, dtype=torch.int64),
    }
    batch = TactileBatch(**good)
    assert len(batch.to("cpu")) == 3
    for name, value in (
        ("input", torch.zeros(3, 22, 30, 7, 5)),
        ("input", torch.zeros(3, 22, 30, 5, 7, dtype=torch.float64)),
        ("input", torch.zeros(22, 30, 5, 7)),
        ("label", torch.zeros(2, dtype=torch.int64)),
        ("index", torch.zeros(3)),
    ):
        with pytest.raises(InputError, match=f"^{name} = "):
            TactileBatch(**(good | {name: value}))


def test_dataset_refuses_in_one_sentence(store: SweepStore):
    split = Split.make("a", BySweep(fractions=(0.5, 0.0, 0.5)), store.table)
    wrong: dict[str, Any]
    for wrong, words in (
        ({"indices": [30]}, "index = 30"),
        ({"indices": [-1]}, "index = -1"),
        ({"indices": [0.5]}, "no list of positions"),
        ({"indices": []}, "no list of positions"),
        ({"indices": [0], "split": split}, "there is a split too"),
        ({"split": split, "part": "validate"}, "has no sweeps in it"),
        ({"split": split, "part": "trian"}, "did you mean 'train'"),
        ({"split": split}, "needs the scales of the training part"),
        ({"normalisation": Normalisation(kind="rms", frame="world")}, "measure it again"),
        ({"preprocessing": Preprocessing(steps=7, normalise="none")}, "steps = 7"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            SweepDataset(store, **wrong)
        assert "\n" not in str(caught.value)


def test_frame_that_cannot_be_had_is_refused(make_store: Any, tmp_path: Path):
    store = make_store(tmp_path / "store", objects=1, sweeps=2, still=False)
    with pytest.raises(InputError, match="frame = 'world': .* holds base only"):
        SweepDataset(store, preprocessing=Preprocessing(frame="world", normalise="none"))


@pytest.mark.cuda
def test_pinned_batches_are_the_same(dataset: SweepDataset):
    pairs = zip(TactileLoader(dataset, 8, pin_memory=True), TactileLoader(dataset, 8), strict=True)
    for pinned, plain in pairs:
        assert pinned.input.is_pinned()
        assert torch.equal(pinned.to("cuda", non_blocking=True).input.cpu(), plain.input)


def test_pickled_dataset_is_the_same(dataset: SweepDataset):
    dataset[0]  # so that there is something open to be left behind
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[4][0], dataset[4][0])
    assert again.digest == dataset.digest


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_torch_workers_give_the_same(dataset: SweepDataset):
    there = torch.utils.data.DataLoader(
        dataset, batch_size=8, num_workers=2, multiprocessing_context="fork"
    )
    found = [(x, y) for x, y in there]
    here = list(TactileLoader(dataset, 8, shuffle=False))
    assert torch.equal(torch.cat([x for x, _ in found]), torch.cat([b.input for b in here]))
    assert torch.equal(torch.cat([y for _, y in found]), torch.cat([b.label for b in here]))


@pytest.mark.slow
def test_spawned_workers_give_the_same(dataset: SweepDataset):
    there = torch.utils.data.DataLoader(
        dataset, batch_size=8, num_workers=2, multiprocessing_context="spawn"
    )
    values = torch.cat([x for x, _ in there])
    assert torch.equal(values, dataset.batch(np.arange(len(dataset))).input)


# --- order -----------------------------------------------------------------------------------


def test_order_is_that_of_the_seed_alone(dataset: SweepDataset):
    first = TactileLoader(dataset, 8, seed=3, threads=1, prefetch=1)
    other = TactileLoader(dataset, 8, seed=3, threads=4, prefetch=7)
    runs = [indices_of(first) for _ in range(2)]
    assert runs == [indices_of(other) for _ in range(2)]
    flat = [joined(run) for run in runs]
    for epoch in (0, 1):
        assert flat[epoch] == generator(3, "order", epoch).permutation(30).tolist()
    assert flat[0] != flat[1]
    assert joined(indices_of(TactileLoader(dataset, 8, seed=4))) != flat[0]
    assert joined(indices_of(TactileLoader(dataset, 8, shuffle=False))) == list(range(30))


def test_epochs_count_on_and_broken_passes_begin_again(dataset: SweepDataset):
    loader = TactileLoader(dataset, 8)
    epochs = [loader.order(k).tolist() for k in range(4)]
    for _ in loader:
        break
    assert loader.epoch == 0
    assert joined(indices_of(loader)) == epochs[0]
    assert loader.epoch == 1
    loader.set_epoch(3)
    assert joined(indices_of(loader)) == epochs[3]
    loader.sampler.set_epoch(1)
    assert joined(indices_of(loader)) == epochs[1]


def test_batches_are_even_or_whole(dataset: SweepDataset):
    even = TactileLoader(dataset, 8)
    assert [len(b) for b in even] == [7, 8, 7, 8]
    whole = TactileLoader(dataset, 8, drop_last=True)
    assert [len(b) for b in whole] == [8, 8, 8]
    assert (len(even), len(whole)) == (4, 3)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sweeps=st.integers(10, 30),
    batch=st.integers(10, 15),  # so that each of five processes gets some
    drop=st.booleans(),
    shuffle=st.booleans(),
    world=st.sampled_from([1, 2, 3, 5]),
)
def test_processes_share_every_batch(
    store: SweepStore, sweeps: int, batch: int, drop: bool, shuffle: bool, world: int
):
    chosen = np.arange(30)[::-1][:sweeps]
    dataset = SweepDataset(store, indices=chosen, normalisation=MEASURED)
    if drop and sweeps < batch:
        return
    settings = {"drop_last": drop, "shuffle": shuffle, "threads": 1}
    alone = indices_of(TactileLoader(dataset, batch, **settings))
    ranks = [
        indices_of(TactileLoader(dataset, batch, rank=r, world_size=world, **settings))
        for r in range(world)
    ]
    assert {len(mine) for mine in ranks} == {len(alone)}
    for k, together in enumerate(alone):
        slices = [mine[k] for mine in ranks]
        assert joined(slices) == together
        sizes = [len(s) for s in slices]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
    seen = joined(alone)
    assert len(set(seen)) == len(seen)
    assert len(seen) == (sweeps // batch * batch if drop else sweeps)
    assert set(seen) <= set(chosen.tolist())


# --- going on --------------------------------------------------------------------------------


@pytest.mark.parametrize("done", range(9))
@pytest.mark.parametrize("world", [(0, 1), (1, 2)])
def test_resumed_run_goes_on_as_if_undisturbed(
    dataset: SweepDataset, done: int, world: tuple[int, int]
):
    rank, size = world

    def fresh(rank: int = rank, size: int = size) -> TactileLoader:
        return TactileLoader(dataset, 8, seed=5, rank=rank, world_size=size)

    whole, loader = fresh(), fresh()
    undisturbed = [batch for _ in range(3) for batch in whole]
    # of this one, on any rank and number of processes, only the state is used
    broken = fresh(0, 3)
    count = 0
    while count < done:
        for _ in broken:
            count += 1
            if count == done:
                break
    state = pickle.loads(pickle.dumps(broken.state_dict()))
    loader.load_state_dict(state)
    loader.set_epoch(done // 4)  # what a training loop would say
    rest = [batch for _ in range(done // 4, 3) for batch in loader]
    assert len(rest) == 12 - done
    for ours, theirs in zip(rest, undisturbed[done:], strict=True):
        assert ours.index.tolist() == theirs.index.tolist()
        assert torch.equal(ours.input, theirs.input)


def test_state_of_other_data_is_refused(store: SweepStore, dataset: SweepDataset):
    state = TactileLoader(dataset, 8).state_dict()
    fewer = SweepDataset(store, indices=range(29), normalisation=MEASURED)
    scaled = SweepDataset(store, normalisation=Normalisation(kind="rms", scale=(1.0, *SCALE[1:])))
    for other in (
        TactileLoader(fewer, 8),
        TactileLoader(scaled, 8),
        TactileLoader(dataset, 9),
        TactileLoader(dataset, 8, shuffle=False),
        TactileLoader(dataset, 8, seed=1),
    ):
        with pytest.raises(InputError, match=r"^(loader state|seed) = .*; use (the same|that one)"):
            other.load_state_dict(state)
    loader = TactileLoader(dataset, 8)
    for odd in ({}, state | {"version": 2}, state | {"batches": 4}, state | {"epoch": -1}):
        with pytest.raises(InputError, match="^loader state = "):
            loader.load_state_dict(odd)


# --- threads and errors ----------------------------------------------------------------------


def test_early_break_leaves_no_thread(dataset: SweepDataset):
    for _ in TactileLoader(dataset, 2, threads=3, prefetch=5):
        assert ahead_threads()
        break
    assert ahead_threads() == []
    with pytest.raises(ZeroDivisionError):
        for batch in TactileLoader(dataset, 2):
            _ = len(batch) / 0
    assert ahead_threads() == []


def test_process_ends_with_a_pass_left_open(store: SweepStore):
    code = (
        "from vibrissa.data.store import SweepStore\n"
        "from vibrissa.data.loader import *\n"
        f"data = SweepDataset(SweepStore.open({str(store.path)!r}), indices=range(30), "
        "preprocessing=Preprocessing(normalise='none'))\n"
        "passes = iter(TactileLoader(data, 2)); next(passes); print('out')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "out", "")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_damaged_shards_are_named_in_one_sentence(make_store: Any, tmp_path: Path):
    store = make_store(tmp_path / "store", objects=3, sweeps=3)
    path = tmp_path / "store" / "shards" / "cup" / "00000.h5"
    whole = path.read_bytes()
    config = Preprocessing(normalise="none")
    import h5py

    with h5py.File(path) as file:
        chunk = file["force_moment"].id.get_chunk_info_by_coord((1, 0, 0, 0))  # type: ignore

    def read(data: SweepDataset) -> str:
        with pytest.raises(InputError) as caught:
            list(TactileLoader(data, 4))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert ahead_threads() == []
        return str(caught.value)

    for where in (chunk.byte_offset + 5, chunk.byte_offset + chunk.size - 1):
        path.write_bytes(whole)
        flip(path, where)
        assert "not a readable shard" in read(SweepDataset(store, preprocessing=config))
    known = SweepDataset(store, preprocessing=config)
    path.write_bytes(whole)
    list(TactileLoader(known, 4))  # now it knows where the chunks lie
    path.write_bytes(whole[: chunk.byte_offset + 7])
    assert "not a readable shard" in read(known)
    path.write_bytes(whole.replace(b"sha256 ", b"sha256 0", 1)[: len(whole)])
    read(known)
    other = make_store(tmp_path / "other", objects=3, sweeps=3, seed=9)
    path.write_bytes((other.path / "shards" / "cup" / "00000.h5").read_bytes())
    assert "open the store again" in read(known)
    path.unlink()
    assert "No such file" in read(known)
    path.write_bytes(whole)
    assert len(list(TactileLoader(known, 4))) == 3


def test_loader_refuses_in_one_sentence(dataset: SweepDataset):
    wrong: dict[str, Any]
    for wrong, words in (
        ({"batch_size": 0}, "batch_size = 0"),
        ({"threads": 0}, "threads = 0"),
        ({"prefetch": 0}, "prefetch = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"rank": 2, "world_size": 2}, "rank = 2"),
        ({"batch_size": 31, "drop_last": True}, "fill no batch"),
        ({"batch_size": 4, "world_size": 5}, "use fewer processes"),
    ):
        with pytest.raises(InputError, match=words):
            TactileLoader(dataset, **wrong)
    with pytest.raises(InputError, match="epoch = -1"):
        TactileLoader(dataset).set_epoch(-1)


# --- the whole -------------------------------------------------------------------------------


def test_datamodule_measures_training_alone_and_keeps_it(make_store: Any, tmp_path: Path):
    store = make_store(tmp_path / "store", objects=12, sweeps=3, seed=2)
    split = Split.make("by_object", ByObject(fractions=(0.5, 0.25, 0.25)), store.table)
    store.save_split(split)
    data = DataModule(tmp_path / "store", "by_object", LoaderConfig(batch_size=4), quiet=True)
    assert (data.n_classes, data.labels) == (3, ("ball", "cup", "fork"))
    assert data.input_shape == (22, 30, 5, 7)
    assert data.parts == ("train", "validate", "test")
    train = split.indices("train", store.table)
    loads = store.loads(train).astype(np.float64)
    rms = np.sqrt((loads**2).mean(axis=(0, 1, 2)))
    assert data.normalisation.scale == pytest.approx(tuple(rms), rel=1e-9)
    assert store.split("by_object").normalisation() == data.normalisation
    # as they come to the model, filled places have a root mean square of one
    values = torch.cat([batch.input for batch in data.train_dataloader()])
    assert len(values) == len(train) // 4 * 4
    seen = joined(indices_of(data.val_dataloader())) + joined(indices_of(data.test_dataloader()))
    assert sorted([*seen, *train.tolist()]) == list(range(36))
    assert data.train_dataloader() is data.train_dataloader()
    again = DataModule(tmp_path / "store", "by_object", LoaderConfig(cache="never", batch_size=4))
    assert again.normalisation == data.normalisation
    first = list(data.train_dataloader())  # its second pass
    again.load_state_dict(data.state_dict())
    assert again.train_dataloader().epoch == 2
    again.train_dataloader().set_epoch(1)
    for ours, theirs in zip(again.train_dataloader(), first, strict=True):
        assert torch.equal(ours.input, theirs.input)  # from the shards and from the cache


def test_datamodule_says_what_is_odd(store: SweepStore):
    split = Split.make("odd", BySweep(fractions=(0.5, 0.0, 0.5)), store.table)
    letters = {name: "e" if name.startswith("fork") else x for name, x in split.assignment.items()}
    split = replace(split, assignment=letters)
    config = LoaderConfig(cache="never", batch_size=1000)
    data = DataModule(store, split, config, quiet=True)
    assert data.trained_labels == ("ball", "cup")
    assert any("do not train: fork" in remark for remark in data.remarks)
    assert len(data.train_dataloader()) == 1  # fewer sweeps than a batch are one batch
    with pytest.raises(InputError, match="'validate'.*has no sweeps"):
        data.val_dataloader()
    assert "odd" not in store.splits  # a split of the caller's own is not written anywhere
    with pytest.raises(InputError, match="no splits yet"):
        DataModule(store, "by_object")
    none = replace(split, assignment=dict.fromkeys(letters, "e"))
    with pytest.raises(InputError, match="no sweeps to train with"):
        DataModule(store, none)
    with pytest.raises(InputError, match="both or neither"):
        DataModule(store, split, rank=1)
    with pytest.raises(InputError, match="did you mean 'auto'"):
        LoaderConfig(cache="atuo")  # type: ignore[arg-type]
