"""The check of a store: every byte, every shape, every number, every label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.progress import track
from vibrissa.data.building import FAILURES, failures
from vibrissa.data.declaration import STORE, declared_objects, read_manifest
from vibrissa.data.index import INDEX, SHARDS, index_is_in_step, shard_files
from vibrissa.data.sealed import check_seal
from vibrissa.data.shard import Shard
from vibrissa.data.sources import shard_path
from vibrissa.data.splits import leaks
from vibrissa.data.store import SweepStore


@dataclass(kw_only=True)
class CheckReport:
    """What a check found.

    Attributes:
        shards: how many are whole.
        sweeps: how many they hold.
        problems: (kind, sentence); the kinds are ``damaged``, ``missing``, ``foreign``,
            ``mixed``, ``values``, ``labels``, ``index``, ``split`` and ``failed``.
        leaks: name of a split -> what crosses it; a split by sweep leaks by intent.
    """

    shards: int = 0
    sweeps: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    leaks: dict[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def check(path: Path | str, *, quiet: bool = True) -> CheckReport:
    """Read a whole store and compare all with all.

    Seals of all shards, their form and recipe, that values are finite and whiskers, rate and
    length agree, that the object's class is that of the manifest, that every object has a shard,
    that the index is in step, and that splits fit and what leaks through them.

    Raises:
        InputError: the folder is no store at all.
    """
    root = Path(path)
    manifest = read_manifest(root)
    declared = declared_objects(root, manifest)
    report = CheckReport()
    files = shard_files(root)
    names = {shard_path(name): name for name in declared}
    layouts: dict[tuple[Any, ...], str] = {}
    recipes: dict[str, str] = {}
    for file in track(files, "checking shards", unit="shard", quiet=quiet):
        if file not in names:
            report.problems.append(
                ("foreign", f"{root / SHARDS / file}: no object of this data set; remove it.")
            )
            continue
        try:
            check_seal(root / SHARDS / file)
            with Shard(root / SHARDS / file) as shard:
                report.problems += _problems_of(shard, names[file], declared[names[file]])
                layout = (shard.whiskers, shard.rate_hz, shard.shape[1], shard.frames)
                layouts.setdefault(layout, file)
                recipes.setdefault(shard.recipe_sha256, file)
                report.shards += 1
                report.sweeps += len(shard)
        except InputError as error:
            report.problems.append(("damaged", str(error)))
    wanted = digest_of_bytes(json.dumps(manifest.config["recipe"], sort_keys=True).encode())
    if recipes and wanted not in recipes:
        report.problems.append(
            ("mixed", f"{root / STORE}: its recipe is not that of the shards; restore the file.")
        )
    report.problems += _across(root, declared, files, layouts, recipes)
    if not any(kind in ("damaged", "mixed") for kind, _ in report.problems):
        report.problems += _splits(root, report)
    return report


def _problems_of(shard: Shard, name: str, label: str) -> Iterator[tuple[str, str]]:
    if shard.object != name:
        yield "foreign", f"{shard.path}: holds {shard.object!r}, not {name!r}; build again."
    if shard.label != label:
        yield (
            "labels",
            f"{shard.path}: label = {shard.label!r}: the manifest says {label!r}; build again.",
        )
    for frame in shard.frames:
        values = shard.loads(frame=frame)
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            yield (
                "values",
                f"{shard.path}: sweep {row} ({shard.names[row]}) has values that are not finite; "
                "remove the file and build again.",
            )
    counts = {len(shard.names), len(shard.parameters), len(shard.contact()), len(shard.summary)}
    if counts != {len(shard)}:
        yield "values", f"{shard.path}: its tables have {sorted(counts)} rows; build again."


def _across(
    root: Path,
    declared: dict[str, str],
    files: dict[str, int],
    layouts: dict[tuple[Any, ...], str],
    recipes: dict[str, str],
) -> Iterator[tuple[str, str]]:
    failed = {entry["object"]: entry["reason"] for entry in failures(root)}
    missing = [name for name in declared if shard_path(name) not in files]
    for name in missing:
        if name in failed:
            yield "failed", f"{name}: {failed[name]} (traceback under {root / FAILURES})"
    plain = [name for name in missing if name not in failed]
    if plain:
        yield (
            "missing",
            f"{root}: {len(plain)} of {len(declared)} objects have no shard, the first is "
            f"{plain[0]}; run the same build again, which goes on.",
        )
    for what, found in (("layouts", layouts), ("recipes", recipes)):
        if len(found) > 1:
            yield (
                "mixed",
                f"{root}: shards of {len(found)} {what}, for instance "
                f"{' and '.join(list(found.values())[:2])}; build again.",
            )
    if files and (root / INDEX).exists():
        try:
            check_seal(root / INDEX)
            if not index_is_in_step(root):
                yield "index", f"{root / INDEX}: out of step with the shards; build again."
        except InputError as error:
            yield "index", str(error)
    elif files:
        yield "index", f"{root / INDEX}: not there, so opening is slow; build again."


def _splits(root: Path, report: CheckReport) -> Iterator[tuple[str, str]]:
    try:
        store = SweepStore.open(root)
    except InputError as error:
        yield "index", str(error)
        return
    for name in store.splits:
        try:
            codes = store.split(name).codes(store.table)
        except InputError as error:
            yield "split", str(error)
            continue
        report.leaks[name] = leaks(codes, store.table).sentence()
