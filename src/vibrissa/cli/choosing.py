"""From words on the command line to arrays, objects and whisking."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vibrissa.core.errors import InputError, refuse, refuse_unknown

if TYPE_CHECKING:
    from vibrissa.morphology.array import WhiskerArray
    from vibrissa.objects.tactile_object import TactileObject
    from vibrissa.simulation.scene import Whisking
    from vibrissa.simulation.whisking import SinusoidalWhisking

Side = Literal["R", "L", "both"]
PROCEDURAL = "procedural:"


def choose_array(text: str, side: Side, parameters: str, *, fill: bool = False) -> WhiskerArray:
    """An array by name or table.

    Args:
        text: ``mouse``, ``mouse:N`` (one of the eight individuals), ``rat``, or a CSV table.
        side: which whiskers; of a table those that it holds, or for ``both`` also the mirror images
            of those without a partner.
        parameters: name of the mechanical parameter set.
        fill: fill the gaps of an individual from the average mouse.

    Raises:
        InputError: no such array, side or parameter set, or a bad table.
    """
    from vibrissa.morphology import WhiskerArray, mouse_array, rat_array
    from vibrissa.morphology.mouse import INDIVIDUALS

    if text == "mouse":
        return mouse_array(side, parameters)
    if text == "rat":
        return rat_array(side, parameters)
    individual = re.fullmatch(r"mouse[: ](\d+)", text)
    if individual is not None:
        number = int(individual[1])
        return mouse_array(side, parameters, individual=number, fill="average" if fill else None)
    if text.lower().endswith(".csv") or Path(text).exists():
        table = WhiskerArray.from_table(
            text, parameters=parameters, side="R" if side == "both" else side
        )
        return table.both_sides() if side == "both" else table.side(side)
    known = ["mouse", *(f"mouse:{n}" for n in INDIVIDUALS), "rat", "TABLE.csv"]
    raise refuse_unknown("array", text, known)


@dataclass(frozen=True, kw_only=True)
class NamedSource:
    """An object that is not read or made yet.

    Attributes:
        name: what to call it until then.
        path: the mesh file, or None for a procedural object.
        label: its class.
        index: which individual of a procedural class.
        unit: unit of the mesh file.
    """

    name: str
    path: Path | None = None
    label: str = ""
    index: int = 0
    unit: str | None = None

    def read(self, seed: int) -> TactileObject:
        """Read or make it.

        Args:
            seed: of procedural objects.

        Raises:
            InputError: no usable mesh, or no such class or index.
        """
        from vibrissa.objects import procedural_object, read_object

        if self.path is None:
            return procedural_object(self.label, self.index, seed)
        return read_object(self.path, name=self.name, label=self.label, unit=self.unit)


def choose_objects(words: Iterable[str], unit: str | None = None) -> Iterator[NamedSource]:
    """Objects by name, unread: a mesh file, a folder of them, or ``procedural:CLASS[:INDEX]``.

    A folder holds mesh files, or one folder of them per class, or a ShapeNetCore tree.

    Raises:
        InputError: neither file nor folder, an empty folder, or an unknown procedural class.
    """
    from vibrissa.objects import procedural_classes, read_folder, read_shapenet
    from vibrissa.objects.files import EXTENSIONS
    from vibrissa.objects.folders import SHAPENET_FILE

    for word in words:
        path = Path(word)
        if not word.strip():
            raise refuse("object", word, "empty", f"give a mesh or {PROCEDURAL}CLASS[:INDEX]")
        if word.startswith(PROCEDURAL):
            label, _, number = word.removeprefix(PROCEDURAL).partition(":")
            if label not in procedural_classes():
                raise refuse_unknown("procedural class", label, procedural_classes())
            if number and not re.fullmatch(r"\d+", number):
                raise refuse("procedural index", number, "no index", "give 0 or more")
            index = int(number or 0)
            yield NamedSource(name=f"{label}/{index:05d}", label=label, index=index)
        elif path.is_dir():
            files = [
                file
                for file in sorted(path.iterdir())
                if file.suffix.lower() in EXTENSIONS and file.name[0] != "." and file.is_file()
            ]
            for file in files:
                label = path.resolve().name
                yield NamedSource(name=file.stem, path=file, label=label, unit=unit)
            if not files:
                tree = next(path.glob(f"*/*/{SHAPENET_FILE}"), None) is not None
                for found in read_shapenet(path).sources if tree else read_folder(path):
                    yield NamedSource(
                        name=found.name, path=found.path, label=found.label, unit=unit
                    )
        elif path.exists() or path.suffix.lower() in EXTENSIONS:
            # A file that is not there is refused when it is read, and the others go on.
            yield NamedSource(
                name=path.stem, path=path, label=path.resolve().parent.name, unit=unit
            )
        else:
            near = "" if ":" in word or word not in procedural_classes() else PROCEDURAL + word
            remedy = f"did you mean {near}" if near else f"give a mesh or {PROCEDURAL}CLASS[:INDEX]"
            raise refuse("object", word, "neither a file nor a folder", remedy)


def choose_whisking(
    text: str | None, sinusoid: SinusoidalWhisking, default: Whisking | None
) -> Whisking | None:
    """Whisking by name or table.

    Args:
        text: ``none``, ``sinusoid``, a CSV table, or None for the default.
        sinusoid: what ``sinusoid`` means.
        default: what None means; a sinusoidal default takes the options of ``sinusoid``.

    Raises:
        InputError: no such name, or a bad table.
    """
    from vibrissa.simulation.whisking import SinusoidalWhisking, TabledWhisking

    if text is None:
        return sinusoid if isinstance(default, SinusoidalWhisking) else default
    if text == "none":
        return None
    if text == "sinusoid":
        return sinusoid
    if text.lower().endswith(".csv") or Path(text).exists():
        return TabledWhisking.from_csv(text)
    raise refuse_unknown("whisking", text, ("none", "sinusoid", "TABLE.csv"))


def writable_folder(path: Path) -> Path:
    """Make the folder, and find out whether files can be written there, before work is done.

    Raises:
        InputError: it cannot be made or written to.
    """
    import tempfile

    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        why = "a file stands there" if path.is_file() else error.strerror
        raise InputError(
            f"{path}: cannot be written ({why}); choose another output folder."
        ) from error


def torch_device(word: str) -> str:
    """The device of torch that an option means; ``auto`` takes a GPU if there is one.

    Raises:
        InputError: it is not to be had here.
    """
    import torch

    if word == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=word)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device = {word!r}: cannot be had here; choose cpu, or install a torch for it."
        ) from error
    return word
