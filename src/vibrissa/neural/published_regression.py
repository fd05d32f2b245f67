"""The published regression: ridge maps on half of the conditions, noise-corrected, in closed form.

For every split of the conditions into training and test, ridge regression with an intercept is
fitted to all trials and to each half; predictions and data of the test conditions are correlated
per unit. With a model that has no noise, predictions are B @ responses, where B (test, training)
depends on the Gram matrix of the layer alone; so no coefficients are formed. With three test
conditions a correlation has one degree of freedom: what comes of it is for audit, not for use.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.neural.published import FIRST_SEED, _Engine, legacy_halves, quantities
from vibrissa.neural.rdm import NEAR_CONSTANT

PENALTY = 5e7


def half_splits(n_conditions: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """All splits into training and test halves, in the published order."""
    everything = range(n_conditions)
    return [
        (np.array(train), np.array([k for k in everything if k not in train]))
        for train in combinations(everything, n_conditions // 2)
    ]


def ridge_projection(
    source: np.ndarray, train: np.ndarray, test: np.ndarray, penalty: float
) -> np.ndarray:
    """(test, training) matrix B; predictions less their training mean are B @ responses.

    Args:
        source: (condition, unit) patterns of the layer.
        train: positions of the training conditions.
        test: positions of the test conditions.
        penalty: of the ridge.
    """
    x = source[train] - source[train].mean(axis=0)
    ahead = source[test] - source[train].mean(axis=0)
    centre = np.eye(len(train)) - 1.0 / len(train)
    return ahead @ x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(len(train)), centre)


def regression_statistics(
    source: np.ndarray,
    target: np.ndarray,
    *,
    penalty: float = PENALTY,
    draws: int = 1000,
    first_seed: int = FIRST_SEED,
    chunk: int = 50,
) -> dict[str, np.ndarray]:
    """The published quantities per draw, split and unit.

    Args:
        source: (condition, unit) patterns of a layer.
        target: (trial, condition, unit), NaN where there is no trial.
        penalty: of the ridge.
        draws: how many split halves.
        first_seed: seeds go up from here.
        chunk: draws at a time.

    Returns:
        Names as in :func:`~vibrissa.neural.published.draw_statistics` -> (draw kept, split, unit).
        Correlations of values that are constant to rounding are NaN.

    Raises:
        InputError: arrays of other shapes.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.ndim != 2 or target.ndim != 3 or len(source) != target.shape[1]:
        raise refuse(
            "source and target", f"shapes {source.shape} and {target.shape}",
            "not (condition, unit) and (trial, condition, unit)", "mend them",
        )  # fmt: skip
    engine = _Engine(target, alone=False)
    weights = legacy_halves(len(target), range(first_seed, first_seed + draws)).astype(np.float64)
    splits = half_splits(len(source))
    maps = [ridge_projection(source, train, test, penalty) for train, test in splits]
    whole = engine.mean()[None]
    r_xy = np.concatenate([
        _pearson(b @ whole[:, train], whole[:, test])
        for b, (train, test) in zip(maps, splits, strict=True)
    ])  # fmt: skip
    r_xx, r_yy = [], []
    for start in range(0, draws, chunk):
        one, two, good = engine.halves(weights[start : start + chunk])
        one, two = one[good], two[good]
        xx, yy = [], []
        for b, (train, test) in zip(maps, splits, strict=True):
            xx.append(_pearson(b @ one[:, train], b @ two[:, train]))
            yy.append(_pearson(one[:, test], two[:, test]))
        r_xx.append(np.stack(xx, axis=1))
        r_yy.append(np.stack(yy, axis=1))
    first, second = np.concatenate(r_xx), np.concatenate(r_yy)
    return quantities(np.broadcast_to(r_xy, first.shape), first, second)


def _pearson(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(set, unit) correlations over the middle axis."""
    a = one - one.mean(axis=1, keepdims=True)
    b = two - two.mean(axis=1, keepdims=True)
    power_a, power_b = np.einsum("scu,scu->su", a, a), np.einsum("scu,scu->su", b, b)
    floor_a = NEAR_CONSTANT * 1e-12 * np.einsum("scu,scu->su", one, one)
    floor_b = NEAR_CONSTANT * 1e-12 * np.einsum("scu,scu->su", two, two)
    good = (power_a > floor_a) & (power_b > floor_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        square = np.where(good, power_a * power_b, np.nan)
        return np.einsum("scu,scu->su", a, b) / np.sqrt(square)
