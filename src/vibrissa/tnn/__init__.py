"""Temporal networks: graphs of recurrent cells, unrolled with one layer per time step.

Needs torch and ``vibrissa.core`` alone. Cells are in :mod:`vibrissa.tnn.cells`, memory modules in
:mod:`vibrissa.tnn.modules`. Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.tnn import cells as cells
    from vibrissa.tnn import modules as modules
    from vibrissa.tnn.export import export_onnx as export_onnx
    from vibrissa.tnn.export import export_program as export_program
    from vibrissa.tnn.fast import Fast as Fast
    from vibrissa.tnn.graph import TemporalGraph as TemporalGraph
    from vibrissa.tnn.job import Done as Done
    from vibrissa.tnn.job import Frames as Frames
    from vibrissa.tnn.job import GraphState as GraphState
    from vibrissa.tnn.job import InputGate as InputGate
    from vibrissa.tnn.job import Job as Job
    from vibrissa.tnn.job import schedules as schedules
    from vibrissa.tnn.peer import from_peer as from_peer
    from vibrissa.tnn.peer_weights import state_from_peer as state_from_peer
    from vibrissa.tnn.peer_weights import state_to_peer as state_to_peer
    from vibrissa.tnn.published import published_graph as published_graph
    from vibrissa.tnn.published import published_graphs as published_graphs
    from vibrissa.tnn.spec import GraphSpec as GraphSpec
    from vibrissa.tnn.spec import Node as Node
    from vibrissa.tnn.stepwise import Stepwise as Stepwise
    from vibrissa.tnn.unrolling import Unrolled as Unrolled
    from vibrissa.tnn.unrolling import unroll as unroll

_MODULE_OF = {
    "Done": "job",
    "Fast": "fast",
    "Frames": "job",
    "GraphSpec": "spec",
    "GraphState": "job",
    "InputGate": "job",
    "Job": "job",
    "Node": "spec",
    "Stepwise": "stepwise",
    "TemporalGraph": "graph",
    "Unrolled": "unrolling",
    "export_onnx": "export",
    "export_program": "export",
    "from_peer": "peer",
    "published_graph": "published",
    "published_graphs": "published",
    "schedules": "job",
    "state_from_peer": "peer_weights",
    "state_to_peer": "peer_weights",
    "unroll": "unrolling",
}

_ROOMS = ("cells", "modules")


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_ROOMS})
