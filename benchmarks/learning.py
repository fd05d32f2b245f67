"""Does learning work: a recurrent network against a linear machine and chance, by object.

Procedural objects touched at random places, heights, angles, sizes and speeds; parts of a split
hold whole objects. For every seed the objects are split anew, and on each split

- a linear support vector machine learns from the raw sweeps (as ``vibrissa dataset baseline``; its
  penalty is the best of three on the validation part),
- a small ConvRNN learns from labels,
- the same ConvRNN learns without labels (SimCLR), and a linear probe reads its features,
- the same probe reads the features of the network untrained.

Shares of test sweeps of all seeds together; 95 % intervals by a bootstrap over whole objects.

    python benchmarks/learning.py --out out/learning --docs docs

``--docs`` also writes the figure and the table of the guide. What is done is kept under ``--out``,
and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core is quicker than two threads

from vibrissa.core.files import atomic_path
from vibrissa.data.baseline import channel_grams
from vibrissa.data.splits import ByObject, Split
from vibrissa.data.store import SweepStore
from vibrissa.objectives import bootstrap_over_groups

CLASSES = (
    "bowl", "box", "cone", "cross", "cup", "cylinder", "gear", "pyramid", "star", "torus", "vase",
    "wavy_plate",
)  # fmt: skip
PROTOCOL = "protocol: random-passive\nsweeps: 16\n"
FRACTIONS = (0.65, 0.1, 0.25)
PENALTIES = (1.0, 10.0, 100.0)
SUPERVISED = {
    "model": "small:zhuang+none+linear",
    "objective": {"type": "supervised", "augmentation": ["time_shift", "gain", "noise"]},
    "optimiser": {"type": "adamw", "lr": 2e-3, "weight_decay": 0.05, "decay_all": False},
    "schedule": {"type": "cosine", "warmup_epochs": 1},
    "data": {"batch_size": 32},
    "clip_norm": 1.0,
    "epochs": 10,
}
# Mirrors and reversal, which the default pipeline has as well, make more of a task than so few
# steps can learn; what varies between touches of one object is enough.
SIMCLR = SUPERVISED | {
    "objective": {
        "type": "simclr", "hidden": 256, "dimension": 64, "pool": "mean",
        "augmentation": ["time_shift", "whisker_dropout", "gain", "noise"],
    },
    "data": {"batch_size": 64},
    "epochs": 5,
    "probe": "none",
}  # fmt: skip
NAMES = {
    "supervised": "ConvRNN, labels",
    "linear": "linear machine, raw sweeps",
    "simclr": "ConvRNN, SimCLR + linear probe",
    "untrained": "ConvRNN, untrained + linear probe",
}


def split_name(seed: int) -> str:
    return f"learning_{seed}"


def make_store(path: Path, objects: int, workers: int) -> SweepStore:
    """The store, made if it is not there yet."""
    protocol = path.parent / "protocol.yaml"
    protocol.parent.mkdir(parents=True, exist_ok=True)
    protocol.write_text(PROTOCOL)
    words = [
        sys.executable, "-m", "vibrissa.cli", "dataset", "build", "--out", str(path),
        "--objects", f"procedural:{','.join(CLASSES)}:{objects}", "--protocol", str(protocol),
        "--rate-hz", "110", "--solver.grid-spacing-mm", "0.5", "--workers", str(workers),
    ]  # fmt: skip
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return SweepStore.open(path)


def splits(store: SweepStore, seeds: int) -> None:
    for seed in range(seeds):
        if split_name(seed) not in store.splits:
            rule = ByObject(fractions=FRACTIONS, seed=seed)
            store.save_split(Split.make(split_name(seed), rule, store.table))


def linear(store: SweepStore, seed: int) -> dict[str, Any]:
    """A linear support vector machine on whole sweeps: right or wrong for each test sweep."""
    from sklearn.svm import SVC

    split = store.split(split_name(seed))
    train, validate, test = (
        split.indices(part, store.table) for part in ("train", "validate", "test")
    )
    labels = store.table["label_index"].to_numpy()
    grams = channel_grams(store, np.arange(len(store)))
    squares = np.diagonal(grams, axis1=1, axis2=2)[:, train].mean(axis=1, dtype=np.float64)
    weights = 1.0 / (squares * len(squares))  # channels of unit power, inputs of unit mean square
    kernel = np.einsum("c,cij->ij", weights, grams[:, :, train].astype(np.float64))
    best: tuple[float, Any] = (-1.0, None)
    for penalty in PENALTIES:
        machine = SVC(kernel="precomputed", C=penalty, cache_size=500)
        machine.fit(kernel[train], labels[train])
        share = float((machine.predict(kernel[validate]) == labels[validate]).mean())
        best = max(best, (share, machine), key=lambda pair: pair[0])
    right = best[1].predict(kernel[test]) == labels[test]
    return {"index": test.tolist(), "right": right.tolist()}


def supervised(store: SweepStore, seed: int, out: Path) -> dict[str, Any]:
    """A ConvRNN on labels."""
    import csv

    folder = _train(SUPERVISED, store, seed, out / f"supervised_{seed}")
    split = store.split(split_name(seed))
    with (folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
    index = split.indices("test", store.table)
    assert len(rows) == len(index)
    return {"index": index.tolist(), "right": [row["label"] == row["given"] for row in rows]}


def simclr(store: SweepStore, seed: int, out: Path) -> dict[str, Any]:
    """The probe of a ConvRNN trained without labels, and of the untrained one."""
    from vibrissa.train import probe

    folder = _train(SIMCLR, store, seed, out / f"simclr_{seed}")
    report = probe(folder, store, kind="linear")
    assert report.trained is not None
    index = store.split(split_name(seed)).indices("test", store.table)
    labels = store.table["label_index"].to_numpy()[index]
    return {
        "index": index.tolist(),
        "right": (report.trained.prediction == labels).tolist(),
        "untrained": (report.untrained.prediction == labels).tolist(),
    }


def _train(tree: dict[str, Any], store: SweepStore, seed: int, folder: Path) -> Path:
    from vibrissa.train import RunOptions, config_from_tree, train

    data = dict(tree["data"]) | {"split": split_name(seed)}
    config = config_from_tree(tree | {"data": data, "seed": seed})
    result = train(config, store, folder, options=RunOptions(quiet=True, threads=1))
    if result.status != "finished":
        raise SystemExit(result.message)
    return folder


def work(kind: str, seed: int, path: Path, out: Path) -> tuple[str, int, dict[str, Any]]:
    """One piece of work in a process of its own; what was done before is read."""
    kept = out / f"{kind}_{seed}.json"
    if kept.is_file():
        return kind, seed, json.loads(kept.read_text())
    wall, cpu = time.perf_counter(), time.process_time()
    store = SweepStore.open(path)
    if kind == "linear":
        found = linear(store, seed)
    else:
        found = (supervised if kind == "supervised" else simclr)(store, seed, out)
    found |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    with atomic_path(kept) as temporary:
        temporary.write_text(json.dumps(found))
    return kind, seed, found


def gather(store: SweepStore, found: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    """Shares and intervals of each way to learn."""
    objects = store.table["object"].to_numpy(dtype=object).astype(str)
    seeds = sorted({seed for _, seed in found})
    result: dict[str, Any] = {}
    for name in NAMES:
        kind, column = ("simclr", "untrained") if name == "untrained" else (name, "right")
        right = [np.array(found[kind, seed][column], bool) for seed in seeds]
        groups = [objects[found[kind, seed]["index"]] for seed in seeds]
        low, high = bootstrap_over_groups(np.concatenate(right), np.concatenate(groups))
        result[name] = {
            "share": float(np.concatenate(right).mean()), "low": low, "high": high,
            "by_seed": [float(r.mean()) for r in right],
        }  # fmt: skip
    gain = np.concatenate([
        np.array(found["simclr", seed]["right"], float)
        - np.array(found["simclr", seed]["untrained"], float)
        for seed in seeds
    ])  # fmt: skip
    groups = np.concatenate([objects[found["simclr", seed]["index"]] for seed in seeds])
    low, high = bootstrap_over_groups(gain, groups)
    result["gain_of_simclr"] = {"share": float(gain.mean()), "low": low, "high": high}
    labels = store.table["label_index"].to_numpy()
    index = np.concatenate([found["linear", seed]["index"] for seed in seeds])
    result["chance"] = float(np.bincount(labels[index]).max() / len(index))
    return result


def verdicts(result: dict[str, Any]) -> dict[str, bool]:
    """Whether one is above the other: intervals do not overlap, or (the same network with and
    without training, on the same sweeps) the interval of the difference is above zero."""
    return {
        "ConvRNN above the linear machine": result["supervised"]["low"] > result["linear"]["high"],
        "ConvRNN above chance": result["supervised"]["low"] > result["chance"],
        "SimCLR above the untrained network": result["gain_of_simclr"]["low"] > 0.0,
    }


def table(result: dict[str, Any]) -> str:
    lines = ["| | top-1, % | 95 % interval | by seed, % |", "|---|---|---|---|"]
    for name, label in NAMES.items():
        row = result[name]
        seeds = ", ".join(f"{100 * v:.1f}" for v in row["by_seed"])
        lines.append(
            f"| {label} | {100 * row['share']:.1f} | {100 * row['low']:.1f} to "
            f"{100 * row['high']:.1f} | {seeds} |"
        )
    lines.append(f"| chance | {100 * result['chance']:.1f} | | |")
    share, low, high = (100 * result["gain_of_simclr"][k] for k in ("share", "low", "high"))
    lines += ["", f"SimCLR gains {share:.1f} points over no training ({low:.1f} to {high:.1f})."]
    return "\n".join(lines) + "\n"


def draw(result: dict[str, Any], runs: list[Path], path: Path) -> None:
    """Shares with intervals, and the learning curves of the ConvRNN on labels."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from vibrissa.simulation import drawing_3d as three
    from vibrissa.simulation.drawing import save_figure
    from vibrissa.train import read_metrics

    colours = {"supervised": "#0072B2", "linear": "#888888", "simclr": "#009E73",
               "untrained": "#BBBBBB"}  # fmt: skip
    with three.style():
        figure = Figure(figsize=(9.6, 3.3), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        for place, name in enumerate(NAMES):
            row = result[name]
            share, low, high = (100 * row[k] for k in ("share", "low", "high"))
            left.barh(place, share, color=colours[name], height=0.62)
            left.plot([low, high], [place, place], color="black", lw=1.5)
            seeds = [100 * v for v in row["by_seed"]]
            left.plot(seeds, [place] * len(seeds), "o", color="black", ms=3)
            left.text(high + 1.5, place, f"{share:.0f}", va="center", fontsize=9)
        left.axvline(100 * result["chance"], color="#666666", ls=":", lw=1.0)
        left.text(100 * result["chance"] + 0.6, len(NAMES) - 0.42, "chance", fontsize=8,
                  color="#666666", va="bottom")  # fmt: skip
        left.set_yticks(range(len(NAMES)), list(NAMES.values()))
        left.set_ylim(len(NAMES) - 0.4, -0.6)
        left.set_xlim(0, 100)
        left.set_xlabel("Sweeps of new objects recognised (%)")
        for k, folder in enumerate(runs):
            rows = read_metrics(folder / "metrics.csv")
            epochs = [row["epoch"] for row in rows]
            for part, colour, label in (("train", "#0072B2", "training"),
                                        ("validate", "#D55E00", "validation")):  # fmt: skip
                values = [100 * float(row[f"{part}_top1"] or 0.0) for row in rows]
                right.plot(epochs, values, color=colour, lw=1.5, alpha=0.8,
                           label=label if k == 0 else None)  # fmt: skip
        right.set_xlabel("Epoch")
        right.set_ylabel("Top-1 accuracy (%)")
        right.set_ylim(0, 100)
        right.xaxis.set_major_locator(MaxNLocator(integer=True))
        right.legend(frameon=False, fontsize=8, loc="lower right")
        for axis in (left, right):
            axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/learning"))
    parser.add_argument("--store", type=Path, help="made under --out if omitted")
    parser.add_argument("--objects", type=int, default=192)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--docs", type=Path, help="folder of the guide, for its figure and table")
    given = parser.parse_args()
    begun = time.perf_counter()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.store or given.out / "store"
    store = SweepStore.open(path) if given.store else make_store(path, given.objects, given.workers)
    splits(store, given.seeds)
    kinds = ("supervised", "simclr", "linear")
    tasks = [(kind, seed) for seed in range(given.seeds) for kind in kinds]
    found: dict[tuple[str, int], dict[str, Any]] = {}
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(work, kind, seed, path, given.out) for kind, seed in tasks]
        for future in futures:
            kind, seed, numbers = future.result()
            found[kind, seed] = numbers
            share = np.mean(numbers["right"])
            print(
                f"{kind} {seed}: {100 * share:.1f} %, {numbers['cpu_s']:.0f} s of processor time",
                file=sys.stderr, flush=True,
            )  # fmt: skip
    result = gather(store, found)
    result["verdicts"] = verdicts(result)
    result["cpu_s"] = sum(numbers["cpu_s"] for numbers in found.values())
    result["wall_s"] = time.perf_counter() - begun
    result["sweeps"], result["objects"] = len(store), len(store.objects)
    (given.out / "learning.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result)
    (given.out / "learning.md").write_text(text)
    figure = given.out / "learning.png"
    draw(result, [given.out / f"supervised_{seed}" for seed in range(given.seeds)], figure)
    if given.docs:
        (given.docs / "images" / "learning.png").write_bytes(figure.read_bytes())
    print(text)
    for claim, holds in result["verdicts"].items():
        print(f"{'yes' if holds else 'NO '}  {claim}")
    print(f"{result['wall_s']:.0f} s, {result['cpu_s']:.0f} s of processor time")
    return 0 if all(result["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
