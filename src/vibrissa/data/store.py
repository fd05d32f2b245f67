"""The store: a folder of shards that is read like one array of sweeps with a table beside it."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.axes import CHANNEL_UNITS, CHANNELS, SWEEP_AXES
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.manifest import Manifest
from vibrissa.data.chunks import ChunkReader, Places
from vibrissa.data.declaration import declared_objects, read_manifest
from vibrissa.data.index import PLACE_OF, SHARDS, SIZE_OF, Index, gather
from vibrissa.data.likeness import alike
from vibrissa.data.shard import FRAMES, Shard
from vibrissa.data.splits import Split

if TYPE_CHECKING:
    import pandas as pd
    import xarray

SPLITS: Final = "splits"
_OPEN_SHARDS: Final = 64


class SweepStore:
    """Sweeps of a data set, read by index, by query or shard by shard.

    Any number of processes and threads may read at the same time, also while a build adds shards;
    an opened store keeps to what was there when it was opened. It may be pickled: files are opened
    anew in each process.

    Attributes:
        path: the folder.
        manifest: the recipe, the versions that made it, and name -> digest of each object.
        table: one row per sweep (see :class:`vibrissa.data.index.Index`), with the SHA-256 of its
            object's mesh in ``geometry``, and in ``alike`` the name of the first object that it is
            a scaled, turned, moved or re-ordered copy of (its own if it is none).
        objects: one row per shard.
        refusals: sweeps that were not simulated, and why.
        labels: names of the classes, sorted; ``label_index`` counts in it.
        whiskers: names along ``whisker``.
        rate_hz: frames per second.
        time: number of frames of every sweep.
        frames: ``base``, ``world`` or both, as stored.
        chunks: reads arrays of the shards; for loaders, see :class:`ChunkReader`.
    """

    def __init__(self, path: Path, manifest: Manifest, index: Index) -> None:
        self.path = path
        self.manifest = manifest
        hidden = [name for name in index.sweeps.columns if name.startswith("@")]
        self._places = {name: index.sweeps[name].to_numpy(np.int64) for name in hidden}
        geometry = index.objects["geometry"].to_numpy()[index.sweeps["shard"].to_numpy(np.int64)]
        self.table: pd.DataFrame = index.sweeps.drop(columns=hidden)
        self.table.insert(list(self.table.columns).index("row") + 1, "geometry", geometry)
        names = index.objects["object"].tolist()
        copies = alike(dict(zip(names, index.objects["likeness"].tolist(), strict=True)))
        place = list(self.table.columns).index("geometry") + 1
        self.table.insert(place, "alike", [copies[name] for name in self.table["object"]])
        self.objects: pd.DataFrame = index.objects
        self.refusals: pd.DataFrame = index.refusals
        self.labels = index.labels
        layouts = index.objects["layout"].unique().tolist()
        if len(layouts) > 1:
            raise refuse(
                f"{path}: layout", layouts[1], f"other shards have {layouts[0]}",
                "run vibrissa dataset check, and build the odd shards again",
            )  # fmt: skip
        layout = json.loads(layouts[0]) if layouts else {}
        self.whiskers: tuple[str, ...] = tuple(layout.get("whiskers", ()))
        self.rate_hz: float = float(layout.get("rate_hz", np.nan))
        self.sampling: str = layout.get("sampling", "")
        self.time: int = int(layout.get("time", 0))
        self.frames: tuple[str, ...] = tuple(layout.get("frames", ()))
        self._start_reading()

    def _start_reading(self) -> None:
        self._shard_of = self.table["shard"].to_numpy(np.int64)
        self._row_of = self.table["row"].to_numpy(np.int64)
        self._paths = self.objects["path"].tolist()
        starts = np.searchsorted(self._shard_of, np.arange(len(self._paths) + 1))
        known = {
            name.removeprefix(PLACE_OF): Places(
                starts=starts,
                offsets=self._places[name],
                sizes=self._places[name.replace(PLACE_OF, SIZE_OF)],
                shape=(self.time, len(self.whiskers), len(CHANNELS)),
            )
            for name in self._places
            if name.startswith(PLACE_OF)
        }
        files = [self.path / SHARDS / path for path in self._paths]
        self.chunks = ChunkReader(files, self.objects["sha256"].tolist(), known)
        # Each thread opens its own files, so that threads decompress side by side.
        self._local = threading.local()

    @classmethod
    def open(cls, path: Path | str, *, quiet: bool = True) -> SweepStore:
        """Open a store, finished or not.

        Raises:
            InputError: no store, one of a newer version, or one with a shard that is not readable.
        """
        root = Path(path).absolute()  # the working folder may change
        manifest = read_manifest(root)
        declared_objects(root, manifest)
        index = gather(root, quiet=quiet)
        if index.damaged:
            more = f" ({len(index.damaged) - 1} more)" if len(index.damaged) > 1 else ""
            raise InputError(next(iter(index.damaged.values())) + more)
        return cls(root, manifest, index)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return (
            f"<SweepStore {self.path}: {len(self)} sweeps of {len(self.objects)} objects in "
            f"{len(self.labels)} classes, {self.time} frames at {self.rate_hz:g} Hz>"
        )

    # --- choosing ----------------------------------------------------------------------------

    def query(self, text: str) -> np.ndarray:
        """Indices (n,) of the sweeps for which an expression holds.

        Args:
            text: in the columns of the table, for instance
                ``"label == 'cup' and distance_mm < 6"`` (as for ``pandas.DataFrame.query``).

        Raises:
            InputError: the expression cannot be evaluated.
        """
        try:
            found = self.table.eval(text, engine="python")
            chosen = np.asarray(found)
            if chosen.dtype != bool or chosen.shape != (len(self),):
                raise TypeError("no condition that each sweep meets or not")
            return np.flatnonzero(chosen)
        except Exception as error:  # pandas raises whatever Python, the tokenizer or numpy raise
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise refuse(
                "query", text, reason, f"use the columns {', '.join(self.table.columns)}"
            ) from error

    def where(self, **values: object) -> np.ndarray:
        """Indices (n,) of the sweeps whose columns have these values (or one of several).

        Raises:
            InputError: no such column.
        """
        chosen = np.ones(len(self), bool)
        for name, value in values.items():
            if name not in self.table.columns:
                raise refuse_unknown("column", name, list(self.table.columns))
            several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
            wanted: Any = list(value) if several else [value]  # pyright: ignore[reportArgumentType]
            chosen &= self.table[name].isin(wanted).to_numpy()
        return np.flatnonzero(chosen)

    # --- reading -----------------------------------------------------------------------------

    def loads(self, indices: int | slice | Sequence[int] | np.ndarray, frame: str = "base") -> Any:
        """Loads in uN and uN*mm, float32.

        Args:
            indices: one sweep, or several in any order.
            frame: ``base`` or ``world``.

        Returns:
            (time, whisker, channel) for one index, else (sweep, time, whisker, channel).

        Raises:
            InputError: no such sweep or frame, or a damaged shard.
        """
        if frame in self.frames:
            shape = (self.time, len(self.whiskers), len(CHANNELS))
            return self._stored(indices, FRAMES[frame], shape, np.float32)
        return self._gathered(indices, lambda k, rows: self._shard(k).loads(rows, frame))

    def contact(self, indices: int | slice | Sequence[int] | np.ndarray) -> Any:
        """Whether each whisker touched during each frame, bool; axes as for :meth:`loads` without
        ``channel``."""
        shape = (self.time, len(self.whiskers))
        return self._stored(indices, "contact", shape, np.uint8).astype(bool)

    def to_xarray(
        self, indices: int | slice | Sequence[int] | np.ndarray, frame: str = "base"
    ) -> xarray.DataArray:
        """Labelled loads of some sweeps, with their rows of the table as coordinates."""
        import xarray

        chosen = np.atleast_1d(self._positions(indices))
        rows = self.table.iloc[chosen]
        coordinates: dict[str, Any] = {
            "sweep": rows["sweep"].to_numpy(str),
            "time": (np.arange(self.time) + 1.0) / self.rate_hz,
            "whisker": list(self.whiskers),
            "channel": list(CHANNELS),
        }
        for name in rows.columns:
            if name not in ("sweep", "shard", "row", "geometry", "alike"):
                values = rows[name].to_numpy()
                kind = str if values.dtype.kind not in "biuf" else values.dtype
                coordinates[name] = ("sweep", values.astype(kind))
        return xarray.DataArray(
            self.loads(chosen, frame),
            dims=SWEEP_AXES,
            coords=coordinates,
            attrs={"frame": frame, "units": dict(CHANNEL_UNITS), "rate_hz": self.rate_hz},
            name="force_moment",
        )

    def shards(self) -> Iterator[tuple[np.ndarray, Shard]]:
        """Each shard with the indices of its sweeps, in order; the cheapest way through a store."""
        ends = np.searchsorted(self._shard_of, np.arange(len(self._paths)), side="right")
        start = 0
        for k, end in enumerate(ends):
            path = self.path / SHARDS / self._paths[k]
            self.chunks.check_seal(k)
            with Shard(path) as shard:
                yield np.arange(start, int(end)), shard
            start = int(end)

    def _stored(self, indices: Any, name: str, shape: tuple[int, ...], kind: Any) -> Any:
        """Sweeps of an array that the shards hold as it is."""

        def read(shard: int, rows: list[int]) -> np.ndarray:
            out = np.empty((len(rows), *shape), kind)
            self.chunks.read(shard, name, rows, out)
            return out

        return self._gathered(indices, read)

    def _gathered(self, indices: Any, read: Any) -> Any:
        positions = self._positions(indices)
        one = np.ndim(positions) == 0
        chosen = np.atleast_1d(positions)
        if not len(chosen):
            self._shard(0)  # refuses an empty store
            return read(0, [])
        out: np.ndarray | None = None
        order = np.argsort(self._shard_of[chosen], kind="stable")
        cuts = np.flatnonzero(np.diff(self._shard_of[chosen][order])) + 1
        for group in np.split(order, cuts):
            shard = int(self._shard_of[chosen[group[0]]])
            values = read(shard, self._row_of[chosen[group]].tolist())
            if out is None:
                out = np.empty((len(chosen), *values.shape[1:]), values.dtype)
            out[group] = values
        assert out is not None
        return out[0] if one else out

    def _positions(self, indices: Any) -> np.ndarray:
        if isinstance(indices, slice):
            return np.arange(len(self))[indices]
        given = np.asarray(indices)
        if given.dtype == bool and given.shape == (len(self),):
            return np.flatnonzero(given)
        if given.size == 0:
            return given.astype(np.int64)
        if given.dtype.kind not in "iu" or given.ndim > 1:
            raise refuse("indices", indices, "no whole numbers", "give positions in the table")
        bad = given[(given < -len(self)) | (given >= len(self))]
        if bad.size:
            raise refuse(
                "index", int(bad.flat[0]), f"the store has {len(self)} sweeps", "give a smaller one"
            )
        return np.where(given < 0, given + len(self), given).astype(np.int64)

    def _shard(self, k: int) -> Shard:
        local = self._local
        if getattr(local, "process", None) != os.getpid():  # a fork must not share open files
            local.process, local.shards = os.getpid(), OrderedDict()
        opened: OrderedDict[int, Shard] = local.shards
        if k in opened:
            opened.move_to_end(k)
            return opened[k]
        if k >= len(self._paths):
            raise refuse("store", str(self.path), "it has no sweeps", "build it first")
        shard = Shard(self.path / SHARDS / self._paths[k])
        opened[k] = shard
        if len(opened) > _OPEN_SHARDS:
            opened.popitem(last=False)[1].close()
        return shard

    def __getstate__(self) -> dict[str, Any]:
        own = ("_local", "_shard_of", "_row_of", "_paths", "chunks")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_reading()

    # --- splits ------------------------------------------------------------------------------

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that are stored."""
        files = (self.path / SPLITS).glob("*.json")
        return tuple(sorted(file.stem for file in files if not file.name.startswith(".")))

    def split(self, name: str) -> Split:
        """A stored split.

        Raises:
            InputError: none of this name, a damaged one, or one made for another state.
        """
        if name not in self.splits:
            if not self.splits:
                raise refuse(
                    "split", name, f"{self.path} has no splits yet",
                    f"run vibrissa dataset split {self.path}",
                )  # fmt: skip
            raise refuse_unknown("split", name, self.splits)
        return Split.load(self.path / SPLITS / f"{name}.json")

    def save_split(self, split: Split) -> Path:
        """Write a split into the store."""
        path = self.path / SPLITS / f"{split.name}.json"
        split.save(path)
        return path

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the sweeps depend on: the seals of the shards, in order."""
        from vibrissa.core.files import digest_of_bytes

        pairs = zip(self.objects["path"], self.objects["sha256"], strict=True)
        return digest_of_bytes("\n".join(f"{path} {seal}" for path, seal in pairs).encode())
