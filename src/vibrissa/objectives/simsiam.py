"""SimSiam: each view predicts the other, which does not learn from it."""

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
from vibrissa.objectives.similarity import direction, negative_cosine, spread


@objectives.register("simsiam")
@dataclass(frozen=True, kw_only=True)
class SimSiamConfig(ObjectiveConfig):
    """SimSiam (Chen & He 2021, arXiv 2011.10566).

    Heads, as published for this data: a projector of three linear layers with batch norm, ReLU
    after the first two, and a predictor of two with batch norm and ReLU between; all with biases,
    the projector's last norm with scale and shift (the paper's has none). At 512 features they
    have 11,556,352 parameters.

    Attributes:
        dimension: of the projection, and width of the projector.
        hidden: of the predictor.
        pool: which features: those of the ``last`` step (published) or the ``mean`` over steps.
    """

    least_batch: ClassVar[int] = 2

    dimension: int = 2048
    hidden: int = 512
    pool: Pool = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(dimension=self.dimension, hidden=self.hidden)
        check_pool(self.pool)

    def build(
        self,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
        input_shape: tuple[int, int, int, int],
        n_samples: int,
    ) -> SimSiam:
        width, hidden = self.dimension, self.hidden
        projector = nn.Sequential(
            nn.Linear(n_features, width),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            BatchNorm(width),
            nn.ReLU(),
            nn.Linear(width, width),
            BatchNorm(width),
        )
        predictor = nn.Sequential(
            nn.Linear(width, hidden), BatchNorm(hidden), nn.ReLU(), nn.Linear(hidden, width)
        )
        return SimSiam(self.augmentation, projector, predictor, self.pool)


class SimSiam(Objective):
    """See :class:`SimSiamConfig`.

    Metrics: ``loss``, from -1 to 1; ``spread`` of the projections' directions, 1 where they point
    everywhere and 0 where they are all the same (a collapse, with a loss of -1).

    Args:
        augmentation: of the two views, drawn one after the other, in eval mode too.
        projector: (batch, feature) -> (batch, dimension).
        predictor: (batch, dimension) -> (batch, dimension).
        pool: which features.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        projector: nn.Module,
        predictor: nn.Module,
        pool: Pool = "last",
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.projector, self.predictor = projector, predictor
        self.pool: Pool = pool

    def forward(
        self,
        model: Model,
        x: Tensor,
        label: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> ObjectiveResult:
        # Two passes: each view has its own batch statistics.
        features = [
            pooled_features(model, self.augmentation(x, generator), self.pool) for _ in range(2)
        ]
        projected = [self.projector(h) for h in features]
        one, two = [self.predictor(z) for z in projected]
        loss = 0.5 * (negative_cosine(one, projected[1]) + negative_cosine(two, projected[0]))
        with torch.no_grad():
            z = torch.stack([direction(z) for z in projected])
            metrics = {"loss": loss.detach(), "spread": spread(z[0])}
        outputs = {"embedding": z, "features": features[0].detach()}
        return ObjectiveResult(loss=loss, metrics=metrics, outputs=outputs)
