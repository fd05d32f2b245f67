"""How a sweep is recorded: from the rate of the simulation to the rate of the data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.simulation.scene import Sampling

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RecordingMethod = Literal["anti-aliased", "average", "stride", "full"]
PUBLISHED_FRAMES: Final = 110
KERNEL_HALF_WIDTH: Final = 10
"""Output frames on either side of the centre that the anti-aliasing kernel reaches."""
KERNEL_BETA: Final = 6.2
"""Shape of its Kaiser window; with the width above it sets pass band and attenuation."""
_NEAR: Final = 1e-6  # of a frame: rounding of rates must not cost or add a frame


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Which frames of a simulation are kept.

    Attributes:
        rate_hz: frames per second wanted; ``full`` has no use for it.
        method: how a frame comes from those of the simulation.
            ``anti-aliased`` weighs the frames around the new one by a windowed sinc. Constants
            pass unchanged; up to 0.8 of the new Nyquist frequency the gain is within 0.2 % of one;
            from 1.2 of it on, tones are down by more than 60 dB (at 110 Hz from 1000 Hz: up to
            44 Hz, from 66 Hz). Within the first and last nine frames the kernel is cut and scaled
            to sum one, so the attenuation falls off there, to 11 dB in the outermost. A sinc has
            small negative lobes: at a sudden touch the loads ring by up to a tenth of the jump,
            also just before it.
            ``average`` takes the mean over the new frame, border frames by their share. It never
            rings, but damps the pass band (64 % at the Nyquist frequency) and aliases.
            ``stride`` takes every n-th frame as published, without a filter.
            ``full`` keeps all frames.
        first_frame: the first frame that ``stride`` takes.

    Raises:
        InputError: an unknown method, a rate that is not positive, a negative first frame.
    """

    rate_hz: float = 110.0
    method: RecordingMethod = "anti-aliased"
    first_frame: int = 0

    def __post_init__(self) -> None:
        if self.method not in get_args(RecordingMethod):
            raise refuse_unknown("method", self.method, get_args(RecordingMethod))
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise refuse("rate_hz", self.rate_hz, "must be positive", "give frames per second")
        if self.first_frame < 0:
            raise refuse("first_frame", self.first_frame, "negative", "count from 0")

    @classmethod
    def published(cls) -> Recording:
        """Every ninth of 1000 frames from the first on, 110 in all (:func:`published_stride`).

        To be as published the simulation must sample at points (``sampling="point"``).
        """
        return cls(method="stride")

    def frames_after(self, frames: int, rate_hz: float) -> int:
        """How many frames remain of so many at a rate.

        Raises:
            InputError: none remains, or the wanted rate is above the given one.
        """
        if self.method == "full":
            return frames
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise refuse("rate_hz", rate_hz, "must be positive", "give frames per second")
        if self.rate_hz > rate_hz * (1 + 1e-9):
            raise refuse(
                "rate_hz", self.rate_hz, f"above the {rate_hz:g} Hz of the simulation",
                "record at its rate or less, or simulate at a higher rate",
            )  # fmt: skip
        exact = frames * self.rate_hz / rate_hz
        # 999 and 1000 published frames both become 110, hence rounding for the stride
        kept = round(exact) if self.method == "stride" else math.floor(exact + _NEAR)
        if kept < 1:
            raise refuse(
                "frames", frames, f"less than one frame at {self.rate_hz:g} Hz",
                "record at a higher rate or simulate longer",
            )  # fmt: skip
        return kept

    def rate_after(self, frames: int, rate_hz: float) -> float:
        """Frames per second of what :meth:`record` returns: for ``stride`` a whole fraction."""
        if self.method == "full":
            return rate_hz
        kept = self.frames_after(frames, rate_hz)
        return rate_hz / (frames // kept) if self.method == "stride" else self.rate_hz

    def record(
        self, values: np.ndarray, rate_hz: float, *, sampling: str = "average"
    ) -> tuple[np.ndarray, float]:
        """Bring loads to the rate of the recording.

        Every sweep is summed by itself, in double precision and a fixed order, so that its bytes
        do not depend on the sweeps beside it. After ``anti-aliased`` and ``average`` a value
        stands for the middle of its frame, whatever it stood for before.

        Args:
            values: (..., time, whisker, channel).
            rate_hz: their frames per second.
            sampling: ``average``, values stand for the middle of their frame, or ``point``, for
                its end.

        Returns:
            (..., frame, whisker, channel) float32, floor(time * new rate / old rate) frames, and
            the new rate.

        Raises:
            InputError: fewer than three axes, an unknown sampling, a rate above the given one or
                nothing left.
        """
        if values.ndim < 3:
            raise refuse("values", values.shape, "not (..., time, whisker, channel)", "add axes")
        if sampling not in get_args(Sampling):
            raise refuse_unknown("sampling", sampling, get_args(Sampling))
        *leading, frames, whiskers, channels = values.shape
        kept = self.frames_after(frames, rate_hz)
        rate = self.rate_after(frames, rate_hz)
        if self.method == "stride":
            taken = _stride(values, kept, frames // kept, self.first_frame, axis=-3)
            return np.ascontiguousarray(taken, dtype=np.float32), rate
        if self.method == "full" or self.rate_hz == rate_hz:
            return values.astype(np.float32), rate
        operator = _operator(frames, rate_hz, self.rate_hz, sampling, self.method)
        columns = whiskers * channels
        recorded = np.empty((math.prod(leading), kept, columns), dtype=np.float32)
        sweeps = values.reshape(len(recorded), frames, columns)
        for target, sweep in zip(recorded, sweeps, strict=True):
            target[...] = operator @ sweep.astype(np.float64)
        return recorded.reshape(*leading, kept, whiskers, channels), rate

    def record_contact(self, contact: np.ndarray, rate_hz: float) -> np.ndarray:
        """Whether there was any contact in the frames of the simulation that a new one overlaps.

        Args:
            contact: (..., time, whisker) bool.
            rate_hz: its frames per second.

        Returns:
            (..., frame, whisker) bool, as many frames as :meth:`record` gives. With ``stride``
            a frame stands for those from itself up to the next one taken.

        Raises:
            InputError: as for :meth:`record`.
        """
        if contact.ndim < 2:
            raise refuse("contact", contact.shape, "not (..., time, whisker)", "add axes")
        frames = contact.shape[-2]
        kept = self.frames_after(frames, rate_hz)
        if self.method == "full":
            return contact.astype(bool)
        k = np.arange(kept)
        if self.method == "stride":
            step = frames // kept
            _check_stride(frames, kept, step, self.first_frame)
            start = self.first_frame + k * step
            stop = np.minimum(start + step, frames)
        else:
            ratio = rate_hz / self.rate_hz
            start = np.floor(k * ratio + _NEAR).astype(int)
            stop = np.minimum(np.ceil((k + 1) * ratio - _NEAR).astype(int), frames)
        touched = np.zeros((*contact.shape[:-2], frames + 1, contact.shape[-1]), dtype=np.int32)
        np.cumsum(contact.astype(bool), axis=-2, out=touched[..., 1:, :])
        return touched[..., stop, :] > touched[..., start, :]


def resampling_matrix(
    frames: int,
    from_hz: float,
    to_hz: float,
    *,
    method: Literal["anti-aliased", "average"] = "anti-aliased",
    sampling: Sampling = "average",
) -> np.ndarray:
    """The weights by which :class:`Recording` makes frames, for a look at them.

    Frame k at rate r covers the time from k / r to (k + 1) / r. ``anti-aliased``: sinc(u)
    times a Kaiser window (``KERNEL_BETA``) over ``KERNEL_HALF_WIDTH`` output frames on either
    side, u being the time from the centre of the output frame in output frames, so that the gain
    is one half at the new Nyquist frequency. ``average``: the share of the output frame that an
    input frame covers. Each row is scaled to sum one.

    Returns:
        (output frame, input frame) float64.

    Raises:
        InputError: ``to_hz`` is above ``from_hz``, or less than one frame remains.
    """
    Recording(rate_hz=to_hz, method=method).frames_after(frames, from_hz)
    return _operator(frames, from_hz, to_hz, sampling, method).toarray()


def published_stride(
    rows: np.ndarray, *, frames: int = PUBLISHED_FRAMES, first: int = 1, axis: int = -3
) -> np.ndarray:
    """Every n-th row as published: n = T // 110 from row 1 on, the first 110 of these.

    The published simulator writes row t before step t + 1. So row 0 is invalid, row k holds the
    loads at the end of step k, which is our point-sampled frame k - 1, and the published rows
    1, 10, ..., 982 (of 1000 or 999) are our frames 0, 9, ..., 981: give ``first=0`` for those.
    Together they last 0.98 s at 111.1 Hz. An array of just 110 rows is returned as it is,
    invalid row 0 included; so the published set does with its simulations at 110 Hz.

    Args:
        rows: any array with a time axis.
        frames: how many to keep.
        first: the first row to take.
        axis: the time axis, by default that of (..., time, whisker, channel).

    Returns:
        A view of ``rows``.

    Raises:
        InputError: there are fewer rows than that.
    """
    total = rows.shape[axis]
    if total == frames:
        return rows
    return _stride(rows, frames, total // frames, first, axis)


def _stride(values: np.ndarray, kept: int, step: int, first: int, axis: int) -> np.ndarray:
    _check_stride(values.shape[axis], kept, step, first)
    at = axis % values.ndim
    taken = slice(first, first + (kept - 1) * step + 1, step)
    return values[(slice(None),) * at + (taken,)]


def _check_stride(total: int, kept: int, step: int, first: int) -> None:
    if step < 1 or first + (kept - 1) * step >= total:
        raise refuse(
            "frames", total, f"too few to take {kept} from frame {first} on",
            "simulate longer or start at an earlier frame",
        )  # fmt: skip


@lru_cache(maxsize=32)
def _operator(
    frames: int, from_hz: float, to_hz: float, sampling: str, method: RecordingMethod
) -> csr_array:
    """The matrix in rows of its non-zeros: a product sums each row in order, on one thread."""
    from scipy.sparse import csr_array

    ratio = from_hz / to_hz  # input frames in an output frame
    kept = math.floor(frames / ratio + _NEAR)
    k = np.arange(kept)[:, None]
    if method == "average":
        j = np.floor(k * ratio).astype(int) + np.arange(math.ceil(ratio) + 1)
        weights = np.minimum(j + 1, (k + 1) * ratio) - np.maximum(j, k * ratio)
        weights[weights < _NEAR] = 0.0
    else:
        reach = KERNEL_HALF_WIDTH * ratio
        centre = (k + 0.5) * ratio - (0.5 if sampling == "average" else 1.0)  # in input frames
        j = np.ceil(centre - reach).astype(int) + np.arange(math.ceil(2 * reach) + 1)
        u = (j - centre) / ratio
        inside = np.sqrt(np.maximum(0.0, 1.0 - (u / KERNEL_HALF_WIDTH) ** 2))
        weights = np.sinc(u) * np.i0(KERNEL_BETA * inside) * (np.abs(u) <= KERNEL_HALF_WIDTH)
    weights[(j < 0) | (j >= frames)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    rows, taps = np.nonzero(weights)
    return csr_array((weights[rows, taps], (rows, j[rows, taps])), shape=(kept, frames))
