"""What augmentations have in common: pure functions of model input and a generator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from vibrissa.core.axes import CHANNELS
from vibrissa.core.config import from_tree
from vibrissa.core.errors import InputError, refuse
from vibrissa.core.registry import Registry
from vibrissa.morphology.grid import EMPTY_PLACES, GRID_SHAPE

N_CHANNELS: Final = len(CHANNELS)
N_PLACES: Final = GRID_SHAPE[0] * GRID_SHAPE[1]
FILLED_PLACES: Final = tuple(p for p in range(N_PLACES) if p not in EMPTY_PLACES)
"""Row-major places with a whisker in the mouse array."""


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """A change of model input that leaves its class what it was.

    Called with ``x`` (batch, step, sub-frame x channel, row, column), floating point, and a
    generator from which all draws come, it returns a tensor of the same shape, dtype and device
    and leaves ``x`` as it was. Draws are made per sample unless a class says otherwise. Equal
    input and equal state of the generator give equal output. Values are not looked at: what is
    not a number stays so.

    A subclass implements :meth:`change`.
    """

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The changed batch.

        Raises:
            InputError: ``x`` is no model input, or ``generator`` no generator.
        """
        check_input(x, generator)
        return self.change(x.clone(memory_format=torch.contiguous_format), generator)

    @abstractmethod
    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The same for a contiguous ``x`` that may be overwritten and returned."""


augmentations: Final[Registry[type[Augmentation]]] = Registry("augmentations")
"""Name -> a configuration class of augmentations."""


@augmentations.register("identity")
@dataclass(frozen=True, kw_only=True)
class Identity(Augmentation):
    """No change; returns the very tensor it was given."""

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_input(x, generator)
        return x

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x


def check_input(x: object, generator: object) -> None:
    """Refuse what is no model input, and what gives no draws.

    Raises:
        InputError: not a floating point tensor (batch, step, n x 6, 5, 7), or no generator.
    """
    if not isinstance(x, Tensor):
        raise refuse("x", type(x).__name__, "not a tensor", "convert it with torch.as_tensor")
    shape = tuple(x.shape)
    if len(shape) != 5 or not x.is_floating_point():
        raise refuse(
            "x", (shape, x.dtype), "not floating point (batch, step, n x 6, row, column)",
            "make it with Preprocessing",
        )  # fmt: skip
    if shape[2] % N_CHANNELS or not shape[2] or shape[3:] != GRID_SHAPE:
        raise refuse(
            "x: shape", shape, f"not (batch, step, n x {N_CHANNELS}, {GRID_SHAPE[0]}, "
            f"{GRID_SHAPE[1]}), the grid of whiskers", "make it with Preprocessing",
        )  # fmt: skip
    if not isinstance(generator, torch.Generator):
        raise refuse(
            "generator", type(generator).__name__, "draws come from a generator alone",
            "give torch.Generator().manual_seed(seed)",
        )  # fmt: skip


def check_probability(name: str, value: float) -> None:
    """Refuse what is no probability.

    Raises:
        InputError: below 0, above 1 or not a number.
    """
    if not 0.0 <= value <= 1.0:
        raise refuse(name, value, "not a probability", "give a number from 0 to 1")


def check_not_negative(name: str, value: float) -> None:
    """Refuse negative and infinite numbers.

    Raises:
        InputError: below 0 or not finite.
    """
    if not 0.0 <= value < float("inf"):
        raise refuse(name, value, "not a finite number of at least 0", "give 0 or more")


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers in [0, 1) on the device of the generator."""
    return torch.rand(shape, generator=generator, device=generator.device)


def happens(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """(count,) bool, each true with this probability, on the device of the generator."""
    return uniform(generator, count) < probability


def on_device_of(x: Tensor, generator: torch.Generator) -> torch.Generator:
    """A generator on the device of ``x``: the one given, or a new one that it seeds."""
    if generator.device.type == x.device.type:
        return generator
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return torch.Generator(x.device).manual_seed(int(seed))


def samples(x: Tensor) -> Tensor:
    """View (batch, step, n x 6, row, column) as (batch, time, 6, row, column)."""
    batch, steps, channels, *grid = x.shape
    return x.view(batch, steps * (channels // N_CHANNELS), N_CHANNELS, *grid)


def make_member(registry: Registry[Any], kind: type, tree: object, origin: str) -> Any:
    """A member of a family from its name, a mapping with its name under ``type``, or itself.

    Args:
        registry: the family.
        kind: what its configurations are instances of.
        tree: a name, ``{"type": name, field: value}``, what ``core.manifest.to_tree`` makes of a
            configuration, or a configuration.
        origin: what to call it in an error.

    Raises:
        InputError: no such name, or fields that do not fit.
    """
    if isinstance(tree, kind):
        return tree
    if isinstance(tree, str):
        return registry.get(tree)()
    if not isinstance(tree, Mapping):
        raise refuse(origin, tree, "neither a name nor a mapping", "give {type: name}")
    entries = dict(tree)
    name = entries.pop("type", None)
    if not isinstance(name, str):
        known = ", ".join(registry.names())
        raise InputError(f"{origin}: it has no type; add type: NAME, one of {known}.")
    classes = {f"{m.__module__}.{m.__qualname__}": m for m in map(registry.get, registry.names())}
    member = classes.get(name) or registry.get(name)
    return from_tree(member, entries, f"{origin} {registry.name_of(member)}")
