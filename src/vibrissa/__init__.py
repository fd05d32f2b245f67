"""Vibrissa: whisker arrays, their mechanics on objects, and models of the touch they feel.

Public names load when first used, so that ``import vibrissa`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.activations import Activations as Activations
    from vibrissa.activations import extract as extract
    from vibrissa.data import DataModule as DataModule
    from vibrissa.data import Preprocessing as Preprocessing
    from vibrissa.data import SweepStore as SweepStore
    from vibrissa.models import EAD as EAD
    from vibrissa.models import EADConfig as EADConfig
    from vibrissa.models import build as build
    from vibrissa.models import published_model as published_model
    from vibrissa.models import zoo as zoo
    from vibrissa.morphology import HeadPose as HeadPose
    from vibrissa.morphology import Whisker as Whisker
    from vibrissa.morphology import WhiskerArray as WhiskerArray
    from vibrissa.morphology import mouse_array as mouse_array
    from vibrissa.morphology import rat_array as rat_array
    from vibrissa.neural import read_sessions as read_sessions
    from vibrissa.neural import synth_sessions as synth_sessions
    from vibrissa.neural.aligning import align as align
    from vibrissa.objects import TactileObject as TactileObject
    from vibrissa.objects import procedural_classes as procedural_classes
    from vibrissa.objects import procedural_object as procedural_object
    from vibrissa.objects import read_folder as read_folder
    from vibrissa.objects import read_object as read_object
    from vibrissa.simulation import PassiveSweep as PassiveSweep
    from vibrissa.simulation import PlacedObject as PlacedObject
    from vibrissa.simulation import RodgersStimuli as RodgersStimuli
    from vibrissa.simulation import SampledMotion as SampledMotion
    from vibrissa.simulation import Scene as Scene
    from vibrissa.simulation import SinusoidalWhisking as SinusoidalWhisking
    from vibrissa.simulation import SolverConfig as SolverConfig
    from vibrissa.simulation import Sweep as Sweep
    from vibrissa.simulation import TabledWhisking as TabledWhisking
    from vibrissa.simulation import UniformMotion as UniformMotion
    from vibrissa.simulation import animate as animate
    from vibrissa.simulation import contact_sheet as contact_sheet
    from vibrissa.simulation import draw_array as draw_array
    from vibrissa.simulation import draw_traces as draw_traces
    from vibrissa.simulation import save_figure as save_figure
    from vibrissa.simulation import simulate as simulate
    from vibrissa.train import TrainConfig as TrainConfig
    from vibrissa.train import load_run as load_run

    __version__: str

# Public name -> the room that makes it.
_ROOM_OF = {
    "Activations": "vibrissa.activations",
    "DataModule": "vibrissa.data",
    "EAD": "vibrissa.models",
    "EADConfig": "vibrissa.models",
    "HeadPose": "vibrissa.morphology",
    "PassiveSweep": "vibrissa.simulation",
    "PlacedObject": "vibrissa.simulation",
    "Preprocessing": "vibrissa.data",
    "RodgersStimuli": "vibrissa.simulation",
    "SampledMotion": "vibrissa.simulation",
    "Scene": "vibrissa.simulation",
    "SinusoidalWhisking": "vibrissa.simulation",
    "SolverConfig": "vibrissa.simulation",
    "Sweep": "vibrissa.simulation",
    "SweepStore": "vibrissa.data",
    "TabledWhisking": "vibrissa.simulation",
    "TactileObject": "vibrissa.objects",
    "TrainConfig": "vibrissa.train",
    "UniformMotion": "vibrissa.simulation",
    "Whisker": "vibrissa.morphology",
    "WhiskerArray": "vibrissa.morphology",
    "align": "vibrissa.neural.aligning",
    "animate": "vibrissa.simulation",
    "build": "vibrissa.models",
    "contact_sheet": "vibrissa.simulation",
    "draw_array": "vibrissa.simulation",
    "draw_traces": "vibrissa.simulation",
    "extract": "vibrissa.activations",
    "load_run": "vibrissa.train",
    "mouse_array": "vibrissa.morphology",
    "published_model": "vibrissa.models",
    "procedural_classes": "vibrissa.objects",
    "procedural_object": "vibrissa.objects",
    "rat_array": "vibrissa.morphology",
    "read_folder": "vibrissa.objects",
    "read_object": "vibrissa.objects",
    "read_sessions": "vibrissa.neural",
    "save_figure": "vibrissa.simulation",
    "simulate": "vibrissa.simulation",
    "synth_sessions": "vibrissa.neural",
    "zoo": "vibrissa.models",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        from vibrissa.core.manifest import version_of

        value: object = version_of("vibrissa") or "0+unknown"
    elif name in _ROOM_OF:
        value = getattr(import_module(_ROOM_OF[name]), name)
    else:
        raise AttributeError(f"module 'vibrissa' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM_OF, "__version__"})
