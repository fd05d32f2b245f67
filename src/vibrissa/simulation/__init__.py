"""Simulation: rod mechanics, contact, sweeps and whisking; forces and moments at the bases.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.simulation.drawing import animate as animate
    from vibrissa.simulation.drawing import contact_sheet as contact_sheet
    from vibrissa.simulation.drawing import draw_array as draw_array
    from vibrissa.simulation.drawing import draw_traces as draw_traces
    from vibrissa.simulation.drawing import save_figure as save_figure
    from vibrissa.simulation.motion import Motion as Motion
    from vibrissa.simulation.motion import SampledMotion as SampledMotion
    from vibrissa.simulation.motion import UniformMotion as UniformMotion
    from vibrissa.simulation.passive import PassiveSweep as PassiveSweep
    from vibrissa.simulation.passive import published_1000hz as published_1000hz
    from vibrissa.simulation.passive_protocols import OnePass as OnePass
    from vibrissa.simulation.passive_protocols import Passive110Hz as Passive110Hz
    from vibrissa.simulation.passive_protocols import Passive1000Hz as Passive1000Hz
    from vibrissa.simulation.passive_protocols import PassiveGrid as PassiveGrid
    from vibrissa.simulation.passive_protocols import RandomPassive as RandomPassive
    from vibrissa.simulation.placement import PlacementCheck as PlacementCheck
    from vibrissa.simulation.placement import check_placement as check_placement
    from vibrissa.simulation.protocol_files import protocol_from_yaml as protocol_from_yaml
    from vibrissa.simulation.protocols import Plan as Plan
    from vibrissa.simulation.protocols import SweepProtocol as SweepProtocol
    from vibrissa.simulation.protocols import sweep_protocols as sweep_protocols
    from vibrissa.simulation.rod import Rod as Rod
    from vibrissa.simulation.rod import discretise as discretise
    from vibrissa.simulation.rodgers import Rodgers6 as Rodgers6
    from vibrissa.simulation.rodgers import RodgersStimuli as RodgersStimuli
    from vibrissa.simulation.run import SkippedScene as SkippedScene
    from vibrissa.simulation.run import check_scenes as check_scenes
    from vibrissa.simulation.run import make_engine as make_engine
    from vibrissa.simulation.run import run_scenes as run_scenes
    from vibrissa.simulation.run import simulate as simulate
    from vibrissa.simulation.run import simulate_batches as simulate_batches
    from vibrissa.simulation.scene import PlacedObject as PlacedObject
    from vibrissa.simulation.scene import Scene as Scene
    from vibrissa.simulation.scene import SolverConfig as SolverConfig
    from vibrissa.simulation.scene import Whisking as Whisking
    from vibrissa.simulation.scene import still as still
    from vibrissa.simulation.sweep import Sweep as Sweep
    from vibrissa.simulation.sweep import concatenate as concatenate
    from vibrissa.simulation.whisking import SinusoidalWhisking as SinusoidalWhisking
    from vibrissa.simulation.whisking import TabledWhisking as TabledWhisking
    from vibrissa.simulation.windows import best_window as best_window

_MODULE_OF = {
    "Motion": "motion",
    "OnePass": "passive_protocols",
    "Passive1000Hz": "passive_protocols",
    "Passive110Hz": "passive_protocols",
    "PassiveGrid": "passive_protocols",
    "PassiveSweep": "passive",
    "PlacedObject": "scene",
    "PlacementCheck": "placement",
    "Plan": "protocols",
    "RandomPassive": "passive_protocols",
    "Rod": "rod",
    "Rodgers6": "rodgers",
    "RodgersStimuli": "rodgers",
    "SampledMotion": "motion",
    "Scene": "scene",
    "SinusoidalWhisking": "whisking",
    "SkippedScene": "run",
    "SolverConfig": "scene",
    "Sweep": "sweep",
    "SweepProtocol": "protocols",
    "TabledWhisking": "whisking",
    "UniformMotion": "motion",
    "Whisking": "scene",
    "animate": "drawing",
    "best_window": "windows",
    "check_placement": "placement",
    "check_scenes": "run",
    "concatenate": "sweep",
    "contact_sheet": "drawing",
    "discretise": "rod",
    "draw_array": "drawing",
    "draw_traces": "drawing",
    "make_engine": "run",
    "protocol_from_yaml": "protocol_files",
    "published_1000hz": "passive",
    "run_scenes": "run",
    "save_figure": "drawing",
    "simulate": "run",
    "simulate_batches": "run",
    "still": "scene",
    "sweep_protocols": "protocols",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
