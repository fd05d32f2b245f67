"""Large HDF5 files that tell damage before it is read: plain text in front, digests behind.

512 bytes of text come first, which HDF5 passes over as a user block; then HDF5; then, beyond its
end, the SHA-256 of each 256 KiB of it. A block is handed on only after it was compared with its
digest, so a part of a large file is checked without reading the rest, and HDF5's own parser, which
may crash at bytes that make no sense, never meets any. Any other HDF5 reader opens the file as it
is.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from vibrissa.core.errors import InputError
from vibrissa.core.files import atomic_path

HEADER_BYTES: Final = 512
BLOCK_BYTES: Final = 2**18
_DIGEST_BYTES: Final = 32
_MARK: Final = "vibrissa sealed blocks, version 1"
_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_HEADER: Final = re.compile(
    _MARK + r"\nblock_bytes (\d{1,12})\nbody_bytes (\d{1,18})\nsha256_of_digests ([0-9a-f]{64})\n"
)


@contextmanager
def sealed_h5(path: Path) -> Iterator[Any]:
    """An HDF5 file to be filled; it is sealed and appears under ``path``, or not at all.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    import h5py

    with atomic_path(path) as temporary:
        with h5py.File(temporary, "w", userblock_size=HEADER_BYTES) as file:
            yield file
        with temporary.open("r+b") as stream:
            stream.seek(HEADER_BYTES)
            digests = bytearray()
            body = 0
            while block := stream.read(BLOCK_BYTES):
                digests += hashlib.sha256(block).digest()
                body += len(block)
            stream.write(digests)
            stream.seek(0)
            stream.write(_header(BLOCK_BYTES, body, hashlib.sha256(digests).hexdigest()))


def sealed_bytes(path: Path, kind: str) -> bytes | None:
    """All of a sealed file, each byte checked, for ``h5py.File``; None as :func:`sealed_stream`.

    Raises:
        InputError: as there, or any byte differs from what was written.
    """
    stream = sealed_stream(path, kind)
    if stream is None:
        return None
    with stream:
        found = stream.read()
        if stream.damage:
            raise InputError(stream.damage)
        return found


def sealed_stream(path: Path, kind: str = "Activations file") -> SealedStream | None:
    """What ``h5py.File`` should read; None where HDF5's own beginning comes first, so that nothing
    seals the file.

    Args:
        path: the file.
        kind: what it should be, for the message.

    Raises:
        InputError: the file cannot be read, its header is damaged, or it is cut short.
    """
    try:
        with path.open("rb") as stream:
            plain = stream.read(len(_SIGNATURE)) == _SIGNATURE
        return None if plain else SealedStream(path, kind)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions."
        ) from error


class SealedStream(io.RawIOBase):
    """A sealed file as a stream of which every byte was checked before it is handed out.

    A damaged block reads as zeros and is told of in ``damage``: an exception amid a read would
    leave HDF5 in disorder. Whoever reads must look there after every step.

    Attributes:
        damage: a sentence on the first that was found, or ``""``.

    Raises:
        InputError: the header or the list of digests is damaged, or the file is cut short.
    """

    def __init__(self, path: Path, kind: str = "Activations file") -> None:
        super().__init__()
        self.damage = ""
        self._path = path
        self._kind = kind
        self._at = 0
        self._stream = path.open("rb", buffering=0)
        try:
            self._read_seal()
        except BaseException:
            self._stream.close()
            raise

    def _read_seal(self) -> None:
        header = self._stream.read(HEADER_BYTES) or b""
        if header and not header.startswith(_MARK[:8].encode()):
            raise InputError(
                f"{self._path}: not an {self._kind} (it begins with {header[:16]!r}); give another "
                "file, or restore this one from a copy."
            )
        found = _HEADER.match(header.decode("latin-1"))
        if found is None or header != _header(int(found[1]), int(found[2]), found[3]):
            raise self._damaged("its header is not that of a sealed file")
        self._block, body = int(found[1]), int(found[2])
        if not self._block:
            raise self._damaged("its header is not that of a sealed file")
        self._end = HEADER_BYTES + body
        count = -(-body // self._block)
        wanted = self._end + count * _DIGEST_BYTES
        size = os.fstat(self._stream.fileno()).st_size
        if size != wanted:
            raise self._damaged(f"it has {size} bytes where {wanted} were written")
        self._stream.seek(self._end)
        self._digests = self._exactly(count * _DIGEST_BYTES)
        if hashlib.sha256(self._digests).hexdigest() != found[3]:
            raise self._damaged("its list of digests is damaged")
        self._checked = bytearray(count)

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size and (part := self._stream.read(size - len(parts))):
            parts += part
        return bytes(parts)

    def _is_good(self, block: int) -> bool:
        if self._checked[block]:
            return True
        start = HEADER_BYTES + block * self._block
        self._stream.seek(start)
        held = self._exactly(min(self._block, self._end - start))
        digest = self._digests[block * _DIGEST_BYTES : (block + 1) * _DIGEST_BYTES]
        if hashlib.sha256(held).digest() != digest:
            what = f"bytes {start} to {start + len(held)} differ from their digest"
            self.damage = self.damage or str(self._damaged(what))
            return False
        self._checked[block] = 1
        return True

    def _damaged(self, why: str) -> InputError:
        return InputError(
            f"{self._path}: {why}, so it is damaged or cut short; "
            "write it again or restore it from a copy."
        )

    # --- the stream ------------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        size = max(0, min(len(buffer), self._end - self._at))
        if size and self._at + size > HEADER_BYTES:
            first = max(0, self._at - HEADER_BYTES) // self._block
            last = (self._at + size - 1 - HEADER_BYTES) // self._block
            if not all(self._is_good(block) for block in range(first, last + 1)):
                memoryview(buffer)[:size] = bytes(size)
                self._at += size
                return size
        self._stream.seek(self._at)
        got = self._exactly(size)
        memoryview(buffer)[: len(got)] = got
        self._at += len(got)
        return len(got)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _header(block: int, body: int, digest: str) -> bytes:
    text = f"{_MARK}\nblock_bytes {block}\nbody_bytes {body}\nsha256_of_digests {digest}\n"
    return text.encode().ljust(HEADER_BYTES - 1, b" ") + b"\n"
