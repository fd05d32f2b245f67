"""CSV tables whose every complaint names file, line and column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from vibrissa.core.errors import InputError, refuse


@dataclass(frozen=True)
class TableRow:
    """One line of a table.

    Attributes:
        where: file and line, for errors.
        cells: column -> text, stripped.
    """

    where: str
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def number(self, column: str) -> float:
        """A finite number.

        Raises:
            InputError: the cell is empty, no number or not finite.
        """
        value = self.number_or_none(column)
        if value is None:
            raise refuse(f"{self.where}, column {column}", "", "empty", "fill in a number")
        return value

    def number_or_none(self, column: str) -> float | None:
        """A finite number, or None where the cell is empty or the column absent.

        Raises:
            InputError: the cell is no number or not finite.
        """
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise refuse(
                f"{self.where}, column {column}",
                text,
                "not a finite number",
                "write it with a decimal point and without its unit",
            )
        return value


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        origin: the file, for errors.
        columns: column names in order.
        rows: the lines.
        notes: ``key: value`` comments that stand above the header.
    """

    origin: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: Mapping[str, str]


def parse_table(
    text: str, *, origin: str, required: Iterable[str] = (), optional: Iterable[str] | None = None
) -> Table:
    """Read a table from text; lines that begin with ``#`` are comments.

    Args:
        text: comma-separated values with a header line.
        origin: the file, for errors.
        required: columns that must be there.
        optional: columns that may be there besides; None: any.

    Raises:
        InputError: no header, a missing, doubled or unknown column, a line of another length.
    """
    notes: dict[str, str] = {}
    columns: tuple[str, ...] = ()
    rows: list[TableRow] = []
    for number, line in enumerate(io.StringIO(text.lstrip("\ufeff")), start=1):
        where = f"{origin}, line {number}"
        if line.lstrip().startswith("#"):
            key, colon, value = line.strip().lstrip("#").partition(":")
            if colon and not columns:
                notes[key.strip()] = value.strip()
            continue
        cells = [cell.strip() for cell in next(csv.reader([line.rstrip("\r\n")]), [])]
        if not any(cells):
            continue
        if not columns:
            columns = tuple(cells)
            _check_columns(columns, where, tuple(required), optional)
        elif len(cells) != len(columns):
            raise refuse(
                where,
                line.strip(),
                f"{len(cells)} cells under {len(columns)} columns",
                "make them equal; leave a gap empty between its commas",
            )
        else:
            rows.append(TableRow(where, dict(zip(columns, cells, strict=True))))
    if not rows:
        raise InputError(
            f"{origin}: the table is empty; give a header and a line for each whisker."
        )
    return Table(origin, columns, tuple(rows), notes)


def read_table(
    path: Path | str, *, required: Iterable[str] = (), optional: Iterable[str] | None = None
) -> Table:
    """Read a table from a file; arguments and errors as for :func:`parse_table`.

    Raises:
        InputError: also if the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the path of a CSV file."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save it as CSV in UTF-8.") from error
    return parse_table(text, origin=str(path), required=required, optional=optional)


def read_packaged_table(name: str) -> Table:
    """Read one of the tables that come with this package."""
    text = (files("vibrissa.morphology") / "data" / name).read_text(encoding="utf-8")
    return parse_table(text, origin=name)


def _check_columns(
    columns: tuple[str, ...],
    where: str,
    required: tuple[str, ...],
    optional: Iterable[str] | None,
) -> None:
    doubled = sorted({column for column in columns if columns.count(column) > 1})
    if doubled:
        raise refuse(f"{where}, columns", doubled, "given more than once", "keep one of each")
    missing = [column for column in required if column not in columns]
    if missing:
        raise refuse(
            f"{where}, columns",
            list(columns),
            f"lacking {', '.join(missing)}",
            "add what is missing to the header and the lines",
        )
    if optional is None:
        return
    known = {*required, *optional}
    unknown = [column for column in columns if column not in known]
    if unknown:
        raise refuse(
            f"{where}, columns",
            unknown,
            "unknown, and would be ignored",
            f"remove or rename them; known besides the required are {', '.join(optional)}",
        )
