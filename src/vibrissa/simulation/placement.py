"""Is a scene worth simulating? Overlap at the start, and runs over the base points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.morphology.array import WhiskerArray
from vibrissa.objects.distance_field import DistanceField
from vibrissa.simulation.bases import base_poses
from vibrissa.simulation.fields import distance_fields
from vibrissa.simulation.motion import Array
from vibrissa.simulation.scene import Scene, SolverConfig

BASE_CLEARANCE_MM = 1.5
"""An object that comes nearer than this to a base point would run over the face."""
CHECK_INTERVAL_S = 0.005
_POINTS = 40
_STRIDE = 8
_STEEPEST = 2.3
"""An interpolated field changes by no more than this per mm (1.3 times the root of 3)."""


@dataclass(frozen=True, kw_only=True)
class PlacementCheck:
    """What was found before a scene is simulated.

    Attributes:
        scene: its name.
        overlapping: whiskers that stand inside the felt surface (the object and the contact
            offset) at time 0.
        deepest_mm: how deep the deepest of them stands; 0 if none does.
        base_clearance_mm: least distance between any base point and any object surface.
    """

    scene: str
    overlapping: tuple[str, ...]
    deepest_mm: float
    base_clearance_mm: float

    @property
    def overruns(self) -> bool:
        """Whether an object runs over the bases."""
        return self.base_clearance_mm < BASE_CLEARANCE_MM

    def refusal(self, *, allow_overlap: bool) -> str | None:
        """Why the scene is refused, one sentence, or None."""
        if self.overruns:
            return (
                f"{self.scene}: the object comes within {self.base_clearance_mm:.2f} mm of a "
                f"whisker's base, less than {BASE_CLEARANCE_MM:g} mm; "
                "give it a larger distance, or a smaller diagonal"
            )
        if self.overlapping and not allow_overlap:
            shown = ", ".join(self.overlapping[:4])
            more = f" and {len(self.overlapping) - 4} more" if len(self.overlapping) > 4 else ""
            return (
                f"{self.scene}: at the start {shown}{more} stand inside the object, up to "
                f"{self.deepest_mm:.2f} mm deep; start it farther away, or allow overlap"
            )
        return None


def check_placement(
    array: WhiskerArray,
    scene: Scene,
    config: SolverConfig,
    *,
    fields: Mapping[str, DistanceField] | None = None,
) -> PlacementCheck:
    """Look at the whiskers at time 0 and at the base points over the whole scene.

    Args:
        array: the whiskers.
        scene: what is looked at.
        config: grid and contact offset.
        fields: distance fields that are at hand, as
            :func:`~vibrissa.simulation.fields.distance_fields` gives them.
    """
    start = np.zeros(1)
    times = np.linspace(
        0.0, scene.duration_s, max(2, int(np.ceil(scene.duration_s / CHECK_INTERVAL_S)) + 1)
    )
    positions, rotations = base_poses(array, scene.head, scene.whisking, start)
    moving, _ = base_poses(array, scene.head, scene.whisking, times)
    local, radii = _rest_in_base_frames(array)
    points = np.einsum("wij,wpj->wpi", rotations[:, 0], local) + positions
    deepest = np.full(len(array), np.inf)
    clearance = np.inf
    held = distance_fields([scene], config, known=fields)
    for placed in scene.objects:
        field = held[placed.shape.field_key]
        at, turned = placed.motion.poses(start)
        gap = field.sample((points - at[0]) @ turned[0]) - config.contact_offset_mm - radii
        deepest = np.minimum(deepest, gap.min(axis=1))
        at, turned = placed.motion.poses(times)
        ways: Array = np.einsum("wti,tij->wtj", moving - at, turned)
        clearance = min(clearance, _least_distance_mm(field, ways))
    inside = tuple(w.name for w, d in zip(array, deepest, strict=True) if d < 0.0)
    return PlacementCheck(
        scene=scene.name,
        overlapping=inside,
        deepest_mm=max(0.0, float(-deepest.min())) if len(scene.objects) else 0.0,
        base_clearance_mm=clearance,
    )


@lru_cache(maxsize=4)
def _rest_in_base_frames(array: WhiskerArray) -> tuple[Array, Array]:
    """Points ``(whisker, point, 3)`` along the whiskers at rest, and the radii there."""
    arcs = [np.linspace(0.0, w.length_mm, _POINTS) for w in array]
    points = np.stack([w.centreline_mm(arc) for w, arc in zip(array, arcs, strict=True)])
    radii = np.stack([w.radius_mm(arc) for w, arc in zip(array, arcs, strict=True)])
    return points, radii


def _least_distance_mm(field: DistanceField, ways: Array) -> float:
    """Least distance along ways ``(way, time, 3)`` in the object's frame.

    Between every eighth place only those are looked at that could be nearer than what is known.
    """
    some = field.sample(ways[:, ::_STRIDE])
    least = float(some.min())
    before = np.arange(ways.shape[1]) // _STRIDE
    moved = np.linalg.norm(ways - ways[:, before * _STRIDE], axis=-1)
    near = some[:, before] - _STEEPEST * moved < least
    return min(least, float(field.sample(ways[near]).min())) if near.any() else least


def require_placed(check: PlacementCheck, *, allow_overlap: bool) -> None:
    """Raise InputError if the scene is to be refused."""
    reason = check.refusal(allow_overlap=allow_overlap)
    if reason is not None:
        raise InputError(reason + ".")
