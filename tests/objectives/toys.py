"""Small models that an objective can train, and batches for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

SHAPE = (4, 12, 5, 7)  # step, channel, row, column
N_FEATURES = 16


class Toy(nn.Module):
    """Per step a linear layer and tanh; batch norm and dropout if asked for."""

    def __init__(self, n_classes: int = 7, *, norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_steps = SHAPE[0]
        width = SHAPE[1] * SHAPE[2] * SHAPE[3]
        self.layer = nn.Linear(width, N_FEATURES)
        self.norm = nn.BatchNorm1d(N_FEATURES) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(N_FEATURES, n_classes)

    def features(self, x: Tensor, *, steps: Sequence[int] | None = None) -> Tensor:
        h = self.layer(x.flatten(2))
        h = self.norm(h.flatten(0, 1)).view(h.shape)
        h = self.dropout(torch.tanh(h))
        return h if steps is None else h[:, list(steps)]

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.features(x)[:, -1])


def toy(seed: int = 0, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Toy(**options)


def batch(count: int = 8, seed: int = 1, n_classes: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Input, label, index."""
    dice = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *SHAPE, generator=dice)
    return x, torch.randint(n_classes, (count,), generator=dice), torch.arange(count)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: Any, n_samples: int = 20, seed: int = 0, n_classes: int | None = 7) -> Any:
    """The objective of a configuration for a toy."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config.build(N_FEATURES, SHAPE[0], n_classes, SHAPE, n_samples)
