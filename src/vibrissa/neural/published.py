"""The published alignment, formula by formula, with a switch for each of its deviations.

What the public code and result files of arXiv:2505.18361 compute (their metric library is
neuroagents-lab/brainmodel_utils), written anew for audit: which step makes which number. It is not
a way to score a model; :func:`~vibrissa.neural.aligning.align` is.

For arrays X and Y (trial, condition, unit) and seed s the trials 0..n-1 are shuffled by numpy's
legacy generator; the first n // 2 are one half. With RDM = 1 - Pearson correlation over units, r
the Pearson correlation of RDM entries and SB(r) = 2 r / (1 + r), a draw scores
r(X, Y) / sqrt(SB(r(X1, X2)) SB(r(Y1, Y2))), NaN where the product is negative or close to 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.neural.compare import embed
from vibrissa.neural.rdm import correlation_rdm
from vibrissa.neural.reliability import spearman_brown

FIRST_SEED: Final = 1234
DRAWS: Final = 1000
CUTOFF: Final = 0.5
QUANTITIES: Final = ("r_xy_n_sb", "r_xx", "r_xx_sb", "r_yy", "r_yy_sb", "r_xy", "denom_sb")


def legacy_halves(n_trials: int, seeds: Sequence[int]) -> np.ndarray:
    """(draw, trial) truth values: in the first half, by ``RandomState(seed).shuffle``."""
    found = np.zeros((len(seeds), n_trials), dtype=bool)
    stream = np.random.RandomState()
    for k, seed in enumerate(seeds):
        stream.seed(seed)  # as a new RandomState(seed) starts, and quicker
        found[k, stream.permutation(n_trials)[: n_trials // 2]] = True  # shuffles 0, 1, 2 ...
    return found


def draw_statistics(
    source: Any,
    target: Any,
    *,
    draws: int = DRAWS,
    first_seed: int = FIRST_SEED,
    comparison: str = "pearson",
) -> dict[str, np.ndarray]:
    """The published quantities for every draw.

    Args:
        source: (condition, unit), or (trial, condition, unit) with NaN where there is no trial.
        target: (trial, condition, unit), or a list of such blocks that stand side by side.
        draws: how many.
        first_seed: seeds go up from here.
        comparison: ``pearson`` or ``spearman`` of the RDMs.

    Returns:
        ``r_xy_n_sb`` (the score), ``r_xx``, ``r_xx_sb``, ``r_yy``, ``r_yy_sb``, ``r_xy`` and
        ``denom_sb``, each (draw kept,).

    Raises:
        InputError: other shapes, or a condition without any trial.
    """
    side = target_side(target, draws=draws, first_seed=first_seed, comparison=comparison)
    return source_statistics(
        source, side, draws=draws, first_seed=first_seed, comparison=comparison
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetSide:
    """What a target needs once, however many layers there are.

    Attributes:
        features: (feature,) of the RDM of all trials.
        r_yy: (draw,) correlation of the halves, NaN where the draw is skipped.
        kept: (draw,).
    """

    features: np.ndarray
    r_yy: np.ndarray
    kept: np.ndarray


def target_side(
    target: Any, *, draws: int, first_seed: int = FIRST_SEED, comparison: str = "pearson",
    weights: Sequence[np.ndarray] | None = None, chunk: int = 200,
) -> TargetSide:  # fmt: skip
    """Halve, average and compare a target for all draws.

    All draws of a chunk are one matrix product W @ D; data without trials are 0 in D and counted
    by another product with the few distinct columns of the mask.

    Args:
        target: (trial, condition, unit), or a list of blocks that stand side by side along units;
            shorter blocks are as if filled up with NaN.
        draws: how many.
        first_seed: seeds go up from here.
        comparison: ``pearson`` or ``spearman``.
        weights: (draw, trial) first halves of each block, instead of those by the seeds.
        chunk: draws at a time.
    """
    blocks = [target] if isinstance(target, np.ndarray) else list(target)
    blocks = [_three(block, "target") for block in blocks]
    if weights is None:
        longest = max(len(block) for block in blocks)
        first = legacy_halves(longest, range(first_seed, first_seed + draws)).astype(np.float64)
        weights = [first[:, : len(block)] for block in blocks]
    r_yy, kept = np.empty(draws), np.empty(draws, dtype=bool)
    engines = [_Engine(block, alone=len(blocks) == 1) for block in blocks]
    for start in range(0, draws, chunk):
        part = slice(start, min(start + chunk, draws))
        found = [e.halves(np.asarray(w[part])) for e, w in zip(engines, weights, strict=True)]
        one, two = (_joined([f[k] for f in found]) for k in (0, 1))
        kept[part] = np.logical_and.reduce([f[2] for f in found])
        r_yy[part] = _paired(one, two, comparison)
    r_yy[~kept] = np.nan
    mean = _joined([engine.mean() for engine in engines])
    return TargetSide(features=embed(correlation_rdm(mean), comparison), r_yy=r_yy, kept=kept)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)


def source_statistics(
    source: Any, side: TargetSide, *, draws: int, first_seed: int = FIRST_SEED,
    comparison: str = "pearson",
) -> dict[str, np.ndarray]:  # fmt: skip
    """The quantities of :func:`draw_statistics` for one source and a target done before."""
    kept = side.kept
    if isinstance(source, np.ndarray) and source.ndim == 2:
        features = embed(correlation_rdm(source), comparison)
        r_xx = np.ones(len(kept))
    else:
        other = target_side(source, draws=draws, first_seed=first_seed, comparison=comparison)
        features, r_xx, kept = other.features, other.r_yy, kept & other.kept
    r_xy = float(features @ side.features)
    return quantities(np.full(int(kept.sum()), r_xy), r_xx[kept], side.r_yy[kept])


def quantities(r_xy: np.ndarray, r_xx: np.ndarray, r_yy: np.ndarray) -> dict[str, np.ndarray]:
    """The published names from the three correlations of each draw.

    Two negative reliabilities give a finite score; a negative product, or one close to 0, NaN.
    """
    xx, yy = np.asarray(spearman_brown(r_xx)), np.asarray(spearman_brown(r_yy))
    product = xx * yy
    with np.errstate(invalid="ignore", divide="ignore"):
        bad = (product < 0) | np.isclose(product, 0)
        root = np.where(bad, np.nan, np.sqrt(np.where(bad, 1.0, product)))
        score = r_xy / root
    return {
        "r_xy_n_sb": score, "r_xx": r_xx, "r_xx_sb": xx, "r_yy": r_yy, "r_yy_sb": yy,
        "r_xy": r_xy, "denom_sb": root,
    }  # fmt: skip


def filtered_mean(statistics: Mapping[str, np.ndarray], cutoff: float | None = CUTOFF) -> float:
    """Mean score of the draws whose uncorrected reliabilities reach the cutoff; NaN if none.

    The cutoff is on the correlation of the halves as it is, which equals SB > 0.667 for 0.5.
    """
    score = np.array(statistics["r_xy_n_sb"])
    if cutoff is not None:
        score = score[~((statistics["r_yy"] < cutoff) | (statistics["r_xx"] < cutoff))]
    good = np.isfinite(score)
    return float(score[good].mean()) if good.any() else float("nan")


def filtered_share(statistics: Mapping[str, np.ndarray], cutoff: float = CUTOFF) -> float:
    """Share of the draws that the filter keeps."""
    drop = (statistics["r_yy"] < cutoff) | (statistics["r_xx"] < cutoff)
    return float((~drop).mean())


def published_maximum(values: Sequence[float]) -> float:
    """Python's ``max`` as published: if the first value is NaN it is the result."""
    if not len(values):
        raise refuse("values", [], "there are none", "give one or more")
    return max(values)


class _Engine:
    """Halves of an array (trial, condition, unit) for many draws: means, up to their scale."""

    def __init__(self, values: np.ndarray, *, alone: bool) -> None:
        self.n, self.shape = len(values), values.shape[1:]
        flat = values.reshape(self.n, -1)
        known = np.isfinite(flat)
        self.data = np.where(known, flat, 0.0)
        self.whole, self.alone = bool(known.all()), alone
        if self.whole:
            self.masks, self.which = np.ones((self.n, 1)), np.zeros(flat.shape[1], dtype=np.int64)
        else:  # one mask per session, usually: few distinct columns among thousands
            packed = np.packbits(known, axis=0)
            _, first, which = np.unique(packed, axis=1, return_index=True, return_inverse=True)
            self.masks, self.which = known[:, first].astype(np.float64), which.reshape(-1)
        self.total, self.count = self.data.sum(axis=0), self.masks.sum(axis=0)
        if not (self.count > 0).all():
            raise InputError("target: a condition has no trial at all; leave it out.")

    def mean(self) -> np.ndarray:
        return (self.total / self.count[self.which]).reshape(self.shape)

    def halves(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sums, counts = weights @ self.data, weights @ self.masks
        left = self.count - counts
        good = (counts > 0).all(axis=1) & (left > 0).all(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            second = self.total - sums
            if self.whole and not self.alone:
                sums /= counts
                second /= left
            elif not self.whole:  # sums of whole data have the same correlations as means
                sums /= np.where(counts > 0, counts, np.nan)[:, self.which]
                second /= np.where(left > 0, left, np.nan)[:, self.which]
        shape = (len(weights), *self.shape)
        return sums.reshape(shape), second.reshape(shape), good


def _paired(one: np.ndarray, two: np.ndarray, comparison: str) -> np.ndarray:
    first = embed(correlation_rdm(one), comparison)
    second = embed(correlation_rdm(two), comparison)
    return np.einsum("df,df->d", first, second)


def _three(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 3:
        raise refuse(name, f"shape {array.shape}", "not (trial, condition, unit)", "mend it")
    return array
