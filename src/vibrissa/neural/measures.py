"""The measures of likeness between a layer and a target, as a registry of configurations.

A measure turns the moments of patterns into a vector of features, once per layer, target, draw or
permutation; comparing many with many is then a matrix product. Register your own::

    @measures.register("mine")
    @dataclass(frozen=True, kw_only=True)
    class Mine(Measure):
        \"\"\"One line for ``vibrissa list``.\"\"\"

        def features(self, moments): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, Literal

import numpy as np

from vibrissa.core.errors import refuse_unknown
from vibrissa.core.registry import Registry
from vibrissa.neural.compare import comparisons, embed, pool_rdms
from vibrissa.neural.rdm import Distance
from vibrissa.neural.rdm_moments import Moments, moments_of
from vibrissa.neural.reliability import HalfMoments, Scale

SCALES: tuple[Scale, ...] = ("rate", "sqrt", "zscore", "whitened")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What every measure has; the base compares by the inner product of features.

    Attributes:
        scale: in which the responses of the target are compared (see
            :func:`~vibrissa.neural.reliability.scaled_trials`).
    """

    scale: Scale = "rate"

    symmetric: ClassVar[bool] = True
    """Whether features of targets can be compared with one another, as those of animals are."""
    on_patterns: ClassVar[bool] = False
    """Whether it needs the patterns themselves, not only their moments."""
    confounded: ClassVar[bool] = False
    """Whether it takes confounds, which are bound to it for each target."""
    least_conditions: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise refuse_unknown("scale", self.scale, SCALES)

    @property
    def invariant_to(self) -> frozenset[str]:
        """What may be done to the units of either side and leaves it as it is.

        ``rotation``, ``scaling`` (all units by one factor), ``order`` of units, ``shift`` (a number
        of its own added to each unit).
        """
        return frozenset({"rotation", "scaling", "order", "shift"})

    @property
    def least_units(self) -> int:
        """Units that a layer and a target need for the measure to be defined."""
        return 1

    def features(self, moments: Moments) -> np.ndarray:
        """(..., feature) of sets of patterns; NaN where the measure is not defined for one."""
        raise NotImplementedError

    def source_features(self, moments: Moments) -> np.ndarray:
        """(..., feature) of layers; the same unless model and target play different parts."""
        return self.features(moments)

    def compare(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """(source, target) values of all sources (source, feature) with all targets."""
        return sources @ targets.T

    def null(self, sources: np.ndarray, target: Moments, orders: np.ndarray) -> np.ndarray:
        """(order, source) values with the conditions of the target in other orders."""
        return self.compare(sources, self.features(target.permuted(orders))).T

    def between_halves(self, halves: HalfMoments) -> np.ndarray:
        """(...,) value of the two halves of each draw with one another."""
        one, two = self.features(halves.first), self.features(halves.second)
        return np.einsum("...f,...f->...", one, two)

    def source_between_halves(self, sources: np.ndarray, halves: HalfMoments) -> np.ndarray | None:
        """(source, ...) reliability of what is made of the source; None where it has no noise."""
        return None

    def ceiling_bounds(self, subjects: Sequence[Moments]) -> tuple[float, float]:
        """Lower and upper noise ceiling over subjects; NaN where there are none."""
        features = np.array([self.features(s) for s in subjects])
        n = len(features)
        total = features.sum(axis=0)
        others = total - features
        with np.errstate(divide="ignore", invalid="ignore"):
            lower = np.einsum("sf,sf->s", features, others) / np.linalg.norm(others, axis=1)
            upper = features @ total / np.linalg.norm(total)
        return (float(lower.mean()) if n > 1 else float("nan")), float(upper.mean())


measures: Registry[type[Measure]] = Registry("measures")


@measures.register("rsa")
@dataclass(frozen=True, kw_only=True)
class RSA(Measure):
    """Representational similarity: RDMs by correlation, Euclidean or crossnobis distance.

    Attributes:
        rdm: ``correlation``, 1 - r over units, as published; ``euclidean``; ``crossnobis``, squared
            distances free of noise bias, which unequal numbers of trials cannot imitate.
        comparison: of the RDMs (see :func:`~vibrissa.neural.compare.embed`).
        scale: of the target's responses.
    """

    rdm: Distance = "correlation"
    comparison: Literal[
        "pearson", "spearman", "kendall", "cosine", "whitened_cosine", "whitened_correlation"
    ] = "pearson"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rdm not in ("correlation", "euclidean", "crossnobis"):
            raise refuse_unknown("rdm", self.rdm, ("correlation", "euclidean", "crossnobis"))
        if self.comparison not in comparisons():
            raise refuse_unknown("comparison", self.comparison, comparisons())

    @property
    def invariant_to(self) -> frozenset[str]:
        """A correlation over units minds rotations and shifts, distances do not."""
        if self.rdm == "correlation":
            return frozenset({"scaling", "order"})
        return frozenset({"rotation", "scaling", "order", "shift"})

    @property
    def least_units(self) -> int:
        """Three for a correlation: two units can only agree or disagree."""
        return 3 if self.rdm == "correlation" else 1

    def entries(self, moments: Moments) -> np.ndarray:
        """(..., pair) RDMs."""
        if self.rdm == "correlation":
            if moments.n_units < self.least_units:
                n = moments.n_conditions
                return np.full((*moments.shape, n * (n - 1) // 2), np.nan)
            return moments.correlation()
        return moments.euclidean(unbiased=self.rdm == "crossnobis")

    def features(self, moments: Moments) -> np.ndarray:
        return embed(self.entries(moments), self.comparison)

    def ceiling_bounds(self, subjects: Sequence[Moments]) -> tuple[float, float]:
        from vibrissa.neural.ceilings import noise_ceilings

        return noise_ceilings(np.array([self.entries(s) for s in subjects]), self.comparison)

    def pooled(self, subjects: Sequence[Moments]) -> np.ndarray:
        """(feature,) of the RDM that is on average the most like those of the subjects."""
        entries = np.array([self.entries(s) for s in subjects])
        return embed(pool_rdms(entries, self.comparison), self.comparison)


@measures.register("crossnobis")
@dataclass(frozen=True, kw_only=True)
class CrossnobisRSA(RSA):
    """RSA with crossnobis distances, whitened responses and a whitened correlation.

    Attributes:
        rdm: as for ``rsa``.
        comparison: as for ``rsa``.
        scale: ``whitened`` divides by the shrunk noise covariance.
    """

    rdm: Distance = "crossnobis"
    comparison: Literal[
        "pearson", "spearman", "kendall", "cosine", "whitened_cosine", "whitened_correlation"
    ] = "whitened_correlation"
    scale: Scale = "whitened"


def value(measure: Measure, source: np.ndarray, target: np.ndarray) -> float:
    """A measure between two sets of patterns without noise, their conditions in the same order.

    Args:
        measure: a configuration.
        source: (condition, unit), the model's.
        target: (condition, unit).
    """
    if measure.on_patterns:
        from vibrissa.neural.regression import PatternMeasure

        assert isinstance(measure, PatternMeasure)
        prediction, deviation = measure.predict(np.asarray(source, float), np.asarray(target)[None])
        return float(measure.likeness(prediction, deviation)[0])
    one = measure.source_features(moments_of(source))
    two = measure.features(moments_of(target))
    return float(measure.compare(one[None], two[None])[0, 0])


for _module in ("measures_partial", "cka", "shape", "regression"):  # they register themselves
    import_module(f"vibrissa.neural.{_module}")
