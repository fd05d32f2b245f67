"""Whisker names: side (R or L), row (a letter, A dorsal-most), column (from 0, caudal-most)."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from vibrissa.core.errors import refuse

Side = Literal["R", "L"]

_PATTERN = re.compile(r"([RL]?)([A-Z])(\d{1,2})")


class WhiskerName(NamedTuple):
    """The parts of a whisker's name."""

    side: Side
    row: str
    column: int

    def __str__(self) -> str:
        return f"{self.side}{self.row}{self.column}"

    @property
    def place(self) -> str:
        """Row and column without the side, for instance ``"C2"``."""
        return f"{self.row}{self.column}"

    @property
    def sort_key(self) -> tuple[bool, str, int]:
        """Right before left, then by row and column."""
        return (self.side == "L", self.row, self.column)

    def mirrored(self) -> WhiskerName:
        """The same whisker of the other side."""
        return self._replace(side="L" if self.side == "R" else "R")


def parse_name(text: str, *, default_side: Side | None = None) -> WhiskerName:
    """Read a whisker's name.

    Args:
        text: for instance ``"RC2"``; with a default side also ``"C2"``.
        default_side: the side of a name that has none.

    Raises:
        InputError: the text is no such name.
    """
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    side = (match[1] or default_side) if match else None
    if match is None or side is None:
        raise refuse(
            "whisker",
            text,
            "not a whisker's name",
            'write side, row and column from 0, for instance "RC2"',
        )
    return WhiskerName("R" if side == "R" else "L", match[2], int(match[3]))
