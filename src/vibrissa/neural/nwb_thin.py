"""Thin copies of NWB files: all tables, spikes and contacts, without voltage and video tracking.

What is left out keeps its name, shape and type, so that the file still says when was recorded; it
reads as zeros and takes no room. The names are listed in the attribute ``vibrissa_left_out`` of
the root.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.core.files import atomic_path

if TYPE_CHECKING:
    import h5py

LEFT_OUT: Final = "vibrissa_left_out"
LARGEST_BYTES: Final = 2 * 2**20
"""Arrays above this size are left out, wherever they stand, unless they belong to the units."""
_CHUNK_ROWS: Final = 2**16


def thin_copy(source: h5py.File, path: Path | str, *, largest_bytes: int = LARGEST_BYTES) -> Path:
    """Write a thin copy of an open NWB file; it stands there whole or not at all.

    Args:
        source: the file, which may be a remote one; only what is copied is read.
        path: where to write.
        largest_bytes: larger arrays are left out; those of units and intervals never are.

    Raises:
        InputError: not an NWB file.
    """
    import h5py

    if "nwb_version" not in source.attrs and "neurodata_type" not in source.attrs:
        raise InputError(f"{Path(path).name}: not an NWB file; leave it out.")
    left_out: list[str] = []
    # References point into their own file, so they are made again once all their targets stand.
    references: list[tuple[str, str, str]] = []
    tables: list[tuple[str, tuple[int, ...], list[str]]] = []
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as target:

        def copy(group: Any, into: Any) -> None:
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    into[name] = link
                    continue
                item = group[name]
                if isinstance(item, h5py.Group):
                    made = into.create_group(name)
                    _attributes(item, made, references)
                    copy(item, made)
                elif _large(item, largest_bytes):
                    shape = (min(_CHUNK_ROWS, item.shape[0]), *item.shape[1:])
                    made = into.create_dataset(name, item.shape, item.dtype, chunks=shape)
                    _attributes(item, made, references)
                    left_out.append(item.name)
                elif item.shape and h5py.check_ref_dtype(item.dtype) is h5py.Reference:
                    made = into.create_dataset(name, item.shape, item.dtype)
                    _attributes(item, made, references)
                    names = [str(source[one].name) if one else "" for one in item[()].ravel()]
                    tables.append((made.name, item.shape, names))
                else:
                    source.copy(item, into, name=name, without_attrs=True)
                    _attributes(item, into[name], references)

        _attributes(source, target, references)
        copy(source, target)
        for place, key, wanted in references:
            if wanted in target:
                target[place].attrs[key] = target[wanted].ref
        for place, shape, names in tables:
            filled = np.empty(len(names), dtype=h5py.ref_dtype)
            filled[:] = [target[one].ref if one in target else h5py.Reference() for one in names]
            made = target[place]
            assert isinstance(made, h5py.Dataset)
            made[...] = filled.reshape(shape)
        target.attrs[LEFT_OUT] = np.array(left_out, dtype=h5py.string_dtype())
    return Path(path)


def is_thin(path: Path) -> bool:
    """Whether a file is a thin copy."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return LEFT_OUT in file.attrs
    except OSError:
        return False


def _large(item: Any, largest_bytes: int) -> bool:
    kept = item.name.startswith(("/units/", "/intervals/"))
    return bool(item.shape) and not kept and item.size * item.dtype.itemsize > largest_bytes


def _attributes(item: Any, made: Any, references: list[tuple[str, str, str]]) -> None:
    import h5py

    for key, value in item.attrs.items():
        if isinstance(value, h5py.Reference):
            if value:
                references.append((made.name, key, item.file[value].name))
        elif not (isinstance(value, np.ndarray) and h5py.check_ref_dtype(value.dtype)):
            made.attrs[key] = value
