"""The harbor of a node: its inputs, brought to one spatial size and concatenated on channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Shape: TypeAlias = tuple[int, ...]
"""Of one sample: ``(channel, row, column)`` or ``(channel,)``."""

HarborName: TypeAlias = Literal["resize_concat", "concat"]

# The antialiased resize of torch knows these on every device; others go through float32.
_RESIZABLE: Final = (torch.float32, torch.float64)


def resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize maps bilinearly: half-pixel centres, antialiased where they shrink.

    Args:
        x: (batch, channel, row, column), or (batch, channel) with an empty ``size``.
        size: (row, column) wanted. Maps that have it are returned as they are.

    Returns:
        (batch, channel, \\*size) of the same dtype.
    """
    if tuple(x.shape[2:]) == size:
        return x
    wide = x if x.dtype in _RESIZABLE else x.float()
    small = F.interpolate(wide, size=size, mode="bilinear", align_corners=False, antialias=True)
    return small.to(x.dtype)


def combine(inputs: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
    """Resize each input to ``size`` and concatenate them on channels, in the given order.

    Args:
        inputs: each (batch, channel, row, column), or all (batch, channel).
        size: (row, column), or empty for vectors.

    Returns:
        (batch, sum of channels, \\*size).
    """
    resized = [resize(x, size) for x in inputs]
    return resized[0] if len(resized) == 1 else torch.cat(resized, dim=1)
