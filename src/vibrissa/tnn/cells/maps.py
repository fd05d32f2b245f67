"""The linear maps of cells, 'same' convolution or matrix product, and the norms of their gates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vibrissa.tnn.modules.initialisers import Init, draw
from vibrissa.tnn.modules.shapes import same_conv2d


class LinearMap(nn.Module):
    """``W * x + b``: a 'same' convolution of maps or, with a matrix as weight, a matrix product.

    Args:
        weight: ``(out, in / groups, rows, columns)`` or ``(out, in)``.
        bias: ``(out,)``, or none.
        groups: how many groups of channels are convolved apart.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, ...) -> (n, out, ...)``."""
        if self.weight.ndim == 2:
            return F.linear(x, self.weight, self.bias)
        return same_conv2d(x, self.weight, self.bias, groups=self.groups)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, bias={self.bias is not None}"


class SeparableMap(nn.Module):
    """A depth-separable convolution: each channel by itself, then a 1x1 convolution across.

    Args:
        depthwise: the first.
        pointwise: the second.
    """

    def __init__(self, depthwise: LinearMap, pointwise: LinearMap) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.pointwise = pointwise

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, rows, columns) -> (n, out, rows, columns)``."""
        return self.pointwise(self.depthwise(x))


def single_map(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int] | None,
    *,
    init: Init | None = None,
    bias: float | None = None,
) -> LinearMap:
    """Draw a map of its own."""
    weight, start = draw((outputs, inputs, *(kernel or ())), init=init, bias=bias)
    return LinearMap(weight, start)


def separable_map(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    *,
    init: Init | None = None,
    bias: float | None = None,
) -> SeparableMap:
    """Draw a depth-separable map."""
    weight, start = draw((inputs, 1, *kernel), init=init, bias=bias)
    across, across_start = draw((outputs, inputs, 1, 1), init=init, bias=bias)
    return SeparableMap(LinearMap(weight, start, inputs), LinearMap(across, across_start))


def joint_maps(
    inputs: int,
    states: int,
    outputs: int,
    kernel: tuple[int, int] | None,
    *,
    init: Init | None = None,
    bias: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw ``W * [x, s] + b`` as one map and part its weight.

    ``W * [x, s] = Wx * x + Ws * s``: the half on x can be computed ahead of the state.

    Args:
        inputs: width of x.
        states: width of s.
        outputs: width of the result.
        kernel: rows and columns; none for a matrix product.
        init: how W is drawn.
        bias: constant start of b.

    Returns:
        Wx, Ws and b.
    """
    weight, start = draw((outputs, inputs + states, *(kernel or ())), init=init, bias=bias)
    assert start is not None
    return weight[:, :inputs].clone(), weight[:, inputs:].clone(), start


class ChannelNorm(nn.Module):
    """Layer norm with a scale and a shift per channel.

    ``y = (x - mean) / sqrt(variance + eps) * weight + bias``, mean and variance (of the population)
    over the channels of each position, or over channels and positions.

    Reference: Ba, Kiros & Hinton 2016, arXiv 1607.06450.

    Args:
        channels: number of channels, axis 1 of the input.
        over_all: take mean and variance over channels and positions.
        eps: added to the variance.
    """

    def __init__(self, channels: int, *, over_all: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.over_all = over_all
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, ...) -> (n, channels, ...)``."""
        if not self.over_all:
            y = F.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, self.eps)
            return y.movedim(-1, 1)
        y = F.layer_norm(x, x.shape[1:], eps=self.eps)
        per_channel = (-1, *(1,) * (x.ndim - 2))
        return y * self.weight.view(per_channel) + self.bias.view(per_channel)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, over_all={self.over_all}, eps={self.eps}"


class Gates(nn.Module):
    """Parts a pre-activation into gates along the channels and norms each, if norms are wanted.

    The norm of a gate is the submodule of its name.

    Args:
        widths: gate -> its channels, in order.
        norm: make norms.
        extra: further normed variables that are not part of the pre-activation.
        over_all: see :class:`ChannelNorm`.
        eps: see :class:`ChannelNorm`.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        norm: bool,
        over_all: bool = False,
        eps: float = 1e-5,
        extra: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.normed = norm
        for name, channels in (self.widths | dict(extra or {})).items() if norm else ():
            self.add_module(name, ChannelNorm(channels, over_all=over_all, eps=eps))

    def forward(self, pre: Tensor) -> tuple[Tensor, ...]:
        """``(n, sum of widths, ...) ->`` one tensor ``(n, width, ...)`` per gate."""
        parts = pre.split(list(self.widths.values()), dim=1)
        if not self.normed:
            return parts
        return tuple(self.only(name, x) for name, x in zip(self.widths, parts, strict=True))

    def only(self, name: str, x: Tensor) -> Tensor:
        """Norm one variable; unchanged without norms."""
        return self.get_submodule(name)(x) if self.normed else x
