"""The published ridge regression against scikit-learn fits, draw by draw."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr

from vibrissa.core.errors import InputError
from vibrissa.neural.published import QUANTITIES
from vibrissa.neural.published_regression import half_splits, regression_statistics


def correlate(one: np.ndarray, two: np.ndarray) -> float:
    found: Any = pearsonr(one, two)
    return float(found[0])


@pytest.mark.parametrize("penalty", [1.0, 1e3])
def test_equal_to_fits_of_coefficients(penalty):
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    source = rng.standard_normal((6, 30)) + 2.0
    target = 5.0 + rng.standard_normal((1, 6, 4)) + 0.5 * rng.standard_normal((21, 6, 4))
    found = regression_statistics(source, target, penalty=penalty, draws=6)
    assert found["r_yy"].shape == (6, 20, 4)
    splits = half_splits(6)
    assert len(splits) == 20
    for draw in range(6):
        order = list(range(21))
        np.random.RandomState(1234 + draw).shuffle(order)
        parts = (target.mean(0), target[order[:10]].mean(0), target[order[10:]].mean(0))
        for k, (train, test) in enumerate(splits):
            predicted = [
                linear.Ridge(alpha=penalty).fit(source[train], y[train]).predict(source[test])
                for y in parts
            ]
            for u in range(4):
                r_xy = correlate(predicted[0][:, u], parts[0][test, u])
                r_xx = correlate(predicted[1][:, u], predicted[2][:, u])
                r_yy = correlate(parts[1][test, u], parts[2][test, u])
                product = 2 * r_xx / (1 + r_xx) * 2 * r_yy / (1 + r_yy)
                assert found["r_xy"][draw, k, u] == pytest.approx(r_xy, abs=1e-9)
                assert found["r_xx"][draw, k, u] == pytest.approx(r_xx, abs=1e-9)
                assert found["r_yy"][draw, k, u] == pytest.approx(r_yy, abs=1e-9)
                score = found["r_xy_n_sb"][draw, k, u]
                assert np.isnan(score) == (product < 0 or np.isclose(product, 0))
                if np.isfinite(score):
                    assert score == pytest.approx(r_xy / product**0.5, rel=1e-6)


def test_constant_units_have_no_correlation():
    rng = np.random.default_rng(1)
    target = 3.0 + rng.standard_normal((12, 6, 3))
    target[:, :, 1] = 0.0
    found = regression_statistics(rng.standard_normal((6, 10)), target, draws=3)
    for name in QUANTITIES:
        assert np.isnan(found[name][..., 1]).all(), name
    assert np.isfinite(found["r_yy"][..., 0]).all()


def test_three_conditions_are_too_few():
    """Strong tuning, little noise, a model that is right: many scores are missing or above 1."""
    rng = np.random.default_rng(2)
    latent = rng.standard_normal((6, 3))
    source = latent @ rng.standard_normal((3, 200))
    signal = latent @ rng.standard_normal((3, 25))
    target = signal + 1.5 * rng.standard_normal((30, 6, 25))
    score = regression_statistics(source, target, draws=20)["r_xy_n_sb"]
    assert np.isnan(score).mean() > 0.05
    assert (np.abs(score[np.isfinite(score)]) > 1).mean() > 0.05


def test_shapes_are_refused():
    with pytest.raises(InputError, match="trial, condition, unit"):
        regression_statistics(np.zeros((6, 3)), np.zeros((6, 3)))
