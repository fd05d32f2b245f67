"""Counting spikes in windows, by bisection in the sorted spike times of each unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.neural.windows import Spans


def count_spans(
    spike_times: Sequence[np.ndarray], start_s: np.ndarray, stop_s: np.ndarray
) -> np.ndarray:
    """Spikes in each span [start, stop).

    Args:
        spike_times: a sorted (spike,) array for each unit.
        start_s, stop_s: (span,) times on the same clock.

    Returns:
        (span, unit) counts, float64.
    """
    counts = np.empty((len(start_s), len(spike_times)))
    for k, times in enumerate(spike_times):
        counts[:, k] = np.searchsorted(times, stop_s) - np.searchsorted(times, start_s)
    return counts


def count_trials(spike_times: Sequence[np.ndarray], spans: Spans) -> np.ndarray:
    """(trial, unit) spikes in the spans of each trial, 0 for a trial without a span."""
    counts = np.zeros((len(spans.event_s), len(spike_times)))
    np.add.at(counts, spans.trial, count_spans(spike_times, spans.start_s, spans.stop_s))
    return counts


def bin_edges(spans: Spans, rows: np.ndarray, first_s: float, bin_s: float) -> np.ndarray:
    """Edges of the time bins relative to the event, as many as the longest of the trials holds.

    Args:
        spans: the windows, one span per trial.
        rows: the trials that are wanted.
        first_s: the first edge.
        bin_s: width of a bin.

    Raises:
        InputError: the width is not positive or exceeds every window.
    """
    if not (np.isfinite(bin_s) and bin_s > 0):
        raise refuse("bin_s", bin_s, "not above 0", "give a width in s")
    wanted = np.isin(spans.trial, rows)
    reach = spans.stop_s[wanted] - spans.event_s[spans.trial[wanted]] - first_s
    longest = float(reach.max()) if reach.size else bin_s
    n_bins = int(np.floor(longest / bin_s + 1e-6))
    if n_bins < 1:
        raise refuse("bin_s", bin_s, f"wider than every window ({longest:g} s)", "give less")
    return first_s + bin_s * np.arange(n_bins + 1)


def count_bins(
    spike_times: Sequence[np.ndarray], spans: Spans, rows: np.ndarray, edges_s: np.ndarray
) -> np.ndarray:
    """(trial, bin, unit) spikes of the trials ``rows`` in bins around their events.

    NaN where a bin is not wholly inside the window of its trial (to a microsecond).
    """
    place = np.full(len(spans.event_s), -1)
    place[spans.trial] = np.arange(len(spans.trial))
    span = place[rows]
    edges = spans.event_s[rows, None] + edges_s
    counts = np.empty((len(rows), len(edges_s) - 1, len(spike_times)))
    for k, times in enumerate(spike_times):
        counts[:, :, k] = np.diff(np.searchsorted(times, edges), axis=1)
    slack = 1e-6
    inside = (edges[:, :-1] >= spans.start_s[span, None] - slack) & (
        edges[:, 1:] <= spans.stop_s[span, None] + slack
    )
    counts[~inside] = np.nan
    return counts
