"""The module that does nothing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.shapes import Shape, check_shape


@memory_modules.register("identity")
@dataclass(frozen=True, kw_only=True)
class Identity(MemoryConfig):
    """The input itself."""

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        return check_shape("identity", in_shape)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> IdentityModule:
        shape = self.output_shape(in_shape)
        return IdentityModule(shape, shape)

    @property
    def foldable(self) -> bool:
        return True


class IdentityModule(Memory):
    """See :class:`Identity`."""

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        return x
