"""Manifests: how a saved thing came about. Equal work gives equal bytes: no times, no hosts."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import digest_of_bytes

MANIFEST_VERSION: Final = 1
_PACKAGES: Final = ("vibrissa", "numpy", "scipy", "torch", "warp-lang", "mujoco")
_LARGEST_LISTED_ARRAY: Final = 64


def version_of(package: str) -> str | None:
    """Version of an installed distribution, read without importing it; None if absent."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, those that are installed."""
    return dict(_versions())


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    # Looking them up takes tens of milliseconds, and they cannot change while this process runs.
    found = [("python", platform.python_version())]
    found += [(name, number) for name in _PACKAGES if (number := version_of(name)) is not None]
    return tuple(found)


def to_tree(value: Any) -> Any:
    """Turn a resolved configuration into plain JSON types.

    Dataclasses become objects with their class under ``type``; arrays of more than 64 elements
    become shape, dtype and SHA-256; numbers that JSON lacks become ``"nan"``, ``"inf"`` or
    ``"-inf"``.

    Raises:
        InputError: something has no such form.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Path):
        return value.as_posix()
    if is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return {"type": kind} | {f.name: to_tree(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise refuse("manifest", key, "a key must be text", "name the entries")
        return {key: to_tree(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_tree(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [to_tree(item) for item in value]
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        return _array_to_tree(value)
    raise refuse("manifest", value, f"a {type(value).__name__} has no JSON form", "leave it out")


def _array_to_tree(value: Any) -> Any:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.hasobject:
        raise refuse("manifest", value, "an array of objects has no JSON form", "leave it out")
    if array.ndim == 0:
        return to_tree(array.item())
    if array.size <= _LARGEST_LISTED_ARRAY:
        return to_tree(array.tolist())
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sha256": digest_of_bytes(little.tobytes()),
    }


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What made a saved thing.

    Attributes:
        what: what it is, for instance ``"sweep"``.
        config: the resolved configuration as a JSON tree (see :func:`to_tree`).
        seed: the root seed; None where nothing was random.
        versions: package name -> version.
        inputs: name of each input -> its SHA-256.
    """

    what: str
    config: Any = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=versions)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        what: str,
        config: object = None,
        *,
        seed: int | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> Manifest:
        """The manifest of work done here and now with this configuration."""
        return cls(what=what, config=to_tree(config), seed=seed, inputs=dict(inputs or {}))

    def to_json(self) -> str:
        """Text with sorted keys, ending in a newline; equal manifests give equal text."""
        tree = {"manifest": MANIFEST_VERSION} | {
            f.name: to_tree(getattr(self, f.name)) for f in fields(self)
        }
        return (
            json.dumps(tree, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
        )

    @classmethod
    def from_json(cls, text: str, *, origin: str = "manifest") -> Manifest:
        """Read what :meth:`to_json` wrote.

        Args:
            text: the JSON text.
            origin: what to call it in an error, for instance the file.

        Raises:
            InputError: it is no manifest, or one of a newer version.
        """
        try:
            tree = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{origin}: not JSON ({error}); restore the file.") from error
        if not isinstance(tree, dict) or "manifest" not in tree:
            raise InputError(f"{origin}: not a manifest; give a file written by vibrissa.")
        number = tree.pop("manifest")
        if number != MANIFEST_VERSION:
            raise refuse(
                f"{origin}: version",
                number,
                f"this release reads version {MANIFEST_VERSION}",
                "upgrade vibrissa",
            )
        names = {f.name for f in fields(cls)}
        if set(tree) != names:
            odd = sorted(set(tree) ^ names)
            raise refuse(origin, odd, "missing or unknown fields", "restore the file")
        return cls(**tree)
