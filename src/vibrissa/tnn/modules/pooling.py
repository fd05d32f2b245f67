"""Pooling: the largest value of each window, or averages on a grid of given size."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch.nn.functional as F
from torch import Tensor

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.shapes import Pair, Shape, check_map, pair, window_count


@memory_modules.register("max_pool")
@dataclass(frozen=True, kw_only=True)
class MaxPool(MemoryConfig):
    """The largest value of each window.

    Attributes:
        kernel: rows and columns of the window.
        stride: steps of the window; as the kernel if omitted.
        padding: places on every side that are never the largest, at most half the kernel.
        dilation: spacing of the window's rows and columns.
        ceil: count a last window that hangs over the end.
    """

    kernel: Pair = 2
    stride: Pair | None = None
    padding: Pair = 0
    dilation: Pair = 1
    ceil: bool = False

    def __post_init__(self) -> None:
        kernel, padding = pair("kernel", self.kernel, 1), pair("padding", self.padding, 0)
        pair("stride", self._stride, 1)
        pair("dilation", self.dilation, 1)
        if any(zeros > size // 2 for zeros, size in zip(padding, kernel, strict=True)):
            raise refuse("padding", self.padding, f"more than half the kernel {kernel}", "pad less")

    @property
    def _stride(self) -> Pair:
        return self.kernel if self.stride is None else self.stride

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        channels, *sizes = check_map("max_pool", in_shape)
        kernel, stride = pair("kernel", self.kernel, 1), pair("stride", self._stride, 1)
        padding = pair("padding", self.padding, 0)
        dilation = pair("dilation", self.dilation, 1)
        counts = [
            window_count(
                sizes[k], kernel[k], stride[k], (padding[k], padding[k]), dilation[k],
                ceil=self.ceil,
            )
            for k in range(2)
        ]  # fmt: skip
        if min(counts) < 1:
            raise InputError(
                f"max_pool: window {kernel} is larger than the input {tuple(sizes)} with its "
                f"padding {padding}; pad more or take a smaller one."
            )
        return (channels, *counts)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> MaxPoolModule:
        return MaxPoolModule(self, in_shape)

    @property
    def foldable(self) -> bool:
        return True


class MaxPoolModule(Memory):
    """See :class:`MaxPool`."""

    def __init__(self, config: MaxPool, in_shape: Shape) -> None:
        super().__init__(check_map("max_pool", in_shape), config.output_shape(in_shape))
        self.config = config

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        config = self.config
        return F.max_pool2d(
            x, config.kernel, config._stride, config.padding, config.dilation, config.ceil
        )

    def extra_repr(self) -> str:
        return f"{self.in_shape} -> {self.out_shape}"


@memory_modules.register("adaptive_avg_pool")
@dataclass(frozen=True, kw_only=True)
class AdaptiveAvgPool(MemoryConfig):
    """Averages on a grid of given size.

    Output row i of n averages the input rows from ``floor(i h / n)`` up to, but without,
    ``ceil((i + 1) h / n)``; columns likewise.

    Attributes:
        size: rows and columns of the output.
        flatten: make the output a vector, channel by channel.
    """

    size: Pair = 1
    flatten: bool = False

    def __post_init__(self) -> None:
        pair("size", self.size, 1)

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        shape = (check_map("adaptive_avg_pool", in_shape)[0], *pair("size", self.size, 1))
        return (prod(shape),) if self.flatten else shape

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> AdaptiveAvgPoolModule:
        return AdaptiveAvgPoolModule(self, in_shape)

    @property
    def foldable(self) -> bool:
        return True


class AdaptiveAvgPoolModule(Memory):
    """See :class:`AdaptiveAvgPool`."""

    def __init__(self, config: AdaptiveAvgPool, in_shape: Shape) -> None:
        super().__init__(check_map("adaptive_avg_pool", in_shape), config.output_shape(in_shape))
        self.config = config

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        y = F.adaptive_avg_pool2d(x, pair("size", self.config.size, 1))
        return y.flatten(1) if self.config.flatten else y

    def extra_repr(self) -> str:
        return f"{self.in_shape} -> {self.out_shape}"
