"""Which places of a small map each tap of a 'same' convolution reads, as rectangles."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from vibrissa.tnn.modules.shapes import same_padding
from vibrissa.tnn.tiles import Size


class Shift(NamedTuple):
    """Where one tap reads and writes on the map: equal rectangles."""

    to_rows: slice
    to_columns: slice
    from_rows: slice
    from_columns: slice


class Copying:
    """The taps of a kernel on a map, as rectangles.

    Args:
        size: rows and columns of the map.
        kernel: rows and columns of the kernel.

    Attributes:
        shifts: one for each tap.
    """

    def __init__(self, size: Size, kernel: Size) -> None:
        self.size, self.taps = size, kernel[0] * kernel[1]
        before = [same_padding(k)[0] for k in kernel]
        rows, columns = (
            [_along(length, k - padding) for k in range(taps)]
            for length, taps, padding in zip(size, kernel, before, strict=True)
        )
        self.shifts = tuple(Shift(r[0], c[0], r[1], c[1]) for r in rows for c in columns)


def _along(length: int, offset: int) -> tuple[slice, slice]:
    """Places written and places read."""
    first = min(length, max(0, -offset))
    last = max(first, min(length, length - offset))
    return slice(first, last), slice(first + offset, last + offset)


@cache
def copying(size: Size, kernel: Size) -> Copying:
    """One of them; made once."""
    return Copying(size, kernel)
