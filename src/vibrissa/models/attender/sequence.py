"""S4 and Mamba over the encoder's features.

Reference: Chung et al. 2025, arXiv 2505.18361: Mamba with 4 blocks, state 16, convolution over 4
steps, channels doubled, layer norm with bias, 6,784,000 parameters at width 512; S4 with blocks as
in the encoder (in the code, in no published run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from vibrissa.models.blocks.mamba import MambaStack
from vibrissa.models.blocks.s4 import S4Stack
from vibrissa.models.parts import (
    Attender,
    AttenderConfig,
    Steps,
    Tap,
    attenders,
    fraction,
    pick,
    positive,
)


@attenders.register("mamba")
@dataclass(frozen=True, kw_only=True)
class Mamba(AttenderConfig):
    """Selective state spaces over the steps of a sweep.

    Attributes:
        n_layers: blocks.
        state: of each channel.
        kernel: steps that the convolution in a block sees.
        expand: channels in a block, as a multiple of the number of features.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"tiny": {"n_layers": 2, "state": 4}}

    n_layers: int = 4
    state: int = 16
    kernel: int = 4
    expand: int = 2

    def __post_init__(self) -> None:
        positive(
            n_layers=self.n_layers, state=self.state, kernel=self.kernel, expand=self.expand
        )  # fmt: skip

    def build(self, n_features: int, n_steps: int) -> MambaAttender:
        return MambaAttender(self, n_features, n_steps)


@attenders.register("s4")
@dataclass(frozen=True, kw_only=True)
class S4(AttenderConfig):
    """Structured state spaces over the steps of a sweep.

    Attributes:
        n_layers: blocks.
        state: of each channel's system.
        dropout: fraction left out in training.
        prenorm: norm before each block instead of after the sum.
        diagonal: S4D instead of S4.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"n_layers": 2, "state": 8, "dropout": 0.0}, "small": {"state": 32},
    }  # fmt: skip

    n_layers: int = 4
    state: int = 64
    dropout: float = 0.2
    prenorm: bool = False
    diagonal: bool = False

    def __post_init__(self) -> None:
        positive(n_layers=self.n_layers, state=self.state)
        fraction(dropout=self.dropout)

    def build(self, n_features: int, n_steps: int) -> S4Attender:
        return S4Attender(self, n_features, n_steps)


class MambaAttender(Attender):
    """See :class:`Mamba`; parameters ``stack``."""

    def __init__(self, config: Mamba, n_features: int, n_steps: int) -> None:
        super().__init__(n_steps, n_features, causal=True)
        self.stack = MambaStack(
            config.n_layers, n_features, config.state, config.kernel, config.expand
        )

    def layers(self) -> tuple[str, ...]:
        return tuple(f"mamba.{name}" for name in self.stack.names())

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        def note(name: str, values: Tensor) -> None:
            if tap is not None:
                tap(f"mamba.{name}", values)

        return pick(self.stack(x, note, checkpointed=self.checkpoint), steps)

    @property
    def multiply_adds(self) -> int:
        return self.stack.multiply_adds(self.n_steps)


class S4Attender(Attender):
    """See :class:`S4`; parameters ``stack``."""

    def __init__(self, config: S4, n_features: int, n_steps: int) -> None:
        super().__init__(n_steps, n_features, causal=True)
        self.stack = S4Stack(
            config.n_layers, n_features, config.state, n_steps, config.dropout,
            prenorm=config.prenorm, diagonal=config.diagonal,
        )  # fmt: skip

    def layers(self) -> tuple[str, ...]:
        return tuple(f"s4.l{k}" for k in range(len(self.stack)))

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        for k in range(len(self.stack)):
            x = self.stack.layer(k, x, checkpointed=self.checkpoint)
            if tap is not None:
                tap(f"s4.l{k}", x)
        return pick(x, steps)

    @property
    def multiply_adds(self) -> int:
        return self.stack.multiply_adds(self.n_steps)
