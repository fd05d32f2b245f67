"""Passive sweeps: an object glides past whiskers that stand still, as in the published data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.names import Side
from vibrissa.morphology.placement import HeadPose, axis_rotation
from vibrissa.simulation.motion import Array, UniformMotion
from vibrissa.simulation.scene import PlacedObject, Scene, still

if TYPE_CHECKING:
    from vibrissa.objects.tactile_object import TactileObject

CLEAN_MARGIN_MM = 1.0
VARIED = (
    "theta_deg", "distance_mm", "height_mm", "speed_mm_per_s", "spin_deg_per_s", "diagonal_mm",
    "start", "side",
)  # fmt: skip
"""Fields of a :class:`PassiveSweep` that go into the parameters of its scene."""


@dataclass(frozen=True, kw_only=True)
class PassiveSweep:
    """One straight pass of an object along -y of the world, past the right side of the head.

    Attributes:
        theta_deg: the object is turned by this about world z, about the origin of its mesh.
        distance_mm: smallest x of the turned object; the whisker bases stand at x = 0.4 to 1.3 mm.
        height_mm: z of the origin of its mesh.
        speed_mm_per_s: along -y.
        spin_deg_per_s: turning about world z while it moves.
        diagonal_mm: the mesh is scaled to this bounding-box diagonal; None leaves its size.
        start: clean: the leading face starts 1 mm in front of the foremost whisker; published: the
            trailing face of an object centred on its origin starts at start_y_mm, as in the
            published program, so that a large object begins inside the whiskers.
        start_y_mm: where the trailing face is at a published start.
        duration_s: simulated time.
        through: simulate until the whole object has passed the hindmost whisker, and keep of this
            the ``duration_s`` with most contact; only for clean starts.
        side: ``R`` past the right side; ``L`` is its mirror image, object and all.
    """

    theta_deg: float = 0.0
    distance_mm: float = 5.0
    height_mm: float = 0.0
    speed_mm_per_s: float = 30.0
    spin_deg_per_s: float = 0.0
    diagonal_mm: float | None = 40.0
    start: Literal["clean", "published"] = "clean"
    start_y_mm: float = 16.0
    duration_s: float = 1.0
    through: bool = False
    side: Literal["R", "L"] = "R"

    def __post_init__(self) -> None:
        for name in ("theta_deg", "distance_mm", "height_mm", "spin_deg_per_s", "start_y_mm"):
            if not np.isfinite(getattr(self, name)):
                raise refuse(name, getattr(self, name), "not finite", "give a number")
        for name in ("speed_mm_per_s", "duration_s"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise refuse(name, value, "must be positive", "give a number above 0")
        size = self.diagonal_mm
        if size is not None and not (np.isfinite(size) and size > 0):
            raise refuse("diagonal_mm", size, "not a positive length", "give one above 0, or None")
        if self.start not in ("clean", "published"):
            raise refuse("start", self.start, "unknown", "choose clean or published")
        if self.side not in ("R", "L"):
            raise refuse("side", self.side, "unknown", "choose R or L")
        if self.through and self.start != "clean":
            raise refuse(
                "through", True, f"has no meaning with a {self.start} start",
                "choose a clean start or leave it out",
            )  # fmt: skip

    def scene(
        self,
        shape: TactileObject,
        array: WhiskerArray,
        *,
        head: HeadPose | None = None,
        name: str | None = None,
        sized: TactileObject | None = None,
    ) -> Scene:
        """Place an object.

        Args:
            shape: the object, in the orientation and about the origin of its mesh.
            array: whose front a clean start keeps clear of; for ``side="L"`` the left whiskers.
            head: pose of the head for the right side, which ``side="L"`` mirrors; by default the
                published one of passive sweeps.
            name: name of the scene; by default the object's name and the varied parameters.
            sized: the object scaled to ``diagonal_mm``, if it is at hand.
        """
        right = head or HeadPose.published_passive()
        pose = right if self.side == "R" else _mirrored_pose(right)
        if sized is None:
            size = self.diagonal_mm
            sized = shape if size is None else shape.scaled_to_diagonal(size)
        rotation = axis_rotation("z", self.theta_deg)
        corner = (self.distance_mm, self.start_y_mm, self.height_mm)
        turned = sized.used_vertices_mm @ rotation.T
        position = published_position_mm(turned, corner)
        duration_s, window_s = self.duration_s, None
        if self.start == "clean":
            hind, front = _reach_mm(array, self.side, pose)
            position[1] = front + CLEAN_MARGIN_MM - float(turned[:, 1].min())
            if self.through:
                # A spinning object may turn any of its corners backward.
                behind = sized.radius_mm if self.spin_deg_per_s else float(turned[:, 1].max())
                way = position[1] + behind - (hind - CLEAN_MARGIN_MM)
                window_s = self.duration_s
                duration_s = max(duration_s, rounded_up_s(way / self.speed_mm_per_s))
        spin = self.spin_deg_per_s
        if self.side == "L":
            # The mirror image of the right-hand sweep, object and all.
            sized, rotation, position = _mirror(sized, rotation, position)
            spin = -spin
        motion = UniformMotion(
            position_mm=position,
            velocity_mm_per_s=np.array([0.0, -self.speed_mm_per_s, 0.0]),
            rotation=rotation,
            spin_rad_per_s=np.array([0.0, 0.0, np.deg2rad(spin)]),
        )
        varied = {"object": shape.name} | {name: getattr(self, name) for name in VARIED}
        label = f"{shape.name} t{self.theta_deg:g} d{self.distance_mm:g} h{self.height_mm:g}"
        return Scene(
            objects=(PlacedObject(shape=sized, motion=motion),),
            duration_s=duration_s,
            window_s=window_s,
            head=still(pose),
            name=name or label,
            parameters=varied,
        )


def require_plain(sweep: PassiveSweep, names: Sequence[str]) -> None:
    """Refuse a template in which fields are set that a protocol chooses itself.

    Raises:
        InputError: naming the first of them.
    """
    plain = PassiveSweep()
    for name in names:
        if getattr(sweep, name) != getattr(plain, name):
            raise refuse(
                f"sweep.{name}", getattr(sweep, name), "the protocol sets this itself",
                "leave it out or choose another protocol",
            )  # fmt: skip


def rounded_up_s(time_s: float) -> float:
    """The next whole multiple of 0.1 s, so that few different durations come up."""
    return math.ceil(10.0 * time_s - 1e-9) / 10.0


@lru_cache(maxsize=16)
def _reach_mm(array: WhiskerArray, side: Side, pose: HeadPose) -> tuple[float, float]:
    """Lowest and highest y in the world of the whiskers of a side at rest."""
    passed = [w for w in array if w.parsed_name.side == side]
    if not passed:
        raise refuse(
            "side", side, "the array has no whiskers there",
            "give the other side, or an array with both",
        )  # fmt: skip
    along = rest_points_mm(array.with_whiskers(passed), pose)[..., 1]
    return float(along.min()), float(along.max())


def _mirror(
    shape: TactileObject, rotation: Array, position: Array
) -> tuple[TactileObject, Array, Array]:
    """Reflect a placed object about the plane x = 0 of the world."""
    flip = np.diag([-1.0, 1.0, 1.0])
    mirrored = replace(
        shape, vertices_mm=shape.vertices_mm @ flip, faces=shape.faces[:, ::-1].copy()
    )
    return mirrored, flip @ rotation @ flip, flip @ position


def _mirrored_pose(pose: HeadPose) -> HeadPose:
    flip = np.diag([-1.0, 1.0, 1.0])
    return HeadPose(position_mm=flip @ pose.position_mm, rotation=flip @ pose.rotation @ flip)


def published_position_mm(turned_mm: Array, at: tuple[float, float, float]) -> Array:
    """Where the published program puts the origin of a mesh.

    Args:
        turned_mm: (n, 3) vertices after scaling and turning, about the origin of the mesh.
        at: the program's OBJ_X, OBJ_Y, OBJ_Z in mm.

    Returns:
        (3,) such that the smallest x of the object is OBJ_X, and its origin has
        y = OBJ_Y + smallest y of the vertices and z = OBJ_Z.
    """
    low = turned_mm.min(axis=0)
    return np.array([at[0] - low[0], at[1] + low[1], at[2]])


def rest_points_mm(array: WhiskerArray, head: HeadPose, points: int = 24) -> Array:
    """Points ``(whisker, point, 3)`` along the whiskers at rest, in the world."""
    return np.stack(
        [
            head.points_to_world_mm(w.centreline_in_head_mm(np.linspace(0.0, w.length_mm, points)))
            for w in array
        ]
    )


def crossed(base: PassiveSweep, values: Mapping[str, Sequence[Any]]) -> Iterator[PassiveSweep]:
    """Every combination of the values of some fields; the last field varies fastest."""
    for one in product(*values.values()):
        yield replace(base, **dict(zip(values, one, strict=True)))


def published_1000hz(base: PassiveSweep | None = None) -> Iterator[PassiveSweep]:
    """The 16 sweeps per object of the published 1000 Hz set (facts of the released scripts):
    rotation {0, 30} + sweep direction {0, 90} degrees, height {-5, 0}, distance {5, 8} mm."""
    turns = [turn + sweep for turn, sweep in product((0.0, 30.0), (0.0, 90.0))]
    places = {"theta_deg": turns, "height_mm": (-5.0, 0.0), "distance_mm": (5.0, 8.0)}
    return crossed(base or PassiveSweep(), places)
