"""Supervised: cross-entropy of the class, top-1 and top-5."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from vibrissa.augment import Augmentation, make_augmentation
from vibrissa.core.config import TREE_TYPE
from vibrissa.core.errors import refuse
from vibrissa.objectives.base import (
    Model,
    Objective,
    ObjectiveConfig,
    ObjectiveResult,
    objectives,
    wide,
)


@objectives.register("supervised")
@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(ObjectiveConfig):
    """Cross-entropy of the class; without augmentation unless one is given, as published.

    Attributes:
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et
            al. 2016, arXiv 1512.00567, section 7). Training only: in eval mode the plain
            cross-entropy is reported.
    """

    label_smoothing: float = 0.0
    augmentation: Augmentation = field(
        default_factory=lambda: make_augmentation("none"), metadata={TREE_TYPE: Any}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise refuse(
                "label_smoothing", self.label_smoothing, "not in [0, 1)", "give 0 for none"
            )

    def build(
        self,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
        input_shape: tuple[int, int, int, int],
        n_samples: int,
    ) -> Supervised:
        if n_classes is None or n_classes < 2:
            raise refuse("n_classes", n_classes, "nothing to tell apart", "give 2 or more")
        return Supervised(self.augmentation, n_classes, self.label_smoothing)


class Supervised(Objective):
    """See :class:`SupervisedConfig`; metrics ``loss``, ``top1`` and, where there are more than
    five classes, ``top5``, outputs ``logits``.

    Args:
        augmentation: of training batches; none in eval mode.
        n_classes: how many classes the decoder must give.
        label_smoothing: see the configuration.
    """

    uses_decoder: ClassVar[bool] = True

    def __init__(
        self, augmentation: Augmentation, n_classes: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.n_classes, self.label_smoothing = n_classes, label_smoothing

    def forward(
        self,
        model: Model,
        x: Tensor,
        label: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> ObjectiveResult:
        if self.training:
            x = self.augmentation(x, generator)
        logits = model(x)
        if logits.ndim != 2 or logits.shape[1] != self.n_classes:
            raise refuse(
                "logits", tuple(logits.shape), f"not (batch, {self.n_classes} classes)",
                "build the model with the number of classes of the data",
            )  # fmt: skip
        scores = wide(logits)
        smoothing = self.label_smoothing if self.training else 0.0
        loss = F.cross_entropy(scores, label, label_smoothing=smoothing)
        with torch.no_grad():
            metrics = {"loss": loss.detach()}
            metrics |= {f"top{k}": top_share(scores, label, k) for k in told_of(self.n_classes)}
        return ObjectiveResult(loss=loss, metrics=metrics, outputs={"logits": scores.detach()})


def told_of(n_classes: int) -> tuple[int, ...]:
    """Which top-k are worth telling: 1, and 5 where there are more than five classes."""
    return (1, 5) if n_classes > 5 else (1,)


def top_share(scores: Tensor, label: Tensor, k: int) -> Tensor:
    """Share of rows (batch, class) whose label is among the k highest scores.

    A score that is not finite counts as wrong, unlike with argmax, for which NaN is class 0.
    """
    k = min(k, scores.shape[1])
    found = (scores.topk(k, dim=1).indices == label[:, None]).any(dim=1)
    return (found & scores.isfinite().all(dim=1)).float().mean()
