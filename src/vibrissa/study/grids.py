"""Grids: which networks a study trains, on what, with how many seeds; YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final, Literal

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.neural.synth import SynthConfig
from vibrissa.study.cells import SUPERVISED, UNTRAINED, Cell

SUFFIX: Final = ".yaml"


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What is touched, and how.

    Attributes:
        objects: as ``vibrissa dataset build --objects`` takes them; replaced by the user's own.
        protocol: name of a protocol, or the tree of one with its name under ``protocol``.
        split: rule by which sweeps are parted.
        validate: share of the objects of each class for validation.
        test: share for the test.
    """

    objects: tuple[str, ...] = ("procedural:64",)
    protocol: Any = "passive-1000hz"
    split: str = "by_object"
    validate: float = 0.15
    test: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One or more networks that learn alike.

    Attributes:
        models: names of networks; each makes a cell of its own.
        recipe: the training, a tree without model and seed; none for untrained controls.
        objective: ``untrained`` for controls; else read from the recipe.
        augmentation: what the cell is filed under; ``none`` if omitted.
        label: a pattern with ``{model}``.
        control: also take each network with its first weights.
        published: name in the published zoo, one for each model, or none.
    """

    models: tuple[str, ...]
    recipe: Mapping[str, Any] = field(default_factory=dict)
    augmentation: str = "none"
    label: str = "{model}"
    control: bool = False
    published: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise refuse("models", self.models, "none", "name one or more")
        if self.published and len(self.published) != len(self.models):
            raise refuse(
                "published", self.published, f"there are {len(self.models)} models",
                "name one for each, or none",
            )  # fmt: skip

    @property
    def objective(self) -> str:
        """Name of what is learned."""
        found = self.recipe.get("objective", SUPERVISED) if self.recipe else UNTRAINED
        return str(found.get("type", "")) if isinstance(found, Mapping) else str(found)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A study before anything is done.

    Attributes:
        about: one or two sentences.
        data: what is touched.
        cortex: synthetic recordings, where the user has none.
        seeds: how many seeds each network is trained with, counted from the study's seed.
        entries: the networks.
        draws: split halves of each reliability.
    """

    about: str
    data: Objects = field(default_factory=Objects)
    cortex: SynthConfig = field(default_factory=lambda: SynthConfig(animals=4, units=24))
    seeds: int = 3
    entries: tuple[Entry, ...]
    draws: int = 200

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise refuse("seeds", self.seeds, "fewer than one", "give 1 or more")
        keys = [cell.key for cell in self.cells(0)]
        if len(set(keys)) < len(keys):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise refuse("entries", twice[0], "it stands twice in the grid", "leave one out")

    def cells(self, seed: int) -> tuple[Cell, ...]:
        """All cells: seeds outermost, so that an early end leaves whole seeds."""
        found: list[Cell] = []
        for number in range(seed, seed + self.seeds):
            for entry in self.entries:
                found += _cells_of(entry, number)
        return tuple(found)


def _cells_of(entry: Entry, seed: int) -> list[Cell]:
    found: list[Cell] = []
    for place, model in enumerate(entry.models):
        name = entry.published[place] if entry.published else ""
        found.append(
            Cell(
                label=entry.label.format(model=model), model=model, objective=entry.objective,
                augmentation=entry.augmentation, recipe=entry.recipe, seed=seed, published=name,
            )
        )  # fmt: skip
        if entry.control and entry.recipe:
            found.append(
                Cell(label=f"{model}, untrained", model=model, objective=UNTRAINED, seed=seed)
            )
    return found


Scale = Literal["demo", "tiny", "small", "paper"]


def grid_names() -> tuple[str, ...]:
    """Names of the grids in the package."""
    found = (entry.name for entry in files("vibrissa.study").joinpath("grids").iterdir())
    return tuple(sorted(n.removesuffix(SUFFIX) for n in found if n.endswith(SUFFIX)))


def grid(name: str | Path) -> Grid:
    """A grid of the package by name, or a user's YAML file.

    Raises:
        InputError: no such grid, or a file that is not one.
    """
    text = str(name)
    if text.endswith((SUFFIX, ".yml")):
        return from_tree(Grid, read_yaml(text), origin=text)
    if text not in grid_names():
        raise refuse_unknown("grid", text, grid_names())
    with as_file(files("vibrissa.study").joinpath("grids", f"{text}{SUFFIX}")) as path:
        return from_tree(Grid, read_yaml(path), origin=path.name)


__all__ = ["Entry", "Grid", "Objects", "Scale", "grid", "grid_names"]
