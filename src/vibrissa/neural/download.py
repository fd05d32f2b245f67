"""Fetching a dandiset: whole files, or thin copies with trials and units alone; resumable.

Nothing here is needed to read files that are already at hand.
"""

from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, Protocol

from vibrissa.core.errors import InputError, MissingExtraError, OutputError, refuse, require_extra
from vibrissa.core.files import digest_of_file
from vibrissa.core.progress import is_watched, progress
from vibrissa.neural.nwb_thin import is_thin, thin_copy

Only = Literal["trials-units", "all"]
_PIECE: Final = 8 * 2**20
_BLOCK: Final = 2**20
_BLOCKS_KEPT: Final = 64
_TIMEOUT_S: Final = 60.0
_TRIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One file of an archive.

    Attributes:
        path: its path there, with forward slashes.
        size: bytes.
        address: where to read it; whatever the archive understands.
    """

    path: str
    size: int
    address: str = ""


class Archive(Protocol):
    """Where files come from; a fake one serves tests."""

    def assets(self) -> Sequence[Asset]:
        """All files."""
        ...

    def read(self, asset: Asset, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file; OSError if they cannot be had."""
        ...

    def sha256(self, asset: Asset) -> str:
        """Digest of a file as hexadecimal text, ``""`` if the archive does not know it."""
        ...

    def advice(self) -> str:
        """What to do if the archive cannot be reached, a sentence without the full stop."""
        ...


@dataclass(frozen=True, kw_only=True)
class DandiArchive:
    """A dandiset at dandiarchive.org, through the package dandi.

    Attributes:
        dandiset: its number, six digits.
        version: a published version, or ``draft``.

    Raises:
        InputError: no number of a dandiset.
    """

    dandiset: str = "000231"
    version: str = "0.220904.1554"
    _remote: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (len(self.dandiset) == 6 and self.dandiset.isdigit()):
            raise refuse("dandiset", self.dandiset, "not six digits", "give one as 000231")

    def advice(self) -> str:
        where = f"https://dandiarchive.org/dandiset/{self.dandiset}/{self.version}"
        return (
            f"on a machine with network run this command, or: dandi download {where}, and copy "
            "the folder here"
        )

    def assets(self) -> list[Asset]:
        try:
            require_extra("dandi", "dandi", "fetching a dandiset")
        except MissingExtraError as error:
            raise MissingExtraError(f"{str(error).rstrip('.')}; or {self.advice()}.") from error
        api = import_module("dandi.dandiapi")
        log = logging.getLogger("dandi")
        level = log.level
        log.setLevel(logging.CRITICAL)  # it prints tracebacks of what is said in a sentence below
        try:
            with api.DandiAPIClient() as client:
                remote = list(client.get_dandiset(self.dandiset, self.version).get_assets())
        except Exception as error:
            # Whatever its client raises, the user needs the way out and not a traceback.
            raise InputError(
                f"dandiset {self.dandiset}: the archive cannot be reached "
                f"({_short(error)}); {self.advice()}."
            ) from error
        finally:
            log.setLevel(level)
        self._remote.update({one.path: one for one in remote})
        return [
            Asset(path=one.path, size=int(one.size), address=one.base_download_url)
            for one in remote
        ]

    def sha256(self, asset: Asset) -> str:
        try:
            digest = self._remote[asset.path].get_raw_metadata().get("digest", {})
        except Exception:
            return ""  # the size has been checked; the digest is a second look
        return str(digest.get("dandi:sha2-256", ""))

    def read(self, asset: Asset, start: int, stop: int) -> bytes:
        return read_range(asset.address, start, stop)


def read_range(address: str, start: int, stop: int) -> bytes:
    """Bytes [start, stop) of what is at an http address.

    Raises:
        OSError: it cannot be had, or the server does not serve ranges.
    """
    import urllib.request

    request = urllib.request.Request(address, headers={"Range": f"bytes={start}-{stop - 1}"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        if answer.status != 206:
            raise OSError(f"the server answered {answer.status} instead of a part of the file")
        return answer.read()


@dataclass(frozen=True, kw_only=True)
class DownloadReport:
    """What :func:`fetch` did.

    Attributes:
        planned: the files that match.
        fetched: files that were fetched now.
        kept: files that were there already.
        failed: path and reason of those that could not be fetched.
        n_bytes: bytes that went over the line.
    """

    planned: tuple[Asset, ...]
    fetched: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    n_bytes: int = 0

    def sentence(self) -> str:
        """All this in one line."""
        total = sum(asset.size for asset in self.planned)
        return (
            f"{len(self.planned)} files of {total / 1e9:.1f} GB match; {len(self.fetched)} "
            f"fetched ({self.n_bytes / 1e6:.1f} MB), {len(self.kept)} kept, "
            f"{len(self.failed)} failed"
        )


def fetch(
    archive: Archive,
    out: Path | str,
    *,
    only: Only = "trials-units",
    match: str = "*",
    dry_run: bool = False,
    quiet: bool = False,
) -> DownloadReport:
    """Fetch the files of an archive; run it again to go on where it stopped.

    Args:
        archive: where from.
        out: folder to write to; paths below it are those of the archive.
        only: ``all`` for whole files; ``trials-units`` for thin copies (see
            :mod:`vibrissa.neural.nwb_thin`), read through the network in blocks.
        match: only files whose path matches, with ``*`` and ``?``.
        dry_run: look, and fetch nothing.
        quiet: no progress bar.

    Returns:
        What was done; a file that fails does not keep the others from being fetched.

    Raises:
        InputError: the archive cannot be reached, or no file matches.
        MissingExtraError: the package that the archive needs is not installed.
    """
    if only not in ("all", "trials-units"):
        raise refuse("only", only, "unknown", "choose all or trials-units")
    known = archive.assets()
    planned = sorted((a for a in known if fnmatch(a.path, match)), key=lambda a: a.path)
    if not planned:
        raise refuse("match", match, f"none of {len(known)} files matches", "use * and ?")
    if dry_run:
        return DownloadReport(planned=tuple(planned))
    fetched: list[Path] = []
    kept: list[Path] = []
    failed: list[tuple[str, str]] = []
    line = _Line(archive)
    with progress("fetching", total=len(planned), unit="file", quiet=not is_watched(quiet)) as bar:
        for asset in planned:
            bar.set_postfix_str(PurePosixPath(asset.path).name[:40])
            try:
                path = _place(Path(out), asset)
                new = _thin(line, asset, path) if only != "all" and _is_nwb(asset.path) else None
                new = _whole(line, asset, path) if new is None else new
                (fetched if new else kept).append(path)
            except OutputError:
                raise  # no space: the others will fail as well
            except (OSError, InputError) as error:
                failed.append((asset.path, _short(error)))
            bar.update(1)
    if failed and not fetched and not kept:
        raise InputError(f"nothing could be fetched ({failed[0][1]}); {archive.advice()}.")
    return DownloadReport(
        planned=tuple(planned), fetched=tuple(fetched), kept=tuple(kept), failed=tuple(failed),
        n_bytes=line.n_bytes,
    )  # fmt: skip


# --- helpers ---------------------------------------------------------------------------------


class _Line:
    """Reads from an archive, tries again, and counts bytes."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.n_bytes = 0

    def read(self, asset: Asset, start: int, stop: int) -> bytes:
        for attempt in range(_TRIES):
            try:
                data = self.archive.read(asset, start, stop)
            except OSError:
                if attempt == _TRIES - 1:
                    raise
                continue
            if len(data) == stop - start:
                self.n_bytes += len(data)
                return data
        raise OSError(f"the archive gave fewer bytes than asked for at {start}")


def _is_nwb(path: str) -> bool:
    return path.endswith(".nwb")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def _place(out: Path, asset: Asset) -> Path:
    parts = PurePosixPath(asset.path).parts
    if not parts or any(part in ("..", "/") for part in parts):
        raise InputError(f"{asset.path}: a path that leads out of the folder; not fetched.")
    return out.joinpath(*parts)


def _thin(line: _Line, asset: Asset, path: Path) -> bool:
    """Write a thin copy unless there is one or the whole file; True if it was written."""
    import h5py

    if path.exists() and (path.stat().st_size == asset.size or is_thin(path)):
        return False
    with h5py.File(RemoteFile(line, asset), "r") as source:
        thin_copy(source, path)
    return True


def _whole(line: _Line, asset: Asset, path: Path) -> bool:
    """Fetch a file piece by piece, from where an earlier run stopped; True if it was fetched."""
    if path.exists() and path.stat().st_size == asset.size:
        return False
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        done = part.stat().st_size if part.exists() else 0
        if done > asset.size:
            part.unlink()
            done = 0
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}).") from error
    while done < asset.size:
        data = line.read(asset, done, min(done + _PIECE, asset.size))
        try:
            with part.open("ab") as stream:
                stream.write(data)
        except OSError as error:
            raise OutputError(
                f"{part}: cannot be written ({error.strerror}); free some space."
            ) from error
        done += len(data)
    if not asset.size:
        part.touch()
    digest = line.archive.sha256(asset)
    if digest and digest_of_file(part) != digest:
        part.unlink()
        raise InputError(f"{asset.path}: what came is not what the archive holds; fetch it again.")
    part.replace(path)
    return True


class RemoteFile(io.RawIOBase):
    """A file of an archive as h5py wants it: read in blocks of 1 MiB, the last 64 kept."""

    def __init__(self, line: Any, asset: Asset) -> None:
        super().__init__()
        self._line, self._asset = line, asset
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._asset.size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), max(0, self._asset.size - self._place))
        done = 0
        while done < wanted:
            number, inside = divmod(self._place + done, _BLOCK)
            piece = self._block(number)[inside : inside + wanted - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._place += done
        return done

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            stop = min(start + _BLOCK, self._asset.size)
            self._blocks[number] = self._line.read(self._asset, start, stop)
            if len(self._blocks) > _BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]
