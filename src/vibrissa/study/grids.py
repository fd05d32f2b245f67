"""Grids: which networks a study trains, on what, with how many seeds; YAML files."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.neural.synth import SynthConfig
from vibrissa.study.cells import SUPERVISED, UNTRAINED, Cell

if TYPE_CHECKING:
    from vibrissa.models.published import ZooEntry

SUFFIX: Final = ".yaml"
Size: TypeAlias = Literal["tiny", "small", "published"]


@dataclass(frozen=True, kw_only=True)
class Objects:
    """What is touched, and how.

    Attributes:
        objects: as ``vibrissa dataset build --objects`` takes them; replaced by the user's own.
            None where the study needs those of the user.
        protocol: name of a protocol, or the tree of one with its name under ``protocol``.
        split: rule by which sweeps are parted.
        validate: share of the objects of each class for validation.
        test: share for the test.
        expected: how many objects the study is meant for; fewer are a warning in the report.
    """

    objects: tuple[str, ...] | None = ("procedural:64",)
    protocol: Any = "passive-1000hz"
    split: str = "by_object"
    validate: float = 0.15
    test: float = 0.25
    expected: int | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One or more networks that learn alike, or some of the published ones.

    Attributes:
        models: names of networks; each makes a cell of its own.
        zoo: instead of ``models``: names of published models, with ``*`` for any characters; each
            makes a cell with its published recipe, controls included.
        recipe: the training, a tree without model and seed; none for untrained controls. With
            ``zoo``, what to change in the published recipes; a tree with a ``type`` replaces the
            whole of the old one.
        augmentation: what the cell is filed under; ``none``, or with ``zoo`` that of the recipe,
            if omitted.
        label: a pattern with ``{model}``, the name of the network or of the published model.
        size: with ``zoo``, the size of its networks: ``tiny``, ``small`` or ``published``.
        control: also take each network with its first weights.
        published: name in the published zoo, one for each model, or none.
    """

    models: tuple[str, ...] = ()
    zoo: tuple[str, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    augmentation: str | None = None
    label: str = "{model}"
    size: Size = "published"
    control: bool = False
    published: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.models) == bool(self.zoo):
            found = "both are given" if self.models else "neither is given"
            raise refuse("models, zoo", self.models, found, "name networks by one of the two")
        if self.published and len(self.published) != len(self.models):
            raise refuse(
                "published", self.published, f"there are {len(self.models)} models",
                "name one for each, or none",
            )  # fmt: skip

    @property
    def objective(self) -> str:
        """Name of what is learned."""
        return _objective_of(self.recipe)

    def cells(self, seed: int) -> list[Cell]:
        """The cells of one seed."""
        return self._zoo_cells(seed) if self.zoo else self._own_cells(seed)

    def _own_cells(self, seed: int) -> list[Cell]:
        found: list[Cell] = []
        for place, model in enumerate(self.models):
            name = self.published[place] if self.published else ""
            found.append(
                Cell(
                    label=self.label.format(model=model), model=model, objective=self.objective,
                    augmentation=self.augmentation or "none", recipe=self.recipe, seed=seed,
                    published=name,
                )
            )  # fmt: skip
            if self.control and self.recipe:
                found.append(
                    Cell(label=f"{model}, untrained", model=model, objective=UNTRAINED, seed=seed)
                )
        return found

    def _zoo_cells(self, seed: int) -> list[Cell]:
        from vibrissa.models import zoo

        found: list[Cell] = []
        for pattern in self.zoo:
            names = fnmatch.filter(zoo(), pattern)
            if not names:
                raise refuse_unknown("zoo", pattern, tuple(zoo()))
            for name in names:
                found.append(self._zoo_cell(zoo()[name], seed))
        return found

    def _zoo_cell(self, published: ZooEntry, seed: int) -> Cell:
        recipe = dict(published.recipe or {})
        model = recipe.pop("model", published.architecture)
        if recipe:
            del recipe["seed"]
            recipe["data"] = {k: v for k, v in recipe["data"].items() if k != "split"}
            recipe = merged(recipe, self.recipe)
        objective = recipe.get("objective")
        augmented = objective.get("augmentation") if isinstance(objective, Mapping) else None
        label = self.label.format(model=published.name)
        return Cell(
            label=label,
            model=model if self.size == "published" else f"{self.size}:{model}",
            objective=_objective_of(recipe), recipe=recipe, seed=seed,
            published=published.name if label == published.name else "",
            augmentation=self.augmentation or str(augmented or "none"),
        )  # fmt: skip


def _objective_of(recipe: Mapping[str, Any]) -> str:
    found = recipe.get("objective", SUPERVISED) if recipe else UNTRAINED
    return str(found.get("type", "")) if isinstance(found, Mapping) else str(found)


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A tree with some of its leaves replaced; what names its ``type`` replaces the whole."""
    found = dict(tree)
    for name, value in changes.items():
        old = found.get(name)
        both = isinstance(old, Mapping) and isinstance(value, Mapping) and "type" not in value
        found[name] = merged(old, value) if both else value  # type: ignore[arg-type]
    return found


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A study before anything is done.

    Attributes:
        about: one or two sentences.
        data: what is touched.
        cortex: synthetic recordings, where the user has none; None where the study needs those of
            the user.
        seeds: how many seeds each network is trained with, counted from the study's seed.
        entries: the networks.
        draws: split halves of each reliability.
        needs: what the user has to bring and how to get it: ``objects``, ``nwb``.
    """

    about: str
    data: Objects = field(default_factory=Objects)
    cortex: SynthConfig | None = field(default_factory=lambda: SynthConfig(animals=4, units=24))
    seeds: int = 3
    entries: tuple[Entry, ...]
    draws: int = 200
    needs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise refuse("seeds", self.seeds, "fewer than one", "give 1 or more")
        for what in ("key", "label"):
            names = [getattr(cell, what) for e in self.entries for cell in e.cells(0)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise refuse(
                    "entries", twice[0], f"this {what} stands twice in the grid",
                    "leave one out, or give entries labels that differ",
                )  # fmt: skip

    def cells(self, seed: int) -> tuple[Cell, ...]:
        """All cells: seeds outermost, so that an early end leaves whole seeds."""
        found: list[Cell] = []
        for number in range(seed, seed + self.seeds):
            for entry in self.entries:
                found += entry.cells(number)
        return tuple(found)


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


__all__ = ["Entry", "Grid", "Objects", "grid", "grid_names", "merged"]
