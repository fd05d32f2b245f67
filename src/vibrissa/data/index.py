"""The index of a store: tables of its shards and sweeps, gathered from the shards themselves.

It is derived: whatever happens to it, it can be made again. It spares opening ten thousand files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.core.progress import track
from vibrissa.data.declaration import declared_paths
from vibrissa.data.sealed import check_seal, seal_of, sealed_file, write_dataset
from vibrissa.data.shard import SUMMARY, Shard

if TYPE_CHECKING:
    import h5py
    import pandas as pd

SHARDS: Final = "shards"
INDEX: Final = "index.h5"
PLACE_OF: Final = "@place "
SIZE_OF: Final = "@bytes "
"""Before the name of an array of loads: offset in the file, and size, of each sweep's chunk."""
_VERSION: Final = 2
_FORMAT: Final = "vibrissa-index"
_MANY: Final = 500
_OF_SHARD: Final = (
    "object", "label", "geometry", "likeness", "source_sha256", "recipe_sha256",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """What a store holds.

    Attributes:
        objects: one row per shard: object, label, geometry, likeness, source_sha256, recipe_sha256,
            sweeps, refused, redrawn, path (below ``shards``), sha256, bytes, layout (whiskers,
            rate_hz, sampling, frames and time as JSON).
        sweeps: one row per sweep, in the order of the shards: sweep, object, label, label_index,
            shard, row, the columns of ``SUMMARY``, then one per protocol parameter; and, for each
            array of loads, where its chunks lie (``PLACE_OF`` and ``SIZE_OF``), which a store
            keeps to itself.
        refusals: object, sweep, reason.
        damaged: path of a shard that could not be read -> why.
    """

    objects: pd.DataFrame
    sweeps: pd.DataFrame
    refusals: pd.DataFrame
    damaged: Mapping[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, sorted; the label map."""
        return tuple(sorted(self.objects["label"].unique()))


def shard_files(root: Path) -> dict[str, int]:
    """Path below ``shards`` -> bytes, of every finished shard, sorted by path."""
    folder = root / SHARDS
    found: dict[str, int] = {}
    stack = [folder] if folder.is_dir() else []
    while stack:
        for entry in os.scandir(stack.pop()):
            if entry.is_dir(follow_symlinks=False):
                stack.append(Path(entry.path))
            elif entry.name.endswith(".h5") and not entry.name.startswith("."):
                path = Path(entry.path)
                size = path.stat().st_size if path.exists() else -1  # a link to nowhere
                found[path.relative_to(folder).as_posix()] = size
    return dict(sorted(found.items()))


def gather(root: Path, *, quiet: bool = True) -> Index:
    """The index of the shards that are there now, and declared.

    Shards whose seal ``index.h5`` knows are not read again; of the others every byte is checked.
    """
    declared = declared_paths(root)
    files = {
        path: size for path, size in shard_files(root).items() if not declared or path in declared
    }
    known = _read(root / INDEX)
    kept = _unchanged(root, known, files)
    if known is not None and kept == set(files) == set(known.objects["path"]):
        return known
    missing = [path for path in files if path not in kept]
    shards: list[dict[str, Any]] = []
    sweeps: list[pd.DataFrame] = []
    refusals: list[dict[str, str]] = []
    damaged: dict[str, str] = {}
    for path in track(missing, "reading shards", unit="shard", quiet=quiet or len(missing) < _MANY):
        try:
            check_seal(root / SHARDS / path)
            with Shard(root / SHARDS / path) as shard:
                refusals += [
                    {"object": shard.object, "sweep": name, "reason": reason}
                    for name, reason in shard.refused
                ]
                sweeps.append(_sweeps_of(shard))
                shards.append(_row_of(shard, path, files[path]))
        except InputError as error:
            damaged[path] = str(error)
    return _joined(known, kept, shards, sweeps, refusals, damaged)


def index_is_in_step(root: Path) -> bool:
    """Whether ``index.h5`` has just the shards that are there and declared, as they are."""
    declared = declared_paths(root)
    files = {p: n for p, n in shard_files(root).items() if not declared or p in declared}
    known = _read(root / INDEX)
    return known is not None and _unchanged(root, known, files) == set(files) == set(
        known.objects["path"]
    )


def write_index(root: Path, *, quiet: bool = True) -> Index:
    """Bring ``index.h5`` into step with the shards; unchanged shards are not read again.

    Raises:
        OutputError: it cannot be written.
    """
    index = gather(root, quiet=quiet)
    with sealed_file(root / INDEX) as file:
        file.attrs["format"] = _FORMAT
        file.attrs["version"] = _VERSION
        for name in ("objects", "sweeps", "refusals"):
            _write_table(file.create_group(name, track_order=True), getattr(index, name))
    return index


# --- gathering -------------------------------------------------------------------------------


def _row_of(shard: Shard, path: str, size: int) -> dict[str, Any]:
    layout = {
        "whiskers": shard.whiskers,
        "rate_hz": shard.rate_hz,
        "sampling": shard.sampling,
        "frames": shard.frames,
        "time": shard.shape[1],
    }
    return {name: getattr(shard, name) for name in _OF_SHARD} | {
        "sweeps": len(shard),
        "refused": len(shard.refused),
        "redrawn": shard.redrawn,
        "path": path,
        "sha256": seal_of(shard.path),
        "bytes": size,
        "layout": json.dumps(layout, sort_keys=True),
    }


def _sweeps_of(shard: Shard) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {"sweep": list(shard.names)}
    columns["object"] = [shard.object] * len(shard)
    columns["label"] = [shard.label] * len(shard)
    columns["row"] = np.arange(len(shard))
    columns |= dict(zip(SUMMARY, shard.summary.T, strict=True))
    for name, (offsets, sizes) in shard.places().items():
        columns[PLACE_OF + name] = np.array(offsets, dtype=np.int64)
        columns[SIZE_OF + name] = np.array(sizes, dtype=np.int64)
    parameters = shard.parameters
    for name in dict.fromkeys(key for p in parameters for key in p):
        if name not in columns:
            columns[name] = _column([p.get(name) for p in parameters])
    return pd.DataFrame(columns)


def _column(values: Sequence[Any]) -> Any:
    """Numbers with NaN for none, or text with "" for none."""
    if all(isinstance(v, bool) for v in values):
        return np.array(values, dtype=bool)
    if all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values):
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    return ["" if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]


def _unchanged(root: Path, known: Index | None, files: Mapping[str, int]) -> set[str]:
    kept: set[str] = set()
    if known is None:
        return kept
    rows = known.objects
    for path, size, seal in zip(rows["path"], rows["bytes"], rows["sha256"], strict=True):
        try:
            if files.get(path) == size and seal_of(root / SHARDS / path) == seal:
                kept.add(path)
        except InputError:
            pass
    return kept


def _joined(
    known: Index | None,
    kept: set[str],
    shards: list[dict[str, Any]],
    sweeps: list[pd.DataFrame],
    refusals: list[dict[str, str]],
    damaged: Mapping[str, str],
) -> Index:
    import pandas as pd

    # pandas types its own results too widely to be followed.
    table: Any
    whole: Any
    objects: list[Any] = [pd.DataFrame(shards, columns=list(_EMPTY_OBJECTS))] if shards else []
    refused: list[Any] = [pd.DataFrame(refusals)] if refusals else []
    if known is not None and kept:
        old = known.objects[known.objects["path"].isin(list(kept))]
        names = list(old["object"])
        objects.append(old)
        sweeps = [*sweeps, known.sweeps.loc[known.sweeps["object"].isin(names)]]
        refused.append(known.refusals[known.refusals["object"].isin(names)])
    table = _concatenated(objects, _EMPTY_OBJECTS).sort_values("path").reset_index(drop=True)
    order = {name: k for k, name in enumerate(table["object"])}
    whole = _concatenated(sweeps, _EMPTY_SWEEPS)
    whole["shard"] = whole["object"].map(order).astype(np.int64)
    whole = whole.sort_values(["shard", "row"], kind="stable").reset_index(drop=True)
    codes = {label: k for k, label in enumerate(sorted(table["label"].unique()))}
    whole["label_index"] = whole["label"].map(codes).astype(np.int64)
    lead = ["sweep", "object", "label", "label_index", "shard", "row", *SUMMARY]
    rest = [name for name in whole.columns if name not in lead]
    whole = whole[lead + sorted(rest)]
    reasons = _concatenated(refused, _EMPTY_REFUSALS)
    reasons = reasons.sort_values(["object", "sweep"], kind="stable").reset_index(drop=True)
    return Index(objects=table, sweeps=_tidy(whole), refusals=reasons, damaged=damaged)


def _concatenated(parts: Sequence[Any], empty: Mapping[Any, Any]) -> Any:
    import pandas as pd

    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame({name: np.array([], dtype=kind) for name, kind in empty.items()})
    return pd.concat(filled, ignore_index=True)


def _tidy(table: Any) -> pd.DataFrame:
    """One type per column, whatever the parts were: text that is missing is ""."""
    for name in table.columns:
        if table[name].dtype == object or str(table[name].dtype) in ("str", "string"):
            table[name] = _column([None if v != v else v for v in table[name].tolist()])
    return table


_EMPTY_OBJECTS: Final = dict.fromkeys(_OF_SHARD, str) | {
    "sweeps": np.int64, "refused": np.int64, "redrawn": np.int64, "path": str, "sha256": str,
    "bytes": np.int64, "layout": str,
}  # fmt: skip
_EMPTY_SWEEPS: Final = (
    dict.fromkeys(("sweep", "object", "label"), str)
    | {"row": np.int64}
    | dict.fromkeys(SUMMARY, np.float32)
)
_EMPTY_REFUSALS: Final = dict.fromkeys(("object", "sweep", "reason"), str)


# --- the file --------------------------------------------------------------------------------


def _write_table(group: h5py.Group, table: pd.DataFrame) -> None:
    group.attrs["rows"] = len(table)
    for name in table.columns:
        values = table[name].to_numpy()
        if values.dtype.kind in "biuf":
            write_dataset(group, name, data=values, **_packing(values))
        else:
            # Text as numbers of its distinct values, which are few or compress well.
            words, codes = np.unique(values.astype(str), return_inverse=True)
            codes = codes.astype(np.int32)
            write_dataset(group, name, data=codes, **_packing(codes))
            text = np.frombuffer(json.dumps(words.tolist()).encode(), np.uint8)
            write_dataset(group, f"{name} words", data=text, **_packing(text))
            group[name].attrs["words"] = f"{name} words"


def _packing(values: np.ndarray) -> dict[str, Any]:
    if not values.size:
        return {}
    return {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def _read(path: Path) -> Index | None:
    """The index file, or None if there is none that is whole."""
    import h5py

    try:
        check_seal(path)
        with h5py.File(path, "r") as file:
            if (file.attrs["format"], file.attrs["version"]) != (_FORMAT, _VERSION):
                return None
            tables = {n: _read_table(file[n]) for n in ("objects", "sweeps", "refusals")}
        return Index(**tables, damaged={})
    except (InputError, OSError, KeyError, ValueError, TypeError, RuntimeError):
        return None


def _read_table(group: Any) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    for name, data in group.items():
        if name.endswith(" words"):
            continue
        values = data[()]
        if "words" in data.attrs:
            words = json.loads(group[data.attrs["words"]][()].tobytes())
            values = np.array(words, dtype=object)[values] if len(words) else values.astype(object)
            values = pd.array(values, dtype="str")
        columns[name] = values
    return pd.DataFrame(columns, index=pd.RangeIndex(int(group.attrs["rows"])))
