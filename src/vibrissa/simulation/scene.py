"""A scene is one sweep before it is simulated: objects in motion, the head, the whisking."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.placement import HeadPose
from vibrissa.simulation.motion import Array, Motion, UniformMotion
from vibrissa.simulation.rod import MAX_LINKS

if TYPE_CHECKING:
    from vibrissa.objects.tactile_object import TactileObject


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedObject:
    """An object and how it moves; the mesh's own origin follows the motion."""

    shape: TactileObject
    motion: Motion


class Whisking(Protocol):
    """How whisker bases turn in the head."""

    def base_rotations(self, array: WhiskerArray, times_s: Array) -> Array:
        """Base frames ``(whisker, time, 3, 3)`` in the head frame."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """One sweep to simulate.

    Attributes:
        objects: what the whiskers may touch; may be empty.
        duration_s: simulated time.
        head: motion of the head frame in the world.
        whisking: how the bases turn in the head; None where they stand still.
        window_s: of the recording only a window of this length is kept, the one that holds most
            contact (:func:`~vibrissa.simulation.windows.best_window`); None keeps all of it.
        name: for messages and tables.
        parameters: what the protocol varied, for the table of the data set; JSON types.
    """

    objects: tuple[PlacedObject, ...]
    duration_s: float
    head: Motion = field(default_factory=lambda: still(HeadPose.published_passive()))
    whisking: Whisking | None = None
    window_s: float | None = None
    name: str = "sweep"
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        value = self.duration_s
        if not _is_number(value) or not 0 < value <= MAX_DURATION_S:
            raise refuse(
                "duration_s", value, f"must be above 0 and at most {MAX_DURATION_S:g} seconds",
                "cut it into shorter scenes",
            )  # fmt: skip
        object.__setattr__(self, "duration_s", float(value))
        window = self.window_s
        if window is not None:
            if not _is_number(window) or not 0 < window <= value:
                raise refuse(
                    "window_s", window, f"not a part of the {value:g} s that are simulated",
                    "give a shorter window, or simulate longer",
                )  # fmt: skip
            object.__setattr__(self, "window_s", float(window))
        covers = getattr(self.whisking, "require_cover", None)
        if covers is not None:
            covers(self.duration_s)
        object.__setattr__(self, "objects", tuple(self.objects))

    @property
    def kept_s(self) -> float:
        """How much of the simulated time is kept."""
        return self.duration_s if self.window_s is None else self.window_s

    @property
    def label(self) -> str:
        """Label of the first object, or nothing."""
        return self.objects[0].shape.label if self.objects else ""


def still(pose: HeadPose) -> UniformMotion:
    """The motion of a head that stays where it is."""
    return UniformMotion(position_mm=pose.position_mm, rotation=pose.rotation)


LEAST_DAMPING_RATIO = 0.02
"""Smaller ones would ask for ever shorter steps; they come out somewhat high instead."""

MAX_DURATION_S = 3600.0

# Above a contact stiffness of 1000 the contact starts to chatter, below 10 it is visibly soft.
_RANGES = {
    "rate_hz": (1e-3, 1e5),
    "step_s": (1e-7, 1e-2),
    "steps_per_radian": (1.0, 1e3),
    "calm_step_s": (1e-6, 1e-2),
    "contact_stiffness": (10.0, 1000.0),
    "creep_speed_mm_per_s": (1e-6, 1e3),
    "grid_spacing_mm": (0.01, 5.0),
    "contact_offset_mm": (0.0, 10.0),
    "friction": (0.0, 10.0),
    "rest_moment_uN_mm": (0.0, 1e3),
    "calm_speed_mm_per_s": (0.0, 1e3),
}

_NUMBERS = (int, float, np.integer, np.floating)


def _is_number(value: object) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


Sampling = Literal["average", "point"]


@dataclass(frozen=True, kw_only=True)
class SolverConfig:
    """How scenes are simulated; the same for all sweeps of a data set.

    Attributes:
        rate_hz: output frames per second.
        sampling: ``average`` is the mean over the frame (no aliasing of contact ringing beyond
            what a box filter leaves), ``point`` the value at the end of the frame.
        step_s: longest time step; each whisker takes the longest step that divides the frame, is
            no longer than this and resolves its first mode (``steps_per_radian``).
        steps_per_radian: steps while the first mode turns by one radian.
        calm_speed_mm_per_s: while no joint of a pressing whisker would change its velocity by more
            than this in a coarse step, and no contact comes or goes, the whisker takes that
            coarse, fully implicit step; otherwise, also in hindsight, fine ones. 0 means fine
            steps always.
        calm_step_s: longest coarse step.
        links: moving links per whisker; None lets each whisker have what its accuracy needs.
        contact_offset_mm: the object is felt this far outside its surface. It gives thin and
            open walls a thickness; the published simulator has 0.5 mm.
        contact_stiffness: of the contact penalty, in multiples of the whisker's own static
            stiffness at that place; what the surface gives in is 1 / this of the deflection.
        friction: Coulomb coefficient (published: 0.5 x 0.5).
        creep_speed_mm_per_s: below this slip speed friction falls off linearly to zero.
        grid_spacing_mm: cell of the signed-distance grid.
        rest_moment_uN_mm: a free whisker whose joint loads are all below this is put to rest.
        skip: whether steps that cannot change anything are left out (faster) or computed as well;
            results are the same to rounding.
        precision: floating-point type of the kernel.
        device: ``cpu`` or ``cuda``, ``cuda:0`` ...
        threads: CPU threads; None for all cores.
        record_nodes: keep the shape of every whisker at every frame.
        record_world: keep force and moment in world axes as well.
    """

    rate_hz: float = 1000.0
    sampling: Sampling = "average"
    step_s: float = 1e-4
    steps_per_radian: float = 5.0
    calm_speed_mm_per_s: float = 20.0
    calm_step_s: float = 5e-4
    links: int | None = None
    contact_offset_mm: float = 0.3
    contact_stiffness: float = 300.0
    friction: float = 0.25
    creep_speed_mm_per_s: float = 0.1
    grid_spacing_mm: float = 0.25
    rest_moment_uN_mm: float = 0.01
    skip: bool = True
    precision: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    threads: int | None = None
    record_nodes: bool = False
    record_world: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not _is_number(value) or not low <= value <= high:
                raise refuse(
                    name, value, f"must be a number from {low:g} to {high:g}", "give one in range"
                )
            object.__setattr__(self, name, float(value))
        for name, (least, most) in {"links": (3, MAX_LINKS), "threads": (1, 4096)}.items():
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value is not None and not (whole and least <= value <= most):
                raise refuse(
                    name,
                    value,
                    f"must be a whole number from {least} to {most}",
                    "give one in range",
                )
        if self.sampling not in ("average", "point"):
            raise refuse("sampling", self.sampling, "unknown", "choose average or point")
        if self.precision not in ("float32", "float64"):
            raise refuse("precision", self.precision, "unknown", "choose float32 or float64")

    @property
    def frame_s(self) -> float:
        """Time between frames."""
        return 1.0 / self.rate_hz

    def frames(self, duration_s: float) -> int:
        """Whole frames in a span of time.

        Raises:
            InputError: the span is shorter than one frame.
        """
        count = math.floor(duration_s * self.rate_hz + 1e-6)
        if count < 1:
            raise refuse(
                "duration_s", duration_s, f"shorter than one frame at {self.rate_hz:g} Hz",
                "simulate longer, or at a higher rate",
            )  # fmt: skip
        return count

    def steps_per_frame(
        self, angular_frequency_rad_per_s: float, damping_ratio: float
    ) -> tuple[int, int]:
        """Fine steps in one frame, and fine steps in one coarse step, which divides the frame, for
        a whisker with this first angular frequency and damping ratio."""
        omega = angular_frequency_rad_per_s
        longest = min(
            self.step_s,
            1.0 / (self.steps_per_radian * omega),
            # Longer steps would need, to be stable, more damping than the whisker has.
            4.0 * max(damping_ratio, LEAST_DAMPING_RATIO) / omega,
        )
        steps = max(1, math.ceil(self.frame_s / longest - 1e-9))
        blocks = max(1, math.ceil(self.frame_s / self.calm_step_s - 1e-9))
        coarse = math.ceil(steps / blocks) if self.calm_speed_mm_per_s > 0.0 else 1
        return (coarse * blocks, coarse) if coarse > 1 else (steps, 1)


def frame_times_s(config: SolverConfig, duration_s: float) -> Array:
    """Times ``(time,)`` at the ends of the frames."""
    return np.asarray(
        (np.arange(config.frames(duration_s)) + 1.0) * config.frame_s, dtype=np.float64
    )
