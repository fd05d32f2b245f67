"""The Mamba block: gated selective state space with a short causal convolution before it.

Reference: Gu & Dao 2023, arXiv 2312.00752, figure 3 and section 3.4; initialisation of the step
sizes as in section 3.6 (softplus inverse of a log-uniform draw from 0.001 to 0.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vibrissa.models.blocks.scan import selective_scan

DT_MIN, DT_MAX, DT_FLOOR = 1e-3, 1e-1, 1e-4


class MambaBlock(nn.Module):
    """Maps (batch, step, width) to the same; causal.

    Parameters by the usual names: ``in_proj``, ``conv1d``, ``x_proj``, ``dt_proj``, ``A_log``,
    ``D``, ``out_proj``.

    Args:
        width: of a step.
        state: of each channel.
        kernel: steps that the convolution sees.
        expand: channels inside, as a multiple of the width.
    """

    def __init__(self, width: int, state: int = 16, kernel: int = 4, expand: int = 2) -> None:
        super().__init__()
        self.width, self.state, self.kernel = width, state, kernel
        self.channels = expand * width
        self.rank = math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * self.channels, bias=False)
        self.conv1d = nn.Conv1d(
            self.channels, self.channels, kernel, groups=self.channels, padding=kernel - 1
        )
        self.x_proj = nn.Linear(self.channels, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, self.channels)
        self.out_proj = nn.Linear(self.channels, width, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = math.log(DT_MIN), math.log(DT_MAX)
        dt = torch.exp(low + (high - low) * torch.rand(self.channels)).clamp(min=DT_FLOOR)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        rates = torch.arange(1, state + 1, dtype=torch.float32)
        self.A_log = nn.Parameter(torch.log(rates).repeat(self.channels, 1))
        self.D = nn.Parameter(torch.ones(self.channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, step, width) to the same."""
        u, gate = self.in_proj(x).chunk(2, dim=-1)
        u = F.silu(self._convolve(u))
        dt, b, c = self.x_proj(u).split((self.rank, self.state, self.state), dim=-1)
        dt = F.softplus(self.dt_proj(dt))
        with torch.autocast(x.device.type, enabled=False):
            kind = self.A_log.dtype  # the recurrence is not for low precision
            y = selective_scan(
                u.to(kind), dt.to(kind), -torch.exp(self.A_log), b.to(kind), c.to(kind), self.D
            )
        return self.out_proj(y.to(gate.dtype) * F.silu(gate))

    def _convolve(self, u: Tensor) -> Tensor:
        """The depthwise convolution over past steps, as one product per tap."""
        weight = self.conv1d.weight[:, 0].to(u.dtype)
        steps = u.shape[1]
        y = u * weight[:, -1] + self.conv1d.bias.to(u.dtype)  # type: ignore[union-attr]
        for lag in range(1, min(self.kernel, steps)):
            y = y + F.pad(u[:, : steps - lag] * weight[:, -1 - lag], (0, 0, lag, 0))
        return y

    def multiply_adds(self, steps: int) -> int:
        """Multiply-add pairs for a sequence of so many steps."""
        linear = sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Linear))
        # per state: decay, input, read-out; and D
        return steps * (linear + self.conv1d.weight.numel() + self.channels * (3 * self.state + 1))


class MambaStack(nn.Module):
    """Blocks in a row, each on the normed stream and added to it, then layer norm with bias.

    Reference: Chung et al. 2025, arXiv 2505.18361: 4 blocks, layer norm instead of the usual RMS
    norm, no perceptrons between.

    Args:
        n_layers: how many blocks.
        width: of a step.
        state: as of the block.
        kernel: as of the block.
        expand: as of the block.
    """

    def __init__(self, n_layers: int, width: int, state: int, kernel: int, expand: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            nn.ModuleDict(
                {"norm": nn.LayerNorm(width), "mixer": MambaBlock(width, state, kernel, expand)}
            )
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, note: Callable[[str, Tensor], None], *, checkpointed: bool = False
    ) -> Tensor:
        """(batch, step, width) to the same.

        Args:
            x: the features.
            note: called with ``l0``, ``l1``, ... and what that block adds to the stream, and with
                ``norm`` and the result.
            checkpointed: compute the blocks again in the backward pass.
        """
        for k, layer in enumerate(self.layer):
            assert isinstance(layer, nn.ModuleDict)
            if checkpointed and torch.is_grad_enabled():
                y = checkpoint(_mix, layer, x, use_reentrant=False)
            else:
                y = _mix(layer, x)
            assert isinstance(y, Tensor)
            note(f"l{k}", y)
            x = x + y
        x = self.norm(x)
        note("norm", x)
        return x

    def names(self) -> tuple[str, ...]:
        """Names that :meth:`forward` notes."""
        return (*(f"l{k}" for k in range(len(self.layer))), "norm")

    def multiply_adds(self, steps: int) -> int:
        """Multiply-add pairs for a sequence of so many steps."""
        blocks = (m for m in self.modules() if isinstance(m, MambaBlock))
        return sum(block.multiply_adds(steps) for block in blocks)


def _mix(layer: nn.ModuleDict, x: Tensor) -> Tensor:
    return layer["mixer"](layer["norm"](x))
