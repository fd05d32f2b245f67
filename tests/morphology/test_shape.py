import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.morphology.shape import (
    chain_points_mm,
    parabola_abscissa_mm,
    parabola_points_mm,
    parabola_turning_rad,
    published_angles_rad,
)

lengths = st.floats(0.5, 60.0)
curvatures = st.one_of(st.just(0.0), st.floats(1e-9, 0.2))


def arc_length(x, a):
    """Closed form of the integral of sqrt(1 + (2 a t)^2) from 0 to x."""
    if a == 0:
        return x
    u = 2 * a * x
    return (x * np.sqrt(1 + u**2) + np.arcsinh(u) / (2 * a)) / 2


@given(lengths, curvatures)
def test_points_lie_at_their_arc_length(length, a):
    s = np.linspace(0, length, 33)
    x = parabola_abscissa_mm(s, a)
    np.testing.assert_allclose(arc_length(x, a), s, rtol=1e-12, atol=1e-12)
    points = parabola_points_mm(s, a)
    np.testing.assert_allclose(points[:, 1], -a * points[:, 0] ** 2, rtol=1e-14, atol=0)
    assert np.all(points[:, 2] == 0)


@given(lengths, curvatures)
def test_the_tangent_has_unit_length_and_the_turning_angle(length, a):
    s = np.linspace(0.1, 0.9, 9) * length
    h = 1e-4 * length
    tangent = (parabola_points_mm(s + h, a) - parabola_points_mm(s - h, a)) / (2 * h)
    turning = parabola_turning_rad(s, a)
    np.testing.assert_allclose(tangent[:, 0], np.cos(turning), rtol=0, atol=1e-6)
    np.testing.assert_allclose(tangent[:, 1], np.sin(turning), rtol=0, atol=1e-6)


@given(lengths, curvatures)
def test_a_chain_keeps_its_length_and_turns_by_its_angles(length, a):
    angles = published_angles_rad(length, a)
    nodes = chain_points_mm(np.linspace(0, length, len(angles) + 1), length, angles)
    links = np.diff(nodes, axis=0)
    np.testing.assert_allclose(np.linalg.norm(links, axis=1), length / len(angles), rtol=1e-9)
    heading = np.arctan2(links[:, 1], links[:, 0])
    np.testing.assert_allclose(np.diff(heading, prepend=0.0), angles, rtol=0, atol=1e-9)


def test_published_angles_of_a_gentle_bend():
    """kappa = 2 a all along: chords of L / 20 turn by kappa L / 20, the first joint 1.5 times."""
    length, a = 10.0, 1e-5
    unit = -2 * a * length / 20
    expected = unit * np.array([0, 1.5, *[1] * 8])
    np.testing.assert_allclose(published_angles_rad(length, a), expected, rtol=1e-4)


def test_scaling():
    """A parabola of half the size has twice the coefficient."""
    s = np.linspace(0, 12.0, 7)
    np.testing.assert_allclose(
        parabola_points_mm(s, 0.03) / 2, parabola_points_mm(s / 2, 0.06), rtol=1e-13
    )


def test_shapes_follow_the_argument():
    assert parabola_points_mm(3.0, 0.01).shape == (3,)
    assert parabola_points_mm(np.zeros((2, 5)), 0.01).shape == (2, 5, 3)
    assert chain_points_mm(3.0, 10.0, np.zeros(4)) == pytest.approx([3, 0, 0])
