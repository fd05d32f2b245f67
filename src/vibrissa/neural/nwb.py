"""Recordings from NWB files: find them, read them, count spikes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.progress import track
from vibrissa.neural.clock import misplaced_spikes
from vibrissa.neural.mapping import RecordingMapping, choose_mapping
from vibrissa.neural.raw import RawSession
from vibrissa.neural.selecting import TrialRules, choose_rules, session_of
from vibrissa.neural.session import Session
from vibrissa.neural.windows import Between, choose_window

Engine = Literal["h5py", "pynwb"]
PUBLISHED_BIN_S: Final = 0.045


def find_recordings(paths: Path | str | Iterable[Path | str]) -> tuple[Path, ...]:
    """The NWB files among files and folders; folders are searched with all that is below them.

    Returns:
        Files in the order given, those of a folder by name, each once.

    Raises:
        InputError: nothing given, no such path, or a folder without NWB files.
    """
    given = [paths] if isinstance(paths, Path | str) else list(paths)
    if not given:
        raise refuse("recordings", given, "nothing given", "name NWB files or folders of them")
    found: dict[Path, Path] = {}
    for path in map(Path, given):
        if path.is_dir():
            files = sorted(p for p in path.rglob("*.nwb") if p.is_file() and p.name[0] != ".")
            if not files:
                raise InputError(
                    f"{path}: a folder without NWB files (*.nwb); name another, or make some with "
                    "vibrissa neural synth."
                )
        elif path.exists():
            files = [path]
        else:
            raise InputError(f"{path}: there is no such file or folder; check the path.")
        for file in files:
            found.setdefault(file.resolve(), file)
    return tuple(found.values())


def read_recording(
    path: Path | str,
    *,
    mapping: RecordingMapping | Path | str | None = None,
    engine: Engine = "h5py",
    shift_s: float = 0.0,
    subtract_recording_start: bool = False,
) -> RawSession:
    """Read one file as it stands: all trials, units and contacts, times as stored.

    Arguments and errors as for :func:`read_sessions`.
    """
    chosen = choose_mapping(mapping)
    if engine == "h5py":
        from vibrissa.neural.nwb_h5 import read_h5 as read
    elif engine == "pynwb":
        from vibrissa.neural.nwb_pynwb import read_pynwb as read
    else:
        raise refuse("engine", engine, "unknown", "choose h5py or pynwb")
    raw = read(path, chosen)
    if not np.isfinite(shift_s):
        raise refuse("shift_s", shift_s, "not a time", "give seconds")
    shift = shift_s
    if subtract_recording_start:
        shift -= raw.recording_start_s or 0.0
    return raw.shifted(shift) if shift else raw


def read_sessions(
    paths: Path | str | Iterable[Path | str],
    *,
    window: Any = None,
    trials: TrialRules | str | None = None,
    mapping: RecordingMapping | Path | str | None = None,
    bin_s: float | None = None,
    empty: Literal["leave out", "keep", "refuse"] = "leave out",
    engine: Engine = "h5py",
    shift_s: float = 0.0,
    subtract_recording_start: bool = False,
    quiet: bool = False,
) -> tuple[Session, ...]:
    """Spike counts of all sessions in files and folders.

    Args:
        paths: NWB files, or folders that are searched for them.
        window: a name (``published``, ``response_window``, ``first_touch``, ``contacts``), a
            configuration or a tree ``{kind: ..., ...}``; by default the mapping's, else
            ``published``: from the start of the trial to the choice.
        trials: rules or their name (``correct``, ``answered``, ``error``, ``published``).
        mapping: what the columns mean, a YAML file or a mapping; by default DANDI 000231.
        bin_s: also count in time bins of this width.
        empty: what becomes of sessions without units or without a trial left.
        engine: ``h5py`` reads the HDF5 layout of NWB 2 itself, ``pynwb`` goes through pynwb; both
            give the same.
        shift_s: add this to all spike times.
        subtract_recording_start: subtract the start of the recording from all spike times, as the
            published loader does. For audits only: it moves every window off its trial wherever
            the recording does not start at 0.
        quiet: no progress bar.

    Returns:
        One session per file, in the order of the files.

    Raises:
        InputError: a file that cannot be used, two files of one session, or nothing left.
        MissingExtraError: pynwb is wanted and not installed.
    """
    chosen, rules = choose_mapping(mapping), choose_rules(trials)
    plan = choose_window(window if window is not None else chosen.window or "published")
    files = find_recordings(paths)
    first_of: dict[tuple[str, str], Path] = {}
    sessions: list[Session] = []
    absent: list[str] = []
    for file in track(files, "reading sessions", unit="file", quiet=quiet):
        raw = read_recording(
            file, mapping=chosen, engine=engine, shift_s=shift_s,
            subtract_recording_start=subtract_recording_start,
        )  # fmt: skip
        twin = first_of.setdefault((raw.animal, raw.name), file)
        if twin is not file:
            raise InputError(
                f"{file}: session {raw.name} of {raw.animal} is also in {twin}; leave one out."
            )
        if rules.task is not None and chosen.task_of(raw) != rules.task:
            absent.append(f"{raw.name}: another task")
            continue
        if not raw.n_units and empty == "leave out":
            absent.append(f"{raw.name}: no units")
            continue
        apart, why = misplaced_spikes(raw, chosen.start, chosen.stop)
        if apart and rules.outside == "drop" and empty != "keep":
            raise InputError(f"{file}: {why}; mend the file or leave it out.")
        session = session_of(raw, window=plan, trials=rules, mapping=chosen, bin_s=bin_s)
        if (session.n_units and session.n_trials) or empty == "keep":
            sessions.append(session)
            continue
        absent.append(f"{raw.name}: {_why_empty(session)}")
        if empty == "refuse":
            raise InputError(f"{file}: {_why_empty(session)}; leave the file out.")
    if not sessions:
        raise InputError(f"no session can be used ({_some(absent)}); give other files or rules.")
    shown = {name for session in sessions for name in session.conditions}
    never = [name for name in rules.conditions if name not in shown]
    if never:
        raise refuse(
            "conditions", ", ".join(never), "no session has a trial of it",
            f"choose among {', '.join(sorted(shown))}",
        )  # fmt: skip
    return tuple(sessions)


def read_published(
    paths: Path | str | Iterable[Path | str],
    *,
    subtract_recording_start: bool = True,
    **options: Any,
) -> tuple[Session, ...]:
    """Sessions as the published loader selects and counts them, for audits.

    Correct trials that are not to be ignored, from the start to the choice, counts divided by the
    duration rounded up to bins of 45 ms, trials outside the recording kept, and the start of the
    recording subtracted from the spike times unless that is switched off. Trials stand in the
    order of the file, so that conditions first appear in the same order.

    Args:
        paths: as for :func:`read_sessions`.
        subtract_recording_start: shift the spikes as published.
        options: further options of :func:`read_sessions`.
    """
    return read_sessions(
        paths,
        **{
            "window": Between(round_up_s=PUBLISHED_BIN_S),
            "trials": "published",
            "subtract_recording_start": subtract_recording_start,
            **options,
        },
    )


def iter_recordings(
    files: Sequence[Path], mapping: RecordingMapping, **options: Any
) -> Iterator[tuple[Path, RawSession | InputError]]:
    """Each file with its recording, or with the reason why it cannot be read."""
    for file in files:
        try:
            yield file, read_recording(file, mapping=mapping, **options)
        except InputError as error:
            yield file, error


def _why_empty(session: Session) -> str:
    if not session.n_units:
        return "no units"
    lost = {why: sum(counts.values()) for why, counts in session.dropped.items()}
    told = ", ".join(f"{n} {why}" for why, n in lost.items()) or "the trial table is empty"
    return f"no trial left ({told})"


def _some(reasons: Sequence[str], most: int = 3) -> str:
    more = f" and {len(reasons) - most} more" if len(reasons) > most else ""
    return "; ".join(reasons[:most]) + more
