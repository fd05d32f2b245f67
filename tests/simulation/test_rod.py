# pyright: reportArgumentType=false, reportCallIssue=false
"""The chain of links against the continuous beam, whisker by whisker, without time stepping."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from experiments import mouse, straight
from theory import hermite_beam, mass_integrals

from vibrissa.core.errors import InputError
from vibrissa.simulation.rod import Rod, default_links, discretise

NAMES = mouse().names


@cache
def beam(name: str) -> tuple[float, np.ndarray]:
    return hermite_beam(mouse()[name])


@cache
def chain(name: str) -> Rod:
    return discretise(mouse()[name])


def test_finite_elements_know_the_uniform_cantilever():
    thick = mouse()["RC1"].radius_base_mm
    whisker = replace(
        straight("RC1"),
        radius_tip_mm=thick,
        density_tip_g_per_mm3=1e-3,
        density_base_g_per_mm3=1e-3,
    )
    stiffness = float(whisker.bending_stiffness_uN_mm2(0.0))
    line = float(whisker.linear_density_g_per_mm(0.0))
    length = whisker.length_mm
    tip, omega = hermite_beam(whisker)
    assert tip == pytest.approx(length**3 / (3.0 * stiffness), rel=1e-8)
    roots = np.array([1.8751040687, 4.6940911330, 7.8547574382])
    np.testing.assert_allclose(omega, (roots / length) ** 2 * np.sqrt(stiffness / line), rtol=1e-5)


def test_finite_elements_know_the_truncated_cone():
    whisker = straight("RC4")
    stiffness = float(whisker.bending_stiffness_uN_mm2(0.0))
    closed = whisker.length_mm**3 / (3.0 * stiffness)
    closed *= whisker.radius_base_mm / whisker.radius_tip_mm
    assert hermite_beam(whisker)[0] == pytest.approx(closed, rel=1e-5)


def test_thirty_whiskers():
    assert len(NAMES) == 30


@pytest.mark.parametrize("name", NAMES)
def test_tip_compliance(name: str):
    assert chain(name).tip_compliance_mm_per_uN() == pytest.approx(beam(name)[0], rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_first_three_frequencies(name: str):
    np.testing.assert_allclose(
        chain(name).angular_frequencies_rad_per_s(3), beam(name)[1], rtol=0.01
    )


@pytest.mark.parametrize("name", NAMES)
def test_mass_and_its_moments(name: str):
    whisker = straight(name)
    rod = discretise(whisker)
    mass, first, second = mass_integrals(whisker)
    at = rod.joint_arc_mm
    assert rod.stub_mass_g + rod.mass_g.sum() == pytest.approx(mass, rel=1e-9)
    about_base = rod.stub_moment_g_mm + np.sum(rod.moment_g_mm + rod.mass_g * at)
    assert about_base == pytest.approx(first, rel=1e-9)
    links = rod.inertia_g_mm2 + 2.0 * at * rod.moment_g_mm + at**2 * rod.mass_g
    # The chain adds the rotary inertia of the cross-sections, which is (r / L)^2 of the whole.
    assert rod.stub_inertia_g_mm2 + links.sum() == pytest.approx(second, rel=1e-4)


@pytest.mark.parametrize("name", ["RB0", "RC4", "RE5"])
def test_rest_shape_follows_the_parabola(name: str):
    whisker, rod = mouse()[name], chain(name)
    heading = np.concatenate([[0.0], np.cumsum(rod.rest_angle_rad)])
    lengths = np.concatenate([[rod.stub_length_mm], rod.link_length_mm])
    steps = lengths[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    vertices = np.cumsum(steps, axis=0)
    arcs = np.concatenate([rod.joint_arc_mm, [whisker.length_mm]])
    wanted = whisker.centreline_mm(arcs)[:, :2]
    # Only the clamped stub departs from the curve, and carries the rest along.
    np.testing.assert_allclose(vertices - vertices[0], wanted - wanted[0], atol=1e-12)
    assert np.abs(vertices[0] - wanted[0]).max() < 2e-3 * whisker.length_mm


@pytest.mark.parametrize(
    ("name", "measured_hz"),
    [("RA2", 84), ("RB0", 33), ("RC1", 43), ("RC4", 210), ("RD3", 144), ("RE0", 70), ("RE3", 274)],
)
def test_published_chain_vibrates_as_the_corrected_program_does(name: str, measured_hz: float):
    """Measured on the released program with its spring limit corrected (docs/physics.md).

    Whiskers of five to seven links are up to 13 % faster here: the program gives each link the
    density of its far end and the mean radius, which matters where links are few.
    """
    omega = discretise(mouse("published_as_written")[name]).angular_frequencies_rad_per_s(1)[0]
    assert omega / (2.0 * np.pi) == pytest.approx(measured_hz, rel=0.04)


def test_published_chain_has_links_of_its_own():
    array = mouse("published_as_written")
    total = sum(discretise(w).n_links for w in array)
    assert total == 328  # 358 links less the 30 first ones, which are rigid


def test_default_links_grow_with_length():
    counts = [default_links(mouse()[name]) for name in ("RE5", "RC1", "RB0")]
    assert counts == sorted(counts)
    assert min(counts) >= 12


def test_too_few_links_are_refused():
    with pytest.raises(InputError, match=r"links = 2: .*three"):
        discretise(mouse()["RC1"], links=2)


def test_the_published_chain_takes_no_other_number_of_links():
    with pytest.raises(InputError, match=r"RC1: links = 30: .*18 moving links"):
        discretise(mouse("published_as_written")["RC1"], links=30)
