"""Residual addition: the node's own input joins its output."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from vibrissa.core.errors import InputError
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.identity import Identity
from vibrissa.tnn.modules.shapes import Shape, check_shape


@memory_modules.register("residual_add")
@dataclass(frozen=True, kw_only=True)
class ResidualAdd(MemoryConfig):
    """``activation(F(x) + R(residual))``, where the residual is the node's whole harbor output.

    Attributes:
        forward: F.
        residual: R; the identity if omitted.
        activation: name of the activation function; none if omitted.
    """

    forward: MemoryConfig
    residual: MemoryConfig = field(default_factory=Identity)
    activation: str | None = None

    def __post_init__(self) -> None:
        activation(self.activation)

    @property
    def uses_residual(self) -> bool:
        return True

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        if residual is None:
            raise InputError(
                "residual_add: no residual is offered; set residual on the node, or leave "
                "residual_add out."
            )
        added = self.forward.output_shape(in_shape, residual=residual)
        beside = self.residual.output_shape(residual, residual=residual)
        if added != beside:
            raise InputError(
                f"residual_add: F gives {added} from {in_shape}, R gives {beside} from {residual}; "
                "choose F and R with equal outputs, for instance a 1x1 conv as R."
            )
        return added

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> ResidualAddModule:
        return ResidualAddModule(self, in_shape, residual)

    @property
    def foldable(self) -> bool:
        return self.forward.foldable and self.residual.foldable


class ResidualAddModule(Memory):
    """See :class:`ResidualAdd`. F is the submodule ``main``, R is ``beside``."""

    def __init__(self, config: ResidualAdd, in_shape: Shape, residual: Shape | None) -> None:
        out_shape = config.output_shape(in_shape, residual=residual)
        super().__init__(check_shape("residual_add", in_shape), out_shape)
        assert residual is not None
        self.config = config
        self.main = config.forward.build(in_shape, residual=residual)
        self.beside = config.residual.build(residual, residual=residual)
        self._activation = activation(config.activation)

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        if residual is None:
            raise InputError("residual_add: no residual was given; pass residual=.")
        main = self.main(x, residual=residual, t=t)
        return self._activation(main + self.beside(residual, residual=residual, t=t))
