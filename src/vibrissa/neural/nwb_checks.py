"""What both readers of NWB files ask of them: names, and tables whose parts fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.neural.mapping import RecordingMapping


def session_name(identifier: str, origin: str, mapping: RecordingMapping) -> str:
    """The session's name: the identifier of the file, or the file's name without its end."""
    stem = Path(origin).stem
    return stem if mapping.session == "file" or not identifier.strip() else identifier.strip()


def animal_name(
    subject: str, origin: str, mapping: RecordingMapping
) -> tuple[str, tuple[str, ...]]:
    """The animal: the subject, else the mapping's, else what the file name begins with.

    Returns:
        The name, and a remark where it was guessed from the file name.
    """
    if subject.strip() or mapping.animal:
        return subject.strip() or mapping.animal or "", ()
    name = Path(origin).stem.split("_")[0].removeprefix("sub-")
    return name, (
        f"the file names no subject, so its animal is taken to be {name}, as the file name begins; "
        "if that is wrong, name it in the mapping as animal",
    )


def check_ends(ends: np.ndarray, n_values: int, ids: np.ndarray, where: str) -> None:
    """Refuse an index of ragged rows that would give a row the values of others.

    Args:
        ends: (row,) where the values of each row end.
        n_values: how many there are.
        ids: (row,) ids of the rows.
        where: the file and the column.

    Raises:
        InputError: another number of rows, ends that fall or lie beyond the values, or values
            that belong to no row.
    """
    if len(ends) != len(ids):
        raise refuse(
            f"{where}_index", len(ends), f"there are {len(ids)} units",
            "the file is damaged, fetch or copy it again",
        )  # fmt: skip
    before = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    bad = np.flatnonzero((ends < before) | (ends > n_values))
    if len(bad):
        k = int(bad[0])
        why = "beyond the values" if ends[k] > n_values else "before it begins"
        raise refuse(
            f"{where}_index of unit {ids[k]}", int(ends[k]),
            f"it ends {why} ({int(before[k])} to {n_values} are possible)",
            "the file is damaged, fetch or copy it again",
        )  # fmt: skip
    last = int(ends[-1]) if len(ends) else 0
    if last != n_values:
        raise refuse(
            f"{where}_index", last, f"there are {n_values} values, so some belong to no unit",
            "the file is damaged, fetch or copy it again",
        )  # fmt: skip


def check_length(name: str, shape: tuple[int, ...], n_rows: int, where: str) -> None:
    """Refuse a column that does not have one value for each row of its table.

    Raises:
        InputError: as said.
    """
    if len(shape) and shape[0] != n_rows:
        raise InputError(
            f"{where}: column {name!r} has {shape[0]} rows, the table {n_rows}; mend the file."
        )
