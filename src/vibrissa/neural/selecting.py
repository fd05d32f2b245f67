"""From a recording to a session: which trials are used, what is counted, what is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.manifest import Manifest
from vibrissa.neural.clock import misplaced_spikes, silences
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.counting import bin_edges, count_bins, count_trials
from vibrissa.neural.mapping import DANDI_000231, RecordingMapping
from vibrissa.neural.raw import RawSession
from vibrissa.neural.session import Session
from vibrissa.neural.windows import (
    EMPTY_WINDOW,
    Spans,
    choose_window,
    contact_count,
    first_contact,
    window_name,
)

Task = Literal["discrimination", "detection"]


@dataclass(frozen=True, kw_only=True)
class TrialRules:
    """Which trials are used.

    Attributes:
        outcome: values of the outcome that are used; empty uses all. Passed over for recordings
            whose mapping has no outcome.
        choice: likewise for the choice.
        use_ignored: use trials that the file says to ignore as well.
        conditions: the conditions that are used; empty uses all that occur.
        task: sessions of another task are left out; null takes all.
        outside: what becomes of trials whose window is not wholly inside the recording: ``drop``,
            or ``keep`` as the published loader does, which counts no spikes there as 0 Hz.
        silent: likewise for trials in a silence of all units that cannot be chance.

    Raises:
        InputError: values that are not text.
    """

    outcome: tuple[str, ...] = ("correct",)
    choice: tuple[str, ...] = ()
    use_ignored: bool = False
    conditions: tuple[str, ...] = ()
    task: Task | None = None
    outside: Literal["drop", "keep"] = "drop"
    silent: Literal["drop", "keep"] = "keep"

    def __post_init__(self) -> None:
        for name in ("outcome", "choice", "conditions"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(one, str) for one in value):
                raise refuse(name, value, "not a list of names", "give a tuple of text")


PRESETS: Final[dict[str, TrialRules]] = {
    "correct": TrialRules(),
    "answered": TrialRules(outcome=("correct", "error")),
    "error": TrialRules(outcome=("error",)),
    "published": TrialRules(outside="keep"),
}
"""Rules by name; ``correct`` is the default, ``published`` keeps trials outside the recording."""


def choose_rules(trials: TrialRules | str | None) -> TrialRules:
    """Rules by name, as such, or None for ``correct``."""
    if trials is None:
        return PRESETS["correct"]
    if isinstance(trials, TrialRules):
        return trials
    if trials not in PRESETS:
        raise refuse_unknown("trials", trials, PRESETS)
    return PRESETS[trials]


def session_of(
    raw: RawSession,
    *,
    window: Any = None,
    trials: TrialRules | str | None = None,
    mapping: RecordingMapping | None = None,
    bin_s: float | None = None,
) -> Session:
    """Count the spikes of a recording in one window per trial.

    Args:
        raw: the recording.
        window: a name (``published``, ``response_window``, ``first_touch``, ``contacts``), a
            configuration or a tree; by default the mapping's, else ``published``.
        trials: which trials, rules or their name; by default correct ones not to be ignored.
        mapping: what its columns mean; by default those of DANDI 000231.
        bin_s: also count in time bins of this width.

    Returns:
        A session with trials in the order of the file; it may have none.

    Raises:
        InputError: a missing column, an unknown condition, or a window or bins that do not fit.
    """
    mapping = mapping or DANDI_000231
    rules = choose_rules(trials)
    chosen = choose_window(window if window is not None else mapping.window or "published")
    condition = mapping.conditions_of(raw)
    spans = chosen.spans(raw)
    reason = _reasons(raw, mapping, rules, condition, spans)
    rows = np.flatnonzero(reason == "")
    shown = np.where(condition == "", "left out", condition)
    dropped: dict[str, dict[str, int]] = {}
    for why, name in zip(reason.tolist(), shown.tolist(), strict=True):
        if why:
            counts = dropped.setdefault(why, {})
            counts[name] = counts.get(name, 0) + 1
    binned, edges = None, None
    if bin_s is not None:
        if chosen.first_bin_s is None:
            raise refuse(
                "bin_s", bin_s, f"the window {window_name(chosen)} has many spans in a trial",
                "choose another window",
            )  # fmt: skip
        edges = bin_edges(spans, rows, chosen.first_bin_s, bin_s)
        binned = count_bins(raw.spike_times, spans, rows, edges)
    return Session(
        name=raw.name,
        animal=raw.animal,
        unit_ids=raw.unit_ids,
        condition=condition[rows],
        counts=count_trials(raw.spike_times, spans)[rows],
        duration_s=spans.duration_s[rows],
        choice=_words(raw, mapping.choice)[rows],
        outcome=_words(raw, mapping.outcome)[rows],
        task=mapping.task_of(raw),
        file_order=rows,
        trial_ids=raw.trial_ids[rows],
        event_s=spans.event_s[rows],
        binned_counts=binned,
        bin_edges_s=edges,
        covariates={k: v[rows] for k, v in _covariates(raw, mapping).items()},
        unit_info=raw.unit_info,
        dropped=dropped,
        window=window_name(chosen),
        warnings=(
            *raw.remarks,
            *_remarks(raw, mapping, rules, condition[rows], dropped),
            *_inverted(raw, reason),
            *_unrecorded(raw, rules, spans, rows),
            *_misplaced(raw, mapping),
        ),
        manifest=Manifest.of(
            "session",
            {"window": chosen, "trials": rules, "mapping": mapping, "bin_s": bin_s},
        ),
    )


# --- why a trial is left out -----------------------------------------------------------------


def _reasons(
    raw: RawSession,
    mapping: RecordingMapping,
    rules: TrialRules,
    condition: np.ndarray,
    spans: Spans,
) -> np.ndarray:
    """(trial,) the first reason that speaks against each trial, ``""`` for those that are used."""
    reason = np.full(raw.n_trials, "", dtype=object)

    def say(bad: np.ndarray, why: Any) -> None:
        fresh = bad & (reason == "")
        reason[fresh] = why[fresh] if isinstance(why, np.ndarray) else why

    say(condition == "", "stimulus left out")
    if mapping.ignore is not None and not rules.use_ignored:
        say(_truths(raw, mapping.ignore), "to be ignored")
    for why, bad in mapping.kept(raw).items():
        say(bad, why)
    for key, wanted in (("outcome", rules.outcome), ("choice", rules.choice)):
        column = getattr(mapping, key)
        if column is None or not wanted:
            continue
        held = raw.column(column).astype(str)
        why = np.array([f"{key} {value or 'unknown'}" for value in held], dtype=object)
        say(~np.isin(held, wanted), why)
    if rules.conditions:
        say(~np.isin(condition, rules.conditions), "other condition")
    say(spans.reason != "", spans.reason.astype(object))
    if rules.outside == "drop" and raw.coverage is not None:
        outside, gap = _outside(spans, raw.coverage)
        say(outside, "outside the recording")
        say(gap, "in a gap of the recording")
    if rules.silent == "drop":
        found = silences(raw)
        say(_touching(spans, found), "in a silence of all units")
    return reason.astype(str)


def _unrecorded(
    raw: RawSession, rules: TrialRules, spans: Spans, rows: np.ndarray
) -> tuple[str, ...]:
    """What is to be said of used trials that lie outside the recording."""
    if rules.outside == "drop" or raw.coverage is None:
        return ()
    outside, gap = _outside(spans, raw.coverage)
    n = int(np.count_nonzero((outside | gap)[rows]))
    if not n:
        return ()
    return (f"{n} trial{'s' * (n > 1)} used though not (wholly) recorded: what is missing is 0 Hz",)


def _misplaced(raw: RawSession, mapping: RecordingMapping) -> tuple[str, ...]:
    """What is to be said of spikes that lie elsewhere than the trials."""
    sentence = misplaced_spikes(raw, mapping.start, mapping.stop)[1]
    return (sentence,) if sentence else ()


def _truths(raw: RawSession, column: str) -> np.ndarray:
    values = raw.column(column)
    if values.dtype.kind not in "biu":
        raise refuse(
            f"{raw.origin or raw.name}: trials column {column}", values.dtype.name,
            "not truth values", "name another as ignore in the mapping, or null",
        )  # fmt: skip
    return values.astype(bool)


def _extent(spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """(trial,) where the window of each trial begins and ends, NaN where there is none."""
    first = np.full(len(spans.event_s), np.inf)
    last = np.full(len(spans.event_s), -np.inf)
    np.minimum.at(first, spans.trial, spans.start_s)
    np.maximum.at(last, spans.trial, spans.stop_s)
    absent = first > last
    first[absent], last[absent] = np.nan, np.nan
    return first, last


def _outside(spans: Spans, coverage: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trials beyond the ends of the recording, and those that touch a gap in it."""
    first, last = _extent(spans)
    if not len(coverage):
        return np.isfinite(first), np.zeros(len(first), dtype=bool)
    outside = (first < coverage[0, 0]) | (last > coverage[-1, 1])
    place = np.clip(np.searchsorted(coverage[:, 0], first, side="right") - 1, 0, None)
    inside = (first >= coverage[place, 0]) & (last <= coverage[place, 1])
    return outside, np.isfinite(first) & ~outside & ~inside


def _touching(spans: Spans, bad: np.ndarray) -> np.ndarray:
    first, last = _extent(spans)
    hit = np.zeros(len(first), dtype=bool)
    for start, stop in bad:
        hit |= (first < stop) & (last > start)
    return hit


# --- what goes with the counts ---------------------------------------------------------------


def _words(raw: RawSession, column: str | None) -> np.ndarray:
    if column is None:
        return np.full(raw.n_trials, "")
    return raw.column(column).astype(str)


def _covariates(raw: RawSession, mapping: RecordingMapping) -> dict[str, np.ndarray]:
    """Numbers per trial: side of the choice, its time, contacts until then, the first contact."""
    found: dict[str, np.ndarray] = {}
    if mapping.choice is not None:
        side = raw.column(mapping.choice).astype(str)
        found["choice_right"] = np.where(
            np.isin(side, ("left", "right")), (side == "right").astype(float), np.nan
        )
    until = mapping.stop
    if mapping.choice_time is not None:
        until = mapping.choice_time
        found["choice_latency_s"] = raw.times(until) - raw.times(mapping.start)
    if raw.contacts:
        found["contact_count"] = contact_count(raw, mapping.start, until)
        first = first_contact(raw, mapping.start, until)
        found["first_contact_latency_s"] = first - raw.times(mapping.start)
    return found


def _remarks(
    raw: RawSession,
    mapping: RecordingMapping,
    rules: TrialRules,
    used: np.ndarray,
    dropped: dict[str, dict[str, int]],
) -> list[str]:
    said = []
    wanted = rules.conditions or (CONDITIONS if mapping.conditions == CONDITIONS else ())
    absent = [name for name in wanted if name not in used]
    if absent:
        said.append(f"no trials of {', '.join(absent)}")
    lonely = [name for name, n in Counter(used.tolist()).items() if n == 1]
    if lonely:
        said.append(f"only one trial of {', '.join(sorted(lonely))}")
    for why in ("outside the recording", "in a gap of the recording"):
        if why in dropped:
            n = sum(dropped[why].values())
            said.append(f"{n} trial{'s' if n > 1 else ''} left out: {why}")
    if raw.coverage is None and raw.n_units:
        said.append("the file does not say when was recorded, so trials cannot be checked for it")
    return said


def _inverted(raw: RawSession, reason: np.ndarray) -> tuple[str, ...]:
    """What is to be said of trials whose window stops before it starts."""
    rows = np.flatnonzero(reason == EMPTY_WINDOW)
    if not len(rows):
        return ()
    named = ", ".join(str(raw.trial_ids[k]) for k in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    many = "s" * (len(rows) > 1)
    return (
        f"{len(rows)} trial{many} left out: the window does not stop after it starts (trial{many} "
        f"{named}{more}); are the times of the trial table in order?",
    )
