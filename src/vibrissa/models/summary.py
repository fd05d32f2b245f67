"""Parameters and cost of parts and models, counted without making any weights.

Modules are built on torch's meta device: shapes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch

from vibrissa.models.building import config_of
from vibrissa.models.parts import (
    INPUT_SHAPE,
    Part,
    PartConfig,
    attenders,
    decoders,
    encoders,
)
from vibrissa.models.published import N_CLASSES, zoo

N_FEATURES = 512
"""Width of the features for which attenders and decoders are counted alone."""

UNPUBLISHED = ("s4+gpt+linear", "s4+mamba+linear")
"""Architectures of the release whose runs have no usable result: all gave NaN."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a part or a model costs.

    Attributes:
        parameters: how many numbers are trained.
        flop: floating-point operations of one sweep, two for each multiply-add; element-wise
            arithmetic is not counted.
        about: one line.
    """

    parameters: int
    flop: int
    about: str

    @property
    def line(self) -> str:
        """The cost in words, and the line."""
        cost = f"{self.parameters:>11,} parameters, {self.flop / 1e9:7.3f} GFLOP a sweep"
        return f"{cost}; {self.about}" if self.about else cost


def encoder_costs() -> dict[str, Cost]:
    """Registered encoders at their published widths, by name."""
    return {name: _encoder(encoders.get(name)())[0] for name in encoders.names()}


def attender_costs() -> dict[str, Cost]:
    """Registered attenders on 512 features, by name."""
    return {name: _attender(attenders.get(name)(), N_FEATURES)[0] for name in attenders.names()}


def decoder_costs() -> dict[str, Cost]:
    """Registered decoders on 512 features and for 117 classes, by name."""
    return {name: _decoder(decoders.get(name)(), N_FEATURES) for name in decoders.names()}


def model_costs() -> dict[str, Cost]:
    """The architectures of the publication by name, in its order."""
    found: dict[str, Cost] = {}
    for name in dict.fromkeys((*(entry.architecture for entry in zoo().values()), *UNPUBLISHED)):
        config = config_of(name)
        encoder, width = _encoder(config.encoder)
        attender, width = _attender(config.attender, width)
        parts = (encoder, attender, _decoder(config.decoder, width))
        found[name] = Cost(
            parameters=sum(part.parameters for part in parts),
            flop=sum(part.flop for part in parts),
            about="",
        )
    return found


@cache
def _encoder(config: PartConfig) -> tuple[Cost, int]:
    with torch.device("meta"):
        part = config.build(INPUT_SHAPE)  # type: ignore[attr-defined]
    return _cost(part, config), part.n_features


@cache
def _attender(config: PartConfig, width: int) -> tuple[Cost, int]:
    with torch.device("meta"):
        part = config.build(width, INPUT_SHAPE[0])  # type: ignore[attr-defined]
    return _cost(part, config), part.n_features


@cache
def _decoder(config: PartConfig, width: int) -> Cost:
    with torch.device("meta"):
        part = config.build(width, INPUT_SHAPE[0], N_CLASSES)  # type: ignore[attr-defined]
    return _cost(part, config)


def _cost(part: Part, config: PartConfig) -> Cost:
    return Cost(
        parameters=sum(p.numel() for p in part.parameters()),
        flop=2 * (part.multiply_adds or 0),
        about=(type(config).__doc__ or "").strip().partition("\n")[0],
    )
