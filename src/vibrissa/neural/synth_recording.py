"""Spike trains and behaviour of a synthetic session: the same truth as the counts, in full time.

Inside a trial (start to choice) a unit fires ``rate * gain * duration`` spikes on average, a share
of them 5 to 30 ms after contacts, the rest evenly; so its expected rate in that window is exactly
that of the truth. Outside it fires at its base rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.seeds import generator
from vibrissa.neural.conditions import CONDITIONS, NOTHING
from vibrissa.neural.nwb_h5 import intersect
from vibrissa.neural.raw import RawSession
from vibrissa.neural.synth import SynthConfig, SynthUnits, SynthWorld, synth_world, trial_gain
from vibrissa.neural.synth_trials import FRAME_S, synth_trials

WHISKERS: Final = ("C0", "C1", "C2", "C3")
_SHARES: Final = (0.15, 0.4, 0.35, 0.1)
_LATENCY_S: Final = (0.005, 0.012, 0.030)
"""Triangular: earliest, most likely, latest spike after a contact."""
_SLOT_S: Final = 0.055
"""Contacts are at least so far apart, so that the responses do not overlap."""
GAP_S: Final = 12.0
_REST_S: Final = 3.0
VIDEO_HZ: Final = 20.0
_FASTEST_HZ: Final = 2000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SynthRecording:
    """A recording and what only its file holds.

    Attributes:
        raw: trials, units, contacts and licks; what a reader should find.
        task: the task.
        span_s: start and stop of the recording.
        gaps_s: (gap, 2) stretches in which nothing was recorded.
        angles: whisker -> (sample, 2) time in s and angle in degrees.
    """

    raw: RawSession
    task: str
    span_s: tuple[float, float]
    gaps_s: np.ndarray
    angles: dict[str, np.ndarray]


def synth_recordings(
    config: SynthConfig | None = None, seed: int = 0, *, features: Any = None, rdm: Any = None
) -> tuple[SynthRecording, ...]:
    """Recordings of all sessions of a world; the sessions without units come last.

    Arguments and errors as for :func:`vibrissa.neural.synth.synth_world`.
    """
    config = config or SynthConfig()
    world = synth_world(config, seed, features=features, rdm=rdm)
    recordings = [_recording(world, units, k) for k, units in enumerate(world.sessions)]
    for k in range(config.sessions_without_units):
        first = world.sessions[0]
        silent = SynthUnits(
            session=f"{190801 + k}_{first.animal}", animal=first.animal, task=first.task,
            ids=np.zeros(0, dtype=np.int64), base_hz=np.zeros(0),
            rate_hz=np.zeros((len(CONDITIONS), 0)), tuned=np.zeros(0, dtype=bool), info={},
        )  # fmt: skip
        recordings.append(_recording(world, silent, 0))
    return tuple(recordings)


def _recording(world: SynthWorld, units: SynthUnits, number: int) -> SynthRecording:
    config, seed, name = world.config, world.seed, units.session
    table = synth_trials(config, seed, name, units.task, world.geometry)
    draw = generator(seed, "synth", "behaviour", name)
    end = np.minimum(table["choice_time"], table["stop_time"])
    whiskers = WHISKERS[1:] if config.missing_whisker and number % 2 else WHISKERS
    contacts, of_trial = _contacts(table, end, whiskers, draw)
    present = len(units.ids) > 0
    span = (config.recording_start_s, float(table["start_time"][-1]) + 1.0)
    if present and span[1] <= span[0]:
        raise refuse(
            "recording_start_s", config.recording_start_s, "after the end of a session",
            "start earlier or give more trials",
        )  # fmt: skip
    gaps = _gaps(config, span, draw) if present else np.zeros((0, 2))
    covered = intersect(np.array([span]), _complement(gaps))
    gain = trial_gain(config, seed, name, len(end))
    spikes = tuple(
        _spikes(units, k, table, end, gain, of_trial, config, covered,
                generator(seed, "synth", "spikes", name, int(units.ids[k])))
        for k in range(len(units.ids))
    )  # fmt: skip
    hidden = {"condition", "contact_count"}
    lick = table["outcome"] != "spoil"
    licks = {
        side: np.sort(
            (table["choice_time"][lick & (table["choice"] == side)][:, None]
             + np.array([0.0, 0.14, 0.29])).ravel()
        )
        for side in ("left", "right")
    }  # fmt: skip
    raw = RawSession(
        name=name,
        animal=units.animal,
        trials={k: v for k, v in table.items() if k not in hidden},
        trial_ids=table["trial"],
        unit_ids=units.ids,
        spike_times=spikes,
        unit_info=units.info,
        contacts=contacts,
        licks=licks,
        coverage=(covered if config.declared_gaps else np.array([span])) if present else None,
        recording_start_s=span[0] if present else None,
        origin="synthetic",
    )
    angles = {w: _angle(table, k, draw) for k, w in enumerate(whiskers)}
    return SynthRecording(raw=raw, task=units.task, span_s=span, gaps_s=gaps, angles=angles)


def _complement(gaps: np.ndarray) -> np.ndarray:
    return np.stack([np.append(-np.inf, gaps[:, 1]), np.append(gaps[:, 0], np.inf)], axis=1)


def _gaps(config: SynthConfig, span: tuple[float, float], draw: np.random.Generator) -> np.ndarray:
    """(gap, 2) one gap in each of as many equal parts of the recording."""
    if not config.gaps:
        return np.zeros((0, 2))
    part = (span[1] - span[0]) / config.gaps
    if part < 2 * GAP_S:
        raise refuse(
            "gaps", config.gaps, f"a recording of {span[1] - span[0]:.0f} s has no room for them",
            "give fewer gaps or more trials",
        )  # fmt: skip
    free = part - GAP_S - 2.0
    start = span[0] + part * np.arange(config.gaps) + 1.0 + free * draw.random(config.gaps)
    return np.stack([start, start + GAP_S], axis=1)


def _contacts(
    table: dict[str, np.ndarray],
    end: np.ndarray,
    whiskers: tuple[str, ...],
    draw: np.random.Generator,
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Whisker -> (contact, 2), and for each trial the onsets; all on frames of the video."""
    shares = np.array(_SHARES[-len(whiskers) :])
    onsets_of: list[np.ndarray] = []
    for k, count in enumerate(table["contact_count"].astype(int)):
        first = table["start_time"][k] + 0.8
        slots = int((min(end[k], table["start_time"][k] + 5.0) - 0.05 - first) / _SLOT_S)
        chosen = np.sort(draw.permutation(slots)[:count])
        onset = first + _SLOT_S * chosen + FRAME_S * draw.integers(0, 2)
        onsets_of.append(np.round(onset / FRAME_S) * FRAME_S)
    onsets = np.concatenate(onsets_of)
    which = draw.choice(len(whiskers), size=len(onsets), p=shares / shares.sum())
    length = np.minimum(draw.geometric(0.25, len(onsets)) - 1, 8) * FRAME_S
    spans = np.stack([onsets, np.round((onsets + length) / FRAME_S) * FRAME_S], axis=1)
    return {w: spans[which == k] for k, w in enumerate(whiskers)}, onsets_of


def _spikes(
    units: SynthUnits, k: int, table: dict[str, np.ndarray], end: np.ndarray, gain: np.ndarray,
    onsets_of: list[np.ndarray], config: SynthConfig, covered: np.ndarray,
    draw: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Sorted spike times of one unit, where it was recorded."""
    start, stop = table["start_time"], table["stop_time"]
    row = {name: c for c, name in enumerate(CONDITIONS)}
    rate = np.array(
        [units.base_hz[k] if name == NOTHING else units.rate_hz[row[name], k]
         for name in table["condition"]]
    )  # fmt: skip
    total = draw.poisson(np.minimum(rate, _FASTEST_HZ) * gain * (end - start))
    n_contacts = np.array([len(one) for one in onsets_of])
    locked = draw.binomial(total, np.where(n_contacts > 0, config.contact_share, 0.0))
    even = _spread(start, end, total - locked, draw)
    trial = np.repeat(np.arange(len(start)), locked)
    first = np.concatenate([[0], np.cumsum(n_contacts)[:-1]])
    flat = np.concatenate(onsets_of) if n_contacts.sum() else np.zeros(1)
    pick = first[trial] + np.floor(draw.random(len(trial)) * n_contacts[trial]).astype(int)
    bound = flat[pick] + draw.triangular(*_LATENCY_S, size=len(trial))
    outside = np.concatenate([[start[0] - _REST_S], end])
    until = np.concatenate([start[:1], np.append(start[1:], stop[-1] + _REST_S)])
    rest = _spread(outside, until, draw.poisson(units.base_hz[k] * (until - outside)), draw)
    times = np.sort(np.concatenate([even, bound, rest]))
    place = np.searchsorted(covered[:, 0], times, side="right") - 1
    kept = times[(place >= 0) & (times < covered[place, 1])]
    return kept + config.clock_shift_s


def _spread(
    start: np.ndarray, stop: np.ndarray, count: np.ndarray, draw: np.random.Generator
) -> np.ndarray:
    """So many evenly drawn times in each span."""
    span = np.repeat(np.arange(len(start)), count)
    return start[span] + (stop - start)[span] * draw.random(len(span))


def _angle(table: dict[str, np.ndarray], k: int, draw: np.random.Generator) -> np.ndarray:
    """(sample, 2) time and angle of a whisker; the video stops between trials for a moment."""
    times = np.concatenate(
        [np.arange(a, b - 0.14, 1 / VIDEO_HZ)
         for a, b in zip(table["start_time"], table["stop_time"], strict=True)]
    )  # fmt: skip
    whisking = 12.0 * np.sin(2 * np.pi * 0.7 * times + k) * np.sin(2 * np.pi * 0.11 * times)
    return np.stack([times, 15.0 - 8.0 * k + whisking + draw.normal(0, 1.0, len(times))], axis=1)
