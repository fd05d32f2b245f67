"""Mappings: which columns of a trial table mean what, so that any NWB file can be read."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.neural.conditions import CONDITIONS, NOTHING, SHAPES
from vibrissa.neural.raw import RawSession


@dataclass(frozen=True, kw_only=True)
class RecordingMapping:
    """What the objects of an NWB file are called; the defaults are those of DANDI 000231.

    Attributes:
        trials: the table of intervals that holds the trials.
        condition: the name of a trial's condition, with columns in braces:
            ``"{stimulus} {servo_position}"``.
        rename: such a name -> the condition it means, for instance ``{"0 1": "concave close"}``.
        conditions: the conditions that may occur, after renaming; empty allows any.
        leave_out: names (before renaming) of trials to leave out, or values of the first column.
        start, stop: columns of the start and end of a trial.
        choice_time: column of the choice; null if there is none.
        choice, outcome: columns of text; null if there is none.
        ignore: column of truth values, true for trials to be ignored; null if there is none.
        keep: column -> values; trials with other values are left out.
        session: what names a session, the file's identifier or its name.
        animal: an animal's name for files without a subject; null takes it from the file name.
        recording: the series that tells when was recorded; the first electrical one if it is not
            there.
        behavior: processing module with contacts and licks.
        contacts: prefix of the contact tables, followed by the whisker.
        unit_columns: name here -> column of the units table, read where it is there.
        task: ``discrimination``, ``detection``, ``infer`` (by the rule of the mouse shape task), or
            empty.
        window: the window to use where none is given, a name or a tree; null for ``published``.

    Raises:
        InputError: a condition without a column, or values that make no sense.
    """

    trials: str = "trials"
    condition: str = "{stimulus} {servo_position}"
    rename: Mapping[str, str] = field(default_factory=dict)
    conditions: tuple[str, ...] = CONDITIONS
    leave_out: tuple[str, ...] = (NOTHING,)
    start: str = "start_time"
    stop: str = "stop_time"
    choice_time: str | None = "choice_time"
    choice: str | None = "choice"
    outcome: str | None = "outcome"
    ignore: str | None = "ignore_trial"
    keep: Mapping[str, tuple[str | float | bool, ...]] = field(default_factory=dict)
    session: Literal["identifier", "file"] = "identifier"
    animal: str | None = None
    recording: str = "extracellular array recording"
    behavior: str = "behavior"
    contacts: str = "contacts_by_whisker_"
    unit_columns: Mapping[str, str] = field(default_factory=lambda: dict(_UNIT_COLUMNS))
    task: Literal["discrimination", "detection", "infer", ""] = "infer"
    window: Any = None

    def __post_init__(self) -> None:
        if not self.columns_of_condition():
            raise refuse(
                "condition", self.condition, "it names no column",
                'write columns in braces, as "{stimulus} {servo_position}"',
            )  # fmt: skip

    def columns_of_condition(self) -> tuple[str, ...]:
        """The columns that make the condition, in their order."""
        try:
            parts = [name for _, name, _, _ in string.Formatter().parse(self.condition) if name]
        except ValueError as error:
            raise refuse("condition", self.condition, str(error), "mend the braces") from error
        return tuple(parts)

    @classmethod
    def from_yaml(cls, path: Path | str) -> RecordingMapping:
        """Read a mapping file; what it leaves out keeps its default.

        Raises:
            InputError: no such file, or an unknown or wrong entry.
        """
        return from_tree(cls, read_yaml(path), str(path))

    # --- what it makes of a recording --------------------------------------------------------

    def conditions_of(self, raw: RawSession) -> np.ndarray:
        """(trial,) the condition of each trial; ``""`` for those that are left out by name.

        Raises:
            InputError: a missing column, an empty value, or a condition that may not occur.
        """
        names = self.columns_of_condition()
        columns = [_text(raw.column(name)) for name in names]
        found = np.full(raw.n_trials, "", dtype=object)
        for k in range(raw.n_trials):
            values = {name: column[k] for name, column in zip(names, columns, strict=True)}
            text = self.condition.format(**values)
            if columns[0][k] in self.leave_out or text in self.leave_out:
                continue
            if not all(values.values()):
                blank = next(name for name, value in values.items() if not value)
                raise InputError(
                    f"{raw.origin or raw.name}: trial {raw.trial_ids[k]}: {blank} is empty; "
                    "mend the file or leave such trials out by keep."
                )
            condition = self.rename.get(text, text)
            if self.conditions and condition not in self.conditions:
                error = refuse_unknown(
                    f"{raw.origin or raw.name}: trial {raw.trial_ids[k]}: condition",
                    condition, self.conditions,
                )  # fmt: skip
                raise error
            found[k] = condition
        return found.astype(str)

    def kept(self, raw: RawSession) -> dict[str, np.ndarray]:
        """Reason -> (trial,) truth values of the trials that ``keep`` leaves out for it."""
        reasons: dict[str, np.ndarray] = {}
        for column, values in self.keep.items():
            wanted = {_one_text(value) for value in values}
            held = _text(raw.column(column))
            reasons[f"{column} not kept"] = np.array([v not in wanted for v in held], dtype=bool)
        return reasons

    def task_of(self, raw: RawSession) -> str:
        """The task: detection iff ``nothing`` occurs or right is rewarded for concave.

        ``""`` where the columns for that rule are missing.
        """
        if self.task != "infer":
            return self.task
        if "stimulus" not in raw.trials:
            return ""
        stimulus = _text(raw.trials["stimulus"])
        if (stimulus == NOTHING).any():
            return "detection"
        if not np.isin(stimulus, SHAPES).any():
            return ""
        side = _text(raw.trials["rewarded_side"]) if "rewarded_side" in raw.trials else stimulus
        return "detection" if (side[stimulus == SHAPES[0]] == "right").any() else "discrimination"


_UNIT_COLUMNS: Final = {"depth_um": "depth", "inhibitory": "inhibitory", "layer": "layer"}

DANDI_000231: Final = RecordingMapping()
"""The mouse shape task of Rodgers et al. 2022 (DANDI 000231)."""


def choose_mapping(mapping: RecordingMapping | Path | str | None) -> RecordingMapping:
    """A mapping given as such, as a YAML file, or None for that of DANDI 000231."""
    if mapping is None:
        return DANDI_000231
    if isinstance(mapping, RecordingMapping):
        return mapping
    return RecordingMapping.from_yaml(mapping)


def _one_text(value: Any) -> str:
    """Text of a value of a column: whole numbers without a point, truth values in small letters."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value).strip()


def _text(column: np.ndarray) -> np.ndarray:
    return np.array([_one_text(value) for value in column.tolist()], dtype=str)
