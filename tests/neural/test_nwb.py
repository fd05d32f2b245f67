"""NWB files: what is written is read, by either reader, whatever the order of what is in them."""

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.nwb import find_recordings, read_published, read_recording, read_sessions
from vibrissa.neural.nwb_h5 import (
    covered,
    intersect,
    read_whisker_angles,
    spans_of_times,
)
from vibrissa.neural.raw import RawSession
from vibrissa.neural.selecting import TrialRules, session_of
from vibrissa.neural.synth import SynthConfig
from vibrissa.neural.synth_nwb import write_recordings, write_synth
from vibrissa.neural.synth_recording import synth_recordings

pynwb = pytest.importorskip("pynwb")

CONFIG = SynthConfig(
    animals=2, sessions=2, units=6, trials=60, gaps=2, missing_whisker=True, task="both",
    opto_fraction=0.05, sessions_without_units=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def made():
    return synth_recordings(CONFIG, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("recordings")
    write_synth(out, CONFIG, 5, quiet=True)
    return out


def same(one: RawSession, two: RawSession) -> None:
    assert (one.name, one.animal, one.n_units) == (two.name, two.animal, two.n_units)
    assert set(one.trials) == set(two.trials)
    for column in one.trials:
        np.testing.assert_array_equal(one.trials[column], two.trials[column])
    np.testing.assert_array_equal(one.trial_ids, two.trial_ids)
    np.testing.assert_array_equal(one.unit_ids, two.unit_ids)
    for a, b in zip(one.spike_times, two.spike_times, strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("unit_info", "contacts", "licks"):
        a, b = getattr(one, name), getattr(two, name)
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
    assert one.recording_start_s == two.recording_start_s
    assert (one.coverage is None) == (two.coverage is None)
    if one.coverage is not None and two.coverage is not None:
        np.testing.assert_allclose(one.coverage, two.coverage, atol=1e-4)


@pytest.mark.parametrize("engine", ["h5py", "pynwb"])
def test_both_readers_find_what_was_written(made, folder, engine):
    for recording, path in zip(
        sorted(made, key=lambda r: (r.raw.animal, r.raw.name)), find_recordings(folder), strict=True
    ):
        same(read_recording(path, engine=engine), recording.raw)


def test_sessions_are_those_of_memory(made, folder):
    sessions = read_sessions(folder, quiet=True)
    expected = {r.raw.name: session_of(r.raw) for r in made if r.raw.n_units}
    assert {s.name for s in sessions} == set(expected)
    for session in sessions:
        np.testing.assert_array_equal(session.counts, expected[session.name].counts)
        assert session.dropped == expected[session.name].dropped
        assert set(session.conditions) <= set(CONDITIONS)
        assert session.trial_ids.min() >= 4  # ids in the files do not start at 0
        np.testing.assert_array_equal(session.trial_ids, session.file_order + 4)


def test_rules_speak_for_themselves(folder):
    """Which trials are used, found again from the table as pynwb gives it."""
    path = find_recordings(folder)[1]
    with pynwb.NWBHDF5IO(path, "r") as io:
        frame = io.read().trials.to_dataframe()
    raw = read_recording(path)
    assert raw.coverage is not None
    good = (~frame["ignore_trial"].astype(bool)) & (frame["outcome"] == "correct")
    good &= frame["stimulus"] != "nothing"
    inside = np.array([
        any(a <= s and c <= b for a, b in raw.coverage)
        for s, c in zip(frame["start_time"], frame["choice_time"], strict=True)
    ])  # fmt: skip
    (session,) = read_sessions(path)
    np.testing.assert_array_equal(session.trial_ids, frame.index[good & inside])
    named = (frame["stimulus"] + " " + frame["servo_position"])[good & inside]
    np.testing.assert_array_equal(session.condition, named)
    lost = sum(n for reasons in session.dropped.values() for n in reasons.values())
    assert session.n_trials + lost == len(frame)
    (published,) = read_published(path)
    np.testing.assert_array_equal(published.trial_ids, frame.index[good])
    first = list(dict.fromkeys(published.condition[np.argsort(published.file_order)]))
    assert first == list(dict.fromkeys((frame["stimulus"] + " " + frame["servo_position"])[good]))


def test_published_counts_are_those_of_the_published_rules(folder):
    """Again from the file: spikes less the start of the recording, bins of 45 ms, their mean."""
    path = find_recordings(folder)[1]
    with pynwb.NWBHDF5IO(path, "r") as io:
        nwb = io.read()
        start = nwb.acquisition["extracellular array recording"].starting_time
        trials = nwb.trials.to_dataframe()
        spikes = [nwb.units["spike_times"][k] - start for k in range(len(nwb.units))]
    (session,) = read_published(path)
    assert start == 10.0
    rates = session.rates()
    for row, trial in enumerate(session.trial_ids):
        a, b = trials.loc[trial, "start_time"], trials.loc[trial, "choice_time"]
        edges = np.arange(a, b + 0.045, 0.045)
        for unit, times in enumerate(spikes):
            inside = times[(times >= a) & (times < b)]
            expected = np.histogram(inside, bins=edges)[0].mean() / 0.045
            assert rates[row, unit] == pytest.approx(expected, rel=1e-9, abs=1e-12)
    (as_stored,) = read_published(path, subtract_recording_start=False)
    assert not np.allclose(as_stored.rates(), rates)
    assert any("against the clock" in text for text in session.warnings)


def test_the_clock_is_that_of_the_file_unless_asked(folder):
    path = find_recordings(folder)[1]
    stored, moved = read_recording(path), read_recording(path, subtract_recording_start=True)
    np.testing.assert_allclose(moved.spike_times[0], stored.spike_times[0] - 10.0, atol=1e-9)
    np.testing.assert_array_equal(moved.trials["start_time"], stored.trials["start_time"])
    late = read_recording(path, shift_s=0.25)
    np.testing.assert_allclose(late.spike_times[0], stored.spike_times[0] + 0.25, atol=1e-9)


def test_order_of_rows_and_files_does_not_matter(made, tmp_path):
    """The same trials and units in another order in the file: the same session by id."""
    recording = next(r for r in made if r.raw.n_units)
    raw, draw = recording.raw, np.random.default_rng(0)
    rows, columns = draw.permutation(raw.n_trials), draw.permutation(raw.n_units)
    mixed = replace(
        recording,
        raw=replace(
            raw,
            trials={k: v[rows] for k, v in raw.trials.items()},
            trial_ids=raw.trial_ids[rows],
            unit_ids=raw.unit_ids[columns],
            spike_times=tuple(raw.spike_times[k] for k in columns),
            unit_info={k: v[columns] for k, v in raw.unit_info.items()},
        ),
    )
    write_recordings(tmp_path / "plain", [recording])
    write_recordings(tmp_path / "mixed", [mixed])
    (one,), (two,) = read_sessions(tmp_path / "plain"), read_sessions(tmp_path / "mixed")
    assert two.condition.tolist() != one.condition.tolist()
    back = two.select(np.argsort(two.trial_ids), units=np.argsort(two.unit_ids))
    np.testing.assert_array_equal(back.counts, one.counts)
    np.testing.assert_array_equal(back.condition, one.condition)
    np.testing.assert_allclose(
        back.condition_mean(CONDITIONS), one.condition_mean(CONDITIONS), atol=1e-12
    )
    assert one.dropped == two.dropped


def test_sessions_come_in_the_order_of_the_files(folder):
    files = [p for p in find_recordings(folder) if "ecephys" in p.name]
    forward = read_sessions(files)
    backward = read_sessions(files[::-1])
    for a, b in zip(forward, backward[::-1], strict=True):
        assert a.equals(b)


def test_gaps_and_ends_of_the_recording_are_kept_out(made, folder):
    gaps = {r.raw.name: (r.gaps_s, r.span_s) for r in made}
    for session in read_sessions(folder):
        assert session.event_s is not None
        bad, span = gaps[session.name]
        stop = session.event_s + session.duration_s
        for a, b in bad:
            assert not ((session.event_s < b) & (stop > a)).any()
        assert session.event_s.min() >= span[0]
        assert stop.max() <= span[1]
    assert any("in a gap" in why for s in read_sessions(folder) for why in s.dropped)
    assert any("outside" in why for s in read_sessions(folder) for why in s.dropped)
    kept = read_sessions(folder, trials=TrialRules(outside="keep"))
    for one, two in zip(kept, read_sessions(folder), strict=True):
        more = one.n_trials - two.n_trials
        told = [w for w in one.warnings if "0 Hz" in w]
        assert len(told) == (more > 0)
        assert all(w.startswith(f"{more} trial") for w in told)
    assert sum(s.n_trials for s in kept) > sum(s.n_trials for s in read_sessions(folder))


def test_a_missing_whisker_is_simply_missing(folder):
    whiskers = [
        set(read_recording(p).contacts) for p in find_recordings(folder) if "ecephys" in p.name
    ]
    assert whiskers.count({"C0", "C1", "C2", "C3"}) == 2
    assert whiskers.count({"C1", "C2", "C3"}) == 2
    for session in read_sessions(folder, window="first_touch"):
        assert session.n_trials > 10


def test_whisker_angles_are_those_that_were_written(made, folder):
    path = next(p for p in find_recordings(folder) if "ecephys" in p.name)
    recording = next(r for r in made if r.raw.name == read_recording(path).name)
    found = read_whisker_angles(path)
    assert set(found) == set(recording.angles)
    for whisker, (times, angle) in found.items():
        np.testing.assert_array_equal(times, recording.angles[whisker][:, 0])
        np.testing.assert_array_equal(angle, recording.angles[whisker][:, 1])
    assert np.diff(found["C2"][0]).max() > 0.1  # the video pauses between trials


def test_tasks_are_told_apart(made, folder):
    task = {r.raw.name: r.task for r in made}
    assert {s.name: s.task for s in read_sessions(folder)}.items() <= task.items()
    for wanted in ("detection", "discrimination"):
        found = read_sessions(folder, trials=TrialRules(task=wanted))
        assert {s.task for s in found} == {wanted}
        assert len(found) == 2
    for session in read_sessions(folder, trials=TrialRules(task="detection")):
        assert sum(session.dropped["stimulus left out"].values()) > 10
        # In this task the choice does not tell the shapes apart.
        assert set(session.choice) == {"right"}


def test_sessions_without_units_are_left_out_kept_or_refused(folder):
    assert len(read_sessions(folder)) == 4
    kept = read_sessions(folder, empty="keep")
    assert [s.n_units for s in kept].count(0) == 1
    with pytest.raises(InputError, match="no units"):
        read_sessions(folder, empty="refuse")


def test_files_are_closed(folder):
    read_sessions(folder, engine="pynwb")
    read_sessions(folder, engine="h5py")
    with pytest.raises(InputError):
        read_sessions(folder, window="published", trials=TrialRules(conditions=("convex neer",)))
    if Path("/proc/self/fd").exists():
        held = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{n}")]  # fmt: skip
        assert not [name for name in held if str(folder) in name]


def test_timestamps_and_observed_intervals_say_when_was_recorded(folder, tmp_path):
    """A series with timestamps that jump, and units observed for part of the time."""
    path = tmp_path / "sub-a_ses-b.nwb"
    source = next(p for p in find_recordings(folder) if "ecephys" in p.name)
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        series = file["acquisition/extracellular array recording"]
        assert isinstance(series, h5py.Group)
        del series["starting_time"], series["data"], file["intervals/invalid_times"]
        times = np.concatenate([np.arange(20, 60, 0.01), np.arange(90, 300, 0.01)])
        series["timestamps"] = times
    raw = read_recording(path)
    assert raw.coverage is not None
    np.testing.assert_allclose(raw.coverage, [[20, 60], [90, 300]], atol=1e-6)
    (session,) = read_sessions(path)
    assert session.event_s is not None
    assert session.event_s.min() >= 20
    assert session.event_s.max() < 300


def test_spans_are_intersected_as_sets():
    np.testing.assert_array_equal(
        intersect(np.array([[0.0, 5], [6, 9]]), np.array([[1.0, 2], [4, 7], [8, 20]])),
        [[1, 2], [4, 5], [6, 7], [8, 9]],
    )
    one = covered(np.array([[0.0, 10]]), None, np.array([[2.0, 4], [3, 5], [9, 12]]))
    np.testing.assert_array_equal(one, [[0, 2], [5, 9]])
    observed = [np.array([[0.0, 8]]), np.array([[1.0, 3], [4, 20]]), np.zeros((0, 2))]
    np.testing.assert_array_equal(
        covered(np.array([[2.0, 30]]), observed, np.zeros((0, 2))), [[2, 3], [4, 8]]
    )
    assert covered(None, None, np.zeros((0, 2))) is None
    many = covered(None, None, np.array([[1.0, 2]]))
    np.testing.assert_array_equal(many, [[-np.inf, 1], [2, np.inf]])
    np.testing.assert_allclose(
        spans_of_times(np.array([0.0, 1, 2, 5000, 5001]), 1.0), [[0, 3], [5000, 5002]]
    )
