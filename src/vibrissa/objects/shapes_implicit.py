"""Shape classes given by a radius, a height, a curve or a hull."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vibrissa.objects.repair import merge_vertices
from vibrissa.objects.shape_building import Mesh, outward, radial, shape, sweep


@shape("superquadric")
def superquadric(rng: np.random.Generator) -> Mesh:
    """Pinched superquadric, |x|^p + |y|^p + |z|^p = 1 with p below 1 (Barr 1981): concave faces."""
    power = rng.uniform(0.6, 0.9)
    axes = rng.uniform(0.7, 1.0, 3)

    def radius(
        longitude: NDArray[np.float64], latitude: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        x = np.abs(np.cos(latitude) * np.cos(longitude)) / axes[0]
        y = np.abs(np.cos(latitude) * np.sin(longitude)) / axes[1]
        z = np.abs(np.sin(latitude)) / axes[2]
        return (x**power + y**power + z**power) ** (-1.0 / power)

    return radial(radius, 64, 96)


@shape("supershape")
def supershape(rng: np.random.Generator) -> Mesh:
    """Gielis' superformula around and from pole to pole (Gielis 2003, doi 10.3732/ajb.90.3.333)."""
    lobes, tilt_lobes = int(rng.integers(5, 9)), int(rng.choice([2, 4]))
    n1, n2 = rng.uniform(1.0, 2.0), rng.uniform(2.4, 5.0)
    tilt_n1 = rng.uniform(2.0, 4.0)

    def gielis(angle: NDArray[np.float64], m: int, a: float, b: float) -> NDArray[np.float64]:
        part = np.abs(np.cos(m * angle / 4.0)) ** b + np.abs(np.sin(m * angle / 4.0)) ** b
        return np.clip(part, 0.05, None) ** (-1.0 / a)

    def radius(
        longitude: NDArray[np.float64], latitude: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        around = gielis(longitude, lobes, n1, n2)
        # The lobes fade towards the poles, where all longitudes meet.
        fade = np.cos(latitude)
        return (1.0 + fade * (around - 1.0)) * gielis(latitude, tilt_lobes, tilt_n1, 2.0)

    return radial(radius, 64, 24 * lobes)


@shape("polyhedron")
def polyhedron(rng: np.random.Generator) -> Mesh:
    """Convex hull of 9 to 14 points near a sphere: few large facets."""
    from scipy.spatial import ConvexHull

    points = rng.normal(size=(int(rng.integers(9, 15)), 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points *= rng.uniform(0.85, 1.0, (len(points), 1))
    hull = ConvexHull(points)
    faces = hull.simplices.astype(np.int64)
    a, b, c = (points[faces[:, i]] for i in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), hull.equations[:, :3]) < 0
    return merge_vertices(points, np.where(inward[:, None], faces[:, ::-1], faces))


@shape("spring")
def spring(rng: np.random.Generator) -> Mesh:
    """A helix of three to five turns."""
    turns, pitch = rng.uniform(3.0, 5.0), rng.uniform(0.5, 0.8)
    share = np.linspace(0.0, 1.0, int(36 * turns))
    angle = 2.0 * np.pi * turns * share
    curve = np.stack([np.cos(angle), np.sin(angle), pitch * turns * share], axis=1)
    return sweep(curve, pitch * rng.uniform(0.18, 0.3), 12)


@shape("handle")
def handle(rng: np.random.Generator) -> Mesh:
    """A round rod bent into an arch that stands on its two feet."""
    angle = np.linspace(0.0, np.pi, 61)
    height, foot = rng.uniform(0.7, 1.3), rng.uniform(0.3, 1.0)
    arch = np.stack([np.cos(angle), 0.0 * angle, foot + height * np.sin(angle)], axis=1)
    level = np.linspace(0.0, foot, 10)[:-1]
    zero = np.zeros_like(level)
    legs = np.stack([zero + 1.0, zero, level], axis=1), np.stack([zero - 1.0, zero, level], axis=1)
    curve = np.concatenate([legs[0], arch, legs[1][::-1]])
    return sweep(curve, rng.uniform(0.1, 0.22), 16)


@shape("wavy_plate")
def wavy_plate(rng: np.random.Generator) -> Mesh:
    """A thin upright plate with two to four waves across."""
    waves, height = rng.uniform(2.0, 4.0), rng.uniform(0.08, 0.16)
    width, thickness = rng.uniform(0.7, 1.2), rng.uniform(0.05, 0.1)
    phase = rng.uniform(0.0, 2.0 * np.pi)
    columns, rows = 96, 12
    x, z = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(0, width, rows), indexing="ij")
    y = height * np.sin(np.pi * waves * x + phase)
    front = np.stack([x, y - thickness, z], axis=2).reshape(-1, 3)
    back = np.stack([x, y + thickness, z], axis=2).reshape(-1, 3)
    node = np.arange(columns * rows).reshape(columns, rows)
    a, b = node[:-1, :-1].ravel(), node[1:, :-1].ravel()
    c, d = node[1:, 1:].ravel(), node[:-1, 1:].ravel()
    side = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    rim = np.concatenate([node[:-1, 0], node[-1, :-1], node[:0:-1, -1], node[0, :0:-1]])
    after = np.roll(rim, -1)
    other = columns * rows
    wall = np.concatenate(
        [
            np.stack([rim, rim + other, after + other], axis=1),
            np.stack([rim, after + other, after], axis=1),
        ]
    )
    faces = np.concatenate([side, side[:, ::-1] + other, wall])
    return outward(np.concatenate([front, back]), faces)
