"""Convex pieces of objects for MuJoCo, whose meshes collide as their convex hulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import refuse, require_extra

Piece = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Vertices ``(n, 3)`` in mm in the object's frame and faces ``(m, 3)`` of one convex mesh."""

CONVEX_TOLERANCE = 1e-3
"""A mesh that fills all but this share of its convex hull is convex."""


def pieces_of(
    shape: Any, given: Mapping[str, Sequence[Piece]], threshold: float
) -> tuple[Piece, ...]:
    """The convex pieces of one object.

    Args:
        shape: the object, with ``digest``, ``label``, ``vertices_mm`` and ``faces``; the last two
            are read only where no pieces are given.
        given: pieces by the digest of the object.
        threshold: concavity that CoACD leaves, as a share of the object's size.

    Raises:
        InputError: the given pieces are empty or misshapen, or the object carries no mesh.
        MissingExtraError: the mesh is not convex and CoACD is not installed.
    """
    if shape.digest in given:
        return checked_pieces(str(shape.label), given[shape.digest])
    vertices, faces = getattr(shape, "vertices_mm", None), getattr(shape, "faces", None)
    if vertices is None or faces is None:
        raise refuse(
            "pieces", sorted(given), f"nothing for object {shape.label!r}, which carries no mesh",
            "give its convex pieces under its digest",
        )  # fmt: skip
    return decompose(np.asarray(vertices, np.float64), np.asarray(faces, np.int64), threshold)


def checked_pieces(label: str, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Pieces as float64 and int64 arrays of the right shapes, or InputError."""
    found: list[Piece] = []
    for k, (vertices, faces) in enumerate(pieces):
        v, f = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
        if v.ndim != 2 or v.shape[1] != 3 or len(v) < 4 or not np.isfinite(v).all():
            raise refuse(
                f"pieces of {label}: piece {k}: vertices", v.shape,
                "not four or more finite points", "give (n, 3) in mm",
            )  # fmt: skip
        if f.ndim != 2 or f.shape[1] != 3 or f.min(initial=0) < 0 or f.max(initial=0) >= len(v):
            raise refuse(
                f"pieces of {label}: piece {k}: faces", f.shape,
                "not triangles of these vertices", "give (m, 3) indices",
            )  # fmt: skip
        found.append((v, f))
    if not found:
        raise refuse(f"pieces of {label}", [], "no piece", "give one or more")
    return tuple(found)


def decompose(
    vertices_mm: NDArray[np.float64], faces: NDArray[np.int64], threshold: float
) -> tuple[Piece, ...]:
    """Split a mesh into convex pieces with CoACD (seed 0); a convex mesh stays whole.

    Args:
        vertices_mm: (n, 3).
        faces: (m, 3).
        threshold: concavity that may be left, as a share of the object's size (0.01 to 1).

    Raises:
        InputError: the threshold is out of range.
        MissingExtraError: CoACD is needed and not installed.
    """
    import trimesh

    if not 0.01 <= threshold <= 1.0:
        raise refuse("convex_threshold", threshold, "out of range", "choose 0.01 to 1")
    mesh = trimesh.Trimesh(vertices_mm, faces, process=False)
    if mesh.is_watertight:
        hull = mesh.convex_hull
        if abs(mesh.volume) > (1.0 - CONVEX_TOLERANCE) * hull.volume:
            return ((vertices_mm, faces),)
    coacd = require_extra("coacd", "mujoco", "splitting an object into convex pieces")
    coacd.set_log_level("error")
    parts = coacd.run_coacd(coacd.Mesh(vertices_mm, faces), threshold=threshold, seed=0)
    return tuple((np.asarray(v, np.float64), np.asarray(f, np.int64)) for v, f in parts)
