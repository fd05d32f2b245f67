"""Layer-wise adaptive rate scaling: SGD whose every tensor has a rate of its own.

You, Gitman and Ginsburg 2017, arXiv 1708.03888, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling.

    Of a tensor w with gradient g the local rate is ``eta |w| / (|g| + weight_decay |w|)``, its
    velocity ``v <- momentum v + lr local (g + weight_decay w)`` and its step ``w <- w - v``.

    A parameter group may say ``adapt=False``: its local rate is then 1.

    Args:
        params: parameters or groups of them.
        lr: rate of the whole.
        momentum: share of the velocity that lasts.
        weight_decay: of all tensors of a group.
        eta: trust coefficient.
        zero_moves: a tensor that is all zero, or has a zero gradient, takes the local rate 1, so
            that biases which begin at zero can leave it. Otherwise its local rate is what the
            formula says, 0 for a zero tensor, and 0 where the formula says 0/0.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
        zero_moves: bool = True,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta,
            "zero_moves": zero_moves, "adapt": True,
        }  # fmt: skip
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step; ``closure`` computes the loss again, as torch's optimisers have it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self._step_group(group, moved)
        return loss

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        decay = group["weight_decay"]
        gradients: list[Any] = [p.grad for p in parameters]
        if group["adapt"]:
            norm = torch.linalg.vector_norm
            rates = [
                _local_rate(norm(w), norm(g), group["eta"], decay, group["zero_moves"])
                for w, g in zip(parameters, gradients, strict=True)
            ]
        else:
            rates = [None] * len(parameters)
        for p, g, rate in zip(parameters, gradients, rates, strict=True):
            step = g.add(p, alpha=decay) if decay else g.clone()
            step.mul_(group["lr"])
            if rate is not None:
                step.mul_(rate)
            if group["momentum"]:
                state = self.state[p]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(p)
                step = state["velocity"].mul_(group["momentum"]).add_(step)
            p.sub_(step)


def _local_rate(size: Tensor, slope: Tensor, eta: float, decay: float, zero_moves: bool) -> Tensor:
    # Divides by one where it would divide by zero; no value leaves the device.
    below = slope + decay * size
    rate = eta * size / torch.where(below > 0, below, torch.ones_like(below))
    if not zero_moves:
        return rate
    return torch.where((size > 0) & (slope > 0), rate, torch.ones_like(rate))
