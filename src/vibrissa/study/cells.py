"""Cells: one network, one way of learning, one seed; what a study is made of."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vibrissa.core.errors import refuse
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.manifest import to_tree

SUPERVISED: Final = "supervised"
UNTRAINED: Final = "untrained"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One network, one way of learning, one seed.

    Attributes:
        label: what to call the network and its training in tables and figures.
        model: a name that :func:`vibrissa.models.build` takes.
        objective: what it learns; ``untrained`` for a control with its first weights.
        augmentation: name of the augmentation while it learns, ``none`` if there is none.
        recipe: tree of the training, without model and seed; empty for controls.
        seed: of weights, order, augmentation.
        published: name in the published zoo of what this stands for, or empty.
    """

    label: str
    model: str
    objective: str
    augmentation: str = "none"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    published: str = ""

    def __post_init__(self) -> None:
        if not self.label.strip():
            raise refuse("label", self.label, "empty", "name the network")
        if (self.objective == UNTRAINED) != (not self.recipe):
            raise refuse(
                "recipe", dict(self.recipe), f"objective is {self.objective}",
                "give a recipe to what is trained, and none to a control",
            )  # fmt: skip

    @property
    def key(self) -> str:
        """A name for its folder: equal for equal cells, and different for different ones."""
        plain = re.sub(r"[^a-z0-9]+", "-", f"{self.model}-{self.objective}".lower()).strip("-")
        tree = [self.model, self.objective, self.augmentation, to_tree(self.recipe), self.seed]
        text = json.dumps(tree, sort_keys=True)
        return f"{plain}-s{self.seed}-{digest_of_bytes(text.encode())[:8]}"

    @property
    def parts(self) -> tuple[str, str, str]:
        """Encoder, attender and decoder by name."""
        words = self.model.partition(":")[2] or self.model
        names = [word.partition("@")[0] for word in words.split("+")]
        encoder, attender, decoder = (names + ["none", "linear"][len(names) - 1 :])[:3]
        return encoder, attender, decoder
