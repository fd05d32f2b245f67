"""The numbers behind a table of alignment: all layers against one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vibrissa.neural.inference import jackknife_interval
from vibrissa.neural.measures import Measure
from vibrissa.neural.rdm_moments import Moments
from vibrissa.neural.reliability import (
    Scale,
    SessionMoments,
    half_weights,
    scaled_trials,
    spearman_brown,
)
from vibrissa.neural.session import Session


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """All layers against one target.

    Attributes:
        raw: (layer,) plain value of the measure.
        reliability: of the target at full length; not clipped.
        source_reliability: (layer,) of what is made of the layer; 1 where it is without noise.
        kept: share of draws in which the halves could be compared.
        score: (layer,) raw over the root of both reliabilities.
        low, high: (layer,) ends of the interval over trials.
        null: (permutation, layer) values with the conditions relabelled; the first is ``raw``.
        status: (layer,) words.
        features: (feature,) of the target, for comparing targets; None if that makes no sense.
    """

    raw: np.ndarray
    reliability: float
    source_reliability: np.ndarray
    kept: float
    score: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null: np.ndarray
    status: np.ndarray
    features: np.ndarray | None = field(default=None, repr=False)


def empty_cells(n_layers: int, n_orders: int, status: str) -> Cells:
    """Cells of a target that cannot be compared, for a reason."""
    nothing = np.full(n_layers, np.nan)
    return Cells(
        raw=nothing, reliability=float("nan"), source_reliability=nothing, kept=0.0, score=nothing,
        low=nothing, high=nothing, null=np.full((n_orders, n_layers), np.nan),
        status=np.full(n_layers, status, dtype=object),
    )  # fmt: skip


def cells_of_moments(
    measure: Measure,
    sources: Sequence[Moments],
    target: SessionMoments,
    orders: np.ndarray,
    *,
    floor: float,
    level: float,
    source_features: np.ndarray | None = None,
) -> Cells:
    """Compare layers with a target by their moments.

    Args:
        measure: bound to the confounds of the target, if it takes any.
        sources: moments of each layer.
        target: moments of the target.
        orders: (permutation, condition), the given order first.
        floor: reliability below which no score is given.
        level: of confidence.
        source_features: (layer, feature) if they are known already.
    """
    if source_features is None:
        source_features = np.array([measure.source_features(s) for s in sources])
    features = measure.features(target.full)
    raw = measure.compare(source_features, features[None])[:, 0]
    halves = target.halves
    r_yy = measure.between_halves(halves)
    r_xx = measure.source_between_halves(source_features, halves)
    fold_raw = fold_yy = fold_xx = None
    if target.folds is not None and target.fold_halves is not None:
        fold_raw = measure.compare(source_features, measure.features(target.folds)).T
        fold_yy = _mean(measure.between_halves(target.fold_halves))
        between = measure.source_between_halves(source_features, target.fold_halves)
        fold_xx = None if between is None else _mean(between, axis=1).T
    if measure.confounded:
        moved = np.array([measure.source_features(s.permuted(orders)) @ features for s in sources])
        null = moved.T
    else:
        null = measure.null(source_features, target.full, orders)
    cells = _cells(
        raw, r_yy, r_xx, null, fold_raw, fold_yy, fold_xx,
        np.asarray(np.isfinite(source_features).all(axis=1)), floor, level,
        features if measure.symmetric else None,
    )  # fmt: skip
    few = np.array([s.n_units < measure.least_units for s in sources])
    cells.status[few | (target.full.n_units < measure.least_units)] = "too_few_units"
    return cells


def cells_of_patterns(
    measure: Any,
    sources: Sequence[np.ndarray],
    sessions: Sequence[Session],
    conditions: Sequence[str],
    orders: np.ndarray,
    *,
    draws: int,
    seed: int,
    floor: float,
    level: float,
) -> Cells:
    """The same for measures that need the patterns themselves; no interval over trials."""
    full, first, second = pattern_halves(
        sessions, conditions, scale=measure.scale, draws=draws, seed=seed
    )
    raw, r_xx, null = [], [], []
    r_yy = np.full(draws, np.nan)
    for source in sources:
        prediction, deviation = measure.predict(
            source, full[None][:, orders].reshape(-1, *full.shape)
        )
        moved = measure.likeness(prediction, deviation)
        raw.append(moved[0])
        null.append(moved)
        p1, d1 = measure.predict(source, first)
        p2, d2 = measure.predict(source, second)
        r_xx.append(measure.likeness(p1, p2))
        r_yy = measure.likeness(d1, d2)
    values = np.array(raw)
    good = np.asarray(np.isfinite(values))
    return _cells(
        values, r_yy, np.array(r_xx), np.array(null).T, None, None, None, good, floor, level, None
    )


def pattern_halves(
    sessions: Sequence[Session], conditions: Sequence[str], *, scale: Scale, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Averages (condition, unit) over all trials, and over the halves of each draw.

    The units of the sessions stand side by side; halves as in
    :func:`~vibrissa.neural.reliability.session_moments`, with the same draws.
    """
    from vibrissa.core.seeds import generator

    full, first, second = [], [], []
    for session in sessions:
        ordered = session.select(np.argsort(session.file_order, kind="stable"))
        values = scaled_trials(ordered, conditions, scale)
        shape = (len(conditions), ordered.n_units)
        mean, one, two = np.empty(shape), np.empty((draws, *shape)), np.empty((draws, *shape))
        for k, name in enumerate(conditions):
            shown = values[ordered.condition == name]
            weights = half_weights(len(shown), draws, generator(seed, "halves", ordered.name, name))
            size = weights.sum(axis=1)[:, None]
            sums = weights @ shown
            mean[k] = shown.mean(axis=0)
            one[:, k] = sums / size
            two[:, k] = (shown.sum(axis=0) - sums) / (len(shown) - size)
        full.append(mean)
        first.append(one)
        second.append(two)
    return np.concatenate(full, -1), np.concatenate(first, -1), np.concatenate(second, -1)


def _cells(
    raw: np.ndarray, r_yy: np.ndarray, r_xx: np.ndarray | None, null: np.ndarray,
    fold_raw: np.ndarray | None, fold_yy: np.ndarray | None, fold_xx: np.ndarray | None,
    source_good: np.ndarray, floor: float, level: float, features: np.ndarray | None,
) -> Cells:  # fmt: skip
    good = np.isfinite(r_yy)
    reliability = spearman_brown(float(r_yy[good].mean())) if good.any() else float("nan")
    source = np.ones(len(raw)) if r_xx is None else spearman_brown(_mean(r_xx, axis=1))
    status = np.full(len(raw), "ok", dtype=object)
    both = np.fmin(reliability, source)
    status[~(both >= floor)] = "low_reliability"
    status[both < 0] = "negative_reliability"
    status[~np.isfinite(raw)] = "undefined"
    status[~source_good] = "source_constant"
    if not good.any() or (not np.isfinite(null[0]).any() and source_good.any()):
        status[:] = "target_constant"
    fine = status == "ok"

    def scored(value: np.ndarray, yy: Any, xx: Any) -> np.ndarray:
        ceiling = np.where(fine, yy * xx, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(fine, value / np.sqrt(np.where(ceiling > 0, ceiling, np.nan)), np.nan)

    score = scored(raw, reliability, source)
    low = high = np.full(len(raw), np.nan)
    if fold_raw is not None and fold_yy is not None:
        xx = 1.0 if fold_xx is None else spearman_brown(fold_xx)
        without = scored(fold_raw, np.asarray(spearman_brown(fold_yy))[:, None], xx)
        low, high = jackknife_interval(score, without, level=level)
    return Cells(
        raw=raw, reliability=reliability, source_reliability=np.asarray(source),
        kept=float(good.mean()), score=score, low=low, high=high, null=null, status=status,
        features=features,
    )  # fmt: skip


def _mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of the finite ones; NaN where there are none."""
    good = np.isfinite(values)
    count = good.sum(axis=axis)
    total = np.where(good, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
