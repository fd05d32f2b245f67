"""What recordings hold and whether they can be trusted, before anything is scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.core.progress import track
from vibrissa.neural.clock import ClockCheck, check_clock, misplaced_spikes, silences
from vibrissa.neural.conditions import ordered_conditions
from vibrissa.neural.mapping import RecordingMapping, choose_mapping
from vibrissa.neural.nwb import Engine, find_recordings, read_recording
from vibrissa.neural.raw import RawSession
from vibrissa.neural.selecting import TrialRules, choose_rules, session_of
from vibrissa.neural.session import Session
from vibrissa.neural.windows import choose_window


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """One file.

    Attributes:
        path: the file.
        problem: why it cannot be used at all, one sentence; ``""`` if it can.
        raw: the recording, None if it cannot be read.
        session: what would be analysed, None if it cannot be.
        clock: the check of the clock, None without a recording.
        warnings: what is odd, a sentence each; the gravest first.
    """

    path: Path
    problem: str = ""
    raw: RawSession | None = None
    session: Session | None = None
    clock: ClockCheck | None = None
    warnings: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the file gives a session with units and trials whose clock is not shifted."""
        return not self.problem and (self.clock is None or self.clock.status != "shifted")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        tree: dict[str, Any] = {
            "file": str(self.path),
            "usable": self.usable,
            "problem": self.problem,
            "warnings": list(self.warnings),
        }
        if self.raw is not None:
            tree |= _of_recording(self.raw)
        if self.session is not None:
            tree |= {
                "task": self.session.task,
                "window": self.session.window,
                "trials_used": self.session.n_trials,
                "trials_per_condition": self.session.trials_per_condition(),
                "trials_left_out": {k: dict(v) for k, v in self.session.dropped.items()},
            }
        if self.clock is not None:
            tree["clock"] = {
                "status": self.clock.status,
                "contacts": self.clock.n_contacts,
                "baseline_hz": _number(self.clock.baseline_hz),
                "peak_hz": _number(self.clock.peak_hz),
                "peak_ms": _number(1e3 * self.clock.peak_s),
                "z": _number(self.clock.z),
                "shift_s": self.clock.shift_s,
                "sentence": self.clock.sentence,
            }
        return tree


def inspect_recordings(
    paths: Path | str | Iterable[Path | str],
    *,
    window: Any = None,
    trials: TrialRules | str | None = None,
    mapping: RecordingMapping | Path | str | None = None,
    engine: Engine = "h5py",
    shift_s: float = 0.0,
    subtract_recording_start: bool = False,
    quiet: bool = False,
) -> tuple[Inspection, ...]:
    """Look at every file; one that cannot be used does not keep the others from being looked at.

    Arguments as for :func:`vibrissa.neural.nwb.read_sessions`.

    Raises:
        InputError: no such path, a folder without NWB files, or unknown options.
    """
    chosen, rules = choose_mapping(mapping), choose_rules(trials)
    plan = choose_window(window if window is not None else chosen.window or "published")
    found: list[Inspection] = []
    named: dict[tuple[str, str], Path] = {}
    for path in track(find_recordings(paths), "inspecting", unit="file", quiet=quiet):
        try:
            raw = read_recording(
                path, mapping=chosen, engine=engine, shift_s=shift_s,
                subtract_recording_start=subtract_recording_start,
            )  # fmt: skip
        except InputError as error:
            found.append(Inspection(path=path, problem=str(error)))
            continue
        twin = named.setdefault((raw.animal, raw.name), path)
        found.append(_inspect(path, raw, plan, rules, chosen, twin))
    return tuple(found)


def _inspect(
    path: Path,
    raw: RawSession,
    window: Any,
    rules: TrialRules,
    mapping: RecordingMapping,
    twin: Path,
) -> Inspection:
    clock = check_clock(raw)
    said: list[str] = [] if clock.status in ("ok", "cannot tell") else [clock.sentence]
    problem = ""
    if twin is not path:
        problem = f"session {raw.name} of {raw.animal} is also in {twin}; leave one out"
    session = None
    try:
        session = session_of(raw, window=window, trials=rules, mapping=mapping)
    except InputError as error:
        problem = problem or str(error)
    if session is not None:
        said += session.warnings
        apart, why = misplaced_spikes(raw, mapping.start, mapping.stop)
        if not problem and apart:
            problem = why
        elif not problem and not session.n_units:
            problem = "no units, behaviour alone"
        elif not problem and not session.n_trials:
            problem = "no trial is left"
        elif rules.task is not None and session.task != rules.task and not problem:
            problem = f"another task: {session.task or 'unknown'}"
    for start, stop in silences(raw):
        said.append(
            f"no unit fires from {start:.1f} to {stop:.1f} s, inside the recording: nothing was "
            "recorded there, or all units were lost"
        )
    faint = [
        str(unit)
        for unit, times in zip(raw.unit_ids, raw.spike_times, strict=True)
        if len(times) < 10
    ]
    if faint:
        said.append(f"fewer than 10 spikes: unit{'s' * (len(faint) > 1)} {', '.join(faint)}")
    return Inspection(
        path=path, problem=problem, raw=raw, session=session, clock=clock,
        warnings=tuple(text for text in dict.fromkeys(said) if text != problem),
    )  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _of_recording(raw: RawSession) -> dict[str, Any]:
    inhibitory = raw.unit_info.get("inhibitory")
    coverage = raw.coverage
    recorded = None if coverage is None else float((coverage[:, 1] - coverage[:, 0]).sum())
    rates = None
    if recorded and raw.n_units:
        rates = [round(len(times) / recorded, 3) for times in raw.spike_times]
    return {
        "session": raw.name,
        "animal": raw.animal,
        "units": raw.n_units,
        "inhibitory_units": None if inhibitory is None else int(np.count_nonzero(inhibitory)),
        "unit_rates_hz": rates,
        "trials_in_file": raw.n_trials,
        "recorded_s": recorded,
        "recorded_spans_s": None if coverage is None else coverage.tolist(),
        "recording_start_s": raw.recording_start_s,
        "whiskers": {w: len(spans) for w, spans in sorted(raw.contacts.items())},
    }


# --- text ------------------------------------------------------------------------------------


def describe_inspections(found: Sequence[Inspection]) -> str:
    """A page of text: a paragraph for each file and a last line for all."""
    parts = [_paragraph(one) for one in found]
    usable = [one for one in found if one.usable and one.session is not None]
    animals = {one.raw.animal for one in usable if one.raw is not None}
    units = sum(one.session.n_units for one in usable if one.session is not None)
    trials = sum(one.session.n_trials for one in usable if one.session is not None)
    counts = ((len(animals), "animal"), (units, "unit"), (trials, "trial"))
    told = ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts)
    parts.append(f"{len(usable)} of {len(found)} files can be used: {told}")
    return "\n\n".join(parts)


def _paragraph(one: Inspection) -> str:
    if one.raw is None:
        return f"{one.path.name}\n  cannot be used: {one.problem}"
    raw, lines = one.raw, [one.path.name]
    task = f", {one.session.task}" if one.session is not None and one.session.task else ""
    lines.append(f"  session    {raw.name}, animal {raw.animal}{task}")
    lines.append(f"  units      {_units(raw)}")
    if one.session is not None:
        lines.append(f"  trials     {one.session.n_trials} used of {raw.n_trials}")
        lines += _table_of_trials(one.session)
    lines.append(f"  recorded   {_recorded(raw)}")
    lines.append(f"  whiskers   {_whiskers(raw)}")
    if one.clock is not None:
        lines.append(f"  clock      {one.clock.sentence}")
    shown = [w for w in one.warnings if one.clock is None or w != one.clock.sentence]
    lines += [f"  warning    {text}" for text in shown]
    if one.problem:
        lines.append(f"  cannot be used: {one.problem}")
    return "\n".join(lines)


def _units(raw: RawSession) -> str:
    if not raw.n_units:
        return "none"
    inhibitory = raw.unit_info.get("inhibitory")
    kinds = "" if inhibitory is None else f", {int(np.count_nonzero(inhibitory))} inhibitory"
    return f"{raw.n_units}{kinds}"


def _recorded(raw: RawSession) -> str:
    if raw.coverage is None:
        return "the file does not say when"
    spans = [f"{start:.1f} to {stop:.1f} s" for start, stop in raw.coverage[:4]]
    more = f" and {len(raw.coverage) - 4} more" if len(raw.coverage) > 4 else ""
    starts = raw.trials.get("start_time", np.zeros(0))
    known = len(starts) and starts.dtype.kind in "fiu"
    behaviour = f" (first trial at {starts[0]:.1f} s)" if known else ""
    return ", ".join(spans) + more + behaviour


def _whiskers(raw: RawSession) -> str:
    if not raw.contacts:
        return "no contact times"
    return ", ".join(f"{w}: {len(spans)} contacts" for w, spans in sorted(raw.contacts.items()))


def _table_of_trials(session: Session) -> list[str]:
    """Trials per condition, used and left out by reason."""
    reasons = list(session.dropped)
    kept = session.trials_per_condition()
    names = ordered_conditions({*kept, *(n for d in session.dropped.values() for n in d)})
    if not names:
        return []
    rows = [["", "used", *reasons]]
    for name in names:
        lost = [str(session.dropped[why].get(name, "") or "·") for why in reasons]
        rows.append([name, str(kept.get(name, 0)), *lost])
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "    " + "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, wide, strict=True))
        )
        for row in rows
    ]  # fmt: skip
