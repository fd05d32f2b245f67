"""Normalisation: one scale per channel, measured over the training part of a split alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import InputError, refuse, refuse_unknown

NormalisationKind = Literal["rms", "standard", "none"]
LoadsFrame = Literal["base", "world"]

_TINY = 1e-12  # of the mean: a spread below this is rounding, the channel is constant


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """What is taken from each channel, and what it is divided by: (value - mean) / scale.

    ``rms`` (the default) divides by the root mean square and takes nothing away: no load stays
    no load, and signs keep their meaning, so that mirroring may change them afterwards.
    ``standard`` takes away the mean and divides by the standard deviation: no load becomes some
    number other than zero, except at grid places without a whisker. ``none`` does nothing.

    Attributes:
        kind: see above.
        mean: one per channel, uN and uN*mm.
        scale: one per channel, uN and uN*mm; 1 where a channel is zero (or constant) throughout.
        frame: the frame of the loads that were measured.

    Raises:
        InputError: unknown words, not six finite numbers each, a scale that is not positive, or
            numbers that contradict the kind.
    """

    kind: NormalisationKind = "none"
    mean: tuple[float, ...] = (0.0,) * len(CHANNELS)
    scale: tuple[float, ...] = (1.0,) * len(CHANNELS)
    frame: LoadsFrame = "base"

    def __post_init__(self) -> None:
        _check_words(self.kind, self.frame)
        for name in ("mean", "scale"):
            values = tuple(float(v) for v in getattr(self, name))
            object.__setattr__(self, name, values)
            if len(values) != len(CHANNELS) or not np.isfinite(values).all():
                raise refuse(name, values, "not six finite numbers", "give one per channel")
        if min(self.scale) <= 0:
            raise refuse("scale", self.scale, "not positive", "give 1 for a channel of zeros")
        if self.kind != "standard" and any(self.mean):
            raise refuse("mean", self.mean, f"{self.kind} takes no mean away", "give zeros")
        if self.kind == "none" and self.scale != (1.0,) * len(CHANNELS):
            raise refuse("scale", self.scale, "none does not scale", "give ones")

    def apply(self, loads: np.ndarray) -> np.ndarray:
        """Normalise loads (..., channel) in uN and uN*mm; float32."""
        values = np.asarray(loads, dtype=np.float32)
        if self.kind == "standard":
            values = values - np.asarray(self.mean, dtype=np.float32)
        return values / np.asarray(self.scale, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """A JSON tree; :meth:`from_dict` gives back the same numbers to the last bit."""
        return {
            "kind": self.kind,
            "frame": self.frame,
            "mean": list(self.mean),
            "scale": list(self.scale),
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Normalisation:
        """Read what :meth:`to_dict` gave.

        Raises:
            InputError: fields are missing, unknown or not as :class:`Normalisation` wants them.
        """
        names = {"kind", "frame", "mean", "scale"}
        if not isinstance(tree, Mapping) or set(tree) != names:
            raise refuse(
                "normalisation", tree, f"does not have the fields {', '.join(sorted(names))}",
                "measure it again",
            )  # fmt: skip
        try:
            return cls(**tree)
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise refuse("normalisation", tree, "holds no numbers", "measure it again") from error


@dataclass(kw_only=True)
class NormalisationAccumulator:
    """Measures a normalisation over chunks of sweeps, in double precision and one pass.

    The same chunks in the same order give the same bytes; another order or other chunks differ by
    rounding alone (below 1e-12 of the scale).

    Attributes:
        kind: what to measure.
        frame: the frame of the loads.
    """

    kind: NormalisationKind = "rms"
    frame: LoadsFrame = "base"
    _count: int = 0
    _mean: np.ndarray = field(default_factory=lambda: np.zeros(len(CHANNELS)))
    _spread: np.ndarray = field(default_factory=lambda: np.zeros(len(CHANNELS)))

    def __post_init__(self) -> None:
        _check_words(self.kind, self.frame)

    def add(self, loads: np.ndarray) -> None:
        """Take in loads (..., channel), uN and uN*mm, at least one value per channel.

        Raises:
            InputError: not six channels, or a value that is not finite.
        """
        if loads.ndim < 1 or loads.shape[-1] != len(CHANNELS):
            raise refuse("loads", loads.shape, "not (..., 6)", "give the six channels last")
        if loads.size == 0:
            return
        # a copy, channels first and contiguous, so that numpy sums pairwise
        values = np.array(loads.reshape(-1, len(CHANNELS)).T, dtype=np.float64, order="C")
        mean = values.mean(axis=1)
        if not np.isfinite(mean).all():
            raise refuse(
                "loads", CHANNELS[int(np.argmin(np.isfinite(mean)))],
                "a value is not finite", "check the store",
            )  # fmt: skip
        values -= mean[:, None]
        np.square(values, out=values)
        self._take(values.shape[1], mean, values.sum(axis=1))

    def merge(self, other: NormalisationAccumulator) -> None:
        """Take in what another one has measured.

        Raises:
            InputError: it measures another kind or frame.
        """
        if (other.kind, other.frame) != (self.kind, self.frame):
            raise refuse(
                "other", (other.kind, other.frame), f"not {self.kind} in the {self.frame} frame",
                "merge equal ones",
            )  # fmt: skip
        if other._count:
            self._take(other._count, other._mean, other._spread)

    def result(self) -> Normalisation:
        """The normalisation so far.

        Raises:
            InputError: nothing was added, except for ``none``.
        """
        if self.kind == "none":
            return Normalisation(frame=self.frame)
        if not self._count:
            raise refuse("loads", 0, "nothing to measure", "add the training part")
        variance = self._spread / self._count
        if self.kind == "standard":
            mean, scale = self._mean, np.sqrt(variance)
            scale = np.where(scale > _TINY * np.abs(mean), scale, 1.0)
        else:
            mean = np.zeros(len(CHANNELS))
            scale = np.sqrt(variance + self._mean**2)
            scale = np.where(scale > 0, scale, 1.0)
        return Normalisation(
            kind=self.kind, frame=self.frame, mean=tuple(mean.tolist()),
            scale=tuple(scale.tolist()),
        )  # fmt: skip

    def _take(self, count: int, mean: np.ndarray, spread: np.ndarray) -> None:
        # Chan, Golub & LeVeque 1983: means and sums of squared deviations of two sets
        total = self._count + count
        apart = mean - self._mean
        self._spread = self._spread + spread + apart**2 * (self._count * count / total)
        self._mean = self._mean + apart * (count / total)
        self._count = total


def _check_words(kind: str, frame: str) -> None:
    if kind not in get_args(NormalisationKind):
        raise refuse_unknown("normalise", kind, get_args(NormalisationKind))
    if frame not in get_args(LoadsFrame):
        raise refuse_unknown("frame", frame, get_args(LoadsFrame))
