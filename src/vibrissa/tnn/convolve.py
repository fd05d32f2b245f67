"""'Same' convolutions of small maps in rows layout, with gradients.

Products are made tap by tap (:mod:`vibrissa.tnn.taps`), by an algorithm with fewer of them
(:mod:`vibrissa.tnn.tiled`) or all at once (:mod:`vibrissa.tnn.gathered`,
:mod:`vibrissa.tnn.copied`), as the weights were packed for. Only the operands are remembered for
the backward pass. Gradients of weights accumulate in one buffer over all uses of a weight (all
steps of an unrolling) and are handed on once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vibrissa.tnn import copied, gathered, packed, taps, tiled
from vibrissa.tnn.copying import Copying
from vibrissa.tnn.packed import Algorithm, Collector, Operand, Orders, Packed, Queue
from vibrissa.tnn.tiles import Form, Size


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


def convolve(
    sources: Sequence[Source],
    size: Size,
    batch: int,
    bias: Tensor | None = None,
    base: Tensor | None = None,
) -> Tensor:
    """``base + bias + sum over sources of W * x``.

    Args:
        sources: at least one; their weights have equal outputs and are packed for one algorithm.
        size: rows and columns of the map.
        batch: samples of the result; a source with one sample stands for all.
        bias: (out,).
        base: (positions, batch, out).

    Returns:
        (positions, batch, out) in the dtype of the weights.
    """
    form = sources[0].weight.form
    assert all(s.weight.form is form for s in sources)
    tensors = [t for s in sources for t in (s.rows, s.weight.kinds)]
    call = _Call(
        size, batch, form, tuple(s.weight.kernel for s in sources),
        tuple(s.first for s in sources), tuple(s.weight.collector for s in sources),
        tuple(s.weight.orders for s in sources),
    )  # fmt: skip
    return _Convolve.apply(call, bias, base, *tensors)  # type: ignore[return-value]


@dataclass(frozen=True)
class _Call:
    size: Size
    batch: int
    form: Algorithm
    kernels: tuple[Size, ...]
    firsts: tuple[int, ...]
    collectors: tuple[Collector, ...]
    orders: tuple[Orders, ...]

    def operands(
        self, tensors: Sequence[Tensor], needs: Sequence[bool] | None = None
    ) -> list[Operand]:
        """The sources; with what their gradients need if those are asked for."""
        found = []
        for k, kernel in enumerate(self.kernels):
            rows, kinds = tensors[2 * k], tensors[2 * k + 1]
            part = slice(self.firsts[k], self.firsts[k] + rows.shape[2])
            total = ordered = waiting = None
            if needs is None and isinstance(self.form, Form) and rows.shape[1] == self.batch:
                ordered = self.orders[k].of(kinds[:, part], self.firsts[k], self.form, self.batch)
            if needs is not None and needs[2 * k + 1]:
                collector = self.collectors[k]
                total = collector.buffer(kinds)[:, part]
                waiting = self._queue(k, total, kinds.dtype)
            needed = needs is not None and needs[2 * k]
            found.append(Operand(rows, kinds[:, part], kernel, total, waiting, needed, ordered))
        return found

    def _queue(self, k: int, total: Tensor, dtype: torch.dtype) -> Queue | None:
        """Where uses of a part of a weight wait, if it pays."""
        if self.batch >= packed.TOGETHER or total.dtype == dtype:
            return None
        if isinstance(self.form, Form):
            queue = Queue(partial(tiled.sum_up, self.form, total))
        elif isinstance(self.form, Copying):
            queue = Queue(partial(copied.sum_up, self.form, total))
        else:
            return None
        return self.collectors[k].waiting.setdefault(self.firsts[k], queue)

    def whole(self, tensors: Sequence[Tensor]) -> Tensor | None:
        """The weight, if it is that of all sources together, in their order."""
        first = 0
        for k in range(len(self.kernels)):
            if self.firsts[k] != first or self.orders[k] is not self.orders[0]:
                return None
            first += tensors[2 * k].shape[2]
        return tensors[1] if tensors[1].shape[1] == first else None

    def joint(self, tensors: Sequence[Tensor]) -> list[Operand] | None:
        """All sources as one, if the weight is theirs and each holds the batch."""
        whole = self.whole(tensors)
        rows = tensors[::2]
        if whole is None or len(rows) == 1 or any(x.shape[1] < self.batch for x in rows):
            return None
        assert isinstance(self.form, Form)
        ordered = self.orders[0].of(whole, 0, self.form, self.batch)
        return [Operand(torch.cat(list(rows), dim=2), whole, self.kernels[0], ordered=ordered)]


class _Convolve(Function):
    @staticmethod
    def forward(
        ctx: Any, call: _Call, bias: Tensor | None, base: Tensor | None, *tensors: Tensor
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.call, ctx.biased, ctx.based = call, bias is not None, base is not None
        ctx.save_for_backward(*tensors)
        ctx.dtypes = (None if bias is None else bias.dtype, None if base is None else base.dtype)
        if isinstance(call.form, Form):
            operands = call.joint(tensors) or call.operands(tensors)
            return tiled.forward(operands, call.form, call.batch, bias, base)
        operands = call.operands(tensors)
        if isinstance(call.form, Copying):
            whole = call.whole(tensors)
            return copied.forward(operands, call.form, call.batch, bias, base, whole)
        if call.form is not None:
            whole = call.whole(tensors)
            return gathered.forward(operands, call.form, call.batch, bias, base, whole)
        out = taps.forward(operands, call.size, call.batch)
        for more in (bias, base):
            if more is not None:
                out += more
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> Any:  # type: ignore[override]
        call: _Call = ctx.call
        if grad is None:
            return (None,) * (3 + 2 * len(call.kernels))
        needs = ctx.needs_input_grad
        bias = base = None
        if ctx.biased and needs[1]:
            bias = grad.sum(dim=(0, 1), dtype=ctx.dtypes[0])
        if ctx.based and needs[2]:
            base = grad.to(ctx.dtypes[1])
        tensors = ctx.saved_tensors  # may be read but once under checkpoints
        operands = call.operands(tensors, needs[3:])
        grad = grad.to(operands[0].kinds.dtype).contiguous()
        if isinstance(call.form, Form):
            found = tiled.backward(operands, call.form, call.batch, grad)
        elif isinstance(call.form, Copying):
            whole = call.whole(tensors)
            found = copied.backward(operands, call.form, call.batch, grad, whole)
        elif call.form is not None:
            whole = call.whole(tensors)
            found = gathered.backward(operands, call.form, call.batch, grad, whole)
        else:
            found = taps.backward(operands, call.size, call.batch, grad)
        return None, bias, base, *(x for back in found for x in (back, None))
