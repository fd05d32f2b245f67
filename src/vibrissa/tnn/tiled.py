"""'Same' convolutions of small maps by the algorithms of :mod:`vibrissa.tnn.tiles`.

In rows layout, (position, batch, channel), the sums before and after the products are matrix
products themselves: ``enter`` (product, position) times x as (position, batch * channel), and
``leave`` (position, product) likewise. Between them stands one product per kind, of (products of
this kind * batch, in) with (in, out). Sources add up before the last sum.

The batch is taken in parts, so that what lies between the sums stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from vibrissa.tnn import onednn
from vibrissa.tnn.packed import Operand, accumulate
from vibrissa.tnn.tiles import Form

# Bytes of the products of one part of the batch.
_PART: Final = 12 << 20


def forward(
    operands: Sequence[Operand],
    form: Form,
    batch: int,
    bias: Tensor | None = None,
    base: Tensor | None = None,
) -> Tensor:
    """``base + bias +`` sum over the operands of ``W * x``, (positions, batch, out)."""
    narrow = [o for o in operands if o.rows.shape[1] < batch]
    wide = [o for o in operands if o.rows.shape[1] == batch]
    like, outputs = operands[0].rows, operands[0].kinds.shape[2]
    leave = form.matrix("leave", like)
    start = _products(form, narrow, 1) if narrow else None
    out = like.new_empty(len(leave), batch, outputs)
    if base is not None and bias is not None:
        base, bias = base + bias, None
    if not wide:
        assert start is not None
        alone = torch.mm(leave, start.view(form.products, outputs)).unsqueeze(1)
        torch.add(alone, 0 if bias is None else bias, out=out[:, :1])
        out[:, 1:] = out[:, :1]
        return out if base is None else out.add_(base)
    for first, count in _parts(batch, form.products * outputs * like.element_size()):
        part = slice(first, first + count)
        sums = _products(form, [replace(o, rows=o.rows[:, part]) for o in wide], count, start)
        sums = sums.view(form.products, -1)
        into = out[:, part].flatten(1)
        if base is not None:
            torch.addmm(base[:, part].flatten(1).to(out.dtype), leave, sums, out=into)
        elif bias is not None:
            torch.addmm(bias.to(out.dtype).repeat(count), leave, sums, out=into)
        else:
            torch.mm(leave, sums, out=into)
    return out


def _products(
    form: Form, operands: Sequence[Operand], batch: int, start: Tensor | None = None
) -> Tensor:
    """The products, added up over the operands, (products * batch, out)."""
    like, outputs = operands[0].rows, operands[0].kinds.shape[2]
    if start is None and all(o.ordered is not None for o in operands):
        return _ordered_products(form, operands, batch)
    sums = like.new_empty(form.products, batch, outputs)
    if start is not None:
        sums.copy_(start.view(form.products, 1, outputs))
    sums = sums.view(-1, outputs)
    for operand in operands:
        x = _entered(form, operand.rows)
        for k, (first, last) in enumerate(form.ranges):
            into, values = sums[first * batch : last * batch], x[first * batch : last * batch]
            if start is None and operand is operands[0]:
                torch.mm(values, operand.kinds[k], out=into)
            else:
                into.addmm_(values, operand.kinds[k])
    return sums


def _ordered_products(form: Form, operands: Sequence[Operand], batch: int) -> Tensor:
    """The same, with weights in the order of oneDNN's blocks."""
    parts: list[Tensor] = []
    for number, operand in enumerate(operands):
        x = _entered(form, operand.rows)
        assert operand.ordered is not None
        for k, (first, last) in enumerate(form.ranges):
            values = x[first * batch : last * batch]
            if number == 0:
                parts.append(onednn.product(values, operand.ordered[k]))
            else:
                parts[k] = onednn.product(values, operand.ordered[k], parts[k])
    return torch.cat(parts)


def _entered(form: Form, rows: Tensor) -> Tensor:
    """The sums of inputs, (products * batch, channels)."""
    return torch.mm(form.matrix("enter", rows), rows.flatten(1)).view(-1, rows.shape[2])


def backward(
    operands: Sequence[Operand], form: Form, batch: int, grad: Tensor
) -> list[Tensor | None]:
    """Gradients of the operands' rows where they are needed; those of weights are collected."""
    found = [torch.empty_like(o.rows) if o.needed else None for o in operands]
    narrow = [k for k, o in enumerate(operands) if o.rows.shape[1] < batch]
    wide = [k for k, o in enumerate(operands) if o.rows.shape[1] == batch]
    some = grad.sum(dim=1, keepdim=True) if narrow else grad
    for k, operand in enumerate(operands):
        if operand.total is not None and operand.waiting is not None:
            operand.waiting.add(operand.rows, some if k in narrow else grad)
    if narrow:
        _backward(form, some, [operands[k] for k in narrow], [found[k] for k in narrow])
    if wide:
        for first, count in _parts(batch, form.products * grad.shape[2] * grad.element_size()):
            part = slice(first, first + count)
            into = [found[k] for k in wide]
            _backward(
                form, grad[:, part],
                [replace(operands[k], rows=operands[k].rows[:, part]) for k in wide],
                [None if x is None else x[:, part] for x in into],
            )  # fmt: skip
    return found


def _backward(
    form: Form, grad: Tensor, operands: Sequence[Operand], into: Sequence[Tensor | None]
) -> None:
    batch = grad.shape[1]
    flat = _left(form, grad)
    for operand, back in zip(operands, into, strict=True):
        if operand.total is not None and operand.waiting is None:
            _add(form, operand.total, _entered(form, operand.rows), flat, batch)
        if back is not None:
            channels = operand.rows.shape[2]
            entered = flat.new_empty(len(flat), channels)
            for k, (first, last) in enumerate(form.ranges):
                part = slice(first * batch, last * batch)
                torch.mm(flat[part], operand.kinds[k].t(), out=entered[part])
            torch.mm(
                form.matrix("enter_t", grad), entered.view(form.products, -1), out=back.flatten(1)
            )


def _left(form: Form, grad: Tensor) -> Tensor:
    """The gradient of the products, (products * batch, out)."""
    return torch.mm(form.matrix("leave_t", grad), grad.flatten(1)).view(-1, grad.shape[2])


def sum_up(form: Form, total: Tensor, rows: Tensor, grad: Tensor) -> None:
    """Add to the gradient (kind, in, out) of a weight."""
    _add(form, total, _entered(form, rows), _left(form, grad), rows.shape[1])


def _add(form: Form, total: Tensor, entered: Tensor, left: Tensor, batch: int) -> None:
    for k, (first, last) in enumerate(form.ranges):
        part = slice(first * batch, last * batch)
        accumulate(total[k], entered[part], left[part])


def _parts(batch: int, size: int) -> Iterator[tuple[int, int]]:
    """(first, count) of equal parts of the batch, by the bytes that a sample needs."""
    parts = max(1, -(-batch * size // _PART))
    count = -(-batch // parts)
    for first in range(0, batch, count):
        yield first, min(count, batch - first)
