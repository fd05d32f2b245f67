"""Windows: which part of each trial is looked at, and what time is zero.

Every span is half-open, [start, stop): a spike on the stop belongs to what follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.registry import Registry
from vibrissa.neural.raw import RawSession

windows: Final[Registry[type]] = Registry("windows")
"""Window configurations by name."""
EMPTY_WINDOW: Final = "empty window"
"""Why a trial has no window whose times are known: it does not stop after it starts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spans:
    """What a window is in each trial.

    Attributes:
        event_s: (trial,) time zero on the clock of the session; NaN where there is none.
        trial: (span,) which trial each span belongs to, rising.
        start_s: (span,) where it starts.
        stop_s: (span,) where it stops; spans of a trial do not overlap.
        duration_s: (trial,) by which counts are divided; the sum of the spans unless the window
            says otherwise.
        reason: (trial,) why a trial has no window, ``""`` where it has one.
    """

    event_s: np.ndarray
    trial: np.ndarray
    start_s: np.ndarray
    stop_s: np.ndarray
    duration_s: np.ndarray
    reason: np.ndarray


class Window(Protocol):
    """What a window configuration can do."""

    @property
    def first_bin_s(self) -> float | None:
        """Where time bins begin relative to the event; None if bins make no sense."""
        ...

    def spans(self, raw: RawSession) -> Spans:
        """The window in each trial of a recording."""
        ...


@windows.register("published")
@dataclass(frozen=True, kw_only=True)
class Between:
    """From one time of a trial to another; by default from its start to the choice, as published.

    Attributes:
        start_column: where it starts, and time zero.
        stop_column: where it stops.
        round_up_s: divide the counts by the duration rounded up to a multiple of this, as the
            published loader does with 0.045; 0 divides by the duration itself.
    """

    start_column: str = "start_time"
    stop_column: str = "choice_time"
    round_up_s: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.round_up_s) and self.round_up_s >= 0):
            raise refuse("round_up_s", self.round_up_s, "negative", "give 0 or more")

    @property
    def first_bin_s(self) -> float | None:
        return 0.0

    def spans(self, raw: RawSession) -> Spans:
        start, stop = raw.times(self.start_column), raw.times(self.stop_column)
        found = _one_span(start, start, stop, f"no {self.start_column} or {self.stop_column}")
        if self.round_up_s:
            # As np.arange(start, stop + bin, bin) makes them, to the last bit.
            bins = [
                len(np.arange(a, b + self.round_up_s, self.round_up_s)) - 1
                for a, b in zip(found.start_s, found.stop_s, strict=True)
            ]
            found.duration_s[found.trial] = np.array(bins, dtype=np.float64) * self.round_up_s
        return found


@windows.register("response_window")
@dataclass(frozen=True, kw_only=True)
class AroundEvent:
    """A fixed span around an event; by default the 2 s before the response window opens.

    The default is free of the lick (decoding window of Rodgers et al. 2022).

    Attributes:
        column: the event.
        start_s, stop_s: relative to it.
    """

    column: str = "response_window_open_time"
    start_s: float = -2.0
    stop_s: float = 0.0

    def __post_init__(self) -> None:
        _check_order(self.start_s, self.stop_s)

    @property
    def first_bin_s(self) -> float | None:
        return self.start_s

    def spans(self, raw: RawSession) -> Spans:
        event = raw.times(self.column)
        return _one_span(event, event + self.start_s, event + self.stop_s, f"no {self.column}")


@windows.register("first_touch")
@dataclass(frozen=True, kw_only=True)
class FirstTouch:
    """After the first contact of any whisker between two times of the trial.

    Attributes:
        start_s, stop_s: relative to the start of that contact.
        from_column, until_column: the contact must lie between, and the window ends at the latter.
    """

    start_s: float = 0.0
    stop_s: float = 0.5
    from_column: str = "start_time"
    until_column: str = "choice_time"

    def __post_init__(self) -> None:
        _check_order(self.start_s, self.stop_s)

    @property
    def first_bin_s(self) -> float | None:
        return self.start_s

    def spans(self, raw: RawSession) -> Spans:
        _require_contacts(raw)
        first = first_contact(raw, self.from_column, self.until_column)
        stop = np.minimum(first + self.stop_s, raw.times(self.until_column))
        return _one_span(first, first + self.start_s, stop, "no contact")


@windows.register("contacts")
@dataclass(frozen=True, kw_only=True)
class Contacts:
    """After every contact of any whisker between two times of the trial; overlaps count once.

    Attributes:
        start_s, stop_s: relative to the start of each contact.
        from_column, until_column: contacts must lie between; spans are cut at the latter.
    """

    start_s: float = 0.005
    stop_s: float = 0.030
    from_column: str = "start_time"
    until_column: str = "choice_time"

    def __post_init__(self) -> None:
        _check_order(self.start_s, self.stop_s)

    @property
    def first_bin_s(self) -> float | None:
        return None

    def spans(self, raw: RawSession) -> Spans:
        _require_contacts(raw)
        onsets = raw.contact_onsets()
        begin, end = raw.times(self.from_column), raw.times(self.until_column)
        low = np.searchsorted(onsets, begin, side="left")
        high = np.searchsorted(onsets, end, side="left")
        trial: list[int] = []
        start: list[float] = []
        stop: list[float] = []
        for k in range(raw.n_trials):
            for onset in onsets[low[k] : high[k]]:
                a, b = onset + self.start_s, min(onset + self.stop_s, end[k])
                if trial and trial[-1] == k and a <= stop[-1]:
                    stop[-1] = max(stop[-1], b)
                elif b > a:
                    trial.append(k)
                    start.append(a)
                    stop.append(b)
        rows = np.array(trial, dtype=np.int64)
        starts, stops = np.array(start), np.array(stop)
        duration = np.bincount(rows, stops - starts, minlength=raw.n_trials)
        reason = np.where(duration > 0, "", "no contact")
        event = first_contact(raw, self.from_column, self.until_column)
        return Spans(
            event_s=event, trial=rows, start_s=starts, stop_s=stops, duration_s=duration,
            reason=reason,
        )  # fmt: skip


def choose_window(window: Any) -> Any:
    """A window by name, by configuration, or by a tree ``{kind: name, field: value ...}``.

    Raises:
        InputError: no such window or field.
    """
    from vibrissa.core.config import from_tree

    if isinstance(window, str):
        return windows.get(window)()
    if isinstance(window, dict):
        entries = dict(window)
        kind = entries.pop("kind", None)
        if not isinstance(kind, str):
            raise refuse("window", window, "no kind", f"choose one of {', '.join(windows)}")
        return from_tree(windows.get(kind), entries, f"window {kind}")
    if not callable(getattr(window, "spans", None)):
        raise refuse("window", window, "no window", f"choose one of {', '.join(windows)}")
    return window


def window_name(window: Any) -> str:
    """The registered name of a window, or the name of its class."""
    try:
        return windows.name_of(window)
    except ValueError:
        return type(window).__name__


def first_contact(raw: RawSession, from_column: str, until_column: str) -> np.ndarray:
    """(trial,) start of the first contact in [from, until), NaN where there is none."""
    onsets = raw.contact_onsets()
    begin, end = raw.times(from_column), raw.times(until_column)
    first = np.append(onsets, np.nan)[np.searchsorted(onsets, begin, side="left")]
    return np.where(first < end, first, np.nan)


def contact_count(raw: RawSession, from_column: str, until_column: str) -> np.ndarray:
    """(trial,) number of contacts of all whiskers that start in [from, until)."""
    onsets = raw.contact_onsets()
    begin, end = raw.times(from_column), raw.times(until_column)
    count = np.searchsorted(onsets, end) - np.searchsorted(onsets, begin)
    return np.where(np.isnan(begin) | np.isnan(end), np.nan, np.maximum(count, 0.0))


def _check_order(start_s: float, stop_s: float) -> None:
    if not (math.isfinite(start_s) and math.isfinite(stop_s) and start_s < stop_s):
        raise refuse("stop_s", stop_s, f"not after start_s = {start_s}", "give a later time")


def _require_contacts(raw: RawSession) -> None:
    if not raw.contacts:
        raise refuse(
            f"{raw.origin or raw.name}: contacts", None, "the file has no contact times",
            "choose the window published or response_window",
        )  # fmt: skip


def _one_span(event: np.ndarray, start: np.ndarray, stop: np.ndarray, absent: str) -> Spans:
    known = np.isfinite(event) & np.isfinite(start) & np.isfinite(stop)
    good = known & (np.where(known, stop, 0.0) > np.where(known, start, 0.0))
    rows = np.flatnonzero(good)
    return Spans(
        event_s=event,
        trial=rows,
        start_s=start[rows],
        stop_s=stop[rows],
        duration_s=np.where(good, stop - start, 0.0),
        reason=np.where(good, "", np.where(known, EMPTY_WINDOW, absent)),
    )
