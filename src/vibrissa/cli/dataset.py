"""``vibrissa dataset check / split / info / plot / baseline``: look at a data set, and split it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from vibrissa.cli.choosing import writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Options of ``vibrissa dataset check``.

    Attributes:
        data: folder of the data set.
        json: print one JSON document on stdout.
        quiet: no progress bar.
    """

    data: tyro.conf.Positional[Path]
    json: bool = False
    quiet: bool = False


def run_check(config: CheckConfig) -> int:
    """Check every shard, the index and the splits; exit status 1 if anything is wrong."""
    from vibrissa.data.checking import check

    report = check(config.data, quiet=config.quiet)
    if config.json:
        document = {
            "sound": report.sound,
            "shards": report.shards,
            "sweeps": report.sweeps,
            "problems": [{"kind": kind, "problem": text} for kind, text in report.problems],
            "leaks": report.leaks,
        }
        print(json.dumps(document, indent=1, ensure_ascii=False))
        return 0 if report.sound else 1
    for _, text in report.problems:
        print(text)
    for name, text in report.leaks.items():
        print(f"split {name}: {text}")
    verdict = "sound" if report.sound else f"{len(report.problems)} problems"
    print(f"{report.shards} shards with {report.sweeps} sweeps are whole: {verdict}.")
    return 0 if report.sound else 1


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Options of ``vibrissa dataset split``.

    Attributes:
        data: folder of the data set.
        kind: by_object keeps the sweeps of an object together, by_sweep does not (as published),
            by_class holds whole classes out, by_draw takes the parts that the protocol drew.
        name: name of the split; by default its kind.
        fractions: of train, validate and test; by default those of the kind.
        seed: of the draw.
        normalise: kinds of normalisation to measure on the training part.
        frame: frame in which to measure it.
        quiet: no progress bar, no remarks.
    """

    data: tyro.conf.Positional[Path]
    kind: str = "by_object"
    name: str | None = None
    fractions: tuple[float, float, float] | None = None
    seed: int | None = None
    normalise: tuple[str, ...] = ("rms",)
    frame: str = "base"
    quiet: bool = False


def run_split(config: SplitConfig) -> int:
    """Split, measure the normalisation of the training part, write both into the store."""
    from dataclasses import fields

    from vibrissa.data.normalising import measured
    from vibrissa.data.preprocessing import Preprocessing
    from vibrissa.data.splits import Split, class_counts, leaks, remarks, split_kinds
    from vibrissa.data.store import SweepStore

    store = SweepStore.open(config.data, quiet=config.quiet)
    kind: Any = split_kinds.get(config.kind)
    known = {f.name for f in fields(kind)}
    given = {"fractions": config.fractions, "seed": config.seed}
    for name, value in given.items():
        if value is not None and name not in known:
            raise refuse(name, value, f"a split {config.kind} has none", "leave it out")
    chosen = kind(**{name: value for name, value in given.items() if value is not None})
    table = store.table
    split = Split.make(config.name or config.kind, chosen, table)
    for word in config.normalise:
        recipe = Preprocessing(normalise=word, frame=config.frame)  # pyright: ignore
        split = measured(store, split, recipe, quiet=config.quiet)
    path = store.save_split(split)
    codes = split.codes(table)
    if not config.quiet:
        for remark in remarks(codes, table):
            say(remark)
        counts = class_counts(codes, table)
        totals = ", ".join(f"{part} {counts[part].to_numpy().sum()}" for part in counts.columns)
        say(f"{totals} sweeps; {leaks(codes, table).sentence()}")
    print(path)
    return 0


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Options of ``vibrissa dataset info``.

    Attributes:
        data: folder of the data set.
        figure: write a figure there, PNG, PDF or SVG by the name.
        shards: read the loads of at most so many shards for the distributions.
        json: print one JSON document on stdout.
        quiet: no progress bar.
    """

    data: tyro.conf.Positional[Path]
    figure: Path | None = None
    shards: int = 200
    json: bool = False
    quiet: bool = False


def run_info(config: InfoConfig) -> int:
    """Say what a data set holds."""
    from vibrissa.data.describing import describe, describe_text, load_statistics
    from vibrissa.data.store import SweepStore

    store = SweepStore.open(config.data, quiet=config.quiet)
    statistics = load_statistics(store, most_shards=config.shards, quiet=config.quiet)
    found = describe(store, statistics=statistics, quiet=config.quiet)
    print(json.dumps(found, indent=1, ensure_ascii=False) if config.json else describe_text(found))
    if config.figure is not None:
        from vibrissa.data.figures import draw_info
        from vibrissa.simulation.drawing import save_figure

        writable_folder(config.figure.parent)
        figure = draw_info(store, statistics=statistics, quiet=config.quiet)
        say(f"figure: {save_figure(figure, config.figure)}")
    return 0


@dataclass(frozen=True, kw_only=True)
class PlotConfig:
    """Options of ``vibrissa dataset plot``.

    Attributes:
        data: folder of the data set.
        query: which sweeps, for instance "label == 'cup' and distance_mm == 5"; all by default.
        count: how many of them, evenly spread, at most 12.
        out: the figure, PNG, PDF or SVG by the name.
    """

    data: tyro.conf.Positional[Path]
    query: str | None = None
    count: int = 6
    out: Path = Path("sweeps.png")


def run_plot(config: PlotConfig) -> int:
    """Draw some sweeps as images of moment over time and whisker."""
    import numpy as np

    from vibrissa.data.figures import draw_sweeps
    from vibrissa.data.store import SweepStore
    from vibrissa.simulation.drawing import save_figure

    if not 1 <= config.count <= 12:
        raise refuse("count", config.count, "not from 1 to 12", "draw fewer, or several figures")
    store = SweepStore.open(config.data)
    found = np.arange(len(store)) if config.query is None else store.query(config.query)
    if not len(found):
        raise refuse("query", config.query, "no sweep fits", "ask for less")
    spread = np.unique(np.linspace(0, len(found) - 1, config.count).round().astype(int))
    writable_folder(config.out.parent)
    print(save_figure(draw_sweeps(store, found[spread]), config.out))
    return 0
