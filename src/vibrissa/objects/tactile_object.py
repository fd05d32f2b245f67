"""The object that whiskers touch: a named, labelled triangle mesh in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vibrissa.core.errors import refuse
from vibrissa.core.files import digest_of_bytes
from vibrissa.objects.distance_field import (
    DistanceField,
    DistanceFieldConfig,
    SignRule,
    compute_distance_field,
)


@dataclass(frozen=True, eq=False)
class TactileObject:
    """A triangle mesh with a name and a class label.

    Attributes:
        name: the individual object.
        label: the class it belongs to.
        vertices_mm: (n, 3) float64, read-only.
        faces: (m, 3) int32 vertex indices, counter-clockwise seen from outside, read-only.
        source: where it comes from, free text.

    Raises:
        InputError: a vertex is not finite, there is no face, an index is out of range, or no face
            has an area.
    """

    name: str
    label: str
    vertices_mm: NDArray[np.float64]
    faces: NDArray[np.int32]
    source: str = ""

    def __post_init__(self) -> None:
        given = np.asarray(self.faces)
        if given.ndim != 2 or given.shape[1] != 3 or not np.issubdtype(given.dtype, np.integer):
            raise refuse(
                f"faces of {self.name}", given.shape, "not rows of three integers", "give (m, 3)"
            )
        vertices = np.array(self.vertices_mm, dtype=np.float64, order="C")
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise refuse(
                f"vertices of {self.name}", vertices.shape, "not rows of x, y, z", "give (n, 3)"
            )
        if not len(given):
            raise refuse(f"{self.name}", 0, "it has no faces", "give a triangle mesh")
        bad = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
        if len(bad):
            raise refuse(
                f"vertex {bad[0]} of {self.name}",
                tuple(float(x) for x in vertices[bad[0]]),
                "not finite",
                "repair the mesh",
            )
        if given.min() < 0 or given.max() >= len(vertices):
            worst = int(given.min() if given.min() < 0 else given.max())
            raise refuse(
                f"face index of {self.name}",
                worst,
                f"out of range, there are {len(vertices)} vertices",
                "repair the mesh",
            )
        faces = np.array(given, dtype=np.int32, order="C")
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        size = float(np.ptp(vertices[np.unique(faces)], axis=0).max())
        with np.errstate(over="ignore", invalid="ignore"):
            area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).max(initial=0.0))
        if not math.isfinite(area) or size > 1e9:
            raise refuse(f"extent of {self.name}", size, "too large, in mm", "check its unit")
        if area <= 1e-12 * size * size:
            raise refuse(f"area of {self.name}", 0.0, "no face has an area", "repair the mesh")
        vertices.flags.writeable = False
        faces.flags.writeable = False
        object.__setattr__(self, "vertices_mm", vertices)
        object.__setattr__(self, "faces", faces)

    @cached_property
    def bounds_mm(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest corner of the bounding box of the vertices that faces use."""
        used = self.vertices_mm[np.unique(self.faces)]
        return np.stack([used.min(axis=0), used.max(axis=0)])

    @property
    def extent_mm(self) -> NDArray[np.float64]:
        """(3,) edges of the axis-aligned bounding box."""
        return self.bounds_mm[1] - self.bounds_mm[0]

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the axis-aligned bounding box."""
        return float(np.linalg.norm(self.extent_mm))

    @property
    def radius_mm(self) -> float:
        """Largest distance of a vertex from the origin of the mesh."""
        used = self.vertices_mm[np.unique(self.faces)]
        return float(np.linalg.norm(used, axis=1).max())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the geometry; name, label and source do not count."""
        return digest_of_bytes(
            self.vertices_mm.astype("<f8").tobytes(), self.faces.astype("<i4").tobytes()
        )

    def scaled(self, factor: float) -> TactileObject:
        """The object scaled about its origin; the factor is positive and finite."""
        if not (math.isfinite(factor) and factor > 0):
            raise refuse("factor", factor, "not a positive number", "give a factor above 0")
        return replace(self, vertices_mm=self.vertices_mm * factor)

    def scaled_to_diagonal(self, diagonal_mm: float) -> TactileObject:
        """Scaled about its origin until the bounding-box diagonal has this length.

        This is the size convention of the published simulator; apply it before any rotation.
        """
        if not (math.isfinite(diagonal_mm) and diagonal_mm > 0):
            raise refuse("diagonal_mm", diagonal_mm, "not a positive length", "give one above 0")
        return self.scaled(diagonal_mm / self.diagonal_mm)

    def centred(self) -> TactileObject:
        """The object moved so that the centre of its bounding box is the origin."""
        return replace(self, vertices_mm=self.vertices_mm - self.bounds_mm.mean(axis=0))

    def rotated(self, rotation: ArrayLike) -> TactileObject:
        """The object turned about its origin by a (3, 3) rotation matrix.

        Raises:
            InputError: the matrix is not a proper rotation.
        """
        matrix = np.asarray(rotation, dtype=np.float64)
        if (
            matrix.shape != (3, 3)
            or not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
            or np.linalg.det(matrix) < 0
        ):
            raise refuse("rotation", matrix.tolist(), "not a rotation matrix", "give one")
        return replace(self, vertices_mm=self.vertices_mm @ matrix.T)

    def upright(self, axis: str = "y") -> TactileObject:
        """Turned so that the axis that points up in the file (``"x"``, ``"y"``, ``"z"``) is +z."""
        if axis not in ("x", "y", "z"):
            raise refuse("axis", axis, "not an axis", "choose x, y or z")
        x, y, z = self.vertices_mm.T
        # A quarter turn about a horizontal axis; the third horizontal axis keeps its heading.
        turned = {"x": (-z, y, x), "y": (x, -z, y), "z": (x, y, z)}[axis]
        return replace(self, vertices_mm=np.stack(turned, axis=1))

    def distance_field(
        self,
        spacing_mm: float = DistanceFieldConfig.spacing_mm,
        padding_mm: float = DistanceFieldConfig.padding_mm,
        *,
        sign_rule: SignRule = DistanceFieldConfig.sign_rule,
        shell_offset_mm: float = DistanceFieldConfig.shell_offset_mm,
        device: str = DistanceFieldConfig.device,
        cache: bool = True,
        cache_dir: Path | str | None = None,
    ) -> DistanceField:
        """Signed distance to the surface on a grid, in the object's frame.

        Arguments and errors as for :class:`DistanceFieldConfig` and
        :func:`compute_distance_field`.
        """
        config = DistanceFieldConfig(
            spacing_mm=spacing_mm,
            padding_mm=padding_mm,
            sign_rule=sign_rule,
            shell_offset_mm=shell_offset_mm,
            device=device,
        )
        return compute_distance_field(
            self.vertices_mm, self.faces, self.digest, config, cache=cache, cache_dir=cache_dir
        )
