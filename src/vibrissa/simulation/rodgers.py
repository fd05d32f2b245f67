"""The six stimuli of the mouse shape task of Rodgers et al. 2022, with active whisking.

A curved slab stands still, its convex or its concave side towards the mouse, close, at medium
distance or far, while the whiskers move. Object, positions, angles and the pose of the head are
those of the published simulator (github.com/neuroagents-lab/2025-tactile-whisking). Its whisking
trajectory was not released: the whiskers move sinusoidally here, or as the user's table says.

At the published places two whiskers feel the convex slab, close, while they are at rest (RC2 and
RC3; they stand 0.1 mm inside it, and the contact offset adds 0.3 mm). The protocol allows and
counts this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from vibrissa.core.errors import refuse
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.placement import HeadPose
from vibrissa.objects.rodgers_shapes import RODGERS_DIAGONAL_MM, rodgers_stimulus
from vibrissa.simulation.motion import UniformMotion
from vibrissa.simulation.passive import VARIED, PassiveSweep, published_position_mm, require_plain
from vibrissa.simulation.protocols import Plan, sweep_protocols
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig, Whisking, still
from vibrissa.simulation.whisking import IN_FILES, SinusoidalWhisking

if TYPE_CHECKING:
    from vibrissa.objects.tactile_object import TactileObject

Face = Literal["convex", "concave"]

FACES: Final[tuple[Face, ...]] = ("convex", "concave")
PUBLISHED_XY_MM: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"close": (-1.0, 21.0), "medium": (0.0, 22.0), "far": (1.0, 23.0)}
)
"""Name of the distance -> OBJ_X and OBJ_Y of the published program, for the concave side."""
PUBLISHED_Z_MM: Final = 3.0
CONVEX_SHIFT_X_MM: Final = 1.0
"""The convex side stands this much farther along x."""


@dataclass(frozen=True, kw_only=True)
class RodgersStimuli:
    """Six scenes by name: ``convex close`` ... ``concave far``.

    Attributes:
        whisking: how the bases turn; None keeps them still.
        xy_mm: name of the distance -> OBJ_X, OBJ_Y of the concave side in the convention of
            :func:`~vibrissa.simulation.passive.published_position_mm`.
        height_mm: z of the origin of the slab.
        convex_shift_mm: added to OBJ_X of the convex side.
        diagonal_mm: bounding-box diagonal of the slab.
        head: pose of the head.
        duration_s: simulated time.
    """

    whisking: Whisking | None = field(default_factory=SinusoidalWhisking)
    xy_mm: Mapping[str, tuple[float, float]] = field(default_factory=lambda: PUBLISHED_XY_MM)
    height_mm: float = PUBLISHED_Z_MM
    convex_shift_mm: float = CONVEX_SHIFT_X_MM
    diagonal_mm: float = RODGERS_DIAGONAL_MM
    head: HeadPose = field(default_factory=HeadPose.published_rodgers)
    duration_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.xy_mm:
            raise refuse("xy_mm", {}, "no place for the stimuli", "give one or more")
        for name, place in self.xy_mm.items():
            if len(place) != 2 or not all(math.isfinite(c) for c in place):
                raise refuse(f"xy_mm of {name}", place, "not two finite numbers", "give x, y")
        for name in ("height_mm", "convex_shift_mm"):
            if not math.isfinite(getattr(self, name)):
                raise refuse(name, getattr(self, name), "not finite", "give a number")

    def scenes(self) -> tuple[Scene, ...]:
        """The scenes, convex before concave, in the order of ``xy_mm``.

        Raises:
            InputError: no positive diagonal or duration.
        """
        found = []
        head = still(self.head)
        for face in FACES:
            slab = rodgers_stimulus(face, self.diagonal_mm)
            for distance, (x, y) in self.xy_mm.items():
                shift = self.convex_shift_mm if face == "convex" else 0.0
                at = published_position_mm(slab.vertices_mm, (x + shift, y, self.height_mm))
                motion = UniformMotion(position_mm=at)
                found.append(
                    Scene(
                        objects=(PlacedObject(shape=slab, motion=motion),),
                        duration_s=self.duration_s,
                        head=head,
                        whisking=self.whisking,
                        name=f"{face} {distance}",
                        parameters={"stimulus": face, "distance": distance},
                    )
                )
        return tuple(found)


@sweep_protocols.register("rodgers6")
@dataclass(frozen=True, kw_only=True)
class Rodgers6:
    """The six stimuli of Rodgers et al. 2022 with active whisking.

    The published placement lets whiskers touch the slab at rest; this is allowed and counted.

    Attributes:
        whisking: how the bases turn; None keeps them still.
        sweep: gives the duration; nothing else of it counts.
        stimuli: places, sizes and head; its whisking and duration are replaced.
    """

    needs_object: ClassVar[bool] = False
    sets: ClassVar[tuple[str, ...]] = (*VARIED, "start_y_mm", "through")
    rate_hz: ClassVar[float] = 1000.0
    whisking: Whisking | None = field(default_factory=SinusoidalWhisking, metadata=IN_FILES)
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    stimuli: RodgersStimuli = field(default_factory=RodgersStimuli)

    def __post_init__(self) -> None:
        require_plain(self.sweep, self.sets)

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = True,
    ) -> Plan:
        """The scenes; ``seed`` and ``allow_overlap`` have no meaning here.

        Raises:
            InputError: an object is given.
        """
        if shape is not None:
            raise refuse(
                "object", shape.name, "rodgers6 brings its own objects", "leave the object out"
            )
        stimuli = replace(self.stimuli, whisking=self.whisking, duration_s=self.sweep.duration_s)
        return Plan.of(array, stimuli.scenes(), config, allow_overlap=True)
