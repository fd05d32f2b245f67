"""One test per published defect: its effect on synthetic data; the default is free of it."""

from dataclasses import replace

import numpy as np
import pytest

from vibrissa.neural.aligning import AlignConfig, align
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.inference import condition_orders
from vibrissa.neural.measures import RSA
from vibrissa.neural.published import filtered_mean, published_maximum, quantities
from vibrissa.neural.published_auditing import PublishedConfig, deviations, published_protocol
from vibrissa.neural.session import Session
from vibrissa.neural.synth import SynthConfig, synth_sessions, synth_world

WORLD = SynthConfig(animals=4, sessions=3, units=12, trials=130, tuning=0.25, imbalance=0.4)
DRAWS = 60


def world(seed, config=WORLD):
    sessions = synth_sessions(config, seed)
    rates = np.concatenate([u.rate_hz for u in synth_world(config, seed).sessions], axis=1)
    return sessions, {"truth": rates}


def published(layers, sessions, **switches):
    return published_protocol(
        layers, sessions, PublishedConfig(draws=DRAWS, **switches), stimuli=CONDITIONS
    )


def pooled(result):
    return result.table[result.table["target"] == "pooled"].iloc[0]


def default(layers, sessions, **changes):
    config = replace(AlignConfig(draws=DRAWS, folds=0), **changes)
    return align(layers, sessions, config, stimuli=CONDITIONS).rows(target="pooled").iloc[0]


def test_conditions_by_first_appearance_hide_a_perfect_model():
    found, named, ours = [], [], []
    for seed in range(4):
        sessions, layers = world(seed)
        found.append(pooled(published(layers, sessions))["r_xy"])
        named.append(pooled(published(layers, sessions, first_appearance=False))["r_xy"])
        ours.append(default(layers, sessions)["raw"])
    assert np.mean(found) < 0.5
    assert np.mean(named) > np.mean(found) + 0.2
    assert min(ours) > 0.97


def test_zeros_for_absent_conditions_cost_reliability_across_sessions():
    sessions, layers = world(1)
    zero = pooled(published(layers, sessions, first_appearance=False))
    absent = pooled(published(layers, sessions, first_appearance=False, zeros=False))
    assert zero["r_yy"] < absent["r_yy"] - 0.05
    assert default(layers, sessions)["reliability"] > 0.95


def test_zeros_invent_reliability_where_nothing_is_tuned():
    """The same imbalance in all animals and no tuning at all: halves agree on the imbalance."""
    rng = np.random.default_rng(0)
    share = np.array([0.05, 0.1, 0.12, 0.18, 0.22, 0.33])
    sessions = []
    for a in range(4):
        for s in range(2):
            rows = np.concatenate([np.repeat(np.arange(6), 4), rng.choice(6, 130, p=share)])
            sessions.append(
                Session(
                    name=f"{a}-{s}", animal=str(a), unit_ids=np.arange(12),
                    condition=np.array(CONDITIONS)[rng.permutation(rows)],
                    counts=rng.poisson(rng.gamma(2, 4, 12), (154, 12)),
                    duration_s=np.full(154, 1.0),
                )
            )  # fmt: skip
    layers = {"any": rng.standard_normal((6, 30))}
    zero = pooled(published(layers, sessions, first_appearance=False))["r_yy"]
    unbiased = default(
        layers, sessions, measure=RSA(rdm="crossnobis", comparison="pearson"), min_reliability=0.9
    )
    assert zero > 0.15
    assert unbiased["reliability"] < 0.6
    assert unbiased["status"] != "ok"


def test_row_halves_lose_draws_that_stratified_halves_keep():
    sessions, layers = world(2, replace(WORLD, animals=1, sessions=1, trials=45))
    rows = published(layers, sessions, zeros=False)
    kept = [len(s["r_yy"]) for s in rows.statistics.values()]
    assert min(kept) < DRAWS  # a half without a condition: skipped in silence
    ours = align(layers, sessions, AlignConfig(draws=DRAWS, folds=0), stimuli=CONDITIONS)
    assert (ours.rows(target="pooled")["kept"] == 1.0).all()


def test_filtering_on_the_denominator_biases_the_mean_down():
    """True score 0.7: the mean of kept ratios is far off at low reliability, ours is not."""
    rng = np.random.default_rng(3)
    r_true, n = 0.7, 4000
    r_yy = np.clip(rng.normal(0.25, 0.3, n), -0.9, 0.95)  # SB of the mean is 0.4
    r_xy = r_true * np.sqrt(0.4)
    found = quantities(np.full(n, r_xy), np.ones(n), r_yy)
    assert filtered_mean(found) < 0.6
    ratio = r_xy / np.sqrt(2 * r_yy.mean() / (1 + r_yy.mean()))
    assert ratio == pytest.approx(0.7, abs=0.02)


def test_the_maximum_over_layers_and_targets_is_large_by_chance():
    rng = np.random.default_rng(4)
    sessions, _ = world(3)
    best, ours = [], []
    for _ in range(6):
        layers = {f"l{k}": rng.standard_normal((6, 30)) for k in range(10)}
        result = published(layers, sessions)
        best.append(result.models["model"])
        scored = align(layers, sessions, AlignConfig(draws=DRAWS, folds=0), stimuli=CONDITIONS)
        ours.append(scored.models.iloc[0])
    assert np.median(best) > 0.45  # meaningless models
    assert np.mean([row["p"] for row in ours]) > 0.2
    held_out = [row["held_out_score"] for row in ours]
    assert np.mean(held_out) < np.mean(best) - 0.1


def test_the_first_file_decides_if_its_score_is_nan():
    values = [float("nan"), 0.5, 0.4]
    assert np.isnan(published_maximum(values))
    assert published_maximum(values[::-1]) == 0.5


def test_shifted_spikes_destroy_alignment():
    """Counts of another trial, as a clock that is off by more than a trial gives them."""
    sessions, layers = world(5)
    moved = [replace(s, counts=np.roll(s.counts, 1, axis=0)) for s in sessions]
    right, wrong = default(layers, sessions), default(layers, moved)
    assert right["raw"] > 0.97
    assert abs(wrong["raw"]) < 0.6
    assert wrong["reliability"] < right["reliability"]
    steps = deviations(
        layers, sessions, shifted=moved, config=PublishedConfig(draws=DRAWS), stimuli=CONDITIONS
    )
    assert steps["step"].tolist() == [
        "as published", "conditions by name", "clock as stored", "absent conditions absent",
        "halves within conditions", "all draws", "held-out layer",
    ]  # fmt: skip
    clock = steps.set_index("step")["r_xy"]
    assert clock["clock as stored"] > clock["conditions by name"] + 0.2


def test_noise_of_unequal_trials_looks_like_structure():
    """Untuned units, the same imbalance everywhere: correlation distances agree, crossnobis not."""
    rng = np.random.default_rng(6)
    counts = np.array([3, 5, 8, 15, 30, 60])
    sessions = []
    for a in range(6):
        rows = np.repeat(np.arange(6), counts)
        sessions.append(
            Session(
                name=str(a), animal=str(a), unit_ids=np.arange(25),
                condition=np.array(CONDITIONS)[rows],
                counts=rng.poisson(rng.gamma(2, 2, 25), (len(rows), 25)),
                duration_s=np.ones(len(rows)),
            )
        )  # fmt: skip
    layers = {"any": rng.standard_normal((6, 30))}
    plain = align(layers, sessions, AlignConfig(draws=DRAWS, folds=0), stimuli=CONDITIONS)
    free = align(
        layers, sessions,
        AlignConfig(draws=DRAWS, folds=0, measure=RSA(rdm="crossnobis", scale="sqrt")),
        stimuli=CONDITIONS,
    )  # fmt: skip
    assert plain.rows(target="animals").iloc[0]["reliability"] > 0.5  # animal to animal
    assert free.rows(target="animals").iloc[0]["reliability"] < 0.3


def test_every_relabelling_of_a_model_gets_its_p():
    """The published maximum has no null; here the exact one is part of the table."""
    sessions, layers = world(7)
    orders, _ = condition_orders(6)
    result = align(layers, sessions, AlignConfig(draws=DRAWS, folds=0), stimuli=CONDITIONS)
    assert len(result.null_max["model/pooled"]) == len(orders)
    assert result.value("model", "truth", "pooled")["p_max"] == pytest.approx(1 / 720)
