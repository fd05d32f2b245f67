"""'Same' convolutions of small maps as one matrix product after one gathering: few, large launches.

For devices on which the number of kernels counts more than the products with zeros around the map.
What the taps read, of all sources, is laid side by side, (position * batch, tap * in), and
multiplied with the weight as (tap * in, out).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from vibrissa.tnn.modules.shapes import same_padding
from vibrissa.tnn.packed import Operand
from vibrissa.tnn.tiles import Size


class Gathering:
    """The taps of a kernel on a map.

    Args:
        size: rows and columns of the map.
        kernel: rows and columns of the kernel.
        device: where.
        compiled: gather in one compiled kernel.

    Attributes:
        place: (position, tap) the position read; 0 where that lies beyond the map.
        inside: (position, tap, 1, 1) whether it lies on the map.
    """

    def __init__(
        self, size: Size, kernel: Size, device: torch.device, compiled: bool = False
    ) -> None:
        self.size = size
        self.taps = kernel[0] * kernel[1]
        before = [same_padding(k)[0] for k in kernel]
        grid = [torch.arange(n)[:, None] + torch.arange(k)[None, :] - b
                for n, k, b in zip(size, kernel, before, strict=True)]  # fmt: skip
        y, x = grid[0][:, None, :, None], grid[1][None, :, None, :]
        inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
        place = torch.where(inside, y * size[1] + x, 0)
        positions = size[0] * size[1]
        self.place = place.reshape(positions, self.taps).to(device)
        self.inside = inside.reshape(positions, self.taps, 1, 1).to(device)
        self.gather: Any = fused(gather) if compiled else gather


@cache
def gathering(size: Size, kernel: Size, device: torch.device, compiled: bool = False) -> Gathering:
    """One of them; made once."""
    return Gathering(size, kernel, device, compiled)


def fused(run: Any) -> Any:
    """A function compiled into as few kernels as ``torch.compile`` makes of it."""
    # With code of its own: the compiler allows each code only so many kinds of arguments.
    own = FunctionType(
        run.__code__.replace(), run.__globals__, run.__name__, run.__defaults__, run.__closure__
    )
    return torch.compile(own, dynamic=True)


def gather(place: Tensor, inside: Tensor, batch: int, *rows: Tensor) -> Tensor:
    """(positions, batch or 1, channels) of some sources to (positions * batch, taps * channels)."""
    x = torch.cat([r.expand(-1, batch, -1) for r in rows], dim=-1)
    taps = torch.where(inside, x[place], x.new_zeros(()))
    return taps.transpose(1, 2).reshape(len(place) * batch, -1)


def forward(
    operands: Sequence[Operand],
    geometry: Gathering,
    batch: int,
    bias: Tensor | None,
    base: Tensor | None,
    whole: Tensor | None,
) -> Tensor:
    """``base + bias +`` sum over the operands of ``W * x``, (positions, batch, out).

    ``whole`` is the weight of all operands together, (tap, channels, out), if there is one.
    """
    matrix = geometry.gather(geometry.place, geometry.inside, batch, *(o.rows for o in operands))
    weight = _weight(operands, whole)
    if base is not None:
        base = base.to(matrix.dtype).flatten(0, 1)
        bias = base if bias is None else base + bias
    if bias is None:
        out = torch.mm(matrix, weight)
    else:
        out = torch.addmm(bias.to(matrix.dtype), matrix, weight)
    return out.view(-1, batch, weight.shape[1])


def _weight(operands: Sequence[Operand], whole: Tensor | None) -> Tensor:
    """(taps * channels of all, out)."""
    joint = torch.cat([o.kinds for o in operands], dim=1) if whole is None else whole
    return joint.reshape(-1, joint.shape[2])


def backward(
    operands: Sequence[Operand],
    geometry: Gathering,
    batch: int,
    grad: Tensor,
    whole: Tensor | None,
) -> list[Tensor | None]:
    """Gradients of the operands' rows where they are needed; those of weights are collected."""
    flat = grad.flatten(0, 1)
    widths = [o.rows.shape[2] for o in operands]
    if any(o.total is not None for o in operands):
        matrix = geometry.gather(
            geometry.place, geometry.inside, batch, *(o.rows for o in operands)
        )
        parts = torch.mm(matrix.t(), flat).view(geometry.taps, -1, flat.shape[1])
        for operand, part in zip(operands, parts.split(widths, dim=1), strict=True):
            if operand.total is not None:
                operand.total.add_(part)
    if not any(o.needed for o in operands):
        return [None] * len(operands)
    back = torch.mm(flat, _weight(operands, whole).t()).view(-1, batch, geometry.taps, sum(widths))
    back = torch.where(geometry.inside, back.transpose(1, 2), back.new_zeros(()))
    total = back.new_zeros(len(geometry.place), batch, sum(widths))
    total.index_add_(0, geometry.place.flatten(), back.flatten(0, 1))
    found = []
    for operand, part in zip(operands, total.split(widths, dim=2), strict=True):
        alone = operand.rows.shape[1] < batch
        found.append(part.sum(dim=1, keepdim=True) if alone else part)
    return [x if o.needed else None for o, x in zip(operands, found, strict=True)]
