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
    from vibrissa.objectives.collapse import Collapse as Collapse
    from vibrissa.objectives.collapse import diagnose as diagnose
    from vibrissa.objectives.collapse import effective_rank as effective_rank
    from vibrissa.objectives.families import objectives as objectives
    from vibrissa.objectives.freezing import Features as Features
    from vibrissa.objectives.freezing import extract_features as extract_features
    from vibrissa.objectives.freezing import frozen as frozen
    from vibrissa.objectives.instances import InstanceDiscrimination as InstanceDiscrimination
    from vibrissa.objectives.instances import (
        InstanceDiscriminationConfig as InstanceDiscriminationConfig,
    )
    from vibrissa.objectives.intervals import bootstrap_over_groups as bootstrap_over_groups
    from vibrissa.objectives.intervals import wilson as wilson
    from vibrissa.objectives.probes import KNNProbe as KNNProbe
    from vibrissa.objectives.probes import LinearProbe as LinearProbe
    from vibrissa.objectives.probes import LinearSGDProbe as LinearSGDProbe
    from vibrissa.objectives.probes import ProbeResult as ProbeResult
    from vibrissa.objectives.probes import probe_kinds as probe_kinds
    from vibrissa.objectives.simclr import SimCLR as SimCLR
    from vibrissa.objectives.simclr import SimCLRConfig as SimCLRConfig
    from vibrissa.objectives.simsiam import SimSiam as SimSiam
    from vibrissa.objectives.simsiam import SimSiamConfig as SimSiamConfig
    from vibrissa.objectives.supervised import Supervised as Supervised
    from vibrissa.objectives.supervised import SupervisedConfig as SupervisedConfig

_MODULE_OF = {
    "Autoencoder": "autoencoder",
    "AutoencoderConfig": "autoencoder",
    "Collapse": "collapse",
    "Features": "freezing",
    "InstanceDiscrimination": "instances",
    "InstanceDiscriminationConfig": "instances",
    "KNNProbe": "probes",
    "LinearProbe": "probes",
    "LinearSGDProbe": "probes",
    "Objective": "base",
    "ObjectiveConfig": "base",
    "ObjectiveResult": "base",
    "ProbeResult": "probes",
    "SimCLR": "simclr",
    "SimCLRConfig": "simclr",
    "SimSiam": "simsiam",
    "SimSiamConfig": "simsiam",
    "Supervised": "supervised",
    "SupervisedConfig": "supervised",
    "bootstrap_over_groups": "intervals",
    "diagnose": "collapse",
    "effective_rank": "collapse",
    "extract_features": "freezing",
    "frozen": "freezing",
    "make_objective": "base",
    "objectives": "families",
    "probe_kinds": "probes",
    "wilson": "intervals",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
