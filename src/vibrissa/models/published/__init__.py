"""The published models by name, with their recipes and released results.

Reference: Chung et al. 2025, arXiv 2505.18361; the table is in ``models.yaml``. What is known of
the recipes that is not in the paper's text is from its released code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Final

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import InputError
from vibrissa.models.building import config_of
from vibrissa.models.ead import EADConfig

N_CLASSES: Final = 117
TEST_SWEEPS: Final = 11_927
"""All released accuracies are multiples of one over this."""

_OBJECTIVES: Final[dict[str, Any]] = {
    "sl": "supervised",
    "simclr": {"type": "simclr", "augmentation": "published"},
    "simsiam": {"type": "simsiam", "augmentation": "published"},
    "simsiam_warmup": {"type": "simsiam", "augmentation": "published"},
    "ae": {"type": "autoencoder", "lag_steps": 0},
    "ae_ssl": {"type": "autoencoder", "lag_steps": 0, "augmentation": "published"},
}
_SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    "step_lr": {"type": "step", "every_epochs": 30, "gamma": 0.1},
    "cos_w_warmup": {"type": "cosine", "per": "epoch", "warmup_epochs": 25},
    "cos_annealing_w_warmup": {
        "type": "cosine_annealing", "per": "epoch", "warmup_epochs": 10, "warmup_ratio": 1e-4,
    },
}  # fmt: skip
_OPTIMISERS: Final[dict[str, dict[str, Any]]] = {
    "sgd": {"type": "sgd", "momentum": 0.9},
    "adamw": {"type": "adamw"},
    # Every tensor adapts, biases and norms included, and a zero bias stays zero.
    "lars": {
        "type": "lars", "momentum": 0.9, "eta": 1e-3, "adapt_all": True, "zero_moves": False,
    },
}  # fmt: skip
PROBE: Final[Mapping[str, Any]] = {
    "type": "linear_sgd", "rate": 0.1, "step": 30, "epochs": 100, "batch_size": 256,
    "momentum": 0.9, "weight_decay": 1e-4,
}  # fmt: skip
"""The linear probe on the last step's features, of all self-supervised models and controls."""


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A published model.

    Attributes:
        name: here: objective, encoder and attender, for instance ``simclr-zhuang-gpt``.
        objective: ``sl``, ``simclr``, ``simsiam``, ``simsiam_warmup``, ``ae``, ``ae_ssl`` (on
            augmented input) or ``untrained``.
        architecture: name of the model that was counted and tested, with its read-out.
        run: its raw name in the release, without the leading ``tactile1000hz_``.
        top1_percent, top5_percent: released test accuracies.
        collapsed: it gives a constant answer.
        parameters: how many, with the decoder or linear probe of 117 classes.
        released: the count is in the release; else it is that of the same parts.
        optimiser, schedule, lr, batch: as named there; batch is per device times devices.
    """

    name: str
    objective: str
    architecture: str
    run: str
    top1_percent: float
    top5_percent: float
    collapsed: bool
    parameters: int
    released: bool = False
    optimiser: str | None = None
    schedule: str | None = None
    lr: float | None = None
    batch: str | None = None

    @property
    def model(self) -> EADConfig:
        """The configuration of the model that was counted and tested; it has 117 classes."""
        return config_of(self.architecture)

    @property
    def self_supervised(self) -> bool:
        """Is it trained without labels, and read by a linear probe?"""
        return self.objective not in ("sl", "untrained")

    @property
    def batch_size(self) -> int | None:
        """Sweeps per step over all devices."""
        if self.batch is None:
            return None
        size, _, devices = self.batch.partition("x")
        return int(size) * int(devices or 1)

    @property
    def probe(self) -> Mapping[str, Any] | None:
        """Options of the linear probe by which features were judged; None where there was none."""
        return None if self.objective == "sl" else PROBE

    @property
    def recipe(self) -> dict[str, Any] | None:
        """The training as a plain tree, as :func:`vibrissa.train.config_from_tree` reads it; None
        for controls. The split is that by sweep: the test set of the publication is not one of
        whole objects."""
        if self.objective == "untrained":
            return None
        assert self.optimiser is not None
        assert self.schedule is not None
        model = self.architecture
        if self.self_supervised:
            model = model.rsplit("+", 1)[0] + "+none"
        schedule = dict(_SCHEDULES[self.schedule])
        if self.objective == "simsiam":
            schedule["warmup_epochs"] = 0
        optimiser = _OPTIMISERS[self.optimiser] | {
            "lr": self.lr, "weight_decay": 1e-4, "decay_all": True,
        }  # fmt: skip
        objective = _OBJECTIVES[self.objective]
        return {
            "model": model,
            "objective": objective if isinstance(objective, str) else dict(objective),
            "optimiser": optimiser,
            "schedule": schedule,
            "data": {"split": "by_sweep", "batch_size": self.batch_size},
            "epochs": 100,
            "seed": 0,
        }


class Zoo(Mapping[str, ZooEntry]):
    """Published models by name; names sort by objective, and a table prints."""

    def __init__(self, entries: Mapping[str, ZooEntry]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> ZooEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def rows(self) -> list[dict[str, Any]]:
        """One mapping per model: the table as plain values."""
        return [
            {
                "name": e.name, "objective": e.objective, "model": e.architecture,
                "optimiser": e.optimiser, "schedule": e.schedule, "lr": e.lr, "batch": e.batch,
                "parameters": e.parameters, "released": e.released, "top1_percent": e.top1_percent,
                "top5_percent": e.top5_percent, "collapsed": e.collapsed, "run": e.run,
            }
            for e in self.values()
        ]  # fmt: skip

    def __repr__(self) -> str:
        width = max((len(name) for name in self), default=0)
        lines = [
            f"{e.name:<{width}}  {e.parameters:>11,}  {e.top1_percent:>6.2f} "
            f"{e.top5_percent:>6.2f}{'  collapsed' if e.collapsed else ''}"
            for e in self.values()
        ]
        head = f"{'name':<{width}}  {'parameters':>11}  {'top-1':>6} {'top-5':>6}"
        return "\n".join((head, *lines))


@dataclass(frozen=True, kw_only=True)
class _File:
    about: str
    models: Mapping[str, Any]
    controls: Mapping[str, Any]


@cache
def zoo() -> Zoo:
    """All published models and untrained controls, in the order of the publication."""
    with as_file(files("vibrissa.models.published").joinpath("models.yaml")) as path:
        content = from_tree(_File, read_yaml(path), path.name)
    found = {}
    for name, row in [*content.models.items(), *content.controls.items()]:
        values = {"architecture" if k == "model" else k: v for k, v in row.items()}
        if "batch" in values:
            values["batch"] = str(values["batch"])
        found[name] = from_tree(ZooEntry, {"name": name, **values}, f"models.yaml: {name}")
    return Zoo(found)


def published_model(name: str) -> ZooEntry:
    """A published model by its name here or the raw name of its run.

    Raises:
        InputError: there is none of this name.
    """
    entries = zoo()
    if name in entries:
        return entries[name]
    raw = name.removeprefix("tactile1000hz_")
    for entry in entries.values():
        if entry.run == raw:
            return entry
    raise refuse_unpublished("published model", name)


def refuse_unpublished(field: str, name: str) -> InputError:
    """Build the error for a name that is not in the zoo; the caller raises it.

    Returns:
        An error that names the nearest three, and says where all are listed.
    """
    near = get_close_matches(name.lower(), list(zoo()), n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return InputError(
        f"{field} = {name!r}: no such name; {guess}All are listed by: vibrissa list zoo."
    )
