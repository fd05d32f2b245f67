"""The report of a study: one page, its tables and figures.

Nothing in it depends on when or how fast the work was done, so that a study that was interrupted
gives the same page as one that was not.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.report import Page, Picture, Section, Table, Text
from vibrissa.report import figures as draw
from vibrissa.report.findings import Finding, as_table, findings, interval
from vibrissa.study.card import dataset_card
from vibrissa.study.cells import UNTRAINED
from vibrissa.study.stages import LOADS, SPLIT, STUDY, StudyResult, film, folder_of
from vibrissa.study.tables import HEALTHY, Rows, by_network, runs_table
from vibrissa.study.work import RUN

if TYPE_CHECKING:
    from vibrissa.data.store import SweepStore

PAGE: Final = "report.html"
_SYNTHETIC: Final = (
    "**Synthetic recordings.** No animal was recorded: spikes were drawn by a generator whose "
    "units are tuned to what the whiskers feel. Alignment below tests the method, not a brain."
)


def write_report(result: StudyResult) -> list[Path]:
    """Write ``report.html``, ``tables/``, ``figures/`` and the animation into the study's folder.

    Returns:
        The files, the page first.
    """
    from vibrissa.data.store import SweepStore

    store = SweepStore.open(result.out / "data")
    runs = runs_table(result)
    networks = by_network(runs)
    found = findings(_claimable(runs), ceiling=_ceiling(result))
    sections = [
        _summary(runs, networks, found),
        _accuracy(result, runs, networks),
        _learning(result),
        _alignment(result, runs, networks),
        _claims(found),
        _published(runs),
        _stimuli(result),
        dataset_card(result.config, store, SPLIT),
        _warnings(result, store, runs),
        _manifest(result),
    ]
    page = Page(
        title=f"Vibrissa study: {result.config.name}",
        lead=result.config.grid.about,
        banner=_SYNTHETIC if result.config.synthetic else "",
        facts={
            "networks": f"{len(result.cells)}",
            "seeds": f"{result.config.grid.seeds}",
            "objects": f"{len(store.table['object'].unique())}",
            "classes": f"{len(store.labels)}",
            "sweeps": f"{len(store.table):,}",
        },
        sections=[section for section in sections if section is not None],
    )
    return page.write(result.out / PAGE)


def _claimable(runs: Rows) -> Any:
    """Trained runs that learned something; collapsed and failed ones count for no claim."""
    kept: Any = runs[
        (runs["objective"] != UNTRAINED)
        & (runs["status"] == "finished")
        & runs["collapse"].isin(HEALTHY)
    ]
    return kept.assign(accuracy=kept["accuracy"].astype(float))


def _ceiling(result: StudyResult) -> float | None:
    """On the scale of scores, which are divided by the animals' ceiling, an animal stands at 1."""
    return None if result.alignment is None else 1.0


# --- sections --------------------------------------------------------------------------------


def _summary(runs: Rows, networks: Rows, found: Sequence[Finding]) -> Section:
    chance = _chance(runs)
    parts: list[Any] = [
        Text(text=f"Accuracy on objects that were not trained on; chance is {100 * chance:.1f} %.")
    ]
    for objective, group in networks.groupby("objective", sort=False):
        known = group[np.isfinite(group["accuracy"])]
        if known.empty:
            parts.append(Text(text=f"**{objective}**: no network gave an accuracy."))
            continue
        best = known.iloc[0]
        margin, low, high = (100 * (best[c] - chance) for c in ("accuracy", "low", "high"))
        verdict = "above chance" if low > 0 else "not distinguishable from chance"
        others = f"the best of {len(known)} networks, " if len(known) > 1 else ""
        parts.append(
            Text(
                text=f"**{objective}**: {best['label']}, {others}{100 * best['accuracy']:.1f} %, "
                f"{margin:+.1f} points from chance ({low:+.1f} to {high:+.1f} over "
                f"{best['interval over']}): {verdict}."
            )
        )
    controls = networks[(networks["objective"] == UNTRAINED) & np.isfinite(networks["accuracy"])]
    trained = networks[(networks["objective"] != UNTRAINED) & np.isfinite(networks["accuracy"])]
    if len(controls) and len(trained):
        gain = 100 * (trained["accuracy"].max() - controls["accuracy"].max())
        parts.append(
            Text(
                text=f"The best trained network stands {gain:+.1f} points from the best network "
                "with its first weights and a linear probe. Random features of touch are often "
                "good; where training adds little, neither accuracy nor alignment tells "
                "architectures apart by what they learned.",
                kind="note",
            )
        )
    decided = [f for f in found if f.verdict != "undecided at this scale"]
    parts.append(
        Text(
            text=f"Of {len(found)} claims of the published study, {len(decided)} are decided here. "
            "A claim needs several seeds; see Findings.",
            kind="note",
        )
    )
    return Section(title="Summary", parts=parts)


def _chance(runs: Rows) -> float:
    return float(runs["chance"].dropna().max()) if runs["chance"].notna().any() else float("nan")


def _accuracy(result: StudyResult, runs: Rows, networks: Rows) -> Section:
    chance = _chance(runs)
    known = networks[np.isfinite(networks["accuracy"])]
    rows = [(str(r.label), r.accuracy, r.low, r.high) for r in known.itertuples()]
    parts: list[Any] = []
    if rows:
        best = rows[0]
        over = " and ".join(sorted(set(known["interval over"])))
        parts.append(
            Picture(
                draw=lambda: draw.draw_accuracy(rows, chance=chance),
                caption=f"Accuracy on new objects with 95 % intervals over {over}.",
                alt=f"Accuracy of {len(rows)} networks; the best is {best[0]} with "
                f"{100 * best[1]:.0f} %, chance is {100 * chance:.0f} %.",
                name="accuracy",
            )
        )
    parts.append(
        Table(frame=networks, caption="Each network: means over its seeds.", name="networks")
    )
    shown = runs[
        ["label", "objective", "seed", "parameters", "accuracy", "low", "high", "by", "collapse"]
    ].sort_values(["accuracy", "label", "seed"], ascending=[False, True, True])
    parts.append(
        Table(frame=shown, caption="Each training; intervals over objects.", name="accuracy")
    )
    confusion = _confusion(result)
    if confusion is not None:
        parts.append(confusion)
    return Section(title="Accuracy", parts=parts)


def _confusion(result: StudyResult) -> Picture | None:
    known = [c for c in result.cells if c.get("by") == "decoder" and c.get("accuracy") is not None]
    for cell in sorted(known, key=lambda c: (-c["accuracy"], c["key"])):
        file = folder_of(result.out, cell) / RUN / "predictions.csv"
        if not file.exists():
            continue
        with file.open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["part"] == "test"]
        labels = sorted({row["label"] for row in rows} | {row["given"] for row in rows})
        matrix = np.zeros((len(labels), len(labels)), dtype=int)
        for row in rows:
            matrix[labels.index(row["label"]), labels.index(row["given"])] += 1
        return Picture(
            draw=partial(draw.draw_confusion, matrix, labels),
            caption=f"Answers of {cell['label']}, seed {cell['seed']}, on new objects.",
            alt=f"Confusion matrix; {np.trace(matrix)} of {matrix.sum()} answers are right.",
            name="confusion", width=620,
        )  # fmt: skip
    return None


def _learning(result: StudyResult) -> Section | None:
    from vibrissa.train import read_metrics

    curves: dict[str, dict[str, list[float]]] = {}
    for cell in result.cells:
        file = folder_of(result.out, cell) / RUN / "metrics.csv"
        if not file.exists() or cell["seed"] != result.config.seed:
            continue
        rows = read_metrics(file)
        parts = {}
        for part, column in (("train", "train_loss"), ("validate", "validate_loss")):
            values = [float(row[column]) for row in rows if row.get(column) is not None]  # type: ignore[arg-type]
            if values:
                parts[part] = values
        if parts:
            curves[cell["label"]] = parts
    if not curves:
        return None
    first = dict(list(curves.items())[:4])
    return Section(
        title="Learning",
        parts=[
            Picture(
                draw=lambda: draw.draw_curves(first, "Loss (of each objective's own kind)"),
                caption="Learning curves of the first networks of the grid.",
                alt="Loss by epoch in training and validation; "
                + "; ".join(
                    f"{name} from {p['train'][0]:.2f} to {p['train'][-1]:.2f}"
                    for name, p in first.items()
                    if "train" in p
                ),
                name="learning",
            )
        ],
    )


def _alignment(result: StudyResult, runs: Rows, networks: Rows) -> Section | None:
    alignment = result.alignment
    if alignment is None:
        return None
    trained = runs[(runs["objective"] != UNTRAINED) & runs["alignment"].notna()]
    chosen = trained.sort_values(["alignment", "label"], ascending=[False, True])
    parts: list[Any] = [Text(text=" ".join(alignment.remarks))]
    for row in list(chosen.itertuples())[:2]:
        name = f"{row.label} seed {row.seed}"
        parts.append(_layers(alignment, name))
    name = f"{chosen.iloc[0]['label']} seed {chosen.iloc[0]['seed']}" if len(chosen) else ""
    if name and alignment.target_rdms:
        layer = str(chosen.iloc[0]["alignment layer"])
        rdms = {"recordings, pooled": alignment.rdm("pooled")}
        for key, title in ((f"{LOADS}/input", LOADS), (f"{name}/{layer}", layer)):
            if key in alignment.layer_rdms:
                rdms[title] = alignment.rdm(key)
        parts.append(
            Picture(
                draw=lambda: draw.draw_rdms(rdms, alignment.conditions),
                caption="Dissimilarity of the six conditions in the recordings, at the whiskers, "
                f"and in layer {layer} of {name}.",
                alt=f"{len(rdms)} matrices of six by six conditions.",
                name="rdms",
            )
        )
    points = [
        (str(r.label), float(r.accuracy), float(r.alignment), str(r.objective))
        for r in networks.itertuples()
        if np.isfinite(r.accuracy) and np.isfinite(r.alignment)
    ]
    if len(points) >= 3:
        parts.append(
            Picture(
                draw=lambda: draw.draw_accuracy_alignment(points, ceiling=1.0),
                caption="Accuracy against alignment, means over seeds; the layer of each network "
                "was chosen on animals that it is not scored on.",
                alt=f"{len(points)} networks as points, accuracy across and alignment up.",
                name="accuracy_alignment",
            )
        )
    columns = ["model", "chosen", "held_out_score", "low", "high", "p", "q", "status"]
    table: Any = alignment.models[columns]
    parts.append(
        Table(
            frame=table,
            caption="Alignment of each network, its layer chosen on held-out animals; q is the "
            "false discovery rate over networks.",
            name="alignment",
        )
    )
    return Section(title="Alignment with recordings", parts=parts)


def _layers(alignment: Any, name: str) -> Picture:
    rows = alignment.rows(model=name, target="animals")
    low, high = (rows[c].to_numpy(dtype=float) for c in ("low", "high"))
    score, raw = (rows[c].to_numpy(dtype=float) for c in ("score", "raw"))
    ratio = np.nanmedian(score / np.where(raw == 0, np.nan, raw))
    ends = rows[["ceiling_lower", "ceiling_upper"]].to_numpy(dtype=float)[0] * ratio
    null = np.quantile(alignment.null_max[f"{name}/animals"], [0.025, 0.975]) * ratio
    layers = [str(v) for v in rows["layer"]]
    best = alignment.models.set_index("model").loc[name, "chosen"]
    finite = np.isfinite(ends).all()
    return Picture(
        draw=lambda: draw.draw_alignment(
            layers, score.tolist(), low.tolist(), high.tolist(),
            ceiling=(float(ends[0]), float(ends[1])) if finite else None,
            null=(float(null[0]), float(null[1])), highlight=str(best),
        ),
        caption=f"{name}: alignment by layer with 95 % intervals. The null is the largest value "
        "over layers under relabelled conditions; the square is the layer chosen on "
        "held-out animals.",
        alt=f"Scores of {len(layers)} layers, {np.nanmin(score):.2f} to {np.nanmax(score):.2f}.",
        name="layers_" + re.sub(r"[^A-Za-z0-9]+", "_", name),
    )  # fmt: skip


def _claims(found: Sequence[Finding]) -> Section:
    table = as_table(found)
    parts: list[Any] = [
        Text(
            text="Each claim of the published study (arXiv 2505.18361) as an effect with its 95 % "
            "interval over seeds. None is decided by one seed, and a claim that is supported here "
            "is supported for these data and this scale."
        ),
        Table(frame=table, caption="Claims, effects, verdicts.", name="findings"),
    ]
    if np.isfinite(table["low"].astype(float)).any():
        parts.append(
            Picture(
                draw=lambda: draw.draw_findings(table),
                caption="Effects over the half-widths of their intervals.",
                alt="; ".join(f"{f.claim} {f.verdict}" for f in found),
                name="findings",
            )
        )
    return Section(title="Findings", parts=parts)


def _published(runs: Rows) -> Section | None:
    named = runs[runs["published"].astype(bool)]
    if named.empty:
        return None
    from vibrissa.models import zoo

    rows = []
    for name, group in named.groupby("published"):
        entry = zoo()[str(name)]
        here, low, high = interval(group["accuracy"].astype(float).to_numpy())
        rows.append(
            {
                "published model": entry.name, "published top-1 (%)": entry.top1_percent,
                "published run collapsed": entry.collapsed, "here (%)": 100 * here,
                "low (%)": 100 * low, "high (%)": 100 * high,
                "seeds": int(group["accuracy"].notna().sum()),
            }
        )  # fmt: skip
    import pandas as pd

    table = pd.DataFrame(rows)
    parts: list[Any] = [
        Text(
            text="Other objects, another number of classes, another simulator and, here, no object "
            "in training and test at once: compare the order, not the digits.",
            kind="note",
        )
    ]
    both = table[np.isfinite(table["here (%)"]) & ~table["published run collapsed"]]
    if len(both) >= 4:
        from scipy.stats import kendalltau

        tau: Any = kendalltau(both["published top-1 (%)"], both["here (%)"])
        parts.append(
            Text(
                text=f"Order of the {len(both)} networks that did not collapse there: Kendall's "
                f"tau-b {tau.statistic:+.2f} (p = {tau.pvalue:.2g})."
            )
        )
    parts.append(
        Table(
            frame=table, caption="Published accuracy beside that of this study.", name="published"
        )
    )
    return Section(title="Beside the published table", parts=parts)


def _stimuli(result: StudyResult) -> Section:
    moving, still = film(result.out)
    return Section(
        title="Stimuli",
        parts=[
            Text(
                text="The six stimuli of the shape task of Rodgers et al. 2022 "
                "(doi:10.1038/s41597-022-01728-1): a concave and a convex surface at three "
                "distances, touched by whisking."
            ),
            Picture(
                file=moving, still=still, caption="One of the stimuli, touched by whisking.",
                alt="Thirty whiskers sweep over a curved surface; beside them the moment at the "
                "base of each.",
            ),
        ],
    )  # fmt: skip


def _warnings(result: StudyResult, store: SweepStore, runs: Rows) -> Section:
    lines = [f"Not done: {key} ({reason})." for key, reason in result.failed.items()]
    for row in runs.itertuples():
        if row.status != "finished":
            lines.append(f"{row.label}, seed {row.seed}: {row.status}.")
        elif row.collapse not in HEALTHY:
            lines.append(f"{row.label}, seed {row.seed}: {row.collapse}; it counts for no claim.")
    expected, there = result.config.grid.data.expected, len(store.objects)
    if expected is not None and there < expected:
        lines.append(f"{there:,} objects, of {expected:,} that this study is meant for.")
    if result.config.grid.seeds < 3:
        lines.append("Fewer than three seeds: intervals over seeds are wide or absent.")
    parts = [Text(text=line, kind="warning") for line in lines]
    return Section(title="Warnings", parts=parts or [Text(text="None.")])


def _manifest(result: StudyResult) -> Section:
    text = (result.out / STUDY).read_text(encoding="utf-8")
    tree = json.loads(text)
    import pandas as pd

    versions = pd.DataFrame(sorted(tree["versions"].items()), columns=["package", "version"])
    grid = json.dumps(tree["config"]["grid"], indent=None)
    return Section(
        title="Manifest",
        folded=True,
        parts=[
            Text(text=f"First seed {tree['seed']}; the whole configuration is in `{STUDY}`."),
            Table(frame=versions, caption="Versions.", name="versions"),
            Text(text=f"`{grid}`"),
        ],
    )
