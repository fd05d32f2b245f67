"""Synthetic recordings: the truth is the truth, and equal seeds give equal bytes."""

import hashlib
from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy import stats

from vibrissa.core.errors import InputError
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.nwb import read_sessions
from vibrissa.neural.selecting import TrialRules, session_of
from vibrissa.neural.synth import SynthConfig, synth_sessions, synth_truth
from vibrissa.neural.synth_nwb import write_synth
from vibrissa.neural.synth_recording import synth_recordings
from vibrissa.neural.synth_truths import SynthTruth

UPPER = np.triu_indices(6, 1)
MANY = SynthConfig(animals=2, sessions=1, units=20, trials=3000, shared_noise=0.0)


def z_scores(sessions, truth):
    """Deviation of each condition mean from the truth, in its Poisson standard error."""
    found = []
    for session in sessions:
        mean, rate = session.condition_mean(CONDITIONS), truth.rate_hz[session.name]
        for row, name in enumerate(CONDITIONS):
            time = session.duration_s[session.condition == name]
            # Mean of counts / duration: its variance is rate * mean(1 / duration) / n.
            error = np.sqrt(rate[row] * (1 / time).mean() / len(time))
            found.append((mean[row] - rate[row]) / error)
    return np.concatenate(found)


def test_counts_have_the_true_rates():
    z = z_scores(synth_sessions(MANY, 0), synth_truth(MANY, 0))
    assert len(z) >= 6 * 30
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(z.std() - 1) < 0.15


def test_spike_trains_have_the_true_rates():
    """Spikes one by one, contacts and all: between start and choice the expected rate is true."""
    config = replace(MANY, trials=500, contact_share=0.3)
    truth = synth_truth(config, 1)
    recordings = synth_recordings(config, 1)
    sessions = [session_of(r.raw, trials=TrialRules(outcome=())) for r in recordings]
    z = z_scores(sessions, truth)
    assert stats.kstest(z, "norm").pvalue > 1e-3


def test_geometry_is_kept_before_the_choice_too():
    """2 s before the response window: other rates, as contacts cluster, but the same geometry."""
    config = SynthConfig(animals=1, sessions=1, units=40, trials=1500, tuning=0.6)
    truth = synth_truth(config, 2)
    (recording,) = synth_recordings(config, 2)
    mean = session_of(recording.raw, window="response_window").condition_mean(CONDITIONS)
    assert np.corrcoef((1 - np.corrcoef(mean))[UPPER], truth.rdm()[UPPER])[0, 1] > 0.97


@pytest.mark.parametrize("source", ["drawn", "features", "rdm"])
def test_exact_sessions_have_exactly_the_geometry(source):
    features = np.random.default_rng(0).normal(size=(6, 80))
    rdm = 1 - np.corrcoef(features)
    given = {"features": {"features": features}, "rdm": {"rdm": rdm}, "drawn": {}}[source]
    config = SynthConfig(population="exact", units=20, tuning=0.15)
    truth = synth_truth(config, 3, **given)
    expected = truth.geometry_rdm() if source == "drawn" else rdm
    for name in truth.animals:
        np.testing.assert_allclose(truth.rdm(sessions=[name]), expected, atol=1e-12)
    np.testing.assert_allclose(truth.geometry_rdm(), expected, atol=1e-12)


def test_a_perfect_model_is_perfect_and_estimates_approach_it():
    config = SynthConfig(animals=3, sessions=1, units=30, trials=2000, tuning=0.6)
    truth = synth_truth(config, 4)
    sessions = synth_sessions(config, 4)
    pooled = np.concatenate([s.condition_mean(CONDITIONS) for s in sessions], axis=1)
    assert truth.rates().shape == pooled.shape
    assert np.corrcoef((1 - np.corrcoef(pooled))[UPPER], truth.rdm()[UPPER])[0, 1] > 0.99


def test_knobs_do_what_they_say():
    base = SynthConfig(animals=6, sessions=1, units=60, trials=400)
    flat = synth_truth(replace(base, tuned_fraction=0.0), 0)
    assert max(np.ptp(rate, axis=0).max() for rate in flat.rate_hz.values()) < 1e-9
    half = synth_truth(replace(base, tuned_fraction=0.5), 0)
    share = np.mean(np.concatenate(list(half.tuned.values())))
    assert 0.4 < share < 0.6
    # One geometry for all, or one for each animal.
    for own, low, high in [(0.0, 0.85, 1.0), (1.0, -0.6, 0.6)]:
        truth = synth_truth(replace(base, own_geometry=own, tuning=0.4), 1)
        rdms = [truth.rdm(animal=a)[UPPER] for a in sorted(set(truth.animals.values()))]
        alike = np.corrcoef(rdms)[np.triu_indices(6, 1)].mean()
        assert low < alike < high
    even = synth_sessions(replace(base, imbalance=0.0, trials=3000), 2)
    skewed = synth_sessions(replace(base, imbalance=1.0, trials=3000), 2)

    def spread(sessions):
        return np.mean([np.std(list(s.trials_per_condition().values())) for s in sessions])

    assert spread(skewed) > 3 * spread(even)

    # Gain that all units share makes them vary together.
    def together(noise):
        (session,) = synth_sessions(
            replace(base, animals=1, shared_noise=noise, tuned_fraction=0.0, trials=1500), 3
        )
        corr = np.corrcoef(session.rates().T)
        return corr[np.triu_indices(len(corr), 1)].mean()

    assert abs(together(0.0)) < 0.01
    assert together(0.3) > 0.2


def test_contact_counts_follow_the_condition_only_if_asked():
    def f_test(effect):
        config = SynthConfig(animals=1, sessions=1, trials=900, contact_effect=effect)
        (session,) = synth_sessions(config, 5)
        groups = [session.covariates["contact_count"][session.condition == c] for c in CONDITIONS]
        return stats.f_oneway(*groups).pvalue

    assert f_test(0.0) > 1e-3
    assert f_test(0.5) < 1e-10


def test_every_name_gives_its_own_stream():
    """More animals or sessions leave those that were there as they are."""
    small, large = SynthConfig(animals=1, sessions=1), SynthConfig(animals=2, sessions=2)
    assert synth_sessions(small, 0)[0].equals(synth_sessions(large, 0)[0])
    assert not synth_sessions(small, 1)[0].equals(synth_sessions(small, 0)[0])
    names = [s.name for s in synth_sessions(large, 0)]
    assert len(set(names)) == 4


def test_trials_are_of_every_kind():
    config = SynthConfig(trials=400, task="both", opto_fraction=0.1, animals=2, sessions=1)
    for recording in synth_recordings(config, 0):
        trials = recording.raw.trials
        assert set(trials["outcome"]) == {"correct", "error", "spoil"}
        assert set(trials["choice"]) == {"left", "right", "nogo"}
        assert trials["optogenetic"].any()
        assert trials["direct_delivery"].sum() == 3
        assert recording.raw.trial_ids[0] == 4
        ignored = trials["direct_delivery"] | ~trials["stim_is_random"] | trials["optogenetic"]
        ignored |= trials["outcome"] == "spoil"
        np.testing.assert_array_equal(trials["ignore_trial"], ignored)
        np.testing.assert_array_equal(trials["stop_time"][:-1], trials["start_time"][1:])
        correct = trials["outcome"] == "correct"
        np.testing.assert_array_equal(trials["choice"][correct], trials["rewarded_side"][correct])
        spoilt = trials["outcome"] == "spoil"
        late = trials["choice_time"] - trials["response_window_open_time"]
        np.testing.assert_allclose(late[spoilt], 45.0)
        assert ("nothing" in trials["stimulus"]) == (recording.task == "detection")


# --- files -----------------------------------------------------------------------------------


def digest(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_equal_seeds_give_equal_bytes(tmp_path):
    pytest.importorskip("pynwb")
    config = SynthConfig(animals=1, sessions=2, units=4, trials=30, gaps=1)
    for name, seed in [("a", 7), ("b", 7), ("c", 8)]:
        write_synth(tmp_path / name, config, seed, quiet=True)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert set(digest(tmp_path / "a")) == set(digest(tmp_path / "c"))
    assert not set(digest(tmp_path / "a").values()) & set(digest(tmp_path / "c").values())
    # Written over, it is the same again.
    write_synth(tmp_path / "a", config, 7, quiet=True)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    with pytest.raises(InputError, match="already holds other recordings"):
        write_synth(tmp_path / "a", replace(config, sessions=1), 7, quiet=True)


def test_files_say_that_they_are_synthetic_and_follow_the_schema(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    report = write_synth(
        tmp_path, SynthConfig(animals=1, sessions=1, units=4, trials=30), 0, quiet=True
    )
    (path,) = report.files
    assert path.name == "sub-219CR_ses-20190901T144923_behavior+ecephys+image.nwb"
    assert path.stat().st_size < 3e6
    with pynwb.NWBHDF5IO(path, "r") as io:
        nwb = io.read()
        assert nwb.session_description.startswith("SYNTHETIC")
        assert "synthetic" in nwb.keywords[:]
        assert nwb.identifier == "190901_219CR"
        assert set(nwb.trials.colnames) == {
            "start_time", "stop_time", "direct_delivery", "stim_is_random", "optogenetic",
            "ignore_trial", "outcome", "choice", "rewarded_side", "servo_position", "stimulus",
            "choice_time", "response_window_open_time", "trial",
        }  # fmt: skip
        behavior = nwb.processing["behavior"]
        assert {f"contacts_by_whisker_C{k}" for k in range(4)} <= set(behavior.data_interfaces)
        angle = behavior["processed_position_whisker_C2"]["angle"]
        assert angle.unit == "degrees"
        assert angle.data.shape == angle.timestamps.shape
        assert set(behavior["licks"].time_series) == {"left", "right"}
        series = nwb.acquisition["extracellular array recording"]
        assert series.starting_time == 10.0
        assert series.rate == 30000.0
        assert {"depth", "inhibitory", "layer"} <= set(nwb.units.colnames)
    assert pynwb.validate(path=str(path)) == []
    with h5py.File(path) as file:
        data = file["acquisition/extracellular array recording/data"]
        assert isinstance(data, h5py.Dataset)
        assert data.id.get_storage_size() == 0


def test_files_give_back_the_truth(tmp_path):
    pytest.importorskip("pynwb")
    config = SynthConfig(animals=1, sessions=1, units=12, trials=250, tuning=0.7)
    report = write_synth(tmp_path, config, 6, quiet=True)
    truth = SynthTruth.load(report.truth)
    assert truth.conditions == CONDITIONS
    assert truth.config["trials"] == 250
    np.testing.assert_array_equal(truth.rdm(), synth_truth(config, 6).rdm())
    (session,) = read_sessions(tmp_path)
    np.testing.assert_array_equal(session.unit_ids, truth.unit_ids[session.name])
    mean = session.condition_mean(CONDITIONS)
    assert np.corrcoef((1 - np.corrcoef(mean))[UPPER], truth.rdm()[UPPER])[0, 1] > 0.95
    odd = tmp_path / "odd.json"
    odd.write_text("{}")
    with pytest.raises(InputError, match="not the truth"):
        SynthTruth.load(odd)


@pytest.mark.parametrize(
    ("changed", "given", "text"),
    [
        ({"animals": 0}, {}, "animals = 0"),
        ({"tuning": -1.0}, {}, "tuning = -1.0"),
        ({"tuned_fraction": 1.5}, {}, "not a share"),
        ({"error_fraction": 0.9, "spoil_fraction": 0.2}, {}, "above 1"),
        ({"rate_hz": float("nan")}, {}, "rate_hz = nan"),
        ({"population": "exact", "units": 3}, {}, "give units ="),
        ({"population": "exact", "tuning": 3.0, "units": 20}, {}, "fall below 0"),
        ({}, {"features": np.ones((6, 4))}, "a row is constant"),
        ({}, {"features": np.ones((5, 4))}, "not (6, feature)"),
        ({}, {"rdm": np.ones((6, 6))}, "zero diagonal"),
        ({}, {"rdm": 3.0 * (1 - np.eye(6))}, "no patterns have it"),
        ({}, {"rdm": np.zeros((6, 6)), "features": np.ones((6, 4))}, "give one of them"),
    ],
)
def test_what_makes_no_sense_is_refused(changed, given, text):
    with pytest.raises(InputError) as caught:
        synth_truth(SynthConfig(**changed), 0, **given)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rdm_is_undefined_where_rates_do_not_differ():
    """Equal rates in all units have no correlation; with tuning, one unit has none either."""
    flat = SynthConfig(animals=1, sessions=1, units=8, tuning=0.0, rate_spread=0.0,
                       inhibitory_fraction=0.0)  # fmt: skip
    for config in (flat, SynthConfig(animals=1, sessions=1, units=1)):
        truth = synth_truth(config, 0)
        assert np.isnan(truth.rdm()).all()
    pair = synth_truth(SynthConfig(animals=1, sessions=1, units=2), 0).rdm()
    np.testing.assert_allclose(np.minimum(abs(pair), abs(pair - 2)), 0, atol=1e-9)
