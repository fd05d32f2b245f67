"""Objectives of training: supervised, SimCLR, SimSiam, autoencoder, instance discrimination;
probes of what a frozen model knows, and detectors of collapse.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.objectives.autoencoder import Autoencoder as Autoencoder
    from vibrissa.objectives.autoencoder import AutoencoderConfig as AutoencoderConfig
    from vibrissa.objectives.base import Objective as Objective
    from vibrissa.objectives.base import ObjectiveConfig as ObjectiveConfig
    from vibrissa.objectives.base import ObjectiveResult as ObjectiveResult
    from vibrissa.objectives.base import make_objective as make_objective
    from vibrissa.objectives.families import objectives as objectives
    from vibrissa.objectives.instances import InstanceDiscrimination as InstanceDiscrimination
    from vibrissa.objectives.instances import (
        InstanceDiscriminationConfig as InstanceDiscriminationConfig,
    )
    from vibrissa.objectives.simclr import SimCLR as SimCLR
    from vibrissa.objectives.simclr import SimCLRConfig as SimCLRConfig
    from vibrissa.objectives.simsiam import SimSiam as SimSiam
    from vibrissa.objectives.simsiam import SimSiamConfig as SimSiamConfig
    from vibrissa.objectives.supervised import Supervised as Supervised
    from vibrissa.objectives.supervised import SupervisedConfig as SupervisedConfig

_MODULE_OF = {
    "Autoencoder": "autoencoder",
    "AutoencoderConfig": "autoencoder",
    "InstanceDiscrimination": "instances",
    "InstanceDiscriminationConfig": "instances",
    "Objective": "base",
    "ObjectiveConfig": "base",
    "ObjectiveResult": "base",
    "SimCLR": "simclr",
    "SimCLRConfig": "simclr",
    "SimSiam": "simsiam",
    "SimSiamConfig": "simsiam",
    "Supervised": "supervised",
    "SupervisedConfig": "supervised",
    "make_objective": "base",
    "objectives": "families",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
