"""Shape classes turned about an axis: bodies, rings and vessels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vibrissa.objects.shape_building import Mesh, dense, joined, revolve, shape, sweep


def _arc(
    centre: tuple[float, float], radius: float, start_deg: float, end_deg: float, count: int = 16
) -> NDArray[np.float64]:
    angle = np.radians(np.linspace(start_deg, end_deg, count))
    return np.stack(
        [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1
    )


def _on_axis(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """The profile with its ends put exactly on the axis."""
    result = np.array(line)
    result[[0, -1], 0] = 0.0
    return result


@shape("ellipsoid")
def ellipsoid(rng: np.random.Generator) -> Mesh:
    """Three axes in proportions up to 0.6 : 1."""
    vertices, faces = revolve(_on_axis(_arc((0.0, 0.0), 1.0, -90.0, 90.0, 41)))
    return vertices * rng.uniform(0.6, 1.0, 3), faces


@shape("cylinder")
def cylinder(rng: np.random.Generator) -> Mesh:
    """Height 1 to 2.5 diameters."""
    height = 2.0 * rng.uniform(1.0, 2.5)
    return revolve(dense([(0, 0), (1, 0), (1, height), (0, height)], 0.25))


@shape("cone")
def cone(rng: np.random.Generator) -> Mesh:
    """Height 0.7 to 1.8 base diameters; the tip is cut at up to a tenth of the radius."""
    height, tip = 2.0 * rng.uniform(0.7, 1.8), rng.uniform(0.02, 0.1)
    return revolve(dense([(0, 0), (1, 0), (tip, height), (0, height)], 0.2))


@shape("capsule")
def capsule(rng: np.random.Generator) -> Mesh:
    """A cylinder of 1 to 4 radii between two half balls."""
    length = rng.uniform(1.0, 4.0)
    low, high = _arc((0.0, 0.0), 1.0, -90.0, 0.0), _arc((0.0, length), 1.0, 0.0, 90.0)
    return revolve(_on_axis(dense(np.concatenate([low, high]), 0.25)))


@shape("torus")
def torus(rng: np.random.Generator) -> Mesh:
    """Tube radius 0.15 to 0.4 of the ring radius."""
    tube_radius = rng.uniform(0.15, 0.4)
    return revolve(_arc((1.0, 0.0), tube_radius, 0.0, 360.0, 33)[:-1], 80)


@shape("pipe")
def pipe(rng: np.random.Generator) -> Mesh:
    """A straight tube with square rims, 1.2 to 2.5 diameters long."""
    height, wall = 2.0 * rng.uniform(1.2, 2.5), rng.uniform(0.12, 0.35)
    outline = [(1, 0), (1, height), (1 - wall, height), (1 - wall, 0)]
    return revolve(dense(outline, 0.25, closed=True))


@shape("bowl")
def bowl(rng: np.random.Generator) -> Mesh:
    """A spherical cap with a wall, 0.35 to 0.6 diameters deep at most, open at the top."""
    opening, wall = rng.uniform(-35.0, -5.0), rng.uniform(0.06, 0.14)
    outer = _arc((0.0, 0.0), 1.0, -90.0, opening, 28)
    inner = _arc((0.0, 0.0), 1.0 - wall, opening, -90.0, 28)
    return revolve(_on_axis(np.concatenate([outer, inner])))


@shape("cup")
def cup(rng: np.random.Generator) -> Mesh:
    """A slightly conical cup with a wall and a floor; four of five have a handle."""
    height, wall, flare = rng.uniform(1.7, 2.6), rng.uniform(0.08, 0.14), rng.uniform(0.75, 1.0)
    profile = [(0, 0), (flare, 0), (1, height), (1 - wall, height), (flare - wall, wall), (0, wall)]
    body = revolve(dense(profile, 0.2))
    if rng.random() < 0.2:
        return body
    # The ends of the handle lie inside the wall, whose radius at their heights is known.
    low, high = height * rng.uniform(0.18, 0.3), height * rng.uniform(0.7, 0.85)
    reach, thickness = rng.uniform(0.5, 0.8), wall * rng.uniform(0.9, 1.4)
    share = np.linspace(0.0, 1.0, 33)
    level = low + (high - low) * 0.5 * (1.0 - np.cos(np.pi * share))
    surface = flare + (1.0 - flare) * level / height - 0.5 * wall
    curve = np.stack([surface + reach * np.sin(np.pi * share), 0.0 * share, level], axis=1)
    taper = np.clip(np.minimum(share, 1.0 - share) / 0.12, 0.3, 1.0)
    return joined(body, sweep(curve, thickness * taper, 14))


@shape("vase")
def vase(rng: np.random.Generator) -> Mesh:
    """A solid turned body whose radius waves once or twice along its height."""
    height, waves = rng.uniform(2.2, 3.4), rng.uniform(0.9, 1.9)
    depth, phase = rng.uniform(0.25, 0.42), rng.uniform(0.0, 2.0 * np.pi)
    z = np.linspace(0.0, 1.0, 49)
    radius = 0.7 + depth * np.sin(2.0 * np.pi * waves * z + phase)
    line = np.stack([np.maximum(radius, 0.2), height * z], axis=1)
    ends = [[(0.0, 0.0)], line, [(0.0, height)]]
    return revolve(np.concatenate([np.asarray(part) for part in ends]))


@shape("bottle")
def bottle(rng: np.random.Generator) -> Mesh:
    """A solid cylinder, a shoulder and a narrow neck with a cap."""
    body, neck = rng.uniform(1.8, 3.0), rng.uniform(0.5, 1.2)
    narrow, shoulder = rng.uniform(0.25, 0.45), rng.uniform(0.4, 0.9)
    share = np.linspace(0.0, 1.0, 13)
    blend = 0.5 * (1.0 + np.cos(np.pi * share))
    slope = np.stack([narrow + (1.0 - narrow) * blend, body + shoulder * share], axis=1)
    top, lip = body + shoulder + neck, narrow * rng.uniform(1.15, 1.4)
    rim = [(narrow, top), (lip, top), (lip, top + 0.35), (0.0, top + 0.35)]
    return revolve(dense(np.concatenate([[(0, 0), (1, 0)], slope, rim]), 0.25))


@shape("dumbbell")
def dumbbell(rng: np.random.Generator) -> Mesh:
    """Two balls joined by a bar."""
    bar, second = rng.uniform(0.2, 0.4), rng.uniform(0.75, 1.0)
    gap = rng.uniform(0.8, 2.0)
    first_end, second_end = np.degrees(np.arcsin(bar)), np.degrees(np.arcsin(bar / second))
    middle = np.cos(np.radians(first_end)) + gap + second * np.cos(np.radians(second_end))
    low = _arc((0.0, 0.0), 1.0, -90.0, 90.0 - first_end, 28)
    high = _arc((0.0, middle), second, -90.0 + second_end, 90.0, 28)
    return revolve(_on_axis(dense(np.concatenate([low, high]), 0.25)))
