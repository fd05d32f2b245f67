"""SimCLR: two views of a sweep attract, those of other sweeps repel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from vibrissa.augment import Augmentation
from vibrissa.objectives.base import (
    Model,
    Objective,
    ObjectiveConfig,
    ObjectiveResult,
    Pool,
    check_pool,
    check_positive,
    objectives,
    pooled_features,
)
from vibrissa.objectives.distributed import BatchNorm
from vibrissa.objectives.similarity import direction, nt_xent

_WEIGHT_SD = 0.01


@objectives.register("simclr")
@dataclass(frozen=True, kw_only=True)
class SimCLRConfig(ObjectiveConfig):
    """SimCLR (Chen et al. 2020, arXiv 2002.05709).

    Head, as published for this data: linear, batch norm, ReLU, linear, batch norm; no biases,
    weights normal with standard deviation 0.01. At 512 features it has 1,315,072 parameters.

    Attributes:
        hidden: width of the head.
        dimension: of the embedding.
        temperature: T of the loss.
        pool: which features: those of the ``last`` step (published) or the ``mean`` over steps.
    """

    least_batch: ClassVar[int] = 2

    hidden: int = 2048
    dimension: int = 128
    temperature: float = 0.1
    pool: Pool = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(hidden=self.hidden, dimension=self.dimension, temperature=self.temperature)
        check_pool(self.pool)

    def build(
        self,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
        input_shape: tuple[int, int, int, int],
        n_samples: int,
    ) -> SimCLR:
        neck = nn.Sequential(
            nn.Linear(n_features, self.hidden, bias=False),
            BatchNorm(self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.dimension, bias=False),
            BatchNorm(self.dimension),
        )
        for layer in neck:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=_WEIGHT_SD)
        return SimCLR(self.augmentation, neck, self.temperature, self.pool)


class SimCLR(Objective):
    """See :class:`SimCLRConfig`.

    Metrics: ``loss``; ``top1``, share of views whose nearest other view is their partner;
    ``positive`` and ``negative``, mean cosines of partners and of others.

    Args:
        augmentation: of the two views, drawn one after the other, in eval mode too.
        neck: (batch, feature) -> (batch, dimension).
        temperature: T of the loss.
        pool: which features.
    """

    def __init__(
        self, augmentation: Augmentation, neck: nn.Module, temperature: float, pool: Pool = "last"
    ) -> None:
        super().__init__()
        self.augmentation, self.neck = augmentation, neck
        self.temperature = temperature
        self.pool: Pool = pool

    def forward(
        self,
        model: Model,
        x: Tensor,
        label: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> ObjectiveResult:
        views = torch.cat([self.augmentation(x, generator), self.augmentation(x, generator)])
        features = pooled_features(model, views, self.pool)
        one, two = self.neck(features).chunk(2)
        loss, found, cosines = nt_xent(one, two, self.temperature)
        with torch.no_grad():
            z = torch.stack([direction(one), direction(two)])
            positive = (z[0] * z[1]).sum(dim=-1).mean()
            # Of the cosines in a row one is that with itself and one that with the partner.
            others = cosines.shape[1] - 2
            rest = cosines.clamp(min=-1.0).sum() + len(cosines) - 2 * len(one) * positive
            metrics = {
                "loss": loss.detach(),
                "top1": found,
                "positive": positive,
                "negative": rest / (len(cosines) * max(others, 1)),
            }
        outputs = {"embedding": z, "features": features[: len(x)].detach()}
        return ObjectiveResult(loss=loss, metrics=metrics, outputs=outputs)
