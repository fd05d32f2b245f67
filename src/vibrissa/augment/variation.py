"""Variation between animals, whiskers and trials: dropout, gain, noise, time shift."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from vibrissa.augment.base import (
    FILLED_PLACES,
    N_PLACES,
    Augmentation,
    augmentations,
    check_not_negative,
    check_probability,
    on_device_of,
    samples,
    uniform,
)
from vibrissa.core.errors import refuse


@dataclass(frozen=True, kw_only=True)
class Scaling(Augmentation):
    """A factor for each sample or each of its places."""

    @abstractmethod
    def factors(self, count: int, places: int, generator: torch.Generator) -> Tensor:
        """(count, places) or (count, 1), on the device of the generator."""

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        batch, *_, rows, columns = x.shape
        return scale(x, self.factors(batch, rows * columns, generator))


def scale(x: Tensor, factors: Tensor) -> Tensor:
    """Multiply ``x`` (batch, step, channel, row, column), in place, by (batch, place or 1)."""
    factor = factors.to(x.device, x.dtype, non_blocking=True)
    x.view(len(x), -1, x.shape[3] * x.shape[4]).mul_(factor[:, None])
    return x


@augmentations.register("whisker_dropout")
@dataclass(frozen=True, kw_only=True)
class WhiskerDropout(Scaling):
    """Whole whiskers feel nothing, for the whole sweep.

    Exactly what an array without them would feel, since whiskers do not touch one another.

    Attributes:
        probability: of each whisker; drawn for each sample and place.
    """

    probability: float = 0.1

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def factors(self, count: int, places: int, generator: torch.Generator) -> Tensor:
        return (uniform(generator, count, places) >= self.probability).float()


@augmentations.register("gain")
@dataclass(frozen=True, kw_only=True)
class Gain(Scaling):
    """Loads times exp(n), n normal with this standard deviation.

    Whiskers of another Young's modulus: where motion is imposed and inertia is small, all loads of
    a whisker, Coulomb friction included, are proportional to it.

    Attributes:
        log_sd: standard deviation of the logarithm of the gain; 0.2 is about 20 %.
        each: one draw per ``sweep``, or one per ``whisker``.
    """

    log_sd: float = 0.2
    each: Literal["sweep", "whisker"] = "sweep"

    def __post_init__(self) -> None:
        check_not_negative("log_sd", self.log_sd)
        if self.each not in ("sweep", "whisker"):
            raise refuse("each", self.each, "unknown", "choose sweep or whisker")

    def factors(self, count: int, places: int, generator: torch.Generator) -> Tensor:
        shape = (count, 1 if self.each == "sweep" else places)
        normal = torch.randn(shape, generator=generator, device=generator.device)
        return (self.log_sd * normal).exp()


Where = Literal["touched", "mouse", "all"]


@augmentations.register("noise")
@dataclass(frozen=True, kw_only=True)
class Noise(Augmentation):
    """Independent normal noise of each sample of each channel.

    Attributes:
        sd: standard deviation, in the units of the input: with rms-normalised input, in multiples
            of the root mean square of each channel over the training part.
        where: ``mouse``: the 30 places with a whisker in the (unmirrored) mouse array, so that the
            empty ones stay zero: use it before mirrors; ``touched``: the whiskers of a sample with
            any load, at whatever place; ``all``: all places.
    """

    sd: float = 0.05
    where: Where = "mouse"

    def __post_init__(self) -> None:
        check_not_negative("sd", self.sd)
        if self.where not in get_args(Where):
            raise refuse("where", self.where, "unknown", "choose mouse, touched or all")

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.sd == 0.0:
            return x
        source = on_device_of(x, generator)
        noise = torch.empty_like(x).normal_(0.0, self.sd, generator=source)
        places = x.shape[3] * x.shape[4]
        flat, noise = x.view(len(x), -1, places), noise.view(len(x), -1, places)
        if self.where == "touched":
            flat.addcmul_(noise, (flat != 0).any(dim=1, keepdim=True).to(x.dtype))
        elif self.where == "mouse" and places == N_PLACES:
            filled = torch.zeros(N_PLACES, dtype=x.dtype)
            filled[list(FILLED_PLACES)] = 1.0
            flat.addcmul_(noise, filled.to(x.device, non_blocking=True))
        else:
            flat.add_(noise)
        return x


@augmentations.register("time_shift")
@dataclass(frozen=True, kw_only=True)
class TimeShift(Augmentation):
    """The sweep begins earlier or later; what comes in from outside is no load.

    Later is exact where nothing is touched at the start (clean starts), earlier where nothing is
    touched any more at the end.

    Attributes:
        most: samples (of the 110); each sample of the batch is shifted by a whole number of them,
            uniform from -most to most.
    """

    most: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 0:
            raise refuse("most", self.most, "not a whole number of samples", "give 0 or more")

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        shift = torch.randint(
            -self.most, self.most + 1, (len(x),), generator=generator, device=generator.device
        ).to(x.device, non_blocking=True)
        return shifted(x, shift)


def shifted(x: Tensor, shift: Tensor) -> Tensor:
    """``x`` (batch, step, n x 6, row, column) later by ``shift`` (batch,) samples, zeros coming in.

    Returns:
        a new tensor.
    """
    frames = samples(x).flatten(2)
    batch, time, _ = frames.shape
    source = torch.arange(time, device=x.device) - shift[:, None]
    inside = (source >= 0) & (source < time)
    rows = source.clamp(0, time - 1) + time * torch.arange(batch, device=x.device)[:, None]
    moved = frames.view(batch * time, -1).index_select(0, rows.view(-1))
    return moved.masked_fill_(~inside.view(-1, 1), 0.0).view(x.shape)
