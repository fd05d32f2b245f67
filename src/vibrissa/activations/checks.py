"""What holds of activations, in memory and in files alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

import numpy as np

from vibrissa.core.axes import ACTIVATION_AXES
from vibrissa.core.errors import InputError, refuse, refuse_unknown

LayerKind = Literal["input", "encoder", "attender", "decoder", "other"]
KINDS: Final[tuple[str, ...]] = get_args(LayerKind)
"""What a layer may be a part of; ``other`` for networks that are not built of these."""
_COLUMNS: Final = "fiubU"


def checked_words(what: str, words: Sequence[str]) -> tuple[str, ...]:
    """Names, each once.

    Raises:
        InputError: none at all, an empty one, no text, or one that stands twice.
    """
    if isinstance(words, str):
        raise refuse(what, words, "one text, not a list of names", "put it in brackets")
    names = tuple(words)
    if not names:
        raise refuse(what, [], "there are none", "name one or more")
    for name in names:
        if not isinstance(name, str) or not name or "\0" in name:
            raise refuse(what, name, "no name", "give each a name in text")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise refuse(what, name, "it stands twice", "name each once")
        seen.add(name)
    return tuple(str(name) for name in names)


def checked_stimuli(stimuli: Sequence[str]) -> tuple[str, ...]:
    """See :func:`checked_words`."""
    return checked_words("stimuli", stimuli)


def positions(known: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Places (n,) of stimuli by name.

    Raises:
        InputError: an unknown name or one that stands twice.
    """
    place = {name: k for k, name in enumerate(known)}
    for name in checked_stimuli(wanted):
        if name not in place:
            raise refuse_unknown("stimulus", name, known)
    return np.array([place[name] for name in wanted], dtype=np.int64)


def time_mean(values: np.ndarray, first: int) -> np.ndarray:
    """Mean (stimulus, unit) float64 of (stimulus, time, unit) over the steps from ``first`` on."""
    return values[:, first:].mean(axis=1, dtype=np.float64)


def check_layer(
    name: str, shape: Sequence[int], kind: str, first: object, unit_shape: Sequence[int]
) -> None:
    """Check what is said of a layer against its (time, unit).

    Raises:
        InputError: it does not fit.
    """
    checked_words("layers", (name,))
    time, units = shape
    if kind not in KINDS:
        raise refuse_unknown(f"kind of layer {name!r}", str(kind), KINDS)
    whole = isinstance(first, int | np.integer) and not isinstance(first, bool)
    if not whole or not 0 <= first < time:  # type: ignore[operator]
        raise refuse(
            f"first_input_step of layer {name!r}", first, f"not one of its {time} steps",
            f"give 0 to {time - 1}",
        )  # fmt: skip
    if math.prod(unit_shape) != units or min(unit_shape, default=1) < 1:
        raise refuse(
            f"unit_shape of layer {name!r}", tuple(unit_shape), f"there are {units} units",
            "give the axes that were flattened",
        )  # fmt: skip


def checked_times(name: str, times: Any, steps: int) -> np.ndarray:
    """Times (time,) float64 of the steps of a layer.

    Raises:
        InputError: not so many, not finite or not rising.
    """
    try:
        found = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise refuse(f"times_s of layer {name!r}", times, "no numbers", "give seconds") from error
    if found.shape != (steps,) or not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        raise refuse(
            f"times_s of layer {name!r}", found.tolist(), f"not {steps} rising times",
            "give the end of each step in seconds",
        )  # fmt: skip
    return found


def checked_metadata(metadata: Mapping[str, Any], count: int) -> dict[str, np.ndarray]:
    """Columns (stimulus,) of float64, int64, bool or text, sorted by name.

    Raises:
        InputError: another kind or length, or a bad name.
    """
    columns: dict[str, np.ndarray] = {}
    for name in sorted(checked_words("metadata", tuple(metadata)) if metadata else ()):
        given = metadata[name]
        if "/" in name or name == ".":
            raise refuse("metadata", name, "no name for a column", "leave out slashes")
        values = np.asarray(given)
        if values.dtype == object and all(isinstance(v, str) for v in values.reshape(-1)):
            values = values.astype(np.str_)
        if values.shape != (count,) or values.dtype.kind not in _COLUMNS:
            raise refuse(
                f"metadata {name!r}", values.tolist(), f"not {count} numbers, truth values or "
                "texts", "give one per stimulus",
            )  # fmt: skip
        kind = {"f": np.float64, "i": np.int64, "u": np.int64}.get(values.dtype.kind)
        columns[name] = values if kind is None else values.astype(kind)
    return columns


def same_column(one: np.ndarray, other: np.ndarray) -> bool:
    numbers = one.dtype.kind == "f" and other.dtype.kind == "f"
    return bool(np.array_equal(one, other, equal_nan=numbers))


def numbers(name: str, given: Any) -> np.ndarray:
    try:
        values = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor with gradient or on a GPU
        raise refuse(
            f"layer {name!r}", type(given).__name__, "no array of numbers",
            "give numpy arrays, of a tensor t: t.detach().cpu().numpy()",
        ) from error  # fmt: skip
    if values.dtype.kind not in "fiub":
        raise refuse(f"layer {name!r}", str(values.dtype), "no real numbers", "give numbers")
    return values


def default_axes(name: str, array: np.ndarray) -> tuple[str, ...]:
    if array.ndim == 2:
        return ("batch", "unit")
    if array.ndim == 3:
        return ("batch", "time", "unit")
    raise refuse(
        f"layer {name!r}", array.shape, "its axes cannot be told",
        'declare them, as in axes="stimulus channel row column"',
    )  # fmt: skip


def checked_values(name: str, given: Any, count: int) -> np.ndarray:
    checked_words("layers", (name,))
    raw = numbers(name, given)
    if raw.ndim != 3 or raw.shape[0] != count or 0 in raw.shape:
        raise refuse(
            f"layer {name!r}", raw.shape, f"not (stimulus, time, unit) with {count} stimuli",
            "give these axes, or declare others with from_arrays",
        )  # fmt: skip
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(raw, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        where = dict(zip(ACTIVATION_AXES, np.argwhere(~finite)[0].tolist(), strict=True))
        raise InputError(
            f"layer {name!r} at {where}: a value is not finite in float32; "
            "mend the network or leave the layer out."
        )
    return values
