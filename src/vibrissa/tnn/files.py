"""Files of tensors and text: written whole, known by a digest, read without running code."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from vibrissa.core.errors import InputError
from vibrissa.core.files import atomic_path, digest_of_bytes

_DIGEST: Final = "sha256"


def write_tensors(path: Path | str, content: Mapping[str, Any]) -> None:
    """Write tensors, mappings of such, numbers and text to one file, whole or not at all.

    A SHA-256 over all of it stands beside, under ``sha256``.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_path(path) as partial:
        torch.save({**content, _DIGEST: _digest(content)}, partial)


def read_tensors(
    path: Path | str, form: str, what: str, map_location: Any = None
) -> dict[str, Any]:
    """Read what :func:`write_tensors` wrote.

    Files without a digest, which earlier versions wrote, are known by the checksums of their
    parts alone.

    Args:
        path: the file.
        form: what its entry ``format`` must be.
        what: what to call it in an error.
        map_location: where to put the tensors, as for ``torch.load``.

    Raises:
        InputError: no such file, a broken one, one whose content is not that which was written,
            or one of another form.
    """
    if not Path(path).exists():
        raise InputError(f"{path}: there is no such file; check the path.")
    try:
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()  # torch itself does not compare checksums
        content = None if changed else torch.load(path, map_location, weights_only=True)
    except Exception as error:  # zipfile and torch raise many kinds for files that are not theirs
        raise InputError(
            f"{path}: not a saved {what}, or a damaged one ({_reason(error)}); "
            "give a file that save() wrote."
        ) from error
    if changed is None and (not isinstance(content, dict) or content.get("format") != form):
        raise InputError(
            f"{path}: not a saved {what} of this version ({form}); give a file that save() wrote."
        )
    wanted = None if content is None else content.pop(_DIGEST, None)
    found = None if content is None else _digest(content)
    if content is None or (None not in (wanted, found) and wanted != found):
        raise InputError(
            f"{path}: a damaged {what} (its content is not what was written); "
            "copy it again from where it came, or save it anew."
        )
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, PermissionError):
        return "it may not be read"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than tensors, numbers and text"
    return "cut short, changed, or of another kind"


def _digest(content: Mapping[str, Any]) -> str | None:
    """SHA-256 over names, types, shapes and values, on whatever device; None without values."""
    entries = list(_entries(content, ""))
    if any(isinstance(value, Tensor) and value.is_meta for _, value in entries):
        return None
    return digest_of_bytes(*(part for entry in entries for part in _parts(*entry)))


def _entries(content: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(content):
        value = content[name]
        if isinstance(value, Mapping):
            yield from _entries(value, f"{place}{name}/")
        else:
            yield f"{place}{name}", value


def _parts(name: str, value: Any) -> Iterator[bytes | memoryview]:
    yield name.encode()
    if isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        plain = value.detach().cpu().contiguous().reshape(-1)
        yield memoryview(plain.view(torch.uint8).numpy())  # pyright: ignore[reportArgumentType]
    else:
        yield repr(value).encode()
