"""Active whisking: how the bases turn in the head."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from vibrissa.core.config import TREE_TYPE
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.placement import emergence_angles_deg
from vibrissa.morphology.whisker import Whisker
from vibrissa.simulation.motion import Array, within

ELEVATION_PER_PROTRACTION: Final = {"A": 0.398, "B": 0.591, "C": 0.578, "D": 0.393, "E": 0.217}
TORSION_PER_PROTRACTION: Final = {"A": -0.900, "B": -0.284, "C": 0.243, "D": 0.449, "E": 0.744}
"""Degrees of elevation and of torsion per degree of protraction, by row.

Knutsen, Biess & Ahissar 2008, Neuron 59:35, doi:10.1016/j.neuron.2008.05.013, as tabled for
WHISKiT Physics (Zweifel et al. 2021, doi:10.1073/pnas.2011905118).
"""


def _frames(theta_deg: Array, phi_deg: Array, zeta_deg: Array) -> Array:
    """Right-hand base frames ``(time, 3, 3)``: Rz(theta - 90) Ry(-phi) Rx(zeta + 90)."""
    from scipy.spatial.transform import Rotation

    angles = np.stack([theta_deg - 90.0, -phi_deg, zeta_deg + 90.0], axis=-1)
    return Rotation.from_euler("ZYX", angles, degrees=True).as_matrix()


def _right(whisker: Whisker) -> Whisker:
    return whisker if whisker.parsed_name.side == "R" else whisker.mirrored()


def _to_side(whisker: Whisker, frames: Array) -> Array:
    """Mirror frames made for the right side if the whisker is on the left."""
    if whisker.parsed_name.side == "R":
        return frames
    mirrored = frames * np.array([-1.0, 1.0, 1.0])[:, None]
    mirrored[..., 2] *= -1.0
    return mirrored


@dataclass(frozen=True, kw_only=True)
class SinusoidalWhisking:
    """All whiskers protract and retract together, sinusoidally, about their rest angles.

    Attributes:
        rate_hz: whisks per second.
        protraction_deg: forward from rest, at most.
        retraction_deg: backward from rest, at most.
        ramp_s: the movement starts from rest and is full after this time.
    """

    rate_hz: float = 10.0
    protraction_deg: float = 25.0
    retraction_deg: float = 10.0
    ramp_s: float = 0.05

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate_hz) and 0 < self.rate_hz <= 50):
            raise refuse("rate_hz", self.rate_hz, "no whisking rate", "give 0 to 50 Hz")
        for name in ("protraction_deg", "retraction_deg"):
            value = getattr(self, name)
            if not (np.isfinite(value) and 0 <= value <= 90):
                raise refuse(name, value, "outside 0 to 90 degrees", "give 0 to 90")
        if not (np.isfinite(self.ramp_s) and self.ramp_s > 0):
            raise refuse("ramp_s", self.ramp_s, "must be positive", "give seconds above 0")

    def protraction_at_deg(self, times_s: Array) -> Array:
        """Protraction from rest, ``(time,)``; zero, with its rate, at time 0."""
        times = np.asarray(times_s, dtype=np.float64)
        middle = 0.5 * (self.protraction_deg - self.retraction_deg)
        swing = 0.5 * (self.protraction_deg + self.retraction_deg)
        if swing == 0.0:
            return np.zeros_like(times)
        phase = -np.arcsin(middle / swing)
        x = np.clip(times / self.ramp_s, 0.0, 1.0)
        envelope = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
        return envelope * (middle + swing * np.sin(2.0 * np.pi * self.rate_hz * times + phase))

    def base_rotations(self, array: WhiskerArray, times_s: Array) -> Array:
        """Base frames ``(whisker, time, 3, 3)`` in the head frame."""
        forward = self.protraction_at_deg(times_s)
        frames = []
        for whisker in array:
            theta, phi, zeta = emergence_angles_deg(_right(whisker).base_rotation)
            row = whisker.parsed_name.row
            right = _frames(
                theta + forward,
                phi + ELEVATION_PER_PROTRACTION[row] * forward,
                zeta + TORSION_PER_PROTRACTION[row] * forward,
            )
            frames.append(_to_side(whisker, right))
        return np.stack(frames)


@dataclass(frozen=True, kw_only=True, eq=False)
class TabledWhisking:
    """Base angles from a table, joined by cubic splines; whiskers go by name.

    Attributes:
        times_s: (time,) increasing, four or more.
        angles_deg: whisker name -> (time, 3) theta, phi, zeta as in the array's own table, right
            hand; a left whisker takes the mirror image. One interval beyond its ends the table
            may be used, and holds still there; scenes that need more are refused.
    """

    times_s: Array
    angles_deg: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        times = np.asarray(self.times_s, dtype=np.float64)
        if times.ndim != 1 or len(times) < 4 or not np.all(np.diff(times) > 0):
            raise refuse("times_s", times.tolist()[:6], "not four or more increasing times", "mend")
        for name, angles in self.angles_deg.items():
            if np.shape(angles) != (len(times), 3) or not np.isfinite(angles).all():
                raise refuse(
                    f"angles_deg of {name}", np.shape(angles),
                    f"not {len(times)} rows of finite theta, phi, zeta", "complete the table",
                )  # fmt: skip

    @classmethod
    def from_csv(cls, path: Path | str) -> TabledWhisking:
        """Read a table with columns ``time_s, whisker, theta_deg, phi_deg, zeta_deg``.

        Raises:
            InputError: a missing file or column, a bad number, or times that differ between
                whiskers.
        """
        from vibrissa.morphology.names import parse_name
        from vibrissa.morphology.tables import read_table

        columns = ("time_s", "whisker", "theta_deg", "phi_deg", "zeta_deg")
        table = read_table(Path(path), required=columns)
        rows: dict[str, list[tuple[float, float, float, float]]] = {}
        for row in table.rows:
            name = str(parse_name(row["whisker"], default_side="R"))
            numbers = tuple(row.number(c) for c in columns if c != "whisker")
            rows.setdefault(name, []).append(numbers)  # type: ignore[arg-type]
        if not rows:
            raise InputError(f"{path}: no rows; give angles for one whisker or more.")
        tables = {name: np.array(sorted(r)) for name, r in rows.items()}
        first = next(iter(tables.values()))[:, 0]
        for name, values in tables.items():
            if values.shape[0] != len(first) or np.any(values[:, 0] != first):
                raise InputError(
                    f"{path}: whisker {name} has other times than the first whisker; "
                    "give every whisker the same times."
                )
        return cls(times_s=first, angles_deg={n: v[:, 1:] for n, v in tables.items()})

    def require_cover(self, duration_s: float) -> None:
        """Refuse a sweep from 0 to this time that the table does not cover.

        Raises:
            InputError: it starts too late or ends too soon, by more than its own interval.
        """
        times = np.asarray(self.times_s, dtype=np.float64)
        first, last = times[0] - (times[1] - times[0]), 2.0 * times[-1] - times[-2]
        if first > 1e-9 or last < duration_s - 1e-9:
            raise refuse(
                "whisking", f"a table from {times[0]:g} to {times[-1]:g} s",
                f"does not cover the sweep, which lasts from 0 to {duration_s:g} s",
                "complete the table or simulate a shorter time",
            )  # fmt: skip

    def base_rotations(self, array: WhiskerArray, times_s: Array) -> Array:
        """Base frames ``(whisker, time, 3, 3)`` in the head frame.

        Raises:
            InputError: the table lacks a whisker of the array.
        """
        from scipy.interpolate import CubicSpline

        times = within(times_s, self.times_s)
        frames = []
        for whisker in array:
            if whisker.name not in self.angles_deg:
                raise refuse_unknown("whisker", whisker.name, tuple(self.angles_deg))
            angles = CubicSpline(self.times_s, self.angles_deg[whisker.name], axis=0)(times)
            frames.append(_to_side(whisker, _frames(*angles.T)))
        return np.stack(frames)


IN_FILES: Final = {TREE_TYPE: SinusoidalWhisking | None}
"""Metadata of a field of whisking: what a YAML file may hold there."""
