"""The object that whiskers touch: a named, labelled triangle mesh in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
    _sized_from: tuple[TactileObject, float] | None = field(init=False, default=None, repr=False)

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
    def used_vertices_mm(self) -> NDArray[np.float64]:
        """(k, 3) the vertices that faces use."""
        return self.vertices_mm[np.unique(self.faces)]

    @cached_property
    def bounds_mm(self) -> NDArray[np.float64]:
        """(2, 3) lowest and highest corner of the bounding box of the vertices that faces use."""
        used = self.used_vertices_mm
        return np.stack([used.min(axis=0), used.max(axis=0)])

    @property
    def extent_mm(self) -> NDArray[np.float64]:
        """(3,) edges of the axis-aligned bounding box."""
        return self.bounds_mm[1] - self.bounds_mm[0]

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the axis-aligned bounding box."""
        return float(np.linalg.norm(self.extent_mm))

    @cached_property
    def radius_mm(self) -> float:
        """Largest distance of a vertex from the origin of the mesh."""
        return float(np.linalg.norm(self.used_vertices_mm, axis=1).max())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the geometry; name, label and source do not count."""
        return digest_of_bytes(
            self.vertices_mm.astype("<f8").tobytes(), self.faces.astype("<i4").tobytes()
        )

    @property
    def field_key(self) -> str:
        """What distinguishes the distance fields of two objects under the same parameters.

        It is the digest, but another one for an object that shares the field of another size.
        """
        if self._sized_from is None:
            return self.digest
        other, factor = self._sized_from
        return digest_of_bytes(other.digest.encode(), float(factor).hex().encode())

    def scaled(self, factor: float, *, share_field: bool = False) -> TactileObject:
        """The object scaled about its origin.

        Args:
            factor: positive and finite.
            share_field: let the new object take its distance field from this one's, rescaled,
                where that is fine enough (see :meth:`distance_field`). One field then serves
                any number of smaller sizes.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise refuse("factor", factor, "not a positive number", "give a factor above 0")
        other = replace(self, vertices_mm=self.vertices_mm * factor)
        if share_field:
            root, so_far = self._sized_from or (self, 1.0)
            object.__setattr__(other, "_sized_from", (root, so_far * factor))
        return other

    def scaled_to_diagonal(self, diagonal_mm: float, *, share_field: bool = False) -> TactileObject:
        """Scaled about its origin until the bounding-box diagonal has this length.

        This is the size convention of the published simulator; apply it before any rotation.
        ``share_field`` as for :meth:`scaled`.
        """
        if not (math.isfinite(diagonal_mm) and diagonal_mm > 0):
            raise refuse("diagonal_mm", diagonal_mm, "not a positive length", "give one above 0")
        return self.scaled(diagonal_mm / self.diagonal_mm, share_field=share_field)

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
        hold: bool = False,
        least_padding_mm: float = 0.5,
    ) -> DistanceField:
        """Signed distance to the surface on a grid, in the object's frame.

        An object made smaller with ``share_field`` gives the field of the larger one, rescaled;
        its spacing and padding are then smaller than asked for by the same factor. Where the
        padding would be too small, or the object was made larger, its own field is computed.

        Further arguments, and errors, as for :class:`DistanceFieldConfig` and
        :func:`compute_distance_field`.

        Args:
            hold: keep the field in memory for as long as the object lives; it is not pickled.
            least_padding_mm: a shared field must be right, its normals too, at least this far
                from what is felt of the surface.
        """
        config = DistanceFieldConfig(
            spacing_mm=spacing_mm,
            padding_mm=padding_mm,
            sign_rule=sign_rule,
            shell_offset_mm=shell_offset_mm,
            device=device,
        )
        if self._sized_from is not None:
            shared = self._shared_field(config, least_padding_mm, cache, cache_dir)
            if shared is not None:
                return shared
        held: dict[str, DistanceField] = self.__dict__.get("_held", {})
        digest = config.digest(self.digest)
        if digest in held:
            return held[digest]
        made = compute_distance_field(
            self.vertices_mm, self.faces, self.digest, config, cache=cache, cache_dir=cache_dir
        )
        if hold:
            object.__setattr__(self, "_held", {digest: made})
        return made

    def _shared_field(
        self,
        config: DistanceFieldConfig,
        least_padding_mm: float,
        cache: bool,
        cache_dir: Path | str | None,
    ) -> DistanceField | None:
        """The field of the size that this one was made from, rescaled; None if not good enough."""
        assert self._sized_from is not None
        other, factor = self._sized_from
        # A normal takes one cell to either side.
        reach = factor * (config.padding_mm - config.spacing_mm)
        if factor > 1.0 + 1e-6 or reach < least_padding_mm:
            return None
        field = other.distance_field(
            config.spacing_mm, config.padding_mm, sign_rule=config.sign_rule,
            shell_offset_mm=config.shell_offset_mm, device=config.device, cache=cache,
            cache_dir=cache_dir, hold=True,
        )  # fmt: skip
        if reach < least_padding_mm + field.shell_offset_mm:
            return None
        return field.scaled(factor)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_held"}
