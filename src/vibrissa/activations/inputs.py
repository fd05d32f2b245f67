"""How loads become input of a network, at the rate at which it was trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import InputError, refuse
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.resampling import Recording

if TYPE_CHECKING:
    from vibrissa.data.normalisation import Normalisation
    from vibrissa.simulation.scene import Sampling


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How loads become input of a network.

    Attributes:
        input_shape: (step, channel, row, column) that the network takes.
        preprocessing: grid, steps, frame and unit.
        normalisation: the measured one of its training; None measures that of the stimuli, for
            networks that were never trained.
        recording: how stimuli at another rate come to that of the training.
        rate_hz: frames per second of the sweeps that it was trained on, before the preprocessing.
            Stimuli come to this rate or are refused. None where nothing is known of a training:
            then those are recorded anew whose number of frames does not fit.
        stored_frames: of a sweep that it was trained on, before the preprocessing; None where
            nothing is known.
        sampling: of simulated stimuli; None takes what fits the recording.
    """

    input_shape: tuple[int, ...]
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    normalisation: Normalisation | None = None
    recording: Recording = field(default_factory=Recording)
    rate_hz: float | None = None
    stored_frames: int | None = None
    sampling: Sampling | None = None

    @property
    def frames(self) -> int:
        """How many frames of loads make an input."""
        return self.input_shape[0] * self.input_shape[1] // len(CHANNELS)

    @classmethod
    def of_run(cls, run: Any, recording: Recording | None = None) -> InputConfig:
        """That of a loaded run: stimuli come to the rate of its training as its sweeps did.

        Args:
            run: what :func:`vibrissa.train.load_run` gave.
            recording: another way to that rate.
        """
        own = run.recording
        if own is None or own.method == "full":  # nothing was recorded anew
            own = Recording(rate_hz=run.rate_hz)
        return cls(
            input_shape=tuple(run.model.input_shape),
            preprocessing=run.preprocessing,
            normalisation=run.normalisation,
            recording=recording or own,
            rate_hz=run.rate_hz,
            stored_frames=run.frames,
            sampling=run.sampling,
        )


def at_rate(
    loads: np.ndarray, rate_hz: float, sampling: str, config: InputConfig, wanted_hz: float
) -> tuple[np.ndarray, float]:
    """Loads (..., time, whisker, channel) at the rate of the network's training, and that rate.

    Raises:
        InputError: they are slower, or the recording leads to another rate.
    """
    if same_rate(rate_hz, wanted_hz):
        return loads, rate_hz
    trained = f"the network was trained at {wanted_hz:g} Hz"
    if rate_hz < wanted_hz:
        raise refuse(
            "stimuli", f"{rate_hz:g} Hz", trained, "simulate them at that rate or a higher one"
        )
    recorded, now_hz = config.recording.record(loads, rate_hz, sampling=sampling)
    if not same_rate(now_hz, wanted_hz):
        raise refuse(
            "recording", f"{config.recording.method} from {rate_hz:g} to {now_hz:g} Hz", trained,
            f"record with method anti-aliased and rate_hz {wanted_hz:g}",
        )  # fmt: skip
    return recorded, now_hz


def check_frames(frames: int, rate_hz: float, config: InputConfig) -> None:
    """Refuse stimuli of another length or rate than the network takes.

    Raises:
        InputError: they do not fit.
    """
    try:
        shape = config.preprocessing.model_shape(frames)
    except InputError:
        shape = None
    if shape != tuple(config.input_shape):
        raise refuse(
            "stimuli", f"{frames} frames at {rate_hz:g} Hz",
            f"the network takes input {tuple(config.input_shape)}, which are {config.frames} "
            "frames as it was trained",
            "give stimuli of that length"
            + ("" if config.rate_hz else ", or their rate with --recording.rate-hz"),
        )  # fmt: skip
    if config.rate_hz is None or config.stored_frames is None:
        return
    seen = _rate_seen(frames, rate_hz, config)
    trained = _rate_seen(config.stored_frames, config.rate_hz, config)
    if not same_rate(seen, trained):
        raise refuse(
            "stimuli", f"{frames} frames at {rate_hz:g} Hz",
            f"the network would see them at {seen:g} Hz, and was trained at {trained:g} Hz",
            f"give stimuli of {config.stored_frames} frames at {config.rate_hz:g} Hz",
        )  # fmt: skip


def step_times_s(frames: int, rate_hz: float, config: InputConfig) -> np.ndarray:
    """End of each step, s."""
    rate_hz = _rate_seen(frames, rate_hz, config)
    sub = config.input_shape[1] // len(CHANNELS)
    return (np.arange(config.input_shape[0]) + 1.0) * sub / rate_hz


def same_rate(one: float, other: float) -> bool:
    """Whether two rates are equal but for rounding."""
    return math.isclose(one, other, rel_tol=1e-6)


def _rate_seen(frames: int, rate_hz: float, config: InputConfig) -> float:
    """Frames per second after the preprocessing, which may stride."""
    kept = config.preprocessing.stride_to
    return rate_hz if kept is None or kept == frames else rate_hz / (frames // kept)
