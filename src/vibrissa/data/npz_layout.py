"""One sweep as one npz file, in the published layout.

Keys: ``data`` (frame, 35, 6) float64 in mN and mN*mm, world axes, the 35 places of the 5 x 7 grid
row by row, zero at 5, 6, 12, 13 and 34, channels Fx Fy Fz Mx My Mz; ``shape``, the name of the
object; ``label``, the number of its class; and the parameters of the sweep by letters:

* 1000 Hz set, as text: ``h`` height (mm), ``d`` distance (mm), ``t`` angle (degrees), by which the
  object is turned in all;
* 110 Hz set, ``h`` as float64 and the rest as integers: ``h`` height, ``to`` first angle of the
  draw and ``t`` angle added to it (degrees; the object is turned by both), ``v`` speed (mm/s),
  ``s`` scale, the diagonal of the bounding box (mm).
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, get_args

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.morphology.grid import EMPTY_PLACES, GRID_COLUMNS, grid_name, grid_place
from vibrissa.simulation.scene import Sampling

Letters = Literal["1000hz", "110hz", "other"]

LABELS: Final = "labels.json"
"""Beside the folders: name of the class -> number."""
ABOUT: Final = "export.json"
"""Beside the folders: the manifest of an export."""
PLACES: Final = 35
PUBLISHED_WHISKERS: Final = tuple(
    grid_name(*divmod(place, GRID_COLUMNS)) for place in range(PLACES) if place not in EMPTY_PLACES
)
LETTERS_OF: Final[dict[str, Letters]] = {"passive-1000hz": "1000hz", "passive-110hz": "110hz"}
"""Protocol -> which letters its files have."""
_WORDS: Final = {"h": "height_mm", "d": "distance_mm", "t": "theta_deg"}
_KEYS: Final = ("data", "shape", "label")
# Told elsewhere: by the key shape, by the folder, and by there being no contact in the layout.
_OMITTED: Final = {"object", "part", "contact_known", *_KEYS}
_TURN_DEG: Final = 90.0
_UNREADABLE: Final = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, MemoryError,
    TypeError, SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


# --- parameters ------------------------------------------------------------------------------


def to_letters(letters: Letters, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a sweep as they stand in its file.

    Where the sweep lacks what the letters of its set need, and for other protocols: all parameters
    as text under their own names, and besides ``h``, ``d`` and ``t`` as far as it has them.
    """
    found = {letter: parameters[name] for letter, name in _WORDS.items() if name in parameters}
    if letters == "1000hz" and len(found) == len(_WORDS):
        return {letter: as_text(value) for letter, value in found.items()}
    if letters == "110hz" and {*_WORDS.values(), *_OF_DRAWS.values()} - {"distance_mm"} <= set(
        parameters
    ):
        angle = float(parameters["theta_deg"])
        first = angle % _TURN_DEG
        return {
            "h": float(parameters["height_mm"]),
            "to": round(first),
            "t": round(angle - first),
        } | {letter: round(parameters[name]) for letter, name in _OF_DRAWS.items()}
    own = {
        name: as_text(value)
        for name, value in parameters.items()
        if name not in _OMITTED and value is not None
    }
    return {letter: as_text(value) for letter, value in found.items()} | own


_OF_DRAWS: Final = {"v": "speed_mm_per_s", "s": "diagonal_mm"}


def from_letters(found: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a sweep under the names of this package; :func:`to_letters` undone."""
    values = {name: as_value(value) for name, value in found.items() if name not in _KEYS}
    named: dict[str, Any] = {}
    if "to" in values:
        first, turn = values.pop("to"), values.get("t")
        if isinstance(first, float) and isinstance(turn, float):
            values["t"] = first + turn
        named |= {name: values.pop(key) for key, name in _OF_DRAWS.items() if key in values}
    named |= {name: values.pop(key) for key, name in _WORDS.items() if key in values}
    return named | values


def letters_of(found: Mapping[str, Any]) -> Letters:
    """Which set a file with these keys belongs to."""
    names = set(found) - set(_KEYS)
    if names == {"h", "d", "t"}:
        return "1000hz"
    return "110hz" if names == {"h", "to", "t", "v", "s"} else "other"


def as_text(value: Any) -> str:
    """A parameter as text: whole numbers without a point, other numbers in full."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value, sort_keys=True)
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def as_value(value: Any) -> Any:
    """A number if the value is one, or text that :func:`as_text` makes of one; else the text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value)
    try:
        number = float(value)
        return number if np.isfinite(number) and as_text(number) == value else str(value)
    except (TypeError, ValueError):
        return str(value)


# --- files -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its sweep, without the loads.

    Attributes:
        shape: name of the object.
        label: number of the class.
        found: the other keys and their values.
        data_shape: shape of the loads.
    """

    shape: str
    label: int
    found: Mapping[str, Any]
    data_shape: tuple[int, ...]


def write_npz(
    path: Path, loads_mN: np.ndarray, shape: str, label: int, found: Mapping[str, Any]
) -> None:
    """Write a sweep, whole or not at all; equal sweeps give equal bytes.

    Args:
        path: the file.
        loads_mN: (frame, 35, 6), mN and mN*mm.
        shape: name of the object.
        label: number of the class.
        found: what :func:`to_letters` gave.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    values: dict[str, Any] = {name: np.asarray(value) for name, value in found.items()}
    data = np.ascontiguousarray(loads_mN, dtype=np.float64)
    # numpy dates the entries of the archive 1980-01-01, whenever they are written
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream, data=data, shape=np.asarray(shape), label=np.int64(label), **values
        )


def is_whole(path: Path) -> bool:
    """Whether all entries of an archive are as they were written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except _UNREADABLE:
        return False


def read_header(file: Path | BytesIO) -> Header:
    """What a file says of its sweep; the loads are not read.

    Raises:
        InputError: one sentence, without the name of the file.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [n.removesuffix(".npy") for n in archive.namelist()]
            missing = [key for key in _KEYS if key not in names]
            if missing:
                raise InputError(f"the key {missing[0]!r} is missing; export the sweep again.")
            with archive.open("data.npy") as stream:
                data_shape, kind = _array_header(stream)
            found = {}
            for name in names:
                if name != "data":
                    with archive.open(f"{name}.npy") as stream:
                        found[name] = np.lib.format.read_array(stream, allow_pickle=False)
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(error) from error
    if kind not in "fiu":
        raise InputError("data holds no numbers; export the sweep again.")
    odd = [name for name, value in found.items() if value.shape != ()]
    if odd:
        raise InputError(f"{odd[0]} is not a single value; export the sweep again.")
    label, shape = found.pop("label").item(), found.pop("shape").item()
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        raise InputError(f"label = {label!r} is no number of a class; export the sweep again.")
    if not isinstance(shape, str) or not shape:
        raise InputError(f"shape = {shape!r} is no name of an object; export the sweep again.")
    plain = {name: value.item() for name, value in found.items()}
    return Header(shape=shape, label=label, found=plain, data_shape=data_shape)


def read_loads_uN(packed: bytes, frames: int, places: list[int]) -> np.ndarray:
    """Loads (frame, whisker, channel) float32 in uN and uN*mm of the bytes of a file.

    Args:
        packed: the bytes.
        frames: how many frames there must be.
        places: of the whiskers, row by row on the grid; others must hold zeros.

    Raises:
        InputError: one sentence, without the name of the file.
    """
    check_shape(read_header(BytesIO(packed)).data_shape, frames)
    try:
        with zipfile.ZipFile(BytesIO(packed)) as archive, archive.open("data.npy") as stream:
            data = np.lib.format.read_array(stream, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(error) from error
    bad = np.argwhere(~np.isfinite(data))
    if len(bad):
        frame, place, channel = bad[0].tolist()
        raise InputError(
            f"data is not finite at frame {frame}, place {place}, {CHANNELS[channel]} "
            f"({len(bad)} such values); simulate the sweep again."
        )
    empty = np.ones(PLACES, dtype=bool)
    empty[places] = False
    filled = np.flatnonzero(data[:, empty].any(axis=(0, 2)))
    if len(filled):
        place = int(np.flatnonzero(empty)[filled[0]])
        raise InputError(f"data is not zero at place {place}, where no whisker is; name it.")
    with np.errstate(over="ignore"):
        loads = (data[:, places].astype(np.float64) * 1e3).astype(np.float32)
    if not np.isfinite(loads).all():
        raise InputError("data is larger than single precision holds; simulate the sweep again.")
    return loads


def check_shape(shape: tuple[int, ...], frames: int) -> None:
    """Refuse loads of another shape than (frames, 35, 6)."""
    wanted = (frames, PLACES, len(CHANNELS))
    if shape != wanted:
        raise InputError(f"data has the shape {shape}, not {wanted}; export the sweep again.")


def _array_header(stream: BinaryIO | Any) -> tuple[tuple[int, ...], str]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, dtype.kind


def _unreadable(error: BaseException) -> InputError:
    text = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"not a readable npz file ({text.rstrip('.')}); export the sweep again.")


def read_about(root: Path) -> Manifest:
    """The manifest ``export.json`` of a folder; of its files it says ``frames``, ``letters``,
    ``rate_hz``, ``sampling`` and ``whiskers``, as far as it does.

    Raises:
        InputError: it is not readable, no manifest of an export, or an entry is not as it must be.
    """
    path = root / ABOUT
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(str(path), "", f"not readable ({error})", "export again") from error
    try:
        manifest = Manifest.from_json(text, origin=str(path))
    except RecursionError as error:
        raise refuse(str(path), text[:20], "not a manifest", "export again") from error
    config = manifest.config
    for name, found in (("config", config), ("inputs", manifest.inputs)):
        if not isinstance(found, dict):
            raise refuse(f"{path}: {name}", found, "not as an export writes it", "export again")
    for name, (fits, reason) in _ABOUT.items():
        if config.get(name) is not None and not fits(config[name]):
            raise refuse(f"{path}: {name}", config[name], reason, "export again, or take it away")
    return manifest


def _is_rate(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0.0 < value < float("inf")


def _are_whiskers(value: Any) -> bool:
    names = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if not names or len(set(value)) < len(value):
        return False
    try:
        return bool(value) and all(grid_place(name) is not None for name in value)
    except InputError:
        return False


_ABOUT: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "frames": (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 1,
        "not a number of frames",
    ),
    "rate_hz": (_is_rate, "not a number of frames per second"),
    "letters": (lambda v: v in get_args(Letters), f"not one of {', '.join(get_args(Letters))}"),
    "sampling": (lambda v: v in get_args(Sampling), f"not one of {', '.join(get_args(Sampling))}"),
    "whiskers": (_are_whiskers, "not a list of whiskers, each once"),
}
