"""Inspection: what is odd is said, a shifted clock loudly."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.neural.clock import _rise_by_lag, check_clock, silences
from vibrissa.neural.inspecting import describe_inspections, inspect_recordings
from vibrissa.neural.inspecting_figures import draw_inspections
from vibrissa.neural.selecting import TrialRules, session_of
from vibrissa.neural.synth import SynthConfig
from vibrissa.neural.synth_recording import synth_recordings

CONFIG = SynthConfig(animals=1, sessions=1, units=10, trials=70)


def one(seed=0, **changed):
    return synth_recordings(replace(CONFIG, **changed), seed)[0].raw


# --- the clock -------------------------------------------------------------------------------


def test_the_rise_is_where_it_was_put():
    """Latencies are drawn between 5 and 30 ms, most at 12 ms."""
    for seed in range(5):
        check = check_clock(one(seed))
        assert check.status == "ok"
        assert 0.005 <= check.peak_s <= 0.030
        assert check.peak_hz > 1.5 * check.baseline_hz
        assert check.z > 5
        assert check.shift_s == 0


def test_the_contact_triggered_rate_is_that_of_a_loop():
    raw = one()
    check = check_clock(raw)
    onsets = [t for s in raw.contacts.values() for t in s[:, 0]]
    assert raw.coverage is not None
    onsets = [t for t in onsets if raw.coverage[0, 0] <= t < raw.coverage[0, 1]]
    assert check.n_contacts == len(onsets)
    width = 0.005
    for k in (0, 19, 22, 39):
        low = check.lag_s[k] - width / 2
        n = sum(
            np.count_nonzero((times >= t + low) & (times < t + low + width))
            for t in onsets
            for times in raw.spike_times
        )
        expected = n / (len(onsets) * width * raw.n_units)
        assert check.rate_hz[k] == pytest.approx(expected, rel=0.02, abs=0.2)


@pytest.mark.parametrize("shift", [-10.0, 10.0, -0.2, 0.05, 61.7])
def test_a_shift_is_found_and_measured(shift):
    for seed in range(3):
        check = check_clock(one(seed).shifted(shift))
        assert check.status == "shifted"
        assert check.shift_s == pytest.approx(shift, abs=0.006)
        assert "CLOCKS DISAGREE" in check.sentence


def test_a_file_with_a_wrong_clock_is_found():
    check = check_clock(one(1, clock_shift_s=2.5))
    assert (check.status, round(check.shift_s, 1)) == ("shifted", 2.5)


@pytest.mark.parametrize("far", [[-1e9], [1e9], [-1e300, 1e300]])
def test_spikes_far_off_cost_nothing_and_are_told(far):
    """Bins between the first spike and the last would take terabytes."""
    raw = one()
    first = np.sort(np.append(raw.spike_times[0], far))
    odd = replace(raw, spike_times=(first, *raw.spike_times[1:]))
    tracemalloc.start()
    check = check_clock(odd)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2e8
    assert check.status == "ok"
    assert check.z == pytest.approx(check_clock(raw).z, rel=0.01)
    warnings = session_of(odd).warnings
    assert any("an hour away from all trials" in text for text in warnings)
    assert not any("an hour away" in text for text in session_of(raw).warnings)


def test_contacts_far_off_cost_nothing():
    raw = one()
    spans = np.concatenate([raw.contacts["C2"], [[1e9, 1e9 + 0.01]]])
    odd = replace(raw, contacts={**raw.contacts, "C2": spans}, coverage=None)
    assert check_clock(odd).status == "ok"


def test_the_rise_by_lag_is_that_of_a_loop():
    """Pieces of the recording add up to what all pairs of spikes and contacts give."""
    rng = np.random.default_rng(4)
    onsets, spikes = np.sort(rng.uniform(0, 1900, 300)), np.sort(rng.uniform(0, 1900, 9000))
    spikes = np.sort(np.concatenate([spikes, onsets + 33.0175]))
    lags, rise = _rise_by_lag(spikes, onsets)
    apart = (spikes[None, :] - onsets[:, None]).ravel()
    for at in (-71.0, 0.0, 33.0, 50.0):
        # Spikes in 25 ms at the lag, less those of the 125 ms around it; bins blur by 5 ms.
        inside = np.count_nonzero((apart >= at + 0.005) & (apart < at + 0.035))
        near = np.count_nonzero(np.abs(apart - at) < 0.0775) - inside
        found = rise[np.argmin(np.abs(lags - at))]
        assert found == pytest.approx(inside - near / 5, abs=25)
    assert lags[np.argmax(rise)] == pytest.approx(33.0, abs=0.015)
    assert rise.max() > 250


def test_spikes_in_milliseconds_are_told(tmp_path):
    pytest.importorskip("pynwb")
    from vibrissa.neural.synth_nwb import write_recordings

    (made,) = synth_recordings(CONFIG, 0)
    late = tuple(1e3 * times for times in made.raw.spike_times)
    write_recordings(tmp_path, [replace(made, raw=replace(made.raw, spike_times=late))])
    (found,) = inspect_recordings(tmp_path)
    assert not found.usable
    assert "no spike lies within the trials" in found.problem
    assert "not in seconds" in found.problem


def test_units_that_do_not_feel_contacts_are_not_called_shifted():
    for seed in range(8):
        check = check_clock(one(seed, contact_share=0.0))
        assert check.status == "no rise"
        assert abs(check.z) < 5


def test_too_little_to_tell():
    raw = one()
    assert check_clock(replace(raw, contacts={})).status == "cannot tell"
    none = replace(raw, spike_times=(), unit_ids=np.zeros(0, int), unit_info={})
    assert check_clock(none).status == "cannot tell"


# --- silences --------------------------------------------------------------------------------


def test_gaps_that_the_file_does_not_declare_are_found():
    recording = synth_recordings(replace(CONFIG, gaps=2, declared_gaps=False), 3)[0]
    raw = recording.raw
    found = silences(raw)
    assert len(found) == 2
    np.testing.assert_allclose(found, recording.gaps_s, atol=0.3)
    assert len(silences(one(3, gaps=2))) == 0  # declared ones are no news
    assert len(silences(one(3))) == 0
    kept, dropped = (session_of(raw, trials=TrialRules(silent=what)) for what in ("keep", "drop"))
    n = sum(dropped.dropped["in a silence of all units"].values())
    assert kept.n_trials - dropped.n_trials == n > 0


def test_a_late_first_spike_is_a_silence():
    """The file says that recording began long before the first spike of any unit."""
    raw = one()
    early = replace(raw, coverage=np.array([[-60.0, raw.coverage[0, 1]]]))  # pyright: ignore
    (found,) = silences(early)
    assert found[0] == -60.0
    assert abs(found[1] - 10.0) < 0.5


# --- inspection ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("pynwb")
    from vibrissa.neural.synth_nwb import write_recordings

    out = tmp_path_factory.mktemp("inspected")
    good = synth_recordings(replace(CONFIG, gaps=1), 0)
    silent = synth_recordings(replace(CONFIG, sessions_without_units=1), 0)[1:]
    bad = synth_recordings(replace(CONFIG, clock_shift_s=-10.0, animals=2), 1)[1:]
    write_recordings(out, [*good, *silent, *bad])
    (out / "sub-x.nwb").write_text("nothing")
    return out


def test_every_file_is_told_of(folder):
    found = inspect_recordings(folder)
    assert len(found) == 4
    by_name = {one.path.name[:8] + str(one.raw.n_units if one.raw else ""): one for one in found}
    good = next(o for o in found if o.raw is not None and o.raw.animal == "219CR" and o.raw.n_units)
    bad = next(o for o in found if o.raw is not None and o.raw.animal == "220CR")
    silent = next(o for o in found if o.raw is not None and not o.raw.n_units)
    broken = next(o for o in found if o.raw is None)
    assert len(by_name) == 4
    assert good.usable
    assert [good.usable, bad.usable, silent.usable, broken.usable].count(True) == 1
    assert "not an NWB file" in broken.problem
    assert "no units" in silent.problem
    assert bad.clock is not None
    assert bad.clock.status == "shifted"
    assert bad.clock.sentence == bad.warnings[0]
    tree = good.to_dict()
    raw = good.raw
    assert raw is not None
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    used = sum(tree["trials_per_condition"].values())
    lost = sum(n for d in tree["trials_left_out"].values() for n in d.values())
    assert used == tree["trials_used"]
    assert used + lost == tree["trials_in_file"] == 70
    assert len(tree["recorded_spans_s"]) == 2
    assert tree["clock"]["status"] == "ok"
    assert 5 <= tree["clock"]["peak_ms"] <= 30


def test_the_page_holds_what_is_found(folder):
    text = describe_inspections(inspect_recordings(folder))
    for wanted in (
        "1 of 4 files can be used: 1 animal, ", "in a gap of the recording", "concave close",
        "THE CLOCKS DISAGREE", "cannot be used", "10.0 to", "C2: ",
    ):  # fmt: skip
        assert wanted in text
    shifted = describe_inspections(inspect_recordings(folder, subtract_recording_start=True))
    assert shifted.count("THE CLOCKS DISAGREE") >= 2


def test_twins_are_told_of(folder, tmp_path):
    source = next(folder.rglob("*ecephys*.nwb"))
    for name in ("a.nwb", "b.nwb"):
        (tmp_path / name).write_bytes(source.read_bytes())
    found = inspect_recordings(tmp_path)
    assert [one.problem != "" for one in found] == [False, True]
    assert "is also in" in found[1].problem


def test_figure_has_a_panel_for_each_session(folder):
    found = inspect_recordings(folder)
    figure = draw_inspections(found)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert {one.raw.name for one in found if one.raw is not None and one.raw.n_units} <= {*titles}
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "shifted by -10.00 s" in words
    with pytest.raises(InputError, match="nothing to draw"):
        draw_inspections([one for one in found if one.raw is None])
