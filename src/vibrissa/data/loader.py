"""From a store to batches of model input: in an order that a seed decides, on any number of
processes, and from the middle of an epoch on where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import Dataset

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import refuse
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.seeds import generator
from vibrissa.data.normalisation import Normalisation
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.reading import ShardReader, SweepSource, ahead
from vibrissa.data.splits import Split
from vibrissa.data.store import SweepStore
from vibrissa.morphology.grid import GRID_SHAPE

_STATE_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class TactileBatch:
    """Some sweeps as models take them.

    Attributes:
        input: (batch, step, channel, row, column) float32; as a rule 22 steps of 30 channels
            (5 sub-frames x 6) on the 5 x 7 grid.
        label: (batch,) int64, position in the labels of the store.
        index: (batch,) int64, position in the store.

    Raises:
        InputError: other shapes or types.
    """

    input: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.input.shape)
        grid = len(shape) == 5 and shape[3:] == GRID_SHAPE and shape[2] % len(CHANNELS) == 0
        if not grid or self.input.dtype != torch.float32:
            raise refuse(
                "input", (shape, self.input.dtype),
                "not float32 (batch, step, n x 6, 5, 7)", "make it with Preprocessing",
            )  # fmt: skip
        for name in ("label", "index"):
            value: torch.Tensor = getattr(self, name)
            if tuple(value.shape) != shape[:1] or value.dtype != torch.int64:
                raise refuse(
                    name, (tuple(value.shape), value.dtype), f"not int64 ({shape[0]},)",
                    "give one for each sweep",
                )  # fmt: skip

    def __len__(self) -> int:
        return len(self.label)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> TactileBatch:
        """The same on another device."""
        return self._each(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> TactileBatch:
        """The same in memory that a GPU can fetch from."""
        return self._each(lambda t: t.pin_memory())

    def _each(self, change: Any) -> TactileBatch:
        return TactileBatch(
            input=change(self.input), label=change(self.label), index=change(self.index)
        )


class SweepDataset(Dataset[tuple[torch.Tensor, int]]):
    """Sweeps of a store as (input, label), for torch's own DataLoader and for ours.

    It pickles, and holds no open file: workers may be spawned or forked.

    Args:
        store: where from.
        indices: positions in the store, in the order in which they are counted here; by default
            those of a part of the split, or all.
        split: a split, or the name of one in the store.
        part: which part of it.
        preprocessing: how loads become model input.
        normalisation: the measured one; by default that of the split.
        source: what to read from, for instance a cache; by default the shards.

    Raises:
        InputError: both indices and split, no sweeps, a position that is not in the store, no
            normalisation where one is wanted, or a source made for something else.
    """

    def __init__(
        self,
        store: SweepStore,
        *,
        indices: Sequence[int] | np.ndarray | None = None,
        split: Split | str | None = None,
        part: str = "train",
        preprocessing: Preprocessing | None = None,
        normalisation: Normalisation | None = None,
        source: SweepSource | None = None,
    ) -> None:
        preprocessing = preprocessing or Preprocessing()
        if isinstance(split, str):
            split = store.split(split)
        if split is not None:
            if indices is not None:
                raise refuse("indices", len(indices), "there is a split too", "give one of both")
            indices = split.indices(part, store.table)
            if not len(indices):
                raise refuse(
                    "part", part, f"split {split.name!r} has no sweeps in it",
                    "choose another part, or make another split",
                )  # fmt: skip
            if normalisation is None and preprocessing.normalise != "none":
                normalisation = split.normalisation(preprocessing.normalise, preprocessing.frame)
        chosen = np.arange(len(store)) if indices is None else np.asarray(indices)
        if chosen.ndim != 1 or not len(chosen) or chosen.dtype.kind not in "iu":
            raise refuse("indices", indices, "no list of positions", "give some whole numbers")
        if chosen.min() < 0 or chosen.max() >= len(store):
            odd = int(chosen.min() if chosen.min() < 0 else chosen.max())
            raise refuse("index", odd, f"the store has {len(store)} sweeps", "give one of these")
        reader = ShardReader(store, preprocessing, normalisation)
        if source is not None and source.digest != reader.digest:
            raise refuse(
                "source", source, "made of other sweeps or by another preprocessing",
                "open it with the same store, preprocessing and normalisation",
            )  # fmt: skip
        self.labels: tuple[str, ...] = store.labels
        self.indices: np.ndarray = chosen.astype(np.int64)
        self.source: SweepSource = reader if source is None else source
        self._label_of = store.table["label_index"].to_numpy(np.int64)[self.indices]

    @property
    def shape(self) -> tuple[int, ...]:
        """(step, channel, row, column) of an input."""
        return self.source.shape

    @property
    def digest(self) -> str:
        """SHA-256 of all that the values and their order depend on."""
        return digest_of_bytes(self.source.digest.encode(), self.indices.astype("<i8").tobytes())

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        count = len(self)
        if not -count <= item < count:
            raise IndexError(f"item {item} of {count}")  # so that a plain loop over it ends
        return self.__getitems__([item % count])[0]

    def __getitems__(self, items: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        batch = self.batch(np.asarray(items, dtype=np.int64))
        return list(zip(batch.input.unbind(), batch.label.tolist(), strict=True))

    def batch(self, items: np.ndarray, *, pin_memory: bool = False) -> TactileBatch:
        """The sweeps at these positions, int64 (n,), of this data set.

        Raises:
            InputError: a shard is damaged or not there.
        """
        index = self.indices[items]
        values = torch.empty((len(index), *self.shape), pin_memory=pin_memory)
        self.source.fill(index, values.numpy())
        batch = TactileBatch(
            input=values,
            label=torch.from_numpy(self._label_of[items]),
            index=torch.from_numpy(index),
        )
        return batch.pin_memory() if pin_memory else batch


class TactileLoader:
    """Batches of a data set, read ahead by threads; goes into a training loop as it is.

    The order of an epoch depends on the seed and the epoch alone. It is cut into global batches,
    and of each of these every process takes its slice; so the k-th step sees the same sweeps
    however many processes share it, and all processes have equally many steps. Slices differ by
    one sweep at most where the batch cannot be shared out evenly.

    At the end of a pass the epoch counts on by itself; a pass that was broken off is begun again
    unless :meth:`set_epoch` says otherwise.

    Args:
        dataset: what to load.
        batch_size: sweeps of a batch, over all processes together.
        seed: of the order.
        shuffle: else the order is that of the data set.
        drop_last: leave out what does not fill a batch; else every sweep comes exactly once, in
            batches that are equal to within one sweep and no larger than ``batch_size``.
        rank: number of this process.
        world_size: how many processes there are.
        threads: how many read ahead.
        prefetch: batches read ahead.
        pin_memory: give batches that a GPU can fetch by itself; without a GPU it does nothing.

    Raises:
        InputError: numbers below 1, a rank that is none, fewer sweeps than a batch (where
            ``drop_last``), or a batch with fewer sweeps than processes.
    """

    def __init__(
        self,
        dataset: SweepDataset,
        batch_size: int = 256,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        prefetch: int = 4,
        pin_memory: bool = False,
    ) -> None:
        for name, value in (
            ("batch_size", batch_size),
            ("world_size", world_size),
            ("threads", threads),
            ("prefetch", prefetch),
        ):
            if value < 1:
                raise refuse(name, value, "must be at least 1", "give 1 or more")
        if not 0 <= rank < world_size:
            raise refuse("rank", rank, f"there are {world_size} processes", "count from 0")
        sweeps = len(dataset)
        if drop_last and sweeps < batch_size:
            raise refuse(
                "batch_size", batch_size, f"there are {sweeps} sweeps, which fill no batch",
                "choose a smaller one, or drop_last=False",
            )  # fmt: skip
        self.dataset = dataset
        self.batch_size, self.seed = batch_size, seed
        self.shuffle, self.drop_last = shuffle, drop_last
        self.rank, self.world_size = rank, world_size
        self.threads, self.prefetch = threads, prefetch
        self.pin_memory = pin_memory and torch.cuda.is_available()
        if drop_last:
            self._cuts = np.arange(0, sweeps + 1, batch_size)
        else:
            count = -(-sweeps // batch_size)
            self._cuts = np.arange(count + 1) * sweeps // count
        if np.diff(self._cuts).min() < world_size:
            raise refuse(
                "world_size", world_size,
                f"there are batches of {np.diff(self._cuts).min()} sweeps", "use fewer processes",
            )  # fmt: skip
        self._epoch = 0
        self._done = 0
        self._goes_on = False  # whether the next pass begins behind the batches done
        self.order(0)  # refuses what is no seed

    def __len__(self) -> int:
        return len(self._cuts) - 1

    @property
    def epoch(self) -> int:
        """The epoch that the next batch belongs to."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch; where it is the present one, nothing changes."""
        if epoch < 0:
            raise refuse("epoch", epoch, "negative", "count from 0")
        if epoch != self._epoch:
            self._epoch, self._done, self._goes_on = int(epoch), 0, False

    @property
    def sampler(self) -> TactileLoader:
        """Itself: Lightning calls ``set_epoch`` of the sampler that it finds under this name."""
        return self

    def order(self, epoch: int) -> np.ndarray:
        """Positions in the data set in the order of an epoch, (sweep,) int64."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return generator(self.seed, "order", epoch).permutation(len(self.dataset))

    def __iter__(self) -> Generator[TactileBatch, None, None]:
        epoch = self._epoch
        first = self._done if self._goes_on else 0
        self._done, self._goes_on = first, False
        order = self.order(epoch)
        parts = (self._part(order, k) for k in range(first, len(self)))
        depth = self.prefetch + 1  # the one handed out counts
        with closing(ahead(self._made, parts, threads=self.threads, depth=depth)) as batches:
            for done, (_, batch) in enumerate(batches, first + 1):
                # Before it is handed out: who saves the state then has used this batch.
                whole = done == len(self)
                self._epoch, self._done = (epoch + 1, 0) if whole else (epoch, done)
                yield batch

    def _part(self, order: np.ndarray, k: int) -> np.ndarray:
        """What this process takes of the k-th batch."""
        whole = order[self._cuts[k] : self._cuts[k + 1]]
        count = len(whole)
        start, end = (r * count // self.world_size for r in (self.rank, self.rank + 1))
        return whole[start:end]

    def _made(self, items: np.ndarray) -> TactileBatch:
        return self.dataset.batch(items, pin_memory=self.pin_memory)

    # --- going on ----------------------------------------------------------------------------

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the batches depend on besides seed and epoch."""
        settings = [self.batch_size, self.shuffle, self.drop_last]
        return digest_of_bytes(self.dataset.digest.encode(), json.dumps(settings).encode())

    def state_dict(self) -> dict[str, Any]:
        """Where this loader is; plain numbers and text."""
        return {
            "version": _STATE_VERSION,
            "epoch": self._epoch,
            "batches": self._done,
            "seed": self.seed,
            "digest": self.digest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was: the next pass gives the batches that were left to it.

        The number of processes may be another.

        Raises:
            InputError: the state is that of other data, another batch size, order or seed.
        """
        known = {"version", "epoch", "batches", "seed", "digest"}
        if set(state) != known or state["version"] != _STATE_VERSION:
            raise refuse("loader state", dict(state), "not one of this version", "begin anew")
        if state["digest"] != self.digest:
            raise refuse(
                "loader state", state["digest"][:16], "saved with other sweeps, preprocessing, "
                "normalisation, batch_size, shuffle or drop_last", "use the same, or begin anew",
            )  # fmt: skip
        if state["seed"] != self.seed:
            raise refuse("seed", self.seed, f"the state has {state['seed']}", "use that one")
        if not (state["epoch"] >= 0 and 0 <= state["batches"] < len(self)):
            raise refuse("loader state", dict(state), "no such batch", "begin anew")
        self._epoch, self._done = int(state["epoch"]), int(state["batches"])
        self._goes_on = True
