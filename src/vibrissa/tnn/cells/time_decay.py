"""Time decay: a leaky trace of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vibrissa.core.errors import refuse
from vibrissa.tnn.cells.base import (
    Cell,
    CellConfig,
    Context,
    ContextShape,
    Drive,
    HiddenState,
    State,
    cells,
    refuse_width,
)
from vibrissa.tnn.cells.maps import ChannelNorm
from vibrissa.tnn.modules.shapes import Shape, check_shape


@cells.register("time_decay")
@dataclass(frozen=True, kw_only=True)
class TimeDecay(CellConfig):
    """A trace that keeps the share tau of itself from step to step::

        s' = x + tau s
        o  = s'                    (with layer norm: o = LN(s'))

    tau = 0 is no memory, tau = 1 a sum over all steps; tau has no unit, it is not a time. As the
    state is linear in the input, o(t) is the sum of ``tau^(t-r) x(r)``, without layer norm.

    Reference: Nayebi et al. 2018, arXiv 1807.00053, time-decay cell. Layer norm and bounds are
    ours.

    Attributes:
        tau: the share at the start.
        trainable: train it.
        bounds: keep it strictly between these two, as
            ``low + (high - low) sigmoid(tau_logit)``; unbounded if omitted.
        layer_norm: layer norm of the output, over channels.
    """

    tau: float = 0.0
    trainable: bool = True
    bounds: tuple[float, float] | None = None
    layer_norm: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.tau):
            raise refuse("tau", self.tau, "not finite", "give a number, usually from 0 to 1")
        if self.bounds is not None:
            low, high = self.bounds
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise refuse("bounds", self.bounds, "not an interval", "give (low, high)")
            if not low < self.tau < high:
                raise refuse(
                    "tau", self.tau, f"not strictly between the bounds {low} and {high}",
                    "start inside, or leave the bounds out",
                )  # fmt: skip

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> TimeDecayCell:
        shape = check_shape("time_decay", in_shape)
        refuse_width("time_decay", channels, shape)
        return TimeDecayCell(self, shape)


class TimeDecayCell(Cell):
    """See :class:`TimeDecay`. Parameter: ``tau``, or ``tau_logit`` with bounds; a scalar."""

    def __init__(self, config: TimeDecay, shape: Shape) -> None:
        super().__init__(shape, shape, HiddenState, (shape,))
        self.config = config
        if config.bounds is None:
            start = torch.tensor(float(config.tau))
            self.tau = nn.Parameter(start, requires_grad=config.trainable)
        else:
            low, high = config.bounds
            start = torch.tensor(math.log((config.tau - low) / (high - config.tau)))
            self.tau_logit = nn.Parameter(start, requires_grad=config.trainable)
        self.norm = ChannelNorm(shape[0]) if config.layer_norm else None

    def decay(self) -> Tensor:
        """The present tau, a scalar."""
        if self.config.bounds is None:
            return self.tau
        low, high = self.config.bounds
        return low + (high - low) * torch.sigmoid(self.tau_logit)

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return x

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, HiddenState]:
        (s,) = state
        new = x + self.decay() * s
        return new if self.norm is None else self.norm(new), HiddenState(new)
