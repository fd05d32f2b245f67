"""A model that truly stands still while its features are taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vibrissa.core.errors import refuse
from vibrissa.objectives.base import Pool, check_pool, pooled_features, wide


class Batch(Protocol):
    """What :class:`vibrissa.data.TactileBatch` has."""

    @property
    def input(self) -> Tensor: ...
    @property
    def label(self) -> Tensor: ...
    @property
    def index(self) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Features:
    """What a frozen model made of some sweeps.

    Attributes:
        values: (sweep, feature) float32.
        label: (sweep,) int64.
        index: (sweep,) int64, positions in the store.
    """

    values: np.ndarray
    label: np.ndarray
    index: np.ndarray


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients inside; afterwards every module is in the mode it was in.

    In eval mode batch norm uses, and leaves alone, its running statistics, and dropout does
    nothing.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def extract_features(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    pool: Pool = "last",
    device: torch.device | str | None = None,
) -> Features:
    """Features of sweeps by a frozen model, without augmentation.

    Args:
        model: with ``features`` as :class:`vibrissa.models.EAD` has it; its modes and buffers are
            the same afterwards.
        batches: for instance a loader of a :class:`vibrissa.data.DataModule`.
        pool: features of the ``last`` step (published) or their ``mean`` over steps.
        device: where the model is; by default that of its first parameter.

    Raises:
        InputError: no batches.
    """
    check_pool(pool)
    if device is None:
        first = next(model.parameters(), None)
        device = "cpu" if first is None else first.device
    values, labels, indices = [], [], []
    with frozen(model):
        for batch in batches:
            x = batch.input.to(device, non_blocking=True)
            values.append(wide(pooled_features(model, x, pool)).cpu())  # type: ignore[arg-type]
            labels.append(batch.label.cpu())
            indices.append(batch.index.cpu())
    if not values:
        raise refuse("batches", 0, "there are none", "give a part of the split with sweeps")
    joined = (torch.cat(parts).numpy() for parts in (values, labels, indices))
    return Features(*joined)
