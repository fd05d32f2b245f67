"""Neural recordings: reading, synthesising and inspecting them, and scoring models against them.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.neural.align_figures import draw_alignment as draw_alignment
    from vibrissa.neural.align_time import align_over_time as align_over_time
    from vibrissa.neural.aligning import AlignConfig as AlignConfig
    from vibrissa.neural.aligning import align as align
    from vibrissa.neural.alignment import Alignment as Alignment
    from vibrissa.neural.ceilings import animal_consistency as animal_consistency
    from vibrissa.neural.ceilings import noise_ceilings as noise_ceilings
    from vibrissa.neural.clock import ClockCheck as ClockCheck
    from vibrissa.neural.clock import check_clock as check_clock
    from vibrissa.neural.conditions import CONDITIONS as CONDITIONS
    from vibrissa.neural.conditions import ordered_conditions as ordered_conditions
    from vibrissa.neural.inspecting import Inspection as Inspection
    from vibrissa.neural.inspecting import inspect_recordings as inspect_recordings
    from vibrissa.neural.inspecting_figures import draw_inspections as draw_inspections
    from vibrissa.neural.mapping import RecordingMapping as RecordingMapping
    from vibrissa.neural.measures import RSA as RSA
    from vibrissa.neural.nwb import find_recordings as find_recordings
    from vibrissa.neural.nwb import read_published as read_published
    from vibrissa.neural.nwb import read_recording as read_recording
    from vibrissa.neural.nwb import read_sessions as read_sessions
    from vibrissa.neural.nwb_h5 import read_whisker_angles as read_whisker_angles
    from vibrissa.neural.published_auditing import published_protocol as published_protocol
    from vibrissa.neural.raw import RawSession as RawSession
    from vibrissa.neural.selecting import TrialRules as TrialRules
    from vibrissa.neural.selecting import session_of as session_of
    from vibrissa.neural.session import Session as Session
    from vibrissa.neural.synth import SynthConfig as SynthConfig
    from vibrissa.neural.synth import synth_sessions as synth_sessions
    from vibrissa.neural.synth import synth_truth as synth_truth
    from vibrissa.neural.synth_nwb import write_synth as write_synth
    from vibrissa.neural.synth_recording import synth_recordings as synth_recordings
    from vibrissa.neural.synth_truths import SynthTruth as SynthTruth
    from vibrissa.neural.targets import Target as Target
    from vibrissa.neural.windows import AroundEvent as AroundEvent
    from vibrissa.neural.windows import Between as Between
    from vibrissa.neural.windows import Contacts as Contacts
    from vibrissa.neural.windows import FirstTouch as FirstTouch

_MODULE_OF = {
    "AlignConfig": "aligning",
    "Alignment": "alignment",
    "AroundEvent": "windows",
    "Between": "windows",
    "CONDITIONS": "conditions",
    "ClockCheck": "clock",
    "Contacts": "windows",
    "FirstTouch": "windows",
    "Inspection": "inspecting",
    "RSA": "measures",
    "RawSession": "raw",
    "RecordingMapping": "mapping",
    "Session": "session",
    "SynthConfig": "synth",
    "SynthTruth": "synth_truths",
    "Target": "targets",
    "TrialRules": "selecting",
    "align": "aligning",
    "align_over_time": "align_time",
    "animal_consistency": "ceilings",
    "check_clock": "clock",
    "draw_alignment": "align_figures",
    "draw_inspections": "inspecting_figures",
    "find_recordings": "nwb",
    "inspect_recordings": "inspecting",
    "noise_ceilings": "ceilings",
    "ordered_conditions": "conditions",
    "published_protocol": "published_auditing",
    "read_published": "nwb",
    "read_recording": "nwb",
    "read_sessions": "nwb",
    "read_whisker_angles": "nwb_h5",
    "session_of": "selecting",
    "synth_recordings": "synth_recording",
    "synth_sessions": "synth",
    "synth_truth": "synth",
    "write_synth": "synth_nwb",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
