"""Model input as tar files in the convention of webdataset, for those who stream from afar."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import progress
from vibrissa.core.seeds import generator
from vibrissa.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    from vibrissa.data.normalisation import Normalisation
    from vibrissa.data.splits import Split
    from vibrissa.data.store import SweepStore

ABOUT: Final = "webdataset.json"
_READ_AT_ONCE: Final = 64


@dataclass(frozen=True, kw_only=True)
class WebDatasetReport:
    """What an export did.

    Attributes:
        written: tar files written now.
        kept: tar files that were there already.
        counts: part -> sweeps.
        shards: part -> its tar files in the notation of braces, "" for an empty part.
    """

    written: int
    kept: int
    counts: Mapping[str, int]
    shards: Mapping[str, str]

    def sentence(self) -> str:
        """The report in words."""
        parts = ", ".join(f"{count} {part}" for part, count in self.counts.items())
        return f"{self.written} tar files written, {self.kept} kept ({parts} sweeps)."


def export_webdataset(
    store: SweepStore,
    split: Split,
    out: Path | str,
    *,
    shard_size: int = 1000,
    preprocessing: Preprocessing | None = None,
    normalisation: Normalisation | None = None,
    seed: int = 0,
    quiet: bool = True,
) -> WebDatasetReport:
    """Write model input as ``train-000000.tar`` and so on; finished tar files are not made again.

    A sample ``00000012`` of a tar file is ``00000012.input.npy``, (step, sub-frame x channel, row,
    column) float32; ``00000012.cls``, the number of the class as text; and ``00000012.json``, its
    row of the table. Its number is its index in the store. The sweeps of a part are shuffled, as
    readers shuffle no further than their buffer. Equal stores give equal bytes.

    Args:
        store: the sweeps.
        split: whose parts to write.
        out: the folder.
        shard_size: sweeps in a tar file.
        preprocessing: how model input is made.
        normalisation: of the loads; by default measured over the training part, if it is wanted.
        seed: of the order.
        quiet: no progress bar.

    Raises:
        InputError: the split is not of this store, no fitting normalisation, or the folder holds
            another export.
        OutputError: the folder cannot be written to.
    """
    if shard_size < 1:
        raise refuse("shard_size", shard_size, "must be at least 1", "give 1 or more")
    wanted = preprocessing or Preprocessing()
    codes = split.codes(store.table)
    if normalisation is None and wanted.normalise != "none":
        normalisation = split.normalisation(wanted.normalise, wanted.frame)
        if normalisation is None:
            normalisation = _measured(store, np.flatnonzero(codes == 0), wanted)
    root = Path(out)
    orders = {}
    for code, part in enumerate(split.parts):
        mine = np.flatnonzero(codes == code)
        orders[part] = mine[generator(seed, "webdataset", part).permutation(len(mine))]
    _declare(root, store, split, wanted, normalisation, shard_size, seed)
    written = kept = 0
    shards = {}
    total = sum(map(len, orders.values()))
    with progress("exporting", total=total, unit="sweep", quiet=quiet) as bar:
        for part, order in orders.items():
            count = -(-len(order) // shard_size)
            shards[part] = _braces(part, count)
            for k in range(count):
                chosen = order[k * shard_size : (k + 1) * shard_size]
                path = root / f"{part}-{k:06d}.tar"
                if _is_whole(path, len(chosen)):
                    kept += 1
                else:
                    _write_tar(path, store, chosen, wanted, normalisation)
                    written += 1
                bar.update(len(chosen))
    counts = {part: len(order) for part, order in orders.items()}
    return WebDatasetReport(written=written, kept=kept, counts=counts, shards=shards)


def _is_whole(path: Path, sweeps: int) -> bool:
    try:
        with tarfile.open(path) as archive:
            return len(archive.getmembers()) == 3 * sweeps
    except (OSError, tarfile.TarError):
        return False


def _measured(store: SweepStore, train: np.ndarray, wanted: Preprocessing) -> Normalisation:
    measure = wanted.accumulator()
    for k in range(0, len(train), _READ_AT_ONCE):
        measure.add(store.loads(train[k : k + _READ_AT_ONCE], wanted.frame))
    return measure.result()


def _declare(
    root: Path,
    store: SweepStore,
    split: Split,
    wanted: Preprocessing,
    normalisation: Normalisation | None,
    shard_size: int,
    seed: int,
) -> None:
    config = {
        "labels": list(store.labels),
        "whiskers": list(store.whiskers),
        "shape": list(wanted.model_shape(store.time)),
        "preprocessing": wanted,
        "normalisation": None if normalisation is None else normalisation.to_dict(),
        "split": split.to_json(),
        "shard_size": shard_size,
    }
    about = Manifest.of("webdataset", config, seed=seed, inputs={"store": store.digest})
    path = root / ABOUT
    if path.exists():
        known = Manifest.from_json(path.read_text(encoding="utf-8"), origin=str(path))
        same = json.loads(json.dumps(about.config)) == known.config
        if not same or (known.seed, dict(known.inputs)) != (seed, dict(about.inputs)):
            raise refuse(
                "out", str(root), "holds the export of another store, state or setting",
                "choose another folder",
            )  # fmt: skip
        return
    if next(root.glob("*.tar"), None):
        raise refuse("out", str(root), "holds tar files of another origin", "choose another folder")
    with atomic_path(path) as temporary:
        temporary.write_text(about.to_json(), encoding="utf-8")


def _write_tar(
    path: Path,
    store: SweepStore,
    chosen: np.ndarray,
    wanted: Preprocessing,
    normalisation: Normalisation | None,
) -> None:
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for start in range(0, len(chosen), _READ_AT_ONCE):
            indices = chosen[start : start + _READ_AT_ONCE]
            loads = store.loads(indices, wanted.frame)
            inputs = wanted.apply(loads, store.whiskers, normalisation)
            rows = (
                store.table.iloc[indices]
                .drop(columns=["shard", "row", "geometry", "alike"])
                .to_dict("records")
            )
            for index, values, row in zip(indices.tolist(), inputs, rows, strict=True):
                buffer = io.BytesIO()
                np.save(buffer, values, allow_pickle=False)
                plain = {str(name): _plain(value) for name, value in row.items()}
                text = json.dumps(plain, sort_keys=True, ensure_ascii=False, allow_nan=False)
                _add(archive, f"{index:08d}.input.npy", buffer.getvalue())
                _add(archive, f"{index:08d}.cls", str(row["label_index"]).encode())
                _add(archive, f"{index:08d}.json", text.encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # A fresh header has no owner and the date 1970-01-01, so that equal contents are equal bytes.
    header = tarfile.TarInfo(name)
    header.size = len(content)
    archive.addfile(header, io.BytesIO(content))


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value != value:
        return None  # JSON knows no NaN
    return value


def _braces(part: str, count: int) -> str:
    if count == 0:
        return ""
    return f"{part}-{{000000..{count - 1:06d}}}.tar" if count > 1 else f"{part}-000000.tar"
