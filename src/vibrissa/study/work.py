"""What is done for one cell: train, probe, take activations, write down what came of it.

A cell is done when its ``cell.json`` stands in its folder, and what is done is not repeated. A
training that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.study.cells import UNTRAINED, Cell

RESULT: Final = "cell.json"
ACTIVATIONS: Final = "activations.acts.h5"
RUN: Final = "run"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell and what it needs.

    Attributes:
        cell: what to do.
        store: folder of the data set.
        split: name of the split.
        stimuli: file of the sweeps whose activations are taken.
        folder: of the cell.
        threads: of torch in this process; None leaves them as they are.
        device: where networks compute.
    """

    cell: Cell
    store: Path
    split: str
    stimuli: Path
    folder: Path
    threads: int | None = None
    device: str = "cpu"


def run_cell(job: Job) -> dict[str, Any]:
    """Do a cell, or read what it gave before.

    Returns:
        Plain JSON types: the cell's names, ``status``, ``accuracy`` with its interval, and so on.

    Raises:
        InputError: the recipe, the data set or the model cannot be used.
        KeyboardInterrupt: it was interrupted; it goes on next time.
    """
    known = read_cell(job.folder)
    if known is not None:
        return known
    if job.threads is not None:
        import torch

        torch.set_num_threads(job.threads)
    made = _control(job) if job.cell.objective == UNTRAINED else _trained(job)
    found = _names(job.cell) | made
    with atomic_path(job.folder / RESULT) as partial:
        partial.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return found


def read_cell(folder: Path) -> dict[str, Any] | None:
    """What a cell gave, or None if it is not done."""
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); remove it, and run again.") from error
    if not isinstance(found, dict) or "status" not in found:
        raise InputError(f"{path}: not the result of a cell; remove it, and run again.")
    return found


def _names(cell: Cell) -> dict[str, Any]:
    encoder, attender, decoder = cell.parts
    return {
        "label": cell.label, "model": cell.model, "encoder": encoder, "attender": attender,
        "decoder": decoder, "objective": cell.objective, "augmentation": cell.augmentation,
        "seed": cell.seed, "published": cell.published, "key": cell.key,
    }  # fmt: skip


def _trained(job: Job) -> dict[str, Any]:
    from vibrissa.train import RunOptions, config_from_tree, load_run, probe, train

    tree: dict[str, Any] = {**job.cell.recipe, "model": job.cell.model, "seed": job.cell.seed}
    tree["data"] = {**dict(tree.get("data", {})), "split": job.split}
    config = config_from_tree(tree, origin=job.cell.label)
    options = RunOptions(threads=1, quiet=True, accelerator=job.device)
    result = train(config, job.store, job.folder / RUN, options=options)
    if result.status == "stopped":
        raise KeyboardInterrupt
    found: dict[str, Any] = {
        "status": result.status, "message": result.message,
        "parameters": result.tree["parameters"], "epochs": result.tree["epochs"],
        "collapse": result.tree.get("collapse"),
    }  # fmt: skip
    if result.status != "finished":
        return found | {"accuracy": None}
    scores = (result.scores or {}).get("test", {})
    if "top1" in scores:
        found |= _accuracy(scores["top1"], scores.get("chance"))
    else:
        report = probe(
            job.folder / RUN, job.store, kind="linear", split=job.split, device=job.device
        )
        assert report.trained is not None
        found |= _probed(report.trained)
    _activations(job, load_run(job.folder / RUN))
    return found


def _control(job: Job) -> dict[str, Any]:
    from vibrissa.data.datamodule import DataModule
    from vibrissa.models import build
    from vibrissa.train import probe

    data = DataModule(job.store, job.split, quiet=True)
    shape: Any = data.input_shape
    model = build(job.cell.model, n_classes=data.n_classes, input_shape=shape, seed=job.cell.seed)
    report = probe(
        f"untrained:{job.cell.model}", job.store, kind="linear", split=job.split,
        seed=job.cell.seed, device=job.device,
    )  # fmt: skip
    found = {"status": "finished", "message": "First weights, linear probe.", "epochs": 0}
    found |= {"parameters": sum(p.numel() for p in model.parameters()), "collapse": None}
    _activations(job, model, data)
    return found | _probed(report.untrained)


def _accuracy(top1: dict[str, Any], chance: float | None) -> dict[str, Any]:
    low, high = top1.get("objects_95") or top1["wilson_95"]
    return {
        "accuracy": top1["value"], "low": low, "high": high, "chance": chance,
        "by": "decoder",
    }  # fmt: skip


def _probed(result: Any) -> dict[str, Any]:
    low, high = result.top1_interval
    return {
        "accuracy": result.top1, "low": low, "high": high, "chance": result.chance,
        "by": "linear probe",
    }  # fmt: skip


def _activations(job: Job, network: Any, data: Any = None) -> None:
    """Show the stimuli, made into input as the training made its own; a control takes the
    normalisation of the same split."""
    from vibrissa.activations.stimuli import InputConfig, choose_stimuli

    if not job.stimuli.is_file():
        raise refuse("stimuli", str(job.stimuli), "there is no such file", "run the study again")
    if data is None:
        way = InputConfig.of_run(network)
    else:
        way = InputConfig(
            input_shape=tuple(data.input_shape), preprocessing=data.preprocessing,
            normalisation=data.normalisation, rate_hz=data.store.rate_hz,
            stored_frames=data.store.time,
        )  # fmt: skip
    target = job.folder / ACTIVATIONS
    target.unlink(missing_ok=True)  # of a cell that was killed before it was done
    name = f"{job.cell.label} seed {job.cell.seed}"
    stimuli = choose_stimuli(str(job.stimuli), way)
    stimuli.extract(network, out=target, seed=job.cell.seed, name=name, device=job.device).close()
