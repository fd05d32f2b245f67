"""Dropout, drawn per step or once per sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.shapes import Shape, check_shape


@memory_modules.register("dropout")
@dataclass(frozen=True, kw_only=True)
class Dropout(MemoryConfig):
    """In training, sets elements to 0 at random and divides the others by ``1 - rate``.

    Shared over time, one mask per sequence is drawn and used at all its steps, so that a network
    with memory sees the same units throughout (Gal & Ghahramani 2016, arXiv 1512.05287).

    Attributes:
        rate: probability of 0, at least 0 and less than 1.
        shared_over_time: one mask per sequence instead of one per step. The mask is drawn at the
            first step after ``reset()``; a call without ``t`` stands for a sequence of its own.
    """

    rate: float = 0.5
    shared_over_time: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise refuse("rate", self.rate, "not a probability below 1", "give 0 <= rate < 1")

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        return check_shape("dropout", in_shape)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> DropoutModule:
        return DropoutModule(self, self.output_shape(in_shape))

    @property
    def foldable(self) -> bool:
        return self.rate == 0


class DropoutModule(Memory):
    """See :class:`Dropout`."""

    def __init__(self, config: Dropout, shape: Shape) -> None:
        super().__init__(shape, shape)
        self.config = config
        self._mask: Tensor | None = None

    @property
    def foldable(self) -> bool:
        return self.config.foldable or not self.training

    def reset(self) -> None:
        self._mask = None

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        rate = self.config.rate
        if rate == 0 or not self.training:
            return x
        if not self.config.shared_over_time or t is None:
            return F.dropout(x, rate)
        if self._mask is None:
            self._mask = F.dropout(torch.ones_like(x), rate)
        if self._mask.shape != x.shape:
            raise InputError(
                f"dropout: {x.shape[0]} samples at step {t}, but the sequence began with "
                f"{self._mask.shape[0]}; call reset() before each new sequence."
            )
        return x * self._mask.to(x)

    def extra_repr(self) -> str:
        return f"rate={self.config.rate}, shared_over_time={self.config.shared_over_time}"
