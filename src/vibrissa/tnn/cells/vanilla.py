"""The plain recurrent cell with layer norm."""

from __future__ import annotations

from dataclasses import dataclass

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
from vibrissa.tnn.cells.maps import Gates, single_map
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.shapes import Shape


@cells.register("vanilla")
@dataclass(frozen=True, kw_only=True)
class Vanilla(ConvCellConfig):
    """The plain recurrent cell; ``*`` is a 'same' convolution or a matrix product::

        s' = f( LN( Wx * x + bx + Ws * s + bs ) )
        o  = s'

    Reference: Elman 1990, doi 10.1207/s15516709cog1402_1; in convolutional form with layer norm and
    ELU, the plain ConvRNN control of Nayebi et al. 2022, doi 10.1162/neco_a_01506.

    Attributes:
        layer_norm: on unless it is set to false.
        activation: f, by name.
    """

    layer_norm: bool = True
    activation: str = "elu"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> VanillaCell:
        shape = self.check_in_shape(in_shape)
        return VanillaCell(self, self.activation, shape, self.state_width(shape, channels))


class VanillaCell(Cell):
    """See :class:`Vanilla`, and :class:`~vibrissa.tnn.cells.conv_basic.ConvBasic`.

    Parameters: ``input.weight`` and ``input.bias`` (Wx, bx), ``state.weight`` and ``state.bias``
    (Ws, bs), drawn apart; ``norm.s.weight`` and ``norm.s.bias``.
    """

    def __init__(
        self, config: ConvCellConfig, function: str, in_shape: Shape, channels: int
    ) -> None:
        out_shape = (channels, *in_shape[1:])
        super().__init__(in_shape, out_shape, HiddenState, (out_shape,))
        self.config = config
        kernel = config.kernel_size()
        init, bias = config.init, config.bias
        self.input = single_map(in_shape[0], channels, kernel, init=init, bias=bias)
        self.state = single_map(channels, channels, kernel, init=init, bias=bias)
        self.norm = Gates(
            {"s": channels}, norm=config.layer_norm, over_all=config.norm_axes == "all",
            eps=config.eps,
        )  # fmt: skip
        self._activation = activation(function)

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return self.input(x)

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, HiddenState]:
        assert isinstance(drive, Tensor)
        (s,) = state
        (pre,) = self.norm(drive + self.state(s))
        new = self._activation(pre)
        return new, HiddenState(new)
