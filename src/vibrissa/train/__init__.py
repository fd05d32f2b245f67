"""Training: optimisers, schedules, a loop that resumes to the bit, run folders, probes.

Public names load when first used; Lightning only when a training begins.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.train.config import DataConfig as DataConfig
    from vibrissa.train.config import TrainConfig as TrainConfig
    from vibrissa.train.config import config_from_file as config_from_file
    from vibrissa.train.config import config_from_tree as config_from_tree
    from vibrissa.train.curves import draw_curves as draw_curves
    from vibrissa.train.folder import Run as Run
    from vibrissa.train.folder import load_run as load_run
    from vibrissa.train.folder import read_result as read_result
    from vibrissa.train.lars import LARS as LARS
    from vibrissa.train.preparing import RunOptions as RunOptions
    from vibrissa.train.probing import ProbeReport as ProbeReport
    from vibrissa.train.probing import probe as probe
    from vibrissa.train.recipe_files import recipe as recipe
    from vibrissa.train.recipe_files import recipe_names as recipe_names
    from vibrissa.train.recording import read_metrics as read_metrics
    from vibrissa.train.sync_batch_norm import synchronise_batch_norms as synchronise_batch_norms
    from vibrissa.train.training import RunResult as RunResult
    from vibrissa.train.training import train as train

_MODULE_OF = {
    "DataConfig": "config",
    "LARS": "lars",
    "ProbeReport": "probing",
    "Run": "folder",
    "RunOptions": "preparing",
    "RunResult": "training",
    "TrainConfig": "config",
    "config_from_file": "config",
    "config_from_tree": "config",
    "draw_curves": "curves",
    "load_run": "folder",
    "probe": "probing",
    "read_metrics": "recording",
    "read_result": "folder",
    "recipe": "recipe_files",
    "recipe_names": "recipe_files",
    "synchronise_batch_norms": "sync_batch_norm",
    "train": "training",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
