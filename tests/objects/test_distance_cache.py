"""The cache of distance fields: hits, damage, and folders that do not cooperate."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from vibrissa.objects import TactileObject, distance_cache, procedural_object


@pytest.fixture
def item() -> TactileObject:
    return procedural_object("box", 0, diagonal_mm=12.0)


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_hit_gives_the_same_field(item: TactileObject, tmp_path: Path) -> None:
    made = item.distance_field(0.5, cache_dir=tmp_path)
    file = only_file(tmp_path)
    stamp = file.stat().st_mtime_ns
    known = distance_cache.read(tmp_path, made.digest)
    assert known is not None
    again = item.distance_field(0.5, cache_dir=tmp_path)
    for other in (known, again):
        np.testing.assert_array_equal(other.values_mm, made.values_mm)
        np.testing.assert_array_equal(other.origin_mm, made.origin_mm)
        for name in ("spacing_mm", "padding_mm", "sign_rule", "shell_offset_mm", "digest"):
            assert getattr(other, name) == getattr(made, name)
        assert not other.values_mm.flags.writeable
    assert file.stat().st_mtime_ns == stamp


def test_parameters_and_geometry_change_the_digest(item: TactileObject) -> None:
    digests = {
        item.distance_field(0.5, cache=False).digest,
        item.distance_field(0.6, cache=False).digest,
        item.distance_field(0.5, 1.0, cache=False).digest,
        item.distance_field(0.5, sign_rule="unsigned", cache=False).digest,
        item.scaled(1.01).distance_field(0.5, cache=False).digest,
    }
    assert len(digests) == 5


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "foreign", "swap"])
def test_damaged_file_is_replaced(item: TactileObject, tmp_path: Path, damage: str) -> None:
    made = item.distance_field(0.5, cache_dir=tmp_path)
    file = only_file(tmp_path)
    whole = file.read_bytes()
    if damage == "flip":
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "truncate":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "foreign":
        np.save(file.with_suffix(".npy"), np.array([object()], dtype=object), allow_pickle=True)
        file.with_suffix(".npy").replace(file)
    else:  # another field's file under this name
        other = item.scaled(1.1).distance_field(0.5, cache_dir=tmp_path / "other")
        distance_cache.cache_path(tmp_path / "other", other.digest).replace(file)
        (tmp_path / "other").rmdir()
    assert distance_cache.read(tmp_path, made.digest) is None
    again = item.distance_field(0.5, cache_dir=tmp_path)
    np.testing.assert_array_equal(again.values_mm, made.values_mm)
    assert only_file(tmp_path).read_bytes() == whole


def test_no_cache_writes_nothing(item: TactileObject, tmp_path: Path) -> None:
    item.distance_field(0.5, cache_dir=tmp_path, cache=False)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(item: TactileObject, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, where a folder should be")
    assert item.distance_field(0.5, cache_dir=blocked / "cache").shape[0] > 2
    if os.name == "posix" and os.geteuid() != 0:
        readonly = tmp_path / "readonly"
        readonly.mkdir(mode=0o500)
        assert item.distance_field(0.5, cache_dir=readonly).shape[0] > 2


def test_full_disk(item: TactileObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert item.distance_field(0.5, cache_dir=tmp_path).shape[0] > 2
    assert not list(tmp_path.iterdir())


def test_folder_by_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path))
    assert distance_cache.cache_folder() == tmp_path / "distance"
    assert distance_cache.cache_folder(tmp_path / "own") == tmp_path / "own"
    monkeypatch.delenv("VIBRISSA_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert distance_cache.cache_folder() == tmp_path / "xdg" / "vibrissa" / "distance"


def _write_often(folder: str) -> bool:
    item = procedural_object("box", 0, diagonal_mm=12.0)
    field = item.distance_field(0.5, cache_dir=folder)
    good = True
    for _ in range(20):
        good &= distance_cache.write(Path(folder), field)
        good &= distance_cache.read(Path(folder), field.digest) is not None
    return good


def test_concurrent_processes(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_write_often_entry, [str(tmp_path)] * 2) == [True, True]
    assert only_file(tmp_path).suffix == ".npz"


_write_often_entry = _write_often
