"""What came of a training: scores with intervals, verdicts of collapse, curves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from vibrissa.core.files import atomic_path
from vibrissa.objectives import bootstrap_over_groups, diagnose, extract_features, wilson
from vibrissa.objectives.supervised import told_of
from vibrissa.train.checkpoint import load_weights, read_checkpoint
from vibrissa.train.curves import save_curves
from vibrissa.train.folder import CHECKPOINTS
from vibrissa.train.learner import Predictions, evaluate
from vibrissa.train.probing import pool_of, probe_part, whole_loader

if TYPE_CHECKING:
    from vibrissa.data.datamodule import DataModule
    from vibrissa.train.loop import Loop

PREDICTIONS: Final = "predictions.csv"


def summary(
    loop: Loop, status: str, message: str, folder: Path, *, quiet: bool = False
) -> dict[str, Any]:
    """The tree of ``result.json``; curves and, of a classifier, predictions are written beside.

    Scores are those of the best epoch and stand only in the result of a finished training: what
    was measured before a loss was not finite is under ``before_non_finite``.
    """
    place, model = loop.place, loop.learner.model
    history, best = place.history, loop.monitor.best
    tree: dict[str, Any] = {
        "status": status,
        "message": message,
        "model": model.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_parameters": sum(p.numel() for p in loop.parameters),
        "labels": len(loop.data.labels),
        "epochs": place.epoch,
        "epochs_wanted": loop.config.epochs,
        "steps": place.step,
        "remarks": list(loop.data.remarks),
        "monitor": loop.monitor.metric,
        "best": best,
        "last": history[-1] if history else None,
        "scores": None,
        "collapse": None,
    }
    if status == "non-finite":
        tree["before_non_finite"] = tree.pop("best")
        tree["last"] = None
        tree["collapse"] = {"verdict": "not finite"}
    if status == "finished":
        source = folder / CHECKPOINTS / "best.pt"
        state = read_checkpoint(source)
        load_weights(model, state["model"], source)
        load_weights(loop.learner.objective, state["objective"], source)
        tree |= _scores(loop, folder)
    if history:
        save_curves(history, folder, title=model.name, chance=_chance(loop.data, "validate"))
    return tree


def _scores(loop: Loop, folder: Path) -> dict[str, Any]:
    data, learner = loop.data, loop.learner
    parts = [part for part in data.parts if part != "train"]
    scores: dict[str, Any] = {}
    found: dict[str, Predictions] = {}
    collapse = None
    for part in parts:
        if learner.objective.uses_decoder:
            _, predictions = evaluate(
                learner, whole_loader(data, part), loop.fabric.device, seed=loop.config.seed
            )
            if predictions is not None:
                found[part] = predictions
                scores[part] = _classified(data, part, predictions, loop.config.seed)
        elif loop.config.probe != "none":
            result = probe_part(learner.model, data, loop.config, part)
            scores[part] = {f"{loop.config.probe}_probe": result.to_dict()}
    if found:
        _write_predictions(folder / PREDICTIONS, data, found)
        first = found[parts[0]]
        collapse = diagnose(
            logits=torch.from_numpy(first.logits), labels=torch.from_numpy(first.label)
        )
    elif parts:
        features = extract_features(
            learner.model, whole_loader(data, parts[0]), pool=pool_of(loop.config)
        )
        collapse = diagnose(embedding=torch.from_numpy(features.values))
    return {
        "scores": scores,
        "collapse": None if collapse is None else collapse.to_dict() | {"sentence": str(collapse)},
    }


def _classified(data: DataModule, part: str, said: Predictions, seed: int) -> dict[str, Any]:
    objects = data.store.table["object"].to_numpy(dtype=object).astype(str)[said.index]
    found: dict[str, Any] = {"chance": _chance(data, part), "sweeps": len(said.index)}
    found["objects"] = len(np.unique(objects))
    for k in told_of(data.n_classes):
        name = f"top{k}"
        right = said.right(k)
        found[name] = {
            "value": float(right.mean()),
            "right": int(right.sum()),
            "wilson_95": list(wilson(int(right.sum()), len(right))),
            "objects_95": list(bootstrap_over_groups(right, objects, seed=seed))
            if found["objects"] > 1
            else None,
        }
    return found


def _chance(data: DataModule, part: str) -> float | None:
    """Share of the commonest class of a part."""
    if part not in data.parts:
        return None
    index = data.split.indices(part, data.store.table)
    labels = data.store.table["label_index"].to_numpy()[index]
    return float(np.bincount(labels).max() / len(labels))


def _write_predictions(path: Path, data: DataModule, found: dict[str, Predictions]) -> None:
    """One line per sweep: part, sweep, object, class, what was said, score of it."""
    table = data.store.table
    names = [table[column].to_numpy(dtype=object) for column in ("sweep", "object")]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "sweep", "object", "label", "given", "probability"])
        for part, said in found.items():
            shifted = said.logits - said.logits.max(axis=1, keepdims=True)
            shares = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
            for k, position in enumerate(said.index):
                given = int(said.ranked[k, 0])
                writer.writerow([
                    part, *(column[position] for column in names), data.labels[said.label[k]],
                    data.labels[given] if given >= 0 else "", f"{shares[k, max(given, 0)]:.4f}",
                ])  # fmt: skip
