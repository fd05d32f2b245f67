"""Models: encoders, attenders and decoders, and the Encoder-Attender-Decoder that joins them.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.models.building import build as build
    from vibrissa.models.building import config_of as config_of
    from vibrissa.models.ead import EAD as EAD
    from vibrissa.models.ead import EADConfig as EADConfig
    from vibrissa.models.parts import attenders as attenders
    from vibrissa.models.parts import decoders as decoders
    from vibrissa.models.parts import encoders as encoders
    from vibrissa.models.published import ZooEntry as ZooEntry
    from vibrissa.models.published import published_model as published_model
    from vibrissa.models.published import zoo as zoo

_MODULE_OF = {
    "EAD": "ead",
    "EADConfig": "ead",
    "ZooEntry": "published",
    "attenders": "building",
    "build": "building",
    "config_of": "building",
    "decoders": "building",
    "encoders": "building",
    "published_model": "published",
    "zoo": "published",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
