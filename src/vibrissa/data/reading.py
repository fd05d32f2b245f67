"""Sweeps straight from the shards as model input: the loader's way without a cache."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import refuse
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.manifest import to_tree
from vibrissa.data.index import SHARDS
from vibrissa.data.shard import FRAMES, Shard

if TYPE_CHECKING:
    from vibrissa.data.normalisation import Normalisation
    from vibrissa.data.preprocessing import Preprocessing
    from vibrissa.data.store import SweepStore

T = TypeVar("T")
R = TypeVar("R")

_AT_ONCE: Final = 8  # sweeps: what is inflated is still in the processor's cache when it is used


class SweepSource(Protocol):
    """What gives model input by position in the store; pickles, and any thread may use it.

    Attributes:
        digest: of all that its values depend on.
        shape: (step, sub-frame x channel, row, column).
    """

    @property
    def digest(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Write the sweeps at these positions, int64 (n,), into (n, *shape) float32 contiguous.

        Raises:
            InputError: a shard is damaged or not there.
        """
        ...


class ShardReader:
    """Model input straight from the shards (a :class:`SweepSource`).

    Args:
        store: where from.
        preprocessing: how loads become model input.
        normalisation: the measured one, where the preprocessing wants one.

    Raises:
        InputError: the store is empty or lacks the frame, its frames do not fit the steps, or the
            normalisation does not fit.
    """

    def __init__(
        self,
        store: SweepStore,
        preprocessing: Preprocessing,
        normalisation: Normalisation | None = None,
    ) -> None:
        if not len(store):
            raise refuse("store", str(store.path), "it has no sweeps", "build it first")
        self.store = store
        self.preprocessing = preprocessing
        self.normalisation = normalisation if preprocessing.normalise != "none" else None
        self.shape: tuple[int, ...] = preprocessing.model_shape(store.time)
        # With no sweep at all, so that what does not fit is refused now.
        nothing = np.empty((0, store.time, len(store.whiskers), len(CHANNELS)), np.float32)
        preprocessing.apply(nothing, store.whiskers, self.normalisation)
        self._turned = preprocessing.frame not in store.frames
        if self._turned:
            with Shard(store.path / SHARDS / store.objects["path"].iloc[0]) as shard:
                shard.loads([0], preprocessing.frame)  # refuses what cannot be had
        self._start()

    def _start(self) -> None:
        self._shard_of = self.store.table["shard"].to_numpy(np.int64)
        self._row_of = self.store.table["row"].to_numpy(np.int64)
        self._chunks = self.store.chunks
        self._array = FRAMES["base" if self._turned else self.preprocessing.frame]
        self._turns: dict[int, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        kept = ("store", "preprocessing", "normalisation", "shape", "_turned")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    @property
    def digest(self) -> str:
        """SHA-256 of the seals of all shards, the preprocessing and the normalisation."""
        measured = None if self.normalisation is None else self.normalisation.to_dict()
        tree = {
            "store": self.store.digest,
            "preprocessing": to_tree(self.preprocessing),
            "normalisation": measured,
        }
        return digest_of_bytes(json.dumps(tree, sort_keys=True).encode())

    def fill(self, indices: np.ndarray, out: np.ndarray) -> None:
        """See :class:`SweepSource`."""
        order = np.argsort(self._shard_of[indices], kind="stable")
        shape = (min(len(order), _AT_ONCE), self.store.time, len(self.store.whiskers))
        buffer = np.empty((*shape, len(CHANNELS)), np.float32)
        for start in range(0, len(order), _AT_ONCE):
            where = order[start : start + _AT_ONCE]
            loads = self._decoded(indices[where], buffer[: len(where)])
            out[where] = self.preprocessing.apply(loads, self.store.whiskers, self.normalisation)

    def _decoded(self, indices: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Loads of sweeps that are sorted by shard; each file is opened once."""
        shards = self._shard_of[indices]
        cuts = [0, *(np.flatnonzero(np.diff(shards)) + 1).tolist(), len(indices)]
        for start, end in pairwise(cuts):
            shard, rows = int(shards[start]), self._row_of[indices[start:end]]
            self._chunks.read(shard, self._array, rows.tolist(), out[start:end])
            if self._turned:
                out[start:end] = self._turn(shard, rows, out[start:end])
        return out

    def _turn(self, shard: int, rows: np.ndarray, loads: np.ndarray) -> np.ndarray:
        from vibrissa.simulation.sweep import rotate_loads

        turns = self._turns.get(shard)
        if turns is None:
            turns = self._turns[shard] = self._chunks.small(shard, "base_rotation")
        return rotate_loads(loads, (turns if len(turns) == 1 else turns[rows])[:, None])


def ahead(
    work: Callable[[T], R], items: Iterable[T], *, threads: int, depth: int
) -> Generator[tuple[T, R], None, None]:
    """Items with what work makes of them, in their order, some of it done ahead by threads.

    However the loop over it ends, the threads have ended when the iterator is closed. An error of
    the work is raised where its result would come.

    Args:
        work: what to do; several threads do it at a time.
        items: taken one by one, ``depth`` ahead at most.
        threads: how many.
        depth: results under way or waiting at a time.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="vibrissa-ahead")
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= depth:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
