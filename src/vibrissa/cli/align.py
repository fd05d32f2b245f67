"""``vibrissa align``: activations and recordings -> scores with ceilings, intervals, p-values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from vibrissa.cli.choosing import writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import InputError, refuse

if TYPE_CHECKING:
    from vibrissa.neural.aligning import AlignConfig
    from vibrissa.neural.alignment import Alignment
    from vibrissa.neural.session import Session


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Options of ``vibrissa align``.

    Attributes:
        activations: Activations files, one per model, their stimuli named as the conditions are.
        recordings: NWB files, or folders that are searched for them.
        synthetic: instead of recordings, synthetic sessions of this seed.
        truth: with --synthetic, the layer (LAYER, or MODEL/LAYER) to which the synthetic neurons
            are tuned; by default they have a geometry of their own.
        out: folder for alignment.h5, .csv, .parquet and .png.
        measure: see vibrissa list measures.
        rdm: correlation, euclidean or crossnobis, for measures with RDMs.
        comparison: of RDMs: pearson, spearman, kendall, cosine, whitened_cosine or
            whitened_correlation.
        scale: of the responses: rate, sqrt, zscore or whitened.
        by: targets: animal, session, pooled.
        conditions: to compare, by name; all by default.
        task: only sessions of this task.
        window: published (start to choice), response_window, first_touch or contacts.
        trials: correct, answered (correct and error), error or published.
        mapping: YAML file that says what the columns mean; by default DANDI 000231.
        draws: random split halves.
        folds: groups of trials for the jackknife interval; 0 for none.
        permutations: all orders of the conditions if there are no more, else so many.
        min_reliability: from 0 to below 1; below it no score is given.
        seed: of everything random.
        published: run the published protocol as well, for audit, and what each deviation does
            (published.csv).
        figure: whether alignment.png is drawn, which --no-figure leaves out.
        json: print one JSON document on stdout.
        quiet: no progress bar, no remarks.
    """

    activations: tyro.conf.Positional[tuple[Path, ...]]
    recordings: tuple[Path, ...] = ()
    synthetic: int | None = None
    truth: str | None = None
    out: Path = Path("alignment")
    measure: str = "rsa"
    rdm: str | None = None
    comparison: str | None = None
    scale: str | None = None
    by: tuple[Literal["animal", "session", "pooled"], ...] = ("animal", "pooled")
    conditions: tuple[str, ...] = ()
    task: Literal["discrimination", "detection"] | None = None
    window: str | None = None
    trials: str = "correct"
    mapping: Path | None = None
    draws: int = 1000
    folds: int = 20
    permutations: int = 2000
    min_reliability: float = 0.2
    seed: int = 0
    published: bool = False
    figure: bool = True
    json: bool = False
    quiet: bool = False


def run(options: AlignOptions) -> int:
    """Score the models, write everything under the output folder, print a short table."""
    from vibrissa.activations.container import Activations
    from vibrissa.neural.aligning import AlignConfig

    if not options.activations:
        raise InputError("activations: no file is given; name one Activations file or more.")
    if bool(options.recordings) == (options.synthetic is not None):
        raise InputError(
            "recordings: give either --recordings PATHS or --synthetic SEED, and not both."
        )
    measure = _measure(options)
    config = AlignConfig(
        measure=measure, by=options.by, conditions=options.conditions or None,
        draws=options.draws, folds=options.folds, permutations=options.permutations,
        min_reliability=options.min_reliability, seed=options.seed,
    )  # fmt: skip
    if options.out.exists() and not options.out.is_dir():
        raise refuse("out", str(options.out), "a file, not a folder", "choose another folder")
    models: dict[str, Any] = {}
    for path in options.activations:
        found = Activations.load(path)
        name = found.model or path.name.split(".")[0]
        models[name if name not in models else f"{name} ({path.name})"] = found
    sessions = _sessions(options, models)
    with _output(options.out) as folder:
        return _write(options, models, sessions, config, folder)


def _write(
    options: AlignOptions, models: dict[str, Any], sessions: tuple[Session, ...],
    config: AlignConfig, folder: Path,
) -> int:  # fmt: skip
    from vibrissa.neural.aligning import align

    result = align(models, sessions, config, quiet=options.quiet)
    written = [result.save(folder / "alignment.h5"), result.to_csv(folder / "alignment.csv")]
    try:
        written.append(result.to_parquet(folder / "alignment.parquet"))
    except ImportError as error:
        _remark(options, str(error))
    if options.figure:
        written.append(_draw(result, folder / "alignment.png"))
    published = None
    if options.published:
        published = _published(options, models, sessions, folder)
        written.append(folder / "published.csv")
    document = {
        "measure": result.measure, "conditions": list(result.conditions),
        "models": _records(result.models), "table": _records(result.table),
        "remarks": list(result.remarks), "files": [str(path) for path in written],
    }  # fmt: skip
    if published is not None:
        document["published"] = published
    if options.json:
        print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    print(_short(result))
    for step in document.get("published", []):
        score = step["model_score"]
        print(f"published, {_line(step['model'])}: {step['step']}: score {_number(score)}")
    for remark in result.remarks:
        _remark(options, remark)
    _remark(options, f"written: {', '.join(str(path) for path in written)}")
    return 0


@contextmanager
def _output(path: Path) -> Iterator[Path]:
    """The output folder; what was made of it goes again if nothing comes to be written there."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield writable_folder(path)
    except BaseException:
        for folder in made:
            try:
                folder.rmdir()  # only if it is empty
            except OSError:
                break
        raise


def _measure(options: AlignOptions) -> Any:
    from vibrissa.neural.measures import measures

    kind: Any = measures.get(options.measure)
    known = {f.name for f in fields(kind)}
    given = {"rdm": options.rdm, "comparison": options.comparison, "scale": options.scale}
    for name, value in given.items():
        if value is not None and name not in known:
            raise refuse(name, value, f"measure {options.measure} has none", "leave it out")
    return kind(**{name: value for name, value in given.items() if value is not None})


def _sessions(options: AlignOptions, models: dict[str, Any]) -> tuple[Session, ...]:
    if options.synthetic is None:
        if options.truth is not None:
            raise refuse("truth", options.truth, "real neurons have their own", "use --synthetic")
        from vibrissa.neural.nwb import read_sessions

        sessions = read_sessions(
            options.recordings, window=options.window, trials=options.trials,
            mapping=options.mapping, quiet=options.quiet,
        )  # fmt: skip
    else:
        from vibrissa.neural.synth import SynthConfig, synth_sessions

        world = SynthConfig(animals=6, sessions=2, units=15, trials=160)
        sessions = synth_sessions(world, options.synthetic, features=_truth(options, models))
        _remark(options, f"synthetic recordings of seed {options.synthetic}: not data.")
    if options.task is not None:
        sessions = tuple(s for s in sessions if s.task == options.task)
        if not sessions:
            raise refuse("task", options.task, "no session has it", "leave it out")
    return sessions


def _truth(options: AlignOptions, models: dict[str, Any]) -> Any:
    from vibrissa.core.errors import refuse_unknown
    from vibrissa.neural.align_sources import match_conditions, sources_of
    from vibrissa.neural.conditions import CONDITIONS

    if options.truth is None:
        return None
    sources = sources_of(models)
    known = {f"{s.model}/{layer}": (s, layer) for s in sources for layer in s.layers}
    if len(sources) == 1:
        known |= {layer: (sources[0], layer) for layer in sources[0].layers}
    if options.truth not in known:
        raise refuse_unknown("truth", options.truth, known)
    source, layer = known[options.truth]
    match_conditions(source, CONDITIONS, True)
    return source.patterns(layer, CONDITIONS)


def _published(
    options: AlignOptions, models: dict[str, Any], sessions: tuple[Session, ...], folder: Path
) -> list[dict[str, Any]]:
    """The published protocol on the same files, and with one deviation mended after another."""
    import pandas as pd

    from vibrissa.neural.published_auditing import PublishedConfig, deviations

    shifted = None
    if options.recordings:
        from vibrissa.neural.nwb import read_published

        same = {"mapping": options.mapping, "quiet": options.quiet}
        sessions = read_published(options.recordings, subtract_recording_start=False, **same)
        shifted = read_published(options.recordings, **same)
    tables = []
    for name, model in models.items():
        table = deviations(
            {name: model}, sessions, shifted=shifted, config=PublishedConfig(draws=options.draws)
        )
        table.insert(0, "model", name)
        tables.append(table)
    joined = pd.concat(tables, ignore_index=True)
    joined.to_csv(folder / "published.csv", index=False, lineterminator="\n")
    return _records(joined)


def _draw(result: Alignment, path: Path) -> Path:
    from vibrissa.neural.align_figures import draw_alignment
    from vibrissa.simulation.drawing import save_figure

    save_figure(draw_alignment(result), path)
    return path


def _records(table: Any) -> list[dict[str, Any]]:
    """Rows with None where there is no number."""
    rows = table.to_dict(orient="records")
    return [{k: None if v != v else v for k, v in row.items()} for row in rows]  # NaN != NaN


def _short(result: Alignment) -> str:
    """The best layers of each model on the first target, and the model by held-out layers."""
    from vibrissa.neural.align_figures import main_target

    target = main_target(result)
    head = ("model", "layer", "raw", "ceil", "score", "interval", "p", "p_max", "status")
    cells: list[tuple[str, ...]] = [head]
    for model in dict.fromkeys(result.table["model"]):
        rows = result.rows(target=target, model=model)
        for _, row in rows.sort_values("raw", ascending=False).head(3).iterrows():
            cells.append(
                (
                    _line(model), _line(row["layer"]), _number(row["raw"]),
                    _number(row["ceiling"]), _number(row["score"]), _interval(row),
                    _number(row["p"], 4), _number(row["p_max"], 4), row["status"],
                )
            )  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"{result.measure}, target {target}:"]
    for line in cells:
        name = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
        rest = [text.rjust(width) for text, width in zip(line[2:-1], widths[2:-1], strict=True)]
        lines.append("  " + " ".join([*name, *rest]) + f"  {line[-1]}")
    for _, row in result.models.iterrows():
        why = "" if row["status"] == "ok" else f" ({row['status']})"
        lines.append(
            f"{_line(row['model'])}: layer chosen on the other animals: score "
            f"{_number(row['held_out_score'])}{why} {_interval(row)}, "
            f"p = {_number(row['p'], 4)}, q = {_number(row['q'], 4)}"
        )
    return "\n".join(lines)


def _interval(row: Any) -> str:
    """``[low, high]``; where there is none a remark says why."""
    low, high = _number(row["low"]), _number(row["high"])
    return "no interval" if low == "-" or high == "-" else f"[{low}, {high}]"


def _line(name: str) -> str:
    """A name whole, on one line."""
    return name if name.isprintable() else repr(name)[1:-1]


def _number(value: Any, digits: int = 2) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _remark(options: AlignOptions, text: str) -> None:
    if not options.quiet:
        say(text)
