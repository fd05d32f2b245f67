"""Worlds with known truth: perfect models, shuffled models, the true layer, coverage."""

import numpy as np
import pytest
from scipy.stats import kstest

from vibrissa.neural.aligning import AlignConfig, align
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.inference import condition_orders
from vibrissa.neural.measures import RSA, measures, value
from vibrissa.neural.measures_partial import PartialRSA
from vibrissa.neural.synth import SynthConfig, synth_sessions, synth_world

QUICK = AlignConfig(draws=150, folds=20, fold_draws=60)


def world(seed, **changes):
    config = SynthConfig(**{"animals": 5, "sessions": 2, "units": 14, "trials": 130, **changes})
    truth = synth_world(config, seed)
    rates = np.concatenate([u.rate_hz for u in truth.sessions], axis=1)
    return synth_sessions(config, seed), rates, truth


def layers_of(seed, rates):
    rng = np.random.default_rng(seed)
    found = {f"random{k}": rng.standard_normal((6, 50)) for k in range(6)}
    found["true"] = rates
    found["half"] = rates + rates.std() * rng.standard_normal(rates.shape)
    return found


def check_worlds(seeds, tunings):
    inside = {"true": [], "half": [], "animal": []}
    chosen = []
    for seed in seeds:
        sessions, rates, truth = world(seed, tuning=tunings[seed % len(tunings)])
        layers = layers_of(seed, rates)
        result = align(layers, sessions, QUICK, stimuli=CONDITIONS)
        for name in ("true", "half"):
            row = result.value("model", name, "pooled")
            assert row["status"] == "ok"
            expected = value(RSA(), layers[name], rates)
            inside[name].append(row["low"] <= expected <= row["high"])
            assert row["score"] == pytest.approx(expected, abs=0.25)
        for animal in ("219CR", "221CR"):
            own = np.concatenate([u.rate_hz for u in truth.sessions if u.animal == animal], axis=1)
            row = align({"own": own}, [s for s in sessions if s.animal == animal], QUICK,
                        stimuli=CONDITIONS).value("model", "own", animal)  # fmt: skip
            if row["status"] == "ok":
                inside["animal"].append(row["low"] <= 1.0 <= row["high"])
        only = {n: v for n, v in layers.items() if n != "half"}
        found = align(only, sessions, AlignConfig(draws=20, folds=0), stimuli=CONDITIONS)
        model = found.models.iloc[0]
        chosen.append(model["best_layer"] == "true" and model["chosen"] == "true")
        assert found.value("model", "true", "pooled")["p_max"] < 0.1
    return inside, chosen


def test_the_truth_is_found_and_scores_one():
    inside, chosen = check_worlds(range(3), (0.2, 0.4))
    assert np.mean(inside["true"] + inside["half"] + inside["animal"]) >= 0.75  # 12 intervals
    assert sum(chosen) >= 2


@pytest.mark.slow
def test_twenty_worlds():
    inside, chosen = check_worlds(range(20), (0.1, 0.2, 0.4))
    for name, found in inside.items():
        assert len(found) >= 20
        # 95 % intervals: between 90 and 99 % up to the spread of so few worlds
        assert 0.85 <= np.mean(found) <= 1.0, name
    assert np.mean(chosen) >= 0.9


@pytest.mark.parametrize("name", ["rsa", "cka"])
def test_p_values_of_relabelled_models_are_uniform(name):
    """The truth with its conditions relabelled at random: p and its largest are calibrated."""
    orders, _ = condition_orders(6)
    rng = np.random.default_rng(0)
    single, corrected = [], []
    for seed in range(3):
        sessions, rates, _ = world(seed, tuning=0.2, animals=3, sessions=1)
        config = AlignConfig(measure=measures.get(name)(), draws=10, folds=0)
        for order in orders[rng.choice(len(orders), 40, replace=False)]:
            result = align({"moved": rates[order]}, sessions, config, stimuli=CONDITIONS)
            single.append(result.value("model", "moved", "pooled")["p"])
            corrected.append(result.table["p_max"].min())
    assert kstest(single, "uniform").pvalue > 0.01
    assert kstest(corrected, "uniform").pvalue > 0.01


def test_choosing_the_layer_is_calibrated():
    """Random layers, the best chosen on other animals: its p stays uniform, not near 0."""
    rng = np.random.default_rng(1)
    sessions, _, _ = world(4, tuning=0.3, animals=4, sessions=1)
    found = []
    for _ in range(50):
        layers = {f"l{k}": rng.standard_normal((6, 40)) for k in range(6)}
        result = align(layers, sessions, AlignConfig(draws=10, folds=0), stimuli=CONDITIONS)
        found.append(result.models.iloc[0]["p"])
    assert kstest(found, "uniform").pvalue > 0.01


def test_perfect_models_score_one_by_every_noise_corrected_measure():
    sessions, rates, _ = world(1, tuning=0.3, trials=260)
    for measure in (
        RSA(comparison="spearman"), RSA(comparison="kendall"), RSA(comparison="cosine"),
        RSA(comparison="whitened_correlation"), RSA(rdm="euclidean"), RSA(rdm="crossnobis"),
        measures.get("cka")(), measures.get("procrustes")(),
    ):  # fmt: skip
        config = AlignConfig(measure=measure, draws=60, folds=0, by=("pooled",), permutations=50)
        row = align({"true": rates}, sessions, config, stimuli=CONDITIONS).table.iloc[0]
        assert row["score"] == pytest.approx(1.0, abs=0.04), measure


def test_group_interval_covers_the_common_code():
    """Animals that share a geometry: a model that has it scores 1 within the interval."""
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((6, 8))
        config = SynthConfig(animals=8, sessions=1, units=30, trials=140, tuning=0.3)
        sessions = synth_sessions(config, seed, features=features)
        # the common code as many units have it, tuned as those of the animals are
        big = SynthConfig(animals=60, sessions=1, units=30, trials=1, tuning=0.3)
        units = synth_world(big, seed + 100, features=features).sessions
        common = np.concatenate([u.rate_hz for u in units], axis=1)
        config = AlignConfig(draws=20, folds=0, by=("animal",))
        row = (
            align({"c": common}, sessions, config, stimuli=CONDITIONS)
            .rows(target="animals")
            .iloc[0]
        )
        inside.append(row["low"] <= 1.0 <= row["high"])
        assert row["ceiling_lower"] <= row["ceiling_upper"]
    assert np.mean(inside) >= 0.8


def test_partial_rsa_on_recordings_where_choice_follows_shape():
    """Correct trials only: choice is the shape, so partial RSA removes what RSA credits to it."""
    sessions, rates, _ = world(2, tuning=0.3)
    shape_only = np.repeat([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], 3, axis=0)
    shape_only += 0.01 * np.random.default_rng(0).standard_normal((6, 3))
    config = AlignConfig(draws=30, folds=0, by=("pooled",),
                         measure=PartialRSA(confounds=("choice",)))  # fmt: skip
    found = align({"true": rates, "shape": shape_only}, sessions, config, stimuli=CONDITIONS)
    assert found.value("model", "true", "pooled")["score"] == pytest.approx(1.0, abs=0.05)
    assert abs(found.value("model", "shape", "pooled")["raw"]) < 0.75
