"""What two copies of a mesh have in common, however one is scaled, turned, moved or re-ordered.

Two objects that only differ so feel alike (a protocol scales objects anyway), and a split that has
one of them on either side leaks. A likeness is the numbers of vertices and faces and 44 lengths,
areas and moments in units of the mesh's own size; mirror images are alike as well. Meshes that were
cut anew (decimated, subdivided) are not: they are other meshes, and nothing here would find them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

TOLERANCE: Final = 1e-5
"""Of the square root of the surface: above what rounding in mesh files does (about 1e-6), far below
what sets two objects of a class apart."""
_QUANTILES: Final = np.linspace(0.0, 1.0, 16)
_FEWER: Final = np.linspace(0.0, 1.0, 8)


def likeness_of(vertices_mm: np.ndarray, faces: np.ndarray) -> str:
    """The likeness of a mesh as text; ``""`` for a mesh without a surface.

    Args:
        vertices_mm: (vertex, 3).
        faces: (face, 3) indices; vertices in no face do not count.
    """
    used, corners = np.unique(faces.reshape(-1), return_inverse=True)
    points = vertices_mm[used].astype(np.float64)
    triangles = points[corners.reshape(-1, 3)]
    edges = np.roll(triangles, -1, axis=1) - triangles
    normals = np.cross(edges[:, 0], edges[:, 1])
    areas = np.linalg.norm(normals, axis=1) / 2.0
    total = float(areas.sum())
    if not (np.isfinite(total) and total > 0):
        return ""
    size = np.sqrt(total)
    centre = (triangles.mean(axis=1) * areas[:, None]).sum(axis=0) / total
    triangles = (triangles - centre) / size
    weights = areas / total
    # second moments of a triangle: exact by the three middles of its edges
    middles = (triangles + np.roll(triangles, -1, axis=1)) / 2.0
    moments = np.einsum("f,fki,fkj->ij", weights / 3.0, middles, middles)
    volume = abs(float(np.einsum("fi,fi->", triangles[:, 0], normals / total))) / 6.0
    features = np.concatenate(
        [
            [volume],
            np.linalg.eigvalsh(moments),
            np.quantile(np.linalg.norm((points - centre) / size, axis=1), _QUANTILES),
            np.quantile(np.linalg.norm(edges, axis=2) / size, _QUANTILES),
            np.quantile(np.sqrt(weights), _FEWER),
        ]
    )
    return " ".join([f"{len(used)} {len(faces)}", *(f"{value:.7f}" for value in features)])


def alike(likenesses: Mapping[str, str]) -> dict[str, str]:
    """Gather what is alike.

    Args:
        likenesses: name -> likeness, ``""`` where unknown.

    Returns:
        Name -> the first name, in sorted order, of those alike; its own where there is no other.
    """
    owner = {name: name for name in likenesses}
    groups: dict[str, list[str]] = {}
    for name in sorted(likenesses):
        counts = " ".join(likenesses[name].split()[:2])
        if counts:
            groups.setdefault(counts, []).append(name)

    def root(name: str) -> str:
        while owner[name] != name:
            name = owner[name]
        return name

    for names in groups.values():
        vectors = np.array([[float(v) for v in likenesses[name].split()[2:]] for name in names])
        order = np.argsort(vectors[:, 1], kind="stable")  # alike is near in every number
        for place, k in enumerate(order.tolist()):
            end = np.searchsorted(vectors[order, 1], vectors[k, 1] + TOLERANCE, side="right")
            near = order[place + 1 : end]
            close = np.abs(vectors[near] - vectors[k]).max(axis=1, initial=0.0) <= TOLERANCE
            for other in near[close].tolist():
                first, second = sorted((root(names[k]), root(names[other])))
                owner[second] = first
    return {name: root(name) for name in likenesses}
