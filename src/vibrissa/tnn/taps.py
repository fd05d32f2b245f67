"""'Same' convolutions of small maps as matrix products, tap by tap.

Layout: **rows**, ``(position, batch, channel)`` with positions row by row, so that the values of a
range of positions are one matrix. A tap (dy, dx) of the kernel adds ``x(y + dy, x + dx) W(dy, dx)``
to the output at (y, x), for all positions where that lies on the map:

* taps with ``dx = 0`` read one contiguous range of positions and write another;
* taps with ``dx != 0`` do so after the columns that they read are gathered, once per dx.

Zeros around the map are never multiplied: a 2x2 kernel on 4x6 takes 77 of 96 products of position
and tap, 3x3 takes 160 of 216. Several sources (the inputs of a node, or input and state of a cell)
accumulate in one output with a slice of the weight each; nothing is concatenated. A source with one
sample stands for the batch.

Gradients of weights accumulate in one buffer over all uses of a weight (all steps of an unrolling)
and are handed on once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vibrissa.tnn.modules.shapes import same_padding

Size = tuple[int, int]


@dataclass(frozen=True)
class Column:
    """The taps of one dx, and the columns that they read and write.

    Attributes:
        read: first column read.
        written: first column written.
        width: columns.
        taps: (tap, first position read, first written, positions) on maps of that width.
    """

    read: int
    written: int
    width: int
    taps: tuple[tuple[int, int, int, int], ...]


@cache
def geometry(size: Size, kernel: Size) -> tuple[Column, ...]:
    """The taps of a 'same' kernel that touch a map; those of dx = 0 come first, and of these the
    one that covers the whole map."""
    rows, columns = size
    top, left = same_padding(kernel[0])[0], same_padding(kernel[1])[0]
    found = []
    for kx in sorted(range(kernel[1]), key=lambda k: abs(k - left)):
        dx = kx - left
        width = columns - abs(dx)
        if width < 1:
            continue
        taps = []
        for ky in sorted(range(kernel[0]), key=lambda k: abs(k - top)):
            dy = ky - top
            height = rows - abs(dy)
            if height > 0:
                tap = ky * kernel[1] + kx
                taps.append((tap, max(dy, 0) * width, max(-dy, 0) * width, height * width))
        found.append(Column(max(dx, 0), max(-dx, 0), width, tuple(taps)))
    return tuple(found)


def tap_products(size: Size, kernel: Size) -> int:
    """Products of position and tap, of ``positions * taps`` with zeros around."""
    return sum(count for column in geometry(size, kernel) for *_, count in column.taps)


class Collector:
    """Gradient of one packed weight, summed over the uses of it within one backward pass."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self._task = -1

    def buffer(self, like: Tensor) -> Tensor:
        """What to add to; zeros when a backward pass begins."""
        task = torch._C._current_graph_task_id()
        if self.total is None or task != self._task:
            self.total, self._task = torch.zeros_like(like, dtype=_wide(like.dtype)), task
        return self.total

    def take(self) -> Tensor | None:
        """The sum of this backward pass."""
        total = self.total if self._task == torch._C._current_graph_task_id() else None
        self.total = None
        return total


@dataclass(frozen=True)
class Packed:
    """A weight as the products read it.

    Attributes:
        taps: (tap, out, in).
        kernel: rows and columns.
        collector: of its gradient.
    """

    taps: Tensor
    kernel: Size
    collector: Collector


def pack(weight: Tensor, dtype: torch.dtype | None = None) -> Packed:
    """Prepare a convolution's weight (out, in, rows, columns) for any number of uses.

    Args:
        weight: the weight.
        dtype: of the products; that of the weight if omitted.
    """
    collector = Collector()
    dtype = weight.dtype if dtype is None else dtype
    if torch.is_grad_enabled() and weight.requires_grad:
        taps = _Pack.apply(weight, dtype, collector)
    else:
        taps = _packed(weight.detach(), dtype)
    return Packed(taps, (weight.shape[2], weight.shape[3]), collector)  # type: ignore[arg-type]


def _packed(weight: Tensor, dtype: torch.dtype) -> Tensor:
    taps = weight.shape[2] * weight.shape[3]
    return weight.to(dtype).permute(2, 3, 0, 1).reshape(taps, *weight.shape[:2]).contiguous()


class _Pack(Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, dtype: torch.dtype, collector: Collector) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.dtype, ctx.collector = weight.shape, weight.dtype, collector
        return _packed(weight, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> Any:  # type: ignore[override]
        total = ctx.collector.take()
        if total is None:
            return None, None, None
        out, into, rows, columns = ctx.shape
        back = total.reshape(rows, columns, out, into).permute(2, 3, 0, 1)
        return back.to(ctx.dtype).contiguous(), None, None


class Source:
    """One operand: rows (positions, batch or 1, channels) and where its channels stand in a weight.

    Args:
        rows: in the dtype of the weight.
        weight: the weight.
        first: the first of its input channels that belongs to this source.
    """

    __slots__ = ("first", "rows", "weight")

    def __init__(self, rows: Tensor, weight: Packed, first: int = 0) -> None:
        self.rows = rows
        self.weight = weight
        self.first = first

    @property
    def matrix(self) -> Tensor:
        """(tap, out, channels of this source)."""
        return _slice(self.weight.taps, self.first, self.rows.shape[2])


def convolve(
    sources: Sequence[Source],
    size: Size,
    batch: int,
    bias: Tensor | None = None,
    base: Tensor | None = None,
) -> Tensor:
    """``base + bias + sum over sources of W * x``.

    Args:
        sources: at least one; their weights have equal outputs.
        size: rows and columns of the map.
        batch: samples of the result; a source with one sample stands for all.
        bias: (out,).
        base: (positions, batch, out).

    Returns:
        (positions, batch, out) in the dtype of the weights.
    """
    tensors = [t for s in sources for t in (s.rows, s.weight.taps)]
    call = _Call(
        size, batch, tuple(s.weight.kernel for s in sources), tuple(s.first for s in sources),
        tuple(s.weight.collector for s in sources),
    )  # fmt: skip
    return _Convolve.apply(call, bias, base, *tensors)  # type: ignore[return-value]


@dataclass(frozen=True)
class _Call:
    size: Size
    batch: int
    kernels: tuple[Size, ...]
    firsts: tuple[int, ...]
    collectors: tuple[Collector, ...]


class _Convolve(Function):
    @staticmethod
    def forward(
        ctx: Any, call: _Call, bias: Tensor | None, base: Tensor | None, *tensors: Tensor
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.call, ctx.biased, ctx.based = call, bias is not None, base is not None
        ctx.save_for_backward(*tensors)
        ctx.dtypes = (None if bias is None else bias.dtype, None if base is None else base.dtype)
        return _forward(call, bias, base, tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> Any:  # type: ignore[override]
        if grad is None:
            return (None,) * (3 + 2 * len(ctx.call.kernels))
        needs = ctx.needs_input_grad
        bias = base = None
        if ctx.biased and needs[1]:
            bias = grad.sum(dim=(0, 1), dtype=ctx.dtypes[0])
        if ctx.based and needs[2]:
            base = grad.to(ctx.dtypes[1])
        return None, bias, base, *_backward(ctx.call, grad, ctx.saved_tensors, needs[3:])


def _forward(
    call: _Call, bias: Tensor | None, base: Tensor | None, tensors: Sequence[Tensor]
) -> Tensor:
    rows, columns = call.size
    wide, narrow = [], []
    for k in range(len(call.kernels)):
        x, taps = tensors[2 * k], tensors[2 * k + 1]
        part = (x, _slice(taps, call.firsts[k], x.shape[2]), call.kernels[k])
        (narrow if x.shape[1] < call.batch else wide).append(part)
    dtype, outputs = tensors[1].dtype, tensors[1].shape[1]
    out = None
    for parts, batch in ((narrow, 1), (wide, call.batch)):
        if not parts:
            continue
        if out is not None:
            out = out.expand(-1, batch, -1).contiguous()
        for x, weight, kernel in parts:
            for column in geometry(call.size, kernel):
                whole = column.width == columns
                flat = (x if whole else _columns(x, call.size, column.read, column.width)).reshape(
                    -1, x.shape[2]
                )
                into = out if whole else None
                for tap, read, written, count in column.taps:
                    w = weight[tap].t()
                    values = flat[read * batch : (read + count) * batch]
                    if into is None:  # the tap that covers all comes first
                        into = torch.mm(values, w).view(rows * column.width, batch, outputs)
                    else:
                        target = into.view(-1, outputs)
                        target[written * batch : (written + count) * batch].addmm_(values, w)
                if whole:
                    out = into
                else:
                    assert out is not None
                    assert into is not None
                    grid = out.view(rows, columns, batch, outputs)
                    end = column.written + column.width
                    grid[:, column.written : end] += into.view(rows, column.width, batch, outputs)
    assert out is not None
    if out.shape[1] != call.batch:
        out = out.expand(-1, call.batch, -1).contiguous()
    if bias is not None:
        out += bias
    if base is not None:
        out += base
    return out.to(dtype)


def _backward(
    call: _Call, grad: Tensor, tensors: Sequence[Tensor], needs: Sequence[bool]
) -> list[Tensor | None]:
    rows, columns = call.size
    grad = grad.to(tensors[1].dtype).contiguous()
    outputs = grad.shape[2]
    gathered: dict[tuple[int, int, int], Tensor] = {}

    def part_of(written: int, width: int, batch: int) -> Tensor:
        """The gradient at some columns, as a matrix; summed over the batch for sources of one."""
        key = (written, width, batch)
        if key not in gathered:
            g = grad if batch == call.batch else grad.sum(dim=1, keepdim=True)
            if width != columns:
                g = _columns(g, call.size, written, width)
            gathered[key] = g.reshape(-1, outputs)
        return gathered[key]

    found: list[Tensor | None] = []
    for k, kernel in enumerate(call.kernels):
        x, taps = tensors[2 * k], tensors[2 * k + 1]
        weight = _slice(taps, call.firsts[k], x.shape[2])
        batch, channels = x.shape[1], x.shape[2]
        total = None
        if needs[2 * k + 1]:
            total = _slice(call.collectors[k].buffer(taps), call.firsts[k], channels)
        back: Tensor | None = None
        for column in geometry(call.size, kernel):
            whole = column.width == columns
            g = part_of(column.written, column.width, batch)
            if total is not None:
                flat = x if whole else _columns(x, call.size, column.read, column.width)
                flat = flat.reshape(-1, channels)
                for tap, read, written, count in column.taps:
                    gs = g[written * batch : (written + count) * batch].t()
                    xs = flat[read * batch : (read + count) * batch]
                    if total.dtype == xs.dtype:
                        total[tap].addmm_(gs, xs)
                    else:
                        total[tap] += torch.mm(gs, xs)
            if not needs[2 * k]:
                continue
            into = back if whole else None
            for tap, read, written, count in column.taps:
                gs = g[written * batch : (written + count) * batch]
                if into is None:
                    into = torch.mm(gs, weight[tap]).view(rows * column.width, batch, channels)
                else:
                    target = into.view(-1, channels)
                    target[read * batch : (read + count) * batch].addmm_(gs, weight[tap])
            if whole:
                back = into
            else:
                assert back is not None
                assert into is not None
                grid = back.view(rows, columns, batch, channels)
                end = column.read + column.width
                grid[:, column.read : end] += into.view(rows, column.width, batch, channels)
        found += [back, None]
    return found


def _slice(taps: Tensor, first: int, channels: int) -> Tensor:
    return taps if channels == taps.shape[2] else taps[:, :, first : first + channels]


def _columns(x: Tensor, size: Size, first: int, width: int) -> Tensor:
    """Some columns of all rows, (rows * width, batch, channels)."""
    grid = x.reshape(*size, *x.shape[1:])[:, first : first + width]
    return grid.reshape(size[0] * width, *x.shape[1:])


_WIDE: Final = {torch.bfloat16: torch.float32, torch.float16: torch.float32}


def _wide(dtype: torch.dtype) -> torch.dtype:
    return _WIDE.get(dtype, dtype)
