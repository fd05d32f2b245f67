"""Placement: base points and frames from the measured angles; the pose of the head in the world.

Head (array) frame: +x to the animal's right, +y rostral, +z dorsal; the sagittal plane is x = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse

Array = npt.NDArray[np.float64]


def axis_rotation(axis: Literal["x", "y", "z"], angle_deg: float) -> Array:
    """(3, 3) matrix that turns by ``angle_deg`` about an axis, right-handed."""
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    matrix = np.eye(3)
    matrix[j, j] = matrix[k, k] = c
    matrix[j, k], matrix[k, j] = -s, s
    return matrix


def base_rotation(theta_w_deg: float, phi_w_deg: float, zeta_w_deg: float) -> Array:
    """Base frame of a right whisker: Rz(theta - 90) Ry(-phi) Rx(zeta + 90), columns x, y, z.

    Args:
        theta_w_deg: rostro-caudal angle of emergence (90: straight to the side).
        phi_w_deg: elevation angle of emergence.
        zeta_w_deg: roll about the whisker's own axis.

    Returns:
        (3, 3); x runs along the whisker, the intrinsic curvature turns about -z.

    Reference:
        Zweifel et al. 2021, PNAS, doi:10.1073/pnas.2011905118 (the angles; signs as in its code).
    """
    return (
        axis_rotation("z", theta_w_deg - 90.0)
        @ axis_rotation("y", -phi_w_deg)
        @ axis_rotation("x", zeta_w_deg + 90.0)
    )


def emergence_angles_deg(rotation: Array) -> tuple[float, float, float]:
    """The inverse of :func:`base_rotation`: (theta, phi, zeta), theta in (-90, 270] degrees.

    Where the whisker stands straight up or down only theta and zeta together are determined; zeta
    is then -90.
    """
    horizontal = float(np.hypot(rotation[0, 0], rotation[1, 0]))
    phi = np.arctan2(rotation[2, 0], horizontal)
    if horizontal > 1e-12:
        turn = np.arctan2(rotation[1, 0], rotation[0, 0])
        roll = np.arctan2(rotation[2, 1], rotation[2, 2])
    else:
        turn, roll = np.arctan2(-rotation[0, 1], rotation[1, 1]), 0.0
    theta, zeta = np.rad2deg(turn) + 90.0, np.rad2deg(roll) - 90.0
    return float(theta), float(np.rad2deg(phi)), float(zeta if zeta > -180.0 else zeta + 360.0)


def base_point_mm(r_bp_mm: float, theta_bp_deg: float, phi_bp_deg: float) -> Array:
    """Base point of a right whisker relative to the array's origin: (3,) in mm.

    The published formula: x = r cos(theta), y = r sin(theta), z = r sin(phi), without the factor
    cos(phi) in x and y that spherical coordinates would have.
    """
    theta, phi = np.deg2rad(theta_bp_deg), np.deg2rad(phi_bp_deg)
    return r_bp_mm * np.array([np.cos(theta), np.sin(theta), np.sin(phi)])


def base_coordinates(point_mm: Array) -> tuple[float, float, float]:
    """The inverse of :func:`base_point_mm`: (r in mm, theta in degrees, phi in degrees).

    Raises:
        InputError: the point is higher than it is far from the z axis, which has no phi.
    """
    x, y, z = (float(c) for c in point_mm)
    r = float(np.hypot(x, y))
    if r == 0.0 or abs(z) > r:
        raise refuse(
            "base_position_mm",
            [x, y, z],
            "the table's coordinates (z = r sin phi) cannot say a point so near to the z axis",
            "choose another array origin",
        )
    return r, float(np.rad2deg(np.arctan2(y, x))), float(np.rad2deg(np.arcsin(z / r)))


def checked_vector(field: str, value: npt.ArrayLike) -> Array:
    """A read-only copy (3,) of finite numbers, or InputError."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    if array.shape != (3,) or not np.all(np.isfinite(array)):
        raise refuse(field, value, "not three finite numbers", "give x, y, z in mm")
    array.setflags(write=False)
    return array


def checked_rotation(field: str, value: npt.ArrayLike) -> Array:
    """A read-only copy (3, 3) of a right-handed orthonormal matrix, or InputError."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    if array.shape != (3, 3) or not np.all(np.isfinite(array)):
        raise refuse(field, value, "not a 3 x 3 matrix of finite numbers", "give a rotation matrix")
    if not np.allclose(array.T @ array, np.eye(3), rtol=0.0, atol=1e-8):
        raise refuse(field, array.tolist(), "columns are not orthonormal", "give a rotation matrix")
    if np.linalg.det(array) < 0:
        raise refuse(
            field, array.tolist(), "the frame is left-handed", "set z to the cross product of x, y"
        )
    array.setflags(write=False)
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadPose:
    """Where the head (array) frame stands in the world.

    Attributes:
        position_mm: (3,) origin of the head frame in the world.
        rotation: (3, 3) columns are the head's axes in the world; right-handed.

    Raises:
        InputError: not finite, not orthonormal or left-handed.
    """

    position_mm: Array
    rotation: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "position_mm", checked_vector("position_mm", self.position_mm))
        object.__setattr__(self, "rotation", checked_rotation("rotation", self.rotation))

    @classmethod
    def identity(cls) -> HeadPose:
        """Head frame and world coincide."""
        return cls(position_mm=np.zeros(3), rotation=np.eye(3))

    @classmethod
    def published_passive(cls) -> HeadPose:
        """Head pose of the published passive object sweeps: Rz(-16.198 deg) Ry(15.366 deg)."""
        return cls(
            position_mm=np.array([-6.934, -11.642, -2.598]),
            rotation=axis_rotation("z", -16.198) @ axis_rotation("y", 15.366),
        )

    @classmethod
    def published_rodgers(cls) -> HeadPose:
        """Head pose of the published Rodgers stimuli: Ry(15 deg) at (-5, -10, 0) mm."""
        return cls(position_mm=np.array([-5.0, -10.0, 0.0]), rotation=axis_rotation("y", 15.0))

    def points_to_world_mm(self, points_mm: npt.ArrayLike) -> Array:
        """Points (..., 3) of the head frame, in the world."""
        return self.directions_to_world(points_mm) + self.position_mm

    def directions_to_world(self, vectors: npt.ArrayLike) -> Array:
        """Vectors (..., 3) of the head frame, in the world."""
        return np.asarray(vectors, dtype=np.float64) @ self.rotation.T

    def rotation_to_world(self, rotation: npt.ArrayLike) -> Array:
        """A frame (..., 3, 3) given in the head frame, in the world."""
        return self.rotation @ np.asarray(rotation, dtype=np.float64)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HeadPose)
            and np.array_equal(self.position_mm, other.position_mm)
            and np.array_equal(self.rotation, other.rotation)
        )

    def __hash__(self) -> int:
        return hash((self.position_mm.tobytes(), self.rotation.tobytes()))
