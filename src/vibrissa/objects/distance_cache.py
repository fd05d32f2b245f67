"""The disk cache of distance fields: one uncompressed npz file per digest, verified when read.

The cache is a convenience: nothing that goes wrong with it may stop or change a result. A file
that is damaged, cut short or foreign counts as absent and is replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.core.files import atomic_path
from vibrissa.objects.distance_field import DistanceField

FORMAT: Final = "vibrissa-distance-field-1"
ENVIRONMENT_VARIABLE: Final = "VIBRISSA_CACHE"

_in_use: ContextVar[bool] = ContextVar("distance cache in use", default=True)


@contextmanager
def no_cache() -> Iterator[None]:
    """In this block of this thread no distance field is read from or written to any cache.

    Meant for work on many objects, each of which comes once: their fields would fill the disk.
    """
    token = _in_use.set(False)
    try:
        yield
    finally:
        _in_use.reset(token)


def in_use() -> bool:
    """Whether the cache may be used here: not within :func:`no_cache`."""
    return _in_use.get()


def cache_folder(cache_dir: Path | str | None = None) -> Path | None:
    """The folder of cached distance fields, which may not exist yet.

    Args:
        cache_dir: the user's choice; else the environment variable VIBRISSA_CACHE, else the
            user's cache folder of the platform.

    Returns:
        The folder, or None if there is no home folder to put it in.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen:
        return Path(chosen) / "distance"
    try:
        if sys.platform == "darwin":
            root = Path.home() / "Library" / "Caches"
        elif sys.platform == "win32":
            root = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        else:
            root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return root / "vibrissa" / "distance"


def cache_path(folder: Path, digest: str) -> Path:
    """The file of a field."""
    return folder / f"{digest}.npz"


def read(folder: Path, digest: str) -> DistanceField | None:
    """The cached field of this digest, or None if there is no whole one."""
    try:
        with (
            cache_path(folder, digest).open("rb") as stream,
            np.load(stream, allow_pickle=False) as stored,
        ):
            header = json.loads(stored["header"].tobytes())
            values = np.ascontiguousarray(stored["values_mm"])
        if (
            header["format"] != FORMAT
            or header["digest"] != digest
            or values.dtype != np.float32
            or header["values_sha256"] != hashlib.sha256(values.data).hexdigest()
        ):
            return None
        return DistanceField(
            values_mm=values,
            origin_mm=np.array(header["origin_mm"], dtype=np.float64),
            spacing_mm=header["spacing_mm"],
            padding_mm=header["padding_mm"],
            sign_rule=header["sign_rule"],
            shell_offset_mm=header["shell_offset_mm"],
            digest=digest,
        )
    except Exception:  # numpy, zipfile and json raise many kinds on damaged files
        return None


def write(folder: Path, field: DistanceField) -> bool:
    """Store a field; False if the folder does not let it."""
    header = {
        "format": FORMAT,
        "digest": field.digest,
        "values_sha256": hashlib.sha256(field.values_mm.data).hexdigest(),
        "origin_mm": field.origin_mm.tolist(),
        "spacing_mm": field.spacing_mm,
        "padding_mm": field.padding_mm,
        "sign_rule": field.sign_rule,
        "shell_offset_mm": field.shell_offset_mm,
    }
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    try:
        with atomic_path(cache_path(folder, field.digest)) as partial:
            np.savez(partial, header=text, values_mm=field.values_mm)
    except (InputError, OSError):
        return False
    return True
