import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.morphology import (
    EMPTY_PLACES,
    GRID_SHAPE,
    gather_from_grid,
    grid_name,
    grid_place,
    mouse_array,
    rat_array,
    scatter_to_grid,
)

NAMES = mouse_array().names


@given(st.integers(0, 4), st.integers(0, 6), st.sampled_from(["R", "L"]))
def test_name_and_place_invert(row, column, side):
    assert grid_place(grid_name(row, column, side)) == (row, column)
    assert grid_name(row, column, side)[0] == side


def test_the_mouse_fills_all_but_the_empty_places():
    for side in ("R", "L"):
        flat = {7 * row + column for row, column in map(grid_place, mouse_array(side).names)}
        assert flat == set(range(35)) - set(EMPTY_PLACES)
    assert {"A5", "A6", "B5", "B6", "E6"} == {grid_name(*divmod(p, 7))[1:] for p in EMPTY_PLACES}
    assert all(grid_place(name) for name in rat_array().names)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_scatter_and_gather_invert(axis):
    rng = np.random.default_rng(0)
    values = np.moveaxis(rng.normal(size=(30, 4, 6)).astype(np.float32), 0, axis)
    grid = scatter_to_grid(values, NAMES, axis=axis, fill=np.nan)
    at = axis % 3
    assert grid.shape[at : at + 2] == GRID_SHAPE
    assert grid.dtype == np.float32
    assert np.isnan(grid).sum() == 5 * 24
    np.testing.assert_array_equal(gather_from_grid(grid, NAMES, axis=at), values)


def test_every_value_stands_at_its_name():
    grid = scatter_to_grid(np.arange(30), NAMES)
    for index, name in enumerate(NAMES):
        assert grid[grid_place(name)] == index
    order = np.random.default_rng(1).permutation(30)
    shuffled = scatter_to_grid(np.arange(30)[order], [NAMES[i] for i in order])
    np.testing.assert_array_equal(shuffled, grid)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["RC1"], "1 of them for axis -1 of an array of shape"),
        (["RC1", "LC1"], "two whiskers share a place"),
        (["RC1", "RC7"], "'RC7': off the 5 x 7 grid"),
        (["RC1", "nose"], "not a whisker's name"),
    ],
)
def test_refusals(names, complaint):
    with pytest.raises(InputError, match=complaint):
        scatter_to_grid(np.zeros(2), names)


def test_off_the_grid_is_refused():
    with pytest.raises(InputError, match="use rows 0-4, columns 0-6"):
        grid_name(5, 0)
    with pytest.raises(InputError, match="are no 5 x 7"):
        gather_from_grid(np.zeros((2, 3)), ["RC1"])
