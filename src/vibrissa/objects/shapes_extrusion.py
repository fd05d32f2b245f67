"""Shape classes with a constant cross-section or flat faces: profiles, prisms, gears, steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vibrissa.objects.shape_building import Mesh, extrude, outward, shape


def _regular(corners: int, turn: float = 0.0) -> NDArray[np.float64]:
    angle = turn + 2.0 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _profile(outline: list[tuple[float, float]], length: float) -> Mesh:
    """A bar that lies on its side: the outline stands in x and z, the bar runs along y."""
    vertices, faces = extrude(outline, length, 8)
    return outward(vertices[:, [0, 2, 1]], faces[:, ::-1])


@shape("box")
def box(rng: np.random.Generator) -> Mesh:
    """A cuboid with edges in proportions up to 1 : 2."""
    x, y, z = rng.uniform(0.5, 1.0, 3)
    return extrude([(-x, -y), (x, -y), (x, y), (-x, y)], 2.0 * z, 8)


@shape("pyramid")
def pyramid(rng: np.random.Generator) -> Mesh:
    """On three to five corners, height 0.8 to 1.6 base radii; the tip is all but sharp."""
    outline = _regular(int(rng.integers(3, 6)))
    return extrude(outline, rng.uniform(1.0, 2.0), 8, taper=0.04)


@shape("prism")
def prism(rng: np.random.Generator) -> Mesh:
    """A long bar on a triangle, pentagon or hexagon."""
    outline = _regular(int(rng.choice([3, 5, 6])))
    return extrude(outline, rng.uniform(2.5, 4.5), 10)


@shape("star")
def star(rng: np.random.Generator) -> Mesh:
    """A flat star prism of four to seven points."""
    points, depth = int(rng.integers(4, 8)), rng.uniform(0.35, 0.55)
    outline = _regular(2 * points)
    outline[1::2] *= depth
    return extrude(outline, rng.uniform(0.4, 0.8), 4)


@shape("gear")
def gear(rng: np.random.Generator) -> Mesh:
    """A spur gear of 10 to 18 teeth with sloping flanks."""
    teeth, depth = int(rng.integers(10, 19)), rng.uniform(0.14, 0.24)
    share = np.array([0.0, 0.28, 0.42, 0.86])
    radius = np.array([1.0, 1.0, 1.0 - depth, 1.0 - depth])
    angle = 2.0 * np.pi * ((np.arange(teeth)[:, None] + share[None, :]) / teeth).ravel()
    reach = np.tile(radius, teeth)
    outline = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    return extrude(outline, rng.uniform(0.25, 0.6), 3)


@shape("l_profile")
def l_profile(rng: np.random.Generator) -> Mesh:
    """An angle bar."""
    wall, arm = rng.uniform(0.2, 0.4), rng.uniform(1.0, 1.6)
    outline = [(0, 0), (1.4, 0), (1.4, wall), (wall, wall), (wall, arm), (0, arm)]
    return _profile(outline, rng.uniform(1.5, 2.5))


@shape("t_profile")
def t_profile(rng: np.random.Generator) -> Mesh:
    """A T bar, standing on its foot."""
    wall, arm, height = rng.uniform(0.1, 0.2), rng.uniform(0.6, 1.0), rng.uniform(1.2, 1.8)
    top = height - 2.0 * wall
    outline = [(-wall, 0), (wall, 0), (wall, top), (arm, top)]
    outline += [(arm, height), (-arm, height), (-arm, top), (-wall, top)]
    return _profile(outline, rng.uniform(1.5, 2.5))


@shape("u_profile")
def u_profile(rng: np.random.Generator) -> Mesh:
    """A channel, open at the top."""
    wall, height = rng.uniform(0.15, 0.3), rng.uniform(1.0, 1.7)
    outline = [(-0.8, 0), (0.8, 0), (0.8, height), (0.8 - wall, height)]
    outline += [(0.8 - wall, wall), (wall - 0.8, wall), (wall - 0.8, height), (-0.8, height)]
    return _profile(outline, rng.uniform(1.5, 2.5))


@shape("cross")
def cross(rng: np.random.Generator) -> Mesh:
    """A bar with a plus-shaped section, upright."""
    arm, width = 1.0, rng.uniform(0.18, 0.35)
    outline = [(width, -arm), (width, -width), (arm, -width), (arm, width)]
    outline += [(width, width), (width, arm), (-width, arm), (-width, width)]
    outline += [(-arm, width), (-arm, -width), (-width, -width), (-width, -arm)]
    return extrude(outline, rng.uniform(1.2, 2.2), 8)


@shape("stairs")
def stairs(rng: np.random.Generator) -> Mesh:
    """A block of three to five steps."""
    steps, rise = int(rng.integers(3, 6)), rng.uniform(0.6, 1.0)
    outline: list[tuple[float, float]] = [(0.0, 0.0), (float(steps), 0.0)]
    for n in range(steps):
        level = rise * (n + 1)
        outline += [(float(steps - n), level), (float(steps - n - 1), level)]
    return _profile(outline, rng.uniform(0.7, 1.3) * steps)
