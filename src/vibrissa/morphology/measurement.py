"""From the measured numbers of one whisker to the whisker."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from vibrissa.morphology.names import WhiskerName
from vibrissa.morphology.parameters import MechanicalParameters, published_radii_mm
from vibrissa.morphology.placement import base_point_mm, base_rotation
from vibrissa.morphology.whisker import JointRule, RestShape, Whisker


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What the tables hold of one whisker, as if it stood on the right side.

    Attributes:
        arc_length_mm: length along the whisker.
        curvature_per_mm: coefficient a of the planar shape y = a x^2.
        theta_w_deg: rostro-caudal angle of emergence.
        phi_w_deg: elevation angle of emergence.
        zeta_w_deg: roll.
        r_bp_mm: radius of the base point.
        theta_bp_deg: azimuth of the base point.
        phi_bp_deg: elevation of the base point.
    """

    arc_length_mm: float
    curvature_per_mm: float
    theta_w_deg: float
    phi_w_deg: float
    zeta_w_deg: float
    r_bp_mm: float
    theta_bp_deg: float
    phi_bp_deg: float


MEASURED_COLUMNS = tuple(f.name for f in fields(Measurement))


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What takes the place of the parameter set for one whisker; None leaves it."""

    radius_base_mm: float | None = None
    radius_tip_mm: float | None = None
    young_modulus_Pa: float | None = None
    density_base_g_per_mm3: float | None = None
    density_tip_g_per_mm3: float | None = None
    damping_ratio: float | None = None
    stiffness_factor: float | None = None
    joint_rule: JointRule | None = None
    rest_shape: RestShape | None = None


def build_whisker(
    name: WhiskerName,
    measured: Measurement,
    parameters: MechanicalParameters,
    *,
    origin_mm: tuple[float, float, float],
    overrides: Overrides | None = None,
) -> Whisker:
    """The whisker of a measurement; a left one is the mirror image of the right one.

    Args:
        name: side, row and column.
        measured: the numbers, as if of a right whisker.
        parameters: the mechanical parameter set.
        origin_mm: origin of the base points in the head frame, for the right side.
        overrides: values that replace those of the set.

    Raises:
        InputError: a value cannot be used (see :class:`Whisker`).
    """
    own = overrides or Overrides()
    radius_base_mm, radius_tip_mm = own.radius_base_mm, own.radius_tip_mm
    if radius_base_mm is None or radius_tip_mm is None:
        base_mm, tip_mm = published_radii_mm(name, measured.arc_length_mm)
        radius_base_mm = base_mm if radius_base_mm is None else radius_base_mm
        radius_tip_mm = min(tip_mm, radius_base_mm) if radius_tip_mm is None else radius_tip_mm
    point = base_point_mm(measured.r_bp_mm, measured.theta_bp_deg, measured.phi_bp_deg)
    right = Whisker(
        name=str(name._replace(side="R")),
        length_mm=measured.arc_length_mm,
        curvature_per_mm=measured.curvature_per_mm,
        radius_base_mm=radius_base_mm,
        radius_tip_mm=radius_tip_mm,
        density_base_g_per_mm3=_first(
            own.density_base_g_per_mm3, parameters.density_base_g_per_mm3
        ),
        density_tip_g_per_mm3=_first(own.density_tip_g_per_mm3, parameters.density_tip_g_per_mm3),
        young_modulus_Pa=_first(own.young_modulus_Pa, parameters.young_modulus_Pa),
        damping_ratio=_first(own.damping_ratio, parameters.damping_ratio_of(name.place)),
        base_position_mm=point + np.asarray(origin_mm),
        base_rotation=base_rotation(measured.theta_w_deg, measured.phi_w_deg, measured.zeta_w_deg),
        stiffness_factor=own.stiffness_factor
        if own.stiffness_factor is not None
        else parameters.stiffness_factor_of(name.place),
        joint_rule=own.joint_rule or parameters.joint_rule,
        rest_shape=own.rest_shape or parameters.rest_shape,
    )
    return right if name.side == "R" else right.mirrored()


def _first(own: float | None, default: float) -> float:
    return default if own is None else own
