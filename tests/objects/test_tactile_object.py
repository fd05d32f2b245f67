"""The object: sizes, turns, checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.objects import TactileObject

CORNERS = np.array([[0.0, 0, 0], [3, 0, 0], [0, 4, 0], [0, 0, 12.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int32)


def tetrahedron() -> TactileObject:
    return TactileObject("t", "tetrahedron", CORNERS, FACES)


def test_sizes() -> None:
    item = tetrahedron()
    np.testing.assert_array_equal(item.extent_mm, [3, 4, 12])
    assert item.diagonal_mm == 13.0
    assert item.radius_mm == 12.0
    np.testing.assert_array_equal(item.centred().bounds_mm.sum(axis=0), 0)


@given(st.floats(0.1, 1000.0))
def test_scaled_to_diagonal(diagonal_mm: float) -> None:
    assert np.isclose(tetrahedron().scaled_to_diagonal(diagonal_mm).diagonal_mm, diagonal_mm)


def test_arrays_are_own_and_read_only() -> None:
    corners = CORNERS.copy()
    item = TactileObject("t", "t", corners, FACES)
    corners[0] = 99.0
    assert item.vertices_mm[0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        item.vertices_mm[0] = 1.0


def test_digest_is_of_the_geometry() -> None:
    item = tetrahedron()
    assert item.digest == TactileObject("u", "v", CORNERS, FACES, source="w").digest
    assert item.digest != item.scaled(1.0 + 1e-9).digest
    assert item.digest != TactileObject("t", "t", CORNERS, FACES[:, ::-1]).digest


@pytest.mark.parametrize(("axis", "index"), [("x", 0), ("y", 1), ("z", 2)])
def test_upright(axis: str, index: int) -> None:
    item = tetrahedron()
    turned = item.upright(axis)
    np.testing.assert_array_equal(turned.vertices_mm[:, 2], item.vertices_mm[:, index])
    edges = turned.vertices_mm[1:] - turned.vertices_mm[0]
    assert np.linalg.det(edges) > 0  # a rotation, no mirror image


def test_rotated() -> None:
    quarter = [[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(tetrahedron().rotated(quarter).vertices_mm[1], [0, 3, 0])
    for bad in (np.diag([1.0, 1, -1]), np.eye(3) * 2, np.eye(2), np.full((3, 3), np.nan)):
        with pytest.raises(InputError, match="rotation"):
            tetrahedron().rotated(bad)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_sizes_are_refused(value: float) -> None:
    with pytest.raises(InputError):
        tetrahedron().scaled(value)
    with pytest.raises(InputError):
        tetrahedron().scaled_to_diagonal(value)
    with pytest.raises(InputError):
        tetrahedron().upright("w")


@pytest.mark.parametrize(
    ("vertices", "faces", "word"),
    [
        (CORNERS, FACES[:0], "no faces"),
        (CORNERS, FACES + 1, "out of range"),
        (CORNERS, FACES - 1, "out of range"),
        (CORNERS * np.nan, FACES, "not finite"),
        (np.where(CORNERS == 3, np.inf, CORNERS), FACES, "not finite"),
        (CORNERS * 0, FACES, "area"),
        (CORNERS * [1, 0, 0], FACES, "area"),
        (CORNERS * 1e200, FACES, "too large"),
        (CORNERS[:, :2], FACES, "x, y, z"),
        (CORNERS, FACES[:, :2], "three integers"),
    ],
)
def test_bad_geometry_is_refused(vertices: np.ndarray, faces: np.ndarray, word: str) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match=word):
        TactileObject("t", "t", vertices, faces)
