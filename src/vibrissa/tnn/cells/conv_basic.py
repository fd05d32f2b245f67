"""The basic convolutional recurrent cell."""

from __future__ import annotations

from dataclasses import dataclass

from vibrissa.tnn.cells.base import ContextShape, ConvCellConfig, cells
from vibrissa.tnn.cells.vanilla import VanillaCell
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.shapes import Shape


@cells.register("conv_basic")
@dataclass(frozen=True, kw_only=True)
class ConvBasic(ConvCellConfig):
    """The basic recurrent cell; ``*`` is a 'same' convolution or a matrix product::

        s' = f( Wx * x + bx + Ws * s + bs )     (with layer norm: f( LN( ... ) ))
        o  = s'

    The cell is that of :class:`~vibrissa.tnn.cells.vanilla.Vanilla`, whose defaults are ELU and
    layer norm.

    Reference: Nayebi et al. 2018, arXiv 1807.00053, the simple recurrent cell that the gated ones
    are set beside.

    Attributes:
        activation: f, by name.
    """

    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> VanillaCell:
        shape = self.check_in_shape(in_shape)
        return VanillaCell(self, self.activation, shape, self.state_width(shape, channels))
