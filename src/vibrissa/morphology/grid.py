"""The 5 x 7 grid: rows A to E by columns 0 to 6, the same for either side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse
from vibrissa.morphology.names import Side, WhiskerName, parse_name

GRID_ROWS: Final = "ABCDE"
GRID_COLUMNS: Final = 7
GRID_SHAPE: Final = (len(GRID_ROWS), GRID_COLUMNS)
EMPTY_PLACES: Final = (5, 6, 12, 13, 34)
"""Row-major positions without a whisker in the mouse array: A5, A6, B5, B6, E6."""


def grid_place(name: str) -> tuple[int, int]:
    """Row and column of a whisker (``"RC2"``, ``"LC2"`` or ``"C2"``) on the grid.

    Raises:
        InputError: no whisker's name, or off the grid.
    """
    parsed = parse_name(name, default_side="R")
    row = GRID_ROWS.find(parsed.row)
    if row < 0 or parsed.column >= GRID_COLUMNS:
        raise refuse("whisker", name, "off the 5 x 7 grid", "use rows A to E and columns 0 to 6")
    return row, parsed.column


def grid_name(row: int, column: int, side: Side = "R") -> str:
    """The whisker's name at a place of the grid; the inverse of :func:`grid_place`.

    Raises:
        InputError: off the grid.
    """
    if not (0 <= row < len(GRID_ROWS) and 0 <= column < GRID_COLUMNS):
        raise refuse("place", (row, column), "off the 5 x 7 grid", "use rows 0-4, columns 0-6")
    return str(WhiskerName(side, GRID_ROWS[row], column))


def scatter_to_grid(
    values: npt.ArrayLike, names: Sequence[str], *, axis: int = -1, fill: float = 0.0
) -> npt.NDArray:
    """Replace the whisker axis by the two axes of the grid.

    Args:
        values: (..., whisker, ...).
        names: names along the whisker axis, of one side.
        axis: the whisker axis.
        fill: the value of places without a whisker.

    Returns:
        (..., row, column, ...), 5 x 7 in the place of the whisker axis, same dtype.

    Raises:
        InputError: names and axis differ in length, a name is off the grid or a place comes twice.
    """
    array = np.asarray(values)
    rows, columns = _places(names, array.shape, axis)
    moved = np.moveaxis(array, axis, 0)
    grid = np.full((*GRID_SHAPE, *moved.shape[1:]), fill, dtype=array.dtype)
    grid[rows, columns] = moved
    at = axis % array.ndim
    return np.moveaxis(grid, (0, 1), (at, at + 1))


def gather_from_grid(values: npt.ArrayLike, names: Sequence[str], *, axis: int = -2) -> npt.NDArray:
    """Replace the grid's row and column axes (``axis`` and the next) by a whisker axis.

    The inverse of :func:`scatter_to_grid`; errors alike.
    """
    array = np.asarray(values)
    at = axis % array.ndim
    if array.shape[at : at + 2] != GRID_SHAPE:
        raise refuse(
            "shape", array.shape, f"axes {at} and {at + 1} are no 5 x 7", "give the row axis"
        )
    rows, columns = _places(names, (len(names),), 0)
    moved = np.moveaxis(array, (at, at + 1), (0, 1))
    return np.moveaxis(moved[rows, columns], 0, at)


def _places(names: Sequence[str], shape: tuple[int, ...], axis: int) -> tuple[list[int], list[int]]:
    if not -len(shape) <= axis < len(shape) or shape[axis] != len(names):
        raise refuse(
            "names",
            list(names),
            f"{len(names)} of them for axis {axis} of an array of shape {shape}",
            "give one name for each whisker",
        )
    places = [grid_place(name) for name in names]
    if len(set(places)) != len(places):
        raise refuse(
            "names",
            list(names),
            "two whiskers share a place of the grid",
            "give one side at a time",
        )
    return [row for row, _ in places], [column for _, column in places]
