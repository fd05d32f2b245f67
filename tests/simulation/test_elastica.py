# pyright: reportArgumentType=false, reportCallIssue=false
"""Large deflections over a round peg, against the elastica with Coulomb friction."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import (
    Course,
    elastica_of,
    mouse,
    push_with_peg,
    run,
    smooth_step,
    sphere,
    straight,
)
from theory import peg_elastica

from vibrissa.simulation.rod import discretise


def test_elastica_has_the_linear_limit():
    whisker = straight("RC1")
    at, rise = 0.6 * whisker.length_mm, 1e-3
    grid = np.linspace(0.0, at, 4001)
    beam = np.trapezoid((at - grid) ** 2 / whisker.bending_stiffness_uN_mm2(grid), grid)
    radius = 1.0
    found = peg_elastica(
        whisker, np.array([at, rise - radius - float(whisker.radius_mm(at))]), radius, 0.0, 0.0
    )
    assert found.force_uN[1] == pytest.approx(rise / beam, rel=2e-3)
    assert found.moment_uN_mm == pytest.approx(at * rise / beam, rel=2e-3)


@pytest.mark.parametrize("friction", [0.0, 0.2, 0.4])
@pytest.mark.parametrize("at", [0.6, 0.75, 0.9])
@pytest.mark.parametrize("name", ["RC1", "RC4", "RB0"])
def test_peg(name: str, at: float, friction: float):
    whisker = straight(name)
    push = push_with_peg(whisker, at=at, friction=friction)
    exact = elastica_of(whisker, push, friction)
    assert exact.slope_rad > 0.25  # a large deflection indeed
    assert push.force_moment[5] == pytest.approx(exact.moment_uN_mm, rel=0.015)
    force = float(np.linalg.norm(push.force_moment[:3]))
    assert force == pytest.approx(float(np.linalg.norm(exact.force_uN)), rel=0.015)
    turned = np.arctan2(push.force_moment[1], push.force_moment[0])
    wanted = np.arctan2(exact.force_uN[1], exact.force_uN[0])
    assert abs(np.degrees(turned - wanted)) < 3.0
    # Nothing leaves the plane.
    np.testing.assert_allclose(push.force_moment[2:5], 0.0, atol=1e-4)


@pytest.mark.parametrize("name", ["RC1", "RC4"])
def test_frictionless_force_goes_through_the_middle_of_the_peg(name: str):
    """The free body of the whole whisker: M = r x F, whatever the beam does."""
    push = push_with_peg(straight(name), at=0.75, friction=0.0)
    fx, fy = push.force_moment[:2]
    moment = push.peg_mm[0] * fy - push.peg_mm[1] * fx
    assert push.force_moment[5] == pytest.approx(moment, rel=0.005)


def test_every_joint_carries_the_moment_of_the_force_beyond_it():
    """Cut at any joint before the contact: spring moment = (peg - joint) x force."""
    whisker = straight("RC1")
    push = push_with_peg(whisker, at=0.75, friction=0.0)
    rod = discretise(whisker)
    nodes = push.nodes_mm[:, :2].astype(np.float64)
    heading = np.arctan2(*np.diff(nodes, axis=0).T[::-1])
    sprung = rod.stiffness_uN_mm * np.diff(heading)
    arm = push.peg_mm - nodes[1:-1]
    wanted = arm[:, 0] * push.force_moment[1] - arm[:, 1] * push.force_moment[0]
    before = rod.joint_arc_mm < 0.7 * whisker.length_mm
    peak = np.abs(wanted).max()
    np.testing.assert_allclose(sprung[before], wanted[before], atol=0.01 * peak)
    beyond = rod.joint_arc_mm > 0.9 * whisker.length_mm
    np.testing.assert_allclose(sprung[beyond], 0.0, atol=1e-3 * peak)


@pytest.mark.parametrize("name", ["RC2", "RD1"])
def test_free_body_in_three_dimensions(name: str):
    """A curved whisker on the head, pushed by a frictionless ball: M = centre x F, in the world."""
    whisker = mouse()[name]
    radius = 3.0
    at = whisker.centreline_in_head_mm(0.7 * whisker.length_mm)
    side = whisker.base_rotation @ np.array([0.0, 0.6, 0.8])
    start, way = at - (radius + 0.3) * side, 0.12 * whisker.length_mm

    def place(times: np.ndarray) -> np.ndarray:
        return start + (way * smooth_step(times / 0.25))[:, None] * side

    raw = run(
        whisker,
        [(sphere(radius), Course(position=place))],
        0.3,
        friction=0.0,
        contact_offset_mm=0.0,
        record_world=True,
    )
    assert raw.force_moment_world is not None
    world = raw.force_moment_world[0, -1, 0].astype(np.float64)
    centre = place(np.array([0.3]))[0] - whisker.base_position_mm
    moment = np.cross(centre, world[:3])
    assert np.linalg.norm(world[3:]) > 20.0
    assert np.linalg.norm(moment - world[3:]) < 0.01 * np.linalg.norm(world[3:])
    # The ball pushes the whisker, and the whisker its base, the way the ball went.
    assert world[:3] @ side > 0.5 * np.linalg.norm(world[:3])
    # World and base axes show one and the same load.
    base = raw.force_moment[0, -1, 0].astype(np.float64).reshape(2, 3)
    turned = base @ whisker.base_rotation.T
    np.testing.assert_allclose(turned.ravel(), world, rtol=1e-5, atol=1e-4)


def test_friction_follows_the_slip():
    """Tangential over normal force is the coefficient, against the motion of the whisker."""
    whisker = straight("RC1")
    smooth = push_with_peg(whisker, at=0.75, friction=0.0).force_moment
    for friction in (0.2, 0.4):
        rough = push_with_peg(whisker, at=0.75, friction=friction).force_moment
        tilt = np.arctan2(smooth[1], smooth[0]) - np.arctan2(rough[1], rough[0])
        assert np.tan(tilt) == pytest.approx(friction, rel=0.1)


def test_contact_offset_makes_the_peg_thicker():
    whisker = straight("RC1")
    felt = push_with_peg(
        whisker, at=0.75, friction=0.0, radius_mm=0.8, depth=0.1, contact_offset_mm=0.3
    )
    exact = peg_elastica(whisker, felt.peg_mm, 1.1, 0.0, 0.0)
    assert felt.force_moment[5] == pytest.approx(exact.moment_uN_mm, rel=0.015)
