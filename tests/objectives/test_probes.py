# pyright: reportArgumentType=false, reportCallIssue=false
"""Probes against references, the model that must not move, intervals that cover."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn
from toys import batch, toy

from vibrissa.core.errors import InputError
from vibrissa.objectives import (
    KNNProbe,
    LinearProbe,
    LinearSGDProbe,
    bootstrap_over_groups,
    extract_features,
    frozen,
    probe_kinds,
    wilson,
)

FAST: dict[str, Any] = {
    "knn": KNNProbe(k=20),
    "linear": LinearProbe(),
    "linear_sgd": LinearSGDProbe(epochs=20, batch_size=32),
}


def clouds(
    per_class: int = 30, classes: int = 4, width: int = 6, seed: int = 0, gap: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Normal clouds about centres of their own."""
    dice = np.random.default_rng(seed)
    centres = gap * np.random.default_rng(99).normal(size=(classes, width))
    label = np.repeat(np.arange(classes), per_class)
    return (centres[label] + dice.normal(size=(len(label), width))).astype(np.float32), label


# --- the probes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", probe_kinds)
def test_every_probe_reads_what_is_there(name: str):
    (x, y), (x_test, y_test) = clouds(), clouds(seed=1)
    state = torch.get_rng_state()
    result = FAST[name].evaluate(x, y, x_test, y_test)
    assert result.top1 > 0.9
    assert result.top5 is None  # of four classes it says nothing
    assert not any(key.startswith("top5") for key in result.to_dict())
    assert result.chance == 0.25
    assert result.top1_interval[0] <= result.top1 <= result.top1_interval[1]
    again = FAST[name].evaluate(x, y, x_test, y_test)
    assert np.array_equal(result.scores, again.scores)
    assert torch.equal(torch.get_rng_state(), state)
    assert result.probe == name
    assert set(result.to_dict()) >= {"top1", "top1_interval", "n_test"}
    assert (result.n_train, result.n_test, result.n_classes) == (120, 120, 4)


@pytest.mark.parametrize("name", probe_kinds)
def test_no_probe_reads_what_is_not_there(name: str):
    dice = np.random.default_rng(3)
    x, x_test = dice.normal(size=(2, 400, 6)).astype(np.float32)
    y, y_test = dice.integers(4, size=(2, 400))
    result = FAST[name].evaluate(x, y, x_test, y_test)
    assert abs(result.top1 - 0.25) < 4.5 * (0.25 * 0.75 / 400) ** 0.5
    constant = FAST[name].evaluate(np.ones_like(x), y, np.ones_like(x_test), y_test)
    assert len(set(constant.prediction)) == 1


def test_linear_probe_is_logistic_regression():
    """scikit-learn minimises C sum of losses + |w|^2 / 2: ours at C = 1 / (n penalty)."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = clouds(gap=0.7)
    x = x * np.array([1.0, 10.0, 0.01, 3.0, 1.0, 1.0]) + np.array([5.0, 0.0, 1.0, 0.0, 0.0, -3.0])
    standard = (x - x.mean(0)) / x.std(0)
    fit = linear_model.LogisticRegression(C=1.0 / (len(x) * 1e-2), tol=1e-10, max_iter=5000)
    want = fit.fit(standard, y).decision_function(standard)
    found = LinearProbe(penalty=1e-2).evaluate(x, y, x, y).scores
    np.testing.assert_allclose(
        found - found.mean(1, keepdims=True), want - want.mean(1, keepdims=True), atol=2e-3
    )


def test_linear_probe_does_not_mind_scales_or_dead_features():
    (x, y), (x_test, y_test) = clouds(gap=0.5), clouds(gap=0.5, seed=1)
    plain = LinearProbe().evaluate(x, y, x_test, y_test)
    scale = np.array([1e-3, 1.0, 1e3, 1.0, 7.0, 1.0], dtype=np.float32)
    dead = np.full((len(x), 1), 3.7, dtype=np.float32)
    other = LinearProbe().evaluate(
        np.hstack([x * scale, dead]), y, np.hstack([x_test * scale, dead]), y_test
    )
    np.testing.assert_allclose(other.scores, plain.scores, atol=1e-3)


def test_sgd_probe_descends_as_published():
    """One epoch of one batch is the step of a linear layer's gradient."""
    x, y = clouds(gap=1.0)
    weights = []
    for epochs in (1, 2):
        fitted: Any = LinearSGDProbe(epochs=epochs, batch_size=1000).fit(
            torch.from_numpy(x), torch.from_numpy(y), 4
        )
        weights.append((fitted.weight.float(), fitted.bias.float()))
    start: Any = LinearSGDProbe(epochs=1, batch_size=1000, rate=1e-12).fit(
        torch.from_numpy(x), torch.from_numpy(y), 4
    )
    layer = nn.Linear(6, 4)
    with torch.no_grad():
        layer.weight.copy_(start.weight)
        layer.bias.copy_(start.bias)
    descent = torch.optim.SGD(layer.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    for weight, bias in weights:
        loss = nn.functional.cross_entropy(layer(torch.from_numpy(x)), torch.from_numpy(y))
        descent.zero_grad()
        loss.backward()
        descent.step()
        torch.testing.assert_close(layer.weight.detach(), weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.bias.detach(), bias, rtol=1e-4, atol=1e-5)


def test_neighbours_by_loops():
    (x, y), (x_test, y_test) = clouds(10), clouds(3, seed=1)
    result = KNNProbe(k=7, temperature=0.2).evaluate(x, y, x_test, y_test)
    for row, scores in zip(x_test.astype(float), result.scores, strict=True):
        cosines = [
            float(row @ v / np.linalg.norm(row) / np.linalg.norm(v)) for v in x.astype(float)
        ]
        votes = np.zeros(4)
        for k in sorted(range(len(x)), key=lambda k: -cosines[k])[:7]:
            votes[y[k]] += np.exp((cosines[k] - 1.0) / 0.2)
        np.testing.assert_allclose(scores, votes, rtol=1e-4, atol=1e-6)


def test_top5_counts_the_first_five():
    x = np.eye(8, dtype=np.float32).repeat(4, axis=0)
    y = np.arange(8).repeat(4)
    shifted = (y + 1) % 8
    result = KNNProbe(k=32, temperature=1.0).evaluate(x, y, x, y)
    assert result.top1 == result.top5 == 1.0
    assert result.to_dict()["top5"] == 1.0
    wrong = KNNProbe(k=4).evaluate(x, y, x, shifted)
    assert wrong.top1 == 0.0


BAD: list[tuple[dict[str, Any], str]] = [
    ({"features_train": np.zeros((3, 4, 5))}, "pool the steps"),
    ({"features_test": np.zeros((6, 3), dtype=np.float32)}, "same model"),
    ({"labels_train": np.zeros(5, dtype=int)}, "sweeps"),
    ({"labels_test": np.zeros(6)}, "whole number"),
    ({"labels_train": np.full(6, -1)}, "negative"),
    ({"n_classes": 1}, "n_classes"),
    ({"features_train": np.full((6, 2), np.nan, dtype=np.float32)}, "diverged"),
]


@pytest.mark.parametrize(("change", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_input_is_refused(change: dict[str, Any], said: str):
    given = {
        "features_train": np.ones((6, 2), dtype=np.float32),
        "labels_train": np.array([0, 1, 2, 0, 1, 2]),
        "features_test": np.ones((6, 2), dtype=np.float32),
        "labels_test": np.array([0, 1, 2, 0, 1, 2]),
    } | change
    with pytest.raises(InputError, match=said) as caught:
        LinearProbe().evaluate(**given)
    assert "\n" not in str(caught.value)


# --- the frozen model -----------------------------------------------------------------------------


def loader(count: int = 3):
    for seed in range(count):
        x, y, i = batch(4, seed)
        yield SimpleNamespace(input=x, label=y, index=i + 4 * seed)


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_the_model_stands_still(pool: str):
    model = toy(norm=True, dropout=0.5).train()
    model.norm(torch.randn(50, 16) * 3 + 1)  # statistics worth the name
    model.dropout.eval()  # a mixture of modes, to be kept
    modes = [m.training for m in model.modules()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    one = extract_features(model, loader(), pool=pool)
    two = extract_features(model, loader(), pool=pool)
    assert np.array_equal(one.values, two.values), "dropout is on"
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == modes
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert one.values.shape == (12, 16)
    assert one.index.tolist() == list(range(12))
    # Eval mode by hand: the running statistics, not those of the batch.
    x = next(iter(loader())).input
    h = torch.tanh(
        (model.layer(x.flatten(2)) - model.norm.running_mean)
        / (model.norm.running_var + 1e-5).sqrt()
    ).detach()
    want = h[:, -1] if pool == "last" else h.mean(1)
    np.testing.assert_allclose(one.values[:4], want.numpy(), atol=1e-5)


def test_modes_come_back_after_an_error():
    model = toy(dropout=0.1).train()
    with pytest.raises(ZeroDivisionError), frozen(model):
        assert not model.training
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert all(m.training for m in model.modules())
    assert torch.is_grad_enabled()
    with pytest.raises(InputError, match="there are none"):
        extract_features(model, [])


# --- intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (3, 10), (10, 10), (135, 11927), (1, 1)])
def test_wilson_as_scipy_has_it(correct: int, count: int):
    want = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson(correct, count), (want.low, want.high), atol=1e-9)


def test_wilson_refuses():
    with pytest.raises(InputError, match="not a share"):
        wilson(3, 2)


def test_bootstrap_of_lone_sweeps_is_the_binomial_spread():
    dice = np.random.default_rng(0)
    right = dice.random(2000) < 0.3
    low, high = bootstrap_over_groups(right, np.arange(2000))
    half = 1.96 * (0.3 * 0.7 / 2000) ** 0.5
    assert high - low == pytest.approx(2 * half, rel=0.1)
    assert low < right.mean() < high


def test_bootstrap_knows_that_sweeps_of_an_object_go_together():
    """Objects are known or not, all sixteen sweeps: the interval is that of 100 objects."""
    dice = np.random.default_rng(1)
    covered = []
    for k in range(60):
        right = np.repeat(dice.random(100) < 0.4, 16)
        low, high = bootstrap_over_groups(right, np.repeat(np.arange(100), 16), draws=400, seed=k)
        covered.append(low <= 0.4 <= high)
        naive = wilson(int(right.sum()), len(right))
        assert high - low > 2.5 * (naive[1] - naive[0])
    assert 50 <= sum(covered) <= 60
    with pytest.raises(InputError, match="two groups"):
        bootstrap_over_groups([True, False], [1, 1])
    with pytest.raises(InputError, match="one for each"):
        bootstrap_over_groups([True, False], [1])


def test_a_probe_uses_the_groups():
    (x, y), (x_test, y_test) = clouds(gap=0.5), clouds(gap=0.5, seed=1)
    result = LinearProbe().evaluate(x, y, x_test, y_test, groups=np.arange(120) // 2)
    assert result.interval == "bootstrap over groups"
    hits = result.prediction == y_test
    assert result.top1_interval == bootstrap_over_groups(hits, np.arange(120) // 2)
