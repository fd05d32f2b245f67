"""A store from a folder in the published layout (see :mod:`vibrissa.data.npz_layout`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path, digest_of_bytes
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import track
from vibrissa.data.declaration import STORE, read_manifest
from vibrissa.data.index import SHARDS, write_index
from vibrissa.data.npz_layout import (
    ABOUT,
    LABELS,
    PUBLISHED_WHISKERS,
    Header,
    check_shape,
    from_letters,
    letters_of,
    read_about,
    read_header,
    read_loads_uN,
)
from vibrissa.data.sealed import check_seal
from vibrissa.data.shard import Shard, ShardContent, write_shard
from vibrissa.data.sources import shard_path
from vibrissa.data.splits import PARTS, ByDraw, Split
from vibrissa.data.store import SweepStore
from vibrissa.morphology.grid import GRID_COLUMNS, grid_place, scatter_to_grid

IMPORTED_SPLIT: Final = "imported"
_DEFAULT_RATE_HZ: Final[dict[str, float]] = {"110hz": 110.0}
_PUBLISHED_RATE_HZ: Final = 1000.0 / 9.0  # every ninth frame of 1000 per second


@dataclass(kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        objects: shards that the store has now.
        sweeps: sweeps that it has now.
        kept: shards that were there and whole, of the same files.
        counts: part -> sweeps.
        refused: (file, reason) of files that were left out, sorted.
    """

    objects: int = 0
    sweeps: int = 0
    kept: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[Path, str]] = field(default_factory=list)

    def sentence(self) -> str:
        """The report in words."""
        parts = ", ".join(f"{count} {part}" for part, count in self.counts.items())
        text = f"{self.sweeps} sweeps ({parts}) of {self.objects} objects imported"
        text += f", {self.kept} objects kept" if self.kept else ""
        return text + (f", {len(self.refused)} files refused." if self.refused else ".")


def import_npz(
    folder: Path | str,
    out: Path | str,
    *,
    labels: Mapping[str, int] | None = None,
    whiskers: Sequence[str] | None = None,
    rate_hz: float | None = None,
    quiet: bool = True,
) -> ImportReport:
    """Make a store of a folder in the published layout, one shard per object.

    Loads become float32 in uN and uN*mm; they are in world axes and stay so: asked for those in
    the base frame, the store refuses. Contact, flags and overlap are unknown: contact reads False,
    the column ``contact_known`` says that this means nothing, and ``contact_share``, ``flagged``
    and ``overlapping`` are NaN. The folders become the split ``imported``; the column ``part``
    names them. Sweeps are named after their files. What was imported before from the same files is
    not made again.

    Args:
        folder: has one or more of the folders train, validate and test.
        out: the folder of the store.
        labels: name of the class -> number; by default ``labels.json`` in the folder, else classes
            are named after their numbers.
        whiskers: where there are whiskers on the grid; by default as exported, else the 30 of the
            mouse's right side.
        rate_hz: frames per second; by default as exported, else 110 for the 110 Hz set and
            1000 / 9 for other files, which the published program strides so.
        quiet: no progress bar.

    Returns:
        What was done, with every file that was left out and why.

    Raises:
        InputError: no such folders, no usable file at all, damaged ``labels.json``, or the store
            is one of another kind.
        OutputError: the store cannot be written to.
    """
    source, root = Path(folder), Path(out)
    if rate_hz is not None and not 0.0 < rate_hz < float("inf"):
        raise refuse("rate_hz", rate_hz, "must be positive", "give frames per second")
    numbers = _check_labels("labels", labels) if labels is not None else _read_labels(source)
    about = read_about(source).config if (source / ABOUT).exists() else {}
    files = [(part, file) for part in PARTS for file in sorted((source / part).glob("[!.]*.npz"))]
    if not files:
        raise refuse(
            "folder", str(source), f"no npz files in {', '.join(PARTS)} below it",
            "give a folder in the published layout",
        )  # fmt: skip
    report = ImportReport()
    heads = _read_headers(files, about.get("frames"), numbers, report, quiet=quiet)
    if not heads:
        raise InputError(
            f"{source}: none of {len(files)} files can be used, the first because "
            f"{report.refused[0][1]}"
        )
    names = whiskers or about.get("whiskers") or PUBLISHED_WHISKERS
    kinds = {letters_of(head.found) for _, _, head in heads}
    letters = about.get("letters") or (kinds.pop() if len(kinds) == 1 else "other")
    rate = rate_hz
    if rate is None:
        rate = float(about.get("rate_hz") or _DEFAULT_RATE_HZ.get(letters, _PUBLISHED_RATE_HZ))
    recipe = {
        "imported": "npz",
        "frames": heads[0][2].data_shape[0],
        "rate_hz": float(rate),
        "sampling": about.get("sampling") or "point",
        "whiskers": list(names),
        "letters": letters,
    }
    used = {head.label for _, _, head in heads}
    numbers = numbers or {f"label_{number:03d}": number for number in sorted(used)}
    _Import(source, root, recipe, numbers, heads, report).run(quiet=quiet)
    return report


_Heads = list[tuple[str, Path, Header]]


class _Import:
    """The second pass: object by object."""

    def __init__(
        self, source: Path, root: Path, recipe: dict[str, Any], numbers: Mapping[str, int],
        heads: _Heads, report: ImportReport,
    ) -> None:  # fmt: skip
        self._source, self._root, self._recipe = source, root, recipe
        self._report = report
        scatter_to_grid(np.zeros(len(recipe["whiskers"])), recipe["whiskers"])  # or it refuses
        self._places = [r * GRID_COLUMNS + c for r, c in map(grid_place, recipe["whiskers"])]
        self._numbers = dict(sorted(numbers.items()))
        self._name_of = {number: name for name, number in numbers.items()}
        self._digest = digest_of_bytes(json.dumps(recipe, sort_keys=True).encode())
        self._manifest = Manifest.of("shard", recipe)  # once: it looks up every version
        self._files: dict[str, _Heads] = {}
        for head in heads:
            self._files.setdefault(head[2].shape, []).append(head)

    def run(self, *, quiet: bool) -> None:
        self._agree()
        objects = {name: self._name_of[f[0][2].label] for name, f in sorted(self._files.items())}
        self._declare(objects)
        for name in track(list(objects), "importing", unit="object", quiet=quiet):
            if not self._make(name, objects[name]):
                del objects[name]
        if not objects:
            self._refuse_all()
        self._declare(objects)
        report = self._report
        report.refused.sort()
        write_index(self._root)
        store = SweepStore.open(self._root)
        report.objects, report.sweeps = len(objects), len(store)
        parts = Counter(store.table["part"].tolist())
        report.counts = {part: parts[part] for part in PARTS}
        if report.counts["train"]:
            split = Split.make(IMPORTED_SPLIT, ByDraw(fraction=0.0), store.table)
            store.save_split(split)

    def _agree(self) -> None:
        if not (self._root / STORE).exists():
            return
        known = read_manifest(self._root).config
        if not isinstance(known, dict) or known.get("recipe") != self._recipe:
            raise refuse(
                "out", str(self._root), "holds another data set", "choose another output folder"
            )
        others = sorted(set(known.get("objects", {})) - set(self._files))
        if others:
            raise refuse(
                "out", str(self._root), f"holds objects of another folder, such as {others[0]}",
                "choose another output folder",
            )  # fmt: skip

    def _declare(self, objects: Mapping[str, str]) -> None:
        config = {"recipe": self._recipe, "labels": self._numbers, "objects": dict(objects)}
        text = Manifest.of("dataset", config).to_json()
        with atomic_path(self._root / STORE) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _make(self, name: str, label: str) -> bool:
        """Write the shard of an object; whether it has any sweep."""
        kept: list[tuple[str, np.ndarray, dict[str, Any]]] = []
        packed: list[bytes] = []
        for part, path, head in self._files[name]:
            try:
                content = path.read_bytes()
                loads = read_loads_uN(content, self._recipe["frames"], self._places)
            except (OSError, InputError) as error:
                self._report.refused.append((path, str(error)))
                continue
            packed += [f"{part}/{path.name}".encode(), content]
            parameters = from_letters(head.found) | {"part": part, "contact_known": False}
            kept.append((f"{part}/{path.stem}", loads, parameters))
        target = self._root / SHARDS / shard_path(name)
        if not kept:
            target.unlink(missing_ok=True)
            return False
        digest = digest_of_bytes(*packed)
        if _is_made(target, digest, self._digest, label):
            self._report.kept += 1
            return True
        world = np.stack([loads for _, loads, _ in kept])
        content = ShardContent(
            object=name,
            label=label,
            geometry="",
            source_sha256=digest,
            recipe_sha256=self._digest,
            whiskers=tuple(self._recipe["whiskers"]),
            rate_hz=self._recipe["rate_hz"],
            sampling=self._recipe["sampling"],
            loads={"world": world},
            contact=np.zeros(world.shape[:3], dtype=bool),
            base_rotation=None,
            summary=_summary(world),
            names=tuple(sweep for sweep, _, _ in kept),
            parameters=tuple({"object": name} | parameters for _, _, parameters in kept),
            manifest=replace(self._manifest, inputs={name: digest}).to_json(),
        )
        write_shard(target, content)
        return True

    def _refuse_all(self) -> None:
        raise InputError(
            f"{self._source}: none of its files can be used, the first because "
            f"{self._report.refused[0][1]}"
        )


def _summary(loads: np.ndarray) -> np.ndarray:
    """As :data:`~vibrissa.data.shard.SUMMARY`; NaN for what the layout does not say."""
    from vibrissa.simulation.sweep import LARGE_FORCE_UN

    force = np.linalg.norm(loads[..., :3].astype(np.float64), axis=-1)
    moment = np.linalg.norm(loads[..., 3:].astype(np.float64), axis=-1)
    unknown = np.full(len(loads), np.nan)
    columns = [
        unknown, force.max(axis=(1, 2)), moment.max(axis=(1, 2)),
        (force > LARGE_FORCE_UN).mean(axis=(1, 2)), unknown, unknown,
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)


def _is_made(path: Path, source: str, recipe: str, label: str) -> bool:
    try:
        check_seal(path)
        with Shard(path) as shard:
            return (shard.source_sha256, shard.recipe_sha256, shard.label) == (
                source, recipe, label,
            )  # fmt: skip
    except InputError:
        return False


def _read_headers(
    files: Sequence[tuple[str, Path]], frames: int | None, numbers: Mapping[str, int] | None,
    report: ImportReport, *, quiet: bool,
) -> _Heads:  # fmt: skip
    """The first pass: what the files say of themselves, without those that cannot be used."""
    heads: _Heads = []
    for part, path in track(files, "reading", unit="file", quiet=quiet):
        try:
            heads.append((part, path, read_header(path)))
        except InputError as error:
            report.refused.append((path, str(error)))
    if frames is None and heads:
        frames = Counter(h.data_shape[:1] for _, _, h in heads).most_common(1)[0][0][0]
    votes: dict[str, Counter[int]] = {}
    known = None if numbers is None else set(numbers.values())
    for _, _, head in heads:
        if known is None or head.label in known:
            votes.setdefault(head.shape, Counter())[head.label] += 1
    good: _Heads = []
    for part, path, head in heads:
        try:
            check_shape(head.data_shape, int(frames or 0))
            if known is not None and head.label not in known:
                raise InputError(f"label = {head.label} is not in {LABELS}; correct one of them.")
            most = votes[head.shape].most_common(1)[0][0]
            if head.label != most:
                raise InputError(
                    f"label = {head.label}, but other sweeps of {head.shape} have {most}; "
                    "correct it."
                )
            good.append((part, path, head))
        except InputError as error:
            report.refused.append((path, str(error)))
    return good


def _read_labels(folder: Path) -> dict[str, int] | None:
    path = folder / LABELS
    if not path.exists():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refuse(str(path), "", f"not readable JSON ({error})", "restore it") from error
    return _check_labels(str(path), tree)


def _check_labels(origin: str, tree: Any) -> dict[str, int]:
    numbers = list(tree.values()) if isinstance(tree, Mapping) else [None]
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
    if not whole or len(set(numbers)) < len(numbers) or not all(isinstance(k, str) for k in tree):
        raise refuse(
            origin, tree, "not a map from names of classes to different numbers from 0 on",
            'write for instance {"bottle": 0, "cup": 1}',
        )  # fmt: skip
    return dict(tree)
