"""Mechanical parameter sets by name: what turns a measured shape into an elastic rod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Final

from vibrissa.core.errors import refuse
from vibrissa.core.registry import Registry
from vibrissa.morphology.names import WhiskerName
from vibrissa.morphology.tables import read_packaged_table
from vibrissa.morphology.whisker import JointRule, RestShape

_SMALLEST_TIP_RADIUS_MM: Final = 0.0015


def published_radii_mm(place: WhiskerName, length_mm: float) -> tuple[float, float]:
    """Base and tip radius by the published regression on arc length, row and column.

    Base diameter = 0.041 + 0.002 L + 0.011 row - 0.0039 column; slope = 0.0012 + 0.00017 row -
    0.000066 column + 0.00011 column^2; tip radius = max(0.0015, (base radius - slope L) / 2); all
    in mm, rows A..E = 1..5, columns from 0. The regression was made on rats; the published mouse
    array applies it to mouse lengths, and halves the tip, as written here.

    Raises:
        InputError: the row is not A to E, or no positive taper results.
    """
    row = "ABCDE".find(place.row) + 1
    if row == 0:
        raise refuse(
            "whisker",
            str(place),
            "the regression of radii knows rows A to E only",
            "give radius_base_um and radius_tip_um",
        )
    column = place.column
    base_mm = 0.5 * (0.041 + 0.002 * length_mm + 0.011 * row - 0.0039 * column)
    slope = 0.0012 + 0.00017 * row - 0.000066 * column + 0.00011 * column**2
    tip_mm = max(_SMALLEST_TIP_RADIUS_MM, 0.5 * (base_mm - slope * length_mm))
    if base_mm < tip_mm:
        raise refuse(
            "whisker",
            str(place),
            "the regression of radii gives no taper for this row, column and length",
            "give radius_base_um and radius_tip_um",
        )
    return base_mm, tip_mm


@dataclass(frozen=True, kw_only=True)
class MechanicalParameters:
    """A set of material and joint parameters. Radii follow :func:`published_radii_mm` in all sets.

    Attributes:
        name: the name under which it is registered.
        description: what it stands for, with its sources.
        density_base_g_per_mm3: density at the base.
        density_tip_g_per_mm3: density at the tip.
        young_modulus_Pa: Young's modulus.
        damping_ratio: of the first bending mode, for whiskers that ``damping_ratios`` lacks.
        damping_ratios: place (``"C2"``) -> damping ratio.
        stiffness_factors: place -> factor on E I; empty: 1 for all; otherwise a place that is
            absent is refused.
        joint_rule: see :class:`~vibrissa.morphology.whisker.Whisker`.
        rest_shape: see :class:`~vibrissa.morphology.whisker.Whisker`.
    """

    name: str
    description: str
    density_base_g_per_mm3: float
    density_tip_g_per_mm3: float
    young_modulus_Pa: float = 5e9
    damping_ratio: float
    damping_ratios: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    stiffness_factors: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    joint_rule: JointRule = "beam"
    rest_shape: RestShape = "parabola"

    def damping_ratio_of(self, place: str) -> float:
        """Damping ratio of the whisker at a place such as ``"C2"``."""
        return self.damping_ratios.get(place, self.damping_ratio)

    def stiffness_factor_of(self, place: str) -> float:
        """Factor on E I of the whisker at a place such as ``"C2"``.

        Raises:
            InputError: the set holds measured factors, but none for this place.
        """
        if not self.stiffness_factors:
            return 1.0
        if place not in self.stiffness_factors:
            raise refuse(
                "parameters",
                self.name,
                f"it holds values measured on the mouse's 30 whiskers, not on {place}",
                "choose another set, for instance physical",
            )
        return self.stiffness_factors[place]


parameter_sets: Final[Registry] = Registry("parameters")
"""Name -> a function without arguments that gives the :class:`MechanicalParameters`."""


def parameters(name: str) -> MechanicalParameters:
    """The parameter set of this name.

    Raises:
        InputError: no such set; the text lists those that there are.
    """
    return parameter_sets.get(name)()


@parameter_sets.register("physical")
@cache
def physical() -> MechanicalParameters:
    """The beam that its modulus, density and measured damping make it (the default)."""
    return MechanicalParameters(
        name="physical",
        description=(
            "Euler-Bernoulli beam, E = 5 GPa; density 1.26 to 1.69 mg/mm^3 from base to tip as in "
            "the original WHISKiT Physics (Zweifel et al. 2021, doi:10.1073/pnas.2011905118; Yang, "
            "Belli & Hartmann 2019, J Neurophysiol 121); damping ratio 0.14, the middle of the "
            "0.11 to 0.17 of isolated whiskers (Hartmann et al. 2003, "
            "doi:10.1523/JNEUROSCI.23-16-06510.2003)"
        ),
        density_base_g_per_mm3=1.26e-3,
        density_tip_g_per_mm3=1.69e-3,
        damping_ratio=0.14,
    )


@parameter_sets.register("published_as_written")
@cache
def published_as_written() -> MechanicalParameters:
    """What the published mouse simulator's formulas say."""
    return MechanicalParameters(
        name="published_as_written",
        description=(
            "The published mouse simulator's formulas: joint stiffness E I / (whole length), so N "
            "times softer than the beam; half density; rest angles of the first N of 20 chords; "
            "almost undamped (0.01), as measured on the program with its spring limit corrected"
        ),
        density_base_g_per_mm3=0.63e-3,
        density_tip_g_per_mm3=0.845e-3,
        damping_ratio=0.01,
        joint_rule="published",
        rest_shape="published",
    )


@parameter_sets.register("published_as_shipped")
@cache
def published_as_shipped() -> MechanicalParameters:
    """What the published mouse simulator does when it runs."""
    rows = read_packaged_table("published_as_shipped.csv").rows
    damping = {row["whisker"]: row.number("damping_ratio") for row in rows}
    factors = {row["whisker"]: row.number("stiffness_factor") for row in rows}
    return MechanicalParameters(
        name="published_as_shipped",
        description=(
            "The published mouse simulator as it behaves at 1000 Hz with 100 substeps: the beam's "
            "stiffness times a factor per whisker (0.12 to 10.5) with that whisker's damping "
            "ratio, both measured on the released program; half density; rest angles of the first "
            "N of 20 chords"
        ),
        density_base_g_per_mm3=0.63e-3,
        density_tip_g_per_mm3=0.845e-3,
        damping_ratio=sum(damping.values()) / len(damping),
        damping_ratios=MappingProxyType(damping),
        stiffness_factors=MappingProxyType(factors),
        rest_shape="published",
    )
