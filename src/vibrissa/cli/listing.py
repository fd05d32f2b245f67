"""``vibrissa list``: what can be named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import tyro

from vibrissa.core.errors import refuse_unknown


@dataclass(frozen=True, kw_only=True)
class ListConfig:
    """Options of ``vibrissa list``.

    Attributes:
        family: the family to list.
        json: print one JSON document.
    """

    family: tyro.conf.Positional[str] = "all"
    json: bool = False


def _arrays() -> dict[str, str]:
    return {
        "mouse": "average mouse, 30 whiskers a side (Bresee et al. 2023)",
        **{f"mouse:{n}": f"mouse {n} of the eight behind the average" for n in range(1, 9)},
        "rat": "average rat, 27 whiskers a side (Belli et al. 2018)",
    }


def _engines() -> dict[str, str]:
    return {
        "rod": "elastic rods with contact on a distance field, on all cores or a GPU (the default)",
        "mujoco": "the same whiskers under MuJoCo, an independent check",
    }


def _registry(module: str, attribute: str) -> Callable[[], dict[str, str]]:
    """A family that a room's registry holds; the first line of each docstring describes it."""

    def members() -> dict[str, str]:
        registry = getattr(import_module(module), attribute)
        return {
            name: (registry.get(name).__doc__ or "").strip().partition("\n")[0]
            for name in registry.names()
        }

    return members


def _costs(function: str) -> Callable[[], dict[str, str]]:
    """Parts or models with their parameters and cost."""

    def members() -> dict[str, str]:
        summary = import_module("vibrissa.models.summary")
        return {name: cost.line for name, cost in getattr(summary, function)().items()}

    return members


def _zoo() -> dict[str, str]:
    found = import_module("vibrissa.models.published").zoo()
    return {
        name: f"{entry.architecture}; {entry.parameters:,} parameters; "
        f"published test accuracy {entry.top1_percent:.2f} % top-1, "
        f"{entry.top5_percent:.2f} % top-5{' (collapsed)' if entry.collapsed else ''}"
        for name, entry in found.items()
    }


# Family -> (module that must be there, its members with a line each).
FAMILIES: Final[dict[str, tuple[str, Callable[[], dict[str, str]]]]] = {
    "arrays": ("vibrissa.morphology", _arrays),
    "parameters": (
        "vibrissa.morphology.parameters",
        _registry("vibrissa.morphology.parameters", "parameter_sets"),
    ),
    "shapes": ("vibrissa.objects.procedural", _registry("vibrissa.objects.procedural", "SHAPES")),
    "protocols": (
        "vibrissa.simulation.protocols",
        _registry("vibrissa.simulation.protocols", "sweep_protocols"),
    ),
    "splits": ("vibrissa.data.splits", _registry("vibrissa.data.splits", "split_kinds")),
    "engines": ("vibrissa.simulation.run", _engines),
    "augmentations": (
        "vibrissa.augment",
        _registry("vibrissa.augment", "augmentations"),
    ),
    "cells": ("vibrissa.tnn.cells", _registry("vibrissa.tnn.cells", "cells")),
    "encoders": ("vibrissa.models.summary", _costs("encoder_costs")),
    "attenders": ("vibrissa.models.summary", _costs("attender_costs")),
    "decoders": ("vibrissa.models.summary", _costs("decoder_costs")),
    "models": ("vibrissa.models.summary", _costs("model_costs")),
    "zoo": ("vibrissa.models.published", _zoo),
    "objectives": ("vibrissa.objectives", _registry("vibrissa.objectives", "objectives")),
    "optimisers": (
        "vibrissa.train.optimisers",
        _registry("vibrissa.train.optimisers", "optimisers"),
    ),
    "schedules": (
        "vibrissa.train.schedules",
        _registry("vibrissa.train.schedules", "schedules"),
    ),
    "measures": (
        "vibrissa.neural.measures",
        _registry("vibrissa.neural.measures", "measures"),
    ),
}


def families() -> dict[str, dict[str, str]]:
    """Family -> name -> one line, for the families whose rooms are there."""
    return {name: members() for name, (module, members) in FAMILIES.items() if _exists(module)}


def run(config: ListConfig) -> None:
    """Print the families."""
    known = [name for name, (module, _) in FAMILIES.items() if _exists(module)]
    if config.family == "all":
        found = families()
    elif config.family in known:
        found = {config.family: FAMILIES[config.family][1]()}
    else:
        raise refuse_unknown("family", config.family, [*known, "all"])
    if config.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for family, members in found.items():
        print(f"{family}:")
        width = max((len(name) for name in members), default=0)
        for name, line in members.items():
            print(f"  {name:<{width}}  {line}")


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
