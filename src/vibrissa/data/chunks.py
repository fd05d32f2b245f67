"""Sweeps out of shards without HDF5: where their chunks lie is asked once, then files are read.

Opening an HDF5 file takes longer than reading a sweep, and its lock lets only one thread of a
process work at a time.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.data.sealed import HEADER_BYTES, seal_in
from vibrissa.data.shard import unpack

if TYPE_CHECKING:
    import h5py

_DAMAGE: Final = (OSError, KeyError, TypeError, ValueError, RuntimeError, IndexError, zlib.error)


class ChunkReader:
    """Reads arrays of shards that have one chunk per sweep; threads may share one.

    It keeps no file open and pickles without what it has learned. A file that was replaced is
    noticed.

    Args:
        files: the shards.
        seals: SHA-256 that each had when it was listed.
        known: name of an array -> where its chunks lie, so that HDF5 need not be asked.
    """

    def __init__(
        self, files: Sequence[Path], seals: Sequence[str], known: Mapping[str, Places] | None = None
    ) -> None:
        self._files = list(files)
        self._seals = list(seals)
        self._known = dict(known or {})
        self._layouts: dict[tuple[int, str], _Layout] = {}

    def read(self, shard: int, name: str, rows: Sequence[int], out: np.ndarray) -> None:
        """Read sweeps of one shard.

        Args:
            shard: its number.
            name: of the array in the file, for instance ``force_moment``.
            rows: which sweeps.
            out: (row, ...) contiguous, of the type and shape that is stored.

        Raises:
            InputError: it is damaged, not there, or was built anew since it was listed.
        """
        path = self._files[shard]
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                layout = self._layouts.get((shard, name))
                state = _state(os.fstat(handle))
                if layout is None or layout.state != state:
                    self._check_seal(shard, _read_at(handle, 0, HEADER_BYTES))
                    learn = self._remembered if name in self._known else self._learned
                    layout = self._layouts[shard, name] = learn(shard, name, state)
                if out.dtype != layout.dtype or out.shape[1:] != layout.shape:
                    raise ValueError(f"{name} is {layout.dtype} {layout.shape}")
                for k, row in enumerate(rows):
                    unpack(_read_at(handle, layout.offsets[row], layout.sizes[row]), out[k])
            finally:
                os.close(handle)
        except InputError:
            raise
        except _DAMAGE as error:
            raise _damaged(path, error) from error

    def small(self, shard: int, name: str) -> np.ndarray:
        """A whole small array of a shard; errors as for :meth:`read`."""
        import h5py

        path = self._files[shard]
        try:
            with path.open("rb") as stream:
                self._check_seal(shard, stream.read(HEADER_BYTES))
            with h5py.File(path, "r") as file:
                return np.asarray(_array(file, name)[()])
        except InputError:
            raise
        except _DAMAGE as error:
            raise _damaged(path, error) from error

    def check_seal(self, shard: int) -> None:
        """Make sure that a shard is the one that was listed.

        Raises:
            InputError: it is damaged, not there, or was built anew since it was listed.
        """
        path = self._files[shard]
        try:
            with path.open("rb") as stream:
                self._check_seal(shard, stream.read(HEADER_BYTES))
        except OSError as error:
            raise _damaged(path, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_layouts": {}}

    def _check_seal(self, shard: int, header: bytes) -> None:
        if seal_in(self._files[shard], header) != self._seals[shard]:
            raise refuse(
                "shard", str(self._files[shard]), "it was built anew after the store was opened",
                "open the store again",
            )  # fmt: skip

    def _remembered(self, shard: int, name: str, state: tuple[int, int, int]) -> _Layout:
        known = self._known[name]
        sweeps = slice(known.starts[shard], known.starts[shard + 1])
        return _Layout(
            state=state,
            dtype=np.dtype(np.float32),
            shape=known.shape,
            offsets=known.offsets[sweeps].tolist(),
            sizes=known.sizes[sweeps].tolist(),
        )

    def _learned(self, shard: int, name: str, state: tuple[int, int, int]) -> _Layout:
        import h5py

        path = self._files[shard]
        with h5py.File(path, "r") as file:
            data = _array(file, name)
            offsets, sizes = chunk_places(path, data)
            return _Layout(
                state=state, dtype=data.dtype, shape=data.shape[1:], offsets=offsets, sizes=sizes
            )


def chunk_places(path: Path, data: Any) -> tuple[list[int], list[int]]:
    """Offset in the file and size, in bytes, of the chunk of each sweep of an HDF5 array.

    Raises:
        ValueError: the array is not stored sweep by sweep.
    """
    if not len(data):
        return [], []
    if data.chunks != (1, *data.shape[1:]):
        raise ValueError(f"{data.name} is not stored sweep by sweep")
    corner = (0,) * (data.ndim - 1)
    chunks = [data.id.get_chunk_info_by_coord((k, *corner)) for k in range(len(data))]
    if any(chunk.filter_mask for chunk in chunks):
        raise ValueError("a chunk went through other filters")
    # Whether offsets count from the start of the file or from behind the seal depends on the
    # version of HDF5.
    first = data.id.read_direct_chunk((0, *corner))[1]
    with path.open("rb") as stream:
        for base in (0, HEADER_BYTES):
            stream.seek(chunks[0].byte_offset + base)
            if stream.read(chunks[0].size) == first:
                break
        else:
            raise ValueError("its chunks are not where they should be")
    return [chunk.byte_offset + base for chunk in chunks], [chunk.size for chunk in chunks]


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where the chunks of a float32 array lie, for all shards of a store.

    Attributes:
        starts: (shard + 1,) number of the first sweep of each shard, and of all sweeps.
        offsets: (sweep,) offset of each sweep's chunk in the file of its shard, bytes.
        sizes: (sweep,) bytes of each chunk.
        shape: of one sweep.
    """

    starts: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layout:
    """Where the sweeps of an array lie in the file of their shard."""

    state: tuple[int, int, int]
    dtype: np.dtype
    shape: tuple[int, ...]
    offsets: Sequence[int]
    sizes: Sequence[int]


def _array(file: h5py.File, name: str) -> Any:
    data: Any = file[name]
    if data.dtype.kind not in "fu":
        raise ValueError(f"{name} is no array of numbers")
    return data


def _state(found: os.stat_result) -> tuple[int, int, int]:
    """What tells that a file is another than it was."""
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read_at(handle: int, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(handle, size, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, size)


def _damaged(path: Path, error: Exception) -> InputError:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"{path}: not a readable shard ({text}); build again, which mends it.")
