"""What a training is made of, before it begins: options, loaders, model and objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vibrissa.augment import check_fits
from vibrissa.core.errors import refuse
from vibrissa.core.manifest import to_tree
from vibrissa.data.cache import CachePolicy
from vibrissa.data.datamodule import DataModule, LoaderConfig
from vibrissa.data.store import SweepStore
from vibrissa.models import build
from vibrissa.objectives import SupervisedConfig, objectives
from vibrissa.train.config import TrainConfig
from vibrissa.train.folder import load_run
from vibrissa.train.learner import Learner
from vibrissa.train.loop import seed_all


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a training runs here; nothing of it changes what is learned, beyond rounding.

    Attributes:
        devices: processes on this machine, each with a device of its own.
        nodes: machines, where a launcher such as SLURM started this on each.
        accelerator: ``auto``, ``cpu``, ``cuda`` or another that Lightning knows.
        cache: of decoded sweeps, see :func:`vibrissa.data.cache.open_cache`.
        threads: how many read ahead; None for the processors there are, at most 4.
        save_every_s: seconds between checkpoints within an epoch.
        save_every_steps: steps between them instead.
        track: ``wandb``, ``mlflow``.
        tell: takes a line for every epoch, where no progress bar is seen.
        quiet: no progress bar.
    """

    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    cache: CachePolicy = "auto"
    threads: int | None = None
    save_every_s: float = 600.0
    save_every_steps: int | None = None
    track: tuple[str, ...] = ()
    tell: Callable[[str], None] | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        for name in ("devices", "nodes", "save_every_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise refuse(name, value, "must be at least 1", "give 1 or more")
        if not self.save_every_s > 0:
            raise refuse("save_every_s", self.save_every_s, "not positive", "give some seconds")


def make_data(
    config: TrainConfig, store: SweepStore | Path | str, options: RunOptions, *,
    rank: int, world_size: int,
) -> DataModule:  # fmt: skip
    """The loaders of one process."""
    loaders = LoaderConfig(
        batch_size=config.data.batch_size,
        eval_batch_size=config.data.eval_batch_size,
        seed=config.seed,
        drop_last=config.data.drop_last,
        cache=options.cache,
        threads=options.threads,
        pin_memory=torch.cuda.is_available() and options.accelerator != "cpu",
    )
    return DataModule(
        store, config.data.split, loaders, preprocessing=config.data.preprocessing,
        rank=rank, world_size=world_size, quiet=options.quiet,
    )  # fmt: skip


def check_config(config: TrainConfig) -> None:
    """Refuse what would train without an error, and not what was meant.

    Raises:
        InputError: an augmentation that is not physical for this input, or batches in which an
            objective has nothing to compare.
    """
    check_fits(config.objective.augmentation, config.data.preprocessing)
    least, size = config.objective.least_batch, config.data.batch_size // config.accumulate
    if size < least:
        name = objectives.name_of(config.objective)
        parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
        raise refuse(
            "batch_size", config.data.batch_size,
            f"{name} learns from comparing sweeps of a batch{parts}",
            f"give {least * config.accumulate} or more",
        )  # fmt: skip


def check_folder(store: SweepStore | Path | str) -> None:
    """Refuse a file where a data set is a folder.

    Raises:
        InputError: it is a file.
    """
    if isinstance(store, Path | str) and Path(store).is_file():
        raise refuse(
            "data", str(store), "a file, and a data set is a folder",
            "give the folder that vibrissa dataset build wrote",
        )  # fmt: skip


def check_data(config: TrainConfig, data: DataModule) -> None:
    """Refuse data that a configuration does not fit.

    Raises:
        InputError: another number of classes, classes that are tested and not trained, or a
            metric to monitor and no validation part.
    """
    if config.monitor is not None and "validate" not in data.parts:
        raise refuse(
            "monitor", config.monitor, f"the split {data.split.name} has no validation part, on "
            "which metrics are measured", "leave it out, or choose another split",
        )  # fmt: skip
    if config.n_classes is not None and config.n_classes != data.n_classes:
        raise refuse(
            "n_classes", config.n_classes, f"the store {data.store.path} has {data.n_classes}",
            "leave it out, or give a store with that many",
        )  # fmt: skip
    if isinstance(config.objective, SupervisedConfig):
        gap = untrained(data)
        if gap:
            some = ", ".join(gap[:5]) + (f" and {len(gap) - 5} more" if len(gap) > 5 else "")
            raise refuse(
                "split", data.split.name,
                f"classes to be tested have no sweeps to train with ({some})",
                "choose another split, or a self-supervised objective",
            )  # fmt: skip


def untrained(data: DataModule) -> tuple[str, ...]:
    """Classes with sweeps in the validation or test part, and none in training."""
    codes = data.split.codes(data.store.table)
    labels = data.store.table["label_index"].to_numpy()
    asked = np.unique(labels[codes > 0]).tolist()
    return tuple(data.labels[k] for k in asked if data.labels[k] not in data.trained_labels)


def make_learner(config: TrainConfig, data: DataModule) -> Learner:
    """Model and objective with their first weights, which follow from the seed.

    Raises:
        InputError: they do not fit the data or each other, or weights to start with do not fit.
    """
    model = build(
        config.model, n_classes=data.n_classes, input_shape=data.input_shape, seed=config.seed
    )
    seed_all(config.seed, "objective")
    objective = config.objective.build(
        model.n_features, model.n_steps, data.n_classes, data.input_shape, len(data.store)
    )
    if objective.uses_decoder and model.n_classes is None:
        raise refuse(
            "model", model.name, "it has no decoder, which a supervised objective trains",
            "choose decoder linear or mlp",
        )  # fmt: skip
    if config.start is not None:
        begin_with(model, config.start)
    return Learner(model, objective)


def begin_with(model: Any, folder: Path) -> None:
    """Take encoder and attender of a run, and its decoder where names and shapes fit.

    Raises:
        InputError: no such run, or encoder or attender differ.
    """
    there = load_run(folder).model.state_dict()
    own = model.state_dict()
    fits: Callable[[str], bool] = lambda n: n in there and there[n].shape == own[n].shape  # noqa: E731
    body = [name for name in own if not name.startswith("decoder.")]
    odd = [name for name in body if not fits(name)]
    odd += [n for n in there if n not in own and not n.startswith("decoder.")]
    if odd:
        raise refuse(
            "start", str(folder), f"it holds another model ({odd[0]} differs)",
            f"give a run of {model.name}, or leave it out",
        )  # fmt: skip
    head = [name for name in own if name.startswith("decoder.")]
    taken = body + (head if all(fits(name) for name in head) else [])
    model.load_state_dict({name: there[name] for name in taken}, strict=False)


def card_of(config: TrainConfig, data: DataModule) -> dict[str, Any]:
    """What a checkpoint says of its model."""
    return {
        "recipe": config.to_tree(),
        "n_classes": data.n_classes,
        "labels": list(data.labels),
        "input_shape": list(data.input_shape),
        "preprocessing": to_tree(config.data.preprocessing),
        "normalisation": data.normalisation.to_dict(),
        "recorded": _recorded(data.store),
    }


def _recorded(store: SweepStore) -> dict[str, Any]:
    """How the sweeps were recorded: what is shown to the network later must be so, too."""
    way = store.manifest.config["recipe"].get("recording")  # imported sets have none
    return {
        "rate_hz": store.rate_hz,
        "frames": store.time,
        "sampling": store.sampling,
        "recording": way and {name: value for name, value in way.items() if name != "type"},
    }
