"""The ways to part sweeps into train, validate and test; all independent of the order of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.registry import Registry
from vibrissa.core.seeds import generator
from vibrissa.data.split_table import Sweeps

if TYPE_CHECKING:
    import pandas as pd

PARTS: Final = ("train", "validate", "test")
UNUSED: Final = -1
TRAIN, VALIDATE, TEST = range(3)
_NEED_FIRST: Final = (TRAIN, TEST, VALIDATE)  # who gets the objects when they are few


class SplitKind(Protocol):
    """A way to part sweeps; a frozen dataclass that builds without arguments."""

    def assign(self, table: pd.DataFrame) -> np.ndarray:
        """The part of each sweep.

        Args:
            table: one row per sweep with columns ``object``, ``label``, ``row`` (number of the
                sweep within its object) and those that the kind needs; the column ``geometry``
                (a digest), where present, tells objects of equal shape, and ``alike`` those that
                are scaled, turned, moved or re-ordered copies.

        Returns:
            (sweep,) int8 in the order of the rows: the index in ``PARTS``, or -1 for unused.

        Raises:
            InputError: a column is missing, or the table cannot be parted so.
        """
        ...


split_kinds: Final[Registry[type[SplitKind]]] = Registry("split_kinds")
"""Name -> a class of :class:`SplitKind`."""

_DEFAULT: Final = (0.8, 0.1, 0.1)


@split_kinds.register("by_object")
@dataclass(frozen=True, kw_only=True)
class ByObject:
    """Whole objects, class by class, so that no object is in two parts (the default).

    Within a class each part gets its share of the objects to within one (largest remainder).
    Inside that bound no part stays empty: a class of one object trains, of two trains and tests,
    and from six on (at 0.8, 0.1, 0.1) also validates. Objects of equal geometry, at whatever
    size and attitude, go to the same part, also where their labels differ; only for their sake may
    a share be further off.

    Attributes:
        fractions: of the objects that train, validate and test.
        seed: what decides which.
    """

    fractions: tuple[float, float, float] = _DEFAULT
    seed: int = 0

    def __post_init__(self) -> None:
        check_fractions("fractions", self.fractions)

    def assign(self, table: pd.DataFrame) -> np.ndarray:
        """See :class:`SplitKind`."""
        sweeps = Sweeps.of(table)
        part_of = part_objects(
            sweeps.label_of, sweeps.geometry_of, self.fractions, self.seed, "by_object"
        )
        return sweeps.codes(part_of)


@split_kinds.register("by_sweep")
@dataclass(frozen=True, kw_only=True)
class BySweep:
    """Sweeps at random, class by class, as the published set most likely was parted.

    Nearly every object is then in several parts, so the test is on objects already felt.

    Attributes:
        fractions: of the sweeps that train, validate and test, in each class to within one.
        seed: what decides which.
    """

    fractions: tuple[float, float, float] = _DEFAULT
    seed: int = 0

    def __post_init__(self) -> None:
        check_fractions("fractions", self.fractions)

    def assign(self, table: pd.DataFrame) -> np.ndarray:
        """See :class:`SplitKind`."""
        sweeps = Sweeps.of(table)
        codes = np.full(len(table), UNUSED, dtype=np.int8)
        labels = sweeps.labels[sweeps.order]
        for label in sorted(set(sweeps.label_of.values())):
            mine = sweeps.order[labels == label]
            shuffled = mine[generator(self.seed, "by_sweep", label).permutation(len(mine))]
            codes[shuffled] = np.repeat(range(len(PARTS)), shares(len(mine), self.fractions))
        return codes


@split_kinds.register("by_class")
@dataclass(frozen=True, kw_only=True)
class ByClass:
    """Whole classes are held out of training, for recognition in an open set.

    Such a test asks two things: is a new object of a known class recognised, and is an object of
    an unknown class told to be unknown. So the test part holds both: new objects of the classes
    that train, and all objects of classes held out. The validation part is made alike with other
    classes held out, so that a threshold may be set without a look at the test's unknowns. A
    class is known if it has sweeps in train. For a test on unknown classes alone (transfer, few
    shots) give ``known=(1.0, 0.0, 0.0)``.

    An object of a known class whose geometry a held-out class has too is left unused; so is one
    held out for validation that the test's unknown classes have.

    Attributes:
        test_classes: labels held out for the test; drawn by ``fractions`` if none is given.
        validate_classes: labels held out for validation; drawn if neither is given.
        fractions: of the classes that train, are held out for validation and for the test.
        known: of the objects of a known class, those that train, validate and test.
        seed: what decides which.
    """

    test_classes: tuple[str, ...] = ()
    validate_classes: tuple[str, ...] = ()
    fractions: tuple[float, float, float] = _DEFAULT
    known: tuple[float, float, float] = _DEFAULT
    seed: int = 0

    def __post_init__(self) -> None:
        check_fractions("fractions", self.fractions)
        check_fractions("known", self.known)
        both = set(self.test_classes) & set(self.validate_classes)
        if both:
            raise refuse(
                "validate_classes", sorted(both), "held out for the test too", "name each once"
            )
        if self.validate_classes and not self.test_classes:
            raise refuse("test_classes", (), "none, but some validate", "name both or neither")

    def assign(self, table: pd.DataFrame) -> np.ndarray:
        """See :class:`SplitKind`."""
        sweeps = Sweeps.of(table)
        class_part = self._class_parts(sorted(set(sweeps.label_of.values())))
        held: dict[str, int] = {}  # geometry -> part of the unknown class that has it
        for name, geometry in sweeps.geometry_of.items():
            part = class_part[sweeps.label_of[name]]
            if part != TRAIN:
                held[geometry] = max(part, held.get(geometry, part))
        part_of: dict[str, int] = {}
        known: dict[str, str] = {}
        for name, label in sweeps.label_of.items():
            part = class_part[label]
            owner = held.get(sweeps.geometry_of[name], part)
            if owner != part:
                part_of[name] = UNUSED
            elif part == TRAIN:
                known[name] = label
            else:
                part_of[name] = part
        inside = part_objects(known, sweeps.geometry_of, self.known, self.seed, "by_class")
        return sweeps.codes(part_of | inside)

    def _class_parts(self, labels: Sequence[str]) -> dict[str, int]:
        for name in ("test_classes", "validate_classes"):
            unknown = sorted(set(getattr(self, name)) - set(labels))
            if unknown:
                raise refuse(name, unknown, "no such class in the store", "check the labels")
        if self.test_classes:
            held = dict.fromkeys(self.validate_classes, VALIDATE)
            held |= dict.fromkeys(self.test_classes, TEST)
            parts = {label: held.get(label, TRAIN) for label in labels}
        else:
            order = generator(self.seed, "by_class").permutation(len(labels))
            codes = np.repeat(range(len(PARTS)), shares(len(labels), self.fractions))
            parts = {labels[int(k)]: int(code) for k, code in zip(order, codes, strict=True)}
        if not {TRAIN, TEST} <= set(parts.values()):
            raise refuse(
                "labels", list(labels), "no class to train or none to hold out",
                "use a store with two classes or more and hold out fewer",
            )  # fmt: skip
        return parts


@split_kinds.register("by_draw")
@dataclass(frozen=True, kw_only=True)
class ByDraw:
    """The parts that the protocol wrote down (``passive-110hz``): other draws of the same objects.

    The test holds new draws of objects that train, as published, so objects cross. Validation is
    cut from the training draws: ``draw`` takes some draws of every object, which is what the test
    asks too; ``object`` takes all training draws of some objects, class by class, which then do
    not train (in the test they stay). Sweeps of one draw (column ``draw``, where there is one)
    stay together.

    Attributes:
        validate: see above.
        fraction: of the training draws, or objects, that validate.
        seed: what decides which.
    """

    validate: Literal["draw", "object"] = "draw"
    fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.validate not in ("draw", "object"):
            raise refuse("validate", self.validate, "unknown", "choose draw or object")
        if not 0.0 <= self.fraction < 1.0:
            raise refuse("fraction", self.fraction, "not in [0, 1)", "give a share")

    def assign(self, table: pd.DataFrame) -> np.ndarray:
        """See :class:`SplitKind`."""
        if "part" not in table.columns:
            raise InputError(
                "by_draw: the sweeps have no column 'part', which the protocol passive-110hz "
                "writes; build with that protocol, or split by_object."
            )
        sweeps = Sweeps.of(table)
        codes = np.array([_written_part(value) for value in table["part"]], dtype=np.int8)
        fractions = (1.0 - self.fraction, self.fraction, 0.0)
        if self.validate == "object":
            part_of = part_objects(
                sweeps.label_of, sweeps.geometry_of, fractions, self.seed, "by_draw"
            )
            validates = sweeps.codes(part_of) == VALIDATE
            codes[(codes == TRAIN) & validates] = VALIDATE
            return codes
        draws = table["draw" if "draw" in table.columns else "row"].to_numpy()
        for name, mine in sweeps.rows_of():
            mine = mine[codes[mine] == TRAIN]
            known = np.unique(draws[mine])
            count = shares(len(known), fractions)[VALIDATE]
            chosen = generator(self.seed, "by_draw", name).permutation(len(known))[:count]
            codes[mine[np.isin(draws[mine], known[chosen])]] = VALIDATE
        return codes


# --- what they share -------------------------------------------------------------------------


def check_fractions(field: str, fractions: Sequence[float]) -> None:
    """Refuse what are not three shares that sum to one, the first above zero."""
    if (
        len(fractions) != len(PARTS)
        or not all(math.isfinite(f) and 0.0 <= f <= 1.0 for f in fractions)
        or abs(sum(fractions) - 1.0) > 1e-9
        or fractions[TRAIN] <= 0.0
    ):
        raise refuse(
            field, tuple(fractions), "not three shares that sum to 1, the first above 0",
            "give those of train, validate and test, for instance (0.8, 0.1, 0.1)",
        )  # fmt: skip


def shares(count: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """Share out a number of things: each part within one of its exact share, the sum exact.

    Largest remainders first, ties to train, test, validate in this order. A part that would stay
    empty takes one from the largest where this keeps that one within one of its share too.
    """
    exact = [count * fraction for fraction in fractions]
    counts = [math.floor(e + 1e-9) for e in exact]
    ranked = sorted(_NEED_FIRST, key=lambda part: round(counts[part] - exact[part], 9))
    for part in ranked[: count - sum(counts)]:
        counts[part] += 1
    for part in _NEED_FIRST:
        largest = max(_NEED_FIRST, key=lambda other: counts[other])
        if counts[part] == 0 and exact[part] > 0 and counts[largest] > 1:
            if counts[largest] - 1 <= exact[largest] - 1 + 1e-9:
                continue
            counts[largest] -= 1
            counts[part] += 1
    return tuple(counts)


def part_objects(
    label_of: Mapping[str, str],
    geometry_of: Mapping[str, str],
    fractions: Sequence[float],
    seed: int,
    stream: str,
) -> dict[str, int]:
    """Part objects class by class, those of equal geometry together.

    Args:
        label_of: the objects to part with their labels.
        geometry_of: object -> what is equal for equal shapes.
        fractions: of the objects for each part.
        seed: root seed.
        stream: name of the random stream; each class has its own.

    Returns:
        Object -> index in ``PARTS``.
    """
    by_class: dict[str, list[str]] = {}
    copies: dict[str, list[str]] = {}
    for name in sorted(label_of):
        by_class.setdefault(label_of[name], []).append(name)
        copies.setdefault(geometry_of[name], []).append(name)
    room = {label: list(shares(len(names), fractions)) for label, names in by_class.items()}
    part_of: dict[str, int] = {}
    # copies first, the largest groups at the head, each to where its classes have most room
    groups = [group for group in copies.values() if len(group) > 1]
    for group in sorted(groups, key=lambda g: (-len(g), g)):
        free = [sum(room[label_of[name]][part] for name in group) for part in range(len(PARTS))]
        part = max(_NEED_FIRST, key=lambda p: free[p])
        for name in group:
            part_of[name] = part
            room[label_of[name]][part] -= 1
    for label, names in by_class.items():
        single = [name for name in names if name not in part_of]
        order = generator(seed, stream, label).permutation(len(single))
        slots = _slots(room[label], len(single))
        part_of |= {single[int(k)]: slot for k, slot in zip(order, slots, strict=True)}
    return part_of


def _slots(room: Sequence[int], count: int) -> list[int]:
    """Parts for the objects left; where copies took more than its share of a part, others less."""
    slots = [part for part in _NEED_FIRST for _ in range(max(0, room[part]))]
    while len(slots) > count:  # take from the part with most
        slots.remove(max(_NEED_FIRST, key=slots.count))
    return slots


def _written_part(value: object) -> int:
    if value is None or value == "" or value != value:  # NaN: the sweep has no part
        return UNUSED
    if value not in PARTS:
        raise refuse("part", value, "no such part", f"write {', '.join(PARTS)}")
    return PARTS.index(str(value))
