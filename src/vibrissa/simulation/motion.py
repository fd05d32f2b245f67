"""Motions: where a rigid thing is at any time; of objects, of the head, of whisker bases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse

Array = npt.NDArray[np.float64]

_DIFFERENCE_S = 1e-5


@runtime_checkable
class Motion(Protocol):
    """A rigid motion in the world, smooth enough to be differentiated twice."""

    @property
    def knots_needed(self) -> bool:
        """Whether more than the two ends of the time span are needed to describe it."""
        ...

    def poses(self, times_s: Array) -> tuple[Array, Array]:
        """Positions ``(n, 3)`` in mm and rotations ``(n, 3, 3)`` at times ``(n,)``."""
        ...


def _vector(name: str, value: npt.ArrayLike) -> Array:
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        vector = np.full(0, np.nan)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise refuse(name, value, "not three finite numbers", "give x, y, z")
    vector.setflags(write=False)
    return vector


def turn(rotation_vector_rad: npt.ArrayLike) -> Array:
    """Rotation matrices ``(..., 3, 3)`` of rotation vectors ``(..., 3)`` in rad."""
    from scipy.spatial.transform import Rotation

    vectors = np.asarray(rotation_vector_rad, dtype=np.float64)
    flat = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    return flat.reshape(*vectors.shape[:-1], 3, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class UniformMotion:
    """Constant velocity and constant spin, or standing still.

    Attributes:
        position_mm: (3,) at time 0.
        velocity_mm_per_s: (3,).
        rotation: (3, 3) at time 0.
        spin_rad_per_s: (3,) angular velocity in world axes.
    """

    position_mm: Array = field(default_factory=lambda: np.zeros(3))
    velocity_mm_per_s: Array = field(default_factory=lambda: np.zeros(3))
    rotation: Array = field(default_factory=lambda: np.eye(3))
    spin_rad_per_s: Array = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        from vibrissa.morphology.placement import checked_rotation

        for name in ("position_mm", "velocity_mm_per_s", "spin_rad_per_s"):
            object.__setattr__(self, name, _vector(name, getattr(self, name)))
        object.__setattr__(self, "rotation", checked_rotation("rotation", self.rotation))

    @property
    def knots_needed(self) -> bool:
        return bool(np.any(self.spin_rad_per_s != 0.0))

    def poses(self, times_s: Array) -> tuple[Array, Array]:
        times = np.asarray(times_s, dtype=np.float64)
        positions = self.position_mm + times[:, None] * self.velocity_mm_per_s
        if not self.knots_needed:
            return positions, np.broadcast_to(self.rotation, (len(times), 3, 3))
        return positions, turn(times[:, None] * self.spin_rad_per_s) @ self.rotation


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledMotion:
    """A motion through given poses, joined by cubic and rotation splines (scipy).

    Attributes:
        times_s: (n,) increasing, n >= 2. Before the first and after the last the pose stands still.
        positions_mm: (n, 3).
        rotations: (n, 3, 3).
    """

    times_s: Array
    positions_mm: Array
    rotations: Array

    def __post_init__(self) -> None:
        from vibrissa.morphology.placement import checked_rotation

        times = np.array(self.times_s, dtype=np.float64)
        if times.ndim != 1 or len(times) < 2 or not np.all(np.diff(times) > 0):
            raise refuse("times_s", self.times_s, "not increasing", "give two or more times")
        positions = np.array(self.positions_mm, dtype=np.float64)
        if positions.shape != (len(times), 3) or not np.isfinite(positions).all():
            raise refuse(
                "positions_mm", positions.shape, "not one finite point per time", "give (n, 3)"
            )
        rotations = np.array(self.rotations, dtype=np.float64)
        if rotations.shape != (len(times), 3, 3):
            raise refuse("rotations", rotations.shape, "not one matrix per time", "give (n, 3, 3)")
        for k, rotation in enumerate(rotations):
            checked_rotation(f"rotations[{k}]", rotation)
        for name, value in (
            ("times_s", times),
            ("positions_mm", positions),
            ("rotations", rotations),
        ):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @property
    def knots_needed(self) -> bool:
        return True

    def poses(self, times_s: Array) -> tuple[Array, Array]:
        from scipy.interpolate import CubicSpline
        from scipy.spatial.transform import Rotation, RotationSpline

        times = within(times_s, self.times_s)
        positions = CubicSpline(self.times_s, self.positions_mm)(times)
        spline = RotationSpline(self.times_s, Rotation.from_matrix(self.rotations))
        return positions, spline(times).as_matrix()


def within(times_s: npt.ArrayLike, known_s: npt.ArrayLike) -> Array:
    """Times ``(n,)`` no farther outside the known ones ``(m,)`` than a difference of rates needs.

    Cut at the very ends, a central difference there would give half the rate.
    """
    known = np.asarray(known_s, dtype=np.float64)
    slack = 2.0 * _DIFFERENCE_S
    return np.clip(np.asarray(times_s, dtype=np.float64), known[0] - slack, known[-1] + slack)


@dataclass(frozen=True, kw_only=True)
class Knots:
    """Poses and their rates at equal intervals, as the kernel reads them.

    Attributes:
        position_mm: (..., knot, 3).
        velocity_mm_per_s: (..., knot, 3).
        quaternion: (..., knot, 4), w x y z, without sign jumps along the knots.
        quaternion_rate_per_s: (..., knot, 4).
    """

    position_mm: Array
    velocity_mm_per_s: Array
    quaternion: Array
    quaternion_rate_per_s: Array

    @staticmethod
    def stack(parts: list[Knots], axis: int = 0) -> Knots:
        return Knots(
            position_mm=np.stack([p.position_mm for p in parts], axis),
            velocity_mm_per_s=np.stack([p.velocity_mm_per_s for p in parts], axis),
            quaternion=np.stack([p.quaternion for p in parts], axis),
            quaternion_rate_per_s=np.stack([p.quaternion_rate_per_s for p in parts], axis),
        )


def quaternions(rotations: Array) -> Array:
    """Unit quaternions ``(n, 4)``, w x y z, of matrices ``(n, 3, 3)``, neighbours never opposed."""
    from scipy.spatial.transform import Rotation

    found = Rotation.from_matrix(rotations).as_quat(scalar_first=True)
    if found[0, 0] < 0:
        found = -found
    flips = np.where(np.sum(found[1:] * found[:-1], axis=1) < 0, -1.0, 1.0)
    found[1:] *= np.cumprod(flips)[:, None]
    return found


def knots_of(motion: Motion, times_s: Array) -> Knots:
    """Sample a motion and its rates, by central differences, at times ``(n,)``."""
    times = np.asarray(times_s, dtype=np.float64)
    stencil = times[:, None] + np.array([-_DIFFERENCE_S, 0.0, _DIFFERENCE_S])
    positions, rotations = motion.poses(stencil.ravel())
    positions = positions.reshape(-1, 3, 3)
    quats = quaternions(np.asarray(rotations)).reshape(-1, 3, 4)
    return Knots(
        position_mm=positions[:, 1],
        velocity_mm_per_s=(positions[:, 2] - positions[:, 0]) / (2.0 * _DIFFERENCE_S),
        quaternion=quats[:, 1],
        quaternion_rate_per_s=(quats[:, 2] - quats[:, 0]) / (2.0 * _DIFFERENCE_S),
    )


def speed_bound_mm_per_s(motion: Motion, times_s: Array, radius_mm: float) -> float:
    """No point within ``radius_mm`` of the motion's origin is faster than this in the span."""
    knots = knots_of(motion, times_s)
    linear = np.linalg.norm(knots.velocity_mm_per_s, axis=1).max()
    spin = 2.0 * np.linalg.norm(knots.quaternion_rate_per_s, axis=1).max()
    # A cubic between knots may run somewhat faster than at them.
    factor = 1.3 if motion.knots_needed else 1.0 + 1e-6
    return float(factor * (linear + spin * radius_mm))
