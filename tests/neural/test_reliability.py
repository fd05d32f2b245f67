"""Split halves: stratified, reproducible, equal to loops; nothing depends on any order."""

import numpy as np
import pytest

from vibrissa.neural.ceilings import (
    animal_consistency,
    group_score,
    noise_ceilings,
    split_half_reliability,
)
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.measures import RSA, measures
from vibrissa.neural.rdm import correlation_rdm, noise_precision
from vibrissa.neural.reliability import (
    SessionMoments,
    half_weights,
    scaled_trials,
    session_moments,
    spearman_brown,
)
from vibrissa.neural.session import Session
from vibrissa.neural.synth import SynthConfig, synth_sessions
from vibrissa.neural.targets import targets, why_unusable


def small_session(seed=0, trials=40, units=9, name="s"):
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.repeat(np.arange(6), 3), rng.integers(0, 6, trials - 18)])
    return Session(
        name=name, animal="a", unit_ids=np.arange(units), condition=np.array(CONDITIONS)[rows],
        counts=rng.poisson(5.0 + rows[:, None] * np.linspace(0, 1, units)),
        duration_s=rng.uniform(2.0, 4.0, trials),
    )  # fmt: skip


def test_spearman_brown():
    assert spearman_brown(0.5) == pytest.approx(2 / 3)
    assert spearman_brown(1.0) == 1.0
    assert spearman_brown(-0.5) == pytest.approx(-2.0)  # kept, never clipped
    assert spearman_brown(-1.0) == -np.inf
    # two halves of length 1: the reliability of tests of length 2 from theory
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(200_000)
    halves = signal + rng.standard_normal((4, 200_000)) * 1.5
    half = np.corrcoef(halves[0], halves[1])[0, 1]
    whole = np.corrcoef(halves[0] + halves[1], halves[2] + halves[3])[0, 1]
    assert spearman_brown(half) == pytest.approx(whole, abs=0.01)


@pytest.mark.parametrize("n", [2, 3, 8, 9])
def test_halves_are_halves(n):
    weights = half_weights(n, 4000, np.random.default_rng(1))
    sizes = weights.sum(axis=1)
    assert set(sizes) <= {n // 2, n - n // 2}
    assert np.abs(weights.mean(axis=0) - 0.5).max() < 0.05
    assert sizes.mean() == pytest.approx(n / 2, abs=0.05)


def test_moments_equal_those_of_explicit_halves():
    session = small_session()
    found = session_moments(session, CONDITIONS, draws=6, seed=3, offset=2.0)
    rates = session.counts / session.duration_s[:, None]
    from vibrissa.core.seeds import generator

    weights = {}
    for name in CONDITIONS:
        n = int((session.condition == name).sum())
        weights[name] = half_weights(n, 6, generator(3, "halves", "s", name))
    full = np.array([rates[session.condition == name].mean(axis=0) for name in CONDITIONS])
    assert np.allclose(found.full.correlation(), correlation_rdm(full), atol=1e-12)
    for draw in range(6):
        one, two = [], []
        for name in CONDITIONS:
            shown, w = rates[session.condition == name], weights[name][draw].astype(bool)
            one.append(shown[w].mean(axis=0))
            two.append(shown[~w].mean(axis=0))
        first, second = np.array(one), np.array(two)
        assert np.allclose(
            found.halves.first[draw].correlation(), correlation_rdm(first), atol=1e-12
        )
        assert np.allclose(
            found.halves.second[draw].correlation(), correlation_rdm(second), atol=1e-12
        )
        assert np.allclose(found.halves.cross[draw], (first - 2.0) @ (second - 2.0).T)


def test_folds_equal_leaving_trials_out():
    session = small_session(trials=60)
    from vibrissa.core.seeds import generator

    found = session_moments(session, CONDITIONS, draws=4, seed=1, folds=5, fold_draws=2)
    assert found.folds is not None
    assert found.fold_halves is not None
    out = np.zeros(60, dtype=int)
    for name in CONDITIONS:
        rows = np.flatnonzero(session.condition == name)
        out[rows] = generator(1, "folds", "s", name).permutation(len(rows)) % 5
    rates = session.counts / session.duration_s[:, None]
    for fold in range(5):
        kept = out != fold
        means = np.array([rates[(session.condition == n) & kept].mean(axis=0) for n in CONDITIONS])
        assert np.allclose(found.folds[fold].correlation(), correlation_rdm(means), atol=1e-12)
        both = found.fold_halves
        first, second = both.first[:, fold], both.second[:, fold]
        assert first.shape == second.shape == (2,)
        # the halves of a fold are made of the trials that are left
        weights = {
            n: half_weights(int((session.condition == n).sum()), 4, generator(1, "halves", "s", n))[
                :2
            ]
            for n in CONDITIONS
        }
        one = np.array([
            rates[session.condition == n][
                weights[n][0].astype(bool) & kept[session.condition == n]
            ].mean(axis=0)
            for n in CONDITIONS
        ])  # fmt: skip
        assert np.allclose(first[0].correlation(), correlation_rdm(one), atol=1e-12)


def test_unbiased_distances_have_no_noise_in_them():
    """Untuned units with unequal trials: plain distances grow with noise, unbiased stay at 0."""
    plain, unbiased = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = np.repeat(np.arange(6), [3, 4, 6, 10, 20, 40])
        session = Session(
            name="s", animal="a", unit_ids=np.arange(10), condition=np.array(CONDITIONS)[rows],
            counts=rng.poisson(10.0, (len(rows), 10)), duration_s=np.ones(len(rows)),
        )  # fmt: skip
        moments = session_moments(session, CONDITIONS, draws=1, seed=0).full
        plain.append(moments.euclidean())
        unbiased.append(moments.euclidean(unbiased=True))
    # variance 10 per trial: the first pair has 10 / 3 + 10 / 4 of noise
    assert np.mean(plain, 0)[0] == pytest.approx(10 / 3 + 10 / 4, rel=0.15)
    error = np.std(unbiased, axis=0) / np.sqrt(60)
    assert (np.abs(np.mean(unbiased, axis=0)) < 4 * error).all()


def test_scales():
    session = small_session(trials=200)
    rates = session.rates()
    assert np.array_equal(scaled_trials(session, CONDITIONS, "rate"), rates)
    assert np.array_equal(scaled_trials(session, CONDITIONS, "sqrt"), np.sqrt(rates))
    z = scaled_trials(session, CONDITIONS, "zscore")
    left = np.concatenate([
        z[session.condition == n] - z[session.condition == n].mean(axis=0) for n in CONDITIONS
    ])  # fmt: skip
    assert (left**2).sum(axis=0) / (200 - 6) == pytest.approx(1.0)
    white = scaled_trials(session, CONDITIONS, "whitened")
    precision = noise_precision(np.sqrt(rates), session.condition)
    assert np.allclose(white @ white.T, np.sqrt(rates) @ precision @ np.sqrt(rates).T)


def test_silent_units_do_not_break_scales():
    session = small_session(trials=80)
    silent = Session(
        name="s", animal="a", unit_ids=np.arange(9), condition=session.condition,
        counts=np.where(np.arange(9) == 4, 0, session.counts), duration_s=session.duration_s,
    )  # fmt: skip
    for scale in ("rate", "sqrt", "zscore", "whitened"):
        moments = session_moments(silent, CONDITIONS, draws=3, seed=0, scale=scale)
        assert np.isfinite(moments.full.correlation()).all()


def test_ceilings_agree_with_rsatoolbox():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inference = pytest.importorskip("rsatoolbox.inference.noise_ceiling")
        from rsatoolbox.rdm.rdms import RDMs

        subjects = np.random.default_rng(5).random((6, 15))
        for ours, theirs in (("pearson", "corr"), ("cosine", "cosine"), ("spearman", "spearman"),
                             ("kendall", "tau-a"), ("whitened_cosine", "cosine_cov"),
                             ("whitened_correlation", "corr_cov")):  # fmt: skip
            expected = inference.boot_noise_ceiling(RDMs(subjects), method=theirs)
            assert np.abs(np.array(noise_ceilings(subjects, ours)) - expected).max() <= 1e-8
    assert np.isnan(noise_ceilings(subjects[:1], "pearson")[0])


def test_the_common_rdm_scores_one_on_the_group():
    """Many animals with a common RDM and their own part: the common one scores 1 (theory)."""
    rng = np.random.default_rng(2)
    common = rng.standard_normal(15)
    common -= common.mean()
    own = rng.standard_normal((4000, 15)) * 0.8
    animals = common + own - own.mean(axis=1, keepdims=True)
    unit = animals / np.linalg.norm(animals, axis=1, keepdims=True)
    model = (common / np.linalg.norm(common))[None]
    score, consistency = group_score(model @ unit.T, unit @ unit.T)
    assert score[0] == pytest.approx(1.0, abs=0.02)
    assert 0.3 < consistency < 0.9
    # weights of one each are no weights; pairs of an animal with itself do not count
    same, _ = group_score(model @ unit[:9].T, unit[:9] @ unit[:9].T, np.ones((1, 9)))
    assert same[0] == pytest.approx(group_score(model @ unit[:9].T, unit[:9] @ unit[:9].T)[0])


def animals_of(config, seed, measure):
    sessions = synth_sessions(config, seed)
    found = {}
    for target in targets(sessions, "animal"):
        parts = [
            session_moments(s, CONDITIONS, draws=60, seed=0, scale=measure.scale)
            for s in target.sessions
        ]
        found[target.name] = SessionMoments.joined(parts)
    return found


@pytest.mark.parametrize("how", ["pairwise", "leave_one_out", "pooled"])
def test_animals_agree_where_they_share_a_geometry(how):
    measure = RSA()
    alike = animals_of(SynthConfig(animals=4, sessions=2, units=25, trials=150), 1, measure)
    table = animal_consistency(measure, alike, how)
    assert len(table) == (6 if how == "pairwise" else 4)
    assert (table["status"] == "ok").all()
    assert table["raw"].mean() > 0.4
    apart = animals_of(
        SynthConfig(animals=4, sessions=2, units=25, trials=150, own_geometry=1.0), 1, measure
    )
    assert animal_consistency(measure, apart, how)["raw"].mean() < table["raw"].mean() - 0.2


def test_consistency_says_why_it_has_no_score():
    measure = RSA()
    untuned = animals_of(SynthConfig(animals=3, sessions=1, tuning=0.0, trials=60), 0, measure)
    table = animal_consistency(measure, untuned, floor=0.99)
    assert set(table["status"]) == {"low_reliability"}
    assert table["score"].isna().all()
    reliability, kept = split_half_reliability(measure, next(iter(untuned.values())))
    assert np.isfinite(reliability)
    assert kept == 1.0
    from vibrissa.core.errors import InputError

    with pytest.raises(InputError, match="two or more"):
        animal_consistency(measure, dict(list(untuned.items())[:1]))
    with pytest.raises(InputError, match="rsa or cka"):
        animal_consistency(measures.get("ridge")(), untuned)


def test_unusable_sessions_say_why():
    session = small_session()
    assert why_unusable(session, CONDITIONS, 2) == ""
    assert why_unusable(session.select(units=np.zeros(0, int)), CONDITIONS, 2) == "no units"
    assert why_unusable(session.select(np.zeros(0, int)), CONDITIONS, 2) == "no trials"
    without = session.select(session.condition != CONDITIONS[2])
    assert why_unusable(without, CONDITIONS, 2) == f"no trials of {CONDITIONS[2]}"
    assert "fewer than 30" in why_unusable(session, CONDITIONS, 30)
