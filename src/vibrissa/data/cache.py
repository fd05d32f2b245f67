"""The decoded cache: all sweeps of a store as model input in one file that is mapped into memory.

It is derived from the shards and may be deleted at any time. A cache that is cut short or belongs
to another state of the store is not used. Beside it lies a checksum of each sweep; a sweep is
compared with its own when a process reads it for the first time, so that flipped bytes are found
before anything learns from them, and nothing is read for the sake of checking alone.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np

from vibrissa.core.errors import InputError, OutputError, refuse_unknown
from vibrissa.core.files import atomic_path
from vibrissa.core.progress import progress
from vibrissa.data.index import SHARDS
from vibrissa.data.reading import ShardReader, ahead
from vibrissa.data.shard import Shard

CACHE: Final = "cache"
CachePolicy = Literal["auto", "always", "never"]
LIMIT_BYTES: Final = 64_000_000_000
WORTH_IT: Final = 0.25
"""``auto`` makes no cache where a smaller share of the store than this is used."""
_LOCK: Final = "cache.lock"
_log = logging.getLogger(__name__)


class CacheFile:
    """A whole cache (a :class:`~vibrissa.data.reading.SweepSource`).

    It pickles by its path and is mapped anew in each process. Every sweep is checked once in each
    process, when it is first read.

    Args:
        path: the file, ``.npy``.
        sweeps: how many it must hold.
        shape: of each.
        digest: of what it holds.

    Raises:
        InputError: it or its checksums are not there, not of this shape, or cut short.
    """

    def __init__(self, path: Path, sweeps: int, shape: tuple[int, ...], digest: str) -> None:
        self.path = path
        self.shape = shape
        self.digest = digest
        self._sweeps = sweeps
        self._map()

    def _map(self) -> None:
        try:
            with self.path.open("rb") as stream:
                version = np.lib.format.read_magic(stream)
                if version != (1, 0):
                    raise ValueError(f"version {version}")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
                start, end = stream.tell(), os.fstat(stream.fileno()).st_size
                wanted = (self._sweeps, *self.shape)
                if shape != wanted or fortran or dtype != np.dtype("<f4"):
                    raise ValueError(f"{dtype} {shape}, <f4 {wanted} expected")
                if end != start + 4 * int(np.prod(wanted)):
                    raise ValueError(f"{end} bytes, so it is cut short or has more than it should")
                self._memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            text = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.path}: not a whole cache ({text}); delete it.") from error
        self._sums = _read_sums(self.path, self._sweeps)
        self._checked = np.zeros(self._sweeps, dtype=bool)
        self._start = start
        rows = np.frombuffer(self._memory, dtype="<f4", offset=start)
        self._rows = rows.reshape(self._sweeps, -1)

    def __len__(self) -> int:
        return self._sweeps

    def fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        """See :class:`~vibrissa.data.reading.SweepSource`.

        Raises:
            InputError: a sweep differs from its checksum.
        """
        if not len(indices):
            return
        if hasattr(self._memory, "madvise"):
            # All at once, so that the disk need not be waited for row by row.
            size = self._rows.strides[0]
            for row in indices.tolist():
                first = self._start + row * size
                page = first - first % mmap.PAGESIZE
                self._memory.madvise(mmap.MADV_WILLNEED, page, first + size - page)
        # "clip" spares numpy a buffer of its own; whoever calls has checked the indices.
        flat = out.reshape(len(indices), -1)
        np.take(self._rows, indices, axis=0, out=flat, mode="clip")
        for place in np.flatnonzero(~self._checked[indices]).tolist():
            row = int(indices[place])
            if zlib.crc32(flat[place].view(np.uint8)) != self._sums[row]:
                raise InputError(
                    f"{self.path}: sweep {row} is not as it was written; delete the file, and it "
                    "is made again from the shards."
                )
            self._checked[row] = True

    def __reduce__(self) -> tuple[Any, ...]:
        return CacheFile, (self.path, self._sweeps, self.shape, self.digest)


def _sums_path(path: Path) -> Path:
    return path.with_suffix(".sums")


def _read_sums(path: Path, sweeps: int) -> np.ndarray:
    """CRC-32 of each sweep; the file ends in that of its own contents.

    Raises:
        InputError: no whole file of so many.
    """
    source = _sums_path(path)
    try:
        packed = source.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}); delete {path}.") from error
    sums = np.frombuffer(packed[: len(packed) // 4 * 4], dtype="<u4")
    if len(packed) != 4 * (sweeps + 1) or sums[-1] != zlib.crc32(packed[:-4]):
        raise InputError(f"{source}: not the checksums of {sweeps} sweeps; delete {path}.")
    return sums[:-1]


@dataclass(frozen=True, kw_only=True)
class Cached:
    """What :func:`open_cache` found or made.

    Attributes:
        file: the cache; None where sweeps are to be read from the shards.
        built: whether it was made now.
        remark: one sentence where it is not as one might expect, else "".
    """

    file: CacheFile | None = None
    built: bool = False
    remark: str = ""


def open_cache(
    reader: ShardReader,
    policy: CachePolicy = "auto",
    *,
    used: int | None = None,
    threads: int = 2,
    limit_bytes: int = LIMIT_BYTES,
    quiet: bool = False,
) -> Cached:
    """The cache of a store for this preprocessing and normalisation; made if there is none.

    It goes to ``cache`` in the store or, where that cannot be written to, to the user's cache
    folder (VIBRISSA_CACHE moves it). Processes that want the same one wait for the first to make
    it. Caches of earlier states of the store, and what a killed process left, are removed.

    Args:
        reader: what it is made from.
        policy: ``auto`` makes one that takes at most half of the free space and ``limit_bytes``,
            ``always`` makes one of any size, ``never`` does not even use one that is there.
        used: how many sweeps will be read; ``auto`` makes no cache for a small part of a store.
        threads: how many inflate shards.
        limit_bytes: see above.
        quiet: no progress bar.

    Raises:
        InputError: an unknown policy, or a damaged shard.
    """
    if policy not in get_args(CachePolicy):
        raise refuse_unknown("cache", policy, get_args(CachePolicy))
    if policy == "never":
        return Cached()
    digest, sweeps = reader.digest, len(reader.store)
    name = f"{reader.store.digest[:16]}-{digest[:32]}.npy"
    folders = [folder for folder in cache_folders(reader.store.path) if folder is not None]
    for folder in folders:
        with suppress(InputError):
            return Cached(file=CacheFile(folder / name, sweeps, reader.shape, digest))
    size = 4 * sweeps * int(np.prod(reader.shape))
    if policy == "auto" and used is not None and used < WORTH_IT * sweeps:
        return Cached(
            remark=f"Sweeps are read from the shards: {used} of {sweeps} are used, which is not "
            "worth a cache."
        )
    reasons: list[str] = []
    if policy == "auto" and size > limit_bytes:
        reasons.append(f"it would take {_gigabytes(size)}, the limit is {_gigabytes(limit_bytes)}")
        folders = []
    for folder in folders:
        try:
            with _alone(folder) as locked:
                # Another process may have made it in the meantime.
                with suppress(InputError):
                    return Cached(file=CacheFile(folder / name, sweeps, reader.shape, digest))
                _tidy(folder, name, rests=locked)
                if policy == "auto":
                    _check_space(folder, size)
                _build(reader, folder / name, threads, quiet)
            made = CacheFile(folder / name, sweeps, reader.shape, digest)
        except OutputError as error:
            reasons.append(str(error).rstrip("."))
            continue
        remark = f"The cache is in {folder} ({reasons[0]})." if reasons else ""
        return Cached(file=made, built=True, remark=_said(remark))
    why = "; ".join(reasons) or "there is no folder for it"
    return Cached(remark=_said(f"Sweeps are read from the shards, without a cache: {why}."))


def cache_folders(store: Path) -> tuple[Path, Path | None]:
    """Where a store's caches may lie: in the store, and in the user's cache folder."""
    from vibrissa.objects.distance_cache import cache_folder

    distance = cache_folder()
    key = hashlib.sha256(str(store.resolve()).encode()).hexdigest()[:16]
    return store / CACHE, None if distance is None else distance.parent / "sweeps" / key


def _said(remark: str) -> str:
    if remark:
        _log.warning(remark)
    return remark


def _check_space(folder: Path, size: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}.") from error
    if size > free / 2:
        raise OutputError(
            f"{folder}: it would take {_gigabytes(size)} of the {_gigabytes(free)} that are free."
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process makes a cache here; says whether there is such a lock at all.
    The system lifts it when the process ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / _LOCK).open("a")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}).") from error
    with stream:
        locked = False
        with suppress(ImportError, OSError):  # some systems, and network file systems, have none
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
            locked = True
        yield locked


def _tidy(folder: Path, name: str, *, rests: bool) -> None:
    """Remove caches of other states of the store and a damaged one of this; with the lock, also
    what killed processes left."""
    state = name.partition("-")[0]
    for file in (*folder.glob("*.npy"), *folder.glob("*.sums")):
        # glob also finds hidden files, which are those under way
        if file.name.startswith("."):
            stale = rests and ".partial" in file.name
        else:
            stale = file.stem == Path(name).stem or not file.name.startswith(state)
        if stale:
            with suppress(OSError):
                file.unlink()


def _build(reader: ShardReader, path: Path, threads: int, quiet: bool) -> None:
    store, preprocessing = reader.store, reader.preprocessing
    shard_of = store.table["shard"].to_numpy(np.int64)
    paths = store.objects["path"].tolist()
    ends = np.searchsorted(shard_of, np.arange(len(paths)), side="right").tolist()
    starts = [0, *ends[:-1]]
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(store), *reader.shape)}

    def work(k: int) -> np.ndarray:
        with Shard(store.path / SHARDS / paths[k]) as shard:
            loads = shard.loads(frame=preprocessing.frame)
        if len(loads) != ends[k] - starts[k]:
            raise InputError(f"{shard.path}: it was built anew; open the store again.")
        return preprocessing.apply(loads, store.whiskers, reader.normalisation)

    # Written, not mapped: a full disk is then an error and not the end of the process.
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as stream,
        progress("caching", total=len(store), unit="sweep", quiet=quiet) as bar,
        closing(ahead(work, range(len(paths)), threads=threads, depth=2 * threads)) as done,
    ):
        np.lib.format.write_array_header_1_0(stream, header)
        sums: list[int] = []
        for _, values in done:
            stored = np.ascontiguousarray(values, dtype="<f4")
            stream.write(stored.data)
            sums += [zlib.crc32(sweep.reshape(-1).view(np.uint8)) for sweep in stored]
            bar.update(len(values))
        packed = np.array(sums, dtype="<u4").tobytes()
        # First the sums: a cache that is there has them.
        with atomic_path(_sums_path(path)) as beside:
            beside.write_bytes(packed + zlib.crc32(packed).to_bytes(4, "little"))
