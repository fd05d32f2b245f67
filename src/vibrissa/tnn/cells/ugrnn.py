"""UGRNN: one gate that mixes the old state with a candidate."""

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


@cells.register("ugrnn")
@dataclass(frozen=True, kw_only=True)
class UGRNN(ConvCellConfig):
    """Update-gate recurrent network; ``*`` is a 'same' convolution or a matrix product::

        [g, c] = Wx * x + Ws * s + b
        g  = sigmoid( LN(g) + forget_bias )
        s' = g s + (1 - g) tanh( LN(c) )
        o  = s'

    Reference: Collins, Sohl-Dickstein & Sussillo 2017, arXiv 1611.09913; in convolutional form
    Nayebi et al. 2022, doi 10.1162/neco_a_01506.

    Attributes:
        forget_bias: added to the gate; a larger one keeps the state for longer.
    """

    forget_bias: float = 1.0

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> UGRNNCell:
        shape = self.check_in_shape(in_shape)
        return UGRNNCell(self, shape, self.state_width(shape, channels))


class UGRNNCell(Cell):
    """See :class:`UGRNN`.

    Parameters: ``input.weight`` and ``input.bias`` (Wx, b), ``state.weight`` (Ws), gates in the
    order g, c along the outputs; ``norm.g.*``, ``norm.c.*``.
    """

    def __init__(self, config: UGRNN, in_shape: Shape, channels: int) -> None:
        out_shape = (channels, *in_shape[1:])
        super().__init__(in_shape, out_shape, HiddenState, (out_shape,))
        self.config = config
        of_x, of_s, bias = joint_maps(
            in_shape[0], channels, 2 * channels, config.kernel_size(),
            init=config.init, bias=config.bias,
        )  # fmt: skip
        self.input = LinearMap(of_x, bias)
        self.state = LinearMap(of_s, None)
        self.norm = Gates(
            {"g": channels, "c": channels}, norm=config.layer_norm,
            over_all=config.norm_axes == "all", eps=config.eps,
        )  # fmt: skip

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return self.input(x)

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, HiddenState]:
        assert isinstance(drive, Tensor)
        (s,) = state
        g, c = self.norm(drive + self.state(s))
        g = torch.sigmoid(g + self.config.forget_bias)
        new = g * s + (1 - g) * torch.tanh(c)
        return new, HiddenState(new)
