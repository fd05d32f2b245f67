"""Reading NWB files by their HDF5 layout (NWB 2): quick, without pynwb, also from a remote file.

Only what is needed is read: tables, spike times, contacts; never the raw voltage.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.neural.mapping import RecordingMapping
from vibrissa.neural.nwb_checks import animal_name, check_ends, check_length, session_name
from vibrissa.neural.raw import RawSession

if TYPE_CHECKING:
    import h5py

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_GAP_PERIODS: Final = 1000.0
"""Timestamps of a series that jump by more than so many sampling periods leave a gap."""
_CHUNK: Final = 4_000_000
_DAMAGE: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""What h5py raises, or what follows, where objects of a file are damaged or of another kind."""


def read_h5(path: Path | str, mapping: RecordingMapping) -> RawSession:
    """Read one file; it is closed again whatever happens.

    Args:
        path: the NWB file.
        mapping: what its objects are called.

    Raises:
        InputError: no such file, not an NWB file, truncated, no trials, or a missing column.
    """
    import h5py

    source = Path(path)
    check_file(source)
    try:
        with h5py.File(source, "r") as file:
            return raw_of(file, source.name, mapping)
    except InputError:
        raise
    except _DAMAGE as error:
        raise broken_file(source, error) from error


def read_whisker_angles(
    path: Path | str, *, behavior: str = "behavior", prefix: str = "processed_position_whisker_"
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The tracked angle of every whisker; frames are not evenly spaced, the video has gaps.

    Args:
        path: the NWB file.
        behavior: its processing module.
        prefix: what the containers are called, followed by the whisker.

    Returns:
        Whisker -> (sample,) times in s on the clock of the session, (sample,) angles in degrees;
        empty where nothing was tracked.

    Raises:
        InputError: no such file, or not an NWB file.
    """
    import h5py

    source = Path(path)
    check_file(source)
    found = {}
    try:
        with h5py.File(source, "r") as file:
            module = _find(file, f"processing/{behavior}") or {}
            for name in module:
                angle = _find(module, f"{name}/angle") if name.startswith(prefix) else None
                if angle is not None and "timestamps" in angle:
                    times, data = angle["timestamps"][()], angle["data"][()]
                    found[name.removeprefix(prefix)] = (np.asarray(times), np.asarray(data))
    except _DAMAGE as error:
        raise broken_file(source, error) from error
    return found


def check_file(source: Path) -> None:
    """Refuse what is no HDF5 file at all, in one sentence."""
    if not source.exists():
        raise InputError(f"{source}: there is no such file; check the path.")
    if source.is_dir():
        raise InputError(f"{source}: a folder, not an NWB file; give its files.")
    try:
        with source.open("rb") as stream:
            signature = stream.read(len(_SIGNATURE))
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror}).") from error
    if signature != _SIGNATURE:
        raise InputError(f"{source}: not an NWB file (no HDF5 inside); leave it out.")


def broken_file(source: Path, error: Exception) -> InputError:
    """The sentence for a file that begins well and cannot be read to its end."""
    why = "truncated" if "truncated" in str(error) else "damaged: what is inside cannot be read"
    return InputError(f"{source}: the file is {why}; fetch or copy it again.")


def raw_of(file: h5py.File, origin: str, mapping: RecordingMapping) -> RawSession:
    """A recording from an open file; arguments and errors as for :func:`read_h5`."""
    if _text(file.attrs.get("neurodata_type", "")) != "NWBFile" and "nwb_version" not in file.attrs:
        raise InputError(f"{origin}: an HDF5 file, but not an NWB file; leave it out.")
    trials_group = _find(file, f"intervals/{mapping.trials}")
    if trials_group is None:
        tables = ", ".join(_find(file, "intervals") or ()) or "none"
        raise InputError(
            f"{origin}: there is no trial table {mapping.trials!r} (tables of intervals: "
            f"{tables}); name it in the mapping as trials."
        )
    trials, trial_ids = read_table(trials_group, f"{origin}: {mapping.trials}")
    unit_ids, spikes, info, observed, remarks = _units(file, origin, mapping)
    start, coverage = _coverage(file, mapping, observed)
    animal, guessed = animal_name(_scalar(file, "general/subject/subject_id"), origin, mapping)
    return RawSession(
        name=session_name(_scalar(file, "identifier"), origin, mapping),
        animal=animal,
        trials=trials,
        trial_ids=trial_ids,
        unit_ids=unit_ids,
        spike_times=spikes,
        unit_info=info,
        contacts=_contacts(file, mapping),
        licks=_licks(file, mapping),
        coverage=coverage,
        recording_start_s=start,
        origin=origin,
        remarks=(*remarks, *guessed),
    )


# --- HDF5 ------------------------------------------------------------------------------------


def _find(file: Any, path: str) -> Any:
    """The object at a path, or None; a broken link counts as none."""
    return file.get(path)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _scalar(file: Any, path: str) -> str:
    found = _find(file, path)
    return "" if found is None else _text(found[()])


def values_of(dataset: Any) -> np.ndarray:
    """A column as numbers, truth values or text."""
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.array(dataset.asstr(errors="replace")[()], dtype=str)
    return np.asarray(dataset[()])


def read_table(group: Any, where: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The one-dimensional columns of a table, and its ids; ragged and reference columns are left.

    Args:
        group: of HDF5.
        where: the file and the table, for errors.

    Returns:
        Column -> (row,), and (row,) ids.

    Raises:
        InputError: a column of another length than the table.
    """
    import h5py

    ids = np.asarray(group["id"][()], dtype=np.int64)
    columns: dict[str, np.ndarray] = {}
    listed = [_text(name) for name in group.attrs.get("colnames", ())]
    for name in listed or [name for name in group if name != "id"]:
        item = group.get(name)
        index = name.endswith("_index") and name.removesuffix("_index") in group
        if not isinstance(item, h5py.Dataset) or index or f"{name}_index" in group:
            continue
        if h5py.check_ref_dtype(item.dtype) or item.dtype.names is not None:
            continue
        check_length(name, item.shape, len(ids), where)
        if item.shape == ids.shape:
            columns[name] = values_of(item)
    return columns, ids


def _ragged(group: Any, name: str, ids: np.ndarray, origin: str) -> list[np.ndarray] | None:
    """The rows of a ragged column of units, or None if there is none."""
    if name not in group or f"{name}_index" not in group:
        return None
    ends = np.asarray(group[f"{name}_index"][()]).astype(np.int64)
    flat = np.asarray(group[name][()])
    check_ends(ends, len(flat), ids, f"{origin}: {name}")
    return np.split(flat, ends[:-1]) if len(ends) else []


def _units(file: Any, origin: str, mapping: RecordingMapping) -> tuple[Any, ...]:
    group = _find(file, "units")
    none = np.zeros(0, dtype=np.int64)
    if group is None:
        return none, (), {}, None, ("the file has no units",)
    columns, ids = read_table(group, f"{origin}: units")
    spikes = _ragged(group, "spike_times", ids, origin)
    if spikes is None and len(ids):
        raise InputError(f"{origin}: units have no spike_times; leave the file out.")
    if not len(ids):
        return none, (), {}, None, ("the table of units is empty",)
    times = tuple(np.asarray(row, dtype=np.float64) for row in spikes or ())
    info = {k: columns[c] for k, c in mapping.unit_columns.items() if c in columns}
    observed = _ragged(group, "obs_intervals", ids, origin)
    if len(np.unique(ids)) != len(ids):
        raise refuse(f"{origin}: unit ids", ids.tolist(), "some stand twice", "mend the file")
    return ids, times, info, observed, ()


def _contacts(file: Any, mapping: RecordingMapping) -> dict[str, np.ndarray]:
    module = _find(file, f"processing/{mapping.behavior}") or {}
    found = {}
    for name in module:
        if name.startswith(mapping.contacts) and "start_time" in module[name]:
            table = module[name]
            start = np.asarray(table["start_time"][()], dtype=np.float64)
            stop = np.asarray(table["stop_time"][()], dtype=np.float64)
            found[name.removeprefix(mapping.contacts)] = np.stack([start, stop], axis=1)
    return found


def _licks(file: Any, mapping: RecordingMapping) -> dict[str, np.ndarray]:
    group = _find(file, f"processing/{mapping.behavior}/licks") or {}
    return {
        side: np.asarray(group[side]["timestamps"][()], dtype=np.float64)
        for side in group
        if "timestamps" in group[side]
    }


# --- coverage --------------------------------------------------------------------------------


def _coverage(
    file: Any, mapping: RecordingMapping, observed: list[np.ndarray] | None
) -> tuple[float | None, np.ndarray | None]:
    start, spans = None, None
    series = _series(file, mapping)
    if series is not None:
        start, spans = _span_of_series(series)
    invalid = _find(file, "intervals/invalid_times")
    bad = np.zeros((0, 2))
    if invalid is not None:
        bad = np.stack([invalid["start_time"][()], invalid["stop_time"][()]], axis=1)
    return start, covered(spans, observed, bad)


def covered(
    spans: np.ndarray | None, observed: list[np.ndarray] | None, invalid: np.ndarray
) -> np.ndarray | None:
    """What the series covers and every unit was observed in, without what is declared invalid.

    Args:
        spans: (span, 2) of the series, or None.
        observed: for each unit (span, 2), or None; units without any do not count.
        invalid: (span, 2).

    Returns:
        (span, 2), rising; None if nothing is known.
    """
    known = [np.asarray(one, dtype=np.float64).reshape(-1, 2) for one in observed or ()]
    for one in (k for k in known if len(k)):
        spans = one if spans is None else intersect(spans, one)
    if not len(invalid):
        return spans
    order = np.sort(np.asarray(invalid, dtype=np.float64), axis=0)
    free = np.stack([np.append(-np.inf, order[:, 1]), np.append(order[:, 0], np.inf)], axis=1)
    whole = np.array([[-np.inf, np.inf]]) if spans is None else spans
    return intersect(whole, free[free[:, 1] > free[:, 0]])


def intersect(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(span, 2) times that lie in spans of both; each is rising and free of overlaps."""
    start = np.maximum(one[:, None, 0], two[None, :, 0])
    stop = np.minimum(one[:, None, 1], two[None, :, 1])
    both = np.stack([start, stop], axis=-1)[stop > start]
    return both[np.argsort(both[:, 0])]


def _series(file: Any, mapping: RecordingMapping) -> Any:
    group = _find(file, "acquisition")
    if group is None:
        return None
    if mapping.recording in group:
        return group[mapping.recording]
    for name in group:
        if _text(group[name].attrs.get("neurodata_type", "")) == "ElectricalSeries":
            return group[name]
    return None


def _span_of_series(series: Any) -> tuple[float | None, np.ndarray | None]:
    if "starting_time" in series:
        start = float(series["starting_time"][()])
        rate = float(series["starting_time"].attrs.get("rate", np.nan))
        n = series["data"].shape[0] if "data" in series else 0
        if not (np.isfinite(rate) and rate > 0 and n):
            return start, None
        return start, np.array([[start, start + n / rate]])
    if "timestamps" not in series or series["timestamps"].shape[0] < 2:
        return None, None
    times = series["timestamps"]
    period = float(np.median(np.diff(times[: min(len(times), 10_000)])))
    return float(times[0]), spans_of_times(times, period)


def spans_of_times(times: Any, period: float) -> np.ndarray:
    """(span, 2) between jumps of timestamps, read piece by piece; the last sample counts whole."""
    starts, stops = [float(times[0])], []
    last = starts[0]
    for low in range(0, len(times), _CHUNK):
        piece = np.concatenate([[last], np.asarray(times[low : low + _CHUNK], dtype=np.float64)])
        for k in np.flatnonzero(np.diff(piece) > _GAP_PERIODS * period):
            stops.append(float(piece[k]) + period)
            starts.append(float(piece[k + 1]))
        last = float(piece[-1])
    stops.append(last + period)
    return np.stack([starts, stops], axis=1)
