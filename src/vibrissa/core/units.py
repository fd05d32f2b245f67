"""Units: the house counts in mm, g, s, rad; kernels may count in mm, mg, ms (mN, mN*mm, kPa).

With mm, g, s the derived units are coherent: g mm/s^2 = uN, g mm^2/s^2 = uN*mm,
g/(mm s^2) = Pa. In single precision mm, mg, ms keeps numbers nearer to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vibrissa.core.errors import refuse, refuse_unknown

# Exponents of (length, mass, time) of each quantity.
DIMENSIONS: Final[dict[str, tuple[int, int, int]]] = {
    "length": (1, 0, 0),
    "mass": (0, 1, 0),
    "time": (0, 0, 1),
    "velocity": (1, 0, -1),
    "acceleration": (1, 0, -2),
    "frequency": (0, 0, -1),
    "angular_velocity": (0, 0, -1),
    "curvature": (-1, 0, 0),
    "density": (-3, 1, 0),
    "linear_density": (-1, 1, 0),
    "inertia": (2, 1, 0),
    "force": (1, 1, -2),
    "moment": (2, 1, -2),
    "energy": (2, 1, -2),
    "pressure": (-1, 1, -2),
    "bending_stiffness": (3, 1, -2),
    "translational_stiffness": (0, 1, -2),
    "translational_damping": (0, 1, -1),
    "rotational_stiffness": (2, 1, -2),
    "rotational_damping": (2, 1, -1),
}


@dataclass(frozen=True, kw_only=True)
class UnitSystem:
    """A coherent system of units, each base unit given in SI.

    Attributes:
        length_m: the unit of length in metres.
        mass_kg: the unit of mass in kilograms.
        time_s: the unit of time in seconds.
    """

    length_m: float
    mass_kg: float
    time_s: float

    def __post_init__(self) -> None:
        for field in ("length_m", "mass_kg", "time_s"):
            value = getattr(self, field)
            if not 0 < value < float("inf"):
                raise refuse(field, value, "a unit must be positive", "give its size in SI")

    def factor_to(self, other: UnitSystem, quantity: str) -> float:
        """What to multiply a number in these units by to have it in ``other``'s.

        Args:
            other: the target system.
            quantity: a key of ``DIMENSIONS``, for instance ``"force"``.

        Raises:
            InputError: the quantity is unknown.
        """
        if quantity not in DIMENSIONS:
            raise refuse_unknown("quantity", quantity, DIMENSIONS)
        length, mass, time = DIMENSIONS[quantity]
        return (
            (self.length_m / other.length_m) ** length
            * (self.mass_kg / other.mass_kg) ** mass
            * (self.time_s / other.time_s) ** time
        )


SI: Final = UnitSystem(length_m=1.0, mass_kg=1.0, time_s=1.0)
HOUSE: Final = UnitSystem(length_m=1e-3, mass_kg=1e-3, time_s=1.0)
"""mm, g, s: force in uN, moment in uN*mm, pressure in Pa."""
KERNEL: Final = UnitSystem(length_m=1e-3, mass_kg=1e-6, time_s=1e-3)
"""mm, mg, ms: force in mN, moment in mN*mm, pressure in kPa."""

UN_PER_MN: Final = 1e3
PA_PER_GPA: Final = 1e9
MM_PER_UM: Final = 1e-3
G_PER_MM3_PER_KG_PER_M3: Final = 1e-6
