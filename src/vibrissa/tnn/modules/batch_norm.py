"""Batch norm, with one set of statistics or one per time step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.shapes import Shape, check_shape, width

_TABLES = ("running_mean", "running_var", "num_batches_tracked")


@memory_modules.register("batch_norm")
@dataclass(frozen=True, kw_only=True)
class BatchNorm(MemoryConfig):
    """``(x - mean) / sqrt(variance + eps) * weight + bias``, per channel (Ioffe & Szegedy 2015).

    In training, mean and variance are those of the batch at this step; in evaluation, running
    averages of them, as in ``torch.nn.BatchNorm2d``.

    Per step, every step has averages of its own (time-varying batch norm; Cooijmans et al. 2017,
    arXiv 1603.09025). The number of steps is not fixed: the table of averages grows in training,
    and a step beyond those that were trained uses the last one trained. Weight and bias are shared
    by all steps, unless ``steps`` is given: then each of so many steps has its own, and later steps
    use the last, which is one ``BatchNorm2d`` per step.

    Attributes:
        per_step: averages per step.
        steps: with ``per_step``, how many steps have a weight and bias of their own.
        momentum: weight of the newest batch in the running averages.
        eps: added to the variance.
        affine: with weight and bias.
    """

    per_step: bool = False
    steps: int | None = None
    momentum: float = 0.1
    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        if self.steps is not None:
            width("steps", self.steps)
            if not self.per_step:
                raise refuse("steps", self.steps, "per_step is off", "set per_step or leave it out")
        if not 0 <= self.momentum <= 1:
            raise refuse("momentum", self.momentum, "outside 0 to 1", "give one within")
        if not self.eps > 0:
            raise refuse("eps", self.eps, "not positive", "give a small positive number")

    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        return check_shape("batch_norm", in_shape)

    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> BatchNormModule:
        return BatchNormModule(self, self.output_shape(in_shape))

    @property
    def foldable(self) -> bool:
        return False


class BatchNormModule(Memory):
    """See :class:`BatchNorm`.

    The buffers ``running_mean`` and ``running_var`` are ``(steps, channels)``,
    ``num_batches_tracked`` is ``(steps,)``; one step stands for all unless ``per_step``. Loading a
    state dict takes over its number of steps.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, config: BatchNorm, shape: Shape) -> None:
        super().__init__(shape, shape)
        self.config = config
        channels = shape[0]
        if config.affine:
            rows = () if config.steps is None else (config.steps,)
            self.weight = nn.Parameter(torch.ones(*rows, channels))
            self.bias = nn.Parameter(torch.zeros(*rows, channels))
        else:
            self.weight = self.bias = None
        rows = 1 if not config.per_step else config.steps or 0
        self.register_buffer("running_mean", torch.zeros(rows, channels))
        self.register_buffer("running_var", torch.ones(rows, channels))
        self.register_buffer("num_batches_tracked", torch.zeros(rows, dtype=torch.long))
        self._rows: list[int] | None = None  # found when first evaluated

    @property
    def foldable(self) -> bool:
        return not self.training and not self.config.per_step

    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        self._check(x)
        if self.config.per_step and (t is None or t < 0):
            raise InputError(
                f"batch_norm: t = {t}, but its averages are per step; give the step, 0 or more."
            )
        step = (t or 0) if self.config.per_step else 0
        if self.training:
            return self._train(x, step)
        mean, var = self._averages(step)
        return F.batch_norm(
            x, mean, var, *self._affine(step), training=False, eps=self.config.eps
        )  # fmt: skip

    def _train(self, x: Tensor, step: int) -> Tensor:
        if x.numel() == x.shape[1]:
            raise InputError(
                f"batch_norm: one value per channel (input {tuple(x.shape)}) has no variance; "
                "train with a larger batch or call eval()."
            )
        self._rows = None
        while len(self.running_mean) <= step:
            self._grow()
        # A fresh row is averaged and copied back: the table itself is never part of the graph.
        mean, var = self.running_mean[step].clone(), self.running_var[step].clone()
        y = F.batch_norm(
            x, mean, var, *self._affine(step),
            training=True, momentum=self.config.momentum, eps=self.config.eps,
        )  # fmt: skip
        with torch.no_grad():
            self.running_mean[step] = mean
            self.running_var[step] = var
            self.num_batches_tracked[step] += 1
        return y

    def _grow(self) -> None:
        for name, start in zip(_TABLES, (0, 1, 0), strict=True):
            table: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([table, table.new_full((1, *table.shape[1:]), start)]))

    def _averages(self, step: int) -> tuple[Tensor, Tensor]:
        if self._rows is None:
            self._rows = self._choose_rows()
        if not self._rows:  # nothing trained yet: averages as at the start
            shape = self.in_shape[:1]
            return self.running_mean.new_zeros(shape), self.running_var.new_ones(shape)
        row = self._rows[min(step, len(self._rows) - 1)]
        return self.running_mean[row], self.running_var[row]

    def _choose_rows(self) -> list[int]:
        """Step -> row of the tables: its own, or the last trained before it, or the first."""
        count = len(self.num_batches_tracked)
        if not self.config.per_step or self.config.steps is not None:
            return list(range(count))
        batches = self.num_batches_tracked.tolist()
        trained = [row for row in range(count) if batches[row]]
        if not trained:
            return []
        return [max((row for row in trained if row <= s), default=trained[0]) for s in range(count)]

    def _affine(self, step: int) -> tuple[Tensor | None, Tensor | None]:
        if self.weight is None or self.bias is None or self.config.steps is None:
            return self.weight, self.bias
        row = min(step, self.config.steps - 1)
        return self.weight[row], self.bias[row]

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """As torch does it, after the tables have taken over the number of steps."""
        self._rows = None
        if self.config.per_step:
            for name in _TABLES:
                found, table = state_dict.get(prefix + name), getattr(self, name)
                if found is not None and found.shape[1:] == table.shape[1:]:
                    setattr(self, name, table.new_zeros(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)  # type: ignore[arg-type]
