"""Splits: which sweeps train, validate and test; as a file, and checked for leaks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.files import atomic_path, digest_of_bytes
from vibrissa.core.manifest import to_tree
from vibrissa.data.normalisation import LoadsFrame, Normalisation, NormalisationKind
from vibrissa.data.split_rules import (
    PARTS,
    UNUSED,
    ByClass,
    ByDraw,
    ByObject,
    BySweep,
    SplitKind,
    split_kinds,
)
from vibrissa.data.split_table import Sweeps

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PARTS",
    "UNUSED",
    "ByClass",
    "ByDraw",
    "ByObject",
    "BySweep",
    "Leaks",
    "Split",
    "SplitKind",
    "class_counts",
    "leaks",
    "remarks",
    "split_kinds",
]

FORMAT: Final = "vibrissa-split"
FORMAT_VERSION: Final = 1
_LETTERS: Final = {0: "t", 1: "v", 2: "e", UNUSED: "-"}
_CODES: Final = {letter: code for code, letter in _LETTERS.items()}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LISTED: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The part of every sweep of a store, for the state in which the store was.

    Attributes:
        name: its name, also that of its file.
        config: the kind and its settings, for instance :class:`ByObject`.
        assignment: object -> letters, ``t`` train, ``v`` validate, ``e`` test, ``-`` unused: one
            if all its sweeps are in one part, else one for each sweep in the order of its rows.
        state: digest of the objects, labels and sweeps that it was made for.
        normalisations: what was measured over its training part, one per kind and frame.

    Raises:
        InputError: a name that is no file name, unknown letters, or two normalisations of a kind.
    """

    name: str
    config: SplitKind
    assignment: Mapping[str, str]
    state: str
    normalisations: tuple[Normalisation, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise refuse("split", self.name, "no name for a file", "use letters, digits, - and _")
        for name, letters in self.assignment.items():
            if not letters or set(letters) - set(_CODES):
                raise refuse(f"split: {name}", letters, "unknown letters", "make the split again")
        measured = [(n.kind, n.frame) for n in self.normalisations]
        if len(set(measured)) < len(measured):
            raise refuse("normalisations", measured, "one comes twice", "keep one of each")

    @classmethod
    def make(cls, name: str, config: SplitKind, table: pd.DataFrame) -> Split:
        """Split the sweeps of a table.

        Args:
            name: what to call it.
            config: the kind and its settings.
            table: see :class:`SplitKind`; the column ``sweep`` (names) is needed too.

        Raises:
            InputError: the kind refuses the table, or nothing is left to train with.
        """
        codes = config.assign(table)
        if not (codes == 0).any():
            raise refuse("split", name, "no sweep is left to train with", "change the fractions")
        assignment = {}
        for thing, rows in Sweeps.of(table).rows_of():
            letters = "".join(_LETTERS[code] for code in codes[rows].tolist())
            assignment[thing] = letters[0] if len(set(letters)) == 1 else letters
        return cls(name=name, config=config, assignment=assignment, state=_state(table))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts; a code is a position here."""
        return PARTS

    @property
    def kind(self) -> str:
        """The name of the kind."""
        return split_kinds.name_of(self.config)

    # --- use ---------------------------------------------------------------------------------

    def codes(self, table: pd.DataFrame) -> np.ndarray:
        """The part of each sweep of the store it was made for, rows in any order.

        Returns:
            (sweep,) int8, the index in ``parts`` or -1.

        Raises:
            InputError: the store has gained or lost objects or sweeps since.
        """
        sweeps = Sweeps.of(table)
        gained = sorted(set(sweeps.objects) - set(self.assignment))
        lost = sorted(set(self.assignment) - set(sweeps.objects))
        if gained or lost:
            changes = [f"gained {len(gained)} ({_some(gained)})"] if gained else []
            changes += [f"lost {len(lost)} ({_some(lost)})"] if lost else []
            raise self._outdated(f"which has {' and '.join(changes)} objects since")
        if _state(table) != self.state:
            raise self._outdated("labels or sweeps of its objects have changed since")
        codes = np.empty(len(table), dtype=np.int8)
        for thing, rows in sweeps.rows_of():
            letters = self.assignment[thing]
            if len(letters) not in (1, len(rows)):
                raise self._outdated(f"{thing} has {len(rows)} sweeps")
            codes[rows] = [_CODES[letter] for letter in letters]
        return codes

    def indices(self, part: str, table: pd.DataFrame) -> np.ndarray:
        """Positions in the table of the sweeps of a part, int64, ascending.

        Raises:
            InputError: no such part; else as for :meth:`codes`.
        """
        if part not in PARTS:
            raise refuse_unknown("part", part, PARTS)
        return np.flatnonzero(self.codes(table) == PARTS.index(part))

    def normalisation(
        self, kind: NormalisationKind = "rms", frame: LoadsFrame = "base"
    ) -> Normalisation | None:
        """What was measured over the training part; None where that was not measured."""
        for known in self.normalisations:
            if (known.kind, known.frame) == (kind, frame):
                return known
        return None

    def with_normalisation(self, normalisation: Normalisation) -> Split:
        """The same split with this normalisation too, in place of an earlier one of its kind."""
        others = [
            known
            for known in self.normalisations
            if (known.kind, known.frame) != (normalisation.kind, normalisation.frame)
        ]
        together = sorted([*others, normalisation], key=lambda n: (n.kind, n.frame))
        return replace(self, normalisations=tuple(together))

    def _outdated(self, why: str) -> InputError:
        return InputError(
            f"split {self.name!r}: made for another state of the store, {why}; make it again."
        )

    # --- files -------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Text that ends in a newline and holds its own digest; equal splits give equal text."""
        if not is_dataclass(self.config):
            raise refuse("config", self.config, "not a dataclass", "make its class one")
        tree = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "name": self.name,
            "kind": self.kind,
            "config": {f.name: to_tree(getattr(self.config, f.name)) for f in fields(self.config)},
            "parts": {letter: PARTS[code] for letter, code in _CODES.items() if code >= 0},
            "state": self.state,
            "normalisations": [n.to_dict() for n in self.normalisations],
            "objects": dict(self.assignment),
        }
        return _canonical(tree | {"digest": digest_of_bytes(_canonical(tree).encode())})

    def save(self, path: Path | str) -> Path:
        """Write the file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        target = Path(path)
        with atomic_path(target) as temporary:
            temporary.write_bytes(self.to_json().encode())
        return target

    @classmethod
    def load(cls, path: Path | str) -> Split:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no such file, not a split, one of a newer version or of an unknown kind,
                or any byte is not as it was written.
        """
        source = Path(path)
        if not source.is_file():
            raise refuse("split file", str(source), "there is no such file", "make the split")
        damaged = InputError(f"{source}: not a split as it was written; make it again.")
        try:
            text = source.read_bytes().decode()
            tree = json.loads(text)
        except OSError as error:
            raise refuse(
                "split file", str(source), f"cannot be read ({error.strerror})", "make it readable"
            ) from error
        except (ValueError, RecursionError) as error:
            raise damaged from error
        if not isinstance(tree, dict) or tree.get("format") != FORMAT:
            raise damaged
        digest = tree.pop("digest", None)
        # the bytes too must be those that are written: then no flipped one can hide
        try:
            whole = _canonical(tree | {"digest": digest}) == text
            if not whole or digest != digest_of_bytes(_canonical(tree).encode()):
                raise damaged
        except ValueError as error:  # NaN, or half a surrogate pair
            raise damaged from error
        if tree["version"] != FORMAT_VERSION:
            raise refuse(
                f"{source}: version", tree["version"],
                f"this release reads version {FORMAT_VERSION}", "upgrade vibrissa",
            )  # fmt: skip
        return cls(
            name=tree["name"],
            config=_config(source, tree["kind"], tree["config"]),
            assignment=tree["objects"],
            state=tree["state"],
            normalisations=tuple(Normalisation.from_dict(n) for n in tree["normalisations"]),
        )


def _config(source: Path, kind: str, settings: Mapping[str, Any]) -> SplitKind:
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    try:
        return split_kinds.get(kind)(**settings)
    except (TypeError, InputError) as error:
        raise InputError(
            f"{source}: kind {kind!r} does not take its settings here ({str(error).rstrip('.')}); "
            "make the split again."
        ) from error


def _canonical(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _state(table: pd.DataFrame) -> str:
    """Digest of objects, labels and names of sweeps, whatever the order of rows."""
    if "sweep" not in table.columns:
        raise refuse("table", list(table.columns), "no column 'sweep'", "add it")
    sweeps = Sweeps.of(table)
    names = table["sweep"].to_numpy(dtype=object)
    parts: list[bytes] = []
    for thing, rows in sweeps.rows_of():
        texts = [thing, sweeps.label_of[thing], *(str(name) for name in names[rows])]
        parts.append(json.dumps(texts).encode())
    return digest_of_bytes(*parts)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


# --- leaks and counts ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Leaks:
    """What crosses between the parts of a split; unused sweeps do not count.

    Attributes:
        total: objects with sweeps in any part.
        objects: those with sweeps in more than one part.
        copies: those that have the geometry of another object in another part, also scaled,
            turned, moved or re-ordered, and are not among ``objects``.
        sweeps: how many sweeps these objects have, of ``sweeps_total`` in any part.
        sweeps_total: see above.
        pairs: pair of parts -> objects that are in both, by themselves or by a copy.
    """

    total: int
    objects: tuple[str, ...]
    copies: tuple[str, ...]
    sweeps: int
    sweeps_total: int
    pairs: Mapping[tuple[str, str], int]

    def __bool__(self) -> bool:
        return bool(self.objects or self.copies)

    def sentence(self) -> str:
        """One sentence, for instance "0 of 102 objects cross between parts."."""
        text = f"{len(self.objects)} of {self.total} objects cross between parts"
        if self.copies:
            text += f" and {len(self.copies)} more have a copy in another part"
        if self:
            pairs = ", ".join(f"{a}-{b} {count}" for (a, b), count in self.pairs.items() if count)
            text += f" ({pairs}), {self.sweeps} of {self.sweeps_total} sweeps are concerned"
        return text + "."


def leaks(codes: np.ndarray, table: pd.DataFrame) -> Leaks:
    """Look for objects, by name and by geometry (columns ``geometry`` and
    ``alike``), that cross between parts.

    Args:
        codes: (sweep,) as :meth:`Split.codes` gives them.
        table: see :class:`SplitKind`.
    """
    sweeps = Sweeps.of(table)
    own = np.zeros((len(sweeps.objects), len(PARTS)), dtype=np.int64)
    used = codes >= 0
    np.add.at(own, (sweeps.object_of[used], codes[used]), 1)
    geometries = sorted(set(sweeps.geometry_of.values()))
    number = {geometry: k for k, geometry in enumerate(geometries)}
    shape_of = np.array([number[sweeps.geometry_of[name]] for name in sweeps.objects])
    of_shape = np.zeros((len(geometries), len(PARTS)), dtype=np.int64)
    np.add.at(of_shape, shape_of, own)
    present = own.any(axis=1)
    crosses = (own > 0).sum(axis=1) > 1
    copied = present & ~crosses & ((of_shape > 0).sum(axis=1) > 1)[shape_of]
    reached = (of_shape > 0)[shape_of] & (crosses | copied)[:, None]
    names = np.array(sweeps.objects, dtype=object)
    return Leaks(
        total=int(present.sum()),
        objects=tuple(names[crosses]),
        copies=tuple(names[copied]),
        sweeps=int(own[crosses | copied].sum()),
        sweeps_total=int(own.sum()),
        pairs={
            (PARTS[a], PARTS[b]): int((reached[:, a] & reached[:, b]).sum())
            for a, b in ((0, 1), (0, 2), (1, 2))
        },
    )


def class_counts(codes: np.ndarray, table: pd.DataFrame, *, of: str = "sweeps") -> pd.DataFrame:
    """How many sweeps, or objects, of each class are in each part.

    Args:
        codes: (sweep,) as :meth:`Split.codes` gives them.
        table: see :class:`SplitKind`.
        of: ``sweeps`` or ``objects``; an object counts in every part that has a sweep of it.

    Returns:
        Sorted labels by train, validate, test.

    Raises:
        InputError: neither sweeps nor objects.
    """
    import pandas

    if of not in ("sweeps", "objects"):
        raise refuse_unknown("of", of, ("sweeps", "objects"))
    sweeps = Sweeps.of(table)
    own = np.zeros((len(sweeps.objects), len(PARTS)), dtype=np.int64)
    used = codes >= 0
    np.add.at(own, (sweeps.object_of[used], codes[used]), 1)
    if of == "objects":
        own = (own > 0).astype(np.int64)
    labels = sorted(set(sweeps.label_of.values()))
    number = {label: k for k, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(PARTS)), dtype=np.int64)
    np.add.at(counts, [number[label] for label in sweeps.label_of.values()], own)
    index = pandas.Index(labels, name="label")
    return pandas.DataFrame(counts, index=index, columns=pandas.Index(PARTS))


def remarks(codes: np.ndarray, table: pd.DataFrame) -> tuple[str, ...]:
    """What one should know of a split, a sentence each: classes that miss from parts."""
    counts = class_counts(codes, table)
    labels = counts.index.to_numpy(dtype=object)
    present = {part: counts[part].to_numpy() > 0 for part in PARTS}
    found = []
    for part in ("validate", "test"):
        if not present[part].any():
            found.append(f"The {part} part is empty.")
            continue
        for odd, text in (
            (present["train"] & ~present[part], f"Classes without {part} sweeps"),
            (present[part] & ~present["train"], f"Classes of {part} that do not train"),
        ):
            if odd.any():
                found.append(f"{text}: {_some(labels[odd].tolist())}.")
    if (codes == UNUSED).any():
        found.append(f"{int((codes == UNUSED).sum())} of {len(codes)} sweeps are unused.")
    return tuple(found)
