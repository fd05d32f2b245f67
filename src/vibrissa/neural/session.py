"""What one recording session hands on: spike counts per trial and unit, with names on all axes.

Sessions are ragged: each has its own trials and units, and a condition that was not shown is
absent, never zero. Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.manifest import Manifest
from vibrissa.neural.conditions import ordered_conditions

TASKS: Final = ("discrimination", "detection", "")
_NOT_GIVEN: Final = np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """Spike counts of one session in one window per trial.

    Only ``name``, ``animal``, ``unit_ids``, ``condition``, ``counts`` and ``duration_s`` must be
    given. Arrays are copied and cannot be written to.

    Attributes:
        name: the session, each once in an analysis.
        animal: the animal it comes from.
        unit_ids: (unit,) whole numbers or text, each once, as in the recording.
        condition: (trial,) names, for instance ``"concave close"``.
        counts: (trial, unit) spikes in the window of the trial, 0 or more.
        duration_s: (trial,) length of that window, s, above 0.
        choice: (trial,) ``left``, ``right``, ``nogo``, or ``""`` where it is not known.
        outcome: (trial,) ``correct``, ``error``, ``spoil``, or ``""``.
        task: ``discrimination``, ``detection`` or ``""``.
        file_order: (trial,) row of each trial in the trial table of the file, each once; by
            default 0, 1, 2 ... The order in which conditions first appear comes from it.
        trial_ids: (trial,) whole numbers by which the file calls its trials.
        event_s: (trial,) time of the alignment event on the clock of the session, s, or None.
        binned_counts: (trial, bin, unit) spikes per bin, NaN where a bin is not wholly inside the
            window of the trial; or None.
        bin_edges_s: (bin + 1,) edges relative to the alignment event, s; or None.
        covariates: name -> (trial,) numbers, NaN where unknown, for instance ``contact_count``.
        unit_info: name -> (unit,) values, for instance ``depth_um``.
        dropped: reason -> condition -> number of trials that were left out for it.
        window: name of the window.
        warnings: what is odd about the session, a sentence each.
        manifest: how it came about.

    Raises:
        InputError: names or shapes that do not fit together, or impossible values.
    """

    name: str
    animal: str
    unit_ids: np.ndarray
    condition: np.ndarray
    counts: np.ndarray
    duration_s: np.ndarray
    choice: np.ndarray = field(default_factory=lambda: _NOT_GIVEN)
    outcome: np.ndarray = field(default_factory=lambda: _NOT_GIVEN)
    task: str = ""
    file_order: np.ndarray = field(default_factory=lambda: _NOT_GIVEN)
    trial_ids: np.ndarray = field(default_factory=lambda: _NOT_GIVEN)
    event_s: np.ndarray | None = None
    binned_counts: np.ndarray | None = None
    bin_edges_s: np.ndarray | None = None
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    unit_info: Mapping[str, np.ndarray] = field(default_factory=dict)
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    window: str = ""
    warnings: tuple[str, ...] = ()
    manifest: Manifest = field(default_factory=lambda: Manifest(what="session"))

    def __post_init__(self) -> None:
        for key in ("name", "animal"):
            if not isinstance(getattr(self, key), str) or not getattr(self, key).strip():
                raise refuse(f"session {key}", getattr(self, key), "no name", "give it a name")
        if self.task not in TASKS:
            raise refuse("task", self.task, "unknown", "choose discrimination or detection")
        trial = np.ndim(self.condition) and len(self.condition)
        unit = np.ndim(self.unit_ids) and len(self.unit_ids)

        def keep(key: str, value: Any) -> None:
            object.__setattr__(self, key, value)

        keep("unit_ids", self._unique("unit_ids", _labels(self.unit_ids), unit))
        keep("condition", self._column("condition", np.asarray(self.condition, dtype=str), trial))
        for key in ("choice", "outcome"):
            given = getattr(self, key)
            text = np.full(trial, "") if given is _NOT_GIVEN else np.asarray(given, dtype=str)
            keep(key, self._column(key, text, trial))
        for key in ("file_order", "trial_ids"):
            given = getattr(self, key)
            if given is _NOT_GIVEN:
                given = np.arange(trial) if key == "file_order" else self.file_order
            rows = np.array(given, dtype=np.int64)
            check = self._unique if key == "file_order" else self._column
            keep(key, check(key, rows, trial))
        keep("counts", self._counts("counts", self.counts, (trial, unit), nan=False))
        keep("duration_s", self._numbers("duration_s", self.duration_s, trial))
        if not (np.isfinite(self.duration_s) & (self.duration_s > 0)).all():
            raise self._odd(
                "duration_s", self.duration_s, "not all above 0", "leave such trials out"
            )
        if self.event_s is not None:
            keep("event_s", self._numbers("event_s", self.event_s, trial))
        self._check_bins(keep, trial, unit)
        keep(
            "covariates",
            {k: self._numbers(f"covariate {k}", v, trial) for k, v in self.covariates.items()},
        )
        info = {k: self._column(f"unit_info {k}", v, unit) for k, v in self.unit_info.items()}
        keep("unit_info", info)
        keep("dropped", {k: dict(v) for k, v in self.dropped.items()})
        keep("warnings", tuple(self.warnings))

    # --- checks ------------------------------------------------------------------------------

    def _odd(self, key: str, value: object, reason: str, remedy: str) -> InputError:
        return refuse(f"session {self.name}: {key}", value, reason, remedy)

    def _column(self, key: str, value: Any, length: int) -> np.ndarray:
        array = np.array(value)
        if array.shape != (length,) or array.dtype.hasobject:
            raise self._odd(
                key, f"shape {array.shape} {array.dtype}", f"{length} values expected",
                "give one number or text for each",
            )  # fmt: skip
        array.setflags(write=False)
        return array

    def _unique(self, key: str, value: np.ndarray, length: int) -> np.ndarray:
        array = self._column(key, value, length)
        if len(np.unique(array)) != length:
            raise self._odd(key, array.tolist(), "some stand twice", "give each once")
        return array

    def _numbers(self, key: str, value: Any, length: int) -> np.ndarray:
        try:
            return self._column(key, np.array(value, dtype=np.float64), length)
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise self._odd(key, value, "not numbers", "give numbers") from error

    def _counts(self, key: str, value: Any, shape: tuple[int, ...], *, nan: bool) -> np.ndarray:
        array = np.array(value, dtype=np.float64)
        if array.shape != shape:
            raise self._odd(key, f"shape {array.shape}", f"shape {shape} expected", "mend it")
        good = np.isfinite(array) & (array >= 0)
        if not (good | np.isnan(array) if nan else good).all():
            raise self._odd(key, array[~good][0], "not a count", "give finite numbers of 0 or more")
        array.setflags(write=False)
        return array

    def _check_bins(self, keep: Any, trial: int, unit: int) -> None:
        if (self.binned_counts is None) != (self.bin_edges_s is None):
            raise self._odd("bin_edges_s", None, "bins and edges go together", "give both or none")
        if self.binned_counts is None or self.bin_edges_s is None:
            return
        edges = np.array(self.bin_edges_s, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise self._odd("bin_edges_s", edges, "not two or more rising times", "sort them")
        edges.setflags(write=False)
        keep("bin_edges_s", edges)
        shape = (trial, len(edges) - 1, unit)
        keep("binned_counts", self._counts("binned_counts", self.binned_counts, shape, nan=True))

    # --- sizes and names ---------------------------------------------------------------------

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.condition)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.unit_ids)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions that were shown: the canonical ones in their order, then others."""
        return ordered_conditions(self.condition.tolist())

    def trials_per_condition(self) -> dict[str, int]:
        """Condition -> number of trials."""
        return {name: int((self.condition == name).sum()) for name in self.conditions}

    def __repr__(self) -> str:
        return (
            f"<Session {self.name} of {self.animal}: {self.n_trials} trials, "
            f"{len(self.conditions)} conditions, {self.n_units} units>"
        )

    # --- what is computed from it ------------------------------------------------------------

    def rates(self) -> np.ndarray:
        """(trial, unit) spikes per second in the window of the trial."""
        return self.counts / self.duration_s[:, None]

    def binned_rates(self) -> np.ndarray:
        """(trial, bin, unit) spikes per second, NaN where a bin is outside the window.

        Raises:
            InputError: the session was read without bins.
        """
        if self.binned_counts is None or self.bin_edges_s is None:
            raise self._odd("binned_counts", None, "there are no bins", "read it with bin_s")
        return self.binned_counts / np.diff(self.bin_edges_s)[None, :, None]

    def condition_mean(self, conditions: Sequence[str] | None = None) -> np.ndarray:
        """Average over trials of the rates of each condition.

        Args:
            conditions: which, in which order; by default :attr:`conditions`.

        Returns:
            (condition, unit) spikes per second; NaN for a condition that was not shown.
        """
        names = self.conditions if conditions is None else tuple(conditions)
        rates = self.rates()
        mean = np.full((len(names), self.n_units), np.nan)
        for k, name in enumerate(names):
            shown = self.condition == name
            if shown.any():
                mean[k] = rates[shown].mean(axis=0)
        return mean

    def select(self, trials: Any = None, *, units: Any = None) -> Session:
        """Some of the trials or units, in the order given.

        Args:
            trials: (trial,) truth values, or positions; None keeps all.
            units: likewise.

        Raises:
            InputError: positions that there are not.
        """
        changed: dict[str, Any] = {}
        if trials is not None:
            rows = self._positions("trials", trials, self.n_trials)
            for key in _OF_TRIALS:
                value = getattr(self, key)
                changed[key] = None if value is None else value[rows]
            changed["covariates"] = {k: v[rows] for k, v in self.covariates.items()}
        if units is not None:
            columns = self._positions("units", units, self.n_units)
            changed["unit_ids"] = self.unit_ids[columns]
            changed["unit_info"] = {k: v[columns] for k, v in self.unit_info.items()}
            for key in ("counts", "binned_counts"):
                value = changed.get(key, getattr(self, key))
                changed[key] = None if value is None else value[..., columns]
        return replace(self, **changed)

    def _positions(self, key: str, given: Any, length: int) -> np.ndarray:
        array = np.asarray(given)
        if array.size == 0:
            return np.zeros(0, dtype=np.int64)
        if array.dtype == bool and array.shape == (length,):
            return np.flatnonzero(array)
        whole = array.ndim == 1 and np.issubdtype(array.dtype, np.integer)
        if not whole or array.min() < 0 or array.max() >= length:
            raise self._odd(
                key, given, f"no truth values or positions of {length} {key}",
                f"give {length} truth values, or positions below {length}",
            )  # fmt: skip
        return array

    def in_file_order(self) -> Session:
        """The same with its trials as they stand in the file and its units by their ids."""
        return self.select(np.argsort(self.file_order), units=np.argsort(self.unit_ids))

    def equals(self, other: Session, *, tolerance: float = 0.0) -> bool:
        """Whether two hold the same, whatever the order of their trials and units.

        Compared is everything but warnings and manifest.

        Args:
            other: what to compare with.
            tolerance: largest difference of a number.
        """
        one, two = self.in_file_order(), other.in_file_order()
        keys = [f.name for f in fields(Session) if f.name not in ("warnings", "manifest")]
        return all(_same(getattr(one, k), getattr(two, k), tolerance) for k in keys)


_OF_TRIALS: Final = (
    "condition", "counts", "duration_s", "choice", "outcome", "file_order", "trial_ids", "event_s",
    "binned_counts",
)  # fmt: skip


def _labels(value: Any) -> np.ndarray:
    """Unit ids as whole numbers or text."""
    array = np.array(value)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else str)


def _same(one: Any, two: Any, tolerance: float) -> bool:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return set(one) == set(two) and all(_same(one[k], two[k], tolerance) for k in one)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        if one.shape != two.shape:
            return False
        if np.issubdtype(one.dtype, np.floating) and np.issubdtype(two.dtype, np.floating):
            return bool(np.allclose(one, two, rtol=0.0, atol=tolerance, equal_nan=True))
        return bool(np.array_equal(one, two))
    return type(one) is type(two) and bool(one == two)
