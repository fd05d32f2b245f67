"""One whisker: a tapered, intrinsically curved elastic rod and where it stands on the head."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import InputError, refuse
from vibrissa.morphology.names import WhiskerName, parse_name
from vibrissa.morphology.placement import checked_rotation, checked_vector
from vibrissa.morphology.shape import (
    Array,
    chain_points_mm,
    parabola_points_mm,
    published_angles_rad,
)

JointRule = Literal["beam", "published"]
RestShape = Literal["parabola", "published"]

_POSITIVE = (
    "length_mm",
    "radius_base_mm",
    "radius_tip_mm",
    "density_base_g_per_mm3",
    "density_tip_g_per_mm3",
    "young_modulus_Pa",
    "stiffness_factor",
)
_NOT_NEGATIVE = ("curvature_per_mm", "damping_ratio")


@dataclass(frozen=True, kw_only=True, eq=False)
class Whisker:
    """A whisker at rest, in its base frame and on the head.

    Base frame: x along the whisker at its base, z the axis of the intrinsic curvature, which turns
    about it in the negative sense (the whisker bends toward -y).

    Attributes:
        name: side, row and column from 0, for instance ``"RC2"``.
        length_mm: arc length.
        curvature_per_mm: coefficient a of the planar rest shape y = -a x^2; 0 is straight.
        radius_base_mm: radius at the base.
        radius_tip_mm: radius at the tip, at most that at the base; linear in between.
        density_base_g_per_mm3: density at the base.
        density_tip_g_per_mm3: density at the tip; linear in arc length in between.
        young_modulus_Pa: Young's modulus, uniform.
        damping_ratio: of the first bending mode.
        base_position_mm: (3,) base point in the head frame.
        base_rotation: (3, 3) columns are the axes of the base frame in the head frame.
        stiffness_factor: multiplies the bending stiffness E I.
        joint_rule: how a chain of links gets its joint stiffness: ``"beam"`` as E I of the beam
            demands, ``"published"`` E I(proximal radius) / length_mm at the nodes between equal
            links, the first link rigid.
        rest_shape: ``"parabola"``, or ``"published"`` for the straighter chain of the published
            arrays (see :func:`vibrissa.morphology.shape.published_angles_rad`).

    Raises:
        InputError: a value is not finite or not positive where it must be, the tip is thicker than
            the base, or the base frame is no right-handed rotation.
    """

    name: str
    length_mm: float
    curvature_per_mm: float
    radius_base_mm: float
    radius_tip_mm: float
    density_base_g_per_mm3: float
    density_tip_g_per_mm3: float
    young_modulus_Pa: float
    damping_ratio: float
    base_position_mm: Array
    base_rotation: Array
    stiffness_factor: float = 1.0
    joint_rule: JointRule = "beam"
    rest_shape: RestShape = "parabola"

    def __post_init__(self) -> None:
        if str(parse_name(self.name)) != self.name:  # a number such as 02
            raise refuse("name", self.name, "not a whisker's name", 'write for instance "RC2"')
        for field in _POSITIVE + _NOT_NEGATIVE:
            value = getattr(self, field)
            low = "positive" if field in _POSITIVE else "zero or more"
            if not _is_number(value):
                raise self._refused(field, value, "not a finite number", f"give one that is {low}")
            if value < 0 or (value == 0 and field in _POSITIVE):
                remedy = f"give a value that is {low}"
                if field == "curvature_per_mm":
                    remedy += "; to bend the other way, turn the base frame by 180 degrees about x"
                raise self._refused(field, value, f"must be {low}", remedy)
            object.__setattr__(self, field, float(value))
        if self.radius_tip_mm > self.radius_base_mm:
            raise self._refused(
                "radius_tip_mm",
                self.radius_tip_mm,
                f"larger than radius_base_mm = {self.radius_base_mm!r}",
                "whiskers taper: exchange the two or give a smaller tip",
            )
        for field, options in (("joint_rule", JointRule), ("rest_shape", RestShape)):
            if getattr(self, field) not in get_args(options):
                raise self._refused(
                    field,
                    getattr(self, field),
                    "no such choice",
                    f"choose {' or '.join(get_args(options))}",
                )
        position = checked_vector(f"{self.name}: base_position_mm", self.base_position_mm)
        rotation = checked_rotation(f"{self.name}: base_rotation", self.base_rotation)
        object.__setattr__(self, "base_position_mm", position)
        object.__setattr__(self, "base_rotation", rotation)

    @property
    def parsed_name(self) -> WhiskerName:
        """Side, row and column."""
        return parse_name(self.name)

    def radius_mm(self, s_mm: npt.ArrayLike) -> Array:
        """Radius at arc lengths ``s_mm`` (any shape, in [0, length_mm]), same shape."""
        return self._linear(s_mm, self.radius_base_mm, self.radius_tip_mm)

    def density_g_per_mm3(self, s_mm: npt.ArrayLike) -> Array:
        """Density at arc lengths ``s_mm`` (any shape, in [0, length_mm]), same shape."""
        return self._linear(s_mm, self.density_base_g_per_mm3, self.density_tip_g_per_mm3)

    def linear_density_g_per_mm(self, s_mm: npt.ArrayLike) -> Array:
        """Mass per length, pi r^2 rho, at arc lengths ``s_mm``, same shape."""
        return np.pi * self.radius_mm(s_mm) ** 2 * self.density_g_per_mm3(s_mm)

    def bending_stiffness_uN_mm2(self, s_mm: npt.ArrayLike) -> Array:
        """E I = factor * E * pi r^4 / 4 at arc lengths ``s_mm``, same shape (Pa mm^4 = uN mm^2)."""
        modulus = self.young_modulus_Pa * self.stiffness_factor
        return modulus * np.pi / 4.0 * self.radius_mm(s_mm) ** 4

    def centreline_mm(self, s_mm: npt.ArrayLike) -> Array:
        """Points of the rest shape in the base frame.

        Args:
            s_mm: arc lengths from the base, any shape, in [0, length_mm].

        Returns:
            (..., 3) in mm; z is 0, y is 0 or negative.
        """
        s = self._within(s_mm)
        if self.rest_shape == "published":
            angles = published_angles_rad(self.length_mm, self.curvature_per_mm)
            return chain_points_mm(s, self.length_mm, angles)
        return parabola_points_mm(s, self.curvature_per_mm)

    def centreline_in_head_mm(self, s_mm: npt.ArrayLike) -> Array:
        """The same points (..., 3) in the head frame."""
        return self.centreline_mm(s_mm) @ self.base_rotation.T + self.base_position_mm

    def mass_g(self) -> float:
        """Mass; the integral of the (cubic) linear density, by Simpson's rule, which is exact."""
        ends_and_middle = self.linear_density_g_per_mm(self.length_mm * np.array([0.0, 0.5, 1.0]))
        return float(self.length_mm / 6.0 * ends_and_middle @ np.array([1.0, 4.0, 1.0]))

    def mirrored(self) -> Whisker:
        """The mirror image about the sagittal plane x = 0, named for the other side.

        x and y of the base frame are mirrored and z = x cross y keeps it right-handed; so the rest
        shape is the same in base coordinates, and of the loads of a mirrored scene Fz, Mx and My
        change sign while Fx, Fy and Mz stay.
        """
        flip = np.array([-1.0, 1.0, 1.0])
        rotation = flip[:, None] * self.base_rotation
        rotation[:, 2] *= -1.0
        return replace(
            self,
            name=str(self.parsed_name.mirrored()),
            base_position_mm=flip * self.base_position_mm,
            base_rotation=rotation,
        )

    def _within(self, s_mm: npt.ArrayLike) -> Array:
        s = np.asarray(s_mm, dtype=np.float64)
        slack = 1e-9 * self.length_mm
        if not np.all((s >= -slack) & (s <= self.length_mm + slack)):
            outside = s[~((s >= -slack) & (s <= self.length_mm + slack))]
            raise self._refused(
                "s_mm",
                float(outside.flat[0]),
                f"off the whisker, which is {self.length_mm:g} mm long",
                "give arc lengths from 0 to length_mm",
            )
        return np.clip(s, 0.0, self.length_mm)

    def _linear(self, s_mm: npt.ArrayLike, base: float, tip: float) -> Array:
        return base + (tip - base) * (self._within(s_mm) / self.length_mm)

    def _refused(self, field: str, value: object, reason: str, remedy: str) -> InputError:
        return refuse(f"{self.name}: {field}", value, reason, remedy)

    def _key(self) -> tuple[object, ...]:
        values = (getattr(self, f.name) for f in fields(self))
        return tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Whisker) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def published_joint_angles_rad(whisker: Whisker) -> Array:
    """Rest angles (N,) of the published chain of N = floor(length) equal links.

    About z of the base frame, 0 or negative; entry 0, at the clamped base, is 0. See
    :func:`vibrissa.morphology.shape.published_angles_rad`.
    """
    return published_angles_rad(whisker.length_mm, whisker.curvature_per_mm)


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and math.isfinite(value)
