"""One matrix product per step on the flattened grid: the simplest encoder.

Reference: Chung et al. 2025, arXiv 2505.18361 (in the code, in no published run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from torch import Tensor, nn

from vibrissa.models.parts import (
    Encoder,
    EncoderConfig,
    InputShape,
    Steps,
    Tap,
    encoders,
    pick,
    positive,
)


@encoders.register("flatten")
@dataclass(frozen=True, kw_only=True)
class Flatten(EncoderConfig):
    """One matrix product per step on the flattened grid.

    Attributes:
        width: of the features.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"width": 16}, "small": {"width": 128},
    }  # fmt: skip

    width: int = 512

    def __post_init__(self) -> None:
        positive(width=self.width)

    def build(self, input_shape: InputShape) -> FlattenEncoder:
        return FlattenEncoder(self, input_shape)


class FlattenEncoder(Encoder):
    """See :class:`Flatten`; parameters ``linear``."""

    def __init__(self, config: Flatten, input_shape: InputShape) -> None:
        super().__init__(input_shape, config.width, causal=True)
        self.linear = nn.Linear(prod(input_shape[1:]), config.width)

    def layers(self) -> tuple[str, ...]:
        return ("flat",)

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        if tap is None:
            return self.linear(pick(x, steps).flatten(2))
        y = self.linear(x.flatten(2))
        tap("flat", y)
        return pick(y, steps)

    @property
    def multiply_adds(self) -> int:
        return self.n_steps * self.linear.in_features * self.n_features
