"""Figures and figures in words of docs/alignment.md, from synthetic worlds alone.

    python benchmarks/alignment_figures.py --out docs/images     # some minutes on one core

Writes alignment_steps.png, alignment_chance.png, alignment_noise.png, and prints the numbers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vibrissa.neural.aligning import AlignConfig, align
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.measures import RSA
from vibrissa.neural.published import filtered_mean, quantities
from vibrissa.neural.published_auditing import PublishedConfig, deviations, published_protocol
from vibrissa.neural.selecting import session_of
from vibrissa.neural.session import Session
from vibrissa.neural.synth import SynthConfig, synth_sessions, synth_world
from vibrissa.neural.synth_recording import synth_recordings
from vibrissa.simulation.drawing import save_figure

BLUE, RED, GREY = "#0072b2", "#d55e00", "0.6"


def steps(worlds: int, draws: int) -> tuple[Figure, dict[str, Any]]:
    """A perfect and a meaningless model while one deviation after another is set right."""
    found: dict[str, list[Any]] = {"perfect": [], "meaningless": []}
    for seed in range(worlds):
        config = SynthConfig(
            animals=5, sessions=3, units=16, trials=170, tuning=0.2, recording_start_s=10.0
        )
        recordings = synth_recordings(config, seed)
        stored = [session_of(r.raw, trials="published") for r in recordings]
        shifted = [
            session_of(r.raw.shifted(-(r.raw.recording_start_s or 0.0)), trials="published")
            for r in recordings
        ]
        world = synth_world(config, seed)
        rates = np.concatenate([u.rate_hz for u in world.sessions], axis=1)
        rng = np.random.default_rng(seed)
        models = {
            "perfect": {"layer": rates},
            "meaningless": {f"layer{k}": rng.standard_normal((6, 50)) for k in range(10)},
        }
        for name, layers in models.items():
            table = deviations(
                layers, stored, shifted=shifted, stimuli=CONDITIONS,
                config=PublishedConfig(draws=draws),
            )  # fmt: skip
            found[name].append(table)
    names = found["perfect"][0]["step"].tolist()
    figure = Figure(figsize=(9, 3.8))
    numbers: dict[str, Any] = {"steps": names}
    panels = (
        ("model_score", "model score"), ("r_xy", "r with recordings, pooled"),
        ("r_yy", "split-half r, pooled"),
    )  # fmt: skip
    for k, (column, title) in enumerate(panels):
        axes = figure.add_subplot(1, 3, k + 1)
        for (model, tables), colour in zip(found.items(), (BLUE, RED), strict=True):
            values = np.array([t[column].to_numpy(dtype=float) for t in tables])
            axes.plot(values.T, range(len(names)), color=colour, alpha=0.25, linewidth=0.8)
            middle = np.nanmedian(values, axis=0)
            axes.plot(middle, range(len(names)), "o-", color=colour, label=model, markersize=4)
            numbers[f"{column} of the {model} model"] = middle.round(3).tolist()
        axes.set_title(title, fontsize=9)
        axes.set_yticks(range(len(names)), names if k == 0 else [""] * len(names), fontsize=8)
        axes.invert_yaxis()
        axes.axvline(0, color=GREY, linewidth=0.8)
        if column == "model_score":
            axes.axvline(1, color=GREY, linewidth=0.8, linestyle=":")
            axes.legend(fontsize=7, frameon=False)
    figure.set_layout_engine("constrained")
    return figure, numbers


def chance(worlds: int, draws: int) -> tuple[Figure, dict[str, Any]]:
    """The published maximum of meaningless models, beside the layer chosen on other animals."""
    published, ours, p_values = [], [], []
    for seed in range(worlds):
        config = SynthConfig(animals=6, sessions=2, units=16, trials=150, tuning=0.2)
        sessions = synth_sessions(config, 500 + seed // 8)
        rng = np.random.default_rng(seed)
        layers = {f"layer{k}": rng.standard_normal((6, 50)) for k in range(10)}
        found = published_protocol(
            layers, sessions, PublishedConfig(draws=draws), stimuli=CONDITIONS
        )
        # Python's max, as published, is NaN if the first value is: here the largest of the others
        published.append(float(np.nanmax(found.table["score"])))
        result = align(layers, sessions, AlignConfig(draws=draws, folds=0), stimuli=CONDITIONS)
        ours.append(float(result.models.iloc[0]["held_out_score"]))
        p_values.append(float(result.models.iloc[0]["p"]))
    figure = Figure(figsize=(8, 3.2))
    axes = figure.add_subplot(1, 2, 1)
    bins = np.linspace(-1, 1.3, 24).tolist()
    axes.hist(published, bins, color=RED, alpha=0.7, label="published: largest of layers x targets")
    axes.hist(ours, bins, color=BLUE, alpha=0.7, label="layer chosen on other animals")
    axes.axvline(0.956, color="k", linewidth=0.8, linestyle=":", label="best published model")
    axes.set_xlabel("score of meaningless models")
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    axes.set_ylim(0, 1.6 * axes.get_ylim()[1])
    axes = figure.add_subplot(1, 2, 2)
    axes.plot(np.sort(p_values), (np.arange(worlds) + 1) / worlds, color=BLUE)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    axes.set_xlabel("p of the held-out layer")
    axes.set_ylabel("share of models below")
    figure.set_layout_engine("constrained")
    return figure, {
        "published maximum, median": float(np.nanmedian(published)),
        "published maximum, above 0.7": float(np.mean(np.array(published) > 0.7)),
        "held-out score, median": float(np.nanmedian(ours)),
        "held-out p < 0.05": float(np.mean(np.array(p_values) <= 0.05)),
    }


def noise(worlds: int, draws: int) -> tuple[Figure, dict[str, Any]]:
    """What unequal numbers of trials do to untuned units; what filtering does to a mean."""
    counts = np.array([3, 5, 8, 15, 30, 60])
    measures = {
        "correlation": RSA(), "euclidean": RSA(rdm="euclidean", scale="sqrt"),
        "crossnobis": RSA(rdm="crossnobis", scale="sqrt"),
    }  # fmt: skip
    alike: dict[str, list[float]] = {name: [] for name in measures}
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        rows = np.repeat(np.arange(6), counts)
        sessions = [
            Session(
                name=str(a), animal=str(a), unit_ids=np.arange(25),
                condition=np.array(CONDITIONS)[rows],
                counts=rng.poisson(rng.gamma(2, 2, 25), (len(rows), 25)),
                duration_s=np.ones(len(rows)),
            )
            for a in range(6)
        ]  # fmt: skip
        for name, measure in measures.items():
            config = AlignConfig(draws=draws, folds=0, measure=measure, by=("animal",))
            layers = {"layer": rng.standard_normal((6, 20))}
            result = align(layers, sessions, config, stimuli=CONDITIONS)
            alike[name].append(float(result.rows(target="animals").iloc[0]["reliability"]))
    figure = Figure(figsize=(8, 3.2))
    axes = figure.add_subplot(1, 2, 1)
    for k, (name, values) in enumerate(alike.items()):
        axes.plot(np.full(worlds, k), values, "o", color=BLUE, alpha=0.4, label=name)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(range(3), list(alike), fontsize=8)
    axes.set_title("animal to animal, nothing tuned,\nsame unequal trials in all", fontsize=9)
    reliabilities = np.array([0.2, 0.4, 0.6, 0.8, 0.9])
    filtered, ratio = [], []
    rng = np.random.default_rng(0)
    for reliability in reliabilities:
        half = reliability / (2 - reliability)
        # 15 entries: the spread of a correlation about its value (Fisher)
        r_yy = np.tanh(np.arctanh(half) + rng.standard_normal((400, 1000)) / np.sqrt(12))
        r_xy = 0.7 * np.sqrt(reliability)
        filtered.append(
            np.mean([filtered_mean(quantities(np.full(1000, r_xy), np.ones(1000), row))
                     for row in r_yy[:40]])
        )  # fmt: skip
        mean = r_yy.mean(axis=1)
        ratio.append(np.mean(r_xy / np.sqrt(2 * mean / (1 + mean))))
    axes = figure.add_subplot(1, 2, 2)
    axes.plot(reliabilities, filtered, "o-", color=RED, label="published: mean of draws kept")
    axes.plot(reliabilities, ratio, "o-", color=BLUE, label="average first, then divide")
    axes.axhline(0.7, color=GREY, linewidth=0.8, linestyle=":", label="truth")
    axes.set_xlabel("reliability of the recordings")
    axes.set_ylabel("score")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=7, frameon=False)
    figure.set_layout_engine("constrained")
    return figure, {
        **{f"animal to animal, {k}, mean": float(np.nanmean(v)) for k, v in alike.items()},
        "mean of draws kept": dict(zip(reliabilities.tolist(), np.round(filtered, 2).tolist(),
                                       strict=True)),
        "average first": dict(zip(reliabilities.tolist(), np.round(ratio, 2).tolist(),
                                  strict=True)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--quick", action="store_true", help="few worlds and draws")
    arguments = parser.parse_args()
    few = arguments.quick
    numbers = {}
    parts = (
        ("alignment_noise", noise, 3 if few else 12, 20 if few else 100),
        ("alignment_chance", chance, 4 if few else 80, 20 if few else 200),
        ("alignment_steps", steps, 1 if few else 6, 20 if few else 200),
    )
    for name, part, worlds, draws in parts:
        figure, numbers[name] = part(worlds, draws)
        save_figure(figure, arguments.out / f"{name}.png")
    print(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
