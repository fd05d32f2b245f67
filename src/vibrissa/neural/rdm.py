"""Representational dissimilarity matrices (RDMs) from patterns: correlation, Euclidean, crossnobis.

An RDM of n conditions is kept as its n (n - 1) / 2 entries above the diagonal, row by row, as
``numpy.triu_indices(n, 1)`` lists them. Kriegeskorte, Mur and Bandettini (2008),
doi:10.3389/neuro.06.004.2008; Walther et al. (2016), doi:10.1016/j.neuroimage.2015.12.012.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from vibrissa.core.errors import refuse

Distance = Literal["correlation", "euclidean", "crossnobis"]
NEAR_CONSTANT = 1e-12
"""Variance below this share of the mean square counts as none: it is rounding noise."""


@cache
def pairs(n_conditions: int) -> tuple[np.ndarray, np.ndarray]:
    """(pair,) rows and (pair,) columns of the entries of an RDM, row by row above the diagonal."""
    rows, columns = np.triu_indices(n_conditions, 1)
    rows.setflags(write=False)
    columns.setflags(write=False)
    return rows, columns


def n_conditions_of(n_pairs: int) -> int:
    """Number of conditions of an RDM with so many entries.

    Raises:
        InputError: no number of conditions has so many pairs.
    """
    n = round((1 + np.sqrt(1 + 8 * n_pairs)) / 2)
    if n * (n - 1) // 2 != n_pairs or n < 2:
        raise refuse("RDM entries", n_pairs, "no n (n - 1) / 2", "give 1, 3, 6, 10, 15 ... entries")
    return n


def square(entries: np.ndarray) -> np.ndarray:
    """Entries (..., pair) as symmetric matrices (..., condition, condition), zero diagonal."""
    entries = np.asarray(entries, dtype=np.float64)
    n = n_conditions_of(entries.shape[-1])
    rows, columns = pairs(n)
    matrix = np.zeros((*entries.shape[:-1], n, n))
    matrix[..., rows, columns] = entries
    matrix[..., columns, rows] = entries
    return matrix


def correlation_rdm(patterns: np.ndarray) -> np.ndarray:
    """1 minus the Pearson correlation over units of each pair of patterns.

    Args:
        patterns: (..., condition, unit), two or more units.

    Returns:
        (..., pair); NaN where a pattern is constant over its units, to rounding.
    """
    patterns = np.asarray(patterns, dtype=np.float64)
    mean = patterns.mean(axis=-1, keepdims=True)
    centred = patterns - mean
    power = np.einsum("...u,...u->...", centred, centred)
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = power <= NEAR_CONSTANT * patterns.shape[-1] * mean[..., 0] ** 2
        centred = centred / np.where(flat, np.nan, np.sqrt(power))[..., None]
    rows, columns = pairs(patterns.shape[-2])
    return 1.0 - (centred @ np.swapaxes(centred, -1, -2))[..., rows, columns]


def euclidean_rdm(patterns: np.ndarray) -> np.ndarray:
    """Squared Euclidean distance per unit, the mean of the squared differences.

    Args:
        patterns: (..., condition, unit).

    Returns:
        (..., pair), squared units of the patterns.
    """
    patterns = np.asarray(patterns, dtype=np.float64)
    patterns = patterns - patterns.mean(axis=-2, keepdims=True)  # leaves distances as they are
    gram = patterns @ np.swapaxes(patterns, -1, -2)
    return _distances(gram) / patterns.shape[-1]


def crossnobis_rdm(folds: np.ndarray, precision: np.ndarray | None = None) -> np.ndarray:
    """Squared Mahalanobis distance per unit between folds, unbiased by noise.

    The differences of patterns in one fold are multiplied with those of the mean of all others,
    and the products averaged over the folds: Walther et al. (2016), eq. 5.

    Args:
        folds: (fold, condition, unit) patterns from independent trials, two or more folds.
        precision: (unit, unit) inverse of the noise covariance; None is the identity.

    Returns:
        (pair,); may be negative where the true distance is near 0.

    Raises:
        InputError: fewer than two folds.
    """
    folds = np.asarray(folds, dtype=np.float64)
    if folds.ndim != 3 or len(folds) < 2:
        raise refuse(
            "folds", folds.shape, "not two or more of them", "give (fold, condition, unit)"
        )
    others = (folds.sum(axis=0) - folds) / (len(folds) - 1)
    right = others if precision is None else others @ precision
    kernel = np.einsum("fiu,fju->ij", folds, right) / len(folds)
    return _distances(kernel) / folds.shape[2]


def _distances(gram: np.ndarray) -> np.ndarray:
    """(..., pair) squared distances from inner products (..., condition, condition)."""
    rows, columns = pairs(gram.shape[-1])
    diagonal = np.diagonal(gram, axis1=-2, axis2=-1)
    both = gram[..., rows, columns] + gram[..., columns, rows]
    return diagonal[..., rows] + diagonal[..., columns] - both


def residuals(values: np.ndarray, condition: np.ndarray) -> tuple[np.ndarray, int]:
    """What is left of trials when the mean of their condition is taken away.

    Args:
        values: (trial, unit).
        condition: (trial,) labels.

    Returns:
        (trial, unit) and the degrees of freedom, trials minus conditions.
    """
    left = np.array(values, dtype=np.float64)
    labels = np.unique(condition)
    for label in labels:
        shown = condition == label
        left[shown] -= left[shown].mean(axis=0)
    return left, len(left) - len(labels)


def shrinkage_covariance(left: np.ndarray, dof: int) -> np.ndarray:
    """Noise covariance with its off-diagonal shrunk towards 0 by the estimated optimum.

    Schaefer and Strimmer (2005), doi:10.2202/1544-6115.1175, target D. A unit that never varied
    gets the smallest variance of the others, so that the matrix has an inverse.

    Args:
        left: (trial, unit) residuals.
        dof: degrees of freedom they have left.

    Returns:
        (unit, unit), positive definite.

    Raises:
        InputError: no degrees of freedom, or no unit that varies.
    """
    if dof < 2:
        raise refuse(
            "degrees of freedom", dof, "too few trials for a covariance", "use more trials"
        )
    n = len(left)
    products = left.T @ left
    variance = np.diag(products) / dof
    if not (variance > 0).any():
        raise refuse("noise variance", 0.0, "no unit varies", "choose the identity as precision")
    variance = np.where(variance > 0, variance, variance[variance > 0].min())
    scale = np.sqrt(np.outer(variance, variance))
    mean = products / scale / (n - 1)
    mean_square = (left**2).T @ left**2 / scale**2 / (n - 1)
    spread = n / dof**2 * (mean_square - mean**2)
    off = ~np.eye(len(variance), dtype=bool)
    total = float(np.sum(mean[off] ** 2))
    shrink = min(max(float(np.sum(spread[off])) / total, 0.0), 1.0) if total > 0 else 1.0
    covariance = np.where(off, (1.0 - shrink) * products / dof, 0.0)
    np.fill_diagonal(covariance, variance)
    return covariance


def noise_precision(values: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Inverse of the shrunk noise covariance of trials within conditions.

    Args:
        values: (trial, unit).
        condition: (trial,) labels.

    Returns:
        (unit, unit).

    Raises:
        InputError: too few trials.
    """
    return np.linalg.inv(shrinkage_covariance(*residuals(values, condition)))
