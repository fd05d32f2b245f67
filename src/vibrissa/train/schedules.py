"""Schedules by name: the learning rate over training, as a factor of the optimiser's.

A schedule counts either steps, so that the rate changes smoothly, or epochs, as the published ones
do (Chung et al. 2025, arXiv 2505.18361).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal, get_args

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.registry import Registry
from vibrissa.train.optimisers import not_negative

Counting = Literal["step", "epoch"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig(ABC):
    """What every schedule has.

    Attributes:
        per: what is counted. ``epoch`` keeps the rate still during an epoch.

    Raises:
        InputError: another word.
    """

    per: Counting = "step"

    def __post_init__(self) -> None:
        if self.per not in get_args(Counting):
            raise refuse_unknown("per", self.per, get_args(Counting))

    @abstractmethod
    def factor(self, now: int, total: int, per_epoch: float) -> float:
        """The factor of the rate.

        Args:
            now: steps or epochs done before, from 0.
            total: how many there will be.
            per_epoch: how many an epoch has; 1 where epochs are counted.
        """

    def at(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """The factor for a step.

        Args:
            step: steps done before, from 0.
            steps_per_epoch: of the optimiser.
            epochs: of the whole training.
        """
        if self.per == "epoch":
            return self.factor(step // steps_per_epoch, epochs, 1)
        return self.factor(step, steps_per_epoch * epochs, steps_per_epoch)


schedules: Final[Registry[type[ScheduleConfig]]] = Registry("schedules")
"""Name -> a configuration class of schedules."""


@schedules.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant(ScheduleConfig):
    """The rate as it is."""

    def factor(self, now: int, total: int, per_epoch: float) -> float:
        return 1.0


@schedules.register("step")
@dataclass(frozen=True, kw_only=True)
class Step(ScheduleConfig):
    """Times ``gamma`` after every so many epochs.

    Attributes:
        every_epochs: how many.
        gamma: the factor.
    """

    per: Counting = "epoch"
    every_epochs: int = 30
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every_epochs < 1:
            raise refuse("every_epochs", self.every_epochs, "less than 1", "give 1 or more")
        if not 0 < self.gamma <= 1:
            raise refuse("gamma", self.gamma, "not in (0, 1]", "give a factor such as 0.1")

    def factor(self, now: int, total: int, per_epoch: float) -> float:
        return self.gamma ** int(now // (self.every_epochs * per_epoch))


@dataclass(frozen=True, kw_only=True)
class _Warm(ScheduleConfig):
    """Schedules that begin low.

    Attributes:
        warmup_epochs: how long; None for a quarter of the training.
    """

    warmup_epochs: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs is not None:
            not_negative("warmup_epochs", self.warmup_epochs)

    def warmup(self, total: int, per_epoch: float) -> int:
        """Length of the warm-up in what is counted, at most half of it all."""
        if self.warmup_epochs is None:
            return total // 4
        return min(round(self.warmup_epochs * per_epoch), total // 2)


@schedules.register("cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine(_Warm):
    """Linear warm-up over a quarter of the training, then half a cosine towards zero.

    By steps, the n-th of W of the warm-up has n/W of the rate. By epochs, as published under the
    name ``cos_w_warmup``, it has (n - 1)/W: the whole first epoch runs at the rate zero.
    """

    def factor(self, now: int, total: int, per_epoch: float) -> float:
        length = self.warmup(total, per_epoch)
        if now < length:
            return (now if self.per == "epoch" else now + 1) / length
        return 0.5 * (1.0 + math.cos(math.pi * (now - length) / max(1, total - length)))


@schedules.register("cosine_annealing")
@dataclass(frozen=True, kw_only=True)
class CosineAnnealing(_Warm):
    """Linear warm-up that begins at a small share of the rate, then half a cosine to zero.

    Counts from 1: the W-th of the warm-up has the full rate, the last of all has zero. By epochs
    this is what is published under the name ``cos_annealing_w_warmup``; there, SimSiam with less
    than 1024 sweeps per batch runs with ``warmup_epochs=0``.

    Attributes:
        warmup_ratio: the share from which the warm-up begins.
    """

    warmup_epochs: float | None = 10
    warmup_ratio: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.warmup_ratio <= 1:
            raise refuse("warmup_ratio", self.warmup_ratio, "not a share", "give 0 to 1")

    def factor(self, now: int, total: int, per_epoch: float) -> float:
        length = self.warmup(total, per_epoch)
        if now < length:
            return 1.0 - (1.0 - (now + 1) / length) * (1.0 - self.warmup_ratio)
        return 0.5 * (1.0 + math.cos(math.pi * (now + 1 - length) / (total - length)))
