# pyright: reportArgumentType=false, reportCallIssue=false
"""Errors fall with the step and with the link as the method says they do."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import Course, along, elastica_of, peg, push_with_peg, run, smooth_step, straight
from theory import hermite_beam

from vibrissa.simulation.rod import discretise

FINE = {"calm_speed_mm_per_s": 0.0, "precision": "float64", "sampling": "point"}


def slope(sizes: np.ndarray, errors: np.ndarray) -> float:
    """Order of convergence: slope of the log-log line."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def pushed(step_s: float) -> np.ndarray:
    """Base moments of a whisker while a peg is pushed into it, friction and all."""
    whisker = straight("RC1")

    def place(times: np.ndarray) -> np.ndarray:
        start = -1.0 - whisker.radius_base_mm - 0.02
        return along(1, start + 3.0 * smooth_step(times / 0.05), (0.7 * whisker.length_mm, 0, 0))

    raw = run(
        whisker, [(peg(), Course(position=place))], 0.05, step_s=step_s, contact_offset_mm=0.0,
        friction=0.2, **FINE,
    )  # fmt: skip
    return raw.force_moment[0, :, 0, 5].astype(np.float64)


def ringing(step_s: float) -> np.ndarray:
    """Base moments of a whisker whose base was nudged."""

    def place(times: np.ndarray) -> np.ndarray:
        return along(1, 0.2 * np.sin(np.pi * np.clip(times / 0.004, 0.0, 1.0)) ** 4)

    raw = run(straight("RC1"), [], 0.03, head=Course(position=place), step_s=step_s, **FINE)
    return raw.force_moment[0, :, 0, 5].astype(np.float64)


@pytest.mark.parametrize("experiment", [ringing, pushed])
def test_first_order_in_the_step(experiment):
    steps = np.array([1e-4, 5e-5, 2.5e-5, 1.25e-5])
    exact = experiment(1e-6)
    errors = np.array([np.sqrt(np.mean((experiment(h) - exact) ** 2)) for h in steps])
    errors /= np.abs(exact).max()
    assert 0.85 < slope(steps, errors) < 1.3
    assert errors[0] < 0.05


@pytest.mark.parametrize("name", ["RC1", "RC4", "RE5"])
def test_second_order_in_the_links_frequencies(name: str):
    whisker = straight(name)
    exact = hermite_beam(whisker, 300)[1]
    # With more, the rotary inertia of the chain shows, which the beam theory leaves out.
    counts = np.array([6, 8, 12, 16])
    errors = np.array(
        [
            np.abs(discretise(whisker, links=n).angular_frequencies_rad_per_s(3) / exact - 1.0)
            for n in counts
        ]
    )
    for mode in range(3):
        assert 1.5 < slope(1.0 / counts, errors[:, mode]) < 2.6


@pytest.mark.parametrize("name", ["RC1", "RC4", "RE5"])
def test_second_order_in_the_links_compliance(name: str):
    """Deflection at the middle under a force there; that of the tip is exact by construction."""
    whisker = straight(name)
    middle = 0.5 * whisker.length_mm
    grid = np.linspace(0.0, middle, 20001)
    exact = np.trapezoid((middle - grid) ** 2 / whisker.bending_stiffness_uN_mm2(grid), grid)
    counts = np.array([8, 11, 16, 23, 32, 45, 64, 91, 128])
    errors = []
    for n in counts:
        rod = discretise(whisker, links=int(n))
        arm = np.clip(middle - rod.joint_arc_mm, 0.0, None)
        errors.append(abs(np.sum(arm**2 / rod.stiffness_uN_mm) / exact - 1.0))
    # Where the middle falls within a link sways the single error, so it is the trend that counts.
    assert 1.5 < slope(1.0 / counts, np.array(errors)) < 2.6
    assert errors[-1] < 1e-3


@pytest.mark.parametrize("name", ["RC1", "RC4"])
def test_tip_compliance_is_exact_for_any_number_of_links(name: str):
    whisker = straight(name)
    exact = hermite_beam(whisker, 300)[0]
    for n in (3, 5, 12, 40):
        assert discretise(whisker, links=n).tip_compliance_mm_per_uN() == pytest.approx(
            exact, rel=1e-4
        )


@pytest.mark.slow  # each size of whisker compiles a kernel of its own
@pytest.mark.parametrize("name", ["RC1", "RC4"])
def test_second_order_in_the_links_large_deflection(name: str):
    """The force over a peg, size and direction; the grid is fine enough not to show."""
    whisker = straight(name)
    counts = np.array([4, 8, 16])
    errors = []
    for n in counts:
        push = push_with_peg(whisker, at=0.75, friction=0.0, links=int(n), cell_mm=0.05)
        exact = elastica_of(whisker, push, 0.0).force_uN
        errors.append(np.linalg.norm(push.force_moment[:2] - exact) / np.linalg.norm(exact))
    assert 1.2 < slope(1.0 / counts, np.array(errors)) < 2.8
    assert errors[-1] < 0.01
