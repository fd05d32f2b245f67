"""A whisker array: named whiskers on a head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.morphology.names import Side
from vibrissa.morphology.placement import checked_vector
from vibrissa.morphology.whisker import Whisker


@dataclass(frozen=True, kw_only=True)
class WhiskerArray:
    """Whiskers in the order of their names: right before left, then by row and column.

    Attributes:
        whiskers: the whiskers; sorted and checked when the array is built.
        species: for instance ``"mouse"``.
        source: where the measurements come from.
        parameters: name of the mechanical parameter set.
        origin_mm: origin of the measured base points in the head frame (that of the right side).

    Raises:
        InputError: no whisker, or two of one name.
    """

    whiskers: tuple[Whisker, ...]
    species: str
    source: str
    parameters: str
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __repr__(self) -> str:
        names = self.names
        return (
            f"<WhiskerArray of {self.species}: {len(names)} whiskers, {names[0]} to {names[-1]}, "
            f"parameters {self.parameters}>"
        )

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.whiskers, key=lambda w: w.parsed_name.sort_key))
        if not ordered:
            raise refuse("whiskers", (), "an array needs at least one", "give some")
        for one, next_one in pairwise(ordered):
            if one.name == next_one.name:
                raise refuse("whiskers", one.name, "given twice", "keep one of the two")
        object.__setattr__(self, "whiskers", ordered)
        x, y, z = (float(c) for c in checked_vector("origin_mm", self.origin_mm))
        object.__setattr__(self, "origin_mm", (x, y, z))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the whiskers, in order."""
        return tuple(whisker.name for whisker in self.whiskers)

    def __getitem__(self, name: str) -> Whisker:
        for whisker in self.whiskers:
            if whisker.name == name:
                return whisker
        raise refuse_unknown("whisker", name, self.names)

    def __iter__(self) -> Iterator[Whisker]:
        return iter(self.whiskers)

    def __len__(self) -> int:
        return len(self.whiskers)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def select(
        self,
        names: Iterable[str] | None = None,
        *,
        side: Side | None = None,
        rows: str | Sequence[str] | None = None,
        columns: Sequence[int] | None = None,
    ) -> WhiskerArray:
        """The whiskers that meet every condition given, in the order of their names.

        Args:
            names: whole names, for instance ``["RC1", "RC2"]``.
            side: ``"R"`` or ``"L"``.
            rows: letters, for instance ``"BCD"``.
            columns: column numbers from 0.

        Raises:
            InputError: an unknown name, or nothing is left.
        """
        wanted = None if names is None else {self[name].name for name in _as_names(names)}
        kept = tuple(
            whisker
            for whisker in self.whiskers
            if (wanted is None or whisker.name in wanted)
            and (side is None or whisker.parsed_name.side == side)
            and (rows is None or whisker.parsed_name.row in rows)
            and (columns is None or whisker.parsed_name.column in columns)
        )
        if not kept:
            asked = {"names": names, "side": side, "rows": rows, "columns": columns}
            raise refuse(
                "selection",
                {key: value for key, value in asked.items() if value is not None},
                "no whisker of this array meets it",
                f"choose among {', '.join(self.names)}",
            )
        return replace(self, whiskers=kept)

    def side(self, side: Side) -> WhiskerArray:
        """The whiskers of one side; errors as for :meth:`select`."""
        return self.select(side=side)

    def mirrored(self) -> WhiskerArray:
        """The mirror image about the sagittal plane; every name changes its side."""
        return replace(self, whiskers=tuple(whisker.mirrored() for whisker in self.whiskers))

    def both_sides(self) -> WhiskerArray:
        """These whiskers and the mirror images of those that have no partner yet."""
        partners = [w.mirrored() for w in self.whiskers if w.mirrored().name not in self]
        return replace(self, whiskers=(*self.whiskers, *partners))

    def with_whiskers(self, whiskers: Iterable[Whisker]) -> WhiskerArray:
        """The same array with other whiskers."""
        return replace(self, whiskers=tuple(whiskers))

    def to_table(self, path: Path | str) -> None:
        """Write the array as CSV; see :func:`vibrissa.morphology.array_table.write_array`."""
        from vibrissa.morphology.array_table import write_array

        write_array(self, path)

    @classmethod
    def from_table(
        cls,
        path: Path | str,
        *,
        parameters: str = "physical",
        side: Side = "R",
        species: str | None = None,
        origin_mm: tuple[float, float, float] | None = None,
    ) -> WhiskerArray:
        """Read an array from CSV; see :func:`vibrissa.morphology.array_table.read_array`."""
        from vibrissa.morphology.array_table import read_array

        return read_array(
            path, parameters=parameters, side=side, species=species, origin_mm=origin_mm
        )


def _as_names(names: Iterable[str]) -> list[str]:
    if isinstance(names, str):
        raise _one_string(names)
    return list(names)


def _one_string(names: str) -> InputError:
    return refuse("names", names, "one text, not a list of names", f"write [{names!r}]")
