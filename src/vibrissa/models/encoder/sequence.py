"""Sequence encoders: a matrix product into the stream, S4 or Mamba blocks, a matrix product out.

Reference: Chung et al. 2025, arXiv 2505.18361: S4 with 4 blocks 512 wide, state 64, dropout 0.2,
norm after the sum, 3,434,496 parameters; Mamba with 4 blocks (in the code, in no published run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from torch import Tensor, nn

from vibrissa.models.blocks.mamba import MambaStack
from vibrissa.models.blocks.s4 import S4Stack
from vibrissa.models.parts import (
    Encoder,
    EncoderConfig,
    InputShape,
    Steps,
    Tap,
    encoders,
    fraction,
    pick,
    positive,
)


@encoders.register("s4")
@dataclass(frozen=True, kw_only=True)
class S4(EncoderConfig):
    """Structured state spaces on the flattened grid.

    Attributes:
        model_width: of the stream.
        width: of the features.
        n_layers: blocks.
        state: of each channel's system.
        dropout: fraction left out in training.
        prenorm: norm before each block instead of after the sum.
    """

    diagonal: ClassVar[bool] = False
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"model_width": 16, "width": 16, "n_layers": 2, "state": 8, "dropout": 0.0},
        "small": {"model_width": 128, "width": 128, "state": 32},
    }

    model_width: int = 512
    width: int = 512
    n_layers: int = 4
    state: int = 64
    dropout: float = 0.2
    prenorm: bool = False

    def __post_init__(self) -> None:
        positive(
            model_width=self.model_width, width=self.width, n_layers=self.n_layers, state=self.state
        )
        fraction(dropout=self.dropout)

    def build(self, input_shape: InputShape) -> S4Encoder:
        return S4Encoder(self, input_shape)


@encoders.register("s4d")
@dataclass(frozen=True, kw_only=True)
class S4D(S4):
    """The same with diagonal state matrices."""

    diagonal = True


@encoders.register("mamba")
@dataclass(frozen=True, kw_only=True)
class Mamba(EncoderConfig):
    """Selective state spaces on the flattened grid.

    Attributes:
        model_width: of the stream.
        width: of the features.
        n_layers: blocks.
        state: of each channel.
        kernel: steps that the convolution in a block sees.
        expand: channels in a block, as a multiple of the stream's width.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"model_width": 16, "width": 16, "n_layers": 2, "state": 4},
        "small": {"model_width": 128, "width": 128},
    }

    model_width: int = 512
    width: int = 512
    n_layers: int = 4
    state: int = 16
    kernel: int = 4
    expand: int = 2

    def __post_init__(self) -> None:
        positive(
            model_width=self.model_width, width=self.width, n_layers=self.n_layers,
            state=self.state, kernel=self.kernel, expand=self.expand,
        )  # fmt: skip

    def build(self, input_shape: InputShape) -> MambaEncoder:
        return MambaEncoder(self, input_shape)


class S4Encoder(Encoder):
    """See :class:`S4`; parameters ``into``, ``stack``, ``out``."""

    def __init__(self, config: S4, input_shape: InputShape) -> None:
        super().__init__(input_shape, config.width, causal=True)
        self.into = nn.Linear(prod(input_shape[1:]), config.model_width)
        self.stack = S4Stack(
            config.n_layers, config.model_width, config.state, self.n_steps, config.dropout,
            prenorm=config.prenorm, diagonal=config.diagonal,
        )  # fmt: skip
        self.out = nn.Linear(config.model_width, config.width)

    def layers(self) -> tuple[str, ...]:
        return ("emb", *(f"l{k}" for k in range(len(self.stack))), "dec")

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        note = tap or _nothing
        x = self.into(x.flatten(2))
        note("emb", x)
        for k in range(len(self.stack)):
            x = self.stack.layer(k, x, checkpointed=self.checkpoint)
            note(f"l{k}", x)
        if tap is None:
            return self.out(pick(x, steps))
        y = self.out(x)
        tap("dec", y)
        return pick(y, steps)

    @property
    def multiply_adds(self) -> int:
        ends = self.into.weight.numel() + self.out.weight.numel()
        return self.n_steps * ends + self.stack.multiply_adds(self.n_steps)


class MambaEncoder(Encoder):
    """See :class:`Mamba`; parameters ``into``, ``stack``, ``out``."""

    def __init__(self, config: Mamba, input_shape: InputShape) -> None:
        super().__init__(input_shape, config.width, causal=True)
        self.into = nn.Linear(prod(input_shape[1:]), config.model_width)
        self.stack = MambaStack(
            config.n_layers, config.model_width, config.state, config.kernel, config.expand
        )
        self.out = nn.Linear(config.model_width, config.width)

    def layers(self) -> tuple[str, ...]:
        return ("emb", *self.stack.names(), "dec")

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        note = tap or _nothing
        if steps is not None and tap is None:
            x = x[:, : steps[-1] + 1]  # later steps change nothing
        x = self.into(x.flatten(2))
        note("emb", x)
        x = self.stack(x, note, checkpointed=self.checkpoint)
        if tap is None:
            return self.out(pick(x, steps))
        y = self.out(x)
        tap("dec", y)
        return pick(y, steps)

    @property
    def multiply_adds(self) -> int:
        ends = self.into.weight.numel() + self.out.weight.numel()
        return self.n_steps * ends + self.stack.multiply_adds(self.n_steps)


def _nothing(layer: str, values: Tensor) -> None:
    """Nobody records."""
