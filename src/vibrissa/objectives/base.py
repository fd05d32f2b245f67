"""What objectives have in common: heads and a loss on the features of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol

import torch
from torch import Tensor, nn

from vibrissa.augment import Augmentation, make_augmentation
from vibrissa.augment.base import make_member
from vibrissa.core.config import TREE_TYPE
from vibrissa.core.errors import refuse
from vibrissa.core.registry import Registry

Pool = Literal["last", "mean"]


class Model(Protocol):
    """What an objective asks of a model: :class:`vibrissa.models.EAD` has it."""

    n_steps: int

    def features(self, x: Tensor, *, steps: Sequence[int] | None = None) -> Tensor:
        """(batch, step, channel, row, column) -> (batch, step, feature), all steps or some."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """The same through the decoder: (batch, class)."""
        ...


@dataclass(frozen=True, kw_only=True)
class ObjectiveResult:
    """What an objective found on a batch.

    Attributes:
        loss: scalar, with gradient.
        metrics: scalars without gradient, means over the batch.
        outputs: tensors without gradient, the batch first: ``logits`` (batch, class) where there
            are classes, ``embedding`` (view, batch, dimension) and ``features`` (batch, feature).
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(ABC):
    """Configuration of an objective.

    Attributes:
        augmentation: what the views are made by; a name, a mapping or an augmentation, see
            :func:`vibrissa.augment.make_augmentation`.
    """

    least_batch: ClassVar[int] = 1
    """Sweeps that it must see together, to have anything to learn from."""

    augmentation: Augmentation = field(
        default_factory=lambda: make_augmentation("tactile"), metadata={TREE_TYPE: Any}
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "augmentation", make_augmentation(self.augmentation))

    @abstractmethod
    def build(
        self,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
        input_shape: tuple[int, int, int, int],
        n_samples: int,
    ) -> Objective:
        """Make the heads; their weights come from torch's global generator.

        Args:
            n_features: width of the features of the model.
            n_steps: steps of its features.
            n_classes: how many classes; None where the objective needs none.
            input_shape: (step, channel, row, column).
            n_samples: how many sweeps the index of a batch counts.

        Raises:
            InputError: numbers that the objective cannot work with.
        """


objectives: Final[Registry[type[ObjectiveConfig]]] = Registry("objectives")
"""Name -> a configuration class of objectives."""


class Objective(nn.Module, ABC):
    """An objective with its heads.

    Called with a model and a batch it draws the views, runs the model and returns loss, metrics
    and outputs. In training mode it also keeps what it has to keep (a memory bank); in eval mode
    it changes nothing. Draws come from the generator alone.
    """

    uses_decoder: ClassVar[bool] = False
    """Is the model's decoder trained by this objective?"""

    @abstractmethod
    def forward(
        self,
        model: Model,
        x: Tensor,
        label: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> ObjectiveResult:
        """Loss, metrics and outputs of a batch.

        Args:
            model: the model, in the mode (training, eval) that it is to run in.
            x: (batch, step, channel, row, column).
            label: (batch,) int64.
            index: (batch,) int64, which sweep it is.
            generator: for the views.
        """


def pooled_features(model: Model, x: Tensor, pool: Pool) -> Tensor:
    """Features (batch, feature): of the last step, or their mean over steps."""
    if pool == "mean":
        return model.features(x).mean(dim=1)
    return model.features(x, steps=(model.n_steps - 1,))[:, -1]


def check_pool(pool: str) -> None:
    """Refuse unknown ways to pool.

    Raises:
        InputError: neither last nor mean.
    """
    if pool not in ("last", "mean"):
        raise refuse("pool", pool, "unknown", "choose last or mean")


def check_positive(**values: float) -> None:
    """Refuse numbers that are not positive and finite.

    Raises:
        InputError: naming the first of them.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not 0 < value < float("inf"):
            raise refuse(name, value, "not a positive number", "give one above 0")


def wide(x: Tensor) -> Tensor:
    """At least single precision: losses are not taken in half."""
    return x if x.dtype == torch.float64 else x.float()


def make_objective(tree: object, origin: str = "objective") -> ObjectiveConfig:
    """A configuration from a name, ``{"type": name, field: value}``, what
    ``core.manifest.to_tree`` makes of one, or one.

    Raises:
        InputError: no such name, or fields that do not fit.
    """
    from vibrissa.objectives import objectives as loaded  # all members are registered then

    return make_member(loaded, ObjectiveConfig, tree, origin)
