"""The selective scan of Mamba: a linear recurrence whose coefficients depend on the input.

Reference: Gu & Dao 2023, arXiv 2312.00752, algorithm 2 and section 3.3; zero-order hold for A, and
the product of step and B for the input, as there::

    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t        y_t = C_t . h_t + D x_t

It is computed step by step with the state as (batch, state, channel): channels are contiguous, all
arithmetic runs along them, and sums over the state are matrix products. The backward pass is
written out, so that only the states are kept, not the intermediate arithmetic.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor


def selective_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The scan, with the kernel of ``mamba_ssm`` on CUDA where that package is installed.

    Args:
        x: input (batch, step, channel).
        dt: step sizes (batch, step, channel), positive.
        a: (channel, state), negative.
        b: (batch, step, state).
        c: (batch, step, state).
        d: (channel,).

    Returns:
        y (batch, step, channel).
    """
    kernel = _kernel() if x.is_cuda else None
    if kernel is not None:
        return by_kernel(kernel, x, dt, a, b, c, d)
    if x.device.type == "meta":
        return x * d + (c @ b.transpose(1, 2)) @ (dt * x)
    found: Any = _Scan.apply(x, dt, a, b, c)
    return found + x * d


def by_kernel(
    kernel: Any, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> Tensor:
    """The scan by ``selective_scan_fn``, which has the steps last."""
    x, dt, b, c = (part.transpose(1, 2).contiguous() for part in (x, dt, b, c))
    return kernel(x, dt, a.float(), b, c, d.float()).transpose(1, 2)


@cache
def _kernel() -> Any:
    """``selective_scan_fn`` of mamba_ssm, or None if it is not installed."""
    try:
        return import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    except ImportError:
        return None


# Bytes of state that fit a processor's second-level cache.
_CACHE = 1 << 20


def _samples_together(x: Tensor, n_state: int) -> int:
    if x.device.type != "cpu":
        return x.shape[0]
    return max(1, _CACHE // (x.shape[2] * n_state * x.element_size()))


class _Scan(torch.autograd.Function):
    """The recurrence without the term D x."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        x, dt, a, b, c = inputs
        batch, steps, channels = x.shape
        at = a.t().contiguous()  # (state, channel)
        n_state = at.shape[0]
        u = dt * x
        keep = any(ctx.needs_input_grad)
        y = torch.empty_like(u)
        states = u.new_empty(steps, batch, n_state, channels) if keep else None
        together = _samples_together(x, n_state)
        for first in range(0, batch, together):
            these = slice(first, first + together)
            n = min(together, batch - first)
            h = u.new_zeros(n, n_state, channels)
            for t in range(steps):
                decay = torch.mul(dt[these, t, None], at).exp_()
                target = states[t, these] if states is not None else h
                torch.mul(decay, h, out=target)
                target.addcmul_(b[these, t, :, None], u[these, t, None])
                h = target
                torch.bmm(c[these, t, None], h, out=_row(y, these, t))
        if states is not None:
            ctx.save_for_backward(x, dt, a, b, c, states)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, dt, a, b, c, states = ctx.saved_tensors
        grad = grads[0].contiguous()
        batch, steps, channels = x.shape
        at = a.t().contiguous()
        n_state = at.shape[0]
        u = dt * x
        du, ddt = torch.empty_like(u), torch.empty_like(u)
        db, dc = torch.empty_like(b), torch.empty_like(c)
        da = torch.zeros_like(at)
        together = _samples_together(x, n_state)
        for first in range(0, batch, together):
            these = slice(first, first + together)
            n = min(together, batch - first)
            g = u.new_zeros(n, n_state, channels)  # gradient of the state, from later steps
            for t in reversed(range(steps)):
                h = states[t, these]
                dc[these, t] = torch.bmm(h, grad[these, t, :, None])[..., 0]
                g.addcmul_(c[these, t, :, None], grad[these, t, None])
                torch.bmm(b[these, t, None], g, out=_row(du, these, t))
                db[these, t] = torch.bmm(g, u[these, t, :, None])[..., 0]
                g.mul_(torch.mul(dt[these, t, None], at).exp_())
                if t:
                    through = g * states[t - 1, these]  # = dL/d(dt A) of this step
                    ddt[these, t] = (through * at).sum(1)
                    da.add_((through * dt[these, t, None]).sum(0))
                else:
                    ddt[these, t] = 0
        return du * dt, ddt.addcmul_(du, x), da.t(), db, dc


def _row(y: Tensor, these: slice, t: int) -> Tensor:
    return y[these, t, None]
