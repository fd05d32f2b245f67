"""Vibrissa: whisker arrays, their mechanics on objects, and models of the touch they feel.

Public names load when first used, so that ``import vibrissa`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.morphology import HeadPose as HeadPose
    from vibrissa.morphology import Whisker as Whisker
    from vibrissa.morphology import WhiskerArray as WhiskerArray
    from vibrissa.morphology import mouse_array as mouse_array
    from vibrissa.morphology import rat_array as rat_array

    __version__: str

# Public name -> the room that makes it.
_ROOM_OF = {
    "HeadPose": "vibrissa.morphology",
    "Whisker": "vibrissa.morphology",
    "WhiskerArray": "vibrissa.morphology",
    "mouse_array": "vibrissa.morphology",
    "rat_array": "vibrissa.morphology",
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
