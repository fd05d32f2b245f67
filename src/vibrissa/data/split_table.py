"""A table of sweeps as splits see it: objects and sweeps in an order of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vibrissa.core.errors import refuse

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweeps:
    """A table of sweeps in the one order that does not depend on its rows: by object, by row.

    Attributes:
        objects: names of the objects, sorted.
        object_of: (sweep,) index in ``objects`` of each row of the table.
        order: (sweep,) positions in the table, sorted.
        label_of: object -> label, in the order of ``objects``.
        geometry_of: object -> what is equal for equal geometry and for scaled, turned, moved or
            re-ordered copies (columns ``geometry`` and ``alike``); its own name where unknown.
    """

    objects: tuple[str, ...]
    object_of: np.ndarray
    order: np.ndarray
    label_of: Mapping[str, str]
    geometry_of: Mapping[str, str]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Sweeps:
        """Read a table.

        Raises:
            InputError: a column is missing, there are no sweeps, a sweep comes twice, or an
                object has two labels or geometries.
        """
        for column in ("object", "label", "row"):
            if column not in table.columns:
                raise refuse("table", list(table.columns), f"no column {column!r}", "add it")
        if not len(table):
            raise refuse("table", 0, "no sweeps", "build the store first")
        object_of, objects = _numbered(table, "object")
        rows = table["row"].to_numpy()
        order = np.lexsort((rows, object_of))
        ordered = object_of[order]
        same = (ordered[1:] == ordered[:-1]) & (rows[order][1:] == rows[order][:-1])
        if same.any():
            raise refuse(
                "table", objects[int(ordered[1:][same][0])], "a sweep of this object comes twice",
                "give each sweep once",
            )  # fmt: skip
        geometry_of: dict[str, str] = {name: name for name in objects}
        if "geometry" in table.columns:
            found = _one_each(table, "geometry", object_of, objects)
            geometry_of |= {name: f"geometry {digest}" for name, digest in found.items() if digest}
        if "alike" in table.columns:
            geometry_of = _joined(geometry_of, _one_each(table, "alike", object_of, objects))
        return cls(
            objects=objects,
            object_of=object_of,
            order=order,
            label_of=_one_each(table, "label", object_of, objects),
            geometry_of=geometry_of,
        )

    @property
    def labels(self) -> np.ndarray:
        """(sweep,) label of each row of the table."""
        return np.array(list(self.label_of.values()), dtype=object)[self.object_of]

    def rows_of(self) -> list[tuple[str, np.ndarray]]:
        """Each object with the positions of its sweeps in the table, both in order."""
        counts = np.bincount(self.object_of, minlength=len(self.objects))
        groups = np.split(self.order, np.cumsum(counts)[:-1])
        return list(zip(self.objects, groups, strict=True))

    def codes(self, part_of: Mapping[str, int]) -> np.ndarray:
        """The part of each sweep from that of its object, int8."""
        return np.array([part_of[name] for name in self.objects], dtype=np.int8)[self.object_of]


def _joined(geometry_of: Mapping[str, str], alike: Mapping[str, str]) -> dict[str, str]:
    """Geometries as one where some object of the one is alike to some of the other."""
    owner = {geometry: geometry for geometry in geometry_of.values()}

    def root(geometry: str) -> str:
        while owner[geometry] != geometry:
            geometry = owner[geometry]
        return geometry

    for name, other in alike.items():
        if other in geometry_of:
            first, second = sorted((root(geometry_of[name]), root(geometry_of[other])))
            owner[second] = first
    return {name: root(geometry) for name, geometry in geometry_of.items()}


def _numbered(table: pd.DataFrame, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each row's position among the sorted, distinct values of a column of text."""
    import pandas

    numbers, values = pandas.factorize(table[column].to_numpy(dtype=object), sort=True)
    if (numbers < 0).any():
        raise refuse("table", column, "a row without a value", "name it")
    return numbers, tuple(str(value) for value in values)


def _one_each(
    table: pd.DataFrame, column: str, object_of: np.ndarray, objects: Sequence[str]
) -> dict[str, str]:
    numbers, values = _numbered(table.fillna({column: ""}), column)
    first = np.unique(object_of, return_index=True)[1]
    odd = np.flatnonzero(numbers != numbers[first][object_of])
    if len(odd):
        name = objects[int(object_of[odd[0]])]
        raise refuse("object", name, f"has more than one {column}", "name each object once")
    return {name: values[int(numbers[row])] for name, row in zip(objects, first, strict=True)}
