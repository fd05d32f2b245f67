"""The decoded cache: same numbers as the shards, whole or not there, and never in the way."""

from __future__ import annotations

import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.data.cache import CacheFile, open_cache
from vibrissa.data.datamodule import DataModule, LoaderConfig
from vibrissa.data.loader import SweepDataset, TactileLoader
from vibrissa.data.normalisation import Normalisation
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.reading import ShardReader
from vibrissa.data.splits import BySweep, Split
from vibrissa.data.store import SweepStore

SIZE = 12 * 22 * 30 * 5 * 7 * 4


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "user"))


@pytest.fixture(scope="module")
def template(make_store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("data") / "store", objects=4, sweeps=3, seed=1).path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> SweepStore:
    shutil.copytree(template, tmp_path / "store")
    return SweepStore.open(tmp_path / "store")


def plain(store: SweepStore) -> ShardReader:
    return ShardReader(store, Preprocessing(normalise="none"))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


@pytest.mark.parametrize(
    ("preprocessing", "normalisation"),
    [
        (Preprocessing(normalise="none"), None),
        (Preprocessing(normalise="none", frame="world", unit="mN", steps=None), None),
        (Preprocessing(), Normalisation(kind="rms", scale=(100.0, 90.0, 30.0, 300.0, 0.7, 7e3))),
        (
            Preprocessing(normalise="standard"),
            Normalisation(kind="standard", mean=(1.0, -2.0, 0.3, 4.0, 5.5, 6.0), scale=(3.0,) * 6),
        ),
    ],
)
def test_cache_equals_shards(store: SweepStore, preprocessing: Any, normalisation: Any):
    reader = ShardReader(store, preprocessing, normalisation)
    cached = open_cache(reader, threads=3)
    assert cached.built
    assert cached.remark == ""
    assert cached.file is not None
    chosen = {"preprocessing": preprocessing, "normalisation": normalisation}
    direct = SweepDataset(store, **chosen)
    mapped = SweepDataset(store, **chosen, source=pickle.loads(pickle.dumps(cached.file)))
    pairs = zip(TactileLoader(direct, 5), TactileLoader(mapped, 5), strict=True)
    for a, b in pairs:
        assert a.input.numpy().tobytes() == b.input.numpy().tobytes()
        assert a.label.tolist() == b.label.tolist()
    assert direct.digest == mapped.digest
    whole = np.load(cached.file.path, mmap_mode="r")
    assert whole.shape == (12, *reader.shape)
    again = open_cache(reader)
    assert again.file is not None
    assert (again.built, again.file.path) == (False, cached.file.path)


def test_each_normalisation_has_its_own_and_old_states_go(store: SweepStore, tmp_path: Path):
    rms = ShardReader(store, Preprocessing(), Normalisation(kind="rms", scale=(2.0,) * 6))
    first, second = open_cache(plain(store)).file, open_cache(rms).file
    assert first is not None
    assert second is not None
    assert files(store.path) == sorted([first.path, second.path])
    with pytest.raises(InputError, match="made of other sweeps or by another preprocessing"):
        SweepDataset(store, preprocessing=Preprocessing(normalise="none"), source=second)
    (tmp_path / "store" / "shards" / "cup" / "00000.h5").unlink()
    changed = open_cache(plain(SweepStore.open(store.path))).file
    assert changed is not None
    assert len(changed) == 9
    assert files(store.path) == [changed.path]


@pytest.mark.parametrize("harm", ["cut", "longer", "header", "empty"])
def test_damaged_cache_is_made_anew(store: SweepStore, harm: str):
    path = open_cache(plain(store)).file.path  # type: ignore[union-attr]
    whole = path.read_bytes()
    path.write_bytes(
        {
            "cut": whole[:-1],
            "longer": whole + b"0",
            "header": whole.replace(b"(12, 22", b"(11, 22", 1),
            "empty": b"",
        }[harm]
    )
    with pytest.raises(InputError, match="not a whole cache"):
        CacheFile(path, 12, (22, 30, 5, 7), "")
    again = open_cache(plain(store))
    assert again.built
    assert path.read_bytes() == whole


def test_flipped_bytes_are_found_when_they_are_read(store: SweepStore):
    reader = plain(store)
    cached = open_cache(reader).file
    assert cached is not None
    raw = bytearray(cached.path.read_bytes())
    start = len(raw) - SIZE
    draws = np.random.default_rng(0)
    out = np.empty((1, *reader.shape), np.float32)
    for _ in range(20):
        place = int(draws.integers(start, len(raw)))
        sweep = (place - start) // (SIZE // 12)
        harmed = bytearray(raw)
        harmed[place] ^= 1 << int(draws.integers(8))
        cached.path.write_bytes(harmed)
        opened = CacheFile(cached.path, 12, reader.shape, reader.digest)
        for row in range(12):
            if row != sweep:
                opened.fill(np.array([row]), out)
        for _ in range(2):  # what was found is found again
            with pytest.raises(InputError, match=f"sweep {sweep} is not as it was written"):
                opened.fill(np.array([sweep]), out)
    cached.path.write_bytes(raw)
    data = pickle.loads(pickle.dumps(cached))
    whole = np.empty((12, *reader.shape), np.float32)
    data.fill(np.arange(12), whole)
    assert whole.tobytes() == bytes(raw[start:])


@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "empty"])
def test_a_cache_without_whole_checksums_is_made_anew(store: SweepStore, harm: str):
    cached = open_cache(plain(store)).file
    assert cached is not None
    (sums,) = store.path.rglob("*.sums")
    whole = sums.read_bytes()
    if harm == "gone":
        sums.unlink()
    else:
        flipped = bytes([whole[0] ^ 1]) + whole[1:]
        sums.write_bytes({"cut": whole[:-1], "flipped": flipped, "empty": b""}[harm])
    assert open_cache(plain(store)).built
    assert sums.read_bytes() == whole
    assert not open_cache(plain(store)).built


def test_checksums_go_with_their_cache(store: SweepStore):
    open_cache(plain(store))
    (store.path / "shards" / "cup" / "00000.h5").unlink()
    changed = open_cache(plain(SweepStore.open(store.path))).file
    assert changed is not None
    assert list(store.path.rglob("*.sums")) == [changed.path.with_suffix(".sums")]


def test_killed_build_leaves_nothing_under_the_final_name(store: SweepStore):
    # The child stops for good once the first shards are written.
    code = f"""
import time
from vibrissa.data import cache, reading
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.store import SweepStore
def some(*given, **settings):
    for k, done in enumerate(reading.ahead(*given, **settings)):
        if k == 2:
            print("half", flush=True)
            time.sleep(60)
        yield done
cache.ahead = some
store = SweepStore.open({str(store.path)!r})
cache.open_cache(reading.ShardReader(store, Preprocessing(normalise="none")))
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    (rest,) = files(store.path)
    assert ".partial" in rest.name
    cached = open_cache(plain(store))
    assert cached.built
    assert cached.file is not None
    assert files(store.path) == [cached.file.path]


def test_interrupted_build_removes_its_file(store: SweepStore, monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    reader = plain(store)
    monkeypatch.setattr("vibrissa.data.preprocessing.Preprocessing.apply", stop)
    with pytest.raises(KeyboardInterrupt):
        open_cache(reader)
    assert files(store.path) == []


def test_one_builds_and_the_others_wait(store: SweepStore):
    # Locks are those of opened files, so threads stand for processes here.
    readers = [plain(SweepStore.open(store.path)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(open_cache, readers))
    assert sorted(cached.built for cached in found) == [False, False, False, True]
    assert len({cached.file.path for cached in found if cached.file}) == 1


# --- where it cannot be ----------------------------------------------------------------------


def test_store_that_cannot_be_written_to(store: SweepStore, tmp_path: Path):
    # A file where the folder would be: even root cannot write there.
    (store.path / "cache").write_text("")
    cached = open_cache(plain(store))
    assert cached.built
    assert cached.file is not None
    assert tmp_path / "user" in cached.file.path.parents
    assert "The cache is in" in cached.remark
    assert "cannot be written" in cached.remark
    second = open_cache(plain(store))
    assert second.file is not None
    assert second.file.path == cached.file.path
    shutil.rmtree(tmp_path / "user")
    (tmp_path / "user").write_text("")
    nowhere = open_cache(plain(store), "always")
    assert nowhere.file is None
    assert "without a cache" in nowhere.remark


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_disk_that_is_full_in_the_midst(store: SweepStore, tmp_path: Path):
    store.save_split(Split.make("s", BySweep(), store.table))
    data = DataModule(store, "s", LoaderConfig(cache="always", batch_size=4), quiet=True)
    with largest_file(SIZE // 2):
        assert len(list(data.train_dataloader())) == 2
    assert [r for r in data.remarks if "without a cache" in r]
    assert files(tmp_path) == []


def test_auto_knows_when_to_leave_it(store: SweepStore, monkeypatch: pytest.MonkeyPatch):
    reader = plain(store)
    assert open_cache(reader, "never").file is None
    few = open_cache(reader, used=2)
    assert few.file is None
    assert "2 of 12 are used" in few.remark
    limited = open_cache(reader, limit_bytes=SIZE - 1)
    assert limited.file is None
    assert "the limit is" in limited.remark
    free = 2 * SIZE - 1
    usage = shutil.disk_usage(store.path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    full = open_cache(reader)
    assert full.file is None
    assert "that are free" in full.remark
    assert files(store.path) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free + 1))
    assert open_cache(reader).file is not None
    # once there, it is used whatever the space
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert open_cache(reader, used=2).file is not None
    with pytest.raises(InputError, match="Known: auto, always, never"):
        open_cache(reader, "sometimes")  # type: ignore[arg-type]


def test_damaged_shard_is_an_error_and_no_remark(store: SweepStore):
    path = store.path / "shards" / "fork" / "00000.h5"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"fork/00000.h5: not a readable shard"):
        open_cache(plain(store))
    assert files(store.path) == []
