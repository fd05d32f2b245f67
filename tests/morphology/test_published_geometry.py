"""The mouse array against the geometry measured on the released program, within its digits."""

import numpy as np
import pytest

from vibrissa.morphology import HeadPose, mouse_array, published_joint_angles_rad

ARRAY = mouse_array("R", "published_as_written")
POSE = HeadPose.published_passive()

pytestmark = pytest.mark.parametrize("name", ARRAY.names)


def of(row: dict[str, float], what: str) -> np.ndarray:
    return np.array([row[f"{what}_{axis}"] for axis in "xyz"])


def test_base_point_and_frame(name, published):
    whisker, row = ARRAY[name], published[name]
    frame = POSE.rotation_to_world(whisker.base_rotation)
    base = POSE.points_to_world_mm(whisker.base_position_mm)
    np.testing.assert_allclose(base, of(row, "base"), rtol=0, atol=6e-4)
    np.testing.assert_allclose(frame[:, 0], of(row, "link"), rtol=0, atol=1e-4)
    np.testing.assert_allclose(frame[:, 2], of(row, "axis"), rtol=0, atol=1e-4)


def test_length_and_radii(name, published):
    whisker, row = ARRAY[name], published[name]
    assert whisker.length_mm == pytest.approx(row["length"], abs=6e-4)
    assert 1e3 * whisker.radius_base_mm == pytest.approx(row["radius_base"], abs=0.051)
    assert 1e3 * whisker.radius_tip_mm == pytest.approx(row["radius_tip"], abs=0.051)


def test_joint_angles(name, published):
    whisker, row = ARRAY[name], published[name]
    angles = published_joint_angles_rad(whisker)
    assert len(angles) == row["links"]
    assert angles[0] == 0.0
    assert np.all(angles[1:20] < 0)
    assert np.all(angles[20:] == 0)
    assert -np.rad2deg(angles.sum()) == pytest.approx(row["bend_used"], abs=0.056)


def test_tip_of_the_chain(name, published):
    whisker = ARRAY[name]
    tip = POSE.points_to_world_mm(whisker.centreline_in_head_mm(whisker.length_mm))
    np.testing.assert_allclose(tip, of(published[name], "tip"), rtol=0, atol=6.5e-3)


def test_the_parabola_bends_more_and_by_the_tabled_angle(name, published):
    """The table's 20 chords lack half a chord at either end: 19.5 / 20 of the parabola's turn."""
    whisker = mouse_array("R")[name]
    a, s = whisker.curvature_per_mm, np.linspace(0, whisker.length_mm, 21)
    points = whisker.centreline_mm(s)
    last = points[-1] - points[-2]
    assert np.rad2deg(np.arctan2(-last[1], last[0])) == pytest.approx(
        published[name]["bend_table"],
        abs=0.1,  # its own sampling is a little coarser
    )
    assert np.arctan(2 * a * points[-1, 0]) > -published_joint_angles_rad(whisker).sum()


def test_mass(name, published):
    """The program takes density at the distal end of each link and a cylinder of mean radius."""
    assert 1e6 * ARRAY[name].mass_g() == pytest.approx(published[name]["mass"], rel=0.07)
