"""Recipes by name: YAML files of this package, and the published models' own."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from vibrissa.core.errors import InputError, refuse
from vibrissa.models.published import published_model, zoo
from vibrissa.train.config import TrainConfig, config_from_tree


def recipe_names() -> tuple[str, ...]:
    """Names that :func:`recipe` knows, sorted; published models come beside them."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _files()))


def recipe_tree(name: str) -> dict[str, Any]:
    """The plain tree of a recipe, or of how a published model was trained.

    Raises:
        InputError: there is none of this name, or it was not trained.
    """
    for file in _files():
        if file.name == f"{name}.yaml":
            return yaml.safe_load(file.read_text(encoding="utf-8"))
    runs = {entry.run for entry in zoo().values()}
    if name in zoo() or name.removeprefix("tactile1000hz_") in runs:
        tree = published_model(name).recipe
        if tree is None:
            raise refuse("recipe", name, "an untrained control", "probe it: vibrissa probe")
        return tree
    near = get_close_matches(name, [*recipe_names(), *zoo()], n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"recipe = {name!r}: no such name; {guess}Known: {', '.join(recipe_names())}, and "
        "published models (vibrissa list zoo)."
    )


def recipe(name: str) -> TrainConfig:
    """A recipe by name.

    Raises:
        InputError: there is none of this name.
    """
    return config_from_tree(recipe_tree(name), f"recipe {name}")


def _files() -> list[Traversable]:
    folder = resources.files("vibrissa.train") / "recipes"
    return [file for file in folder.iterdir() if file.name.endswith(".yaml")]
