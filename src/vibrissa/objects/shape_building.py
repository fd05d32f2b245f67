"""Closed triangle meshes from profiles, outlines, curves and radii; and the registry of shapes.

Every builder returns ``(vertices (n, 3) float64, faces (m, 3) int64)`` without a unit, closed
(each edge belongs to exactly two faces) and facing outward.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vibrissa.core.errors import refuse
from vibrissa.core.registry import Registry
from vibrissa.objects.repair import signed_volumes

Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]
ShapeFunction = Callable[[np.random.Generator], Mesh]

SHAPES: Registry[ShapeFunction] = Registry("shapes")
"""Class label -> function that draws one individual of the class, z up, in any unit."""

shape = SHAPES.register


def outward(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> Mesh:
    """The mesh, turned inside out if its volume is negative."""
    if signed_volumes(vertices, faces, vertices.mean(axis=0)).sum() < 0:
        faces = faces[:, ::-1]
    return vertices, faces


def joined(*meshes: Mesh) -> Mesh:
    """Several shells as one mesh; they may overlap."""
    vertices: list[NDArray[np.float64]] = []
    faces: list[NDArray[np.int64]] = []
    offset = 0
    for points, triangles in meshes:
        vertices.append(points)
        faces.append(triangles + offset)
        offset += len(points)
    return np.concatenate(vertices), np.concatenate(faces)


def _lattice_faces(rows: int, columns: int, *, wrap_rows: bool) -> NDArray[np.int64]:
    """Two triangles per cell of a lattice whose columns wrap around."""
    count = rows if wrap_rows else rows - 1
    i, j = (x.ravel() for x in np.meshgrid(np.arange(count), np.arange(columns), indexing="ij"))
    i1, j1 = (i + 1) % rows, (j + 1) % columns
    a, b, c, d = i * columns + j, i1 * columns + j, i1 * columns + j1, i * columns + j1
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


def tube(rings: NDArray[np.float64], first: ArrayLike, last: ArrayLike) -> Mesh:
    """Skin over a stack of rings, (rows, columns, 3), closed by a point beyond each end."""
    rows, columns = rings.shape[:2]
    vertices = np.concatenate([rings.reshape(-1, 3), np.atleast_2d(first), np.atleast_2d(last)])
    j = np.arange(columns)
    j1 = (j + 1) % columns
    top = (rows - 1) * columns
    start = np.full(columns, rows * columns)
    faces = np.concatenate(
        [
            _lattice_faces(rows, columns, wrap_rows=False),
            np.stack([j, j1, start], axis=1),
            np.stack([top + j1, top + j, start + 1], axis=1),
        ]
    )
    return outward(vertices, faces)


def revolve(profile: ArrayLike, segments: int = 64) -> Mesh:
    """Turn a profile about z.

    Args:
        profile: (k, 2) radius and height. If it begins and ends on the axis, it is an open line,
            and only its ends lie there; otherwise it is a closed line off the axis (a ring).
        segments: steps of the turn.
    """
    line = np.asarray(profile, dtype=np.float64)
    angle = 2.0 * np.pi * np.arange(segments) / segments
    on_axis = line[0, 0] == 0.0 and line[-1, 0] == 0.0
    body = line[1:-1] if on_axis else line
    rings = np.stack(
        [
            body[:, :1] * np.cos(angle),
            body[:, :1] * np.sin(angle),
            np.repeat(body[:, 1:], segments, axis=1),
        ],
        axis=2,
    )
    if on_axis:
        return tube(rings, [0.0, 0.0, line[0, 1]], [0.0, 0.0, line[-1, 1]])
    return outward(rings.reshape(-1, 3), _lattice_faces(len(body), segments, wrap_rows=True))


def dense(line: ArrayLike, step: float, *, closed: bool = False) -> NDArray[np.float64]:
    """A polyline, (k, d), with points added so that no piece is longer than ``step``."""
    points = np.asarray(line, dtype=np.float64)
    ends = np.concatenate([points[1:], points[:1]]) if closed else points[1:]
    result: list[NDArray[np.float64]] = []
    for a, b in zip(points, ends, strict=False):
        pieces = max(1, int(np.ceil(float(np.linalg.norm(b - a)) / step)))
        result.append(a + (b - a) * (np.arange(pieces) / pieces)[:, None])
    if not closed:
        result.append(points[-1:])
    return np.concatenate(result)


def extrude(outline: ArrayLike, height: float, layers: int = 1, taper: float = 1.0) -> Mesh:
    """Prism over an outline.

    Args:
        outline: (k, 2) simple polygon, either way round.
        height: along z.
        layers: how many rows of faces the walls have.
        taper: size of the top relative to the bottom.
    """
    polygon = np.asarray(outline, dtype=np.float64)
    x, y = polygon.T
    if (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() < 0:
        polygon = polygon[::-1]
    count = len(polygon)
    level = np.linspace(0.0, 1.0, layers + 1)
    size = 1.0 + (taper - 1.0) * level
    rings = np.empty((layers + 1, count, 3))
    rings[:, :, :2] = polygon[None] * size[:, None, None]
    rings[:, :, 2] = (height * level)[:, None]
    cap = triangulate(polygon)
    faces = np.concatenate(
        [
            _lattice_faces(layers + 1, count, wrap_rows=False)[:, ::-1],
            cap[:, ::-1],
            cap + layers * count,
        ]
    )
    return outward(rings.reshape(-1, 3), faces)


def triangulate(polygon: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cut a simple counter-clockwise polygon, (k, 2), into k - 2 triangles by ear clipping."""
    left = list(range(len(polygon)))
    triangles: list[tuple[int, int, int]] = []
    while len(left) > 3:
        best, widest = -1, 0.0
        for n in range(len(left)):
            a, b, c = left[n - 1], left[n], left[(n + 1) % len(left)]
            quality = _ear(polygon, a, b, c, left)
            if quality > widest:
                best, widest = n, quality
                if quality > 0.2:
                    break
        if best < 0:
            raise refuse("outline", polygon.tolist(), "it crosses itself", "give a simple polygon")
        triangles.append((left[best - 1], left[best], left[(best + 1) % len(left)]))
        del left[best]
    triangles.append((left[0], left[1], left[2]))
    return np.array(triangles, dtype=np.int64)


def _ear(polygon: NDArray[np.float64], a: int, b: int, c: int, left: list[int]) -> float:
    """Twice the area over the longest edge squared if a b c is an ear, else 0."""
    pa, pb, pc = polygon[a], polygon[b], polygon[c]
    twice = _cross(pb - pa, pc - pa)
    if twice <= 0:
        return 0.0
    others = polygon[[v for v in left if v not in (a, b, c)]]
    inside = (
        (_cross(pb - pa, others - pa) >= 0)
        & (_cross(pc - pb, others - pb) >= 0)
        & (_cross(pa - pc, others - pc) >= 0)
    )
    if inside.any():
        return 0.0
    edges = max(float(((p - q) ** 2).sum()) for p, q in ((pa, pb), (pb, pc), (pc, pa)))
    return float(twice) / edges


def _cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def sweep(curve: ArrayLike, radius: float | NDArray[np.float64], sides: int = 16) -> Mesh:
    """A round rod along a curve, (k, 3), with domed ends; frames are carried without twist."""
    path = np.asarray(curve, dtype=np.float64)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    thickness = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(path),))
    helper = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    normal = np.cross(tangent[0], helper)
    angle = 2.0 * np.pi * np.arange(sides)[:, None] / sides
    rings = np.empty((len(path), sides, 3))
    for n, along in enumerate(tangent):
        normal = normal - along * (normal @ along)
        normal = normal / np.linalg.norm(normal)
        across = np.cross(along, normal)
        ring = np.cos(angle) * normal + np.sin(angle) * across
        rings[n] = path[n] + thickness[n] * ring
    ends = path[0] - 0.6 * thickness[0] * tangent[0], path[-1] + 0.6 * thickness[-1] * tangent[-1]
    return tube(rings, *ends)


def radial(
    radius: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
    rows: int = 48,
    columns: int = 72,
) -> Mesh:
    """A body that its centre sees whole.

    Args:
        radius: distance from the centre at longitude and latitude (rad, arrays of one shape);
            positive.
        rows: steps from pole to pole.
        columns: steps around.
    """
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)[1:-1, None]
    longitude = -np.pi + 2.0 * np.pi * np.arange(columns)[None, :] / columns
    latitude, longitude = np.broadcast_arrays(latitude, longitude)
    r = radius(longitude, latitude)
    rings = np.stack(
        [
            r * np.cos(latitude) * np.cos(longitude),
            r * np.cos(latitude) * np.sin(longitude),
            r * np.sin(latitude),
        ],
        axis=2,
    )
    zero = np.zeros((1, 1))
    south = float(radius(zero, zero - np.pi / 2)[0, 0])
    north = float(radius(zero, zero + np.pi / 2)[0, 0])
    return tube(rings, [0.0, 0.0, -south], [0.0, 0.0, north])
