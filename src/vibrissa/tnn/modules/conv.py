"""Convolution with its companions: dropout, convolution, batch norm, activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.modules.activations import activation
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.batch_norm import BatchNorm
from vibrissa.tnn.modules.dropout import Dropout
from vibrissa.tnn.modules.initialisers import Init, draw
from vibrissa.tnn.modules.shapes import (
    Pair,
    Shape,
    check_map,
    pair,
    same_conv2d,
    same_padding,
    width,
    window_count,
)


@memory_modules.register("conv")
@dataclass(frozen=True, kw_only=True)
class Conv(MemoryConfig):
    """``activation(batch_norm(W * dropout(x) + b))``: maps in, maps out.

    Attributes:
        channels: channels of the output.
        kernel: rows and columns of the kernel.
        stride: steps of the kernel, rows and columns.
        padding: zeros on every side, rows and columns; ``"valid"`` is none; ``"same"`` keeps height
            and width (stride 1 alone; even kernels get one zero more at the bottom and right).
        dilation: spacing of the kernel's rows and columns.
        groups: how many groups of channels are convolved apart.
        use_bias: with a bias.
        init: how the weight is drawn; torch's default if omitted.
        bias: constant start of the bias; torch's default, uniform, if omitted.
        dropout: on the input; none if omitted.
        batch_norm: after the convolution; none if omitted.
        activation: name of the activation function; none if omitted.
    """

    channels: int
    kernel: Pair = 3
    stride: Pair = 1
    padding: int | tuple[int, int] | Literal["same", "valid"] = 0
    dilation: Pair = 1
    groups: int = 1
    use_bias: bool = True
    init: Init | None = None
    bias: float | None = None
    dropout: Dropout | None = None
    batch_norm: BatchNorm | None = None
    activation: str | None = None

    def __post_init__(self) -> None:
        width("channels", self.channels)
        width("groups", self.groups)
        pair("kernel", self.kernel, 1)
        strides = pair("stride", self.stride, 1)
        pair("dilation", self.dilation, 1)
        activation(self.activation)
        if self.padding == "same" and strides != (1, 1):
            raise refuse(
                "padding", self.padding, f"no size is kept with stride {self.stride}",
                "give the number of zeros, or stride 1",
            )  # fmt: skip
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise refuse("padding", self.padding, "unknown", "choose same, valid or a number")
        else:
            pair("padding", self.padding, 0)
        if self.channels % self.groups:
            raise refuse(
                "groups", self.groups, f"{self.channels} channels do not part into so many",
                "choose a divisor",
            )  # fmt: skip
        if self.bias is not None and not self.use_bias:
            raise refuse("bias", self.bias, "use_bias is off", "leave one of them out")

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        channels, *sizes = check_map("conv", in_shape)
        if channels % self.groups:
            raise refuse(
                "groups", self.groups, f"the input's {channels} channels do not part into so many",
                "choose a divisor",
            )  # fmt: skip
        kernel, stride = pair("kernel", self.kernel, 1), pair("stride", self.stride, 1)
        dilation = pair("dilation", self.dilation, 1)
        counts = [
            window_count(sizes[k], kernel[k], stride[k], self._zeros(k), dilation[k])
            for k in range(2)
        ]
        if min(counts) < 1:
            raise InputError(
                f"conv: kernel {kernel} with dilation {dilation} is larger than the input "
                f"{tuple(sizes)} with its padding {self.padding}; pad more or take a smaller one."
            )
        return (self.channels, *counts)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> ConvModule:
        return ConvModule(self, in_shape)

    @property
    def foldable(self) -> bool:
        return self.batch_norm is None and (self.dropout is None or self.dropout.foldable)

    def _zeros(self, axis: int) -> tuple[int, int]:
        """Zeros before and after along rows (0) or columns (1)."""
        if self.padding == "valid":
            return 0, 0
        if self.padding == "same":
            return same_padding(
                pair("kernel", self.kernel, 1)[axis], pair("dilation", self.dilation, 1)[axis]
            )
        zeros = pair("padding", self.padding, 0)[axis]
        return zeros, zeros


class ConvModule(Memory):
    """See :class:`Conv`.

    Parameters: ``weight`` ``(channels, input channels / groups, rows, columns)`` and ``bias``.
    """

    def __init__(self, config: Conv, in_shape: Shape) -> None:
        super().__init__(check_map("conv", in_shape), config.output_shape(in_shape))
        self.config = config
        rows_columns = pair("kernel", config.kernel, 1)
        weight, bias = draw(
            (config.channels, in_shape[0] // config.groups, *rows_columns),
            init=config.init, bias=config.bias, use_bias=config.use_bias,
        )  # fmt: skip
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.dropout = config.dropout.build(in_shape) if config.dropout else None
        self.batch_norm = config.batch_norm.build(self.out_shape) if config.batch_norm else None
        self._activation = activation(config.activation)

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        if self.dropout is not None:
            x = self.dropout(x, t=t)
        y = self._convolve(x)
        if self.batch_norm is not None:
            y = self.batch_norm(y, t=t)
        return self._activation(y)

    @property
    def multiply_adds(self) -> int:
        return self.weight.numel() * self.out_shape[1] * self.out_shape[2]

    def _convolve(self, x: Tensor) -> Tensor:
        config = self.config
        dilation = pair("dilation", config.dilation, 1)
        if config.padding == "same":
            return same_conv2d(x, self.weight, self.bias, dilation=dilation, groups=config.groups)
        zeros = 0 if isinstance(config.padding, str) else config.padding
        return F.conv2d(
            x, self.weight, self.bias,
            stride=config.stride, padding=zeros, dilation=dilation, groups=config.groups,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.in_shape} -> {self.out_shape}, kernel={self.config.kernel}"
