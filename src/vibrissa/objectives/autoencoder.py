"""Autoencoder: the features of every step rebuild the input."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vibrissa.augment import Augmentation, make_augmentation
from vibrissa.core.config import TREE_TYPE
from vibrissa.core.errors import refuse
from vibrissa.objectives.base import (
    Model,
    Objective,
    ObjectiveConfig,
    ObjectiveResult,
    check_positive,
    objectives,
    wide,
)


@objectives.register("autoencoder")
@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(ObjectiveConfig):
    """Rebuild the input at every step: 1/2 mean squared error + sparsity * mean |feature|.

    Head, as published: per step a linear layer to min(channels, features // places + 1) maps and
    three transposed 3 x 3 convolutions to as many maps as the input has, ReLU between. At 512
    features it has 289,665 parameters.

    A graph of areas in a row has not seen the input of its own step: the features of step t of a
    ConvRNN depend on steps up to t - 3. The published loss compares step t with step t all the
    same (``lag_steps=0``), so that it asks for a prediction three steps ahead, and for a constant
    at the first three.

    Attributes:
        lag_steps: the features of step t are compared with the input of step t - lag. None
            (default) takes the lag of the model, which aligns the two; 0 is as published.
        sparsity: weight of the mean absolute feature.
        depth: how many transposed convolutions.
        target: where there is an augmentation, rebuild the ``view`` that the model was given, or
            the ``clean`` input (a denoising autoencoder).
        augmentation: of training batches; none by default. ``published`` makes the variant named
            ``w_ssl`` (autoencoder with the transform of the contrastive models).
    """

    lag_steps: int | None = None
    sparsity: float = 1e-4
    depth: int = 3
    target: Literal["view", "clean"] = "view"
    augmentation: Augmentation = field(
        default_factory=lambda: make_augmentation("none"), metadata={TREE_TYPE: Any}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lag_steps is not None and self.lag_steps < 0:
            raise refuse("lag_steps", self.lag_steps, "negative", "give 0 or more")
        if not 0.0 <= self.sparsity < float("inf"):
            raise refuse("sparsity", self.sparsity, "not 0 or more", "give 0 for none")
        check_positive(depth=self.depth)
        if self.target not in ("view", "clean"):
            raise refuse("target", self.target, "unknown", "choose view or clean")

    def build(
        self,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
        input_shape: tuple[int, int, int, int],
        n_samples: int,
    ) -> Autoencoder:
        if n_steps != input_shape[0]:
            raise refuse(
                "n_steps", n_steps, f"the input has {input_shape[0]} steps",
                "use a model that has features at every step",
            )  # fmt: skip
        if self.lag_steps is not None and self.lag_steps >= n_steps:
            raise refuse("lag_steps", self.lag_steps, f"there are {n_steps} steps", "give less")
        return Autoencoder(self, n_features, input_shape)


class Autoencoder(Objective):
    """See :class:`AutoencoderConfig`.

    Metrics: ``loss``; ``mse``; ``explained``, the share of the input's mean square that is
    rebuilt (0: as good as silence); ``activity``, mean absolute feature. Outputs: ``rebuilt``
    (batch, step, channel, row, column), ``features`` of the last step.

    Args:
        config: see there.
        n_features: width of the features.
        input_shape: (step, channel, row, column).
    """

    def __init__(
        self, config: AutoencoderConfig, n_features: int, input_shape: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        self.config, self.augmentation = config, config.augmentation
        _, channels, rows, columns = input_shape
        first = min(channels, n_features // (rows * columns) + 1)
        self.start = nn.Linear(n_features, first * rows * columns)
        layers: list[nn.Module] = [nn.Unflatten(1, (first, rows, columns))]
        for n_in, n_out in pairwise([first, *[channels] * config.depth]):
            layers += [nn.ConvTranspose2d(n_in, n_out, 3, padding=1), nn.ReLU()]
        self.maps = nn.Sequential(*layers[:-1])

    def rebuild(self, features: Tensor) -> Tensor:
        """(batch, step, feature) -> (batch, step, channel, row, column)."""
        maps = self.maps(self.start(features.flatten(0, 1)))
        return maps.view(*features.shape[:2], *maps.shape[1:])

    def forward(
        self,
        model: Model,
        x: Tensor,
        label: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> ObjectiveResult:
        view = self.augmentation(x, generator) if self.training else x
        features = model.features(view)
        rebuilt = self.rebuild(features)
        target = view if self.config.target == "view" else x
        lag = lag_of(model) if self.config.lag_steps is None else self.config.lag_steps
        steps = features.shape[1] - lag
        wanted = wide(target[:, :steps])
        mse = (wide(rebuilt[:, lag:]) - wanted).square().mean()
        activity = wide(features).abs().mean()
        loss = 0.5 * mse + self.config.sparsity * activity
        with torch.no_grad():
            power = wanted.square().mean()
            metrics = {
                "loss": loss.detach(),
                "mse": mse.detach(),
                "explained": torch.where(power > 0, 1.0 - mse / power.clamp(min=1e-30), 0.0),
                "activity": activity.detach(),
            }
        outputs = {"rebuilt": rebuilt.detach(), "features": features[:, -1].detach()}
        return ObjectiveResult(loss=loss, metrics=metrics, outputs=outputs)


def lag_of(model: Any) -> int:
    """How many steps the features of a model are behind its input.

    That of its encoder where all that follows is causal; 0 where features of any step see the
    input of all, or where the model does not say.
    """
    encoder, attender = getattr(model, "encoder", None), getattr(model, "attender", None)
    if encoder is None or not hasattr(encoder, "first_input_step"):
        return 0
    if attender is not None and not getattr(attender, "causal", True):
        return 0
    return int(encoder.first_input_step())
