"""Activations: what a network's layers did for each stimulus, with named axes, in a file anyone
may write. The container needs numpy and h5py alone; extraction loads torch.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.activations.adapter import LayerTap as LayerTap
    from vibrissa.activations.adapter import ModuleAdapter as ModuleAdapter
    from vibrissa.activations.checks import KINDS as KINDS
    from vibrissa.activations.container import Activations as Activations
    from vibrissa.activations.evaluating import weights_digest as weights_digest
    from vibrissa.activations.extractor import extract as extract
    from vibrissa.activations.extractor import layer_table as layer_table
    from vibrissa.activations.files import ActivationsFile as ActivationsFile
    from vibrissa.activations.stimuli import CONDITIONS as CONDITIONS
    from vibrissa.activations.stimuli import InputConfig as InputConfig
    from vibrissa.activations.stimuli import StimulusSet as StimulusSet
    from vibrissa.activations.stimuli import choose_stimuli as choose_stimuli
    from vibrissa.activations.stimuli import condition_name as condition_name
    from vibrissa.activations.stimuli import from_store as from_store
    from vibrissa.activations.stimuli import from_sweep as from_sweep
    from vibrissa.activations.stimuli import rodgers6 as rodgers6

_MODULE_OF = {
    "Activations": "container",
    "ActivationsFile": "files",
    "CONDITIONS": "stimuli",
    "InputConfig": "stimuli",
    "KINDS": "checks",
    "LayerTap": "adapter",
    "ModuleAdapter": "adapter",
    "StimulusSet": "stimuli",
    "choose_stimuli": "stimuli",
    "condition_name": "stimuli",
    "extract": "extractor",
    "from_store": "stimuli",
    "from_sweep": "stimuli",
    "layer_table": "extractor",
    "rodgers6": "stimuli",
    "weights_digest": "evaluating",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
