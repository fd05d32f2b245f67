"""Is the clock of the spikes that of the behaviour? Units of barrel cortex fire after contacts.

Population activity rises 5 to 30 ms after whisker contacts. If the spike times are shifted against
the contacts, even by a tenth of a second, that rise is gone, and it is found where the shift put
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vibrissa.neural.raw import RawSession

RESPONSE_S: Final = (0.005, 0.030)
"""Where the rise after a contact is expected."""
_BIN_S: Final = 0.005
_LAGS_S: Final = (-0.1, 0.1)
_FEWEST_CONTACTS: Final = 20
_FEWEST_SPIKES: Final = 200
_CLEAR_Z: Final = 5.0
"""A rise so many standard deviations above what other lags give counts."""
_FARTHEST_S: Final = 120.0
_PIECE_S: Final = 600.0
"""Contacts are looked at in pieces so long, so that times far off cost nothing."""
_FAR_S: Final = 3600.0
_WHISK_S: Final = 0.15
_SILENT_S: Final = 4.0
_SILENT_EXPECTED: Final = 40.0
"""A silence counts if it lasts so long and so many spikes would have been expected in it."""

Status = Literal["ok", "shifted", "no rise", "cannot tell"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClockCheck:
    """What the contact-triggered rate says.

    Attributes:
        status: ``ok``; ``shifted``, if the rise is found elsewhere; ``no rise``, if it is nowhere;
            ``cannot tell``, for want of contacts or spikes.
        n_contacts: contacts that count.
        lag_s: (bin,) centres of the bins around the contact.
        rate_hz: (bin,) spikes per second and unit.
        baseline_hz: before the contact, per unit.
        peak_hz, peak_s: largest rate within 0.1 s of the contact and its lag.
        z: height of the rise at +5..+30 ms against that at all other lags, in robust standard
            deviations.
        shift_s: by how much the spikes come too late, where the status is ``shifted``; else 0.
        sentence: all this in words.
    """

    status: Status
    n_contacts: int
    lag_s: np.ndarray
    rate_hz: np.ndarray
    baseline_hz: float
    peak_hz: float
    peak_s: float
    z: float
    shift_s: float
    sentence: str


def check_clock(raw: RawSession) -> ClockCheck:
    """Look for the rise after contacts at its place, and if it is not there, elsewhere.

    All lags up to 120 s are tried, in steps of 5 ms, by one cross-correlation of spikes with
    contacts; the rise at each lag is the rate in 25 ms less that around it.
    """
    spikes, onsets = raw.population(), _inside(raw.contact_onsets(), raw.coverage)
    edges = np.arange(round(_LAGS_S[0] / _BIN_S), round(_LAGS_S[1] / _BIN_S) + 1) * _BIN_S
    rate = _triggered(spikes, onsets, edges) / max(raw.n_units, 1)
    lag = (edges[:-1] + edges[1:]) / 2
    baseline = float(rate[lag < -0.02].mean()) if len(onsets) else float("nan")
    peak = int(np.argmax(rate)) if len(onsets) else 0

    def result(status: Status, z: float, shift: float, sentence: str) -> ClockCheck:
        return ClockCheck(
            status=status, n_contacts=len(onsets), lag_s=lag, rate_hz=rate, baseline_hz=baseline,
            peak_hz=float(rate[peak]) if len(onsets) else float("nan"), peak_s=float(lag[peak]),
            z=z, shift_s=shift, sentence=sentence,
        )  # fmt: skip

    if len(onsets) < _FEWEST_CONTACTS or len(spikes) < _FEWEST_SPIKES:
        few = f"{len(onsets)} contacts and {len(spikes)} spikes are too few to check the clock"
        return result("cannot tell", float("nan"), 0.0, few)
    lags, rise = _rise_by_lag(spikes, onsets)
    centre = np.median(rise)
    spread = 1.4826 * float(np.median(np.abs(rise - centre)))
    z = (rise - centre) / (spread or 1.0)
    here = int(np.argmin(np.abs(lags)))
    near = z[np.abs(lags) <= 0.010].max()
    best = int(np.argmax(z))
    # Whisking is rhythmic, so there may be more rises nearby; only a distant one speaks against
    # that at the contact.
    distant = abs(lags[best]) > _WHISK_S
    if near >= _CLEAR_Z and (not distant or near >= 0.7 * z[best]):
        text = (
            f"contact-triggered rate: {baseline:.1f} Hz per unit before, {rate[peak]:.1f} Hz "
            f"{1e3 * lag[peak]:+.0f} ms after contact (z = {near:.1f}): the clocks agree"
        )
        return result("ok", float(near), 0.0, text)
    if z[best] >= _CLEAR_Z + 2.0 and abs(lags[best]) > 0.025:
        text = (
            f"THE CLOCKS DISAGREE: the response to contacts is found {lags[best]:+.3f} s from "
            f"where it belongs (z = {z[best]:.1f} there, {z[here]:.1f} at its place); read spike "
            "times as stored, or mend them, before this session is used"
        )
        return result("shifted", float(z[here]), float(lags[best]), text)
    text = (
        f"no rise of the rate +5..+30 ms after contacts (z = {near:.1f}), nor at any lag up to "
        f"{_FARTHEST_S:g} s: units may not respond to touch, or the clocks disagree"
    )
    return result("no rise", float(near), 0.0, text)


def silences(raw: RawSession) -> np.ndarray:
    """Stretches inside the coverage in which no unit fires although dozens of spikes were due.

    Without a stated coverage: between the first and last spike.

    Returns:
        (span, 2) start and stop, s.
    """
    spikes = raw.population()
    if len(spikes) < _FEWEST_SPIKES:
        return np.zeros((0, 2))
    found = []
    spans = raw.coverage
    if spans is None:
        spans = np.array([[spikes[0], spikes[-1]]])
    spans = np.clip(spans, min(spikes[0], spans.min(initial=np.inf)), None)
    spans = np.where(np.isfinite(spans), spans, spikes[-1])
    for start, stop in spans:
        inside = spikes[(spikes >= start) & (spikes < stop)]
        ticks = np.concatenate([[start], inside, [stop]])
        length = np.diff(ticks)
        typical = len(spikes) / max(float((spans[:, 1] - spans[:, 0]).sum()), 1e-9)
        bad = (length >= _SILENT_S) & (length * typical >= _SILENT_EXPECTED)
        found += [[ticks[k], ticks[k + 1]] for k in np.flatnonzero(bad)]
    return np.array(found).reshape(-1, 2)


def misplaced_spikes(raw: RawSession, start: str, stop: str) -> tuple[bool, str]:
    """Whether spikes and trials can be of one clock at all: do they lie at the same times?

    Args:
        raw: the recording.
        start, stop: columns of the start and end of a trial.

    Returns:
        Whether no spike lies between the first start and the last stop; and a sentence about
        that, or about spikes an hour and more away from all trials, or ``""``.
    """
    columns = [raw.trials[name] for name in (start, stop) if name in raw.trials]
    times = np.concatenate([[], *(c.astype(float) for c in columns if c.dtype.kind in "fiu")])
    times, spikes = times[np.isfinite(times)], raw.population()
    if not len(spikes) or not len(times):
        return False, ""
    low, high = float(times.min()), float(times.max())
    inside = np.searchsorted(spikes, high, side="right") - np.searchsorted(spikes, low)
    if not inside:
        return True, (
            f"no spike lies within the trials (spikes from {spikes[0]:g} to {spikes[-1]:g} s, "
            f"trials from {low:g} to {high:g} s): times are not in seconds, or not on one clock"
        )
    far = spikes[(spikes < low - _FAR_S) | (spikes > high + _FAR_S)]
    if not len(far):
        return False, ""
    many = len(far) > 1
    return False, (
        f"{len(far)} spike{'s lie' if many else ' lies'} more than an hour away from all trials "
        f"({'the first ' if many else ''}at {far[0]:g} s): are all times in seconds?"
    )


# --- helpers ---------------------------------------------------------------------------------


def _inside(onsets: np.ndarray, coverage: np.ndarray | None) -> np.ndarray:
    if coverage is None:
        return onsets
    place = np.searchsorted(coverage[:, 0], onsets, side="right") - 1
    good = place >= 0
    good[good] = onsets[good] < coverage[place[good], 1]
    return onsets[good]


def _triggered(spikes: np.ndarray, onsets: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(bin,) spikes per second around the onsets."""
    if not len(onsets):
        return np.zeros(len(edges) - 1)
    upto = np.searchsorted(spikes, onsets[:, None] + edges).sum(axis=0)
    return np.diff(upto) / (len(onsets) * np.diff(edges))


def _rise_by_lag(spikes: np.ndarray, onsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rise that contacts would have if spikes were early by each lag.

    Returns:
        (lag,) in s, and (lag,) spikes in [lag + 5, lag + 30] ms less those expected from the
        150 ms around it.
    """
    from scipy.signal import fftconvolve

    whole = max(spikes[-1], onsets[-1]) - min(spikes[0], onsets[0]) + 2.0
    most = int(min(round(_FARTHEST_S / _BIN_S) + 30, np.ceil(whole / _BIN_S) - 1))
    pad = most * _BIN_S
    n = round(_PIECE_S / _BIN_S)
    cross = np.zeros(2 * most + 1)
    piece = np.floor(onsets / _PIECE_S)
    for start in np.unique(piece) * _PIECE_S:
        first, last = np.searchsorted(spikes, [start - pad, start + _PIECE_S + pad])
        if first == last:
            continue
        touched = _binned(onsets[piece * _PIECE_S == start] - start, n)
        fired = _binned(spikes[first:last] - (start - pad), n + 2 * most)
        cross += fftconvolve(fired, touched[::-1], mode="valid")
    response = np.zeros(61)
    response[30 + round(RESPONSE_S[0] / _BIN_S) : 30 + round(RESPONSE_S[1] / _BIN_S)] = 1.0
    around = np.where(np.abs(np.arange(-30, 31)) <= 15, 1.0, 0.0) - response
    around *= response.sum() / around.sum()
    # At the ends the neighbourhood is not whole, so they are left out.
    rise = fftconvolve(cross, (response - around)[::-1], mode="valid")
    return _BIN_S * np.arange(-most + 30, most - 30 + 1), rise


def _binned(times: np.ndarray, n: int) -> np.ndarray:
    """(bin,) how many of these times, from 0 on, lie in each of n bins."""
    place = np.clip((times / _BIN_S).astype(np.int64), 0, n - 1)
    return np.bincount(place, minlength=n).astype(np.float64)
