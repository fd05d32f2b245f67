"""Measuring the normalisation of a split: one pass over the sweeps of its training part."""

from __future__ import annotations

import numpy as np

from vibrissa.core.progress import progress
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.splits import PARTS, Split
from vibrissa.data.store import SweepStore


def measured(
    store: SweepStore, split: Split, preprocessing: Preprocessing, *, quiet: bool = True
) -> Split:
    """The split with the normalisation that the preprocessing wants, measured if it lacks it.

    Only training sweeps count. Shards are read in their order, so that equal stores give equal
    numbers to the last bit.

    Raises:
        InputError: the split was made for another state of the store, or a damaged shard.
    """
    if preprocessing.normalise == "none":
        return split
    if split.normalisation(preprocessing.normalise, preprocessing.frame) is not None:
        return split
    training = split.codes(store.table) == PARTS.index("train")
    accumulator = preprocessing.accumulator()
    with progress("measuring loads", total=int(training.sum()), unit="sweep", quiet=quiet) as bar:
        for indices, shard in store.shards():
            rows = np.flatnonzero(training[indices])
            if len(rows):
                accumulator.add(shard.loads(rows.tolist(), preprocessing.frame))
                bar.update(len(rows))
    return split.with_normalisation(accumulator.result())
