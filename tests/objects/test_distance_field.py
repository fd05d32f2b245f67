"""Distance fields against closed forms, on damaged meshes, and as bounds."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from vibrissa.core.errors import InputError
from vibrissa.objects import DistanceField, TactileObject, procedural_object, read_object

Points = NDArray[np.float64]


def from_trimesh(mesh: trimesh.Trimesh) -> TactileObject:
    return TactileObject("test", "test", mesh.vertices, mesh.faces.astype(np.int32))


def field_of(
    mesh: trimesh.Trimesh, spacing_mm: float = 0.5, padding_mm: float = 2.0
) -> DistanceField:
    return from_trimesh(mesh).distance_field(spacing_mm, padding_mm, cache=False)


def together(*meshes: trimesh.Trimesh) -> trimesh.Trimesh:
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes])
    vertices = np.concatenate([m.vertices for m in meshes])
    faces = np.concatenate([m.faces + n for m, n in zip(meshes, offsets, strict=False)])
    return trimesh.Trimesh(vertices, faces, process=False)


def node_points(field: DistanceField) -> Points:
    grids = np.meshgrid(*(np.arange(n) for n in field.shape), indexing="ij")
    return field.origin_mm + field.spacing_mm * np.stack(grids, axis=-1)


def box_distance(p: Points, half: Points) -> Points:
    q = np.abs(p) - half
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)


def largest_step(field: DistanceField) -> float:
    steps = (np.abs(np.diff(field.values_mm, axis=a)).max() for a in range(3))
    return float(max(steps)) / field.spacing_mm


def test_box_is_exact_near_and_a_lower_bound_far() -> None:
    half = np.array([6.0, 9.0, 7.5])
    field = field_of(trimesh.creation.box(2 * half), padding_mm=8.0)
    true = box_distance(node_points(field), half)
    near = np.abs(true) <= 3.0
    assert np.abs(field.values_mm - true)[near].max() < 1e-4
    assert (np.abs(field.values_mm) - np.abs(true)).max() < 1e-4
    far = np.abs(true) - np.abs(field.values_mm)
    assert far.max() < 2 * field.spacing_mm
    assert ((field.values_mm < 0) == (true < 0))[np.abs(true) > 1e-4].all()
    assert field.sign_rule == "winding"
    assert field.shell_offset_mm == 0.0


def test_sphere_within_tessellation() -> None:
    field = field_of(trimesh.creation.icosphere(5, 10.0))
    true = np.linalg.norm(node_points(field), axis=-1) - 10.0
    error = field.values_mm - true
    assert np.abs(error)[np.abs(true) < 3].max() < 0.01
    assert np.abs(error)[true > 0].max() < 0.3


def test_torus_within_tessellation() -> None:
    field = field_of(trimesh.creation.torus(10.0, 4.0, 160, 80))
    p = node_points(field)
    true = np.hypot(np.hypot(p[..., 0], p[..., 1]) - 10.0, p[..., 2]) - 4.0
    assert np.abs(field.values_mm - true)[np.abs(true) < 3].max() < 0.01


def test_sampling_and_gradient() -> None:
    field = field_of(trimesh.creation.icosphere(5, 10.0))
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(300, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    radii = rng.uniform(8.0, 11.5, 300)
    points = ways * radii[:, None]
    assert np.abs(field.sample(points) - (radii - 10.0)).max() < 0.03
    normal = field.gradient(points)
    assert (normal * ways).sum(axis=1).min() > 0.995
    assert field.sample(np.zeros((2, 5, 3))).shape == (2, 5)
    assert np.isclose(field.sample(field.upper_mm), field.values_mm[-1, -1, -1])


def test_sampling_outside_never_overestimates() -> None:
    half = np.array([6.0, 9.0, 7.5])
    field = field_of(trimesh.creation.box(2 * half))
    points = np.random.default_rng(0).uniform(-40, 40, (2000, 3))
    sampled = field.sample(points)
    true = box_distance(points, half)
    outside = (points < field.origin_mm).any(axis=1) | (points > field.upper_mm).any(axis=1)
    assert (sampled - true)[outside].max() < 1e-4
    assert (true - sampled)[outside].max() < 2.6  # the box is its own bounding box: nearly tight
    assert (sampled[outside] > 0).all()


def test_points_are_checked() -> None:
    field = field_of(trimesh.creation.box([4.0, 4.0, 4.0]))
    with pytest.raises(InputError, match="last axis"):
        field.sample([1.0, 2.0])
    with pytest.raises(InputError, match="finite"):
        field.sample([1.0, np.nan, 0.0])


@pytest.mark.parametrize("name", ["cup", "gear", "superquadric"])
def test_no_overestimate_and_lipschitz(name: str) -> None:
    item = procedural_object(name, 1, diagonal_mm=25.0)
    field = item.distance_field(0.5, cache=False, padding_mm=4.0)
    points = node_points(field).reshape(-1, 3)
    values = field.values_mm.reshape(-1)
    chosen = np.random.default_rng(1).choice(len(points), 150, replace=False)
    triangles = item.vertices_mm[item.faces]
    for n in chosen:
        place = np.tile(points[n], (len(triangles), 1))
        closest = trimesh.triangles.closest_point(triangles, place)
        true = np.linalg.norm(closest - points[n], axis=1).min()
        assert abs(values[n]) <= true + 1e-4
        assert abs(values[n]) > true - (1e-4 if true <= 3.0 else 2 * field.spacing_mm)
    near = np.abs(field.values_mm) < 2.5
    for axis in range(3):
        step = np.abs(np.diff(field.values_mm, axis=axis)) / field.spacing_mm
        both = np.moveaxis(
            np.moveaxis(near, axis, 0)[1:] & np.moveaxis(near, axis, 0)[:-1], 0, axis
        )
        assert step[both].max() < 1 + 1e-4
    assert largest_step(field) < 1.3


def damaged(mesh: trimesh.Trimesh, deleted: float, flipped: float) -> TactileObject:
    rng = np.random.default_rng(3)
    faces = mesh.faces[rng.random(len(mesh.faces)) >= deleted].astype(np.int32)
    turn = rng.random(len(faces)) < flipped
    faces[turn] = faces[turn][:, ::-1]
    return TactileObject("damaged", "test", mesh.vertices, faces)


@pytest.mark.parametrize(("deleted", "flipped"), [(0.1, 0.0), (0.0, 0.5), (0.1, 0.5)])
def test_damaged_mesh_stays_near_the_clean_one(deleted: float, flipped: float) -> None:
    mesh = trimesh.creation.icosphere(4, 10.0)
    clean = field_of(mesh)
    field = damaged(mesh, deleted, flipped).distance_field(0.5, cache=False)
    assert field.sign_rule == "winding"
    error = np.abs(field.values_mm - clean.values_mm)
    assert error.max() < 0.75
    assert np.sqrt((error**2).mean()) < 0.1
    assert largest_step(field) < 1.3  # no jump across a hole
    if not deleted:
        np.testing.assert_array_equal(field.values_mm, clean.values_mm)


def test_inverted_mesh_equals_the_mesh() -> None:
    mesh = trimesh.creation.icosphere(3, 5.0)
    inside_out = TactileObject("x", "x", mesh.vertices, mesh.faces[:, ::-1].astype(np.int32))
    field = inside_out.distance_field(0.5, cache=False)
    np.testing.assert_allclose(field.values_mm, field_of(mesh).values_mm, atol=1e-5)


def test_hollow_ball_and_stray_inverted_shell() -> None:
    outer, inner = trimesh.creation.icosphere(3, 8.0), trimesh.creation.icosphere(3, 5.0)
    inner.invert()
    hollow = field_of(together(outer, inner))
    assert float(hollow.sample([0.0, 0.0, 0.0])) > 4.0
    assert float(hollow.sample([6.5, 0.0, 0.0])) < -1.0
    beside = trimesh.creation.icosphere(3, 3.0)
    beside.apply_translation([14.0, 0.0, 0.0])
    beside.invert()
    pair = field_of(together(outer, beside))
    assert float(pair.sample([14.0, 0.0, 0.0])) < -2.0
    assert float(pair.sample([9.5, 0.0, 0.0])) > 1.0


def test_overlapping_shells_are_one_solid() -> None:
    a, b = trimesh.creation.box([10.0, 4.0, 4.0]), trimesh.creation.box([4.0, 10.0, 4.0])
    field = field_of(together(a, b))
    assert (field.sample([[0, 0, 0.2], [4, 0, 0.2], [0, 4, 0.2]]) < 0).all()
    assert float(field.sample([4.0, 4.0, 0.0])) > 0


def test_doubled_faces_do_not_cancel() -> None:
    mesh = trimesh.creation.icosphere(3, 5.0)
    faces = np.concatenate([mesh.faces, mesh.faces[:, ::-1]]).astype(np.int32)
    field = TactileObject("x", "x", mesh.vertices, faces).distance_field(0.5, cache=False)
    assert float(field.sample([0.0, 0.0, 0.0])) < -4.0


@pytest.mark.parametrize("doubled", [False, True])
def test_sheet_becomes_a_plate(doubled: bool) -> None:
    corners = np.array([[x, y, 0.0] for x, y in itertools.product((-5.0, 5.0), repeat=2)])
    faces = np.array([[0, 2, 1], [1, 2, 3]])
    if doubled:
        faces = np.concatenate([faces, faces[:, ::-1]])
    sheet = TactileObject("sheet", "plate", corners, faces.astype(np.int32))
    field = sheet.distance_field(0.25, cache=False)
    assert field.sign_rule == "unsigned"
    assert field.shell_offset_mm == 0.3
    assert np.isclose(float(field.sample([0, 0, 0])), -0.3, atol=1e-5)
    assert np.isclose(float(field.sample([0, 0, 1.0])), 0.7, atol=1e-5)
    assert float(field.sample([0, 0, 50.0])) <= 49.7 + 1e-5
    forced = sheet.distance_field(0.25, sign_rule="winding", cache=False)
    assert forced.sign_rule == "winding"


def test_far_from_the_origin_stays_exact() -> None:
    mesh = trimesh.creation.box([8.0, 8.0, 8.0])
    mesh.apply_translation([5000.0, -5000.0, 5000.0])
    field = field_of(mesh)
    true = box_distance(node_points(field) - [5000.0, -5000.0, 5000.0], np.full(3, 4.0))
    assert np.abs(field.values_mm - true)[np.abs(true) < 3].max() < 1e-4


def test_covers_the_padding_and_refuses_nonsense() -> None:
    item = from_trimesh(trimesh.creation.box([4.0, 5.0, 6.0]))
    field = item.distance_field(0.3, 1.7, cache=False)
    assert (field.origin_mm <= item.bounds_mm[0] - 1.7).all()
    assert (field.upper_mm >= item.bounds_mm[1] + 1.7 - 1e-9).all()
    for spacing_mm, padding_mm in ((0.0, 2.0), (0.25, -1.0), (float("nan"), 2.0)):
        with pytest.raises(InputError):
            item.distance_field(spacing_mm, padding_mm, cache=False)
    with pytest.raises(InputError, match="device"):
        item.distance_field(cache=False, device="cuda:99")
    with pytest.raises(InputError, match="grid nodes"):
        item.distance_field(0.001, cache=False)
    with pytest.raises(InputError, match="sign_rule"):
        item.distance_field(cache=False, sign_rule="parity")  # pyright: ignore[reportArgumentType]


def test_same_bytes_every_time_and_nothing_printed(capfd: pytest.CaptureFixture[str]) -> None:
    item = procedural_object("cup", 0, diagonal_mm=20.0)
    first = item.distance_field(0.5, cache=False)
    second = item.distance_field(0.5, cache=False)
    assert first.values_mm.tobytes() == second.values_mm.tobytes()
    assert first.digest == second.digest
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.mark.parametrize("name", ["animal/stanfordbunny.stl", "cup/um_mug.obj"])
def test_real_meshes(reference_objects: Path, name: str) -> None:
    item = read_object(reference_objects / name, diagonal_mm=40.0)
    field = item.distance_field(0.5, cache=False)
    assert field.sign_rule == "winding"
    assert largest_step(field) < 1.3
    assert (field.values_mm < 0).mean() > 0.01
