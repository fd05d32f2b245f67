"""The mouse: the average array and eight individuals (doi:10.1242/jeb.245597)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, Literal, get_args

from vibrissa.core.errors import refuse
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.measurement import MEASURED_COLUMNS, Measurement, build_whisker
from vibrissa.morphology.names import Side, parse_name
from vibrissa.morphology.parameters import parameters as parameter_set
from vibrissa.morphology.tables import read_packaged_table

Sides = Literal["R", "L", "both"]
Gaps = dict[str, float | None]

MOUSE_ORIGIN_MM: Final = (0.0, 13.0, 1.5)
"""Origin of the mouse's base points in the head frame of the published simulator."""

INDIVIDUALS: Final = tuple(range(1, 9))

_AVERAGE_SOURCE = "Bresee et al. 2023, J Exp Biol, doi:10.1242/jeb.245597, average mouse"

# Column of the average -> column of the single whiskers whose mean it is. The length is that of
# the plucked whisker: S_3D, from the scan of the animal, misses the thin ends.
_RAW_COLUMN: Final = {
    "arc_length_mm": "S_2D",
    "curvature_per_mm": "Acoef_2D",
    "theta_w_deg": "ThetaEuler",
    "phi_w_deg": "PhiEuler",
    "zeta_w_deg": "ZetaEuler",
    "r_bp_mm": "BP_R",
    "theta_bp_deg": "BP_Theta",
    "phi_bp_deg": "BP_Phi",
}

# The source gives no key to its 0/1; only which face of an animal is called right hinges on it.
_SIDE_CODE: Final[dict[Side, str]] = {"R": "1", "L": "0"}


def place_of_raw_id(raw_id: str) -> str:
    """Row and column from 0 of a whisker of the individual table.

    The table counts columns from 1, and row E from 2 (its E1 was not measured); the average array
    renumbers both from 0, so that the table's E2 is E0.
    """
    row, column = raw_id[0], int(raw_id[1:])
    return f"{row}{column - (2 if row == 'E' else 1)}"


def mouse_array(
    side: Sides = "R",
    parameters: str = "physical",
    *,
    individual: int | None = None,
    fill: Literal["average"] | None = None,
) -> WhiskerArray:
    """The whisker array of the mouse.

    Args:
        side: ``"R"``, ``"L"`` or ``"both"``. The left of the average is the mirror image of the
            right.
        parameters: name of the mechanical parameter set.
        individual: None for the average of 30 whiskers a side, or 1 to 8 for one mouse: the
            whiskers measured completely on the side asked for, else the mirror image of the one
            measured completely on the other side; other whiskers are absent.
        fill: ``"average"`` gives every whisker of an individual, taking what was not measured on
            either side from the average. Mouse 8 needs it: lengths and curvatures of its whiskers
            were not measured.

    Raises:
        InputError: an unknown side, individual, parameter set or fill; nothing was measured.

    Reference:
        Bresee, Belli, Luo & Hartmann 2023, J Exp Biol 226(19), doi:10.1242/jeb.245597.
    """
    if side not in get_args(Sides):
        raise refuse("side", side, "no such side", "choose R, L or both")
    if fill not in (None, "average"):
        raise refuse("fill", fill, "no such choice", "choose average or leave it out")
    if individual is not None and (individual not in INDIVIDUALS or isinstance(individual, bool)):
        raise refuse("individual", individual, "no such mouse", "choose 1 to 8")
    chosen = parameter_set(parameters)
    sides: tuple[Side, ...] = ("R", "L") if side == "both" else (side,)
    whiskers = []
    for one in sides:
        measured = average_measurements() if individual is None else _mouse(individual, one, fill)
        whiskers += [
            build_whisker(
                parse_name(place, default_side=one), numbers, chosen, origin_mm=MOUSE_ORIGIN_MM
            )
            for place, numbers in measured.items()
        ]
    if not whiskers:
        raise refuse(
            "individual",
            individual,
            "no whisker of this mouse was measured completely",
            'set fill to "average"',
        )
    source = _AVERAGE_SOURCE
    if individual is not None:
        source = source.replace("average mouse", f"mouse {individual}")
        source += ", gaps filled from the average" if fill else ""
    return WhiskerArray(
        whiskers=tuple(whiskers),
        species="mouse",
        source=source,
        parameters=parameters,
        origin_mm=MOUSE_ORIGIN_MM,
    )


@cache
def average_measurements() -> Mapping[str, Measurement]:
    """Place (``"C2"``) -> the average mouse's numbers."""
    return {
        row["whisker"]: Measurement(**{c: row.number(c) for c in MEASURED_COLUMNS})
        for row in read_packaged_table("mouse_average.csv").rows
    }


@cache
def individual_measurements() -> Mapping[tuple[int, Side, str], Gaps]:
    """(mouse, side, place) -> column of the average -> number, or None where there is a gap."""
    side_of_code: dict[str, Side] = {code: side for side, code in _SIDE_CODE.items()}
    return {
        (
            int(row["MouseNum"]),
            side_of_code[row["Side"]],
            place_of_raw_id(row["Whisker ID"]),
        ): {column: row.number_or_none(raw) for column, raw in _RAW_COLUMN.items()}
        for row in read_packaged_table("mouse_individual.csv").rows
    }


def _mouse(mouse: int, side: Side, fill: str | None) -> dict[str, Measurement]:
    table = individual_measurements()
    other: Side = "L" if side == "R" else "R"
    found: dict[str, Measurement] = {}
    for place, average in average_measurements().items():
        seen = [table.get((mouse, one, place), {}) for one in (side, other)]
        whole = [numbers for numbers in seen if _is_whole(numbers)]
        if whole:
            found[place] = _as_measurement(whole[0])
        elif fill:
            # Angles of the two sides are never mixed: they belong to one orientation.
            near = seen[0] or seen[1]
            numbers = {
                column: near.get(column) if near.get(column) is not None else value
                for column, value in vars(average).items()
            }
            found[place] = _as_measurement(numbers)
    return found


def _is_whole(numbers: Gaps) -> bool:
    return bool(numbers) and all(value is not None for value in numbers.values())


def _as_measurement(numbers: Gaps) -> Measurement:
    return Measurement(**{column: value for column, value in numbers.items() if value is not None})
