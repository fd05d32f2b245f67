"""Intersection RNN: one gate for the path through time, one for the path through depth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vibrissa.tnn.cells.base import (
    Cell,
    Context,
    ContextShape,
    ConvCellConfig,
    Drive,
    HiddenState,
    State,
    cells,
)
from vibrissa.tnn.cells.maps import Gates, LinearMap, joint_maps
from vibrissa.tnn.modules.shapes import Shape


@cells.register("intersection")
@dataclass(frozen=True, kw_only=True)
class Intersection(ConvCellConfig):
    """Intersection RNN; ``*`` is a 'same' convolution or a matrix product::

        [gh, h, gy, y] = Wx * x + Ws * s + b
        gh = sigmoid( LN(gh) + forget_bias )
        gy = sigmoid( LN(gy) + forget_bias )
        s' = gh s + (1 - gh) tanh( LN(h) )       through time
        o  = gy x + (1 - gy) relu( LN(y) )       through depth

    The output is as wide as the input, since the input is part of it; ``channels`` is the width of
    the state alone.

    Reference: Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913 (the +RNN); in
    convolutional form Nayebi et al. 2022, doi 10.1162/neco_a_01506.

    Attributes:
        forget_bias: added to both gates; a larger one keeps state and input as they are.
    """

    forget_bias: float = 1.0

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> IntersectionCell:
        shape = self.check_in_shape(in_shape)
        return IntersectionCell(self, shape, self.state_width(shape, channels))


class IntersectionCell(Cell):
    """See :class:`Intersection`.

    Parameters: ``input.weight`` and ``input.bias`` (Wx, b), ``state.weight`` (Ws), gates in the
    order gh, h, gy, y along the outputs; ``norm.gh.*`` and so on.
    """

    def __init__(self, config: Intersection, in_shape: Shape, channels: int) -> None:
        super().__init__(in_shape, in_shape, HiddenState, ((channels, *in_shape[1:]),))
        self.config = config
        widths = {"gh": channels, "h": channels, "gy": in_shape[0], "y": in_shape[0]}
        of_x, of_s, bias = joint_maps(
            in_shape[0], channels, sum(widths.values()), config.kernel_size(),
            init=config.init, bias=config.bias,
        )  # fmt: skip
        self.input = LinearMap(of_x, bias)
        self.state = LinearMap(of_s, None)
        self.norm = Gates(
            widths, norm=config.layer_norm, over_all=config.norm_axes == "all", eps=config.eps
        )

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return self.input(x)

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, HiddenState]:
        assert isinstance(drive, Tensor)
        (s,) = state
        gh, h, gy, y = self.norm(drive + self.state(s))
        gh = torch.sigmoid(gh + self.config.forget_bias)
        gy = torch.sigmoid(gy + self.config.forget_bias)
        new = gh * s + (1 - gh) * torch.tanh(h)
        return gy * x + (1 - gy) * torch.relu(y), HiddenState(new)
