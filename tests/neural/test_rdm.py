"""RDMs against rsatoolbox, against their definitions, and from moments."""

import warnings
from typing import Any

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.neural.compare import compare_rdms, comparisons, embed, pool_rdms
from vibrissa.neural.rdm import (
    correlation_rdm,
    crossnobis_rdm,
    euclidean_rdm,
    n_conditions_of,
    noise_precision,
    residuals,
    shrinkage_covariance,
    square,
)
from vibrissa.neural.rdm_moments import add, moments_of

with warnings.catch_warnings():  # of what rsatoolbox imports
    warnings.simplefilter("ignore")
    rsatoolbox = pytest.importorskip("rsatoolbox")
    from rsatoolbox.data.dataset import Dataset
    from rsatoolbox.data.noise import cov_from_residuals
    from rsatoolbox.rdm.calc import calc_rdm
    from rsatoolbox.rdm.compare import compare
    from rsatoolbox.rdm.rdms import RDMs

THEIRS = {
    "pearson": "corr", "spearman": "spearman", "kendall": "tau-a", "cosine": "cosine",
    "whitened_cosine": "cosine_cov", "whitened_correlation": "corr_cov",
}  # fmt: skip


def vectors(rdms: Any) -> np.ndarray:
    return rdms.get_vectors()[0]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(("method", "ours"), [
    ("correlation", correlation_rdm), ("euclidean", euclidean_rdm),
])  # fmt: skip
def test_agree_with_rsatoolbox(rng, method, ours):
    patterns = 4.0 + rng.standard_normal((6, 37))
    theirs = vectors(calc_rdm(Dataset(patterns), method=method))
    assert np.abs(ours(patterns) - theirs).max() <= 1e-12
    moments = moments_of(patterns)
    mine = moments.correlation() if method == "correlation" else moments.euclidean()
    assert np.abs(mine - theirs).max() <= 1e-12


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # rsatoolbox's own
def test_crossnobis_agrees_with_rsatoolbox(rng):
    folds, conditions, units = 5, 6, 12
    values = rng.standard_normal((folds, conditions, units)) + rng.standard_normal(
        (conditions, units)
    )
    left, dof = residuals(values.reshape(-1, units), np.tile(np.arange(conditions), folds))
    precision = np.linalg.inv(cov_from_residuals(left, dof=dof, method="shrinkage_diag"))
    data = Dataset(
        values.reshape(-1, units),
        obs_descriptors={
            "condition": np.tile(np.arange(conditions), folds),
            "fold": np.repeat(np.arange(folds), conditions),
        },
    )
    for noise in (None, precision):
        theirs = vectors(
            calc_rdm(
                data, method="crossnobis", descriptor="condition", cv_descriptor="fold", noise=noise
            )
        )
        assert np.abs(crossnobis_rdm(values, noise) - theirs).max() <= 1e-10
    ours = noise_precision(values.reshape(-1, units), np.tile(np.arange(conditions), folds))
    assert np.abs(ours - precision).max() <= 1e-8


def test_shrinkage_agrees_with_rsatoolbox(rng):
    mixing = rng.standard_normal((9, 9))
    left = rng.standard_normal((40, 9)) @ mixing
    left -= left.mean(axis=0)
    theirs = cov_from_residuals(left, dof=39, method="shrinkage_diag")
    assert np.abs(shrinkage_covariance(left, 39) - theirs).max() <= 1e-10


def test_shrinkage_lets_silent_units_be(rng):
    left = rng.standard_normal((30, 4))
    left[:, 2] = 0.0
    covariance = shrinkage_covariance(left, 29)
    assert np.linalg.eigvalsh(covariance).min() > 0
    with pytest.raises(InputError, match="no unit varies"):
        shrinkage_covariance(np.zeros((30, 4)), 29)
    with pytest.raises(InputError, match="too few trials"):
        shrinkage_covariance(left, 1)


@pytest.mark.parametrize("comparison", comparisons())
def test_comparisons_agree_with_rsatoolbox(rng, comparison):
    one, two = rng.random((4, 15)), rng.random((3, 15))
    one[0, :3] = one[0, 3]  # ties
    theirs = compare(RDMs(one), RDMs(two), method=THEIRS[comparison])
    assert np.abs(compare_rdms(one, two, comparison) - theirs).max() <= 1e-8


def test_comparisons_refuse_what_they_do_not_know():
    with pytest.raises(InputError, match="pearson"):
        embed(np.zeros(15), "peerson")
    with pytest.raises(InputError, match="no n"):
        n_conditions_of(14)


@pytest.mark.parametrize("comparison", ["pearson", "spearman", "kendall", "whitened_correlation"])
def test_constant_rdms_have_no_similarity(comparison):
    assert np.isnan(embed(np.full(15, 0.3), comparison)).all()


def test_pooled_rdm_is_the_most_similar_one(rng):
    subjects = rng.random((5, 15))
    pooled = pool_rdms(subjects, "pearson")
    best = compare_rdms(pooled, subjects, "pearson").mean()
    for _ in range(50):
        other = pooled + 0.3 * rng.standard_normal(15)
        assert compare_rdms(other, subjects, "pearson").mean() <= best + 1e-12


def test_constant_patterns_are_undefined_not_rounding_noise():
    patterns = np.full((3, 8), 0.1) * np.arange(1, 4)[:, None]
    patterns[2] += np.arange(8)
    found = correlation_rdm(patterns)
    assert np.isnan(found).all()
    assert np.isnan(moments_of(patterns).correlation()).all()
    assert np.isfinite(correlation_rdm(np.random.default_rng(0).random((3, 8)))).all()


def test_moments_add_over_units_and_permute(rng):
    patterns = rng.standard_normal((6, 20))
    joined = add([moments_of(patterns[:, :7], offset=0.2), moments_of(patterns[:, 7:], offset=0.2)])
    assert np.allclose(joined.correlation(), correlation_rdm(patterns), atol=1e-13)
    order = np.array([3, 1, 5, 0, 2, 4])
    moved = joined.permuted(order[None])[0]
    assert np.allclose(moved.correlation(), correlation_rdm(patterns[order]), atol=1e-13)
    assert np.allclose(moved.euclidean(), euclidean_rdm(patterns[order]), atol=1e-13)


def test_square_puts_entries_in_their_places():
    matrix = square(np.arange(1.0, 7.0))
    assert matrix[0].tolist() == [0, 1, 2, 3]
    assert matrix[2, 3] == matrix[3, 2] == 6
    assert np.array_equal(matrix, matrix.T)


def test_large_offsets_cost_no_digits(rng):
    patterns = rng.standard_normal((6, 30))
    far = moments_of(patterns + 1e5).correlation()
    assert np.abs(far - correlation_rdm(patterns)).max() <= 1e-9
