"""Neural recordings: reading, synthesising and inspecting them, and scoring models against them.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.neural.conditions import CONDITIONS as CONDITIONS
    from vibrissa.neural.conditions import ordered_conditions as ordered_conditions
    from vibrissa.neural.session import Session as Session
    from vibrissa.neural.synth import SynthConfig as SynthConfig
    from vibrissa.neural.synth import synth_sessions as synth_sessions
    from vibrissa.neural.synth import synth_truth as synth_truth
    from vibrissa.neural.synth_truths import SynthTruth as SynthTruth

_MODULE_OF = {
    "CONDITIONS": "conditions",
    "Session": "session",
    "SynthConfig": "synth",
    "SynthTruth": "synth_truths",
    "ordered_conditions": "conditions",
    "synth_sessions": "synth",
    "synth_truth": "synth",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
