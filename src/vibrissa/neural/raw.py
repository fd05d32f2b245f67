"""A recording as it stands in its file: trials, units and contacts on the clock of the session.

Both readers and the synthetic generator make it; :mod:`vibrissa.neural.counting` turns it into a
:class:`~vibrissa.neural.session.Session`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vibrissa.core.errors import InputError, refuse


@dataclass(frozen=True, kw_only=True, eq=False)
class RawSession:
    """One recording; all times in s on the clock of the session, as stored.

    Attributes:
        name: the session.
        animal: the animal.
        trials: column -> (trial,) values, as many as the file has.
        trial_ids: (trial,) ids of the rows.
        unit_ids: (unit,) whole numbers or text.
        spike_times: a sorted (spike,) array for each unit.
        unit_info: column -> (unit,) values.
        contacts: whisker -> (contact, 2) start and stop.
        licks: side -> (lick,) times.
        coverage: (span, 2) start and stop of what was recorded, rising; None if the file does not
            say.
        recording_start_s: start of the recording as the file states it; None if it does not.
        origin: the file, or what it came from.
        remarks: what is odd about it, a sentence each.

    Raises:
        InputError: shapes that do not fit together; spikes that are not finite or not numbers.
    """

    name: str
    animal: str
    trials: Mapping[str, np.ndarray]
    trial_ids: np.ndarray
    unit_ids: np.ndarray
    spike_times: tuple[np.ndarray, ...]
    unit_info: Mapping[str, np.ndarray] = field(default_factory=dict)
    contacts: Mapping[str, np.ndarray] = field(default_factory=dict)
    licks: Mapping[str, np.ndarray] = field(default_factory=dict)
    coverage: np.ndarray | None = None
    recording_start_s: float | None = None
    origin: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = self.origin or self.name
        for column, value in self.trials.items():
            if len(value) != len(self.trial_ids):
                raise refuse(
                    f"{where}: trials column {column}", len(value),
                    f"there are {len(self.trial_ids)} trials", "mend the file",
                )  # fmt: skip
        if len(self.spike_times) != len(self.unit_ids):
            raise refuse(
                f"{where}: spike_times", len(self.spike_times),
                f"there are {len(self.unit_ids)} units", "mend the file",
            )  # fmt: skip
        remarks = list(self.remarks)
        sorted_times = []
        for unit, times in zip(self.unit_ids, self.spike_times, strict=True):
            if times.dtype.kind not in "fiu":
                raise InputError(
                    f"{where}: unit {unit}: spike times are {times.dtype.name}, not numbers; mend "
                    "the file."
                )
            bad = int(np.count_nonzero(~np.isfinite(times)))
            if bad:
                raise InputError(
                    f"{where}: unit {unit}: {bad} of {len(times)} spike times are not finite; "
                    "mend or leave out the unit."
                )
            if len(times) > 1 and (np.diff(times) < 0).any():
                remarks.append(f"spikes of unit {unit} were out of order and have been sorted")
                times = np.sort(times)
            sorted_times.append(times)
        object.__setattr__(self, "spike_times", tuple(sorted_times))
        object.__setattr__(self, "remarks", tuple(remarks))

    @property
    def n_trials(self) -> int:
        """Number of trials in the file."""
        return len(self.trial_ids)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_ids)

    def column(self, name: str) -> np.ndarray:
        """A column of the trial table.

        Raises:
            InputError: there is none of this name; the text lists those that there are.
        """
        if name not in self.trials:
            raise InputError(
                f"{self.origin or self.name}: the trial table has no column {name!r}; it has "
                f"{', '.join(self.trials) or 'none'}; name another in the mapping or the window."
            )
        return self.trials[name]

    def times(self, name: str) -> np.ndarray:
        """A column of times of the trial table, as float64.

        Raises:
            InputError: there is none of this name, or it holds no numbers.
        """
        values = self.column(name)
        if not np.issubdtype(values.dtype, np.number):
            kind = "text" if values.dtype.kind in "US" else values.dtype.name
            first = f" (the first is {str(values[0])[:40]!r})" if len(values) else ""
            raise InputError(
                f"{self.origin or self.name}: trials column {name!r} holds {kind}, not times"
                f"{first}; mend the file, or name a column of times in the mapping or the window."
            )
        return values.astype(np.float64)

    def population(self) -> np.ndarray:
        """Spikes of all units, sorted."""
        if not self.spike_times:
            return np.zeros(0)
        return np.sort(np.concatenate(self.spike_times))

    def contact_onsets(self) -> np.ndarray:
        """Starts of the contacts of all whiskers, sorted."""
        if not self.contacts:
            return np.zeros(0)
        return np.sort(np.concatenate([spans[:, 0] for spans in self.contacts.values()]))

    def shifted(self, seconds: float) -> RawSession:
        """The same with every spike later by so much; nothing else moves."""
        remark = f"spike times were moved by {seconds:+g} s, against the clock of the file"
        return replace(
            self,
            spike_times=tuple(times + seconds for times in self.spike_times),
            remarks=(*self.remarks, remark),
        )
