"""Independent solutions that the rod solver is held against: finite elements and the elastica.

Nothing here uses the package's simulation; a whisker is asked for its radius, stiffness and
linear density alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy.integrate import solve_ivp
from scipy.optimize import root


def beam_matrices(whisker: Any, elements: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes ``(n + 1,)``, stiffness and mass ``(2n + 2, 2n + 2)`` of the straight, free, tapered
    Euler-Bernoulli beam by cubic Hermite elements; deflection and slope alternate.

    Elements are graded towards the thin tip; integrals by six-point Gauss rules. Units: mm, uN, g.
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
    return nodes, stiffness, mass


def hermite_beam(whisker: Any, elements: int = 120) -> tuple[float, np.ndarray]:
    """Tip compliance (mm/uN) and the first three angular frequencies (rad/s), base clamped."""
    _, stiffness, mass = beam_matrices(whisker, elements)
    stiffness, mass = stiffness[2:, 2:], mass[2:, 2:]
    load = np.zeros(2 * elements)
    load[-2] = 1.0
    tip = float(np.linalg.solve(stiffness, load)[-2])
    squares = scipy.linalg.eigh(stiffness, mass, eigvals_only=True, subset_by_index=[0, 2])
    return tip, np.sqrt(squares)


def shaken_beam(
    whisker: Any, omega_rad_per_s: float, damping_ratio: float, elements: int = 120
) -> np.ndarray:
    """Load of the whisker on its base, (2,) complex: force along y (uN) and moment about z (uN*mm),
    per mm of harmonic motion of the clamped base along y.

    Damping is proportional to stiffness, with the given ratio for the first mode. By d'Alembert
    the load is minus mass times acceleration, summed over the beam.
    """
    nodes, stiffness, mass = beam_matrices(whisker, elements)
    first = np.sqrt(
        scipy.linalg.eigh(
            stiffness[2:, 2:], mass[2:, 2:], eigvals_only=True, subset_by_index=[0, 0]
        )[0]
    )
    carried = np.zeros(len(mass))
    carried[0::2] = 1.0
    loss = 1.0 + 2.0j * damping_ratio / first * omega_rad_per_s
    dynamic = loss * stiffness[2:, 2:] - omega_rad_per_s**2 * mass[2:, 2:]
    relative = np.zeros(len(mass), dtype=complex)
    relative[2:] = np.linalg.solve(dynamic, omega_rad_per_s**2 * (mass @ carried)[2:])
    lever = np.zeros(len(mass))
    lever[0::2], lever[1::2] = nodes, 1.0
    inertia = omega_rad_per_s**2 * mass @ (carried + relative)
    return np.array([carried @ inertia, lever @ inertia])


def mass_integrals(whisker: Any) -> tuple[float, float, float]:
    """Zeroth, first and second moment of linear density about the base: g, g mm, g mm^2."""
    points, weights = np.polynomial.legendre.leggauss(12)
    s = 0.5 * whisker.length_mm * (points + 1.0)
    line = 0.5 * whisker.length_mm * weights * whisker.linear_density_g_per_mm(s)
    return float(line.sum()), float(line @ s), float(line @ s**2)


@dataclass(frozen=True)
class PegContact:
    """A straight, tapered, inextensible rod, clamped at the origin along x, pushed by a peg."""

    force_uN: np.ndarray
    """(2,) of the rod on its base, x and y."""
    moment_uN_mm: float
    """Of the rod on its base, about z."""
    arc_mm: float
    slope_rad: float
    place_mm: np.ndarray
    """(2,) of the centreline at the contact."""


def _stiffness(whisker: Any) -> Callable[[float], float]:
    """E I by arc length, fast; its fourth root is interpolated, which is exact for a cone."""
    arcs = np.linspace(0.0, whisker.length_mm, 65)
    roots = whisker.bending_stiffness_uN_mm2(arcs) ** 0.25
    return lambda s: float(np.interp(s, arcs, roots)) ** 4


def peg_elastica(
    whisker: Any, peg_mm: np.ndarray, peg_radius_mm: float, friction: float, slip_sign: float
) -> PegContact:
    """Large-deflection equilibrium with a round peg at ``peg_mm`` (2,), on the -y side.

    The elastica E I theta' = M(s), M(s) = (r_c - r(s)) x F, with the contact force F on the rod at
    arc length s_c: normal to the rod, plus ``friction`` times as much along the tangent, in the
    sense ``slip_sign``. Unknown are s_c, the normal force, and the place of contact.
    """
    target = np.asarray(peg_mm, dtype=np.float64)
    stiffness_at = _stiffness(whisker)

    def bend(unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """End state x, y, theta of the integration to the contact, and the force."""
        arc, normal_force, x_c, y_c, theta_c = unknown
        normal = np.array([-np.sin(theta_c), np.cos(theta_c)])
        tangent = np.array([np.cos(theta_c), np.sin(theta_c)])
        force = 1e3 * normal_force * (normal + slip_sign * friction * tangent)

        def slope(s: float, state: np.ndarray) -> list[float]:
            x, y, theta = state
            moment = (x_c - x) * force[1] - (y_c - y) * force[0]
            return [math.cos(theta), math.sin(theta), moment / stiffness_at(s)]

        end = solve_ivp(slope, (0.0, arc), [0.0, 0.0, 0.0], rtol=1e-8, atol=1e-10).y[:, -1]
        return end, force

    def misfit(unknown: np.ndarray, peg: np.ndarray) -> np.ndarray:
        arc, _, x_c, y_c, theta_c = unknown
        end, _ = bend(unknown)
        normal = np.array([-np.sin(theta_c), np.cos(theta_c)])
        touch = peg_radius_mm + float(whisker.radius_mm(arc))
        offset = np.array([x_c, y_c]) - touch * normal - peg
        return np.concatenate([end - [x_c, y_c, theta_c], offset])

    arc = float(target[0])
    rise = 0.2 * (float(target[1]) + peg_radius_mm)
    grid = np.linspace(0.0, arc, 2001)
    compliance = np.trapezoid((arc - grid) ** 2 / whisker.bending_stiffness_uN_mm2(grid), grid)
    guess = np.array([arc, 1e-3 * rise / compliance, arc, rise, 1.5 * rise / arc])
    # Continuation in the depth of the peg keeps the root finder on the physical branch.
    for share in np.linspace(0.2, 1.0, 5):
        peg = np.array([target[0], (1.0 - share) * -peg_radius_mm + share * target[1]])
        found = root(misfit, guess, args=(peg,), tol=1e-8)
        assert found.success, found.message
        guess = found.x
    arc, _, x_c, y_c, theta_c = guess
    _, force = bend(guess)
    return PegContact(
        force_uN=force,
        moment_uN_mm=float(x_c * force[1] - y_c * force[0]),
        arc_mm=float(arc),
        slope_rad=float(theta_c),
        place_mm=np.array([x_c, y_c]),
    )


def elastica_shape(whisker: Any, contact: PegContact, points: int = 200) -> np.ndarray:
    """(points, 2) centreline from the base to the contact, then straight on to the tip."""

    stiffness_at = _stiffness(whisker)

    def slope(s: float, state: np.ndarray) -> list[float]:
        x, y, theta = state
        force, place = contact.force_uN, contact.place_mm
        moment = (place[0] - x) * force[1] - (place[1] - y) * force[0]
        return [math.cos(theta), math.sin(theta), moment / stiffness_at(s)]

    arcs = np.linspace(0.0, contact.arc_mm, points)
    bent = solve_ivp(
        slope, (0.0, contact.arc_mm), [0.0, 0.0, 0.0], t_eval=arcs, rtol=1e-9, atol=1e-11
    ).y
    rest = whisker.length_mm - contact.arc_mm
    tip = bent[:2, -1] + rest * np.array([np.cos(bent[2, -1]), np.sin(bent[2, -1])])
    return np.concatenate([bent[:2].T, tip[None]])
