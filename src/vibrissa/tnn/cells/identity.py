"""No memory: the output is the input."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vibrissa.tnn.cells.base import (
    Cell,
    CellConfig,
    Context,
    ContextShape,
    Drive,
    State,
    cells,
    refuse_width,
)
from vibrissa.tnn.modules.shapes import Shape, check_shape


@cells.register("identity")
@dataclass(frozen=True, kw_only=True)
class Identity(CellConfig):
    """No memory: ``o = x``."""

    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> IdentityCell:
        shape = check_shape("identity", in_shape)
        refuse_width("identity", channels, shape)
        return IdentityCell(shape, shape)


class IdentityCell(Cell):
    """See :class:`Identity`."""

    def drive(self, x: Tensor, context: Context | None = None) -> Tensor:
        self._check(x)
        return x

    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x, state
