"""``vibrissa dataset export``, ``import`` and ``baseline``: other layouts, a linear yardstick."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse
from vibrissa.data.baseline import BaselineConfig


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of ``vibrissa dataset export``.

    Attributes:
        data: folder of the data set.
        out: folder to write to.
        layout: npz is the published one, a file per sweep in mN and world axes; webdataset gives
            tar archives of model input.
        split: which split decides on train, validate and test; none puts all into train.
        shard_size: sweeps per archive of webdataset.
        quiet: no progress bar, no remarks.
    """

    data: tyro.conf.Positional[Path]
    out: Path
    layout: Literal["npz", "webdataset"] = "npz"
    split: str = "by_object"
    shard_size: int = 1000
    quiet: bool = False


def run_export(config: ExportConfig) -> int:
    """Export, and say what was written; files of an earlier, interrupted run are kept."""
    from vibrissa.data.interchange import export_npz, export_webdataset
    from vibrissa.data.normalising import measured
    from vibrissa.data.preprocessing import Preprocessing
    from vibrissa.data.store import SweepStore

    store = SweepStore.open(config.data, quiet=config.quiet)
    split = None if config.split == "none" else store.split(config.split)
    if config.layout == "npz":
        report = export_npz(store, split, config.out, quiet=config.quiet)
    else:
        if split is None:
            raise refuse(
                "split", "none", "webdataset holds normalised input, which needs a training part",
                "name a split",
            )  # fmt: skip
        wanted = Preprocessing()
        split = measured(store, split, wanted, quiet=config.quiet)
        report = export_webdataset(
            store, split, config.out, shard_size=config.shard_size, preprocessing=wanted,
            normalisation=split.normalisation(wanted.normalise, wanted.frame), quiet=config.quiet,
        )  # fmt: skip
    if not config.quiet:
        say(report.sentence())
    print(config.out)
    return 0


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Options of ``vibrissa dataset import``.

    Attributes:
        folder: the published layout: folders train, validate and test of npz files.
        out: folder of the new data set.
        labels: JSON file, class name -> number; by default labels.json in the folder, else classes
            are named by their numbers.
        rate_hz: frames per second; by default as exported, or the published rate.
        quiet: no progress bar, no remarks.
    """

    folder: tyro.conf.Positional[Path]
    out: Path
    labels: Path | None = None
    rate_hz: float | None = None
    quiet: bool = False


def run_import(config: ImportConfig) -> int:
    """Import, and say what was refused; exit status 1 if anything was."""
    from vibrissa.data.interchange import import_npz

    labels = None if config.labels is None else _label_map(config.labels)
    report = import_npz(
        config.folder, config.out, labels=labels, rate_hz=config.rate_hz, quiet=config.quiet
    )
    for path, reason in report.refused:
        say(f"refused: {reason}" if str(path) in reason else f"refused: {path}: {reason}")
    if not config.quiet:
        say(report.sentence())
    print(config.out)
    return 1 if report.refused else 0


def _label_map(path: Path) -> dict[str, int]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refuse("labels", str(path), f"no JSON file ({error})", "check the path") from error
    whole = isinstance(tree, dict) and all(
        isinstance(v, int) and not isinstance(v, bool) for v in tree.values()
    )
    if not whole:
        raise refuse("labels", str(path), "not class names with numbers", 'write {"cup": 0, ...}')
    return tree


@dataclass(frozen=True, kw_only=True)
class BaselineOptions:
    """Options of ``vibrissa dataset baseline``.

    Attributes:
        data: folder of the data set.
        baseline: classes, folds and so on.
        out: also write the result there, JSON or Markdown by the name.
        json: print one JSON document instead of a table.
        quiet: no progress bar.
    """

    data: tyro.conf.Positional[Path]
    baseline: tyro.conf.OmitArgPrefixes[BaselineConfig] = field(default_factory=BaselineConfig)
    out: Path | None = None
    json: bool = False
    quiet: bool = False


def run_baseline(config: BaselineOptions) -> int:
    """Train and test linear classifiers on the raw sweeps; what leaks between sweeps of one object
    is the difference between by_sweep and by_object."""
    from vibrissa.core.files import atomic_path
    from vibrissa.data.baseline import svm_baseline
    from vibrissa.data.store import SweepStore

    store = SweepStore.open(config.data, quiet=config.quiet)
    result = svm_baseline(store, config.baseline, quiet=config.quiet)
    document = json.dumps(result.to_dict(), indent=1, ensure_ascii=False)
    if config.out is not None:
        text = result.to_markdown() if config.out.suffix == ".md" else document
        with atomic_path(config.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    print(document if config.json else result.to_markdown())
    return 0
