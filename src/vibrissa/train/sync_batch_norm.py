"""Batch norm whose batch is that of all processes together; unlike torch's own it runs on CPUs.

Gradients are those of the loss averaged over processes, the way DistributedDataParallel averages.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from vibrissa.core.errors import refuse


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:  # type: ignore[override]
        whole = value.contiguous().clone()
        torch.distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(whole)
        return whole


def _sum(value: Tensor) -> Tensor:
    return _SumOverProcesses.apply(value)  # type: ignore[return-value]


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """What the three kinds share: (batch, channel, ...) of any number of axes."""

    def forward(self, input: Tensor) -> Tensor:
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not self.training or not together or torch.distributed.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        values = input if input.dtype == torch.float64 else input.float()
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(values.ndim)]
        count = _sum(values.new_tensor([float(values.numel() // values.shape[1])]))
        mean = _sum(values.sum(dim=axes)) / count
        centred = values - mean.view(shape)
        variance = _sum(centred.square().sum(dim=axes)) / count
        self._count_in(mean.detach(), variance.detach(), count)
        out = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(input.dtype)

    def _count_in(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * count / (count - 1.0)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """``nn.BatchNorm1d`` over all processes."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """``nn.BatchNorm2d`` over all processes."""


class SynchronisedBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """``nn.BatchNorm3d`` over all processes."""


_KINDS: Final[dict[type, type]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
    nn.BatchNorm3d: SynchronisedBatchNorm3d,
}


def synchronise_batch_norms(module: nn.Module) -> int:
    """Let every torch batch norm in a module use the batch of all processes; in place.

    Parameters, averages and their names in the state dict stay; without other processes nothing
    changes. Batch norms of other classes are left alone.

    Returns:
        How many were changed.
    """
    changed = 0
    for inner in module.modules():
        kind = _KINDS.get(type(inner))
        if kind is not None:
            inner.__class__ = kind
            changed += 1
    return changed


def check_batch(batch_size: int, processes: int) -> None:
    """Refuse a batch that processes cannot share evenly, so that all sweeps weigh the same.

    Raises:
        InputError: there is a remainder.
    """
    if batch_size % processes:
        raise refuse(
            "batch_size", batch_size, f"{processes} processes cannot share it evenly",
            f"give a multiple of {processes}",
        )  # fmt: skip
