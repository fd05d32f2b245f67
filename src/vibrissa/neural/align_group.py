"""The animals as a group, and layers chosen on other animals than they are scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vibrissa.neural.ceilings import group_score
from vibrissa.neural.inference import TOLERANCE, bootstrap_interval

LEAST_CONSISTENCY = 0.05
"""Mean likeness of two animals below which the root of it is no ceiling, whatever the user says."""
LEAST_ANIMALS = 4
"""With fewer a bootstrap over animals is too narrow, so that none is given."""
BOOTSTRAP_DRAWS = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """All layers against the animals as a group.

    Attributes:
        raw: (layer,) mean over animals.
        consistency: mean over pairs of animals of their likeness; or, for measures that cannot
            compare animals, the square of the mean of their ceilings.
        score: (layer,) raw over the root of the consistency.
        low, high: (layer,) bootstrap over animals.
        null: (permutation, layer).
        status: (layer,).
        n_animals: how many are in it.
    """

    raw: np.ndarray
    consistency: float
    score: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null: np.ndarray
    status: np.ndarray
    n_animals: int


def group_of(
    raw: np.ndarray, null: np.ndarray, pair: np.ndarray | None, ceiling: np.ndarray, level: float,
    *, floor: float = LEAST_CONSISTENCY, reasons: np.ndarray | None = None,
) -> Group:  # fmt: skip
    """Bring animals together.

    Args:
        raw: (layer, animal).
        null: (permutation, layer, animal).
        pair: (animal, animal) likeness of animals, or None if the measure has none.
        ceiling: (layer, animal) roots of reliabilities, used where ``pair`` is None.
        level: of confidence.
        floor: consistency below which no score is given; never less than ``LEAST_CONSISTENCY``.
        reasons: (layer, animal) statuses; that of an animal without a value is the layer's.
    """
    n = raw.shape[1]
    nothing = np.full(len(raw), np.nan)
    status = np.full(len(raw), "ok", dtype=object)

    def score(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if pair is not None:
            return group_score(raw, pair, weights)
        mean = weights @ ceiling.T / weights.sum(axis=1, keepdims=True)
        return weights @ raw.T / weights.sum(axis=1, keepdims=True) / mean, _finite(mean) ** 2

    value, low, high, consistency = nothing, nothing, nothing, float("nan")
    if n < 2:
        status[:] = "one_animal"
    else:
        scores, found = score(np.ones((1, n)))
        consistency = float(found[0])
        if not consistency >= max(floor, LEAST_CONSISTENCY):
            status[:] = "low_consistency"
        else:
            value = scores[0]
            status[~np.isfinite(value)] = "undefined"
            low, high = _interval(lambda weights: score(weights)[0], n, level)
    if reasons is not None:
        for layer, animal in np.argwhere(~np.isfinite(raw)):
            status[layer] = reasons[layer, animal]
    return Group(
        raw=raw.mean(axis=1), consistency=consistency, score=value, low=low, high=high,
        null=null.mean(axis=2), status=status, n_animals=n,
    )  # fmt: skip


def _interval(statistic: Any, n: int, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Bootstrap over animals; NaN for too few of them, or where samples often have no score."""
    values = statistic(np.ones((1, n)))[0]
    nothing = np.full(np.shape(values), np.nan)
    if n < LEAST_ANIMALS:
        return nothing, nothing
    return bootstrap_interval(statistic, n, draws=BOOTSTRAP_DRAWS, level=level)


def _finite(values: np.ndarray) -> np.ndarray:
    """Mean over layers of the finite ones, NaN where there are none."""
    good = np.isfinite(values)
    total = np.where(good, values, 0.0).sum(axis=1)
    return np.where(good.any(axis=1), total / np.maximum(good.sum(axis=1), 1), np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """A model by the layer that was best on the other animals.

    Attributes:
        raw: mean over animals of the value of the layer chosen without that animal.
        score: raw over the root of the animals' consistency.
        low, high: bootstrap over animals, the choice made anew each time.
        p: of ``raw``, the choice made anew in each permutation.
        chosen: (animal,) positions of the layers, -1 for none.
        status: ``ok``, or why there is none.
    """

    raw: float
    score: float
    low: float
    high: float
    p: float
    chosen: np.ndarray
    status: str


def held_out(
    raw: np.ndarray, null: np.ndarray, pair: np.ndarray | None, ceiling: np.ndarray, level: float,
    *, floor: float = LEAST_CONSISTENCY,
) -> HeldOut:  # fmt: skip
    """Choose the layer on all animals but one, score it on that one, average.

    Arguments as for :func:`group_of`.
    """
    n = raw.shape[1]
    nan = float("nan")
    use = np.flatnonzero(np.isfinite(raw).all(axis=1) & np.isfinite(null).all(axis=(0, 2)))
    if n < 2 or not len(use):
        status = "one_animal" if n < 2 else "undefined"
        none = np.full(n, -1)
        return HeldOut(raw=nan, score=nan, low=nan, high=nan, p=nan, chosen=none, status=status)
    raw, ceiling, null = raw[use], ceiling[use], null[:, use]
    once = np.ones((1, n))
    value, chosen = _choose(raw, once)
    moved = np.array([_choose(values, once)[0][0] for values in null])
    p = float((moved >= value[0] - TOLERANCE).mean())

    def score(weights: np.ndarray) -> np.ndarray:
        found, layers = _choose(raw, weights)
        if pair is not None:
            consistency = group_score(raw[:1], pair, weights)[1]
            good = consistency >= LEAST_CONSISTENCY
            return found / np.sqrt(np.where(good, consistency, np.nan))
        own = ceiling[layers, np.arange(n)]
        return found * weights.sum(axis=1) / (weights * own).sum(axis=1)

    if pair is not None:
        consistency = float(group_score(raw[:1], pair, once)[1][0])
    else:
        consistency = float(ceiling[chosen[0], np.arange(n)].mean()) ** 2
    if consistency >= max(floor, LEAST_CONSISTENCY):
        total = float(score(once)[0])
        low, high = _interval(score, n, level)
    else:
        total, low, high = nan, nan, nan
    status = "ok" if np.isfinite(total) else "low_consistency"
    return HeldOut(
        raw=float(value[0]), score=total, low=float(low), high=float(high), p=p,
        chosen=use[chosen[0]], status=status,
    )  # fmt: skip


def _choose(raw: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean value of the layers chosen without each animal, and which they are.

    Args:
        raw: (layer, animal).
        weights: (draw, animal) how often each animal counts; one that is drawn twice is left out
            twice.

    Returns:
        (draw,) and (draw, animal).
    """
    n = raw.shape[1]
    total = weights @ raw.T
    chosen = np.empty((len(weights), n), dtype=np.int64)
    for a in range(n):
        chosen[:, a] = np.argmax(total - weights[:, a, None] * raw[:, a], axis=1)
    values = raw[chosen, np.arange(n)]
    return (weights * values).sum(axis=1) / weights.sum(axis=1), chosen
