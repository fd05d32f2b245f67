"""What every registered measure promises, and each against an independent derivation."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import pearsonr

from vibrissa.core.errors import InputError
from vibrissa.neural.cka import u_centred
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.inference import condition_orders
from vibrissa.neural.measures import RSA, measures, value
from vibrissa.neural.measures_partial import PartialRSA, confound_rdms
from vibrissa.neural.rdm import correlation_rdm, euclidean_rdm, pairs
from vibrissa.neural.regression import PLS, pls_hat, ridge_hat
from vibrissa.neural.session import Session
from vibrissa.neural.shape import Procrustes

NAMES = measures.names()


def low_rank(seed, units=40, rank=2, conditions=6):
    """Patterns that an encoding model can predict: few dimensions, one level per unit."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((conditions, rank))
    return latent @ rng.standard_normal((rank, units)) + 3.0 + rng.standard_normal(units)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_agrees_with_itself(name):
    patterns = low_rank(1)
    tolerance = 0.01 if name in ("ridge", "pls") else 1e-9  # a penalty, few components
    assert value(measures.get(name)(), patterns, patterns) == pytest.approx(1.0, abs=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_shuffled_conditions_are_about_zero(name):
    measure = measures.get(name)()
    rng = np.random.default_rng(2)
    found = [
        value(measure, low_rank(k, 20)[rng.permutation(6)], low_rank(k, 25)) for k in range(80)
    ]
    assert abs(np.mean(found)) < 0.15
    assert np.quantile(found, 0.5) < 0.4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["source", "target"])
def test_promised_invariances(name, side):
    measure = measures.get(name)()
    source, target = low_rank(3, 24), low_rank(4, 30) + 0.4 * low_rank(5, 30)
    plain = value(measure, source, target)
    assert abs(plain) < 0.999
    rng = np.random.default_rng(6)

    def changed(patterns, kind):
        units = patterns.shape[1]
        if kind == "rotation":
            return patterns @ np.linalg.qr(rng.standard_normal((units, units)))[0]
        if kind == "scaling":
            return patterns * 3.7
        if kind == "order":
            return patterns[:, rng.permutation(units)]
        return patterns + rng.standard_normal(units)

    promised = measure.invariant_to
    if name == "best_unit" and side == "target":
        promised = promised - {"rotation"}
    for kind in promised:
        one = changed(source, kind) if side == "source" else source
        two = changed(target, kind) if side == "target" else target
        assert value(measure, one, two) == pytest.approx(plain, abs=1e-8), kind
    # and the order of the conditions, the same on both sides, is never of account
    order = rng.permutation(6)
    assert value(measure, source[order], target[order]) == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_constant_layers_are_undefined(name):
    found = value(measures.get(name)(), np.full((6, 5), 0.1), low_rank(1))
    assert np.isnan(found)


def test_rsa_is_the_correlation_of_rdms():
    one, two = low_rank(1), low_rank(2)
    expected = pearsonr(correlation_rdm(one), correlation_rdm(two))[0]
    assert value(RSA(), one, two) == pytest.approx(expected, abs=1e-12)
    expected = pearsonr(euclidean_rdm(one), euclidean_rdm(two))[0]
    assert value(RSA(rdm="euclidean"), one, two) == pytest.approx(expected, abs=1e-12)


def test_rsa_refuses_unknown_words():
    cases: list[dict[str, Any]] = [{"rdm": "cosine"}, {"comparison": "peerson"}, {"scale": "log"}]
    for wrong in cases:
        with pytest.raises(InputError, match="no such name"):
            RSA(**wrong)


def test_cka_is_the_unbiased_estimator():
    """HSIC of Song et al. (2012), eq. 5, term by term."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        one = np.ones(n)
        return (
            np.trace(k @ m)
            + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 * (one @ k @ m @ one) / (n - 2)
        ) / (n * (n - 3))

    x, y = low_rank(1) - 3, low_rank(2) - 3
    k, m = x @ x.T, y @ y.T
    expected = hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))
    assert value(measures.get("cka")(), x, y) == pytest.approx(expected, abs=1e-10)
    assert np.abs(u_centred(k).sum(axis=1)).max() < 1e-9


def test_debiased_cka_of_noise_is_zero_on_average_where_plain_cka_is_not():
    rng = np.random.default_rng(0)
    measure = measures.get("cka")()
    noise = [(rng.standard_normal((6, 400)), rng.standard_normal((6, 400))) for _ in range(150)]
    debiased = [value(measure, a, b) for a, b in noise]

    def plain(a, b):
        a, b = a - a.mean(0), b - b.mean(0)
        return np.linalg.norm(a.T @ b) ** 2 / np.linalg.norm(a @ a.T) / np.linalg.norm(b @ b.T)

    assert abs(np.mean(debiased)) < 4 * np.std(debiased) / np.sqrt(150)
    assert np.mean([plain(a, b) for a, b in noise]) > 0.9


def test_procrustes_is_the_best_rotation():
    x, y = low_rank(1, 30, 4), low_rank(2, 30, 4)
    x, y = x - x.mean(0), y - y.mean(0)
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    _, cosine = orthogonal_procrustes(x, y)
    assert value(Procrustes(adjusted=False), x, y) == pytest.approx(cosine, abs=1e-7)
    orders, _ = condition_orders(6)
    chance = np.mean([orthogonal_procrustes(x, y[order])[1] for order in orders])
    adjusted = (cosine - chance) / (1 - chance)
    assert value(Procrustes(), x, y) == pytest.approx(adjusted, abs=1e-6)


def leave_one_out(source, target, fit_predict):
    """Pooled correlation about the training mean of explicit fits."""
    prediction, deviation = np.empty_like(target), np.empty_like(target)
    for i in range(len(source)):
        rest = np.delete(np.arange(len(source)), i)
        mean_x, mean_y = source[rest].mean(0), target[rest].mean(0)
        prediction[i] = fit_predict(
            source[rest] - mean_x, target[rest] - mean_y, source[i] - mean_x
        )
        deviation[i] = target[i] - mean_y
    return (prediction * deviation).sum() / np.sqrt((prediction**2).sum() * (deviation**2).sum())


def test_ridge_equals_explicit_coefficients():
    source, target = low_rank(1, 7, 3), low_rank(2, 9, 3)

    def fit(x, y, held):
        penalty = 0.01 * (x**2).sum() / (len(x) - 1)
        return held @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

    expected = leave_one_out(source, target, fit)
    assert value(measures.get("ridge")(), source, target) == pytest.approx(expected, abs=1e-10)
    hat = ridge_hat(source @ source.T, 0.01)
    assert np.abs(np.diag(hat)).max() == 0
    assert np.abs(hat.sum(axis=1)).max() < 1e-10


@pytest.mark.parametrize("components", [1, 2, 3])
def test_pls_equals_scikit_learn(components):
    cross_decomposition = pytest.importorskip("sklearn.cross_decomposition")
    source, target = low_rank(1, 11, 4), low_rank(2, 9, 4)

    def fit(x, y, held):
        model = cross_decomposition.PLSRegression(components, scale=False, tol=1e-14, max_iter=5000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        return model.predict(held[None])[0]

    expected = leave_one_out(source, target, fit)
    found = value(PLS(components=components), source, target)
    assert found == pytest.approx(expected, abs=1e-6)
    assert pls_hat(source @ source.T, (target @ target.T)[None], components).shape == (1, 6, 6)


def test_best_unit_equals_a_search():
    source, target = low_rank(1, 8, 4), low_rank(2, 5, 4)

    def fit(x, y, held):
        found = np.empty(y.shape[1])
        for u in range(y.shape[1]):
            r = [abs(np.corrcoef(x[:, p], y[:, u])[0, 1]) for p in range(x.shape[1])]
            p = int(np.argmax(r))
            found[u] = held[p] * (x[:, p] @ y[:, u]) / (x[:, p] @ x[:, p])
        return found

    expected = leave_one_out(source, target, fit)
    assert value(measures.get("best_unit")(), source, target) == pytest.approx(expected, abs=1e-10)


def test_partial_rsa_takes_confounds_out():
    """A confound that both share makes plain RSA high and partial RSA about 0."""
    rng = np.random.default_rng(0)
    rows, columns = pairs(6)
    side = np.array([0.0, 0, 0, 1, 1, 1])
    confound = np.abs(side[rows] - side[columns])
    plain, partial = [], []
    measure = PartialRSA(confounds=("choice",), rdm="euclidean")
    one = two = np.zeros((6, 1))
    for _ in range(60):
        one = np.concatenate([3 * side[:, None], 0.7 * rng.standard_normal((6, 6))], axis=1)
        two = np.concatenate([3 * side[:, None], 0.7 * rng.standard_normal((6, 6))], axis=1)
        plain.append(value(RSA(rdm="euclidean"), one, two))
        partial.append(value(measure.bind(confound[None]), one, two))
    assert np.mean(plain) > 0.6
    assert abs(np.mean(partial)) < 0.15
    # the partial correlation by residuals of regressions
    design = np.column_stack([np.ones(15), confound])
    a, b = euclidean_rdm(one), euclidean_rdm(two)
    ra, rb = (v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (a, b))
    assert partial[-1] == pytest.approx(pearsonr(ra, rb)[0], abs=1e-9)


def test_confound_rdms_are_differences_of_means():
    rows = np.repeat(np.arange(6), 4)
    session = Session(
        name="s", animal="a", unit_ids=np.array([1]), condition=np.array(CONDITIONS)[rows],
        counts=np.ones((24, 1)), duration_s=np.ones(24),
        choice=np.where(rows < 3, "left", "right"), covariates={"contact_count": rows * 2.0},
    )  # fmt: skip
    found = confound_rdms([session, session], CONDITIONS, ("choice", "contact_count"))
    i, j = pairs(6)
    assert found[0].tolist() == ((i < 3) != (j < 3)).astype(float).tolist()
    assert found[1].tolist() == (2.0 * np.abs(i - j)).tolist()
    with pytest.raises(InputError, match="contact_count"):
        confound_rdms([session], CONDITIONS, ("contact_counts",))


def test_two_units_tell_nothing_by_correlation():
    assert np.isnan(value(RSA(), low_rank(1), low_rank(2)[:, :2]))
    assert np.isfinite(value(RSA(rdm="euclidean"), low_rank(1), low_rank(2)[:, :2]))
