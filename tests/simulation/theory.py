"""Independent solutions that the rod solver is held against: finite elements and the elastica.

Nothing here uses the package's simulation; a whisker is asked for its radius, stiffness and
linear density alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy.integrate import solve_ivp
from scipy.optimize import root


def hermite_beam(whisker: Any, elements: int = 300) -> tuple[float, np.ndarray]:
    """Tip compliance (mm/uN) and the first three angular frequencies (rad/s) of the straight,
    clamped, tapered Euler-Bernoulli beam, by cubic Hermite finite elements.

    Elements are graded towards the thin tip; integrals by six-point Gauss rules.
    """
    fine = np.linspace(0.0, whisker.length_mm, 20001)
    density = 1.0 / whisker.radius_mm(fine)
    share = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(fine))])
    nodes = np.interp(np.linspace(0.0, share[-1], elements + 1), share, fine)
    nodes[-1] = whisker.length_mm
    stiffness = np.zeros((2 * elements + 2, 2 * elements + 2))
    mass = np.zeros_like(stiffness)
    points, weights = np.polynomial.legendre.leggauss(6)
    x = 0.5 * (points + 1.0)
    for e in range(elements):
        length = nodes[e + 1] - nodes[e]
        s = nodes[e] + x * length
        w = 0.5 * weights * length
        bend = np.stack(
            [
                (-6 + 12 * x) / length**2,
                (-4 + 6 * x) / length,
                (6 - 12 * x) / length**2,
                (-2 + 6 * x) / length,
            ]
        )
        shape = np.stack(
            [
                1 - 3 * x**2 + 2 * x**3,
                length * (x - 2 * x**2 + x**3),
                3 * x**2 - 2 * x**3,
                length * (x**3 - x**2),
            ]
        )
        dof = slice(2 * e, 2 * e + 4)
        stiffness[dof, dof] += (bend * whisker.bending_stiffness_uN_mm2(s) * w) @ bend.T
        mass[dof, dof] += (shape * whisker.linear_density_g_per_mm(s) * w) @ shape.T
    stiffness, mass = stiffness[2:, 2:], mass[2:, 2:]
    load = np.zeros(2 * elements)
    load[-2] = 1.0
    tip = float(np.linalg.solve(stiffness, load)[-2])
    squares = scipy.linalg.eigh(stiffness, mass, eigvals_only=True, subset_by_index=[0, 2])
    return tip, np.sqrt(squares)


@dataclass(frozen=True)
class PegContact:
    """A straight, tapered, inextensible rod, clamped at the origin along x, pushed by a peg."""

    force_uN: np.ndarray  # (2,) on the base, x and y
    moment_uN_mm: float  # on the base, about z
    arc_mm: float
    slope_rad: float


def peg_elastica(
    whisker: Any, peg_mm: np.ndarray, peg_radius_mm: float, friction: float, slip_sign: float
) -> PegContact:
    """Large-deflection equilibrium with a round peg at ``peg_mm`` (2,), on the -y side.

    The elastica E I theta' = M(s), M(s) = (r_c - r(s)) x F, with the contact force on the rod at
    arc length s_c: normal to the rod, plus ``friction`` times as much along the tangent, in the
    sense ``slip_sign``. Unknown are s_c, the normal force, and the place of contact.
    """

    def shoot(unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
        arc, normal_force, x_c, y_c, theta_c = unknown
        normal = np.array([-np.sin(theta_c), np.cos(theta_c)])
        tangent = np.array([np.cos(theta_c), np.sin(theta_c)])
        force = 1e3 * normal_force * (normal + slip_sign * friction * tangent)

        def slope(s: float, state: np.ndarray) -> list[float]:
            x, y, theta = state
            moment = (x_c - x) * force[1] - (y_c - y) * force[0]
            return [
                np.cos(theta),
                np.sin(theta),
                moment / float(whisker.bending_stiffness_uN_mm2(s)),
            ]

        end = solve_ivp(slope, (0.0, arc), [0.0, 0.0, 0.0], rtol=1e-10, atol=1e-12).y[:, -1]
        touch = peg_radius_mm + float(whisker.radius_mm(arc))
        offset = np.array([x_c, y_c]) - touch * normal - peg_mm
        residual = np.array(
            [end[0] - x_c, end[1] - y_c, end[2] - theta_c, offset[0], offset[1]]
        )
        return residual, force, x_c, y_c

    arc0 = float(peg_mm[0])
    rise = float(peg_mm[1]) + peg_radius_mm
    grid = np.linspace(0.0, arc0, 2001)
    compliance = np.trapezoid((arc0 - grid) ** 2 / whisker.bending_stiffness_uN_mm2(grid), grid)
    found = None
    guess = np.array([arc0, 1e-3 * 0.1 * rise / compliance, arc0, 0.1 * rise, 0.15 * rise / arc0])
    # Continuation in the depth of the peg keeps the root finder on the physical branch.
    start = -peg_radius_mm
    for share in np.linspace(0.1, 1.0, 10):
        place = np.array([peg_mm[0], start + share * (float(peg_mm[1]) - start)])
        peg_now, peg_mm_saved = place, peg_mm
        peg_mm = peg_now
        found = root(lambda u: shoot(u)[0], guess, tol=1e-11)
        peg_mm = peg_mm_saved
        assert found.success, found.message
        guess = found.x
    assert found is not None
    peg_mm = np.asarray(peg_mm)
    _, force, x_c, y_c = shoot(found.x)
    return PegContact(
        force_uN=force,
        moment_uN_mm=float(x_c * force[1] - y_c * force[0]),
        arc_mm=float(found.x[0]),
        slope_rad=float(found.x[4]),
    )
