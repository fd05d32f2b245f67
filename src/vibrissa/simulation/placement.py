"""Is a scene worth simulating? Overlap at the start, and runs over the base points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.bases import base_poses
from vibrissa.simulation.motion import Array
from vibrissa.simulation.scene import Scene, SolverConfig

BASE_CLEARANCE_MM = 1.5
"""An object that comes nearer than this to a base point would run over the face."""
CHECK_INTERVAL_S = 0.005
_POINTS = 40


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


def check_placement(array: WhiskerArray, scene: Scene, config: SolverConfig) -> PlacementCheck:
    """Look at the whiskers at time 0 and at the base points over the whole scene."""
    start = np.zeros(1)
    times = np.linspace(
        0.0, scene.duration_s, max(2, int(np.ceil(scene.duration_s / CHECK_INTERVAL_S)) + 1)
    )
    positions, rotations = base_poses(array, scene.head, scene.whisking, start)
    moving, _ = base_poses(array, scene.head, scene.whisking, times)
    deepest = np.full(len(array), np.inf)
    clearance = np.inf
    for placed in scene.objects:
        field = placed.shape.distance_field(spacing_mm=config.grid_spacing_mm)
        at, turned = placed.motion.poses(start)
        for w, whisker in enumerate(array):
            arc = np.linspace(0.0, whisker.length_mm, _POINTS)
            points = whisker.centreline_mm(arc) @ rotations[w, 0].T + positions[w, 0]
            gap = field.sample((points - at[0]) @ turned[0])
            deepest[w] = min(
                deepest[w], float(np.min(gap - config.contact_offset_mm - whisker.radius_mm(arc)))
            )
        at, turned = placed.motion.poses(times)
        local: Array = np.einsum("wti,tij->wtj", moving - at, turned)
        clearance = min(clearance, float(field.sample(local.reshape(-1, 3)).min()))
    inside = tuple(w.name for w, d in zip(array, deepest, strict=True) if d < 0.0)
    return PlacementCheck(
        scene=scene.name,
        overlapping=inside,
        deepest_mm=max(0.0, float(-deepest.min())) if len(scene.objects) else 0.0,
        base_clearance_mm=clearance,
    )


def require_placed(check: PlacementCheck, *, allow_overlap: bool) -> None:
    """Raise InputError if the scene is to be refused."""
    reason = check.refusal(allow_overlap=allow_overlap)
    if reason is not None:
        raise InputError(reason + ".")
