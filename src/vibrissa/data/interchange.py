"""Stores from and to the published layout: folders train, validate and test of npz files.

What stands in a file is said in :mod:`vibrissa.data.npz_layout`. Beside the folders an export has
``labels.json``, name of the class -> number, and ``export.json``, how it came about. The layout has
no place for contact, flags or overlap: of imported sweeps these are unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.errors import OutputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import progress
from vibrissa.core.units import UN_PER_MN
from vibrissa.data.npz_import import IMPORTED_SPLIT, ImportReport, import_npz
from vibrissa.data.npz_layout import (
    ABOUT,
    LABELS,
    LETTERS_OF,
    PLACES,
    Letters,
    is_whole,
    letters_of,
    read_about,
    to_letters,
    write_npz,
)
from vibrissa.data.splits import PARTS, Split
from vibrissa.data.store import SweepStore
from vibrissa.data.webdataset import WebDatasetReport, export_webdataset
from vibrissa.morphology.grid import scatter_to_grid

__all__ = [
    "ABOUT",
    "IMPORTED_SPLIT",
    "LABELS",
    "ExportReport",
    "ImportReport",
    "WebDatasetReport",
    "export_npz",
    "export_webdataset",
    "import_npz",
    "label_numbers",
]


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export did.

    Attributes:
        written: files written now.
        kept: files that were there and whole.
        counts: part -> sweeps.
        frames: of every sweep; the published files have 110.
        rate_hz: of the frames.
    """

    written: int
    kept: int
    counts: Mapping[str, int]
    frames: int
    rate_hz: float

    def sentence(self) -> str:
        """The report in words."""
        parts = ", ".join(f"{count} {part}" for part, count in self.counts.items())
        return (
            f"{self.written} files written, {self.kept} kept ({parts}), each of {self.frames} "
            f"frames at {self.rate_hz:.6g} Hz."
        )


def export_npz(
    store: SweepStore, split: Split | None, out: Path | str, *, quiet: bool = True
) -> ExportReport:
    """Write a store in the published layout; what is there and whole is not written again.

    Files are numbered from 00000000.npz in the order of the names that the published program gives
    its sweeps. Sweeps that the split leaves unused are left out. Sweeps keep the number of frames
    that they have; only those of 110 are what the published loader takes.

    Args:
        store: loads in world axes must be stored, or follow from bases that stand still.
        split: None puts everything into ``train``, as the published program does.
        out: the folder.
        quiet: no progress bar.

    Raises:
        InputError: the folder holds something else, whiskers do not fit the grid, the split is not
            of this store, or there are no loads in world axes.
        OutputError: the folder cannot be written to.
    """
    root = Path(out)
    if not len(store):
        raise refuse("store", str(store.path), "it has no sweeps", "build it first")
    scatter_to_grid(np.zeros(len(store.whiskers)), store.whiskers)  # refuses what does not fit
    codes = np.zeros(len(store), np.int8) if split is None else split.codes(store.table)
    letters = _letters_of_store(store)
    numbers = label_numbers(store)
    _declare_export(root, store, split, letters, numbers)
    names, found = _names_and_letters(store, letters)
    target: dict[int, Path] = {}
    counts = {}
    for code, part in enumerate(PARTS):
        chosen = np.flatnonzero(codes == code).tolist()
        counts[part] = len(chosen)
        for k, index in enumerate(sorted(chosen, key=lambda i: (names[i], i))):
            target[index] = root / part / f"{k:08d}.npz"
    _make_folders(root)
    written = kept = 0
    labels = store.table["label"].tolist()
    shapes = store.table["object"].tolist()
    with progress("exporting", total=len(target), unit="sweep", quiet=quiet) as bar:
        for indices, shard in store.shards():
            for row, index in enumerate(indices.tolist()):
                path = target.get(index)
                if path is None:
                    continue
                if path.exists() and is_whole(path):
                    kept += 1
                else:
                    loads = shard.loads([row], "world")[0].astype(np.float64) / UN_PER_MN
                    grid = scatter_to_grid(loads, store.whiskers, axis=1)
                    flat = grid.reshape(len(grid), PLACES, -1)
                    write_npz(path, flat, shapes[index], numbers[labels[index]], found[index])
                    written += 1
                bar.update(1)
    return ExportReport(
        written=written, kept=kept, counts=counts, frames=store.time, rate_hz=store.rate_hz
    )


def label_numbers(store: SweepStore) -> dict[str, int]:
    """Name of each class -> its number; an imported store keeps the numbers of its files."""
    known = store.manifest.config.get("labels") or {}
    if set(store.labels) <= set(known):
        return {label: int(known[label]) for label in store.labels}
    return {label: number for number, label in enumerate(store.labels)}


def _letters_of_store(store: SweepStore) -> Letters:
    recipe = store.manifest.config["recipe"]
    if "letters" in recipe:
        return recipe["letters"]
    return LETTERS_OF.get(recipe["protocol"]["name"], "other")


def _names_and_letters(
    store: SweepStore, letters: Letters
) -> tuple[list[str], list[dict[str, Any]]]:
    """Of each sweep the name by which it is sorted, and its parameters by letters."""
    names: list[str] = []
    found: list[dict[str, Any]] = []
    between = "-" if letters == "110hz" else "_"
    for _, shard in store.shards():
        shape = shard.object.replace("/", "_")
        for name, parameters in zip(shard.names, shard.parameters, strict=True):
            values = to_letters(letters, parameters)
            if letters_of(values) != "other":
                name = between.join(f"{k}{v:g}" if k == "h" and isinstance(v, float) else f"{k}{v}"
                                    for k, v in values.items())  # fmt: skip
            names.append(f"{shape}_{name}")
            found.append(values)
    return names, found


def _declare_export(
    root: Path, store: SweepStore, split: Split | None, letters: Letters, numbers: dict[str, int]
) -> None:
    """Write ``export.json`` and ``labels.json``, or check that they are those of this export."""
    config = {
        "frames": store.time,
        "rate_hz": store.rate_hz,
        "sampling": store.sampling,
        "whiskers": list(store.whiskers),
        "units": {"force": "mN", "moment": "mN*mm"},
        "axes": "world",
        "letters": letters,
        "split": None if split is None else split.to_json(),
    }
    about = Manifest.of("npz export", config, inputs={"store": store.digest})
    texts = {
        ABOUT: about.to_json(),
        LABELS: json.dumps(numbers, indent=1, ensure_ascii=False) + "\n",
    }
    if (root / ABOUT).exists():
        known = read_about(root)
        if (known.config, dict(known.inputs)) != (json.loads(json.dumps(config)), about.inputs):
            raise refuse(
                "out", str(root), "holds the export of another store, state or split",
                "choose another folder",
            )  # fmt: skip
        texts.pop(ABOUT)  # its versions say what wrote the first files
    elif any(next((root / part).glob("*.npz"), None) for part in PARTS):
        raise refuse("out", str(root), "holds files of another origin", "choose another folder")
    for name, text in texts.items():
        with atomic_path(root / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _make_folders(root: Path) -> None:
    try:
        for part in PARTS:
            (root / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot be written ({error.strerror}); choose another output folder."
        ) from error
