"""What a data set is made from: mesh files, procedural shapes, or stimuli of the protocol's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.files import digest_of_bytes, digest_of_file
from vibrissa.objects.folders import ObjectSource, read_folder, read_shapenet
from vibrissa.objects.procedural import procedural_classes, procedural_object
from vibrissa.objects.tactile_object import TactileObject

PROCEDURAL: Final = "procedural:"
_LONGEST_NAME: Final = 180


class Source(Protocol):
    """One object that is not read or made yet; small, so that it travels to any worker.

    Attributes:
        name: names the object and its shard, usually ``class/individual``.
        label: its class.
    """

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    def read(self) -> TactileObject | None:
        """The object; None if the protocol brings its own.

        Raises:
            InputError: no usable mesh.
        """
        ...

    def digest(self) -> str:
        """SHA-256 of what the object is made from."""
        ...

    def changed_since(self, time_s: float, digest: str) -> bool:
        """Whether the source is another than the one of this digest, which was read at that time
        (seconds since the epoch)."""
        ...


@dataclass(frozen=True, kw_only=True)
class MeshSource:
    """A mesh file."""

    file: ObjectSource

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def label(self) -> str:
        return self.file.label

    def read(self) -> TactileObject:
        return self.file.read()

    def digest(self) -> str:
        try:
            return digest_of_file(self.file.path)
        except OSError as error:
            raise refuse(
                "mesh file", str(self.file.path), f"cannot be read ({error.strerror})",
                "check the path and its permissions",
            ) from error  # fmt: skip

    def changed_since(self, time_s: float, digest: str) -> bool:
        # Hashing every mesh at each start would read tens of gigabytes for nothing. The time of
        # the last change of status tells of copies that keep an old time of writing.
        try:
            found = self.file.path.stat()
        except OSError:
            return False
        return max(found.st_mtime, found.st_ctime) >= time_s and self.digest() != digest


@dataclass(frozen=True, kw_only=True)
class ProceduralSource:
    """An individual of a procedural class."""

    label: str
    index: int
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.label}/{self.index:05d}"

    def read(self) -> TactileObject:
        return procedural_object(self.label, self.index, self.seed)

    def digest(self) -> str:
        return digest_of_bytes(f"procedural {self.label} {self.index} {self.seed}".encode())

    def changed_since(self, time_s: float, digest: str) -> bool:
        return self.digest() != digest


@dataclass(frozen=True, kw_only=True)
class StimuliSource:
    """Stands for the objects that a protocol brings itself."""

    protocol: str

    @property
    def name(self) -> str:
        return f"{self.protocol}/stimuli"

    @property
    def label(self) -> str:
        return self.protocol

    def read(self) -> None:
        return None

    def digest(self) -> str:
        return digest_of_bytes(f"stimuli of {self.protocol}".encode())

    def changed_since(self, time_s: float, digest: str) -> bool:
        return False


def sources_of(
    words: str | Iterable[str],
    *,
    seed: int = 0,
    unit: str | None = None,
    ids: Path | str | None = None,
    labels: Path | str | None = None,
) -> list[Source]:
    """The objects that the words name, sorted by name.

    Args:
        words: one or more of: a folder ``class/name.ext``, a ShapeNetCore tree, a folder of
            meshes (whose name is their class), ``procedural:N`` (N objects spread evenly over all
            procedural classes), or ``procedural:cup,bowl:N`` (over these).
        seed: of procedural objects.
        unit: unit of mesh files whose size is kept.
        ids: for a ShapeNetCore tree, a file that lists the models to use.
        labels: for a ShapeNetCore tree, a file with the class of each model or synset.

    Raises:
        InputError: no such folder or class, an empty folder, a bad count, a missing model, or two
            objects of one name.
    """
    found: list[Source] = []
    for word in [words] if isinstance(words, str) else list(words):
        if word.startswith(PROCEDURAL):
            found += _procedural(word, seed)
        else:
            found += [MeshSource(file=file) for file in _meshes(word, unit, ids, labels)]
    found.sort(key=lambda source: source.name)
    for source in found:
        try:
            source.name.encode()
        except UnicodeEncodeError:
            raise refuse(
                "objects", source.name, "the file's name is not UTF-8 text", "rename the file"
            ) from None
    for one, other in pairwise(found):
        if one.name == other.name:
            raise refuse("objects", one.name, "two objects have this name", "rename one of them")
    if not found:
        raise refuse("objects", words, "no objects", "give a folder or procedural:N")
    return found


def shard_path(name: str) -> str:
    """Path of an object's shard below the store's ``shards`` folder, with ``/`` between folders.

    Letters, digits and ``._- /`` stay, all else is percent-encoded, so that different names have
    different files on any system.
    """
    parts = [_short(quote(part, safe="")) for part in name.split("/")]
    # A leading dot would hide a file, or climb out of the folder.
    return "/".join("%2E" + p[1:] if p.startswith(".") else p or "%00" for p in parts) + ".h5"


def _short(part: str) -> str:
    """File systems take 255 bytes; a temporary name needs some of them."""
    if len(part) <= _LONGEST_NAME:
        return part
    return f"{part[: _LONGEST_NAME - 17]}+{digest_of_bytes(part.encode())[:16]}"


def _procedural(word: str, seed: int) -> list[Source]:
    classes_text, _, count_text = word.removeprefix(PROCEDURAL).rpartition(":")
    classes: Sequence[str] = procedural_classes()
    if classes_text:
        classes = [name.strip() for name in classes_text.split(",")]
        for name in classes:
            if name not in procedural_classes():
                raise refuse_unknown("procedural class", name, procedural_classes())
        if len(set(classes)) < len(classes):
            raise refuse("objects", word, "a class stands twice", "name each class once")
    if not count_text.isascii() or not count_text.isdigit() or int(count_text) < 1:
        raise refuse(
            "objects", word, f"{count_text!r} is no number of objects",
            "write procedural:N or procedural:CLASS,CLASS:N",
        )  # fmt: skip
    return [
        ProceduralSource(label=classes[k % len(classes)], index=k // len(classes), seed=seed)
        for k in range(int(count_text))
    ]


def _meshes(
    word: str, unit: str | None, ids: Path | str | None, labels: Path | str | None
) -> list[ObjectSource]:
    from vibrissa.objects.files import EXTENSIONS
    from vibrissa.objects.folders import SHAPENET_FILE

    folder = Path(word)
    if not folder.is_dir():
        raise refuse(
            "objects", word, "neither a folder nor procedural:N", "give one of the two"
        )  # fmt: skip
    if ids is not None or next(folder.glob(f"*/*/{SHAPENET_FILE}"), None) is not None:
        listing = read_shapenet(folder, ids, labels)
        if listing.missing:
            raise refuse(
                f"ShapeNet models under {folder}", list(listing.missing[:3]),
                f"{len(listing.missing)} of those listed are not there",
                "correct the list of ids or complete the folder",
            )  # fmt: skip
        return list(listing.sources)
    if labels is not None:
        raise refuse("labels", str(labels), "only a ShapeNetCore tree takes them", "leave it out")
    flat = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in EXTENSIONS and file.name[0] != "." and not file.is_dir()
    ]
    if not flat:
        return read_folder(folder, unit=unit)
    below = next((f for f in sorted(folder.glob("*/*")) if f.suffix.lower() in EXTENSIONS), None)
    if below is not None:
        raise refuse(
            "objects", word, f"it holds meshes, such as {flat[0].name}, and folders of meshes, "
            f"such as {below.parent.name}", "move the meshes into folders, one per class",
        )  # fmt: skip
    label = folder.resolve().name
    stems = [file.stem for file in flat]
    return [
        ObjectSource(
            path=file,
            name=f"{label}/{file.stem if stems.count(file.stem) == 1 else file.name}",
            label=label,
            unit=unit,
        )
        for file in flat
    ]
