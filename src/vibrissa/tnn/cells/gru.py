"""GRU: a reset gate and an update gate."""

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
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.shapes import Shape


@cells.register("gru")
@dataclass(frozen=True, kw_only=True)
class GRU(ConvCellConfig):
    """Gated recurrent unit; ``*`` is a 'same' convolution or a matrix product::

        [r, u] = Wx * x + Ws * s + b
        r  = sigmoid( LN(r) + forget_bias )
        u  = sigmoid( LN(u) )
        c  = f( LN( Vx * x + Vs * (r s) + d ) )
        s' = u s + (1 - u) c
        o  = s'

    The reset gate multiplies the state before its map, as first published; ``torch.nn.GRUCell``
    multiplies after it and has no forget bias.

    Reference: Cho et al. 2014, arXiv 1406.1078; in convolutional form Nayebi et al. 2022,
    doi 10.1162/neco_a_01506. The forget bias is that of their code; their gates' own biases b
    start at 1 as well: ``gate_bias=1, bias=0``.

    Attributes:
        forget_bias: added to the reset gate.
        gate_bias: constant start of b; as ``bias`` if omitted.
        activation: f, by name.
    """

    forget_bias: float = 1.0
    gate_bias: float | None = None
    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> GRUCell:
        shape = self.check_in_shape(in_shape)
        return GRUCell(self, shape, self.state_width(shape, channels))


class GRUCell(Cell):
    """See :class:`GRU`.

    Parameters: ``input.weight`` and ``input.bias`` (Wx and Vx, b and d; outputs in the order r, u,
    c), ``state.weight`` (Ws; r, u), ``candidate.weight`` (Vs); ``norm.r.*``, ``norm.u.*``,
    ``norm.c.*``.
    """

    def __init__(self, config: GRU, in_shape: Shape, channels: int) -> None:
        out_shape = (channels, *in_shape[1:])
        super().__init__(in_shape, out_shape, HiddenState, (out_shape,))
        self.config = config
        self.channels = channels
        kernel = config.kernel_size()
        gate_bias = config.bias if config.gate_bias is None else config.gate_bias
        gates_x, gates_s, gates_bias = joint_maps(
            in_shape[0], channels, 2 * channels, kernel, init=config.init, bias=gate_bias
        )
        new_x, new_s, new_bias = joint_maps(
            in_shape[0], channels, channels, kernel, init=config.init, bias=config.bias
        )
        self.input = LinearMap(torch.cat([gates_x, new_x]), torch.cat([gates_bias, new_bias]))
        self.state = LinearMap(gates_s, None)
        self.candidate = LinearMap(new_s, None)
        over_all = config.norm_axes == "all"
        self.norm = Gates(
            {"r": channels, "u": channels}, extra={"c": channels},
            norm=config.layer_norm, over_all=over_all, eps=config.eps,
        )  # fmt: skip
        self._activation = activation(config.activation)

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return self.input(x)

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, HiddenState]:
        assert isinstance(drive, Tensor)
        (s,) = state
        gates, c = drive.split([2 * self.channels, self.channels], dim=1)
        r, u = self.norm(gates + self.state(s))
        r = torch.sigmoid(r + self.config.forget_bias)
        u = torch.sigmoid(u)
        c = self._activation(self.norm.only("c", c + self.candidate(r * s)))
        new = u * s + (1 - u) * c
        return new, HiddenState(new)
