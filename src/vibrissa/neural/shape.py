"""Procrustes shape similarity: how well one set of patterns can be turned onto the other.

Williams et al. (2021), arXiv:2110.14739: for centred patterns X and Y of unit norm the cosine of
the shape angle is the nuclear norm of X'Y, that is of the product of the roots of their Gram
matrices. Any two patterns can be turned onto one another to some degree, so that the cosine of
unrelated ones is far above 0; what is reported is how far it lies between the mean over all
relabellings of the conditions (0) and perfect agreement (1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vibrissa.neural.inference import condition_orders
from vibrissa.neural.measures import Measure, measures
from vibrissa.neural.rdm_moments import Moments
from vibrissa.neural.reliability import HalfMoments

_ALL_ORDERS = 720
"""All of up to six conditions; of more, so many at random."""
_SOME_ORDERS = 120
"""For the halves of each draw, of which only the average counts."""


@measures.register("procrustes")
@dataclass(frozen=True, kw_only=True)
class Procrustes(Measure):
    """Procrustes shape similarity (cosine of the shape angle, taken from chance to 1).

    Attributes:
        scale: of the target's responses.
        adjusted: report chance-adjusted values; otherwise the plain cosine of the shape angle.
    """

    adjusted: bool = True
    least_conditions: ClassVar[int] = 3

    def features(self, moments: Moments) -> np.ndarray:
        gram = moments.centred()
        trace = np.trace(gram, axis1=-2, axis2=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            gram = gram / np.where(trace > 0, trace, np.nan)[..., None, None]
        bad = np.asarray(~np.isfinite(gram).all(axis=(-1, -2)))
        values, vectors = np.linalg.eigh(np.where(bad[..., None, None], 0.0, gram))
        values = np.where(values > 1e-12, values, 0.0)  # the root would make much of rounding
        root = (vectors * np.sqrt(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2)
        root = np.where(bad[..., None, None], np.nan, root)
        return root.reshape(*root.shape[:-2], -1)

    def compare(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        one, two = _square(sources), _square(targets)
        return np.array([self._adjusted(root[None], two, _ALL_ORDERS) for root in one])

    def null(self, sources: np.ndarray, target: Moments, orders: np.ndarray) -> np.ndarray:
        roots = _square(self.features(target.permuted(orders)))
        here = _square(self.features(target))[None]
        found = []
        for root in _square(sources):
            cosine = _nuclear(root[None] @ roots)
            # The mean over all orders is the same for each of them: they are a group.
            found.append(self._against(cosine, self._chance(root[None], here, _ALL_ORDERS)))
        return np.array(found).T

    def between_halves(self, halves: HalfMoments) -> np.ndarray:
        one, two = _square(self.features(halves.first)), _square(self.features(halves.second))
        return self._adjusted(one, two, _SOME_ORDERS)

    def ceiling_bounds(self, subjects: object) -> tuple[float, float]:
        return float("nan"), float("nan")

    def _adjusted(self, one: np.ndarray, two: np.ndarray, limit: int) -> np.ndarray:
        cosine = _nuclear(one @ two)
        return self._against(cosine, self._chance(one, two, limit) if self.adjusted else None)

    def _against(self, cosine: np.ndarray, chance: np.ndarray | None) -> np.ndarray:
        if chance is None or not self.adjusted:
            return cosine
        with np.errstate(divide="ignore", invalid="ignore"):
            return (cosine - chance) / np.where(chance < 1 - 1e-12, 1.0 - chance, np.nan)

    def _chance(self, one: np.ndarray, two: np.ndarray, limit: int) -> np.ndarray:
        """Mean over relabellings of the conditions of one side."""
        orders, _ = condition_orders(one.shape[-1], limit=limit, seed=0)
        total = np.zeros(np.broadcast_shapes(one.shape[:-2], two.shape[:-2]))
        for order in orders:
            total += _nuclear(one @ two[..., order[:, None], order[None, :]])
        return total / len(orders)


def _square(features: np.ndarray) -> np.ndarray:
    n = round(features.shape[-1] ** 0.5)
    return features.reshape(*features.shape[:-1], n, n)


def _nuclear(matrices: np.ndarray) -> np.ndarray:
    bad = np.asarray(~np.isfinite(matrices).all(axis=(-1, -2)))
    values = np.linalg.svd(np.where(bad[..., None, None], 0.0, matrices), compute_uv=False)
    return np.where(bad, np.nan, values.sum(axis=-1))
