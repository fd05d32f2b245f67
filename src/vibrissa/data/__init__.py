"""Data sets: protocols into shards, a store to read them, splits, preprocessing, loaders.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.data.baseline import svm_baseline as svm_baseline
    from vibrissa.data.building import BuildReport as BuildReport
    from vibrissa.data.building import build as build
    from vibrissa.data.checking import CheckReport as CheckReport
    from vibrissa.data.checking import check as check
    from vibrissa.data.datamodule import DataModule as DataModule
    from vibrissa.data.datamodule import LoaderConfig as LoaderConfig
    from vibrissa.data.describing import describe as describe
    from vibrissa.data.executors import make_executor as make_executor
    from vibrissa.data.figures import draw_info as draw_info
    from vibrissa.data.figures import draw_sweeps as draw_sweeps
    from vibrissa.data.interchange import export_npz as export_npz
    from vibrissa.data.interchange import export_webdataset as export_webdataset
    from vibrissa.data.interchange import import_npz as import_npz
    from vibrissa.data.loader import SweepDataset as SweepDataset
    from vibrissa.data.loader import TactileBatch as TactileBatch
    from vibrissa.data.loader import TactileLoader as TactileLoader
    from vibrissa.data.normalisation import Normalisation as Normalisation
    from vibrissa.data.normalising import measured as measured
    from vibrissa.data.preprocessing import Preprocessing as Preprocessing
    from vibrissa.data.recipe import Recipe as Recipe
    from vibrissa.data.resampling import Recording as Recording
    from vibrissa.data.shard import Shard as Shard
    from vibrissa.data.sources import sources_of as sources_of
    from vibrissa.data.splits import ByClass as ByClass
    from vibrissa.data.splits import ByDraw as ByDraw
    from vibrissa.data.splits import ByObject as ByObject
    from vibrissa.data.splits import BySweep as BySweep
    from vibrissa.data.splits import Leaks as Leaks
    from vibrissa.data.splits import Split as Split
    from vibrissa.data.splits import leaks as leaks
    from vibrissa.data.splits import split_kinds as split_kinds
    from vibrissa.data.store import SweepStore as SweepStore

_MODULE_OF = {
    "BuildReport": "building",
    "ByClass": "splits",
    "ByDraw": "splits",
    "ByObject": "splits",
    "BySweep": "splits",
    "CheckReport": "checking",
    "DataModule": "datamodule",
    "Leaks": "splits",
    "LoaderConfig": "datamodule",
    "Normalisation": "normalisation",
    "Preprocessing": "preprocessing",
    "Recipe": "recipe",
    "Recording": "resampling",
    "Shard": "shard",
    "Split": "splits",
    "SweepDataset": "loader",
    "SweepStore": "store",
    "TactileBatch": "loader",
    "TactileLoader": "loader",
    "build": "building",
    "check": "checking",
    "describe": "describing",
    "draw_info": "figures",
    "draw_sweeps": "figures",
    "export_npz": "interchange",
    "export_webdataset": "interchange",
    "import_npz": "interchange",
    "leaks": "splits",
    "make_executor": "executors",
    "measured": "normalising",
    "sources_of": "sources",
    "split_kinds": "splits",
    "svm_baseline": "baseline",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
