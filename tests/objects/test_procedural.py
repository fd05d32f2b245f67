"""Procedural classes: closed, outward, repeatable, and different from one another."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from vibrissa.core.errors import InputError
from vibrissa.objects import (
    TactileObject,
    procedural_classes,
    procedural_dataset,
    procedural_object,
    rodgers_shape,
    rodgers_stimulus,
)
from vibrissa.objects.shape_building import triangulate


def check_closed(item: TactileObject) -> None:
    faces = item.faces
    half_edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = {tuple(edge) for edge in half_edges.tolist()}
    assert len(forward) == len(half_edges)  # no direction of an edge twice: consistent
    assert all((b, a) in forward for a, b in forward)  # both faces of every edge are there
    assert len(np.unique(item.vertices_mm, axis=0)) == len(item.vertices_mm)
    mesh = trimesh.Trimesh(item.vertices_mm, faces, process=False)
    for part in mesh.split(only_watertight=False):
        assert part.volume > 0
    assert mesh.area_faces.min() > 0


def test_there_are_enough_classes() -> None:
    assert len(procedural_classes()) >= 18


@pytest.mark.parametrize("name", procedural_classes())
def test_every_class_is_closed_varied_and_repeatable(name: str) -> None:
    items = [
        procedural_object(name, index, seed) for index, seed in ((0, 0), (1, 0), (0, 1), (7, 5))
    ]
    for item in items:
        check_closed(item)
        assert item.label == name
        assert abs(item.diagonal_mm - 40.0) < 1e-6
        assert np.abs(item.bounds_mm.sum(axis=0)).max() < 1e-6
        assert 12 < len(item.faces) < 25_000
    assert len({item.digest for item in items}) == len(items)
    assert procedural_object(name, 1, 0).digest == items[1].digest
    assert np.isclose(procedural_object(name, 1, 0, diagonal_mm=20.0).diagonal_mm, 20.0)


def test_dataset_order_and_names() -> None:
    items = list(procedural_dataset(2, ["gear", "box"]))
    assert [item.name for item in items] == ["gear/00000", "gear/00001", "box/00000", "box/00001"]
    assert items[3].digest == procedural_object("box", 1).digest
    assert len(list(procedural_dataset(1))) == len(procedural_classes())


def test_refusals() -> None:
    with pytest.raises(InputError, match="gear"):
        procedural_object("geer", 0)
    with pytest.raises(InputError, match="geer"):
        procedural_dataset(1, ["geer"])
    for index, seed, diagonal_mm in ((-1, 0, 40.0), (0, 0, 0.0), (0, -1, 40.0)):
        with pytest.raises(InputError):
            procedural_object("gear", index, seed, diagonal_mm)
    with pytest.raises(InputError):
        procedural_dataset(0)


def descriptor(item: TactileObject) -> np.ndarray:
    """What a pass of touches could tell: directions of normals, radii, heights, depth, size."""
    mesh = trimesh.Trimesh(item.vertices_mm, item.faces, process=False)
    sampled = trimesh.sample.sample_surface(mesh, 1500, seed=0)
    points, index = sampled[0], sampled[1]
    normals = mesh.face_normals[index]
    out = np.linalg.norm(points, axis=1)
    unit = points / np.maximum(out[:, None], 1e-9)
    parts = [
        np.histogram(out, 8, (0, 22))[0],
        np.histogram(np.abs(normals[:, 2]), 6, (0, 1))[0],
        np.histogram((unit * normals).sum(axis=1), 8, (-1, 1))[0],
        np.histogram(np.hypot(points[:, 0], points[:, 1]), 8, (0, 22))[0],
        1500 * item.extent_mm / 40.0,
        [1500 * mesh.volume / 10_000.0, 1500 * mesh.area / 6_000.0],
    ]
    return np.concatenate([np.asarray(part, dtype=float) for part in parts]) / 1500


def test_classes_can_be_told_apart() -> None:
    names = procedural_classes()
    train = np.array([[descriptor(procedural_object(n, i)) for i in range(6)] for n in names])
    test = np.array([[descriptor(procedural_object(n, i)) for i in range(6, 9)] for n in names])
    scale = train.std(axis=1).mean(axis=0) + 1e-3
    centroids = train.mean(axis=1) / scale
    gap = np.linalg.norm(test[:, :, None] / scale - centroids, axis=-1)
    correct = (gap.argmin(axis=2) == np.arange(len(names))[:, None]).mean()
    assert correct > 0.7  # chance is below 0.06


def test_triangulate() -> None:
    corner = np.array([[0.0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]])
    faces = triangulate(corner)
    a, b, c = (corner[faces[:, i]] for i in range(3))
    u, v = b - a, c - a
    areas = 0.5 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    assert np.isclose(areas.sum(), 3.0)
    assert (areas > 0).all()
    with pytest.raises(InputError, match="crosses itself"):
        triangulate(corner[::-1])


def test_rodgers_slab() -> None:
    slab = rodgers_shape()
    check_closed(slab)
    assert np.isclose(slab.diagonal_mm, 55.0)
    np.testing.assert_allclose(slab.extent_mm / 55.0, [0.8568, 0.4068, 0.3170], atol=2e-4)
    low = slab.bounds_mm[0] / 55.0
    np.testing.assert_allclose(low, [-0.4627, -0.2840, -0.1601], atol=2e-4)


def test_rodgers_stimuli_turn_opposite_faces() -> None:
    convex, concave = rodgers_stimulus("convex"), rodgers_stimulus("concave")
    assert (convex.label, concave.label) == ("convex", "concave")
    np.testing.assert_allclose(
        convex.vertices_mm, concave.vertices_mm * [-1.0, -1.0, 1.0], atol=1e-9
    )
    # Along -y, at mid height, the middle of the face protrudes or recedes from its chord.
    for item, sign in ((convex, 1.0), (concave, -1.0)):
        field = item.distance_field(0.5)
        y = np.arange(field.origin_mm[1], field.upper_mm[1], 0.25)
        faces = []
        for x in np.linspace(item.bounds_mm[0, 0] + 6, item.bounds_mm[1, 0] - 6, 9):
            line = np.stack([np.full_like(y, x), y, np.zeros_like(y)], axis=1)
            inside = field.sample(line) < 0
            assert inside.any()
            faces.append(y[inside.argmax()])
        chord = np.interp(np.arange(9), [0, 8], [faces[0], faces[-1]])
        assert sign * (chord - faces)[4] > 1.5
    with pytest.raises(InputError):
        rodgers_stimulus("flat")  # pyright: ignore[reportArgumentType]
