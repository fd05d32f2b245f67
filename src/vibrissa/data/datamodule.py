"""All that a training takes from a data set: loaders of the parts of a split, the measured
normalisation, the cache, and what the model must fit. Needs no training framework."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from vibrissa.core.errors import OutputError, refuse, refuse_unknown
from vibrissa.data.cache import CachePolicy, open_cache
from vibrissa.data.loader import SweepDataset, TactileLoader
from vibrissa.data.normalisation import Normalisation
from vibrissa.data.normalising import measured
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.reading import ShardReader, SweepSource
from vibrissa.data.splits import PARTS, Split, remarks
from vibrissa.data.store import SweepStore


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How a :class:`DataModule` loads.

    Attributes:
        batch_size: sweeps of a training batch, over all processes together.
        eval_batch_size: the same for validation and test; None for that of training.
        seed: of the order.
        drop_last: leave out training sweeps that do not fill a batch. Where a part has fewer
            sweeps than a batch, they are one batch.
        cache: see :func:`vibrissa.data.cache.open_cache`.
        threads: how many read ahead; None for the processors there are, at most 4.
        prefetch: batches read ahead.
        pin_memory: give batches that a GPU can fetch by itself.

    Raises:
        InputError: numbers below 1, a negative seed or an unknown policy.
    """

    batch_size: int = 256
    eval_batch_size: int | None = None
    seed: int = 0
    drop_last: bool = True
    cache: CachePolicy = "auto"
    threads: int | None = None
    prefetch: int = 4
    pin_memory: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "eval_batch_size", "threads", "prefetch"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and value >= 1):
                raise refuse(name, value, "must be a whole number, at least 1", "give 1 or more")
        if self.seed < 0:
            raise refuse("seed", self.seed, "negative", "give 0 or more")
        if self.cache not in get_args(CachePolicy):
            raise refuse_unknown("cache", self.cache, get_args(CachePolicy))


class DataModule:
    """What a training takes: the parts of a split as loaders, and what the model must fit.

    Args:
        store: a store or its folder.
        split: a split, or the name of one in the store.
        config: how to load.
        preprocessing: how loads become model input.
        rank: number of this process; by default that of ``torch.distributed``, or 0.
        world_size: how many processes there are, likewise.
        quiet: no progress bars.

    Attributes:
        labels: names of the classes of the store; the label of a batch counts in it.
        n_classes: how many.
        trained_labels: those with sweeps in the training part.
        input_shape: (step, channel, row, column).

    Raises:
        InputError: no such store or split, one that does not fit, one without training sweeps, or
            settings that cannot be.
    """

    def __init__(
        self,
        store: SweepStore | Path | str,
        split: Split | str,
        config: LoaderConfig | None = None,
        *,
        preprocessing: Preprocessing | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        quiet: bool = False,
    ) -> None:
        self.store = store if isinstance(store, SweepStore) else SweepStore.open(store)
        self.config = config or LoaderConfig()
        self.preprocessing = preprocessing or Preprocessing()
        self.split = self.store.split(split) if isinstance(split, str) else split
        self._stored = isinstance(split, str)
        self._quiet = quiet
        self._processes = _processes(rank, world_size)
        codes = self.split.codes(self.store.table)
        self._counts = {part: int((codes == k).sum()) for k, part in enumerate(PARTS)}
        if not self._counts["train"]:
            raise refuse("split", self.split.name, "no sweeps to train with", "make another split")
        self.labels = self.store.labels
        self.n_classes = len(self.labels)
        trained = np.unique(self.store.table["label_index"].to_numpy()[codes == 0])
        self.trained_labels = tuple(self.labels[k] for k in trained.tolist())
        self.input_shape = self.preprocessing.model_shape(self.store.time)
        self._remarks = list(remarks(codes, self.store.table))
        self._loaders: dict[str, TactileLoader] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts with any sweeps."""
        return tuple(part for part, count in self._counts.items() if count)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know: classes that miss from parts, where the cache is and why."""
        return tuple(self._remarks)

    @cached_property
    def normalisation(self) -> Normalisation:
        """That of the training part; measured when first asked for, and kept with a split that
        is in the store."""
        wanted = self.preprocessing
        if wanted.normalise == "none":
            return Normalisation(frame=wanted.frame)
        split = measured(self.store, self.split, wanted, quiet=self._quiet)
        if split is not self.split:
            self.split = split
            if self._stored:
                try:
                    self.store.save_split(split)
                except OutputError as error:
                    self._remarks.append(f"The normalisation was not kept: {error}")
        found = split.normalisation(wanted.normalise, wanted.frame)
        assert found is not None
        return found

    @cached_property
    def source(self) -> SweepSource:
        """What is read from: the cache, or else the shards."""
        reader = ShardReader(self.store, self.preprocessing, self.normalisation)
        cached = open_cache(
            reader,
            self.config.cache,
            used=sum(self._counts.values()),
            threads=max(2, self._threads),
            quiet=self._quiet,
        )
        if cached.remark:
            self._remarks.append(cached.remark)
        return reader if cached.file is None else cached.file

    def dataset(self, part: str) -> SweepDataset:
        """A part as a torch data set.

        Raises:
            InputError: no such part, or one without sweeps.
        """
        return SweepDataset(
            self.store,
            split=self.split,
            part=part,
            preprocessing=self.preprocessing,
            normalisation=self.normalisation,
            source=self.source,
        )

    def loader(self, part: str) -> TactileLoader:
        """The loader of a part, always the same one; training is shuffled, the others are not.

        Raises:
            InputError: no such part, or one without sweeps.
        """
        if part not in self._loaders:
            config, train = self.config, part == "train"
            dataset = self.dataset(part)
            size = config.batch_size if train else config.eval_batch_size or config.batch_size
            rank, world_size = self._processes
            self._loaders[part] = TactileLoader(
                dataset,
                size,
                seed=config.seed,
                shuffle=train,
                drop_last=train and config.drop_last and len(dataset) >= size,
                rank=rank,
                world_size=world_size,
                threads=self._threads,
                prefetch=config.prefetch,
                pin_memory=config.pin_memory,
            )
        return self._loaders[part]

    def train_dataloader(self) -> TactileLoader:
        """The training part."""
        return self.loader("train")

    def val_dataloader(self) -> TactileLoader:
        """The validation part."""
        return self.loader("validate")

    def test_dataloader(self) -> TactileLoader:
        """The test part."""
        return self.loader("test")

    def state_dict(self) -> dict[str, Any]:
        """Where the training loader is."""
        return {"train": self.loader("train").state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there.

        Raises:
            InputError: as for :meth:`TactileLoader.load_state_dict`.
        """
        if set(state) != {"train"}:
            raise refuse("data state", sorted(state), "not {'train'}", "begin anew")
        self.loader("train").load_state_dict(state["train"])

    @property
    def _threads(self) -> int:
        if self.config.threads is not None:
            return self.config.threads
        if hasattr(os, "sched_getaffinity"):
            return min(4, len(os.sched_getaffinity(0)))
        return min(4, os.cpu_count() or 1)


def _processes(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise refuse("rank", rank, f"world_size is {world_size}", "give both or neither")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
