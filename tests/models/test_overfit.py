"""Every combination of parts learns eight sweeps by heart, at tiny widths.

Each part is tried with the simplest others, and some published pairs, in the quick suite; all
combinations in the slow one.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from vibrissa.models import attenders, build, encoders

SAMPLES, SHAPE = 8, (5, 6, 5, 7)
UNABLE: dict[str, str] = {}
"""Combination -> why it cannot."""

# At this size gpt_256 is gpt.
ATTENDERS = [name for name in attenders.names() if name != "gpt_256"]
QUICK = [
    *(f"{encoder}+none+linear" for encoder in encoders.names()),
    *(f"flatten+{attender}+{d}" for attender in ATTENDERS for d in ("linear", "mlp@all")),
    "zhuang+gpt+linear", "resnet+mamba+linear", "resnet+none+mlp@all", "zhuang+none+mlp",
    "s4+gpt+linear", "s4+mamba+linear",
]  # fmt: skip
ALL = [
    f"{encoder}+{attender}+{decoder}"
    for encoder in encoders.names()
    for attender in ATTENDERS
    for decoder in ("linear", "mlp@all")
]


def learned(name: str, steps: int) -> float:
    """Share of the eight that is known in evaluation mode after training, best of a few rates."""
    generator = torch.Generator().manual_seed(0)
    x = 10 * torch.randn(SAMPLES, *SHAPE, generator=generator)
    labels = torch.arange(SAMPLES)
    best = 0.0
    for rate in (1e-2, 3e-3):
        for seed in (0, 1):
            model = build(f"tiny:{name}", n_classes=SAMPLES, input_shape=SHAPE, seed=seed)
            optimiser = torch.optim.Adam(model.parameters(), lr=rate)
            for step in range(steps):
                loss = F.cross_entropy(model(x), labels)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                if step % 5 == 4 and float(loss.detach()) < 1.5:
                    model.eval()
                    with torch.no_grad():
                        share = (model(x).argmax(1) == labels).float().mean()
                    model.train()
                    best = max(best, float(share))
                    if best == 1:
                        return best
    return best


@pytest.mark.parametrize("name", QUICK)
def test_overfits(name):
    assert learned(name, 150) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_combination_overfits(name):
    if name in UNABLE:
        pytest.xfail(UNABLE[name])
    assert learned(name, 400) > 0.99
