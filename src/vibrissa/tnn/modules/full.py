"""Fully connected layer with its companions: dropout, matrix product, batch norm, activation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from vibrissa.core.errors import refuse
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.batch_norm import BatchNorm
from vibrissa.tnn.modules.dropout import Dropout
from vibrissa.tnn.modules.initialisers import Init, draw
from vibrissa.tnn.modules.shapes import Shape, check_shape, width


@memory_modules.register("full")
@dataclass(frozen=True, kw_only=True)
class Full(MemoryConfig):
    """``activation(batch_norm(W dropout(flat(x)) + b))``: a vector out.

    Maps are flattened channel by channel, and row by row within a channel.

    Attributes:
        units: features of the output.
        use_bias: with a bias.
        init: how the weight is drawn; torch's default if omitted.
        bias: constant start of the bias; torch's default, uniform, if omitted.
        dropout: on the input; none if omitted.
        batch_norm: after the matrix product; none if omitted.
        activation: name of the activation function; none if omitted.
    """

    units: int
    use_bias: bool = True
    init: Init | None = None
    bias: float | None = None
    dropout: Dropout | None = None
    batch_norm: BatchNorm | None = None
    activation: str | None = None

    def __post_init__(self) -> None:
        width("units", self.units)
        activation(self.activation)
        if self.bias is not None and not self.use_bias:
            raise refuse("bias", self.bias, "use_bias is off", "leave one of them out")

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        check_shape("full", in_shape)
        return (self.units,)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> FullModule:
        return FullModule(self, in_shape)

    @property
    def foldable(self) -> bool:
        return self.batch_norm is None and (self.dropout is None or self.dropout.foldable)


class FullModule(Memory):
    """See :class:`Full`. Parameters: ``weight`` ``(units, features)`` and ``bias``."""

    def __init__(self, config: Full, in_shape: Shape) -> None:
        super().__init__(check_shape("full", in_shape), config.output_shape(in_shape))
        self.config = config
        weight, bias = draw(
            (config.units, prod(in_shape)),
            init=config.init, bias=config.bias, use_bias=config.use_bias,
        )  # fmt: skip
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.dropout = config.dropout.build((prod(in_shape),)) if config.dropout else None
        self.batch_norm = config.batch_norm.build(self.out_shape) if config.batch_norm else None
        self._activation = activation(config.activation)

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        x = x.flatten(1)
        if self.dropout is not None:
            x = self.dropout(x, t=t)
        y = F.linear(x, self.weight, self.bias)
        if self.batch_norm is not None:
            y = self.batch_norm(y, t=t)
        return self._activation(y)

    @property
    def multiply_adds(self) -> int:
        return self.weight.numel()

    def extra_repr(self) -> str:
        return f"{self.in_shape} -> {self.out_shape}"
