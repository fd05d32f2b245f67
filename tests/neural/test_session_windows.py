"""Windows and counting against loops that are plain to see."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.neural.counting import count_spans
from vibrissa.neural.raw import RawSession
from vibrissa.neural.selecting import TrialRules, session_of
from vibrissa.neural.windows import (
    AroundEvent,
    Between,
    Contacts,
    FirstTouch,
    choose_window,
    window_name,
    windows,
)

FRAME = 0.005


def recording(seed=0, n_trials=30, n_units=3, **changed):
    """Trials of about 7 s whose times and spikes often fall on the same frames."""
    draw = np.random.default_rng(seed)
    start = 100.0 + np.concatenate([[0.0], np.cumsum(np.round(draw.uniform(6, 8, n_trials), 2))])
    stop = start[1:]
    start = start[:-1]
    choice = np.round(start + draw.uniform(3.1, 4.2, n_trials), 3)
    contacts = np.sort(np.round(draw.uniform(start[0], stop[-1], 400) / FRAME) * FRAME)
    entries: dict[str, Any] = {
        "name": "s", "animal": "a",
        "trials": {
            "start_time": start, "stop_time": stop, "choice_time": choice,
            "response_window_open_time": start + 3.02,
            "stimulus": draw.choice(["convex", "concave"], n_trials),
            "servo_position": draw.choice(["close", "medium", "far"], n_trials),
            "outcome": np.full(n_trials, "correct"), "choice": np.full(n_trials, "left"),
            "rewarded_side": np.full(n_trials, "left"),
            "ignore_trial": np.zeros(n_trials, bool),
        },
        "trial_ids": 4 + np.arange(n_trials),
        "unit_ids": np.array([39, 68, 74])[:n_units],
        "spike_times": tuple(
            np.sort(np.concatenate([
                draw.uniform(90, stop[-1] + 5, 4000), start, choice, contacts, start + 3.02
            ])) for _ in range(n_units)
        ),
        "contacts": {
            "C1": np.stack([contacts[::2], contacts[::2] + FRAME], 1),
            "C2": np.stack([contacts[1::2], contacts[1::2]], 1),
        },
    }  # fmt: skip
    return RawSession(**{**entries, **changed})


def loop(spikes, start, stop):
    """Spikes in [start, stop), one by one."""
    return sum(1 for spike in spikes if start <= spike < stop)


def test_published_window_counts_from_start_to_choice():
    raw = recording()
    session = session_of(raw, trials=TrialRules(), window="published")
    start, stop = raw.trials["start_time"], raw.trials["choice_time"]
    for trial in range(0, raw.n_trials, 5):
        for unit in range(3):
            assert session.counts[trial, unit] == loop(
                raw.spike_times[unit], start[trial], stop[trial]
            )
    np.testing.assert_allclose(session.duration_s, stop - start, atol=1e-12)
    np.testing.assert_array_equal(session.file_order, np.arange(raw.n_trials))
    np.testing.assert_array_equal(session.trial_ids, raw.trial_ids)


def test_rounded_durations_give_the_mean_over_45_ms_bins():
    """The published value: mean count of the bins that cover the trial, by the width of one."""
    raw = recording()
    rates = session_of(raw, window=Between(round_up_s=0.045)).rates()
    for trial in range(raw.n_trials):
        a, b = raw.trials["start_time"][trial], raw.trials["choice_time"][trial]
        edges = np.arange(a, b + 0.045, 0.045)
        for unit in range(3):
            inside = [s for s in raw.spike_times[unit] if a <= s < b]
            expected = np.histogram(inside, bins=edges)[0].mean() / 0.045
            assert rates[trial, unit] == pytest.approx(expected, rel=1e-12)


def test_response_window_ends_where_it_opens():
    raw = recording()
    session = session_of(raw, window="response_window", bin_s=0.25)
    opens = raw.trials["response_window_open_time"]
    assert session.binned_counts is not None
    assert session.bin_edges_s is not None
    np.testing.assert_allclose(session.bin_edges_s, np.linspace(-2, 0, 9), atol=1e-12)
    np.testing.assert_array_equal(session.duration_s.round(9), 2.0)
    for trial in range(0, raw.n_trials, 7):
        for unit in range(3):
            spikes = raw.spike_times[unit]
            assert session.counts[trial, unit] == loop(spikes, opens[trial] - 2.0, opens[trial])
            for k in range(8):
                a = opens[trial] + (-2.0 + 0.25 * k)
                b = opens[trial] + (-2.0 + 0.25 * (k + 1))
                assert session.binned_counts[trial, k, unit] == loop(spikes, a, b)
    np.testing.assert_array_equal(session.binned_counts.sum(axis=1), session.counts)


def test_bins_outside_a_trial_are_unknown_not_zero():
    raw = recording()
    session = session_of(raw, bin_s=0.1)
    assert session.binned_counts is not None
    length = raw.trials["choice_time"] - raw.trials["start_time"]
    for trial in range(raw.n_trials):
        full = int(np.floor(length[trial] / 0.1 + 1e-6))
        assert np.isfinite(session.binned_counts[trial, :full]).all()
        assert np.isnan(session.binned_counts[trial, full:]).all()


def test_first_touch_starts_at_the_first_contact_of_any_whisker():
    raw = recording()
    session = session_of(raw, window=FirstTouch(stop_s=0.3))
    onsets = np.concatenate([spans[:, 0] for spans in raw.contacts.values()])
    for row, trial in enumerate(session.file_order):
        a, b = raw.trials["start_time"][trial], raw.trials["choice_time"][trial]
        first = min(t for t in onsets if a <= t < b)
        assert session.event_s is not None
        assert session.event_s[row] == first
        assert session.counts[row, 1] == loop(raw.spike_times[1], first, min(first + 0.3, b))
        latency = session.covariates["first_contact_latency_s"][row]
        assert latency == pytest.approx(first - a, abs=1e-12)
        assert session.covariates["contact_count"][row] == sum(a <= t < b for t in onsets)


def test_contacts_that_overlap_count_once():
    raw = recording()
    session = session_of(raw, window=Contacts(start_s=0.0, stop_s=0.5))
    onsets = np.concatenate([spans[:, 0] for spans in raw.contacts.values()])
    for row, trial in enumerate(session.file_order):
        a, b = raw.trials["start_time"][trial], raw.trials["choice_time"][trial]
        mine = [t for t in onsets if a <= t < b]
        for unit in range(3):
            expected = sum(
                1 for s in raw.spike_times[unit] if s < b and any(t <= s < t + 0.5 for t in mine)
            )
            assert session.counts[row, unit] == expected
        ticks = np.arange(float(a), float(b), 0.0005)
        covered = np.zeros(len(ticks), bool)
        for t in mine:
            covered |= (ticks >= t) & (ticks < t + 0.5)
        assert session.duration_s[row] == pytest.approx(0.0005 * covered.sum(), abs=0.01)
    with pytest.raises(InputError, match="many spans"):
        session_of(raw, window="contacts", bin_s=0.01)


def test_trials_without_a_window_are_left_out_with_the_reason():
    raw = recording()
    trials = dict(raw.trials)
    choice = trials["choice_time"].copy()
    choice[3], choice[8] = np.nan, trials["start_time"][8] - 1.0
    quiet = recording(trials={**trials, "choice_time": choice}, contacts={"C1": np.zeros((0, 2))})
    session = session_of(quiet)
    assert sorted(session.file_order) == [k for k in range(30) if k not in (3, 8)]
    lost = {why: sum(n.values()) for why, n in session.dropped.items()}
    assert lost == {"no start_time or choice_time": 1, "empty window": 1}
    touched = session_of(quiet, window="first_touch")
    assert touched.n_trials == 0
    assert sum(touched.dropped["no contact"].values()) == 30


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_counting_by_bisection_is_counting_by_hand(seed):
    draw = np.random.default_rng(seed)
    spikes = tuple(np.sort(draw.integers(0, 40, n) * 0.25) for n in (0, 1, 30))
    start = draw.integers(-4, 40, 12) * 0.25
    stop = start + draw.integers(0, 12, 12) * 0.25
    counts = count_spans(spikes, start, stop)
    for k in range(12):
        for unit in range(3):
            assert counts[k, unit] == loop(spikes[unit], start[k], stop[k])


def test_windows_go_by_name_configuration_or_tree():
    assert {"published", "response_window", "first_touch", "contacts"} <= set(windows)
    for name in windows:
        assert window_name(choose_window(name)) == name
    assert choose_window({"kind": "response_window", "start_s": -1}) == AroundEvent(start_s=-1)
    for wrong, text in [
        ("publishd", "published"),
        ({"kind": "contacts", "begin": 1}, "begin"),
        ({"start_s": 1}, "no kind"),
        (3, "no window"),
    ]:
        with pytest.raises(InputError, match=text):
            choose_window(wrong)
    with pytest.raises(InputError, match="not after"):
        FirstTouch(start_s=1.0, stop_s=0.5)
    with pytest.raises(InputError, match="no contact times"):
        session_of(recording(contacts={}), window="contacts")
    with pytest.raises(InputError, match="wider than every window"):
        session_of(recording(), window="response_window", bin_s=3.0)


def test_a_missing_column_is_named():
    raw = recording()
    trials = {k: v for k, v in raw.trials.items() if k != "choice_time"}
    with pytest.raises(InputError, match="no column 'choice_time'"):
        session_of(recording(trials=trials))
