"""Sizes of kernels, paddings and outputs, and the convolution that keeps the size."""

from __future__ import annotations

from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

from vibrissa.core.errors import InputError, refuse

Shape: TypeAlias = tuple[int, ...]
"""Shape without the batch: ``(channels, height, width)`` or ``(features,)``."""

Pair: TypeAlias = int | tuple[int, int]
"""One whole number for rows and columns alike, or ``(rows, columns)``."""


def pair(field: str, value: object, smallest: int) -> tuple[int, int]:
    """A number or two numbers as ``(rows, columns)``.

    Raises:
        InputError: not whole numbers, or one is less than ``smallest``.
    """
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(_whole(one) and one >= smallest for one in both):  # type: ignore[operator]
        raise refuse(
            field, value, f"not one or two whole numbers of {smallest} or more",
            "give one number, or (rows, columns)",
        )  # fmt: skip
    return both[0], both[1]  # type: ignore[return-value]


def width(field: str, value: object) -> int:
    """A number of channels or features.

    Raises:
        InputError: not a whole number of 1 or more.
    """
    if not _whole(value) or value < 1:  # type: ignore[operator]
        raise refuse(field, value, "not a whole number of 1 or more", "give one")
    return value  # type: ignore[return-value]


def check_shape(who: str, shape: object) -> Shape:
    """The shape of what enters, without the batch.

    Raises:
        InputError: neither three nor one whole numbers of 1 or more.
    """
    if (
        not isinstance(shape, tuple | list)
        or len(shape) not in (1, 3)
        or not all(_whole(size) and size >= 1 for size in shape)
    ):
        raise refuse(
            f"{who}: in_shape", shape, "not a shape without the batch",
            "give (channels, height, width) or (features,), all 1 or more",
        )  # fmt: skip
    return tuple(shape)


def check_map(who: str, shape: object) -> tuple[int, int, int]:
    """The shape of maps that enter, ``(channels, height, width)``.

    Raises:
        InputError: another shape, for instance that of a vector.
    """
    shape = check_shape(who, shape)
    if len(shape) != 3:
        raise refuse(
            f"{who}: in_shape", shape, "it works on maps, this is a vector",
            "give (channels, height, width)",
        )  # fmt: skip
    return shape  # type: ignore[return-value]


def check_input(who: str, x: Tensor, shape: Shape) -> None:
    """Refuse a tensor that is not ``(batch, *shape)``.

    Raises:
        InputError: the text gives both shapes.
    """
    if tuple(x.shape[1:]) != shape:
        wanted = ", ".join(("batch", *map(str, shape)))
        raise InputError(
            f"{who}: the input has shape {tuple(x.shape)}, which is not ({wanted}); "
            "give it that shape."
        )


def same_padding(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros before and after a row so that stride 1 keeps its length; an odd one goes after it."""
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def same_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Convolution of stride 1 with zeros around, so that height and width stay.

    Even kernels get one zero row (column) more at the bottom (right), as ``padding="same"`` of
    torch and of TensorFlow do it.

    Args:
        x: maps, ``(batch, channels, height, width)``.
        weight: kernels, ``(out channels, channels / groups, kernel rows, kernel columns)``.
        bias: ``(out channels,)``, or none.
        dilation: spacing of the kernel's rows and columns.
        groups: how many groups of channels are convolved apart.
    """
    top, bottom = same_padding(weight.shape[2], dilation[0])
    left, right = same_padding(weight.shape[3], dilation[1])
    if top == bottom and left == right:
        return F.conv2d(x, weight, bias, padding=(top, left), dilation=dilation, groups=groups)
    return F.conv2d(
        F.pad(x, (left, right, top, bottom)), weight, bias, dilation=dilation, groups=groups
    )


def window_count(
    size: int,
    kernel: int,
    stride: int,
    padding: tuple[int, int],
    dilation: int = 1,
    *,
    ceil: bool = False,
) -> int:
    """How many windows of a kernel fit on a row: ``floor((size + padding - reach) / stride) + 1``.

    With ``ceil`` a last window that hangs over the end counts too, if it begins inside the row or
    the padding before it. The result is 0 or less where nothing fits.
    """
    room = size + sum(padding) - dilation * (kernel - 1) - 1
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding[0] else count


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
