"""Encoding measures: predict the units of a target from those of a layer, one condition held out.

Each condition is predicted from a map fitted to all others; prediction and response are taken from
the mean of the training conditions, and compared over all held-out conditions and all units at
once (a pooled correlation about the training mean, never one per unit over a handful of points).
Six conditions cannot identify a map with many parameters: these measures say how far the responses
to a condition follow from those to the others, no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.neural.measures import Measure, measures
from vibrissa.neural.rdm_moments import Moments
from vibrissa.neural.reliability import HalfMoments


def ridge_hat(gram: np.ndarray, penalty: float, *, absolute: bool = False) -> np.ndarray:
    """Leave-one-out hat matrix of ridge regression: predictions are H @ responses.

    Row i holds the weights with which the responses to all other conditions predict that to i, less
    the mean of the others: with C centring the n - 1 training conditions, K their Gram matrix,
    k the products of condition i with them, h = (k - mean) C (C K C + lambda I)^-1 C.

    Args:
        gram: (condition, condition) inner products of the layer's patterns.
        penalty: lambda over the mean variance of the training patterns; 0 is the limit of least
            norm.
        absolute: take ``penalty`` as lambda itself.

    Returns:
        (condition, condition) with a zero diagonal; rows sum to 0.
    """
    n = len(gram)
    hat = np.zeros((n, n))
    centre = np.eye(n - 1) - 1.0 / (n - 1)
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        inner = centre @ gram[np.ix_(rest, rest)] @ centre
        towards = centre @ (gram[rest, i] - gram[np.ix_(rest, rest)].mean(axis=1))
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        scale = 1.0 if absolute else max(float(values.sum()) / (n - 2), 1e-300)
        keep = values > 1e-12 * max(float(values.max()), 1e-300)
        inverse = np.where(keep, 1.0 / (np.where(keep, values, 1.0) + penalty * scale), 0.0)
        hat[i, rest] = centre @ (vectors * inverse) @ (vectors.T @ towards)
    return hat


@measures.register("ridge")
@dataclass(frozen=True, kw_only=True)
class Ridge(Measure):
    """Ridge regression in closed form, one condition held out; corrected for noise by halves.

    Predictions, their halves and those of every draw are sums over Gram matrices, so that no
    coefficient is ever formed.

    Attributes:
        penalty: over the mean variance of the layer's patterns.
        scale: of the target's responses.
    """

    penalty: float = 0.01
    symmetric: ClassVar[bool] = False
    least_conditions: ClassVar[int] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.penalty >= 0:
            raise refuse("penalty", self.penalty, "negative or no number", "give 0 or more")

    def source_features(self, moments: Moments) -> np.ndarray:
        gram = moments.centred()
        n = moments.n_conditions
        away = _away(n)
        flat = gram.reshape(-1, n, n)
        found = np.empty((len(flat), 2 * n * n))
        for k, one in enumerate(flat):
            level = np.trace(one)
            if not (np.isfinite(level) and level > 1e-12 * abs(moments.gram).max()):
                found[k] = np.nan
                continue
            hat = ridge_hat(one, self.penalty)
            found[k] = np.concatenate([(away.T @ hat).ravel(), (hat.T @ hat).ravel()])
        return found.reshape(*moments.shape, 2 * n * n)

    def features(self, moments: Moments) -> np.ndarray:
        n = moments.n_conditions
        gram = moments.gram / moments.n_units
        return np.concatenate([gram.reshape(*moments.shape, n * n), _spread(gram)[..., None]], -1)

    def compare(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        half = sources.shape[1] // 2
        gram, spread = targets[:, :-1], targets[:, -1]
        return _ratio(sources[:, :half] @ gram.T, (sources[:, half:] @ gram.T) * spread)

    def between_halves(self, halves: HalfMoments) -> np.ndarray:
        square = _spread(halves.first.gram) * _spread(halves.second.gram)
        return _ratio(_spread(halves.cross), square)

    def source_between_halves(self, sources: np.ndarray, halves: HalfMoments) -> np.ndarray:
        half = sources.shape[1] // 2
        kernel = sources[:, half:]
        shape = halves.cross.shape[:-2]

        def power(gram: np.ndarray) -> np.ndarray:
            return kernel @ gram.reshape(-1, half).T

        square = power(halves.first.gram) * power(halves.second.gram)
        return _ratio(power(halves.cross), square).reshape(len(sources), *shape)

    def ceiling_bounds(self, subjects: object) -> tuple[float, float]:
        return float("nan"), float("nan")


def _away(n: int) -> np.ndarray:
    """(n, n): A @ responses is each response less the mean of the others."""
    return (np.eye(n) - 1.0 / n) * n / (n - 1)


def _spread(gram: np.ndarray) -> np.ndarray:
    """Sum over conditions and units of products of deviations from the mean of the others."""
    away = _away(gram.shape[-1])
    return np.einsum("ij,...jk,ik->...", away, gram, away)


def _ratio(product: np.ndarray, square: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return product / np.sqrt(np.where(square > 0, square, np.nan))


@dataclass(frozen=True, kw_only=True)
class PatternMeasure(Measure):
    """An encoding measure that needs the patterns themselves."""

    symmetric: ClassVar[bool] = False
    on_patterns: ClassVar[bool] = True
    least_conditions: ClassVar[int] = 4

    def predict(self, source: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and responses, both less the mean of the training conditions.

        Args:
            source: (condition, source unit).
            targets: (set, condition, unit).

        Returns:
            Two arrays (set, condition, unit).
        """
        n = len(source)
        prediction = np.empty(targets.shape)
        for i in range(n):
            rest = np.delete(np.arange(n), i)
            x, y = source[rest], targets[:, rest]
            held = source[i] - x.mean(axis=0)
            y = y - y.mean(axis=1, keepdims=True)
            prediction[:, i] = self.fit_predict(x - x.mean(axis=0), y, held)
        deviation = np.einsum("ij,sju->siu", _away(n), targets)
        return prediction, deviation

    def fit_predict(self, x: np.ndarray, y: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Predict one condition from the others, all centred.

        Args:
            x: (condition, source unit) training patterns.
            y: (set, condition, unit) training responses.
            held: (source unit,) pattern of the condition held out.

        Returns:
            (set, unit).
        """
        raise NotImplementedError

    def likeness(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """(set,) pooled correlation about 0 of (set, condition, unit) arrays."""
        product = np.einsum("siu,siu->s", one, two)
        square = np.einsum("siu,siu->s", one, one) * np.einsum("siu,siu->s", two, two)
        return _ratio(product, square)

    def ceiling_bounds(self, subjects: object) -> tuple[float, float]:
        return float("nan"), float("nan")


@measures.register("best_unit")
@dataclass(frozen=True, kw_only=True)
class BestUnit(PatternMeasure):
    """Each target unit from the one layer unit that follows it best in training.

    Attributes:
        scale: of the target's responses.
    """

    @property
    def invariant_to(self) -> frozenset[str]:
        """It picks single units, so a rotation makes others of them."""
        return frozenset({"scaling", "order", "shift"})

    def fit_predict(self, x: np.ndarray, y: np.ndarray, held: np.ndarray) -> np.ndarray:
        power = np.einsum("cp,cp->p", x, x)
        good = power > 1e-12 * max(float(power.max()), 1e-300)
        if not power.max() > 0:
            return np.full((len(y), y.shape[2]), np.nan)
        x, held, size = x[:, good], held[good], np.sqrt(power[good])
        flat = np.moveaxis(y, 1, 0).reshape(len(x), -1)  # (condition, set * unit)
        found = np.empty(flat.shape[1])
        step = max(1, 4_000_000 // x.shape[1])  # bounds memory to some 30 MB
        for start in range(0, flat.shape[1], step):
            some = flat[:, start : start + step]
            products = (x / size).T @ some
            best = np.argmax(np.abs(products), axis=0)
            slope = products[best, np.arange(some.shape[1])] / size[best]
            found[start : start + step] = slope * held[best]
        return found.reshape(len(y), y.shape[2])


@measures.register("pls")
@dataclass(frozen=True, kw_only=True)
class PLS(Measure):
    """Partial least squares (PLS2 as scikit-learn fits it), one condition held out, on Grams.

    Attributes:
        components: how many; at most the conditions less two.
        scale: of the target's responses.
    """

    components: int = 2
    symmetric: ClassVar[bool] = False
    least_conditions: ClassVar[int] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.components < 1:
            raise refuse("components", self.components, "below 1", "give 1 or more")

    def source_features(self, moments: Moments) -> np.ndarray:
        gram = moments.centred() / moments.n_units
        level = np.trace(gram, axis1=-2, axis2=-1)
        least = 1e-12 * np.abs(moments.gram).max(axis=(-1, -2)) / moments.n_units
        flat = gram.reshape(*moments.shape, -1)
        return np.where((level > least)[..., None], flat, np.nan)

    def features(self, moments: Moments) -> np.ndarray:
        return (moments.gram / moments.n_units).reshape(*moments.shape, -1)

    def compare(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        grams = _squares(targets)
        found = np.full((len(sources), len(targets)), np.nan)
        away, spread = _away(grams.shape[-1]), _spread(grams)
        for k, source in enumerate(_squares(sources)):
            if not np.isfinite(source).all():
                continue
            hat = pls_hat(source, grams, self.components)
            product = np.einsum("tij,tjk,ik->t", hat, grams, away)
            power = np.einsum("tij,tjk,tik->t", hat, grams, hat)
            found[k] = _ratio(product, power * spread)
        return found

    def between_halves(self, halves: HalfMoments) -> np.ndarray:
        square = _spread(halves.first.gram) * _spread(halves.second.gram)
        return _ratio(_spread(halves.cross), square)

    def source_between_halves(self, sources: np.ndarray, halves: HalfMoments) -> np.ndarray:
        shape = halves.cross.shape[:-2]
        n = halves.cross.shape[-1]
        one, two = halves.first.gram.reshape(-1, n, n), halves.second.gram.reshape(-1, n, n)
        cross = halves.cross.reshape(-1, n, n)
        good = np.isfinite(one).all(axis=(1, 2)) & np.isfinite(two).all(axis=(1, 2))
        found = np.full((len(sources), len(one)), np.nan)
        for k, source in enumerate(_squares(sources)):
            if not np.isfinite(source).all():
                continue
            first = pls_hat(source, one[good], self.components)
            second = pls_hat(source, two[good], self.components)
            product = np.einsum("tij,tjk,tik->t", first, cross[good], second)
            power = np.einsum("tij,tjk,tik->t", first, one[good], first)
            other = np.einsum("tij,tjk,tik->t", second, two[good], second)
            found[k, good] = _ratio(product, power * other)
        return found.reshape(len(sources), *shape)

    def ceiling_bounds(self, subjects: object) -> tuple[float, float]:
        return float("nan"), float("nan")


def pls_hat(gram: np.ndarray, responses: np.ndarray, components: int) -> np.ndarray:
    """Leave-one-out hat matrices of PLS2, which depend on the responses by their Gram matrix.

    The weights of a component are the leading eigenvector of X'YY'X (Hoeskuldsson 1988,
    doi:10.1002/cem.1180020306); X is then deflated by its scores.

    Args:
        gram: (condition, condition) of the layer's patterns.
        responses: (set, condition, condition) Gram matrices of the responses.
        components: how many.

    Returns:
        (set, condition, condition): predictions are H @ responses.
    """
    n = len(gram)
    hat = np.zeros((len(responses), n, n))
    centre = np.eye(n - 1) - 1.0 / (n - 1)
    for i in range(n):
        rest = np.delete(np.arange(n), i)
        inner = centre @ gram[np.ix_(rest, rest)] @ centre
        towards = centre @ (gram[rest, i] - gram[np.ix_(rest, rest)].mean(axis=1))
        values, vectors = np.linalg.eigh((inner + inner.T) / 2)
        keep = values > 1e-12 * max(float(values.max()), 1e-300)
        roots = np.sqrt(values[keep])
        x = np.broadcast_to(vectors[:, keep] * roots, (len(responses), n - 1, int(keep.sum())))
        held = np.broadcast_to((vectors[:, keep].T @ towards) / roots, (len(responses), len(roots)))
        y = centre @ responses[:, rest[:, None], rest[None, :]] @ centre
        weights = np.zeros((len(responses), n - 1))
        for _ in range(min(components, len(roots))):
            kernel = np.swapaxes(x, 1, 2) @ y @ x
            direction = np.linalg.eigh((kernel + np.swapaxes(kernel, 1, 2)) / 2)[1][..., -1]
            scores = np.einsum("scr,sr->sc", x, direction)
            power = np.einsum("sc,sc->s", scores, scores)
            power = np.where(power > 1e-14 * values.max(), power, np.inf)
            ahead = np.einsum("sr,sr->s", held, direction)
            weights = weights + (ahead / power)[:, None] * scores
            load = np.einsum("scr,sc->sr", x, scores) / power[:, None]
            held = held - ahead[:, None] * load
            x = x - scores[:, :, None] * load[:, None, :]
        hat[:, i, rest] = weights @ centre
    return hat


def _squares(vectors: np.ndarray) -> np.ndarray:
    n = round(vectors.shape[-1] ** 0.5)
    return vectors.reshape(*vectors.shape[:-1], n, n)
