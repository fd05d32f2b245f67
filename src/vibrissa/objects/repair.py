"""Mesh repair before a distance field: doubled faces go, faces and shells turn outward.

Nothing is moved and no hole is filled; the winding number copes with holes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class RepairedMesh:
    """Triangles ready for a signed distance.

    Attributes:
        vertices_mm: (n, 3) float64, coincident vertices merged.
        faces: (m, 3) int64, no degenerate and no doubled face.
        closed: the surface has no boundary (its oriented edges cancel), so that the winding number
            is a whole number off the surface.
        turned_count: how many faces were turned over.
    """

    vertices_mm: NDArray[np.float64]
    faces: NDArray[np.int64]
    closed: bool
    turned_count: int


def merge_vertices(
    vertices: NDArray[np.float64], faces: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merge vertices of equal coordinates and drop the unused, keeping the order of first use.

    Args:
        vertices: (n, 3).
        faces: (m, 3) indices into them.

    Returns:
        The vertices that faces use, and the faces renumbered.
    """
    rows = np.ascontiguousarray(vertices + 0.0)  # -0.0 becomes 0.0, so that both are one vertex
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * 3))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    used = first[inverse.ravel()][faces]
    order, place = np.unique(used.ravel(), return_inverse=True)
    return rows[order], place.reshape(faces.shape).astype(np.int64)


def face_areas(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m,) areas of the triangles, in the square of the vertices' unit."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)


def signed_volumes(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(m,) signed volumes of the tetrahedra from ``reference`` ((3,) or (m, 3)) to each face."""
    a, b, c = (vertices[faces[:, i]] - reference for i in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0


def repaired(vertices_mm: NDArray[np.float64], faces: NDArray[np.int32]) -> RepairedMesh:
    """Merge, drop degenerate and doubled faces, and turn faces so that they look outward.

    Faces that meet along an edge with no third face are brought to one orientation; then every
    shell with a negative volume is turned over, except one that lies within another shell, which
    is a cavity. If all outer shells are inside out, everything is turned.

    Args:
        vertices_mm: (n, 3), finite.
        faces: (m, 3), indices in range.
    """
    vertices, kept = merge_vertices(vertices_mm, faces.astype(np.int64))
    distinct = (kept[:, 0] != kept[:, 1]) & (kept[:, 1] != kept[:, 2]) & (kept[:, 2] != kept[:, 0])
    kept = kept[distinct]
    _, first = np.unique(np.sort(kept, axis=1), axis=0, return_index=True)
    kept = kept[np.sort(first)]
    if not len(kept):
        return RepairedMesh(vertices_mm=vertices, faces=kept, closed=False, turned_count=0)
    shell, parity = _orient(kept)
    turned = _turn(kept, parity)
    shell_turn, closed = _shells_to_turn(vertices, turned, shell)
    flip = shell_turn[shell]
    result = _turn(turned, flip)
    # Slivers of no area stay out of the queries (they have no normal), not out of `closed`.
    area = face_areas(vertices, result)
    solid = area > 1e-14 * max(float(area.max()), 1e-300)
    return RepairedMesh(
        vertices_mm=vertices,
        faces=result[solid],
        closed=closed,
        turned_count=int((parity ^ flip).sum()),
    )


def _turn(faces: NDArray[np.int64], flip: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(flip[:, None], faces[:, ::-1], faces)


def _edges(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the undirected edge of each half edge, (3m,), and its direction, +1 or -1."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    direction = np.where(ends[:, 0] < ends[:, 1], 1, -1)
    low, high = ends.min(axis=1), ends.max(axis=1)
    _, edge = np.unique(low * (int(faces.max()) + 1) + high, return_inverse=True)
    return edge.ravel(), direction


def _orient(faces: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Shell of each face and whether the face must turn to agree with its shell.

    The faces are doubled into a "kept" and a "turned" copy; edges join the copies that agree. The
    connected components of that graph then come in mirror pairs, one pair per shell; a shell whose
    pair is one component is one-sided (a Moebius strip) and is left alone.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(faces)
    edge, direction = _edges(faces)
    owner = np.tile(np.arange(count), 3)
    order = np.argsort(edge, kind="stable")
    edge, direction, owner = edge[order], direction[order], owner[order]
    multiplicity = np.bincount(edge)
    start = np.cumsum(multiplicity) - multiplicity
    pair = start[multiplicity == 2]
    left, right = owner[pair], owner[pair + 1]
    disagree = (direction[pair] == direction[pair + 1]).astype(np.int64)
    rows = np.concatenate([left, left + count])
    columns = np.concatenate([right + count * disagree, right + count * (1 - disagree)])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(2 * count,) * 2)
    _, double = connected_components(graph, directed=False)
    kept, turned = double[:count], double[count:]
    _, shell = np.unique(np.minimum(kept, turned), return_inverse=True)
    shell = shell.ravel()
    # Keep the orientation that most of the shell's faces have.
    parity = kept > turned
    votes = np.bincount(shell, parity) * 2 > np.bincount(shell)
    return shell, np.where(kept == turned, False, parity ^ votes[shell])


def _shells_to_turn(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], shell: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], bool]:
    """Which shells to turn over, and whether the whole surface is closed after that."""
    count = int(shell.max()) + 1
    corners = vertices[faces]
    size = np.bincount(shell)
    centre = np.stack(
        [np.bincount(shell, corners[:, :, i].mean(axis=1)) / size for i in range(3)], axis=1
    )
    volume = np.bincount(shell, signed_volumes(vertices, faces, centre[shell]), minlength=count)
    edge, direction = _edges(faces)
    owner = np.tile(shell, 3).astype(np.int64)
    key, place = np.unique(edge.astype(np.int64) * count + owner, return_inverse=True)
    balance = np.bincount(place.ravel(), direction)
    open_shell = np.zeros(count, bool)
    open_shell[(key % count)[balance != 0]] = True
    negative = volume < 0
    if negative.any():
        nested = _nested(corners, shell, negative, ~open_shell)
        outer = ~nested & ~open_shell
        inside_out = bool(outer.any()) and bool(negative[outer].all())
        turn = np.ones(count, bool) if inside_out else negative & ~nested
        turn = np.where(open_shell, negative & ~nested, turn)
    else:
        turn = negative
    total = np.bincount(edge, direction * np.where(turn[owner], -1, 1))
    return turn, not bool(total.any())


def _nested(
    corners: NDArray[np.float64],
    shell: NDArray[np.intp],
    asked: NDArray[np.bool_],
    closed: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which of the ``asked`` shells lie inside a closed shell of larger bounding box."""
    count = len(asked)
    low = np.full((count, 3), np.inf)
    high = np.full((count, 3), -np.inf)
    np.minimum.at(low, shell, corners.min(axis=1))
    np.maximum.at(high, shell, corners.max(axis=1))
    nested = np.zeros(count, bool)
    for index in np.flatnonzero(asked):
        around = closed & (low < low[index]).all(axis=1) & (high > high[index]).all(axis=1)
        around[index] = False
        point = corners[np.argmax(shell == index), 0]
        for outer in np.flatnonzero(around):
            if abs(_winding_number(corners[shell == outer] - point)) > 0.5:
                nested[index] = True
                break
    return nested


def _winding_number(corners: NDArray[np.float64]) -> float:
    """Winding number of triangles (m, 3, 3) about the origin (Van Oosterom and Strackee 1983)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    numerator = np.einsum("ij,ij->i", a, np.cross(b, c))
    denominator = (
        la * lb * lc
        + np.einsum("ij,ij->i", a, b) * lc
        + np.einsum("ij,ij->i", b, c) * la
        + np.einsum("ij,ij->i", c, a) * lb
    )
    return float(np.arctan2(numerator, denominator).sum() / (2.0 * np.pi))
