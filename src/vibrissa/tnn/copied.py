"""'Same' convolutions of small maps as one matrix product after copying what each tap reads.

For processors whose matrix units are so fast (AMX, in bfloat16) that one large product with zeros
around the map takes less time than several small ones without. What the taps read, of all sources,
is laid side by side, (position, batch, tap, in), block by block; the product with the weight as
(tap * in, out) sums in the unit's wide type, over taps and sources together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor

from vibrissa.tnn.copying import Copying
from vibrissa.tnn.packed import Operand

# Bytes of what is laid side by side for one part of the batch.
_PART: Final = 16 << 20


def forward(
    operands: Sequence[Operand],
    how: Copying,
    batch: int,
    bias: Tensor | None,
    base: Tensor | None,
    whole: Tensor | None,
) -> Tensor:
    """``base + bias +`` sum over the operands of ``W * x``, (positions, batch, out).

    ``whole`` is the weight of all operands together, (tap, channels, out), if there is one.
    """
    narrow = [o for o in operands if o.rows.shape[1] < batch]
    like, outputs = operands[0].rows, operands[0].kinds.shape[2]
    if narrow:
        bias = base if bias is None else bias if base is None else base + bias
        wide = [o for o in operands if o.rows.shape[1] == batch]
        alone = forward(narrow, how, 1, None, None, whole if not wide else None)
        if not wide:
            return (alone if bias is None else alone + bias.to(alone.dtype)).expand(
                -1, batch, -1
            ).contiguous()  # fmt: skip
        return forward(wide, how, batch, None, alone if bias is None else alone + bias, None)
    weight = _weight(operands, whole)
    out = like.new_empty(len(like), batch, outputs)
    if base is not None and bias is not None:
        base, bias = base + bias, None
    more = None
    if base is not None:
        more = base.to(like.dtype).expand(-1, batch, -1)
    elif bias is not None:
        more = bias.to(like.dtype)
    for part, count in _parts(batch, len(like) * len(weight) * like.element_size()):
        matrix = laid_out(how, [o.rows[:, part] for o in operands])
        alone = count == batch
        into = out.view(-1, outputs) if alone else like.new_empty(len(matrix), outputs)
        if more is None:
            torch.mm(matrix, weight, out=into)
        else:
            start = more if more.ndim == 1 else more[:, part].reshape(-1, outputs)
            torch.addmm(start, matrix, weight, out=into)
        if not alone:
            out[:, part] = into.view(-1, count, outputs)
    return out


def laid_out(how: Copying, rows: Sequence[Tensor]) -> Tensor:
    """(positions, batch, channels) of some sources to (positions * batch, taps * channels)."""
    (height, width), batch = how.size, rows[0].shape[1]
    channels = sum(r.shape[2] for r in rows)
    matrix = rows[0].new_empty(height, width, batch, how.taps, channels)
    maps = [r.reshape(height, width, batch, -1) for r in rows]
    for tap, shift in enumerate(how.shifts):
        target = matrix[:, :, :, tap]
        inside = target[shift.to_rows, shift.to_columns]
        target[: shift.to_rows.start] = 0
        target[shift.to_rows.stop :] = 0
        target[shift.to_rows, : shift.to_columns.start] = 0
        target[shift.to_rows, shift.to_columns.stop :] = 0
        first = 0
        for values in maps:
            last = first + values.shape[3]
            inside[..., first:last] = values[shift.from_rows, shift.from_columns]
            first = last
    return matrix.view(height * width * batch, -1)


def _weight(operands: Sequence[Operand], whole: Tensor | None) -> Tensor:
    """(taps * channels of all, out); in memory the outputs stand outermost."""
    if whole is None:
        joint = torch.cat([o.kinds.permute(2, 0, 1) for o in operands], dim=2)
    else:
        joint = whole.permute(2, 0, 1)
    return joint.flatten(1).t()


def backward(
    operands: Sequence[Operand], how: Copying, batch: int, grad: Tensor, whole: Tensor | None
) -> list[Tensor | None]:
    """Gradients of the operands' rows where they are needed; those of weights are collected."""
    found: list[Tensor | None] = [None] * len(operands)
    narrow = [k for k, o in enumerate(operands) if o.rows.shape[1] < batch]
    wide = [k for k in range(len(operands)) if k not in narrow]
    groups = [(narrow, grad.sum(dim=1, keepdim=True))] if narrow else []
    groups += [(wide, grad)] if wide else []
    for group, back in groups:
        some = [operands[k] for k in group]
        for operand in some:
            if operand.total is None:
                continue
            if operand.waiting is not None:
                operand.waiting.add(operand.rows, back)
            else:
                sum_up(how, operand.total, operand.rows, back)
        if any(o.needed for o in some):
            given = whole if len(group) == len(operands) else None
            for k, x in zip(group, _of_rows(some, how, back, given), strict=True):
                found[k] = x if operands[k].needed else None
    return found


def _of_rows(
    operands: Sequence[Operand], how: Copying, grad: Tensor, whole: Tensor | None
) -> list[Tensor]:
    (height, width), batch = how.size, grad.shape[1]
    weight = _weight(operands, whole).t()
    found = [torch.zeros_like(o.rows, memory_format=torch.contiguous_format) for o in operands]
    for part, count in _parts(batch, len(grad) * weight.shape[1] * grad.element_size()):
        flat = grad[:, part].reshape(-1, grad.shape[2])
        back = torch.mm(flat, weight).view(height, width, count, how.taps, -1)
        first = 0
        for total in found:
            last = first + total.shape[2]
            into = total.view(height, width, batch, -1)[:, :, part]
            for tap, shift in enumerate(how.shifts):
                into[shift.from_rows, shift.from_columns] += back[
                    shift.to_rows, shift.to_columns, :, tap, first:last
                ]
            first = last
    return found


def sum_up(how: Copying, total: Tensor, rows: Tensor, grad: Tensor) -> None:
    """Add to the gradient (tap, in, out) of a weight."""
    for part, _ in _parts(
        rows.shape[1], len(rows) * how.taps * rows.shape[2] * rows.element_size()
    ):
        matrix = laid_out(how, [rows[:, part]])
        flat = grad[:, part].reshape(-1, grad.shape[2])
        found = torch.mm(flat.t(), matrix).view(flat.shape[1], how.taps, -1)
        total.permute(2, 0, 1).add_(found)


def _parts(batch: int, size: int) -> Iterator[tuple[slice, int]]:
    """Equal parts of the batch and their samples, by the bytes that a sample needs."""
    parts = max(1, -(-batch * size // _PART))
    count = -(-batch // parts)
    for first in range(0, batch, count):
        yield slice(first, min(first + count, batch)), min(count, batch - first)
