from dataclasses import replace

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, mouse_array
from vibrissa.morphology.placement import axis_rotation
from vibrissa.objects import procedural_object
from vibrissa.simulation import (
    PassiveSweep,
    PlacedObject,
    Scene,
    SolverConfig,
    UniformMotion,
    check_placement,
    check_scenes,
    simulate,
    still,
)
from vibrissa.simulation.passive import CLEAN_MARGIN_MM, published_1000hz, rest_points_mm
from vibrissa.simulation.placement import require_placed

COARSE = SolverConfig(grid_spacing_mm=1.0, threads=1)
ARRAY = mouse_array().select(["RA2", "RC1", "RC4"])
BOX = procedural_object("box", 0)


def placed_mm(scene, time_s=0.0):
    """All vertices of the first object in the world."""
    one = scene.objects[0]
    at, turned = one.motion.poses(np.array([time_s]))
    return one.shape.vertices_mm @ turned[0].T + at[0]


@pytest.mark.parametrize("theta_deg", [0.0, 30.0, 90.0, 211.0])
def test_published_start(theta_deg):
    shape = procedural_object("cup", 1, diagonal_mm=17.0)
    shape = replace(shape, vertices_mm=shape.vertices_mm + np.array([1.0, -2.0, 3.0]))
    scene = PassiveSweep(
        start="published", theta_deg=theta_deg, distance_mm=8.0, height_mm=-5.0, start_y_mm=16.0
    ).scene(shape, ARRAY)
    # Turned about the mesh's own origin after scaling; then min x = OBJ_X, and the origin of the
    # mesh stands at y = OBJ_Y + min y and z = OBJ_Z.
    c, s = np.cos(np.deg2rad(theta_deg)), np.sin(np.deg2rad(theta_deg))
    scaled = shape.vertices_mm * (40.0 / 17.0)
    x, y = c * scaled[:, 0] - s * scaled[:, 1], s * scaled[:, 0] + c * scaled[:, 1]
    expected = np.stack([x - x.min() + 8.0, y + y.min() + 16.0, scaled[:, 2] - 5.0], axis=1)
    np.testing.assert_allclose(placed_mm(scene), expected, rtol=0, atol=1e-9)
    moved = placed_mm(scene, 0.5) - placed_mm(scene)
    np.testing.assert_allclose(moved, [[0.0, -15.0, 0.0]] * len(moved), rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", ["R", "L"])
@pytest.mark.parametrize("theta_deg", [0.0, 75.0])
def test_clean_start_is_just_in_front_of_the_whiskers(side, theta_deg):
    array = mouse_array(side)
    scene = PassiveSweep(side=side, theta_deg=theta_deg, distance_mm=6.0).scene(BOX, array)
    pose = HeadPose.published_passive()
    if side == "L":
        flip = np.diag([-1.0, 1.0, 1.0])
        pose = HeadPose(position_mm=flip @ pose.position_mm, rotation=flip @ pose.rotation @ flip)
    front = rest_points_mm(array, pose)[..., 1].max()
    assert placed_mm(scene)[:, 1].min() == pytest.approx(front + CLEAN_MARGIN_MM)
    assert np.abs(placed_mm(scene)[:, 0]).min() == pytest.approx(6.0)
    assert check_placement(array, scene, COARSE).overlapping == ()


def test_the_left_scene_is_the_mirror_image_of_the_right():
    sweep = PassiveSweep(theta_deg=40.0, spin_deg_per_s=50.0, height_mm=-3.0)
    right = sweep.scene(BOX, ARRAY)
    left = replace(sweep, side="L").scene(BOX, ARRAY.mirrored())
    for time_s in (0.0, 0.7):
        expected = placed_mm(right, time_s) * [-1.0, 1.0, 1.0]
        np.testing.assert_allclose(placed_mm(left, time_s), expected, rtol=0, atol=1e-9)
    assert left.objects[0].shape.faces[0].tolist() == right.objects[0].shape.faces[0].tolist()[::-1]


def test_spin_turns_about_the_vertical():
    scene = PassiveSweep(spin_deg_per_s=90.0).scene(BOX, ARRAY)
    _, rotations = scene.objects[0].motion.poses(np.array([0.0, 1.0]))
    np.testing.assert_allclose(rotations[1], axis_rotation("z", 90.0) @ rotations[0], atol=1e-9)


def test_published_set_has_sixteen_sweeps():
    sweeps = list(published_1000hz(PassiveSweep(speed_mm_per_s=50.0)))
    assert len({(s.theta_deg, s.height_mm, s.distance_mm, s.speed_mm_per_s) for s in sweeps}) == 16
    assert {s.theta_deg for s in sweeps} == {0.0, 30.0, 90.0, 120.0}
    assert {s.height_mm for s in sweeps} == {-5.0, 0.0}
    assert {s.distance_mm for s in sweeps} == {5.0, 8.0}
    assert {s.speed_mm_per_s for s in sweeps} == {50.0}


def test_overlap_at_the_start_is_refused_or_allowed():
    scene = PassiveSweep(start="published").scene(BOX, ARRAY, name="deep")
    check = check_placement(ARRAY, scene, COARSE)
    assert check.overlapping
    assert check.deepest_mm > 0.3
    with pytest.raises(InputError, match="deep: at the start R.* stand inside the object, up to"):
        require_placed(check, allow_overlap=False)
    require_placed(check, allow_overlap=True)
    with pytest.raises(InputError, match="or allow overlap.$"):
        simulate(ARRAY, scene, COARSE)


def test_a_run_over_the_bases_is_refused_even_where_overlap_is_allowed():
    scene = PassiveSweep(distance_mm=1.0).scene(BOX, ARRAY, name="over")
    check = check_placement(ARRAY, scene, COARSE)
    assert check.overlapping == ()
    assert check.overruns
    with pytest.raises(InputError, match="over: the object comes within .* mm of a whisker's base"):
        require_placed(check, allow_overlap=True)


def test_clearance_is_the_least_distance_to_a_base():
    head = HeadPose.identity()
    at = np.array([30.0, 0.0, 0.0])
    motion = UniformMotion(position_mm=at, velocity_mm_per_s=np.array([-5.0, 0.0, 0.0]))
    scene = Scene(
        objects=(PlacedObject(shape=BOX, motion=motion),), duration_s=1.0, head=still(head)
    )
    check = check_placement(ARRAY, scene, SolverConfig(grid_spacing_mm=0.5))
    low, high = BOX.bounds_mm + at - [5.0, 0.0, 0.0]
    bases = np.stack([w.base_position_mm for w in ARRAY])
    gap = np.linalg.norm(bases - np.clip(bases, low, high), axis=1).min()
    # Far from the surface the field promises too little, never too much.
    assert gap - 1.2 < check.base_clearance_mm <= gap + 1e-3


def test_nothing_to_touch_is_well_placed():
    check = check_placement(ARRAY, Scene(objects=(), duration_s=0.1), COARSE)
    assert check.refusal(allow_overlap=False) is None
    assert check.base_clearance_mm == np.inf


def test_scenes_are_sorted():
    scenes = [
        PassiveSweep().scene(BOX, ARRAY, name="good"),
        PassiveSweep(distance_mm=1.0).scene(BOX, ARRAY, name="over"),
        PassiveSweep(start="published").scene(BOX, ARRAY, name="deep"),
    ]
    good, refused, checks = check_scenes(ARRAY, scenes, COARSE)
    assert [s.name for s in good] == ["good"]
    assert [s.scene for s in refused] == ["over", "deep"]
    assert [c.scene for c in checks] == ["good", "over", "deep"]
    good, refused, _ = check_scenes(ARRAY, scenes, COARSE, allow_overlap=True)
    assert [s.scene for s in refused] == ["over"]
    with pytest.raises(InputError, match=r"\(1 more scenes are refused\)"):
        simulate(ARRAY, scenes, COARSE)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"speed_mm_per_s": 0.0}, "speed_mm_per_s = 0.0: must be positive"),
        ({"duration_s": float("inf")}, "duration_s"),
        ({"theta_deg": float("nan")}, "theta_deg = nan: not finite"),
        ({"start": "late"}, "choose clean or published"),
        ({"side": "both"}, "choose R or L"),
    ],
)
def test_bad_sweeps_are_refused(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        PassiveSweep(**changes)
