"""Weights of convolutions as the products of the fast schedule read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vibrissa.tnn import onednn
from vibrissa.tnn.copying import Copying
from vibrissa.tnn.tiles import Form, Size

if TYPE_CHECKING:
    from vibrissa.tnn.gathered import Gathering


Algorithm: TypeAlias = "Form | Gathering | Copying | None"
"""How a convolution is computed: with fewer products, by gathering or copying what the taps read,
or (none) tap by tap."""


class Orders:
    """Parts of one packed weight in the order of oneDNN's blocks, made when first used.

    Args:
        wanted: make any; they need as much memory as the weight.
    """

    def __init__(self, wanted: bool = True) -> None:
        self.wanted = wanted
        self._made: dict[tuple[int, int], list[Tensor]] = {}

    def of(self, kinds: Tensor, first: int, form: Form, batch: int) -> list[Tensor] | None:
        """Each kind (in, out) of a part of a weight that begins at this input channel; none where
        that is not offered."""
        if not (self.wanted and onednn.offered(kinds)):
            return None
        key = (first, kinds.shape[1])
        if key not in self._made:
            rows = max(last - first for first, last in form.ranges) * batch
            self._made[key] = [onednn.order(kind, rows) for kind in kinds.detach()]
        return self._made[key]


TOGETHER: Final = 256
"""In bfloat16 the gradient of a weight is summed for so many samples at once (a batch at several
steps): the sum is kept in a wider type, and adding to it takes as long as a small product."""


class Queue:
    """Uses of a weight whose share of its gradient waits until they are :data:`TOGETHER` samples.

    Args:
        sum_up: adds the share of the rows (positions, samples, in) and the gradients (positions,
            samples, out) of some uses to the gradient of the weight.
    """

    def __init__(self, sum_up: Callable[[Tensor, Tensor], None]) -> None:
        self._sum_up = sum_up
        self._uses: list[tuple[Tensor, Tensor]] = []
        self._samples = 0

    def add(self, rows: Tensor, grad: Tensor) -> None:
        """One more use: its input, and the gradient of its result."""
        self._uses.append((rows, grad))
        self._samples += rows.shape[1]
        if self._samples >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Sum all."""
        if self._uses:
            self._sum_up(*(torch.cat(parts, dim=1) for parts in zip(*self._uses, strict=True)))
        self._uses, self._samples = [], 0


class Collector:
    """Gradient of one packed weight, summed over the uses of it within one backward pass."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.waiting: dict[int, Queue] = {}
        self._task = -1

    def buffer(self, like: Tensor) -> Tensor:
        """What to add to; zeros when a backward pass begins."""
        task = torch._C._current_graph_task_id()
        if self.total is None or task != self._task:
            self.total, self._task = torch.zeros_like(like, dtype=wide(like.dtype)), task
            self.waiting = {}
        return self.total

    def take(self) -> Tensor | None:
        """The sum of this backward pass."""
        total = None
        if self._task == torch._C._current_graph_task_id():
            for waiting in self.waiting.values():
                waiting.flush()
            total = self.total
        self.total, self.waiting = None, {}
        return total


@dataclass(frozen=True)
class Packed:
    """A weight as the products read it.

    Attributes:
        kinds: (tap, in, out), or (kind of product, in, out) with an algorithm.
        kernel: rows and columns.
        collector: of its gradient.
        form: the algorithm; None: tap by tap.
    """

    kinds: Tensor
    kernel: Size
    collector: Collector
    orders: Orders
    form: Algorithm = None


def pack(
    weights: Tensor | Sequence[Tensor],
    dtype: torch.dtype | None = None,
    form: Algorithm = None,
    ordered: bool = True,
) -> Packed:
    """Prepare a convolution's weight (out, in, rows, columns) for any number of uses.

    Args:
        weights: the weight, or several that are laid side by side along ``in``.
        dtype: of the products; that of the weight if omitted.
        form: the algorithm; tap by tap if omitted.
        ordered: keep it in the order of oneDNN's blocks besides, where that is faster.
    """
    weights = (weights,) if isinstance(weights, Tensor) else tuple(weights)
    collector = Collector()
    dtype = weights[0].dtype if dtype is None else dtype
    if torch.is_grad_enabled() and any(w.requires_grad for w in weights):
        kinds = _Pack.apply(dtype, collector, form, *weights)
    else:
        kinds = _packed([w.detach() for w in weights], dtype, form)
    kernel = (weights[0].shape[2], weights[0].shape[3])
    return Packed(kinds, kernel, collector, Orders(ordered), form)  # type: ignore[arg-type]


def _packed(weights: Sequence[Tensor], dtype: torch.dtype, form: Algorithm) -> Tensor:
    out, _, rows, columns = weights[0].shape
    widths = [w.shape[1] for w in weights]
    into = sum(widths)
    by_form = isinstance(form, Form)
    if isinstance(form, Copying):
        taps = weights[0].new_empty(out, rows, columns, into, dtype=dtype).permute(1, 2, 3, 0)
        whole = taps.flatten(0, 1)
    else:
        taps = weights[0].new_empty(
            rows, columns, *((out, into) if form is None or by_form else (into, out)),
            dtype=weights[0].dtype if by_form else dtype,
        )  # fmt: skip
        whole = taps.view(rows * columns, *taps.shape[2:])
        if form is None or by_form:
            taps, whole = taps.transpose(2, 3), whole.transpose(1, 2)
    for weight, part in zip(weights, taps.split(widths, dim=2), strict=True):
        part.copy_(weight.permute(2, 3, 1, 0))
    if by_form:
        flat = whole.transpose(1, 2).reshape(rows * columns, -1)
        flat = torch.mm(form.matrix("kernel", flat), flat).to(dtype)
        whole = flat.view(-1, out, into).transpose(1, 2)
    return whole


class _Pack(Function):
    @staticmethod
    def forward(
        ctx: Any, dtype: torch.dtype, collector: Collector, form: Algorithm, *weights: Tensor
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.dtype = weights[0].shape, weights[0].dtype
        ctx.widths = [w.shape[1] for w in weights]
        ctx.collector, ctx.form = collector, form
        return _packed(weights, dtype, form)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None) -> Any:  # type: ignore[override]
        total = ctx.collector.take()
        if total is None:
            return (None,) * (3 + len(ctx.widths))
        out, _, rows, columns = ctx.shape
        back = total.transpose(1, 2).reshape(len(total), -1).to(ctx.dtype)
        if isinstance(ctx.form, Form):
            back = torch.mm(ctx.form.matrix("kernel_t", back), back)
        back = back.view(rows, columns, out, -1).permute(2, 3, 0, 1)
        parts = back.split(ctx.widths, dim=1)
        return None, None, None, *(part.contiguous() for part in parts)


@dataclass(frozen=True)
class Operand:
    """One source of a convolution and its part of a weight.

    Attributes:
        rows: (positions, batch or 1, channels).
        kinds: (tap or kind of product, channels, out).
        kernel: rows and columns.
        total: what the gradient of ``kinds`` is added to; None: not needed.
        waiting: where this use waits for more before they are added to the total together; None:
            it is added at once.
        needed: is the gradient of the rows needed?
        ordered: the kinds as :mod:`vibrissa.tnn.onednn` wants them, if it shall be used.
    """

    rows: Tensor
    kinds: Tensor
    kernel: Size
    total: Tensor | None = None
    waiting: Queue | None = None
    needed: bool = False
    ordered: list[Tensor] | None = None


def accumulate(total: Tensor, x: Tensor, grad: Tensor) -> None:
    """Add ``x^T grad`` in the type of the total."""
    if total.dtype == x.dtype:
        total.addmm_(x.t(), grad)
    else:  # with the order of the total in memory
        total.t().add_(torch.mm(grad.t(), x))


_WIDE: Final = {torch.bfloat16: torch.float32, torch.float16: torch.float32}


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums of many values are kept."""
    return _WIDE.get(dtype, dtype)
