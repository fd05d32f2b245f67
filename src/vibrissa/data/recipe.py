"""The recipe of a data set: all that its numbers depend on, besides the objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from vibrissa.core.errors import refuse
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.manifest import Manifest, to_tree
from vibrissa.data.preprocessing import Recording
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.protocols import SweepProtocol
from vibrissa.simulation.scene import SolverConfig

RESOLUTION_UN: Final = 2.0**-10
"""Loads are rounded to multiples of this, 1 nN or 1 nN*mm: a tenth of the moment below which the
simulator puts a free whisker to rest, and far below its errors. It saves a quarter of the space."""

# Settings that say how fast or where, not what.
_WITHOUT_EFFECT: Final = ("threads", "record_nodes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """How every shard of a data set is made.

    Attributes:
        protocol: which sweeps of each object.
        protocol_name: its registered name.
        array: the whiskers.
        solver: how sweeps are simulated.
        recording: how the simulated frames become the stored ones.
        resolution_uN: stored loads are multiples of this (uN, and uN*mm for moments); 0 keeps
            every bit.
        seed: of every random draw.
        allow_overlap: simulate sweeps that start with whiskers inside the object.
    """

    protocol: SweepProtocol
    protocol_name: str
    array: WhiskerArray
    solver: SolverConfig = field(default_factory=SolverConfig)
    recording: Recording = field(default_factory=Recording)
    resolution_uN: float = RESOLUTION_UN
    seed: int = 0
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.resolution_uN <= 1.0:
            raise refuse("resolution_uN", self.resolution_uN, "not from 0 to 1", "give 0 to 1 uN")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise refuse("seed", self.seed, "not a non-negative integer", "give 0 or more")

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The recipe as plain JSON types; equal trees give equal data."""
        solver = to_tree(replace(self.solver, threads=None, record_nodes=False))
        for name in _WITHOUT_EFFECT:
            solver.pop(name)
        tree = {
            "protocol": {"name": self.protocol_name} | to_tree(self.protocol),
            "array": to_tree(self.array),
            "solver": solver,
            "recording": to_tree(self.recording),
            "resolution_uN": self.resolution_uN,
            "seed": self.seed,
            "allow_overlap": self.allow_overlap,
        }
        return _without_modules(tree)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tree."""
        return digest_of_bytes(json.dumps(self.tree, sort_keys=True).encode())

    def manifest(self, what: str, inputs: Mapping[str, str]) -> Manifest:
        """The manifest of a part of the set; of the whiskers it has no more than their digest,
        the numbers being in that of the whole."""
        array = self.tree["array"]
        short = {name: value for name, value in array.items() if name != "whiskers"}
        short["sha256"] = digest_of_bytes(json.dumps(array, sort_keys=True).encode())
        return Manifest.of(what, self.tree | {"array": short}, seed=self.seed, inputs=inputs)


def _without_modules(tree: Any) -> Any:
    """Classes by their bare names: where one lives in the package does not change the data."""
    if isinstance(tree, dict):
        return {
            key: value.rpartition(".")[2]
            if key == "type" and isinstance(value, str)
            else _without_modules(value)
            for key, value in tree.items()
        }
    return [_without_modules(item) for item in tree] if isinstance(tree, list) else tree


def first_difference(one: Any, other: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Where two trees first differ and what stands there, or None."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs: Iterator[tuple[str, Any, Any]] = (
            (f"{where}.{key}" if where else key, one.get(key), other.get(key))
            for key in sorted({*one, *other})
        )
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = ((f"{where}[{k}]", a, b) for k, (a, b) in enumerate(zip(one, other, strict=True)))
    else:
        return None if one == other else (where, one, other)
    for place, a, b in pairs:
        found = first_difference(a, b, place)
        if found is not None:
            return found
    return None
