"""Recipes by name: YAML files of this package, and the published models' own."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from vibrissa.core.errors import refuse_unknown
from vibrissa.train.config import TrainConfig, config_from_tree


def recipe_names() -> tuple[str, ...]:
    """Names that :func:`recipe` knows, sorted; published models come beside them."""
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _files()))


def recipe_tree(name: str) -> dict[str, Any]:
    """The plain tree of a recipe.

    Raises:
        InputError: there is none of this name.
    """
    for file in _files():
        if file.name == f"{name}.yaml":
            return yaml.safe_load(file.read_text(encoding="utf-8"))
    raise refuse_unknown("recipe", name, recipe_names())


def recipe(name: str) -> TrainConfig:
    """A recipe by name.

    Raises:
        InputError: there is none of this name.
    """
    return config_from_tree(recipe_tree(name), f"recipe {name}")


def _files() -> list[Traversable]:
    folder = resources.files("vibrissa.train") / "recipes"
    return [file for file in folder.iterdir() if file.name.endswith(".yaml")]
