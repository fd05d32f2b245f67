"""Modules one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from vibrissa.core.errors import refuse
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.shapes import Shape, check_shape


@memory_modules.register("sequence")
@dataclass(frozen=True, kw_only=True)
class Sequence(MemoryConfig):
    """``m_n(... m_2(m_1(x)))``; each is given the residual and the step as well.

    Attributes:
        modules: the first to be applied first; at least one.
    """

    modules: tuple[MemoryConfig, ...]

    def __post_init__(self) -> None:
        if not self.modules:
            raise refuse("modules", self.modules, "empty", "give at least one, or use identity")

    @property
    def uses_residual(self) -> bool:
        return any(module.uses_residual for module in self.modules)

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        return self._shapes(in_shape, residual)[-1]

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> SequenceModule:
        return SequenceModule(self, in_shape, residual)

    @property
    def foldable(self) -> bool:
        return all(module.foldable for module in self.modules)

    def _shapes(self, in_shape: Shape, residual: Shape | None) -> list[Shape]:
        shapes = [check_shape("sequence", in_shape)]
        for module in self.modules:
            shapes.append(module.output_shape(shapes[-1], residual=residual))
        return shapes


class SequenceModule(Memory):
    """See :class:`Sequence`. The parts are the submodules ``parts.0``, ``parts.1``, ..."""

    def __init__(self, config: Sequence, in_shape: Shape, residual: Shape | None) -> None:
        shapes = config._shapes(in_shape, residual)
        super().__init__(shapes[0], shapes[-1])
        self.config = config
        self.parts = nn.ModuleList(
            module.build(shape, residual=residual)
            for module, shape in zip(config.modules, shapes[:-1], strict=True)
        )

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        for part in self.parts:
            x = part(x, residual=residual, t=t)
        return x

    @property
    def foldable(self) -> bool:
        return all(part.foldable for part in self.parts)

    @property
    def multiply_adds(self) -> int:
        return sum(part.multiply_adds for part in self.parts)  # type: ignore[misc]

    def reset(self) -> None:
        for part in self.parts:
            part.reset()  # type: ignore[operator]
