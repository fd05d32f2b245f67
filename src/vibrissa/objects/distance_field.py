"""Signed distance to an object's surface on a regular grid, with sampling, gradient and cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vibrissa.core.errors import refuse
from vibrissa.core.files import digest_of_bytes

ALGORITHM_VERSION: Final = 1
"""Part of every digest; raised whenever the same mesh would give other values."""

MAX_NODES: Final = 100_000_000
"""Largest grid, 400 MB."""

SignRule = Literal["auto", "winding", "unsigned"]


@dataclass(frozen=True, kw_only=True)
class DistanceFieldConfig:
    """How a distance grid is made.

    Attributes:
        spacing_mm: edge of a grid cell.
        padding_mm: margin around the object's bounding box that the grid covers at least.
        sign_rule: ``"winding"``: inside is where the winding number exceeds one half (robust to
            holes and inner faces; Barill et al. 2018, doi 10.1145/3197517.3201337);
            ``"unsigned"``: the distance less ``shell_offset_mm``, which makes a shell of twice
            that thickness of every face; ``"auto"``: winding, but unsigned for an open surface
            that has almost nothing inside, such as a sheet.
        shell_offset_mm: half the thickness given to a sheet.
        device: where to compute, ``"cpu"`` or a CUDA device such as ``"cuda:0"``.
    """

    spacing_mm: float = 0.25
    padding_mm: float = 2.0
    sign_rule: SignRule = "auto"
    shell_offset_mm: float = 0.3
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("spacing_mm", "shell_offset_mm"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise refuse(name, value, "not a positive length", "give a length above 0 mm")
        if not (math.isfinite(self.padding_mm) and self.padding_mm >= 0):
            raise refuse("padding_mm", self.padding_mm, "not a length", "give 0 mm or more")
        if self.sign_rule not in ("auto", "winding", "unsigned"):
            raise refuse("sign_rule", self.sign_rule, "unknown", "choose auto, winding or unsigned")

    def digest(self, geometry_digest: str) -> str:
        """Digest of a geometry under these parameters; the device does not count."""
        parameters = (
            ALGORITHM_VERSION,
            float(self.spacing_mm).hex(),
            float(self.padding_mm).hex(),
            self.sign_rule,
            float(self.shell_offset_mm).hex(),
        )
        return digest_of_bytes(geometry_digest.encode(), repr(parameters).encode())


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceField:
    """Distance to an object's surface at the nodes of a grid, negative inside.

    Within 3 mm of the surface the nodes are exact to float32 rounding; beyond they are lower
    bounds of the distance (on a 0.25 mm grid too small by 0.1 mm at most, but by up to two cells
    at ridges, where the closest point jumps), so that they never promise more clearance than there
    is. Neighbouring nodes within 3 mm differ by no more than the spacing; farther off by up to 1.3
    times as much. Several closed shells that overlap count as
    one solid; faces inside it still bound the (negative) depth. A hole is closed by the surface on
    which the winding number is one half.

    Attributes:
        values_mm: (nx, ny, nz) float32, read-only.
        origin_mm: (3,) float64, place of node (0, 0, 0) in the object's frame.
        spacing_mm: edge of a cell.
        padding_mm: the grid reaches at least this far beyond the object on every side.
        sign_rule: the rule that was used, ``"winding"`` or ``"unsigned"``.
        shell_offset_mm: what was taken off the distance; 0 under the winding rule.
        digest: SHA-256 of geometry, parameters and version of the algorithm.
    """

    values_mm: NDArray[np.float32]
    origin_mm: NDArray[np.float64]
    spacing_mm: float
    padding_mm: float
    sign_rule: Literal["winding", "unsigned"]
    shell_offset_mm: float
    digest: str

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values_mm, dtype=np.float32)
        origin = np.array(self.origin_mm, dtype=np.float64)
        if values.ndim != 3 or min(values.shape) < 2:
            raise refuse("values_mm", values.shape, "not a grid of cells", "give (nx, ny, nz)")
        if origin.shape != (3,) or not np.isfinite(origin).all():
            raise refuse("origin_mm", self.origin_mm, "not a point", "give three finite numbers")
        if not np.isfinite(values).all():
            raise refuse("values_mm", "NaN or infinite", "not a distance", "recompute the field")
        values.flags.writeable = False
        origin.flags.writeable = False
        object.__setattr__(self, "values_mm", values)
        object.__setattr__(self, "origin_mm", origin)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of nodes along x, y and z."""
        nx, ny, nz = self.values_mm.shape
        return nx, ny, nz

    @property
    def upper_mm(self) -> NDArray[np.float64]:
        """(3,) place of the last node."""
        return self.origin_mm + self.spacing_mm * (np.array(self.shape) - 1)

    def scaled(self, factor: float) -> DistanceField:
        """The field of the same object scaled about its origin, on the scaled grid.

        Spacing, padding and the span in which distances are exact scale with it; the thickness of a
        shell does not. Interpolation errors scale too: shrunk, a field is as exact as one on a
        finer grid.

        Raises:
            InputError: the factor is not positive and finite.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise refuse("factor", factor, "not a positive number", "give a factor above 0")
        if factor == 1.0:
            return self
        values = self.values_mm * np.float32(factor)
        if self.shell_offset_mm:
            values += np.float32(self.shell_offset_mm * (factor - 1.0))
        return DistanceField(
            values_mm=values,
            origin_mm=self.origin_mm * factor,
            spacing_mm=self.spacing_mm * factor,
            padding_mm=self.padding_mm * factor,
            sign_rule=self.sign_rule,
            shell_offset_mm=self.shell_offset_mm,
            digest=digest_of_bytes(self.digest.encode(), float(factor).hex().encode()),
        )

    def sample(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Distance at any points, interpolated trilinearly within the grid.

        Outside the grid the result is a lower bound: the larger of the distance to the grid's box
        without its padding, in which the whole object lies, and the value at the nearest point of
        the grid less the way there.

        Args:
            points_mm: (..., 3), finite, in the object's frame.

        Returns:
            (...) distances in mm.

        Raises:
            InputError: wrong shape, or a coordinate is not finite.
        """
        points = _points(points_mm)
        clamped = np.clip(points, self.origin_mm, self.upper_mm)
        values = self._interpolate(clamped)
        way = np.linalg.norm(points - clamped, axis=-1)
        outside = way > 0
        if outside.any():
            low, high = self.origin_mm + self.padding_mm, self.upper_mm - self.padding_mm
            box = np.linalg.norm(points - np.clip(points, low, high), axis=-1)
            bound = np.maximum(box - self.shell_offset_mm, values - way)
            values = np.where(outside, bound, values)
        return values

    def gradient(self, points_mm: ArrayLike) -> NDArray[np.float64]:
        """Central difference of :meth:`sample` over one cell to either side; the surface normal.

        The derivative of the interpolation itself jumps from cell to cell; this one does not.

        Args:
            points_mm: (..., 3), finite, in the object's frame.

        Returns:
            (..., 3), without unit, of length one or less (up to interpolation).
        """
        points = _points(points_mm)
        columns = []
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = self.spacing_mm
            columns.append(self.sample(points + step) - self.sample(points - step))
        return np.stack(columns, axis=-1) / (2.0 * self.spacing_mm)

    def _interpolate(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        place = (points - self.origin_mm) / self.spacing_mm
        base = np.clip(np.floor(place).astype(np.int64), 0, np.array(self.shape) - 2)
        part = np.clip(place - base, 0.0, 1.0)
        total = np.zeros(points.shape[:-1])
        for corner in range(8):
            offset = np.array([corner >> 2, (corner >> 1) & 1, corner & 1])
            weight = np.where(offset == 1, part, 1.0 - part).prod(axis=-1)
            index = base + offset
            total += weight * self.values_mm[index[..., 0], index[..., 1], index[..., 2]]
        return total


def _points(points_mm: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(points_mm, dtype=np.float64)
    if points.ndim == 0 or points.shape[-1] != 3:
        raise refuse("points_mm", points.shape, "the last axis is not x, y, z", "give (..., 3)")
    if not np.isfinite(points).all():
        raise refuse("points_mm", "NaN or infinite", "not a place", "give finite coordinates")
    return points


def compute_distance_field(
    vertices_mm: NDArray[np.float64],
    faces: NDArray[np.int32],
    geometry_digest: str,
    config: DistanceFieldConfig | None = None,
    *,
    cache: bool = True,
    cache_dir: Path | str | None = None,
) -> DistanceField:
    """The distance field of a triangle mesh, from the cache if it is there.

    The mesh is repaired first (see :func:`vibrissa.objects.repair.repaired`). The first call in a
    new environment compiles the kernels, which takes seconds.

    Args:
        vertices_mm: (n, 3), finite.
        faces: (m, 3), indices in range.
        geometry_digest: digest of the two, as :attr:`TactileObject.digest` gives it.
        config: parameters; the defaults if omitted.
        cache: whether to read and write the cache at all; see also
            :func:`~vibrissa.objects.distance_cache.no_cache`.
        cache_dir: folder of the cache; by default the environment variable VIBRISSA_CACHE or the
            user's cache folder. A folder that cannot be written is not used, without complaint.

    Raises:
        InputError: no face has an area, the grid would be too large, or there is no such device.
    """
    from vibrissa.objects import distance_cache

    config = config or DistanceFieldConfig()
    digest = config.digest(geometry_digest)
    cache = cache and distance_cache.in_use()
    folder = distance_cache.cache_folder(cache_dir) if cache else None
    if folder is not None:
        known = distance_cache.read(folder, digest)
        if known is not None:
            return known
    field = _compute(vertices_mm, faces, digest, config)
    if folder is not None:
        distance_cache.write(folder, field)
    return field


def _compute(
    vertices_mm: NDArray[np.float64],
    faces: NDArray[np.int32],
    digest: str,
    config: DistanceFieldConfig,
) -> DistanceField:
    from vibrissa.objects._distance_grid import TOP_STEP, distance_grid
    from vibrissa.objects.repair import repaired

    mesh = repaired(vertices_mm, faces)
    if not len(mesh.faces):
        raise refuse(
            "faces", len(faces), "none of them has an area", "repair or leave out the mesh"
        )
    low, high = mesh.vertices_mm.min(axis=0), mesh.vertices_mm.max(axis=0)
    spacing = float(config.spacing_mm)
    # Nodes lie at whole multiples of the spacing, so that moving the box moves no node off them.
    first = np.floor((low - config.padding_mm) / spacing)
    cells = np.ceil((high + config.padding_mm) / spacing) - first
    cells = TOP_STEP * np.ceil(np.maximum(cells, 1) / TOP_STEP)
    nodes = float(np.prod(cells + 1))
    if not nodes <= MAX_NODES:
        raise refuse(
            "spacing_mm",
            spacing,
            f"{nodes:.3g} grid nodes for an object of "
            f"{' x '.join(f'{e:.4g}' for e in high - low)} mm, above the limit of {MAX_NODES}",
            "make the object smaller or the spacing larger",
        )
    nx, ny, nz = (int(n) + 1 for n in cells)
    values, rule = distance_grid(
        mesh,
        first * spacing,
        (nx, ny, nz),
        spacing,
        config.sign_rule,
        config.shell_offset_mm,
        config.device,
    )
    return DistanceField(
        values_mm=values,
        origin_mm=first * spacing,
        spacing_mm=spacing,
        padding_mm=float(config.padding_mm),
        sign_rule="winding" if rule == "winding" else "unsigned",
        shell_offset_mm=0.0 if rule == "winding" else float(config.shell_offset_mm),
        digest=digest,
    )
