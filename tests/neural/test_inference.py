"""Permutations, jackknife, bootstrap and false discovery against theory."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest

from vibrissa.core.errors import InputError
from vibrissa.neural.inference import (
    benjamini_hochberg,
    bootstrap_interval,
    condition_orders,
    jackknife_interval,
    max_statistic_p,
    permutation_p,
)


def test_six_conditions_have_720_orders():
    orders, exact = condition_orders(6)
    assert exact
    assert len(orders) == 720
    assert len({tuple(order) for order in orders}) == 720
    assert orders[0].tolist() == list(range(6))


def test_many_conditions_are_drawn_by_seed():
    orders, exact = condition_orders(12, limit=500, seed=3)
    again, _ = condition_orders(12, limit=500, seed=3)
    other, _ = condition_orders(12, limit=500, seed=4)
    assert not exact
    assert orders.shape == (500, 12)
    assert orders[0].tolist() == list(range(12))
    assert (np.sort(orders, axis=1) == np.arange(12)).all()
    assert np.array_equal(orders, again)
    assert not np.array_equal(orders, other)


def test_orders_refuse_nonsense():
    with pytest.raises(InputError, match="nothing to permute"):
        condition_orders(1)
    with pytest.raises(InputError, match="limit"):
        condition_orders(6, limit=0)


def test_p_counts_the_given_order():
    null = np.array([[3.0], [1.0], [2.0], [3.0 - 1e-13]])
    assert permutation_p(np.array([3.0]), null)[0] == 0.5
    assert np.isnan(permutation_p(np.array([np.nan]), null)[0])


def test_exact_p_is_uniform_under_the_null():
    rng = np.random.default_rng(0)
    orders, _ = condition_orders(5)
    found = []
    for _ in range(300):
        x, y = rng.standard_normal((2, 5))
        null = x[orders] @ y
        found.append(permutation_p(null[:1], null[:, None])[0])
    assert kstest(found, "uniform").pvalue > 0.01


def test_max_statistic_holds_the_family_wise_error():
    rng = np.random.default_rng(1)
    orders, _ = condition_orders(6)
    hits = 0
    for _ in range(200):
        x = rng.standard_normal((12, 6)) * rng.uniform(0.1, 10, (12, 1))  # spreads differ
        y = rng.standard_normal(6)
        null = np.einsum("lpc,c->pl", x[:, orders], y)
        hits += max_statistic_p(null[0], null).min() <= 0.05
    assert hits / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_max_statistic_finds_the_true_one_and_leaves_out_the_undefined():
    rng = np.random.default_rng(2)
    orders, _ = condition_orders(6)
    y = rng.standard_normal(6)
    x = rng.standard_normal((4, 6))
    x[1] = y
    null = np.einsum("lpc,c->pl", x[:, orders], y)
    null[:, 3] = np.nan
    p = max_statistic_p(null[0], null)
    assert p[1] == pytest.approx(1 / 720)
    assert np.isnan(p[3])
    single = permutation_p(null[0], null)
    assert (p[:3] >= single[:3] - 1e-12).all()


def test_jackknife_of_a_mean_is_the_t_interval():
    from scipy.stats import sem, t

    values = np.random.default_rng(3).standard_normal(15)
    without = np.array([np.delete(values, k).mean() for k in range(15)])
    low, high = jackknife_interval(np.array(values.mean()), without)
    width = t.ppf(0.975, 14) * sem(values)
    assert low == pytest.approx(values.mean() - width)
    assert high == pytest.approx(values.mean() + width)
    assert np.isnan(jackknife_interval(np.array(1.0), np.array([1.0, 1.1]))[0])


def test_bootstrap_covers_a_mean():
    rng = np.random.default_rng(4)
    inside = 0
    for k in range(150):
        values = rng.standard_normal(12)
        low, high = bootstrap_interval(lambda w, v=values: w @ v / 12, 12, draws=500, seed=k)
        inside += low <= 0 <= high
    assert 0.85 <= inside / 150 <= 0.99


def test_bootstrap_gives_no_interval_from_a_selection():
    low, high = bootstrap_interval(lambda w: np.where(w[:, 0] > 0, w[:, 0], np.nan), 5, draws=400)
    assert np.isnan(low)
    assert np.isnan(high)


def test_false_discovery_rates_agree_with_scipy():
    p = np.random.default_rng(5).random(40) ** 2
    assert np.allclose(benjamini_hochberg(p), false_discovery_control(p))
    with_nan = np.insert(p, 3, np.nan)
    assert np.allclose(np.delete(benjamini_hochberg(with_nan), 3), false_discovery_control(p))
    assert np.isnan(benjamini_hochberg(with_nan)[3])
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()
