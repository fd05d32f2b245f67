from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, Whisker, mouse_array
from vibrissa.morphology.placement import (
    axis_rotation,
    base_coordinates,
    base_point_mm,
    base_rotation,
    emergence_angles_deg,
)

RC2 = mouse_array()["RC2"]


def straight(**changes) -> Whisker:
    fields = {
        "name": "RC2",
        "length_mm": 10.0,
        "curvature_per_mm": 0.0,
        "radius_base_mm": 0.05,
        "radius_tip_mm": 0.01,
        "density_base_g_per_mm3": 1e-3,
        "density_tip_g_per_mm3": 2e-3,
        "young_modulus_Pa": 5e9,
        "damping_ratio": 0.1,
        "base_position_mm": np.zeros(3),
        "base_rotation": np.eye(3),
    }
    return Whisker(**{**fields, **changes})


def test_profiles_at_the_ends_and_in_the_middle():
    whisker = straight(stiffness_factor=2.0)
    s = np.array([0.0, 5.0, 10.0])
    np.testing.assert_allclose(whisker.radius_mm(s), [0.05, 0.03, 0.01])
    np.testing.assert_allclose(whisker.density_g_per_mm3(s), [1e-3, 1.5e-3, 2e-3])
    np.testing.assert_allclose(
        whisker.linear_density_g_per_mm(s), np.pi * np.array([2.5e-6, 1.35e-6, 0.2e-6])
    )
    # E I in SI: 2 * 5e9 Pa * pi / 4 * (5e-5 m)^4 = 4.909e-8 N m^2 = 4.909e4 uN mm^2.
    assert whisker.bending_stiffness_uN_mm2(0.0) == pytest.approx(4.9087385e4)
    np.testing.assert_allclose(whisker.centreline_mm(s), [[0, 0, 0], [5, 0, 0], [10, 0, 0]])


def test_mass_of_a_cylinder_and_of_a_cone():
    cylinder = straight(radius_tip_mm=0.05, density_tip_g_per_mm3=1e-3)
    assert cylinder.mass_g() == pytest.approx(np.pi * 0.05**2 * 10 * 1e-3)
    cone = straight(radius_tip_mm=1e-9, density_tip_g_per_mm3=1e-3)
    assert cone.mass_g() == pytest.approx(np.pi * 0.05**2 * 10 * 1e-3 / 3)
    fine = np.linspace(0, 10, 20001)
    mass = straight().linear_density_g_per_mm(fine)
    assert straight().mass_g() == pytest.approx(np.trapezoid(mass, fine), rel=1e-7)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("name", "C2", "not a whisker's name.*RC2"),
        ("name", "RC02", "not a whisker's name"),
        ("length_mm", 0.0, "RC2: length_mm = 0.0: must be positive; give a value that is positive"),
        ("length_mm", "long", "not a finite number"),
        ("radius_tip_mm", -1e-3, "must be positive"),
        ("radius_tip_mm", 0.06, "larger than radius_base_mm = 0.05"),
        ("curvature_per_mm", -0.01, "turn the base frame by 180 degrees about x"),
        ("young_modulus_Pa", float("nan"), "not a finite number"),
        ("density_base_g_per_mm3", float("inf"), "not a finite number"),
        ("damping_ratio", -0.1, "must be zero or more"),
        ("stiffness_factor", 0, "must be positive"),
        ("joint_rule", "spring", "choose beam or published"),
        ("rest_shape", "circle", "choose parabola or published"),
        ("base_position_mm", [0, 1], "not three finite numbers"),
        ("base_position_mm", ["a", 1, 2], "not three finite numbers"),
        ("base_rotation", np.ones((3, 3)), "columns are not orthonormal"),
        ("base_rotation", np.diag([1, 1, -1]), "the frame is left-handed"),
        ("base_rotation", np.full((3, 3), np.nan), "not a 3 x 3 matrix"),
    ],
)
def test_refusals(field, value, complaint):
    with pytest.raises(InputError, match=complaint):
        straight(**{field: value})


def test_arc_lengths_off_the_whisker_are_refused():
    with pytest.raises(InputError, match="s_mm = 10.5: off the whisker, which is 10 mm long"):
        straight().radius_mm([0.0, 10.5])
    with pytest.raises(InputError, match="off the whisker"):
        straight().centreline_mm(np.nan)
    assert straight().radius_mm(10.0 + 1e-12) == pytest.approx(0.01)


def test_frozen_equal_hashable():
    assert straight() == straight()
    assert straight() != straight(length_mm=11.0)
    assert len({straight(), straight(), straight(length_mm=11.0)}) == 2
    with pytest.raises(ValueError, match="read-only"):
        straight().base_position_mm[0] = 1.0


def test_the_mirror_image_is_the_mirror_image():
    mirrored = RC2.mirrored()
    assert mirrored.name == "LC2"
    flip = np.diag([-1.0, 1.0, 1.0])
    s = np.linspace(0, RC2.length_mm, 9)
    np.testing.assert_allclose(
        mirrored.centreline_in_head_mm(s), RC2.centreline_in_head_mm(s) @ flip, atol=1e-14
    )
    np.testing.assert_array_equal(mirrored.centreline_mm(s), RC2.centreline_mm(s))
    assert np.linalg.det(mirrored.base_rotation) == pytest.approx(1.0)
    # A force is mirrored as a vector, a moment as r x F: of the six channels three change sign.
    force, arm = np.array([1.0, 2.0, 3.0]), np.array([-2.0, 0.5, 1.0])
    moment, image = np.cross(arm, force), np.cross(flip @ arm, flip @ force)
    np.testing.assert_allclose(
        mirrored.base_rotation.T @ (flip @ force), [1, 1, -1] * (RC2.base_rotation.T @ force)
    )
    np.testing.assert_allclose(
        mirrored.base_rotation.T @ image, [-1, -1, 1] * (RC2.base_rotation.T @ moment)
    )
    assert mirrored.mirrored() == RC2


angles = st.tuples(st.floats(-89, 269), st.floats(-89, 89), st.floats(-179, 179))


@given(angles)
def test_emergence_angles_invert(abc):
    matrix = base_rotation(*abc)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)
    np.testing.assert_allclose(base_rotation(*emergence_angles_deg(matrix)), matrix, atol=1e-9)


@pytest.mark.parametrize("phi", [90.0, -90.0])
def test_emergence_angles_of_an_upright_whisker(phi):
    matrix = base_rotation(40.0, phi, 10.0)
    np.testing.assert_allclose(base_rotation(*emergence_angles_deg(matrix)), matrix, atol=1e-9)


def test_a_whisker_straight_to_the_side():
    """theta 90, phi 0: along the animal's right; zeta -90: no roll."""
    np.testing.assert_allclose(base_rotation(90, 0, -90), np.eye(3), atol=1e-15)
    np.testing.assert_allclose(base_rotation(180, 0, 0)[:, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(base_rotation(90, 90, 0)[:, 0], [0, 0, 1], atol=1e-15)


@given(st.floats(0.5, 10), st.floats(-179, 179), st.floats(-85, 85))
def test_base_coordinates_invert(r, theta, phi):
    back = base_coordinates(base_point_mm(r, theta, phi))
    assert back == pytest.approx((r, theta, phi), rel=1e-9, abs=1e-7)


def test_a_point_over_the_origin_has_no_base_coordinates():
    with pytest.raises(InputError, match="choose another array origin"):
        base_coordinates(np.array([0.1, 0.0, 1.0]))


def test_head_poses():
    pose = HeadPose.published_rodgers()
    np.testing.assert_allclose(pose.points_to_world_mm([0, 0, 0]), [-5, -10, 0])
    np.testing.assert_allclose(pose.directions_to_world([0, 0, 1]), axis_rotation("y", 15)[:, 2])
    points = np.arange(12.0).reshape(4, 3)
    np.testing.assert_array_equal(HeadPose.identity().points_to_world_mm(points), points)
    assert HeadPose.identity() == HeadPose.identity() != pose
    assert len({pose, HeadPose.published_rodgers()}) == 1
    with pytest.raises(InputError, match="left-handed"):
        HeadPose(position_mm=np.zeros(3), rotation=np.diag([-1.0, 1, 1]))


def test_replace_keeps_the_checks():
    with pytest.raises(InputError, match="length_mm"):
        replace(RC2, length_mm=-1.0)
