"""The transformer block of GPT-2: pre-norm, causal attention, tanh-GELU.

Reference: Radford et al. 2019, "Language models are unsupervised multitask learners"; attention
Vaswani et al. 2017, arXiv 1706.03762, equation 1; GELU Hendrycks & Gimpel 2016, arXiv 1606.08415.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vibrissa.core.errors import refuse

Tokens: TypeAlias = tuple[int, ...]
"""Ascending positions in a sequence."""


class Attention(nn.Module):
    """Multi-head self-attention, computed by torch's fused kernel.

    Args:
        width: of a token.
        n_heads: heads, which must divide the width.
        dropout: of attention weights and of the result, in training.
        causal: each token sees itself and earlier ones alone.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, *, causal: bool) -> None:
        super().__init__()
        if width % n_heads:
            raise refuse("n_heads", n_heads, f"does not divide the width {width}", "choose another")
        self.n_heads, self.dropout, self.causal = n_heads, dropout, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, queries: Tokens | None = None) -> Tensor:
        """Attend: (batch, token, width) to (batch, query, width); all tokens if omitted."""
        batch, n, width = x.shape
        mask = None
        if queries is None:
            q, k, v = self.qkv(x).split(width, dim=2)
        else:
            # Only these ask, but everything before them answers.
            q = F.linear(take(x, queries), self.qkv.weight[:width], self.qkv.bias[:width])
            k, v = F.linear(x, self.qkv.weight[width:], self.qkv.bias[width:]).split(width, dim=2)
            if self.causal and queries != (n - 1,):
                ask = torch.tensor(queries, device=x.device)
                mask = ask[:, None] >= torch.arange(n, device=x.device)
        q, k, v = (part.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(
            q, k, v,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal and queries is None,
        )  # fmt: skip
        y = self.out(y.transpose(1, 2).reshape(batch, -1, width))
        return F.dropout(y, self.dropout, self.training)


class Perceptron(nn.Module):
    """Two layers with tanh-GELU between, four times as wide inside.

    Args:
        width: of a token.
        dropout: of the result, in training.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Token by token, same shape."""
        y = self.down(F.gelu(self.up(x), approximate="tanh"))
        return F.dropout(y, self.dropout, self.training)


class Block(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)).

    Args:
        width: of a token.
        n_heads: of the attention.
        dropout: in training.
        causal: each token sees itself and earlier ones alone.
    """

    def __init__(self, width: int, n_heads: int, dropout: float, *, causal: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads, dropout, causal=causal)
        self.norm2 = nn.LayerNorm(width)
        self.perceptron = Perceptron(width, dropout)

    def forward(self, x: Tensor, queries: Tokens | None = None) -> Tensor:
        """(batch, token, width) to (batch, query, width): all tokens, or the chosen ones, whose
        values are the same."""
        attended = self.attention(self.norm1(x), queries)
        x = (x if queries is None else take(x, queries)) + attended
        return x + self.perceptron(self.norm2(x))


class Stack(nn.ModuleList):
    """Blocks in a row, with the initialisation of GPT-2: normal with standard deviation 0.02,
    divided by sqrt(2 blocks) for matrices whose result is added to the stream; biases 0.

    Args:
        n_layers: how many blocks.
        width: of a token.
        n_heads: of the attention.
        dropout: in training.
        causal: each token sees itself and earlier ones alone.
    """

    def __init__(
        self, n_layers: int, width: int, n_heads: int, dropout: float, *, causal: bool = True
    ) -> None:
        super().__init__(Block(width, n_heads, dropout, causal=causal) for _ in range(n_layers))
        normal_weights(self)
        for block in self:
            assert isinstance(block, Block)
            for linear in (block.attention.out, block.perceptron.down):
                nn.init.normal_(linear.weight, std=0.02 / math.sqrt(2 * n_layers))

    def run(
        self, x: Tensor, *, queries: Tokens | None, keep: bool, checkpointed: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Through all blocks.

        Args:
            x: (batch, token, width).
            queries: the tokens to give; the last block computes these alone.
            keep: return what each block gives, for all tokens.
            checkpointed: compute the blocks again in the backward pass.

        Returns:
            (batch, query, width), and what each block gives if it is to be kept.
        """
        kept: list[Tensor] = []
        for k, block in enumerate(self):
            asked = queries if k == len(self) - 1 and not keep else None
            if checkpointed and torch.is_grad_enabled():
                x = checkpoint(block, x, asked, use_reentrant=False)  # type: ignore[assignment]
            else:
                x = block(x, asked)
            if keep:
                kept.append(x)
        return (take(x, queries) if keep and queries is not None else x), kept

    def multiply_adds(self, tokens: int, width: int) -> int:
        """Multiply-add pairs for a sequence of so many tokens."""
        return len(self) * tokens * (12 * width * width + 2 * tokens * width)


def normal_weights(module: nn.Module) -> None:
    """Draw weights of matrix products and embeddings from N(0, 0.02), biases 0."""
    for inner in module.modules():
        if isinstance(inner, nn.Linear | nn.Embedding):
            nn.init.normal_(inner.weight, std=0.02)
        if isinstance(inner, nn.Linear) and inner.bias is not None:
            nn.init.zeros_(inner.bias)


def take(x: Tensor, tokens: Sequence[int]) -> Tensor:
    """The chosen tokens of (batch, token, width), as a view where they are evenly spaced."""
    gap = tokens[1] - tokens[0] if len(tokens) > 1 else 1
    if list(tokens) == list(range(tokens[0], tokens[-1] + 1, gap)):
        return x[:, tokens[0] : tokens[-1] + 1 : gap]
    return x[:, list(tokens)]
