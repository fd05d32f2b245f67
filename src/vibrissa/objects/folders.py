"""Many objects: a folder of classes, a ShapeNetCore tree, and loading that survives bad files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vibrissa.core.errors import InputError, refuse
from vibrissa.objects.files import EXTENSIONS, ReadLimits, read_object
from vibrissa.objects.tactile_object import TactileObject

SHAPENET_FILE: Final = "models/model_normalized.obj"


@dataclass(frozen=True, kw_only=True)
class ObjectSource:
    """A mesh file that is not read yet; arguments as for :func:`read_object`."""

    path: Path
    name: str
    label: str
    unit: str | None = None
    diagonal_mm: float | None = None
    limits: ReadLimits | None = None

    def read(self) -> TactileObject:
        """Read the file.

        Raises:
            InputError: the file is no usable mesh, in one sentence.
        """
        return read_object(
            self.path,
            name=self.name,
            label=self.label,
            unit=self.unit,
            diagonal_mm=self.diagonal_mm,
            limits=self.limits,
        )


@dataclass(frozen=True)
class Refusal:
    """A source that could not be read, and the sentence that says why."""

    source: ObjectSource
    reason: str


@dataclass(frozen=True)
class ShapeNetListing:
    """The models of a ShapeNetCore tree that are there, in the order asked, and the missing ids."""

    sources: tuple[ObjectSource, ...]
    missing: tuple[str, ...]


def read_folder(
    root: Path | str,
    *,
    unit: str | None = None,
    diagonal_mm: float | None = None,
    limits: ReadLimits | None = None,
) -> list[ObjectSource]:
    """The mesh files ``class/name.ext`` of a folder, sorted by class and file name, unread.

    Other files, hidden ones and deeper folders are passed over. The name of an object is
    ``class/name``; where two files differ only in extension, the extension stays on.

    Args:
        root: the folder that holds one folder per class.
        unit: unit of all coordinates, as for :func:`read_object`.
        diagonal_mm: common bounding-box diagonal, as for :func:`read_object`.
        limits: what is too much to read.

    Raises:
        InputError: there is no such folder, or no mesh file in it.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise refuse("objects folder", str(folder), "not a folder", "give one that exists")
    found: list[Path] = []
    for group in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        for file in sorted(group.iterdir()):
            if file.suffix.lower() in EXTENSIONS and file.name[0] != "." and not file.is_dir():
                found.append(file)
    if not found:
        raise refuse(
            "objects folder",
            str(folder),
            f"no class/name file with extension {', '.join(EXTENSIONS)}",
            "put the meshes into one folder per class",
        )
    stems: dict[tuple[str, str], int] = {}
    for file in found:
        key = (file.parent.name, file.stem)
        stems[key] = stems.get(key, 0) + 1
    return [
        ObjectSource(
            path=file,
            label=file.parent.name,
            name=f"{file.parent.name}/"
            + (file.stem if stems[file.parent.name, file.stem] == 1 else file.name),
            unit=unit,
            diagonal_mm=diagonal_mm,
            limits=limits,
        )
        for file in found
    ]


def read_shapenet(
    root: Path | str,
    ids: Path | str | Iterable[str] | None = None,
    labels: Path | str | Mapping[str, str] | None = None,
    *,
    diagonal_mm: float | None = None,
    limits: ReadLimits | None = None,
) -> ShapeNetListing:
    """Models ``synset/model/models/model_normalized.obj`` of a ShapeNetCore tree, unread.

    Args:
        root: the folder of synsets.
        ids: ``synset/model`` ids, or a text file with one per line (``#`` starts a comment); all
            models of the tree, sorted, by default.
        labels: class of each id or synset: a mapping, a JSON file that holds one, or a CSV file
            with two columns (a header line ``id,label`` or ``synset,label`` may lead). An id goes
            before its synset; what is not listed is labelled by its synset.
        diagonal_mm: common bounding-box diagonal (ShapeNet coordinates have no unit).
        limits: what is too much to read.

    Raises:
        InputError: a folder or file is missing, or an id or label is malformed.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise refuse("ShapeNet folder", str(folder), "not a folder", "give one that exists")
    table = _labels(labels)
    sources: list[ObjectSource] = []
    missing: list[str] = []
    for name in _ids(folder, ids):
        file = folder / name / SHAPENET_FILE
        if not file.is_file():
            missing.append(name)
            continue
        synset = name.split("/")[0]
        sources.append(
            ObjectSource(
                path=file,
                name=name,
                label=table.get(name, table.get(synset, synset)),
                diagonal_mm=diagonal_mm,
                limits=limits,
            )
        )
    return ShapeNetListing(tuple(sources), tuple(missing))


def load_all(
    sources: Iterable[ObjectSource],
) -> tuple[list[TactileObject], list[Refusal]]:
    """Read every source; a bad one is put on the list of refusals and the rest goes on."""
    objects: list[TactileObject] = []
    refusals: list[Refusal] = []
    for source in sources:
        try:
            objects.append(source.read())
        except InputError as error:
            refusals.append(Refusal(source, str(error)))
    return objects, refusals


def _ids(folder: Path, ids: Path | str | Iterable[str] | None) -> Iterator[str]:
    if ids is None:
        for file in sorted(folder.glob(f"*/*/{SHAPENET_FILE}")):
            yield "/".join(file.relative_to(folder).parts[:2])
        return
    lines = _text(Path(ids), "ids").splitlines() if isinstance(ids, Path | str) else ids
    seen: set[str] = set()
    for line in lines:
        name = line.split("#")[0].strip()
        if not name:
            continue
        parts = name.split("/")
        if len(parts) != 2 or not all(parts) or ".." in parts:
            raise refuse("ShapeNet id", name, "not of the form synset/model", "correct the list")
        if name not in seen:
            seen.add(name)
            yield name


def _labels(labels: Path | str | Mapping[str, str] | None) -> dict[str, str]:
    if labels is None:
        return {}
    if isinstance(labels, Mapping):
        return dict(labels)
    file = Path(labels)
    text = _text(file, "labels")
    if file.suffix.lower() == ".json":
        try:
            table = json.loads(text)
        except ValueError:
            table = None
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            raise refuse("labels", str(file), "not a JSON object of texts", "map ids to labels")
        return table
    rows = [row for row in csv.reader(text.splitlines()) if row]
    for row in rows:
        if len(row) != 2:
            raise refuse(f"labels row of {file}", row, "not two columns", "write id,label")
    if rows and rows[0][0].strip().lower() in ("id", "synset"):
        rows = rows[1:]
    return {key.strip(): value.strip() for key, value in rows}


def _text(file: Path, what: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise refuse(what, str(file), "not a readable text file", "check the path") from None
