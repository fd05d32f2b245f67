"""An activation function as a module of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.shapes import Shape, check_shape


@memory_modules.register("activation")
@dataclass(frozen=True, kw_only=True)
class Activation(MemoryConfig):
    """``f(x)``, element by element.

    Attributes:
        name: one of :data:`~vibrissa.tnn.modules.activations.activations`.
    """

    name: str = "relu"

    def __post_init__(self) -> None:
        activation(self.name)

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        return check_shape("activation", in_shape)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> ActivationModule:
        return ActivationModule(self, self.output_shape(in_shape))

    @property
    def foldable(self) -> bool:
        return True


class ActivationModule(Memory):
    """See :class:`Activation`."""

    def __init__(self, config: Activation, shape: Shape) -> None:
        super().__init__(shape, shape)
        self.config = config
        self._function = activation(config.name)

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        return self._function(x)

    def extra_repr(self) -> str:
        return self.config.name
