"""Moments of patterns over units: all that a representational measure needs to know of them.

For patterns P (condition, unit) these are the Gram matrix P P', the sum over units, and the number
of units. They add over sessions, so that a target of many sessions costs the sum of its parts, and
no joint array with holes is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vibrissa.neural.rdm import NEAR_CONSTANT, _distances, pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of one or many sets of patterns.

    Attributes:
        gram: (..., condition, condition) sum over units of the products of two patterns.
        total: (..., condition) sum over units.
        bias: (..., condition) expected share of noise in the diagonal of ``gram``; 0 for patterns
            without noise.
        n_units: how many units.
        offset: number that was taken off all patterns beforehand, for the sake of rounding.
    """

    gram: np.ndarray
    total: np.ndarray
    bias: np.ndarray
    n_units: int
    offset: float = 0.0

    @property
    def n_conditions(self) -> int:
        """Number of conditions."""
        return self.gram.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the sets, () for one."""
        return self.gram.shape[:-2]

    def __getitem__(self, key: Any) -> Moments:
        return self._like(self.gram[key], self.total[key], self.bias[key])

    def _like(self, gram: np.ndarray, total: np.ndarray, bias: np.ndarray) -> Moments:
        return Moments(gram=gram, total=total, bias=bias, n_units=self.n_units, offset=self.offset)

    def reshape(self, *shape: int) -> Moments:
        """The same sets in another arrangement."""
        n = self.n_conditions
        return self._like(
            self.gram.reshape(*shape, n, n), self.total.reshape(*shape, n),
            self.bias.reshape(*shape, n),
        )  # fmt: skip

    def permuted(self, orders: np.ndarray) -> Moments:
        """With the conditions in other orders.

        Args:
            orders: (order, condition) positions; condition k becomes the one at ``orders[:, k]``.

        Returns:
            Moments of shape (..., order).
        """
        orders = np.atleast_2d(orders)
        gram = self.gram[..., orders[:, :, None], orders[:, None, :]]
        return self._like(gram, self.total[..., orders], self.bias[..., orders])

    def correlation(self) -> np.ndarray:
        """(..., pair) 1 minus the correlation over units; NaN where a pattern is constant."""
        mean = self.total / self.n_units
        covariance = self.gram - self.total[..., :, None] * mean[..., None, :]
        power = np.diagonal(covariance, axis1=-2, axis2=-1)
        level = self.n_units * (mean + self.offset) ** 2
        floor = NEAR_CONSTANT * np.maximum(level, np.diagonal(self.gram, axis1=-2, axis2=-1))
        rows, columns = pairs(self.n_conditions)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.sqrt(np.where(power > floor, power, np.nan))
            return 1.0 - covariance[..., rows, columns] / (size[..., rows] * size[..., columns])

    def euclidean(self, *, unbiased: bool = False) -> np.ndarray:
        """(..., pair) mean squared differences; ``unbiased`` takes the share of noise away.

        The unbiased form is the average of the crossnobis product over all pairs of different
        trials of a condition: it equals leave-one-trial-out cross-validation in expectation and
        needs no equal numbers of trials.
        """
        found = _distances(self.gram)
        if unbiased:
            rows, columns = pairs(self.n_conditions)
            found = found - self.bias[..., rows] - self.bias[..., columns]
        return found / self.n_units

    def centred(self, *, unbiased: bool = False) -> np.ndarray:
        """(..., condition, condition) Gram matrix of patterns less their mean over conditions."""
        gram = self.gram
        if unbiased:
            gram = gram - self.bias[..., None] * np.eye(self.n_conditions)
        row = gram.mean(axis=-1, keepdims=True)
        column = gram.mean(axis=-2, keepdims=True)
        return gram - row - column + gram.mean(axis=(-1, -2), keepdims=True)


def moments_of(patterns: np.ndarray, *, offset: float | None = None) -> Moments:
    """Moments of patterns without noise, for instance those of a layer.

    Args:
        patterns: (..., condition, unit).
        offset: number to take off; by default their mean.
    """
    values = np.asarray(patterns, dtype=np.float64)
    offset = float(values.mean()) if offset is None and values.size else (offset or 0.0)
    values = values - offset
    total = values.sum(axis=-1)
    return Moments(
        gram=values @ np.swapaxes(values, -1, -2), total=total, bias=np.zeros_like(total),
        n_units=values.shape[-1], offset=offset,
    )  # fmt: skip


def add(parts: Sequence[Moments]) -> Moments:
    """Moments of the joint patterns of several groups of units, for the same sets."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Moments(
        gram=np.sum([p.gram for p in parts], axis=0),
        total=np.sum([p.total for p in parts], axis=0),
        bias=np.sum([p.bias for p in parts], axis=0),
        n_units=sum(p.n_units for p in parts),
        offset=first.offset,
    )
