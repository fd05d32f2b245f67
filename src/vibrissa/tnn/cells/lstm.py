"""LSTM: a memory that is written, kept and read through gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vibrissa.tnn.cells.base import (
    Cell,
    Context,
    ContextShape,
    ConvCellConfig,
    Drive,
    State,
    cells,
)
from vibrissa.tnn.cells.maps import Gates, LinearMap, joint_maps
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.shapes import Shape


class LSTMState(NamedTuple):
    """State of an LSTM.

    Attributes:
        c: the memory, ``(batch, channels, ...)``.
        h: the last output, of the same shape.
    """

    c: Tensor
    h: Tensor


@cells.register("lstm")
@dataclass(frozen=True, kw_only=True)
class LSTM(ConvCellConfig):
    """Long short-term memory without peepholes; ``*`` is a 'same' convolution or a matrix product::

        [i, j, f, o] = Wx * x + Ws * h + b
        c' = LN( c sigmoid( LN(f) + forget_bias ) + sigmoid( LN(i) ) a( LN(j) ) )
        h' = a(c') sigmoid( LN(o) )
        output h'

    With layer norm, the memory itself is normed as well, and kept so. ``torch.nn.LSTMCell`` orders
    the gates i, f, j, o and has no forget bias.

    Reference: Hochreiter & Schmidhuber 1997, doi 10.1162/neco.1997.9.8.1735; in convolutional form
    Nayebi et al. 2022, doi 10.1162/neco_a_01506.

    Attributes:
        forget_bias: added to the forget gate; a larger one keeps the memory for longer.
        activation: a, by name.
    """

    forget_bias: float = 1.0
    activation: str = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> LSTMCell:
        shape = self.check_in_shape(in_shape)
        return LSTMCell(self, shape, self.state_width(shape, channels))


class LSTMCell(Cell):
    """See :class:`LSTM`.

    Parameters: ``input.weight`` and ``input.bias`` (Wx, b), ``state.weight`` (Ws), gates in the
    order i, j, f, o along the outputs; ``norm.i.*`` and so on, and ``norm.c.*`` for the memory.
    """

    def __init__(self, config: LSTM, in_shape: Shape, channels: int) -> None:
        out_shape = (channels, *in_shape[1:])
        super().__init__(in_shape, out_shape, LSTMState, (out_shape, out_shape))
        self.config = config
        of_x, of_s, bias = joint_maps(
            in_shape[0], channels, 4 * channels, config.kernel_size(),
            init=config.init, bias=config.bias,
        )  # fmt: skip
        self.input = LinearMap(of_x, bias)
        self.state = LinearMap(of_s, None)
        self.norm = Gates(
            dict.fromkeys("ijfo", channels), extra={"c": channels},
            norm=config.layer_norm, over_all=config.norm_axes == "all", eps=config.eps,
        )  # fmt: skip
        self._activation = activation(config.activation)

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return self.input(x)

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, LSTMState]:
        assert isinstance(drive, Tensor)
        c, h = state
        i, j, f, o = self.norm(drive + self.state(h))
        kept = c * torch.sigmoid(f + self.config.forget_bias)
        c = self.norm.only("c", kept + torch.sigmoid(i) * self._activation(j))
        h = self._activation(c) * torch.sigmoid(o)
        return h, LSTMState(c, h)
