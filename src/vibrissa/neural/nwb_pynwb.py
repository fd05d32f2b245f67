"""Reading NWB files through pynwb: slower, but it knows every version and extension of the format.

Gives the same recording as :mod:`vibrissa.neural.nwb_h5`, to the bit.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, refuse, require_extra
from vibrissa.neural.mapping import RecordingMapping
from vibrissa.neural.nwb_checks import animal_name, check_ends, check_length, session_name
from vibrissa.neural.nwb_h5 import broken_file, check_file, covered, read_h5, spans_of_times
from vibrissa.neural.raw import RawSession


def read_pynwb(path: Path | str, mapping: RecordingMapping) -> RawSession:
    """Read one file; it is closed again whatever happens.

    Arguments and errors as for :func:`vibrissa.neural.nwb_h5.read_h5`.

    Raises:
        MissingExtraError: pynwb is not installed.
    """
    pynwb = require_extra("pynwb", "neural", "reading NWB files with engine pynwb")
    source = Path(path)
    check_file(source)
    with warnings.catch_warnings():
        # Cached namespaces of older files, and spellings that the schema has since refused.
        warnings.simplefilter("ignore")
        try:
            io = pynwb.NWBHDF5IO(source, mode="r")
        except OSError as error:
            raise broken_file(source, error) from error
        except Exception as error:
            raise _unreadable(source, mapping, error) from error
        try:
            with io:
                return _raw_of(io.read(), source.name, mapping)
        except InputError:
            raise
        except OSError as error:
            raise broken_file(source, error) from error
        # Of pynwb and hdmf: what they raise on a file that is not as the schema wants it is no
        # narrower than this.
        except Exception as error:
            raise _unreadable(source, mapping, error) from error


def _unreadable(source: Path, mapping: RecordingMapping, error: Exception) -> InputError:
    """Why pynwb cannot read a file: what the other reader finds wrong, else what pynwb says."""
    try:
        read_h5(source, mapping)
    except InputError as found:
        return found
    # The error of hdmf holds the whole object first, and then the reason.
    why = " ".join(str(error.args[-1] if error.args else error).split()).rstrip(".")
    return InputError(
        f"{source.name}: pynwb cannot read it ({why[:160]}); mend the file, or try engine h5py."
    )


def _raw_of(nwb: Any, origin: str, mapping: RecordingMapping) -> RawSession:
    if nwb.intervals is None or mapping.trials not in nwb.intervals:
        tables = ", ".join(nwb.intervals or ()) or "none"
        raise InputError(
            f"{origin}: there is no trial table {mapping.trials!r} (tables of intervals: "
            f"{tables}); name it in the mapping as trials."
        )
    trials, trial_ids = _table(nwb.intervals[mapping.trials], f"{origin}: {mapping.trials}")
    unit_ids, spikes, info, observed, remarks = _units(nwb, origin, mapping)
    start, spans = _series(nwb, mapping)
    invalid = np.zeros((0, 2))
    if nwb.invalid_times is not None:
        bad = nwb.invalid_times
        invalid = np.stack([bad["start_time"].data[:], bad["stop_time"].data[:]], axis=1)
    behavior = nwb.processing.get(mapping.behavior)
    members = {} if behavior is None else dict(behavior.data_interfaces)
    subject = nwb.subject.subject_id if nwb.subject is not None else ""
    animal, guessed = animal_name(subject or "", origin, mapping)
    return RawSession(
        name=session_name(nwb.identifier or "", origin, mapping),
        animal=animal,
        trials=trials,
        trial_ids=trial_ids,
        unit_ids=unit_ids,
        spike_times=spikes,
        unit_info=info,
        contacts=_contacts(members, mapping),
        licks=_licks(members),
        coverage=covered(spans, observed, invalid),
        recording_start_s=start,
        origin=origin,
        remarks=(*remarks, *guessed),
    )


def _column(values: Any) -> np.ndarray:
    array = np.asarray(values[:])
    return array.astype(str) if array.dtype.kind in "OUS" else array


def _table(table: Any, where: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    ids = np.asarray(table.id[:], dtype=np.int64)
    ragged = {c.target.name for c in table.columns if type(c).__name__ == "VectorIndex"}
    columns = {}
    for column in table.columns:
        kind = type(column).__name__
        data = column.data
        if kind == "VectorData" and column.name not in ragged:
            check_length(column.name, np.shape(data), len(ids), where)
        if kind != "VectorData" or np.shape(data) != ids.shape:
            if kind == "EnumData":
                columns[column.name] = np.array([str(v) for v in column[:]], dtype=str)
            continue
        columns[column.name] = _column(data)
    return {name: values for name, values in columns.items() if name not in ragged}, ids


def _units(nwb: Any, origin: str, mapping: RecordingMapping) -> tuple[Any, ...]:
    none = np.zeros(0, dtype=np.int64)
    if nwb.units is None:
        return none, (), {}, None, ("the file has no units",)
    columns, ids = _table(nwb.units, f"{origin}: units")
    if not len(ids):
        return none, (), {}, None, ("the table of units is empty",)
    if "spike_times" not in nwb.units.colnames:
        raise InputError(f"{origin}: units have no spike_times; leave the file out.")
    for name in ("spike_times", "obs_intervals"):
        if name in nwb.units.colnames:
            index = nwb.units[name]
            ends = np.asarray(index.data[:]).astype(np.int64)
            check_ends(ends, len(index.target.data), ids, f"{origin}: {name}")
    rows = [nwb.units["spike_times"][k] for k in range(len(ids))]
    times = tuple(np.asarray(row, dtype=np.float64) for row in rows)
    observed = None
    if "obs_intervals" in nwb.units.colnames:
        observed = [np.asarray(nwb.units["obs_intervals"][k]) for k in range(len(ids))]
    if len(np.unique(ids)) != len(ids):
        raise refuse(f"{origin}: unit ids", ids.tolist(), "some stand twice", "mend the file")
    info = {k: columns[c] for k, c in mapping.unit_columns.items() if c in columns}
    return ids, times, info, observed, ()


def _contacts(members: dict[str, Any], mapping: RecordingMapping) -> dict[str, np.ndarray]:
    found = {}
    for name, table in members.items():
        if name.startswith(mapping.contacts) and "start_time" in getattr(table, "colnames", ()):
            spans = [np.asarray(table[c].data[:], float) for c in ("start_time", "stop_time")]
            found[name.removeprefix(mapping.contacts)] = np.stack(spans, axis=1)
    return found


def _licks(members: dict[str, Any]) -> dict[str, np.ndarray]:
    series = getattr(members.get("licks"), "time_series", None) or {}
    return {
        side: np.asarray(one.timestamps[:], dtype=np.float64)
        for side, one in series.items()
        if one.timestamps is not None
    }


def _series(nwb: Any, mapping: RecordingMapping) -> tuple[float | None, np.ndarray | None]:
    found = nwb.acquisition.get(mapping.recording)
    if found is None:
        electrical = [s for s in nwb.acquisition.values() if type(s).__name__ == "ElectricalSeries"]
        found = electrical[0] if electrical else None
    if found is None:
        return None, None
    if found.starting_time is not None:
        start, rate, n = float(found.starting_time), found.rate, np.shape(found.data)[0]
        if not rate or not n:
            return start, None
        return start, np.array([[start, start + n / float(rate)]])
    times = found.timestamps
    if times is None or len(times) < 2:
        return None, None
    period = float(np.median(np.diff(times[: min(len(times), 10_000)])))
    return float(times[0]), spans_of_times(times, period)
