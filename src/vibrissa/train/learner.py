"""Model and objective as one module, and what a pass without learning measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from vibrissa.core.seeds import integer_seed
from vibrissa.data.loader import TactileLoader
from vibrissa.models import EAD
from vibrissa.objectives import Objective


class Learner(nn.Module):
    """A model and the objective that trains it.

    Parameters that the objective has no use for take no gradient: the decoder of a self-supervised
    model.

    Args:
        model: the model.
        objective: the objective with its heads.
    """

    def __init__(self, model: EAD, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        if not objective.uses_decoder:
            model.decoder.requires_grad_(False)

    def forward(
        self, x: Tensor, label: Tensor, index: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Loss, metrics and outputs of a batch, see :class:`vibrissa.objectives.Objective`."""
        result = self.objective(self.model, x, label, index, generator)
        return result.loss, dict(result.metrics), dict(result.outputs)


@dataclass
class Means:
    """Means of metrics over sweeps, kept as sums in double precision.

    Attributes:
        sums: metric -> sum over sweeps.
        count: sweeps.
    """

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, metrics: Mapping[str, Tensor | float], count: int) -> None:
        """Count in the means of so many sweeps."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * count
        self.count += count

    def merged(self, reduce: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        """The means; ``reduce`` sums a float64 tensor over processes."""
        names = sorted(self.sums)
        values = torch.tensor([self.sums[n] for n in names] + [self.count], dtype=torch.float64)
        if reduce is not None:
            values = reduce(values)
        total = max(float(values[-1]), 1.0)
        return {name: float(value) / total for name, value in zip(names, values, strict=False)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """What a classifier said of sweeps.

    Attributes:
        index: (sweep,) position in the store.
        label: (sweep,) the class.
        logits: (sweep, class) float32.
    """

    index: np.ndarray
    label: np.ndarray
    logits: np.ndarray

    @property
    def ranked(self) -> np.ndarray:
        """(sweep, up to 5) classes from the highest score down, equal ones in their order; -1
        where a score of the sweep is not finite."""
        order = np.argsort(-self.logits, axis=1, kind="stable")[:, :5]
        order[~np.isfinite(self.logits).all(axis=1)] = -1
        return order

    def right(self, k: int) -> np.ndarray:
        """(sweep,) bool: whether the class is among the first k, at most 5."""
        return (self.ranked[:, :k] == self.label[:, None]).any(axis=1)


@torch.no_grad()
def evaluate(
    module: nn.Module,
    loader: TactileLoader,
    device: torch.device,
    *,
    seed: int = 0,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> tuple[dict[str, float], Predictions | None]:
    """Metrics of a part, in eval mode, with views that are the same each time.

    Args:
        module: a :class:`Learner`, perhaps wrapped; its mode is restored.
        loader: of the part, not shuffled.
        device: where the module is.
        seed: of the views.
        reduce: sums a float64 tensor over processes.

    Returns:
        The means over sweeps, of all processes where ``reduce`` is given; and what was predicted
        for the sweeps of this process, where there are class scores.
    """
    training = module.training
    module.eval()
    means = Means()
    found: list[tuple[np.ndarray, ...]] = []
    loader.set_epoch(0)
    try:
        for k, batch in enumerate(loader):
            views = torch.Generator().manual_seed(integer_seed(seed, "evaluation", k))
            here = batch.to(device, non_blocking=True)
            _, metrics, outputs = module(here.input, here.label, here.index, views)
            means.add(metrics, len(batch))
            if "logits" in outputs:
                logits = outputs["logits"].float().cpu().numpy()
                found.append((batch.index.numpy(), batch.label.numpy(), logits))
    finally:
        loader.set_epoch(0)
        module.train(training)
    predictions = None
    if found:
        index, label, logits = (np.concatenate(parts) for parts in zip(*found, strict=True))
        predictions = Predictions(index=index, label=label, logits=logits)
    return means.merged(reduce), predictions
