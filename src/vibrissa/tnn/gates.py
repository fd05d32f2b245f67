"""The arithmetic of cells in rows layout, and functions that recompute instead of remembering.

Rows layout is (position, batch, channel): channels are last, so that a norm over them reads memory
in order. The equations are those of the cells' own classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vibrissa.tnn.cells import (
    Cell,
    GRUCell,
    IdentityCell,
    IntersectionCell,
    LSTMCell,
    TimeDecayCell,
    UGRNNCell,
    VanillaCell,
)
from vibrissa.tnn.cells.maps import ChannelNorm, LinearMap

Arithmetic = Callable[..., tuple[Tensor, ...]]
"""``(pre, x, *state, *parameters) -> (output, *new state)``."""

Parameters = Sequence[Tensor]


def norm_parameters(cell: Cell, names: Sequence[str]) -> list[Tensor]:
    """Scale and shift of some of a cell's norms, in order; empty without norms."""
    gates: Any = cell.norm
    if not gates.normed:
        return []
    found: list[Tensor] = []
    for name in names:
        norm: Any = gates.get_submodule(name)
        found += [norm.weight, norm.bias]
    return found


def _parts(pre: Tensor, widths: Sequence[int], p: Parameters, eps: float) -> list[Tensor]:
    """Gates of a pre-activation, normed if there are parameters for it."""
    parts = list(pre.split(list(widths), dim=-1))
    return [_norm(x, p[2 * k : 2 * k + 2], eps) for k, x in enumerate(parts)] if p else parts


def _norm(x: Tensor, p: Parameters, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], p[0], p[1], eps) if p else x


def _mix(gate: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """``gate old + (1 - gate) new``."""
    return torch.lerp(new, old, gate)


def ugrnn(cell: UGRNNCell) -> tuple[Arithmetic, list[Tensor]]:
    """That of :class:`~vibrissa.tnn.cells.UGRNN`."""
    widths, eps, bias = tuple(cell.norm.widths.values()), cell.config.eps, cell.config.forget_bias

    def run(pre: Tensor, x: Tensor, s: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        g, c = _parts(pre, widths, p, eps)
        new = _mix(torch.sigmoid(g + bias), s, torch.tanh(c))
        return new, new

    return run, norm_parameters(cell, tuple(cell.norm.widths))


def intersection(cell: IntersectionCell) -> tuple[Arithmetic, list[Tensor]]:
    """That of :class:`~vibrissa.tnn.cells.Intersection`."""
    widths, eps, bias = tuple(cell.norm.widths.values()), cell.config.eps, cell.config.forget_bias

    def run(pre: Tensor, x: Tensor, s: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        gh, h, gy, y = _parts(pre, widths, p, eps)
        new = _mix(torch.sigmoid(gh + bias), s, torch.tanh(h))
        return _mix(torch.sigmoid(gy + bias), x, torch.relu(y)), new

    return run, norm_parameters(cell, tuple(cell.norm.widths))


def lstm(cell: LSTMCell) -> tuple[Arithmetic, list[Tensor]]:
    """That of :class:`~vibrissa.tnn.cells.LSTM`."""
    widths, eps, bias = tuple(cell.norm.widths.values()), cell.config.eps, cell.config.forget_bias
    act = cell._activation

    def run(pre: Tensor, x: Tensor, c: Tensor, h: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        i, j, f, o = _parts(pre, widths, p[:8], eps)
        c = _norm(c * torch.sigmoid(f + bias) + torch.sigmoid(i) * act(j), p[8:], eps)
        h = act(c) * torch.sigmoid(o)
        return h, c, h

    return run, norm_parameters(cell, (*cell.norm.widths, "c"))


def vanilla(cell: VanillaCell) -> tuple[Arithmetic, list[Tensor]]:
    """That of :class:`~vibrissa.tnn.cells.Vanilla` and ``ConvBasic``."""
    act, eps = cell._activation, cell.config.eps

    def run(pre: Tensor, x: Tensor, s: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        new = act(_norm(pre, p, eps))
        return new, new

    return run, norm_parameters(cell, ("s",))


def time_decay(cell: TimeDecayCell) -> tuple[Arithmetic, list[Tensor]]:
    """That of :class:`~vibrissa.tnn.cells.TimeDecay`; ``pre`` is not read."""
    eps = cell.norm.eps if cell.norm is not None else 0.0
    norm: list[Tensor] = [] if cell.norm is None else [cell.norm.weight, cell.norm.bias]

    def run(pre: Tensor, x: Tensor, s: Tensor, tau: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        new = x + tau * s
        return _norm(new, p, eps), new

    return run, [cell.decay(), *norm]


def identity(cell: IdentityCell) -> tuple[Arithmetic, list[Tensor]]:
    """That of :class:`~vibrissa.tnn.cells.Identity`."""
    return lambda pre, x: (x,), []


def gru_gates(cell: GRUCell) -> tuple[Arithmetic, list[Tensor]]:
    """First half of :class:`~vibrissa.tnn.cells.GRU`: ``(pre, s) -> (r s, u)``."""
    widths, eps, bias = (cell.channels,) * 2, cell.config.eps, cell.config.forget_bias

    def run(pre: Tensor, s: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        r, u = _parts(pre, widths, p, eps)
        return torch.sigmoid(r + bias) * s, torch.sigmoid(u)

    return run, norm_parameters(cell, ("r", "u"))


def gru_update(cell: GRUCell) -> tuple[Arithmetic, list[Tensor]]:
    """Second half: ``(pre, u, s) -> (output, s')``."""
    eps, act = cell.config.eps, cell._activation

    def run(pre: Tensor, u: Tensor, s: Tensor, *p: Tensor) -> tuple[Tensor, ...]:
        new = _mix(u, s, act(_norm(pre, p, eps)))
        return new, new

    return run, norm_parameters(cell, ("c",))


ARITHMETIC: Final[dict[type[Cell], Callable[[Any], tuple[Arithmetic, list[Tensor]]]]] = {
    UGRNNCell: ugrnn,
    IntersectionCell: intersection,
    LSTMCell: lstm,
    VanillaCell: vanilla,
    TimeDecayCell: time_decay,
    IdentityCell: identity,
}
"""Class of a cell -> its arithmetic behind ``pre = Wx * x + Ws * s + b``, and the parameters."""


def in_rows(cell: Cell) -> bool:
    """Can the cell be computed in rows layout? Maps, norms over channels, ordinary convolutions."""
    if (type(cell) not in ARITHMETIC and type(cell) is not GRUCell) or len(cell.in_shape) != 3:
        return False
    norms = [m for m in cell.modules() if isinstance(m, ChannelNorm)]
    maps = [m for m in cell.modules() if isinstance(m, LinearMap)]
    return not any(n.over_all for n in norms) and all(
        m.groups == 1 and m.weight.ndim == 4 for m in maps
    )


def recomputed(run: Arithmetic, *tensors: Tensor) -> tuple[Tensor, ...]:
    """``run(*tensors)``, of which only the inputs are remembered for the backward pass."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return _Recomputed.apply(run, *tensors)  # type: ignore[return-value]
    return run(*tensors)


class _Recomputed(Function):
    @staticmethod
    def forward(ctx: Any, run: Arithmetic, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.run = run
        ctx.save_for_backward(*tensors)
        found, out = [], run(*tensors)
        for y in out:  # an output may be an input or another output, which autograd must not see
            taken = any(y is z for z in (*tensors, *found))
            found.append(y.view_as(y) if taken else y)
        return tuple(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        needs = ctx.needs_input_grad[1:]
        with torch.enable_grad():
            inputs = [
                t.detach().requires_grad_(need)
                for t, need in zip(ctx.saved_tensors, needs, strict=True)
            ]
            outputs = ctx.run(*inputs)
        pairs = [
            (y, g) for y, g in zip(outputs, grads, strict=True) if g is not None and y.requires_grad
        ]
        asked = [t for t, need in zip(inputs, needs, strict=True) if need]
        if not pairs:
            return None, *(None for _ in needs)
        found = iter(
            torch.autograd.grad(
                [y for y, _ in pairs], asked, [g for _, g in pairs], allow_unused=True
            )
        )
        return None, *(next(found) if need else None for need in needs)
