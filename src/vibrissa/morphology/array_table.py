"""Whisker arrays as CSV: a user's own array in, any array out."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.units import MM_PER_UM, PA_PER_GPA
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.measurement import (
    MEASURED_COLUMNS,
    Measurement,
    Overrides,
    build_whisker,
)
from vibrissa.morphology.names import Side, parse_name
from vibrissa.morphology.parameters import parameters as parameter_set
from vibrissa.morphology.placement import base_coordinates, emergence_angles_deg
from vibrissa.morphology.tables import Table, TableRow, read_table
from vibrissa.morphology.whisker import Whisker

# Optional column -> (field of a whisker, what to multiply the cell by).
_OPTIONAL = {
    "radius_base_um": ("radius_base_mm", MM_PER_UM),
    "radius_tip_um": ("radius_tip_mm", MM_PER_UM),
    "young_modulus_GPa": ("young_modulus_Pa", PA_PER_GPA),
    "density_base_g_per_mm3": ("density_base_g_per_mm3", 1.0),
    "density_tip_g_per_mm3": ("density_tip_g_per_mm3", 1.0),
    "damping_ratio": ("damping_ratio", 1.0),
    "stiffness_factor": ("stiffness_factor", 1.0),
}
_CHOICES = ("joint_rule", "rest_shape")
_MAY_BE_ZERO = ("curvature_per_mm", "damping_ratio")
_SIGNED = tuple(column for column in MEASURED_COLUMNS if column.endswith("_deg"))


def read_array(
    path: Path | str,
    *,
    parameters: str = "physical",
    side: Side = "R",
    species: str | None = None,
    origin_mm: tuple[float, float, float] | None = None,
) -> WhiskerArray:
    """Read an array from a CSV table, one line for each whisker.

    Columns: ``whisker`` (``C2`` or ``RC2``, ``LC2``), ``arc_length_mm``, ``curvature_per_mm``,
    ``theta_w_deg``, ``phi_w_deg``, ``zeta_w_deg``, ``r_bp_mm``, ``theta_bp_deg``, ``phi_bp_deg``;
    if wanted ``radius_base_um``, ``radius_tip_um``, ``young_modulus_GPa``,
    ``density_base_g_per_mm3``, ``density_tip_g_per_mm3``, ``damping_ratio``, ``stiffness_factor``,
    ``joint_rule``, ``rest_shape``, an empty cell leaving it to the parameter set. The numbers of a
    left whisker are those of its mirror image. Comments ``# species: ...``, ``# source: ...``,
    ``# origin_mm: x y z`` above the header are heeded.

    Args:
        path: the file.
        parameters: name of the mechanical parameter set.
        side: side of whiskers whose name has none.
        species: overrides the comment; ``"user"`` where there is neither.
        origin_mm: origin of the base points in the head frame; overrides the comment; else 0.

    Raises:
        InputError: names file, line, column, value, reason and remedy.
    """
    table = read_table(
        path,
        required=("whisker", *MEASURED_COLUMNS),
        optional=(*_OPTIONAL, *_CHOICES),
    )
    origin = origin_mm if origin_mm is not None else _origin_note(table)
    whiskers: dict[str, Whisker] = {}
    for row in table.rows:
        whisker = _read_whisker(row, parameters, side, origin)
        if whisker.name in whiskers:
            raise refuse(
                f"{row.where}, column whisker",
                row["whisker"],
                "this whisker has a line already",
                "keep one of the two",
            )
        whiskers[whisker.name] = whisker
    return WhiskerArray(
        whiskers=tuple(whiskers.values()),
        species=species or table.notes.get("species", "user"),
        source=table.notes.get("source", str(path)),
        parameters=parameters,
        origin_mm=origin,
    )


def write_array(array: WhiskerArray, path: Path | str) -> None:
    """Write an array as a CSV table that :func:`read_array` reads back, all columns filled.

    Raises:
        InputError: the file cannot be written; a base point has no such coordinates.
    """
    text = io.StringIO()
    for key in ("species", "source", "parameters"):
        text.write(f"# {key}: {' '.join(str(getattr(array, key)).split())}\n")
    text.write(f"# origin_mm: {' '.join(repr(c) for c in array.origin_mm)}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["whisker", *MEASURED_COLUMNS, *_OPTIONAL, *_CHOICES])
    for whisker in array:
        right = whisker if whisker.parsed_name.side == "R" else whisker.mirrored()
        measured = _measurement_of(right, array.origin_mm)
        writer.writerow(
            [
                whisker.name,
                *(repr(getattr(measured, column)) for column in MEASURED_COLUMNS),
                *(repr(getattr(whisker, name) / unit) for name, unit in _OPTIONAL.values()),
                *(getattr(whisker, name) for name in _CHOICES),
            ]
        )
    with atomic_path(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _measurement_of(right: Whisker, origin_mm: tuple[float, float, float]) -> Measurement:
    theta_w, phi_w, zeta_w = emergence_angles_deg(right.base_rotation)
    r_bp, theta_bp, phi_bp = base_coordinates(right.base_position_mm - np.asarray(origin_mm))
    return Measurement(
        arc_length_mm=right.length_mm,
        curvature_per_mm=right.curvature_per_mm,
        theta_w_deg=theta_w,
        phi_w_deg=phi_w,
        zeta_w_deg=zeta_w,
        r_bp_mm=r_bp,
        theta_bp_deg=theta_bp,
        phi_bp_deg=phi_bp,
    )


def _read_whisker(
    row: TableRow, parameters: str, side: Side, origin_mm: tuple[float, float, float]
) -> Whisker:
    try:
        name = parse_name(row["whisker"], default_side=side)
    except InputError as error:
        raise InputError(f"{row.where}, column {error}") from error
    measured = {column: _checked(row, column, row.number(column)) for column in MEASURED_COLUMNS}
    own: dict[str, float] = {}
    for column, (name_of_field, unit) in _OPTIONAL.items():
        value = row.number_or_none(column)
        if value is not None:
            own[name_of_field] = _checked(row, column, value) * unit
    choices = {column: row.cells[column] for column in _CHOICES if row.cells.get(column)}
    try:
        return build_whisker(
            name,
            Measurement(**measured),
            parameter_set(parameters),
            origin_mm=origin_mm,
            overrides=Overrides(**own, **choices),  # type: ignore[arg-type]  # Whisker checks them
        )
    except InputError as error:
        raise InputError(f"{row.where}: {error}") from error


def _checked(row: TableRow, column: str, value: float) -> float:
    if column in _SIGNED or value > 0 or (value == 0 and column in _MAY_BE_ZERO):
        return value
    low = "zero or more" if column in _MAY_BE_ZERO else "positive"
    raise refuse(
        f"{row.where}, column {column}", row[column], f"must be {low}", "correct the number"
    )


def _origin_note(table: Table) -> tuple[float, float, float]:
    text = table.notes.get("origin_mm")
    if text is None:
        return (0.0, 0.0, 0.0)
    try:
        x, y, z = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise refuse(
            f"{table.origin}, comment origin_mm",
            text,
            "not three numbers",
            "write # origin_mm: x y z",
        ) from None
    return (x, y, z)
