"""Conditions by name: the six stimuli of the mouse shape task in their canonical order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vibrissa.core.errors import refuse

SHAPES: Final = ("concave", "convex")
POSITIONS: Final = ("close", "medium", "far")
NOTHING: Final = "nothing"
"""The third stimulus of the detection task; it has no position."""

CONDITIONS: Final[tuple[str, ...]] = tuple(f"{s} {p}" for s in SHAPES for p in POSITIONS)
"""``concave close``, ``concave medium``, ``concave far``, ``convex close`` ... ``convex far``."""


def condition_name(shape: str, position: str) -> str:
    """The name of a condition.

    Args:
        shape: ``concave``, ``convex``, or ``nothing``, which needs no position.
        position: ``close``, ``medium`` or ``far``.

    Raises:
        InputError: an unknown shape or position.
    """
    if shape == NOTHING:
        return NOTHING
    if shape not in SHAPES:
        raise refuse("stimulus", shape, "unknown", f"choose one of {', '.join(SHAPES)}, {NOTHING}")
    if position not in POSITIONS:
        raise refuse("position", position, "unknown", f"choose one of {', '.join(POSITIONS)}")
    return f"{shape} {position}"


def ordered_conditions(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: the six canonical ones first, in their order, then the others by alphabet."""
    present = set(names)
    return tuple(n for n in CONDITIONS if n in present) + tuple(sorted(present - {*CONDITIONS}))
