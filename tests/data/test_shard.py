"""Shards: what is written is what is read, and damage is told in one sentence."""

import sys
from collections import deque
from dataclasses import replace
from types import FrameType
from typing import Any

import h5py
import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.data.shard import SUMMARY, Shard, ShardContent, write_shard

PLAIN = (
    "object", "label", "geometry", "source_sha256", "recipe_sha256", "whiskers", "rate_hz",
    "sampling", "names", "parameters", "refused", "redrawn",
)  # fmt: skip
WHISKERS = ("RA0", "RB1", "RC2")


def content(sweeps=4, frames=11, seed=0):
    draws = np.random.default_rng(seed)
    loads = draws.normal(size=(sweeps, frames, 3, 6)).astype(np.float32)
    turns = np.stack([np.linalg.qr(draws.normal(size=(3, 3)))[0] for _ in range(3)])
    turns *= np.linalg.det(turns)[:, None, None]
    return ShardContent(
        object="cup/0",
        label="cup",
        geometry="0" * 64,
        source_sha256="1" * 64,
        recipe_sha256="2" * 64,
        whiskers=WHISKERS,
        rate_hz=110.0,
        sampling="average",
        loads={"base": loads},
        contact=draws.random((sweeps, frames, 3)) < 0.3,
        base_rotation=turns[None].astype(np.float32),
        summary=draws.random((sweeps, len(SUMMARY))).astype(np.float32),
        names=tuple(f"sweep {k}" for k in range(sweeps)),
        parameters=tuple({"theta_deg": 1.5 * k, "part": "train", "none": None} for k in range(4))[
            :sweeps
        ],
        refused=(("bad", "it overlaps"), ("worse", "ünïcode, too")),
        redrawn=3,
        manifest="{}\n",
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cup" / "0.h5"


def test_what_is_written_is_read(path):
    given = content()
    write_shard(path, given)
    with Shard(path) as shard:
        np.testing.assert_array_equal(shard.loads(), given.loads["base"])
        np.testing.assert_array_equal(shard.loads([2, 0, 2]), given.loads["base"][[2, 0, 2]])
        np.testing.assert_array_equal(shard.loads(slice(1, 3)), given.loads["base"][1:3])
        np.testing.assert_array_equal(shard.contact(), given.contact)
        np.testing.assert_array_equal(shard.summary, given.summary)
        for name in PLAIN:
            assert getattr(shard, name) == getattr(given, name), name
        assert shard.frames == ("base",)
        assert len(shard) == 4


def test_equal_bytes_beside_a_profiler(path):
    """Dask's workers hold frames of the thread at work, so that objects outlive their calls."""
    write_shard(path, content())
    undisturbed = path.read_bytes()
    for least_held in (1, 20, 400):
        held: deque[FrameType] = deque(maxlen=least_held)
        # A trace function sees every call; a sampling thread would see some.
        sys.setprofile(lambda frame, event, _, held=held: held.append(frame))
        try:
            write_shard(path, content())
        finally:
            sys.setprofile(None)
        assert path.read_bytes() == undisturbed


def test_own_decoding_equals_that_of_hdf5(path):
    write_shard(path, content(sweeps=3))
    with h5py.File(path) as file, Shard(path) as shard:
        loads: Any = file["force_moment"]
        contact: Any = file["contact"]
        np.testing.assert_array_equal(shard.loads(), loads[()])
        np.testing.assert_array_equal(shard.contact(), contact[()].astype(bool))
        assert loads.chunks == (1, 11, 3, 6)


def test_world_loads_are_those_of_the_base_frame_turned(path):
    given = content()
    write_shard(path, given)
    assert given.base_rotation is not None
    with Shard(path) as shard:
        world = shard.loads([1, 3], "world")
    for k, row in enumerate((1, 3)):
        for time in range(11):
            for whisker in range(3):
                turn = given.base_rotation[0, whisker].astype(np.float64)
                load = given.loads["base"][row, time, whisker].astype(np.float64)
                wanted = np.concatenate([turn @ load[:3], turn @ load[3:]])
                np.testing.assert_allclose(world[k, time, whisker], wanted, atol=1e-5)


def test_world_loads_without_bases_are_refused(path):
    write_shard(path, replace(content(), base_rotation=None))
    with Shard(path) as shard, pytest.raises(InputError, match="holds base only"):
        shard.loads(frame="world")


def test_equal_contents_equal_bytes(path, tmp_path):
    write_shard(path, content())
    write_shard(tmp_path / "again.h5", content())
    assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()
    write_shard(tmp_path / "other.h5", content(seed=1))
    assert path.read_bytes() != (tmp_path / "other.h5").read_bytes()


def test_a_shard_without_refusals(path):
    write_shard(path, replace(content(), refused=()))
    with Shard(path) as shard:
        assert shard.refused == ()


def test_not_finite_is_refused():
    given = content()
    loads = given.loads["base"].copy()
    loads[2, 5, 1, 4] = np.nan
    with pytest.raises(InputError, match=r"'sweep': 2, 'time': 5, 'whisker': 1, 'channel': 4"):
        replace(given, loads={"base": loads})


@pytest.mark.parametrize("change", [{"names": ("a",)}, {"whiskers": ("RA0",)}, {"loads": {}}])
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(InputError):
        replace(content(), **change)


def test_no_such_row(path):
    write_shard(path, content())
    with Shard(path) as shard, pytest.raises(InputError, match="has 4 sweeps"):
        shard.loads([4])


def test_another_kind_of_file(tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["format"] = "something"
    with pytest.raises(InputError, match="must be 'vibrissa-shard'"):
        Shard(other)
    other.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="not a readable shard"):
        Shard(other)


def test_a_flipped_byte_in_a_chunk_is_told_when_read(path):
    write_shard(path, content(sweeps=1, frames=200))
    with h5py.File(path) as file:
        loads: Any = file["force_moment"]
        place = loads.id.get_chunk_info(0).byte_offset + 100
    whole = bytearray(path.read_bytes())
    whole[place] ^= 0xFF
    path.write_bytes(whole)
    with Shard(path) as shard, pytest.raises(InputError, match=r"0\.h5: not a readable shard"):
        shard.loads()
