"""Inference with fixed stimuli: permutations of conditions, jackknife, bootstrap, false discovery.

Nothing here generalises over stimuli: with six conditions no method can (rsatoolbox's authors say
five are too few). Permutations test whether the labels matter for *these* conditions; intervals
speak of other trials, or of other animals.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.seeds import generator

FIXED_STIMULI = (
    "Stimuli are fixed: p-values and intervals hold for these conditions and do not generalise to "
    "others."
)
ALPHA = 0.05
"""Level at which the figure marks layers, and that the column ``threshold`` belongs to."""
TOLERANCE = 1e-9
"""Values of a permutation within this of the observed one count as equal to it."""


def condition_orders(n: int, *, limit: int = 10_000, seed: int = 0) -> tuple[np.ndarray, bool]:
    """Orders of n conditions, the given one first.

    Args:
        n: number of conditions.
        limit: if there are more orders than this, so many are drawn at random.
        seed: root seed of the draw.

    Returns:
        (order, condition) positions, and whether these are all there are.

    Raises:
        InputError: fewer than two conditions, or a limit below 1.
    """
    if n < 2:
        raise refuse("conditions", n, "nothing to permute", "use two or more")
    if limit < 1:
        raise refuse("limit of permutations", limit, "below 1", "give 1 or more")
    if math.factorial(n) <= limit:
        return np.array(list(itertools.permutations(range(n)))), True
    rng = generator(seed, "permutations", n)
    drawn = np.argsort(rng.random((limit - 1, n)), axis=1)
    return np.vstack([np.arange(n), drawn]), False


def permutation_p(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Share of permutations, the given order among them, whose value is not below the observed one.

    Args:
        observed: (...) values.
        null: (permutation, ...) values; the first is the observed one.

    Returns:
        (...) one-sided p-values of 1 / permutations or more; NaN where the value is.
    """
    reached = (null >= observed - TOLERANCE).mean(axis=0)
    return np.where(np.isfinite(observed), reached, np.nan)


def max_statistic_p(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """p-values that hold for all cells at once (family-wise), by the largest of the null.

    Each cell is taken in units of its own null (mean and standard deviation over permutations), so
    that none dominates by its spread. Westfall and Young (1993); Nichols and Holmes (2002),
    doi:10.1002/hbm.1058.

    Args:
        observed: (cell,) values; cells that are not finite take no part.
        null: (permutation, cell).

    Returns:
        (cell,).
    """
    return max_statistic(observed, null)[0]


def max_statistic(
    observed: np.ndarray, null: np.ndarray, *, alpha: float = ALPHA
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`max_statistic_p`, and the values above which it is ``alpha`` or less.

    Args:
        observed: (cell,) values; cells that are not finite take no part.
        null: (permutation, cell).
        alpha: level of significance.

    Returns:
        p-values (cell,) and thresholds (cell,) in the units of ``observed``, one for each cell
        since each has its own null; NaN for cells that take no part.
    """
    found, threshold = np.full(observed.shape, np.nan), np.full(observed.shape, np.nan)
    mean, deviation = null.mean(axis=0), null.std(axis=0)
    use = np.isfinite(observed) & np.isfinite(mean) & (deviation > 1e-12)
    if not use.any():
        return found, threshold
    standard = (null[:, use] - mean[use]) / deviation[use]
    largest = standard.max(axis=1)
    here = (observed[use] - mean[use]) / deviation[use]
    largest.sort()
    above = len(largest) - np.searchsorted(largest, here - TOLERANCE, side="left")
    found[use] = above / len(largest)
    allowed = int(alpha * len(largest) + TOLERANCE)  # so many may reach a significant value
    threshold[use] = mean[use] + deviation[use] * largest[-1 - allowed]
    return found, threshold


def jackknife_interval(
    estimate: np.ndarray, without: np.ndarray, *, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Interval from estimates with one group left out each (Tukey 1958; Efron 1981).

    Student's t with one degree of freedom less than there are groups.

    Args:
        estimate: (...) from everything.
        without: (group, ...) with one group left out.
        level: of confidence.

    Returns:
        Lower and upper ends (...); NaN where a leave-one-out estimate is.
    """
    from scipy.stats import t

    groups = len(without)
    if groups < 3:
        return np.full(np.shape(estimate), np.nan), np.full(np.shape(estimate), np.nan)
    spread = without - without.mean(axis=0)
    error = np.sqrt((groups - 1) / groups * np.sum(spread**2, axis=0))
    width = float(t.ppf(0.5 + level / 2, groups - 1)) * error
    return estimate - width, estimate + width


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    n_subjects: int,
    *,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over subjects drawn with replacement.

    Args:
        statistic: takes weights (draw, subject) that sum to the number of subjects, gives (draw,
            ...).
        n_subjects: how many there are.
        draws: how many samples.
        seed: root seed.
        level: of confidence.

    Returns:
        Lower and upper ends; NaN where more than a tenth of the samples have no value.
    """
    rng = generator(seed, "subjects", n_subjects)
    weights = rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=draws)
    values = statistic(weights.astype(np.float64))
    tail = (1 - level) / 2
    good = np.isfinite(values)
    enough = good.mean(axis=0) >= 0.9  # else what is left is a selection
    filled = np.where(enough & good, values, np.where(enough, np.nan, 0.0))
    low, high = np.nanquantile(filled, [tail, 1 - tail], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values: the smallest false discovery rate at which each test is declared.

    Benjamini and Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x.

    Args:
        p: (test,) p-values; NaN takes no part.

    Returns:
        (test,).
    """
    p = np.asarray(p, dtype=np.float64)
    found = np.full(p.shape, np.nan)
    use = np.flatnonzero(np.isfinite(p))
    if not len(use):
        return found
    order = use[np.argsort(p[use], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found
