"""The rat: the average array (Belli et al. 2018, doi:10.1371/journal.pone.0194981)."""

from __future__ import annotations

from typing import get_args

from vibrissa.core.errors import refuse
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.measurement import MEASURED_COLUMNS, Measurement, build_whisker
from vibrissa.morphology.mouse import Sides
from vibrissa.morphology.names import Side, parse_name
from vibrissa.morphology.parameters import parameters as parameter_set
from vibrissa.morphology.tables import read_packaged_table


def rat_array(side: Sides = "R", parameters: str = "physical") -> WhiskerArray:
    """The average whisker array of the rat, 27 whiskers a side; the origin is that of the tables.

    Args:
        side: ``"R"``, ``"L"`` (the mirror image) or ``"both"``.
        parameters: name of the mechanical parameter set.

    Raises:
        InputError: an unknown side or parameter set, or one measured on the mouse alone.

    Reference:
        Belli, Bresee, Graff & Hartmann 2018, PLOS ONE 13(4):e0194981,
        doi:10.1371/journal.pone.0194981; Zweifel et al. 2021, PNAS, doi:10.1073/pnas.2011905118.
    """
    if side not in get_args(Sides):
        raise refuse("side", side, "no such side", "choose R, L or both")
    sides: tuple[Side, ...] = ("R", "L") if side == "both" else (side,)
    chosen = parameter_set(parameters)
    if chosen.stiffness_factors:
        raise refuse(
            "parameters", parameters, "measured on the mouse's whiskers", "choose another set"
        )
    return WhiskerArray(
        whiskers=tuple(
            build_whisker(
                parse_name(row["whisker"], default_side=one),
                Measurement(**{c: row.number(c) for c in MEASURED_COLUMNS}),
                chosen,
                origin_mm=(0.0, 0.0, 0.0),
            )
            for one in sides
            for row in read_packaged_table("rat_average.csv").rows
        ),
        species="rat",
        source="Belli et al. 2018, PLOS ONE, doi:10.1371/journal.pone.0194981, average rat",
        parameters=parameters,
    )
