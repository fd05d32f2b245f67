"""Several processes as one: gathering with gradient, batch norm over all.

Gradients are those of the loss averaged over processes, the way DistributedDataParallel averages
them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


def n_processes() -> int:
    """How many processes train together; 1 where torch.distributed was not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def this_process() -> int:
    """The number of this one."""
    return dist.get_rank() if n_processes() > 1 else 0


def sizes(count: int, device: torch.device) -> list[int]:
    """How many rows each process has."""
    if n_processes() == 1:
        return [count]
    own = torch.tensor([count], device=device)
    all_sizes = [torch.empty_like(own) for _ in range(n_processes())]
    dist.all_gather(all_sizes, own)
    return torch.cat(all_sizes).tolist()


def gathered(rows: Tensor, counts: list[int]) -> Tensor:
    """The rows of all processes, in their order.

    The gradient of a row is the sum of what all processes found for it.

    Args:
        rows: (row, ...) of this process.
        counts: how many each has, see :func:`sizes`.
    """
    if n_processes() == 1:
        return rows
    return _Gather.apply(rows, counts)  # type: ignore[return-value]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:  # type: ignore[override]
        ctx.counts = counts
        most = max(counts)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole)
        start = sum(ctx.counts[: this_process()])
        return whole[start : start + ctx.counts[this_process()]], None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # type: ignore[override]
        whole = value.contiguous().clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole)
        return whole


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of (batch, feature) whose batch is that of all processes together.

    With one process it is ``nn.BatchNorm1d``. Unlike ``nn.SyncBatchNorm`` it runs on CPUs too, and
    needs no conversion.
    """

    def forward(self, input: Tensor) -> Tensor:
        if n_processes() == 1 or not self.training:
            return super().forward(input)
        rows = input if input.dtype == torch.float64 else input.float()
        count = _Sum.apply(rows.new_tensor([float(len(rows))]))
        mean = _Sum.apply(rows.sum(dim=0)) / count
        variance = _Sum.apply((rows - mean).square().sum(dim=0)) / count
        if self.track_running_stats:
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked += 1
                share = self.momentum
                if share is None:
                    share = 1.0 / float(self.num_batches_tracked)
                unbiased = variance * count / (count - 1.0)
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)
        out = (rows - mean) * torch.rsqrt(variance + self.eps)
        if self.affine:
            out = out * self.weight + self.bias
        return out.to(input.dtype)


def cross_entropy_of_all(scores: Tensor, target: Tensor, total: int) -> Tensor:
    """Cross-entropy whose mean over processes is the mean over all their rows.

    Args:
        scores: (row, class) of this process.
        target: (row,) int64.
        total: rows of all processes together.
    """
    return F.cross_entropy(scores, target, reduction="sum") * (n_processes() / total)
