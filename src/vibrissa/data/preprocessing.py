"""From loads by whisker to the input of models: grid, sub-frames, units, normalisation.

The house layout is (..., time, whisker, channel). The published one pads the 30 whiskers to 35
places of the 5 x 7 grid, (..., 110, 35, 6), and feeds models with (22, 30, 5, 7): 22 steps by 5
sub-frames x 6 channels, the sub-frame counting slower (s * 6 + c), by row by column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final, Literal, get_args

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.units import UN_PER_MN
from vibrissa.data.normalisation import (
    LoadsFrame,
    Normalisation,
    NormalisationAccumulator,
    NormalisationKind,
)
from vibrissa.data.resampling import (
    PUBLISHED_FRAMES,
    Recording,
    RecordingMethod,
    published_stride,
    resampling_matrix,
)
from vibrissa.morphology.grid import (
    EMPTY_PLACES,
    GRID_SHAPE,
    gather_from_grid,
    grid_place,
    scatter_to_grid,
)

__all__ = [
    "PUBLISHED_LIMIT",
    "PUBLISHED_STEPS",
    "Preprocessing",
    "Recording",
    "RecordingMethod",
    "flat_to_model_input",
    "from_grid",
    "from_model_input",
    "model_input_to_flat",
    "pad_published",
    "published_clean",
    "published_layout",
    "published_stride",
    "resampling_matrix",
    "to_grid",
    "to_model_input",
    "unpad_published",
]

PUBLISHED_STEPS: Final = 22
PUBLISHED_LIMIT: Final = 1000.0
"""mN and mN*mm: the published clean-up takes what is larger for an accident."""
PLACES: Final = math.prod(GRID_SHAPE)
_FILLED: Final = tuple(p for p in range(PLACES) if p not in EMPTY_PLACES)
_BLOCK: Final = 8  # sweeps at a time: what they read and write stays in the processor's cache


# --- grid and steps --------------------------------------------------------------------------


def to_grid(values: np.ndarray, whiskers: Sequence[str]) -> np.ndarray:
    """(..., time, whisker, channel) -> (..., time, channel, row, column), zeros where no whisker.

    Args:
        values: any dtype.
        whiskers: names along the whisker axis, all of one side (either), in any order.

    Raises:
        InputError: names and axis differ in length, a name is off the grid or a place comes twice.
    """
    return np.moveaxis(scatter_to_grid(values, whiskers, axis=-2), -1, -3)


def from_grid(values: np.ndarray, whiskers: Sequence[str]) -> np.ndarray:
    """(..., time, channel, row, column) -> (..., time, whisker, channel): :func:`to_grid` undone.

    Raises:
        InputError: the last two axes are not 5 x 7, a name is off the grid or a place comes twice.
    """
    return np.moveaxis(gather_from_grid(values, whiskers, axis=-2), -2, -1)


def to_model_input(
    values: np.ndarray, whiskers: Sequence[str], *, steps: int | None = PUBLISHED_STEPS
) -> np.ndarray:
    """(..., time, whisker, channel) -> (..., step, sub-frame x channel, row, column).

    Args:
        values: any dtype.
        whiskers: names along the whisker axis, all of one side.
        steps: into how many steps the frames are gathered; None makes every frame a step.

    Raises:
        InputError: as for :func:`to_grid`; frames that cannot be shared out among the steps.
    """
    grid = to_grid(values, whiskers)
    *leading, frames, channels, rows, columns = grid.shape
    sub = _sub_frames(frames, steps)
    return grid.reshape(*leading, frames // sub, sub * channels, rows, columns)


def from_model_input(
    values: np.ndarray, whiskers: Sequence[str], *, channels: int = len(CHANNELS)
) -> np.ndarray:
    """(..., step, sub-frame x channel, row, column) -> (..., time, whisker, channel).

    The exact inverse of :func:`to_model_input`; errors as for :func:`from_grid`.
    """
    return from_grid(_unstepped(values, channels), whiskers)


def pad_published(values: np.ndarray) -> np.ndarray:
    """(..., 30, channel) -> (..., 35, channel) with zeros at places 5, 6, 12, 13 and 34.

    Whiskers come in the published order: A0-A4, B0-B4, C0-C6, D0-D6, E0-E5.

    Raises:
        InputError: there are not 30.
    """
    if values.ndim < 2 or values.shape[-2] != len(_FILLED):
        raise refuse(
            "whiskers", values.shape, f"not (..., {len(_FILLED)}, channel)",
            "give the 30 of one side in order, or go by name with to_grid",
        )  # fmt: skip
    padded = np.zeros((*values.shape[:-2], PLACES, values.shape[-1]), dtype=values.dtype)
    padded[..., _FILLED, :] = values
    return padded


def unpad_published(values: np.ndarray) -> np.ndarray:
    """(..., 35, channel) -> (..., 30, channel): :func:`pad_published` undone.

    Raises:
        InputError: there are not 35 places.
    """
    if values.ndim < 2 or values.shape[-2] != PLACES:
        raise refuse("places", values.shape, "not (..., 35, channel)", "give the padded array")
    return values[..., _FILLED, :]


def flat_to_model_input(values: np.ndarray, *, steps: int | None = PUBLISHED_STEPS) -> np.ndarray:
    """(..., time, 35, channel) -> (..., step, sub-frame x channel, 5, 7), as published.

    In the words of einops, with which it is published: "(22 5) (5 7) 6 -> 22 (5 6) 5 7".

    Raises:
        InputError: there are not 35 places, or frames cannot be shared out among the steps.
    """
    if values.ndim < 3 or values.shape[-2] != PLACES:
        raise refuse("places", values.shape, "not (..., time, 35, channel)", "pad it first")
    *leading, frames, _, channels = values.shape
    sub = _sub_frames(frames, steps)
    turned = np.swapaxes(values, -1, -2)
    return turned.reshape(*leading, frames // sub, sub * channels, *GRID_SHAPE)


def model_input_to_flat(values: np.ndarray, *, channels: int = len(CHANNELS)) -> np.ndarray:
    """(..., step, sub-frame x channel, 5, 7) -> (..., time, 35, channel).

    The exact inverse of :func:`flat_to_model_input`.

    Raises:
        InputError: the last axes do not fit.
    """
    frames = _unstepped(values, channels)
    return np.swapaxes(frames.reshape(*frames.shape[:-2], PLACES), -1, -2)


def _unstepped(values: np.ndarray, channels: int) -> np.ndarray:
    if values.ndim < 4 or values.shape[-2:] != GRID_SHAPE or values.shape[-3] % channels:
        raise refuse(
            "values", values.shape, f"not (..., step, n x {channels}, 5, 7)", "give model input"
        )
    *leading, steps, mixed, rows, columns = values.shape
    return values.reshape(*leading, steps * (mixed // channels), channels, rows, columns)


def _sub_frames(frames: int, steps: int | None) -> int:
    if steps is None:
        return 1
    if steps < 1 or frames < steps or frames % steps:
        raise refuse(
            "steps", steps, f"{frames} frames cannot be shared out among so many steps equally",
            "give a divisor of the number of frames, None to make every frame a step, "
            "or record so that it fits (110 frames)",
        )  # fmt: skip
    return frames // steps


# --- the published clean-up ------------------------------------------------------------------


def published_clean(
    values: np.ndarray, *, limit: float = PUBLISHED_LIMIT, axis: int = -3
) -> np.ndarray:
    """The published clean-up: NaN -> 0, then whatever is beyond the limit -> the value before it.

    In this order: NaN becomes 0; an absolute value above the limit (infinity too) becomes NaN;
    NaN takes the last value before it along time; NaN with nothing before it becomes 0. So it
    never mends a NaN of the simulator by the value before, and it ran after the stride.

    Args:
        values: mN and mN*mm where the limit is to mean what it meant.
        limit: see above.
        axis: the time axis, by default that of (..., time, whisker, channel).

    Returns:
        A cleaned copy.
    """
    clean = np.where(np.isnan(values), 0, values).astype(values.dtype)
    clean = np.moveaxis(clean, axis, 0)
    wild = np.abs(clean) > limit
    if not wild.any():
        return np.moveaxis(clean, 0, axis)
    time = np.arange(len(clean)).reshape(-1, *(1,) * (clean.ndim - 1))
    last = np.maximum.accumulate(np.where(wild, -1, time), axis=0)
    filled = np.take_along_axis(clean, np.maximum(last, 0), axis=0)
    return np.moveaxis(np.where(last < 0, 0, filled).astype(values.dtype), 0, axis)


def published_layout(rows: np.ndarray, *, clean: bool = True) -> np.ndarray:
    """All that was done to the published simulator's rows before they were stored, in its order.

    Stride to 110 from row 1 (:func:`published_stride`), clean-up if wanted (it was an option),
    padding.

    Args:
        rows: (..., T, 30, 6) in mN and mN*mm, row 0 being the invalid one.
        clean: whether to clean up.

    Returns:
        (..., 110, 35, 6).

    Raises:
        InputError: fewer than 110 rows, or not 30 whiskers.
    """
    taken = published_stride(rows)
    return pad_published(published_clean(taken) if clean else taken)


# --- the whole -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How loads become model input.

    Attributes:
        frame: the frame in which loads are to be taken from the store.
        unit: ``uN`` (with uN*mm) or ``mN`` (with mN*mm); without effect when normalised by a
            measured scale, which has the unit in it.
        normalise: the kind of normalisation; any but ``none`` is measured on the training part.
        steps: how many steps the frames are gathered into; None makes every frame a step.
        stride_to: where loads have another number of frames than this, take so many by the
            published stride from frame 0 on; None takes them as they are.

    Raises:
        InputError: unknown words, or numbers below 1.
    """

    frame: LoadsFrame = "base"
    unit: Literal["uN", "mN"] = "uN"
    normalise: NormalisationKind = "rms"
    steps: int | None = PUBLISHED_STEPS
    stride_to: int | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("frame", get_args(LoadsFrame)),
            ("unit", ("uN", "mN")),
            ("normalise", get_args(NormalisationKind)),
        ):
            if getattr(self, name) not in known:
                raise refuse_unknown(name, getattr(self, name), known)
        for name in ("steps", "stride_to"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise refuse(name, value, "must be at least 1", "give 1 or more, or None")

    @classmethod
    def published(cls) -> Preprocessing:
        """As published: world frame, mN, not normalised, 22 steps of 5 of 110 frames.

        A store recorded in full at 1000 Hz is taken by the published stride, frames 0, 9, ...,
        981 (see :func:`published_stride`), one with 110 frames as it is. The published loads are
        those of a point in time: simulate with ``sampling="point"``.
        """
        return cls(frame="world", unit="mN", normalise="none", stride_to=PUBLISHED_FRAMES)

    def accumulator(self) -> NormalisationAccumulator:
        """What measures the normalisation that :meth:`apply` wants."""
        return NormalisationAccumulator(kind=self.normalise, frame=self.frame)

    def model_shape(self, frames: int) -> tuple[int, int, int, int]:
        """(step, sub-frame x channel, row, column) of a sweep with so many frames.

        Raises:
            InputError: the frames cannot be shared out among the steps.
        """
        frames = frames if self.stride_to is None else self.stride_to
        sub = _sub_frames(frames, self.steps)
        return (frames // sub, sub * len(CHANNELS), *GRID_SHAPE)

    def apply(
        self,
        loads: np.ndarray,
        whiskers: Sequence[str],
        normalisation: Normalisation | None = None,
        *,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Make model input of sweeps.

        Args:
            loads: (sweep, time, whisker, channel) in the ``frame`` wanted, uN and uN*mm.
            whiskers: names along the whisker axis, all of one side.
            normalisation: the measured one, in the same frame; not looked at where ``normalise``
                is ``none``.
            out: where to write, float32 and contiguous, of the shape of the result.

        Returns:
            (sweep, step, sub-frame x channel, row, column) float32; ``out`` if given. Places
            without a whisker are zero.

        Raises:
            InputError: shapes, names or frames that do not fit, or no fitting normalisation.
        """
        if loads.ndim != 4 or loads.shape[3] != len(CHANNELS):
            raise refuse("loads", loads.shape, "not (sweep, time, whisker, 6)", "add axes")
        if self.stride_to is not None:
            loads = published_stride(loads, frames=self.stride_to, first=0)
        sweeps, frames, count, channels = loads.shape
        if count != len(whiskers):
            raise refuse("whiskers", len(whiskers), f"the loads have {count}", "name each once")
        shape = (sweeps, *self.model_shape(frames))
        if out is None:
            out = np.empty(shape, dtype=np.float32)
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise refuse(
                "out", (out.shape, out.dtype.name), f"not contiguous float32 of shape {shape}",
                "make it so",
            )  # fmt: skip
        source, empty = _places(tuple(whiskers))
        mean, scale = self._vectors(normalisation)
        for start in range(0, sweeps, _BLOCK):
            block = np.ascontiguousarray(loads[start : start + _BLOCK], dtype=np.float32)
            # a frame is a row: (whisker, channel) flat -> (channel, place) flat
            rows = out[start : start + _BLOCK].reshape(-1, channels * PLACES)
            np.take(block.reshape(-1, count * channels), source, axis=1, out=rows, mode="clip")
            if mean is not None:
                rows -= mean
            if scale is not None:
                rows /= scale
            by_place = rows.reshape(-1, channels, PLACES)
            for run in empty:
                by_place[..., run] = 0.0
        return out

    def _vectors(
        self, normalisation: Normalisation | None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """What to take from, and divide by, each (channel, place) of a frame; None for nothing."""
        if self.normalise == "none":
            scale = np.float32(UN_PER_MN) if self.unit == "mN" else None
            return None, None if scale is None else np.full(len(CHANNELS) * PLACES, scale)
        if normalisation is None:
            raise refuse(
                "normalisation", None, f"{self.normalise!r} needs the scales of the training part",
                "measure them on a split, or choose normalise='none'",
            )  # fmt: skip
        if (normalisation.kind, normalisation.frame) != (self.normalise, self.frame):
            raise refuse(
                "normalisation", f"{normalisation.kind} in the {normalisation.frame} frame",
                f"{self.normalise} in the {self.frame} frame is wanted", "measure it again",
            )  # fmt: skip
        scale = np.repeat(np.asarray(normalisation.scale, dtype=np.float32), PLACES)
        if normalisation.kind != "standard":
            return None, scale
        return np.repeat(np.asarray(normalisation.mean, dtype=np.float32), PLACES), scale


@lru_cache(maxsize=32)
def _places(whiskers: tuple[str, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Where each (channel, place) of a frame comes from, and the runs of places to be emptied."""
    scatter_to_grid(np.zeros(len(whiskers)), whiskers)  # refuses what does not fit
    whisker_at = np.full(PLACES, -1)
    for number, name in enumerate(whiskers):
        row, column = grid_place(name)
        whisker_at[row * GRID_SHAPE[1] + column] = number
    channels = len(CHANNELS)
    source = np.maximum(whisker_at, 0) * channels + np.arange(channels)[:, None]
    runs = []
    for is_empty, places in groupby(range(PLACES), key=lambda place: whisker_at[place] < 0):
        run = list(places)
        if is_empty:
            runs.append(slice(run[0], run[-1] + 1))
    source = source.reshape(-1)
    source.flags.writeable = False
    return source, tuple(runs)
