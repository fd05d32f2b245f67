"""Comparisons of RDMs, each as an inner product of two vectors made from one RDM each.

So any number of layers is compared with any number of targets, draws or permutations by one matrix
product. Diedrichsen et al. (2021), doi:10.51628/001c.27664, for the whitened ones; Nili et al.
(2014), doi:10.1371/journal.pcbi.1003553, for Kendall's tau-a.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, Literal

import numpy as np

from vibrissa.core.errors import refuse_unknown
from vibrissa.neural.rdm import n_conditions_of, pairs

Comparison = Literal[
    "pearson", "spearman", "kendall", "cosine", "whitened_cosine", "whitened_correlation"
]


def embed(entries: np.ndarray, comparison: str) -> np.ndarray:
    """Vectors whose inner products are the similarities of RDMs.

    Args:
        entries: (..., pair) RDMs.
        comparison: ``pearson``, ``spearman`` and ``cosine`` of the entries; ``kendall``, tau-a;
            ``whitened_cosine`` and ``whitened_correlation``, which weigh the entries by the
            covariance that they have when the noise of patterns is equal and independent.

    Returns:
        (..., feature); NaN where the similarity is not defined (NaN entries, no variation).

    Raises:
        InputError: an unknown comparison.
    """
    if comparison not in _EMBEDDINGS:
        raise refuse_unknown("comparison", comparison, _EMBEDDINGS)
    return _EMBEDDINGS[comparison](np.asarray(entries, dtype=np.float64))


def compare_rdms(first: np.ndarray, second: np.ndarray, comparison: str) -> np.ndarray:
    """Similarities of all of one set of RDMs with all of another.

    Args:
        first: (n, pair) or (pair,).
        second: (m, pair) or (pair,).
        comparison: as for :func:`embed`.

    Returns:
        (n, m).
    """
    one = embed(np.atleast_2d(first), comparison)
    return one @ embed(np.atleast_2d(second), comparison).T


def comparisons() -> tuple[str, ...]:
    """The names of the comparisons."""
    return tuple(_EMBEDDINGS)


def pool_rdms(entries: np.ndarray, comparison: str) -> np.ndarray:
    """The RDM that is on average the most similar to those of a group.

    Each RDM is first brought to unit size in the sense of the comparison (Nili et al. 2014); for
    Kendall's tau-a, as usual, the mean of the ranks.

    Args:
        entries: (subject, pair).
        comparison: as for :func:`embed`.

    Returns:
        (pair,).
    """
    entries = np.asarray(entries, dtype=np.float64)
    if comparison in ("spearman", "kendall"):
        return ranks(entries).mean(axis=0)
    if comparison in ("pearson", "whitened_correlation"):
        entries = entries - entries.mean(axis=-1, keepdims=True)
    return _unit(entries).mean(axis=0)


def ranks(entries: np.ndarray) -> np.ndarray:
    """Ranks from 1 along the last axis, ties sharing their mean; NaN rows stay NaN."""
    from scipy.stats import rankdata

    return rankdata(entries, axis=-1, nan_policy="propagate")


def _unit(vectors: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.einsum("...f,...f->...", vectors, vectors))
    with np.errstate(divide="ignore", invalid="ignore"):
        return vectors / np.where(size > 0, size, np.nan)[..., None]


def _centred(vectors: np.ndarray) -> np.ndarray:
    """Less their mean; what is left by rounding alone is undefined."""
    left = vectors - vectors.mean(axis=-1, keepdims=True)
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    return np.where(np.abs(left).max(axis=-1, keepdims=True) > 1e-14 * largest, left, np.nan)


def _pearson(entries: np.ndarray) -> np.ndarray:
    return _unit(_centred(entries))


def _spearman(entries: np.ndarray) -> np.ndarray:
    return _unit(_centred(ranks(entries)))


def _kendall(entries: np.ndarray) -> np.ndarray:
    rows, columns = pairs(entries.shape[-1])
    difference = entries[..., columns] - entries[..., rows]
    found = np.sign(difference) / np.sqrt(len(rows))
    return np.where(np.any(difference != 0, axis=-1, keepdims=True), found, np.nan)


def _cosine(entries: np.ndarray) -> np.ndarray:
    return _unit(entries)


def _whitened_cosine(entries: np.ndarray) -> np.ndarray:
    return _unit(entries @ _whitener(entries.shape[-1]))


def _whitened_correlation(entries: np.ndarray) -> np.ndarray:
    return _unit(_centred(entries) @ _whitener(entries.shape[-1]))


@cache
def _whitener(n_pairs: int) -> np.ndarray:
    """(pair, pair) V^(-1/2), where V is the covariance of the entries of an RDM.

    For contrasts C of pairs, V = (C C')**2 elementwise: Diedrichsen et al. (2021), eq. 12.
    """
    n = n_conditions_of(n_pairs)
    rows, columns = pairs(n)
    contrast = np.zeros((n_pairs, n))
    contrast[np.arange(n_pairs), rows] = 1.0
    contrast[np.arange(n_pairs), columns] = -1.0
    values, vectors = np.linalg.eigh((contrast @ contrast.T) ** 2)
    return (vectors / np.sqrt(values)) @ vectors.T


_EMBEDDINGS: Final[dict[str, Callable[[np.ndarray], np.ndarray]]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "kendall": _kendall,
    "cosine": _cosine,
    "whitened_cosine": _whitened_cosine,
    "whitened_correlation": _whitened_correlation,
}
