"""A shard: the recorded sweeps of one object in one sealed HDF5 file (docs/formats.md)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.axes import CHANNEL_UNITS, CHANNELS, SWEEP_AXES
from vibrissa.core.errors import InputError, refuse
from vibrissa.data.sealed import sealed_file, write_dataset

if TYPE_CHECKING:
    import h5py

FORMAT: Final = "vibrissa-shard"
FORMAT_VERSION: Final = 1
FRAMES: Final = {"base": "force_moment", "world": "force_moment_world"}
SUMMARY: Final = (
    "contact_share", "peak_force_uN", "peak_moment_uN_mm", "large_force_share", "flagged",
    "overlapping",
)  # fmt: skip
"""What is known of each sweep before it is resampled: the share of whisker frames in contact, the
largest force and moment, the share of frames above 5 mN, the number of whiskers whose trace is
flagged, and that of whiskers inside the felt surface at time 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardContent:
    """What a shard holds.

    Attributes:
        object: name of the object.
        label: its class.
        geometry: SHA-256 of its mesh before it is scaled, or "" without a mesh.
        source_sha256: SHA-256 of what it was made from (see :class:`Source`).
        recipe_sha256: digest of the recipe.
        whiskers: names along ``whisker``.
        rate_hz: frames per second.
        sampling: ``average`` or ``point``.
        loads: frame -> (sweep, time, whisker, channel) float32, uN and uN*mm; at least one of
            ``base`` and ``world``.
        contact: (sweep, time, whisker) bool.
        base_rotation: (1 or sweep, whisker, 3, 3) base frames in the world, or None where they
            move.
        summary: (sweep, len(SUMMARY)) float32.
        names: one per sweep.
        parameters: what the protocol varied, one JSON object per sweep.
        refused: (name, reason) of sweeps that were not simulated.
        redrawn: draws that the protocol threw away because of their placement.
        manifest: text of the manifest.
        likeness: what scaled, turned and re-ordered copies of the mesh share
            (:mod:`vibrissa.data.likeness`), or "".
    """

    object: str
    label: str
    geometry: str
    source_sha256: str
    recipe_sha256: str
    whiskers: tuple[str, ...]
    rate_hz: float
    sampling: str
    loads: dict[str, np.ndarray]
    contact: np.ndarray
    base_rotation: np.ndarray | None
    summary: np.ndarray
    names: tuple[str, ...]
    parameters: tuple[dict[str, Any], ...]
    refused: tuple[tuple[str, str], ...] = ()
    redrawn: int = 0
    manifest: str = field(default="", repr=False)
    likeness: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.loads or set(self.loads) - set(FRAMES):
            raise refuse("loads", sorted(self.loads), "no such frames", "give base or world")
        sweeps, frames, whiskers = self.contact.shape
        for frame, values in self.loads.items():
            if values.shape != (sweeps, frames, whiskers, len(CHANNELS)):
                raise refuse(f"loads[{frame}]", values.shape, "does not fit contact", "mend it")
            if not np.isfinite(values).all():
                where = np.argwhere(~np.isfinite(values))[0].tolist()
                place = dict(zip(SWEEP_AXES, where, strict=True))
                raise refuse(f"loads of {self.object}", place, "not finite", "simulate it again")
        counts = {"names": len(self.names), "parameters": len(self.parameters)}
        for name, count in (counts | {"summary": len(self.summary)}).items():
            if count != sweeps:
                raise refuse(name, count, f"there are {sweeps} sweeps", "give one for each")
        if len(self.whiskers) != whiskers:
            raise refuse("whiskers", self.whiskers, f"there are {whiskers}", "name each")


def write_shard(path: Path, content: ShardContent) -> None:
    """Write a shard, whole or not at all; equal contents give equal bytes.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    with sealed_file(path) as file:
        file.attrs["format"] = FORMAT
        file.attrs["version"] = FORMAT_VERSION
        file.attrs["axes"] = " ".join(SWEEP_AXES)
        file.attrs["channels"] = " ".join(CHANNELS)
        file.attrs["units"] = " ".join(CHANNEL_UNITS[c] for c in CHANNELS)
        for name in _PLAIN:
            file.attrs[name] = getattr(content, name)
        if content.likeness:
            file.attrs["likeness"] = content.likeness
        for frame, values in content.loads.items():
            _write_array(file, FRAMES[frame], values)
        _write_array(file, "contact", content.contact.astype(np.uint8))
        if content.base_rotation is not None:
            _write_array(file, "base_rotation", content.base_rotation.astype(np.float32))
        _write_array(file, "summary", content.summary.astype(np.float32))
        file["summary"].attrs["columns"] = " ".join(SUMMARY)
        _write_text(file, "whiskers", content.whiskers)
        _write_text(file, "names", content.names)
        _write_text(file, "parameters", [_compact(p) for p in content.parameters])
        _write_text(file, "refused", [_compact(list(pair)) for pair in content.refused])
        _write_text(file, "manifest", [content.manifest])


_PLAIN: Final = (
    "object", "label", "geometry", "source_sha256", "recipe_sha256", "rate_hz", "sampling",
    "redrawn",
)  # fmt: skip


class Shard:
    """A shard opened for reading; a context manager.

    Args:
        path: the file; its seal is not checked here (see :func:`check_seal`), but whatever is
            read is checked for its form.

    Attributes:
        object, label, geometry, source_sha256, recipe_sha256, rate_hz, sampling, redrawn: as in
            :class:`ShardContent`.
        likeness: likewise; "" in shards of earlier releases.
        whiskers: names along ``whisker``.
        frames: which of ``base`` and ``world`` are held.

    Raises:
        InputError: not a shard of this version, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise self._damaged(error) from error
        try:
            attributes = dict(self._file.attrs)
            self._check_header(attributes)
            for name in _PLAIN:
                value = attributes[name]
                setattr(self, name, value.item() if isinstance(value, np.generic) else value)
            self.likeness = str(attributes.get("likeness", ""))
            self.whiskers = self._text("whiskers")
            self.frames = tuple(f for f, name in FRAMES.items() if name in self._file)
            if not self.frames:
                raise KeyError("force_moment")
            self._loads = {frame: self._dataset(FRAMES[frame]) for frame in self.frames}
            self.shape: tuple[int, ...] = self._loads[self.frames[0]].shape
        except _DAMAGE as error:
            self.close()
            if isinstance(error, InputError):
                raise
            raise self._damaged(error) from error

    object: str
    label: str
    geometry: str
    source_sha256: str
    recipe_sha256: str
    rate_hz: float
    sampling: str
    redrawn: int

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sweeps."""
        return self._read(lambda: self._text("names"))

    @property
    def parameters(self) -> tuple[dict[str, Any], ...]:
        """What the protocol varied, one JSON object per sweep."""
        return self._read(lambda: tuple(json.loads(p) for p in self._text("parameters")))

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """(name, reason) of sweeps that were not simulated."""
        pairs = self._read(lambda: [json.loads(p) for p in self._text("refused")])
        return tuple((name, reason) for name, reason in pairs)

    @property
    def manifest(self) -> str:
        """Text of the manifest."""
        return self._read(lambda: self._text("manifest")[0])

    @property
    def summary(self) -> np.ndarray:
        """(sweep, len(SUMMARY)) float32."""
        values = self._read(lambda: self._dataset("summary")[()])
        if values.shape != (len(self), len(SUMMARY)):
            raise refuse(f"{self.path}: summary", values.shape, "of another shape", "build again")
        return values

    def loads(self, rows: slice | Sequence[int] | None = None, frame: str = "base") -> np.ndarray:
        """Loads (sweep, time, whisker, channel) float32, uN and uN*mm.

        Args:
            rows: which sweeps; all by default.
            frame: ``base`` or ``world``; loads in world axes are had from those in base axes
                where the bases stand still.

        Raises:
            InputError: the shard does not hold this frame, or it is damaged.
        """
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        chosen = range(len(self)) if chosen is None else chosen
        if frame in self._loads:
            return self._read(lambda: self._decoded(self._loads[frame], chosen))
        if frame == "world" and "base_rotation" in self._file:
            from vibrissa.simulation.sweep import rotate_loads

            base = self.loads(rows, "base")
            turns = self._read(lambda: self._dataset("base_rotation")[()])
            if len(turns) != 1:
                turns = turns[np.asarray(chosen, dtype=np.int64)]
            return rotate_loads(base, turns[:, None])
        raise refuse(
            "frame", frame, f"{self.path} holds {' and '.join(self.frames)} only",
            f"choose {self.frames[0]}",
        )  # fmt: skip

    def contact(self, rows: slice | Sequence[int] | None = None) -> np.ndarray:
        """Whether each whisker touched during each frame, (sweep, time, whisker) bool."""
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        chosen = range(len(self)) if chosen is None else chosen
        values = self._read(lambda: self._decoded(self._dataset("contact"), chosen))
        return values.astype(bool)

    def places(self) -> dict[str, tuple[list[int], list[int]]]:
        """Name of each array of loads -> offset in the file, and size, of each sweep's chunk."""
        from vibrissa.data.chunks import chunk_places

        names = [FRAMES[frame] for frame in self.frames]
        return self._read(lambda: {n: chunk_places(self.path, self._dataset(n)) for n in names})

    # --- decoding ----------------------------------------------------------------------------

    def _decoded(self, data: h5py.Dataset, rows: Sequence[int]) -> np.ndarray:
        """The chosen sweeps, decompressed here rather than in HDF5, whose lock lets only one
        thread of a process decompress at a time."""
        out = np.empty((len(rows), *data.shape[1:]), data.dtype)
        for k, row in enumerate(rows):
            if not 0 <= row < len(self):
                raise refuse("row", row, f"the shard has {len(self)} sweeps", "give a smaller one")
            mask, packed = data.id.read_direct_chunk((row, *(0,) * (data.ndim - 1)))
            if mask != 0:
                raise ValueError(f"chunk {row} went through other filters")
            unpack(packed, out[k])
        return out

    def _dataset(self, name: str) -> Any:
        data: Any = self._file[name]
        if data.dtype.kind not in "fu":
            raise ValueError(f"{name} is no array of numbers")
        return data

    def _text(self, name: str) -> tuple[str, ...]:
        data: Any = self._file[name]
        return tuple(data.asstr()[()])

    def _read(self, read: Any) -> Any:
        try:
            return read()
        except _DAMAGE as error:
            if isinstance(error, InputError):
                raise
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        text = (str(error) or type(error).__name__).splitlines()[0]
        return InputError(
            f"{self.path}: not a readable shard ({text}); build again, which mends it."
        )

    def _check_header(self, attributes: dict[str, Any]) -> None:
        wanted = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "axes": " ".join(SWEEP_AXES),
            "channels": " ".join(CHANNELS),
            "units": " ".join(CHANNEL_UNITS[c] for c in CHANNELS),
        }
        for key, value in wanted.items():
            found = attributes.get(key)
            if found is None or found != value:
                raise refuse(f"{self.path}: {key}", found, f"must be {value!r}", "convert the file")


_DAMAGE: Final = (OSError, KeyError, TypeError, ValueError, RuntimeError, IndexError, zlib.error)


def unpack(packed: bytes, out: np.ndarray) -> None:
    """Undo deflate and the byte shuffle of one chunk into ``out``, which is contiguous."""
    raw = np.frombuffer(zlib.decompress(packed), np.uint8)
    width = out.dtype.itemsize
    if raw.size != out.size * width:
        raise ValueError(f"a chunk of {raw.size} bytes, {out.size * width} expected")
    planes = raw.reshape(width, -1)
    if width == 1:
        out.reshape(-1).view(np.uint8)[:] = planes[0]
        return
    # Whole words from their bytes, four times as fast as single bytes with gaps between them.
    words = planes[-1].astype(f"<u{width}")
    for plane in planes[-2::-1]:
        words <<= 8
        words |= plane
    out.reshape(-1).view(words.dtype)[:] = words


def _write_array(file: h5py.File, name: str, values: np.ndarray) -> None:
    if values.size == 0:
        write_dataset(file, name, data=values)
        return
    # One chunk per sweep, so that a sweep is read at one go.
    chunks = (1, *values.shape[1:]) if values.ndim > 2 else values.shape
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    write_dataset(file, name, data=values, chunks=chunks, **options)


def _write_text(file: h5py.File, name: str, values: Sequence[str]) -> None:
    import h5py

    shape = (len(values),)
    write_dataset(file, name, data=list(values), shape=shape, dtype=h5py.string_dtype())


def _compact(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
