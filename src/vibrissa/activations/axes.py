"""Declarations of axes in words, such as ``"time batch unit"``, and arrays put in our order."""

from __future__ import annotations

import math
from typing import Any, Final

from vibrissa.core.errors import refuse

_STIMULUS: Final = ("batch", "stimulus")
_REMEDY: Final = (
    'name each axis once, as in "batch time unit", "time batch unit", "batch unit" or '
    '"batch channel row column"'
)


def parse_axes(text: str) -> tuple[str, ...]:
    """The axes that a declaration names, in order; ``stimulus`` is read as ``batch``.

    ``batch`` and ``time`` have their meaning, ``batch*time`` and ``time*batch`` are the two folded
    into one axis (the second of the two counting faster), any other word is a part of ``unit``.

    Raises:
        InputError: no ``batch``, a name twice, or no names at all.
    """
    axes = []
    for word in text.split():
        folded = ["batch" if part in _STIMULUS else part for part in word.split("*")]
        if len(folded) > 1 and sorted(folded) != ["batch", "time"]:
            raise refuse("axes", text, "only batch and time may be folded into one", _REMEDY)
        axes.append("*".join(folded))
    names = [name for axis in axes for name in axis.split("*")]
    if "batch" not in names or len(set(names)) < len(names) or "" in names:
        raise refuse("axes", text, "no axis batch, or a name that stands twice", _REMEDY)
    return tuple(axes)


def has_time(axes: tuple[str, ...]) -> bool:
    """Whether time is among the axes, folded or not."""
    return any("time" in axis.split("*") for axis in axes)


def arrange(
    values: Any, axes: tuple[str, ...], batch: int, field: str
) -> tuple[Any, tuple[int, ...]]:
    """Bring an array or tensor into the order (batch, time, unit).

    Args:
        values: numpy array or torch tensor with the axes named.
        axes: from :func:`parse_axes`.
        batch: how many stimuli there are.
        field: what to call it in an error.

    Returns:
        (batch, time, unit) of the same kind, time of length 1 where it has none, and the lengths
        of the axes that became the unit axis (C order).

    Raises:
        InputError: the number of axes or stimuli does not fit.
    """
    shape = tuple(int(n) for n in values.shape)
    if len(shape) != len(axes):
        raise refuse(
            field, shape, f"not the {len(axes)} axes that are declared ({' '.join(axes)})",
            "declare its axes as they are",
        )  # fmt: skip
    for place, axis in enumerate(axes):
        first, _, second = axis.partition("*")
        if not second:
            continue
        if batch < 1 or shape[place] % batch:
            raise refuse(
                field, shape, f"axis {place} ({axis}) is no multiple of the {batch} stimuli",
                "declare its axes as they are",
            )  # fmt: skip
        steps = shape[place] // batch
        sizes = (batch, steps) if first == "batch" else (steps, batch)
        values = values.reshape(*shape[:place], *sizes, *shape[place + 1 :])
        axes = (*axes[:place], first, second, *axes[place + 1 :])
        break
    sizes = dict(zip(axes, (int(n) for n in values.shape), strict=True))
    if sizes["batch"] != batch:
        raise refuse(
            field, shape, f"axis {axes.index('batch')} should be the {batch} stimuli "
            f"(declared: {' '.join(axes)})", "declare its axes as they are",
        )  # fmt: skip
    unit_axes = [axis for axis in axes if axis not in ("batch", "time")]
    leading = ["batch", "time"] if "time" in axes else ["batch"]
    order = [axes.index(axis) for axis in (*leading, *unit_axes)]
    moved = values.permute(order) if hasattr(values, "permute") else values.transpose(order)
    unit_shape = tuple(sizes[axis] for axis in unit_axes)
    flat = moved.reshape(batch, sizes.get("time", 1), math.prod(unit_shape))
    return flat, unit_shape or (1,)
