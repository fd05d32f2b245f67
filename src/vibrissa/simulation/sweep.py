"""The doorway out of this room: what the whisker bases felt, with named axes, units and frame."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from vibrissa.core.axes import CHANNEL_UNITS, CHANNELS, SWEEP_AXES
from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.morphology.names import parse_name
from vibrissa.simulation.scene import Sampling

if TYPE_CHECKING:
    import xarray

FORMAT = "vibrissa-sweep"
FORMAT_VERSION = 1
Frame = Literal["base", "head", "world"]
WINDOW_START = "window_start_s"
"""Parameter of a sweep that was cut to a window: when in the scene its first frame begins."""
LARGE_FORCE_UN = 5000.0
"""A force beyond this is no touch of an awake mouse: something pinned or overran the whisker."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """Loads at whisker bases during one or more sweeps of equal length.

    The load is what the whisker does to the follicle: a push on the tip towards +y is a force
    towards +y. The moment is taken about the base point.

    Attributes:
        force_moment: (sweep, time, whisker, channel) float32; channels ``Fx Fy Fz Mx My Mz`` in
            the base frame of each whisker, uN and uN*mm.
        contact: (sweep, time, whisker) bool, whether the whisker touched during the frame.
        whiskers: names along ``whisker``.
        rate_hz: frames per second; frame k covers the time from k / rate to (k + 1) / rate.
        names: one per sweep.
        labels: class label of each sweep's object, or ``""``.
        parameters: what the protocol varied, one JSON object per sweep.
        flagged: (sweep, whisker) bool; a joint was stopped at its limit or the whisker was reset,
            so its values are finite but not to be trusted.
        sampling: ``average`` over the frame or ``point`` at its end.
        head_rotation: (sweep, time, 3, 3) or (sweep, 1, 3, 3); columns are the head's axes in the
            world.
        base_rotation: (sweep, whisker, 3, 3) the base frames in the world where the bases stand
            still, else None.
        force_moment_world: the loads in world axes as recorded by the simulator, or None.
        nodes_mm: (sweep, time, whisker, node, 3) shape of the whiskers in the world, NaN past the
            tip, or None.
        manifest: how it was made.

    Raises:
        InputError: shapes that do not fit together, or values that are not finite.
    """

    force_moment: np.ndarray
    contact: np.ndarray
    whiskers: tuple[str, ...]
    rate_hz: float
    names: tuple[str, ...]
    labels: tuple[str, ...]
    parameters: tuple[dict[str, Any], ...]
    flagged: np.ndarray
    sampling: str
    head_rotation: np.ndarray
    base_rotation: np.ndarray | None = None
    force_moment_world: np.ndarray | None = None
    nodes_mm: np.ndarray | None = None
    manifest: Manifest = field(default_factory=lambda: Manifest(what="sweep"))

    def __repr__(self) -> str:
        sweeps, frames, whiskers, _ = self.force_moment.shape
        return (
            f"<Sweep: {sweeps} sweeps, {frames} frames at {self.rate_hz:g} Hz, {whiskers} whiskers>"
        )

    def __post_init__(self) -> None:
        shape = self.force_moment.shape
        if len(shape) != 4 or shape[3] != len(CHANNELS):
            raise refuse(
                "force_moment", shape, "not (sweep, time, whisker, 6)", "give these four axes"
            )
        sweeps, frames, whiskers, _ = shape
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "contact": (self.contact, (sweeps, frames, whiskers)),
            "flagged": (self.flagged, (sweeps, whiskers)),
            "force_moment_world": (self.force_moment_world, shape),
            "base_rotation": (self.base_rotation, (sweeps, whiskers, 3, 3)),
        }
        for name, (value, wanted) in expected.items():
            if value is not None and value.shape != wanted:
                raise refuse(name, value.shape, f"does not fit force_moment {shape}", "mend it")
        for name, count in (("names", sweeps), ("labels", sweeps), ("parameters", sweeps)):
            if len(getattr(self, name)) != count:
                raise refuse(name, len(getattr(self, name)), f"there are {count} sweeps", "mend it")
        if len(self.whiskers) != whiskers:
            raise refuse("whiskers", self.whiskers, f"there are {whiskers} whiskers", "mend it")
        self._check_names()
        heads = self.head_rotation.shape
        if heads not in ((sweeps, 1, 3, 3), (sweeps, frames, 3, 3)):
            raise refuse("head_rotation", heads, f"does not fit force_moment {shape}", "mend it")
        nodes = None if self.nodes_mm is None else self.nodes_mm.shape
        if nodes is not None and (nodes[:3] != shape[:3] or len(nodes) != 5 or nodes[4] != 3):
            raise refuse("nodes_mm", nodes, f"does not fit force_moment {shape}", "mend it")
        for name in ("force_moment", "force_moment_world", "head_rotation", "base_rotation"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                where = np.argwhere(~np.isfinite(value))[0].tolist()
                place = dict(zip(SWEEP_AXES, where, strict=True)) if "force" in name else where
                raise refuse(name, place, "a value is not finite", "simulate it again")

    def _check_names(self) -> None:
        for name in self.whiskers:
            parse_name(name)
        if len(set(self.whiskers)) < len(self.whiskers):
            raise refuse("whiskers", self.whiskers, "a name stands twice", "name each once")
        if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise refuse("rate_hz", self.rate_hz, "must be positive", "give frames per second")
        if self.sampling not in get_args(Sampling):
            raise refuse("sampling", self.sampling, "unknown", "choose average or point")
        for entry in self.parameters:
            if not isinstance(entry, dict):
                raise refuse("parameters", entry, "not a mapping", "give one per sweep")

    # --- views -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.force_moment.shape[0]

    @property
    def times_s(self) -> np.ndarray:
        """End of each frame, ``(time,)``."""
        return (np.arange(self.force_moment.shape[1]) + 1.0) / self.rate_hz

    def start_s(self, index: int) -> float:
        """When in its scene a sweep begins; 0 unless it was cut to a window."""
        return float(self.parameters[index].get(WINDOW_START, 0.0))

    def whisker(self, name: str) -> np.ndarray:
        """Loads of one whisker in its base frame, ``(sweep, time, channel)``."""
        from vibrissa.core.errors import refuse_unknown

        if name not in self.whiskers:
            raise refuse_unknown("whisker", name, self.whiskers)
        return self.force_moment[:, :, self.whiskers.index(name)]

    def loads(self, frame: Frame = "base") -> np.ndarray:
        """Loads (sweep, time, whisker, channel) in the base, head or world frame, uN and uN*mm.

        Frames other than the base need either bases that stood still or a simulation with
        ``record_world``. Where the head turns, a frame's mean is rotated by its pose at the end.

        Raises:
            InputError: neither is at hand, or an unknown frame.
        """
        if frame == "base":
            return self.force_moment
        if frame not in ("head", "world"):
            raise refuse("frame", frame, "unknown", "choose base, head or world")
        if self.force_moment_world is not None:
            world = self.force_moment_world
        elif self.base_rotation is not None:
            world = rotate_loads(self.force_moment, self.base_rotation[:, None])
        else:
            raise refuse(
                "frame", frame, "the bases moved and world loads were not recorded",
                "simulate with record_world=True",
            )  # fmt: skip
        if frame == "world":
            return world
        return rotate_loads(world, np.swapaxes(self.head_rotation, -1, -2)[:, :, None])

    def large_force_share(self) -> float:
        """Share of frames (over sweeps and whiskers) with a force above 5 mN."""
        force = np.linalg.norm(self.force_moment[..., :3], axis=-1)
        return float(np.mean(force > LARGE_FORCE_UN))

    def to_xarray(self) -> xarray.DataArray:
        """Labelled loads in the base frame."""
        import xarray

        return xarray.DataArray(
            self.force_moment,
            dims=SWEEP_AXES,
            coords={
                "sweep": list(self.names),
                "time": self.times_s,
                "whisker": list(self.whiskers),
                "channel": list(CHANNELS),
                "label": ("sweep", list(self.labels)),
            },
            attrs={"frame": "base", "units": dict(CHANNEL_UNITS), "rate_hz": self.rate_hz},
            name="force_moment",
        )

    # --- files -------------------------------------------------------------------------------

    def save(self, path: Path | str) -> Path:
        """Write one HDF5 file (docs/formats.md), whole or not at all; equal sweeps, equal bytes."""
        import h5py

        target = Path(path)
        with atomic_path(target) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["format"] = FORMAT
            file.attrs["version"] = FORMAT_VERSION
            file.attrs["axes"] = " ".join(SWEEP_AXES)
            file.attrs["channels"] = " ".join(CHANNELS)
            file.attrs["units"] = " ".join(CHANNEL_UNITS[c] for c in CHANNELS)
            file.attrs["frame"] = "base"
            file.attrs["rate_hz"] = float(self.rate_hz)
            file.attrs["sampling"] = self.sampling
            file.attrs["manifest"] = self.manifest.to_json()
            for name in _ARRAYS:
                value = getattr(self, name)
                if value is not None:
                    file.create_dataset(
                        name, data=_stored(value), chunks=_chunks(value), compression="gzip",
                        compression_opts=1, shuffle=True,
                    )  # fmt: skip
            for name in ("whiskers", "names", "labels"):
                _write_text(file, name, getattr(self, name))
            _write_text(
                file, "parameters", [json.dumps(p, sort_keys=True) for p in self.parameters]
            )
        return target

    @classmethod
    def load(cls, path: Path | str) -> Sweep:
        """Read a file written by :meth:`save` or by another simulator in the same format.

        Raises:
            InputError: no such file, another kind of file, another version, unit or frame, or a
                damaged one.
        """
        import h5py

        source = Path(path)
        if not source.is_file():
            raise refuse("sweep file", str(source), "there is no such file", "check the path")
        try:
            with h5py.File(source, "r") as file:
                _check_header(source, file.attrs)
                held: dict[str, Any] = {
                    n: _read_array(file, n) for n in _ARRAYS if n in file or n in _NEEDED
                }
                held |= {n: _read_text(file, n) for n in ("whiskers", "names", "labels")}
                parameters = tuple(json.loads(p) for p in _read_text(file, "parameters"))
                rate_hz = float(np.asarray(file.attrs["rate_hz"]).item())
                sampling = str(file.attrs["sampling"])
                manifest_text = str(file.attrs["manifest"])
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{source}: not a readable sweep file ({_first_line(error)}); "
                "write it again or restore it from a copy."
            ) from error
        manifest = Manifest.from_json(manifest_text, origin=str(source))
        try:
            return cls(
                rate_hz=rate_hz, sampling=sampling, parameters=parameters, manifest=manifest, **held
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{source}: {error}") from error


_ARRAYS = (
    "force_moment", "contact", "flagged", "head_rotation", "base_rotation", "force_moment_world",
    "nodes_mm",
)  # fmt: skip
_NEEDED = ("force_moment", "contact", "flagged", "head_rotation")
_BOOLEAN = ("contact", "flagged")


def rotate_loads(loads: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Apply rotations (..., 3, 3) to forces and moments (..., 6)."""
    rotation = rotation.astype(loads.dtype)
    pairs = loads.reshape(*loads.shape[:-1], 2, 3)
    return np.einsum("...ij,...kj->...ki", rotation, pairs).reshape(loads.shape)


def _stored(value: np.ndarray) -> np.ndarray:
    return value.astype(np.uint8) if value.dtype == bool else value


def _chunks(value: np.ndarray) -> tuple[int, ...]:
    """One chunk per sweep, so that a sweep is read at one go."""
    return (1, *(max(1, n) for n in value.shape[1:]))


def _write_text(file: Any, name: str, values: Sequence[str]) -> None:
    import h5py

    file.create_dataset(name, data=list(values), dtype=h5py.string_dtype("utf-8"))


def _read_array(file: Any, name: str) -> np.ndarray:
    value = file[name][()]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        raise ValueError(f"{name} is no array of numbers")
    return value.astype(bool if name in _BOOLEAN else np.float32, copy=False)


def _read_text(file: Any, name: str) -> tuple[str, ...]:
    return tuple(file[name].asstr()[()])


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _check_header(source: Path, attributes: Any) -> None:
    if attributes.get("format") != FORMAT:
        raise refuse(
            f"{source}: format", attributes.get("format"), f"not {FORMAT!r}",
            "give a sweep file",
        )  # fmt: skip
    wanted = {
        "version": FORMAT_VERSION,
        "axes": " ".join(SWEEP_AXES),
        "channels": " ".join(CHANNELS),
        "units": " ".join(CHANNEL_UNITS[c] for c in CHANNELS),
        "frame": "base",
    }
    for key, value in wanted.items():
        found = attributes.get(key)
        if found is None or found != value:
            raise refuse(f"{source}: {key}", found, f"must be {value!r}", "convert the file")


def concatenate(parts: Sequence[Sweep]) -> Sweep:
    """Join sweeps of the same whiskers, rate and length along ``sweep``.

    What not all parts hold, and shapes of whiskers with different numbers of nodes, are left out;
    the manifest is that of the first part, with the inputs of all.

    Raises:
        InputError: nothing to join, or parts that differ.
    """
    if not parts:
        raise refuse("parts", [], "nothing to join", "give one part or more")
    first = parts[0]
    for part in parts[1:]:
        for name in ("whiskers", "rate_hz", "sampling"):
            if getattr(part, name) != getattr(first, name):
                raise refuse(name, getattr(part, name), "differs between parts", "join equals only")
        frames = part.force_moment.shape[1]
        if frames != first.force_moment.shape[1]:
            raise refuse("frames", frames, "differs between parts", "join equals only")
    heads = max(part.head_rotation.shape[1] for part in parts)

    def joined(name: str) -> np.ndarray | None:
        values = [getattr(part, name) for part in parts]
        if any(v is None for v in values):
            return None
        if name == "head_rotation":  # one pose stands for all frames
            values = [np.broadcast_to(v, (len(v), heads, 3, 3)) for v in values]
        if name == "nodes_mm" and len({v.shape[3] for v in values}) > 1:
            return None
        return np.concatenate(values)

    arrays: dict[str, Any] = {name: joined(name) for name in _ARRAYS}
    inputs = {key: value for part in parts for key, value in part.manifest.inputs.items()}
    return Sweep(
        whiskers=first.whiskers,
        rate_hz=first.rate_hz,
        sampling=first.sampling,
        names=tuple(n for part in parts for n in part.names),
        labels=tuple(n for part in parts for n in part.labels),
        parameters=tuple(p for part in parts for p in part.parameters),
        manifest=replace(first.manifest, inputs=inputs),
        **arrays,
    )
