"""Sealed HDF5 files: 512 bytes of plain text with the SHA-256 of all that follows, then HDF5.

HDF5 calls such a beginning a user block and passes over it, so that any reader opens the file. The
seal makes each file tell by itself whether it is whole, without a second file that could be lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path

if TYPE_CHECKING:
    import h5py

HEADER_BYTES: Final = 512
_MARK: Final = "vibrissa sealed file, version 1"


@contextmanager
def sealed_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to be filled; it appears under ``path`` whole or not at all.

    It is made in memory and written at one go: the disk sees no half-made file, and a full disk
    is met where it can be told from an error in the data.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    import h5py

    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        body = file.id.get_file_image()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_header(hashlib.sha256(body).hexdigest()))
        stream.write(body)


def write_dataset(group: h5py.Group, name: str, **options: Any) -> None:
    """Create a dataset whose place in the file depends on nothing but what was written before.

    HDF5 lays out chunks when a dataset is closed, which h5py does when Python lets go of it; a
    profiler that holds the frames of other threads (every Dask worker has one) delays that.
    """
    group.create_dataset(name, **options)
    group.file.flush()


def seal_of(path: Path) -> str:
    """The SHA-256 that the file says its contents have; reads the first 512 bytes only.

    Raises:
        InputError: no such file, or not a sealed one.
    """
    try:
        with path.open("rb") as stream:
            header = stream.read(HEADER_BYTES)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    return seal_in(path, header)


def check_seal(path: Path) -> str:
    """Read the whole file and compare it with its seal; returns the SHA-256.

    Raises:
        InputError: the file is not there, cut short, or differs from its seal in any byte.
    """
    try:
        with path.open("rb") as stream:
            header = stream.read(HEADER_BYTES)
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions."
        ) from error
    sealed = seal_in(path, header)
    if found != sealed:
        raise refuse(
            f"{path}: SHA-256", found[:16], f"the file was sealed with {sealed[:16]}, so it is "
            "damaged or cut short", "build again, which replaces it",
        )  # fmt: skip
    return sealed


def _header(digest: str) -> bytes:
    return f"{_MARK}\nsha256 {digest}\n".encode().ljust(HEADER_BYTES - 1, b" ") + b"\n"


def seal_in(path: Path, header: bytes) -> str:
    """The SHA-256 that the first 512 bytes of a file name.

    Raises:
        InputError: they are not those of a sealed file.
    """
    start = len(_MARK) + len("\nsha256 ")
    digest = header[start : start + 64].decode("ascii", errors="replace")
    if header != _header(digest):
        raise refuse(
            f"{path}: header", header[:40], "not that of a sealed file, so it is damaged, cut "
            "short or another kind of file", "build again, which replaces it",
        )  # fmt: skip
    return digest
