"""GPT over the steps of a sweep, with or without action tokens; plain self-attention.

Reference: Chung et al. 2025, arXiv 2505.18361 (8 blocks, 4 heads, width 512, or 256 on the ResNet
as in BAKU, Haldar et al. 2024, arXiv 2406.07539); blocks as in :mod:`.blocks.transformer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vibrissa.core.errors import refuse
from vibrissa.models.blocks.transformer import Stack, Tokens, normal_weights, take
from vibrissa.models.parts import (
    Attender,
    AttenderConfig,
    Steps,
    Tap,
    attenders,
    fraction,
    positive,
)


@attenders.register("gpt")
@dataclass(frozen=True, kw_only=True)
class GPT(AttenderConfig):
    """Causal transformer; a learned action token after every step, where the output is read.

    Attributes:
        width: of tokens and output.
        n_layers: blocks.
        n_heads: heads, which must divide the width.
        dropout: fraction left out in training.
        action_tokens: put a learned token after every step and read the output there; without, it
            is read at the steps themselves.
        block_size: how many tokens there are positions for.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"width": 16, "n_layers": 2, "n_heads": 2, "dropout": 0.0},
        "small": {"width": 128, "n_layers": 4, "n_heads": 4},
    }

    width: int = 512
    n_layers: int = 8
    n_heads: int = 4
    dropout: float = 0.1
    action_tokens: bool = True
    block_size: int = 65

    def __post_init__(self) -> None:
        positive(
            width=self.width, n_layers=self.n_layers, n_heads=self.n_heads,
            block_size=self.block_size,
        )  # fmt: skip
        fraction(dropout=self.dropout)

    def build(self, n_features: int, n_steps: int) -> GPTAttender:
        return GPTAttender(self, n_features, n_steps)


@attenders.register("gpt_256")
@dataclass(frozen=True, kw_only=True)
class GPT256(GPT):
    """The same, 256 wide, as published on the ResNet."""

    width: int = 256


@attenders.register("gpt_plain")
@dataclass(frozen=True, kw_only=True)
class GPTPlain(GPT):
    """The same without action tokens: half as many tokens, read at the steps themselves."""

    action_tokens: bool = False


@attenders.register("self_attention")
@dataclass(frozen=True, kw_only=True)
class SelfAttention(AttenderConfig):
    """Attention blocks on the features themselves, with learned positions.

    Attributes:
        n_layers: blocks.
        n_heads: heads, which must divide the number of features.
        dropout: fraction left out in training.
        causal: a step sees itself and earlier ones alone; otherwise all see all.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"n_layers": 1, "n_heads": 2, "dropout": 0.0},
    }

    n_layers: int = 2
    n_heads: int = 4
    dropout: float = 0.1
    causal: bool = True

    def __post_init__(self) -> None:
        positive(n_layers=self.n_layers, n_heads=self.n_heads)
        fraction(dropout=self.dropout)

    def build(self, n_features: int, n_steps: int) -> SelfAttentionAttender:
        return SelfAttentionAttender(self, n_features, n_steps)


class GPTAttender(Attender):
    """See :class:`GPT`.

    Parameters: ``embed``, ``position``, ``block.<k>``, ``norm``, ``head``, ``action_token``. Layers
    are recorded at the tokens where the output is read, the embedding at those of the steps.
    """

    def __init__(self, config: GPT, n_features: int, n_steps: int) -> None:
        super().__init__(n_steps, config.width, causal=True)
        per_step = 2 if config.action_tokens else 1
        if per_step * n_steps > config.block_size:
            raise refuse(
                "block_size", config.block_size,
                f"{n_steps} steps make {per_step * n_steps} tokens", "give that many",
            )  # fmt: skip
        self.config = config
        self.embed = nn.Linear(n_features, config.width)
        self.position = nn.Embedding(config.block_size, config.width)
        self.block = Stack(config.n_layers, config.width, config.n_heads, config.dropout)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.width, bias=False)
        for module in (self.embed, self.position, self.head):
            normal_weights(module)
        if config.action_tokens:
            self.action_token = nn.Parameter(torch.randn(n_features))

    def layers(self) -> tuple[str, ...]:
        blocks = (f"gpt.b{k}" for k in range(self.config.n_layers))
        return ("gpt.emb", *blocks, "gpt.ln", "gpt.lm_head")

    def _tokens(self, steps: Steps) -> Tokens:
        """Where the output of steps is read."""
        return tuple(2 * t + 1 for t in steps) if self.config.action_tokens else steps

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        x = self.embed(x)
        if self.config.action_tokens:
            action = F.linear(self.action_token, self.embed.weight, self.embed.bias).to(x.dtype)
            x = torch.stack((x, action.expand_as(x)), dim=2).flatten(1, 2)
        x = x + self.position.weight[: x.shape[1]]
        x = F.dropout(x, self.config.dropout, self.training)
        every = tuple(range(x.shape[1] // (2 if self.config.action_tokens else 1)))
        queries = self._tokens(every if steps is None else steps)
        embedded = x
        x, kept = self.block.run(
            x, queries=None if len(queries) == x.shape[1] else queries,
            keep=tap is not None, checkpointed=self.checkpoint,
        )  # fmt: skip
        normed = self.norm(x)
        y = self.head(normed)
        if tap is not None:
            where = self._tokens(every)
            # Action tokens hold nothing of the input yet: the embedding is that of the steps.
            tap("gpt.emb", embedded[:, ::2] if self.config.action_tokens else embedded)
            for k, values in enumerate(kept):
                tap(f"gpt.b{k}", take(values, where))
            if len(queries) < len(where):
                normed = self.norm(take(kept[-1], where))
            tap("gpt.ln", normed)
            tap("gpt.lm_head", self.head(normed))
        return y

    @property
    def multiply_adds(self) -> int:
        width = self.config.width
        tokens = self.n_steps * (2 if self.config.action_tokens else 1)
        ends = tokens * width * (self.embed.in_features + width)
        return ends + self.block.multiply_adds(tokens, width)


class SelfAttentionAttender(Attender):
    """See :class:`SelfAttention`; parameters ``position``, ``block.<k>``, ``norm``."""

    def __init__(self, config: SelfAttention, n_features: int, n_steps: int) -> None:
        super().__init__(n_steps, n_features, causal=config.causal)
        self.config = config
        self.position = nn.Embedding(n_steps, n_features)
        normal_weights(self.position)
        self.block = Stack(
            config.n_layers, n_features, config.n_heads, config.dropout, causal=config.causal
        )
        self.norm = nn.LayerNorm(n_features)

    def layers(self) -> tuple[str, ...]:
        blocks = (f"attention.b{k}" for k in range(self.config.n_layers))
        return (*blocks, "attention.ln")

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        x = F.dropout(
            x + self.position.weight[: x.shape[1]], self.config.dropout, self.training
        )  # fmt: skip
        queries = None if steps is None or len(steps) == x.shape[1] else steps
        x, kept = self.block.run(
            x, queries=queries, keep=tap is not None, checkpointed=self.checkpoint
        )
        y = self.norm(x)
        if tap is not None:
            for k, values in enumerate(kept):
                tap(f"attention.b{k}", values)
            tap("attention.ln", self.norm(kept[-1]))
        return y

    @property
    def multiply_adds(self) -> int:
        return self.block.multiply_adds(self.n_steps, self.n_features)
