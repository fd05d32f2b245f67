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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from vibrissa.tnn.modules.shapes import same_padding
from vibrissa.tnn.packed import Operand, accumulate
from vibrissa.tnn.tiles import Size


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


def forward(operands: Sequence[Operand], size: Size, batch: int) -> Tensor:
    """Sum over the operands of ``W * x``, (positions, batch, out)."""
    narrow = [o for o in operands if o.rows.shape[1] < batch]
    wide = [o for o in operands if o.rows.shape[1] == batch]
    out = None
    for parts, count in ((narrow, 1), (wide, batch)):
        if not parts:
            continue
        if out is not None:
            out = out.expand(-1, count, -1).contiguous()
        for operand in parts:
            out = _add(out, operand, size, count)
    assert out is not None
    return out if out.shape[1] == batch else out.expand(-1, batch, -1).contiguous()


def _add(out: Tensor | None, operand: Operand, size: Size, batch: int) -> Tensor:
    """``out + W * x``, in place if there is something to add to."""
    rows, columns = size
    x, weight = operand.rows, operand.kinds
    outputs = weight.shape[2]
    for column in geometry(size, operand.kernel):
        whole = column.width == columns
        flat = _columns(x, size, column.read, column.width).reshape(-1, x.shape[2])
        into = out if whole else None
        for tap, read, written, count in column.taps:
            values = flat[read * batch : (read + count) * batch]
            if into is None:  # the tap that covers all comes first
                into = torch.mm(values, weight[tap]).view(rows * column.width, batch, outputs)
            else:
                target = into.view(-1, outputs)
                target[written * batch : (written + count) * batch].addmm_(values, weight[tap])
        if whole:
            out = into
        else:
            assert out is not None
            assert into is not None
            grid = out.view(rows, columns, batch, outputs)
            end = column.written + column.width
            grid[:, column.written : end] += into.view(rows, column.width, batch, outputs)
    assert out is not None
    return out


def backward(
    operands: Sequence[Operand], size: Size, batch: int, grad: Tensor
) -> list[Tensor | None]:
    """Gradients of the operands' rows where they are needed; those of weights are collected."""
    columns = size[1]
    outputs = grad.shape[2]
    gathered: dict[tuple[int, int, int], Tensor] = {}

    def part_of(written: int, width: int, count: int) -> Tensor:
        """The gradient at some columns, as a matrix; summed over the batch for sources of one."""
        key = (written, width, count)
        if key not in gathered:
            g = grad if count == batch else grad.sum(dim=1, keepdim=True)
            gathered[key] = _columns(g, size, written, width).reshape(-1, outputs)
        return gathered[key]

    found: list[Tensor | None] = []
    for operand in operands:
        x, count = operand.rows, operand.rows.shape[1]
        back: Tensor | None = None
        for column in geometry(size, operand.kernel):
            g = part_of(column.written, column.width, count)
            if operand.total is not None:
                flat = _columns(x, size, column.read, column.width).reshape(-1, x.shape[2])
                for tap, read, written, length in column.taps:
                    xs = flat[read * count : (read + length) * count]
                    gs = g[written * count : (written + length) * count]
                    accumulate(operand.total[tap], xs, gs)
            if operand.needed:
                whole = column.width == columns
                into = _back(back if whole else None, operand, column, g, size)
                if whole:
                    back = into
                else:
                    assert back is not None
                    grid = back.view(*size, count, -1)
                    end = column.read + column.width
                    grid[:, column.read : end] += into.view(size[0], column.width, count, -1)
        found.append(back)
    return found


def _back(into: Tensor | None, operand: Operand, column: Column, g: Tensor, size: Size) -> Tensor:
    """What the taps of a column give to the columns that they read."""
    _, count, channels = operand.rows.shape
    for tap, read, written, length in column.taps:
        gs = g[written * count : (written + length) * count]
        weight = operand.kinds[tap].t()
        if into is None:
            into = torch.mm(gs, weight).view(size[0] * column.width, count, channels)
        else:
            into.view(-1, channels)[read * count : (read + length) * count].addmm_(gs, weight)
    assert into is not None
    return into


def _columns(x: Tensor, size: Size, first: int, width: int) -> Tensor:
    """Some columns of all rows, (rows * width, batch, channels)."""
    if width == size[1]:
        return x
    grid = x.reshape(*size, *x.shape[1:])[:, first : first + width]
    return grid.reshape(size[0] * width, *x.shape[1:])
