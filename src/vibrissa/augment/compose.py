"""Augmentations one after the other, and the pipelines that have a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import mul, xor
from typing import Any, Final, cast

import torch
from torch import Tensor

from vibrissa.augment.base import (
    Augmentation,
    Identity,
    augmentations,
    check_input,
    make_member,
)
from vibrissa.augment.image_style import ImageStyle
from vibrissa.augment.published import Published
from vibrissa.augment.rotation import GridRotation
from vibrissa.augment.symmetry import (
    Frame,
    MirrorFrontBack,
    MirrorLeftRight,
    MirrorUpDown,
    Symmetry,
    TimeReversal,
    act,
)
from vibrissa.augment.variation import Gain, Noise, Scaling, TimeShift, WhiskerDropout, scale
from vibrissa.core.config import TREE_TYPE
from vibrissa.core.errors import refuse_unknown
from vibrissa.core.registry import Registry

__all__ = ["Compose", "GridRotation", "augmentations", "make_augmentation", "pipelines", "tactile"]

_HOUSE_FRAME: Final[Frame] = "base"


@augmentations.register("compose")
@dataclass(frozen=True, kw_only=True)
class Compose(Augmentation):
    """Augmentations one after the other.

    Neighbours that commute (symmetries of one frame; factors) are drawn one by one and applied in
    a single pass, with the same result.

    Attributes:
        parts: from first to last; names and mappings are taken as by :func:`make_augmentation`.
    """

    parts: tuple[Augmentation, ...] = field(default=(), metadata={TREE_TYPE: Any})

    def __post_init__(self) -> None:
        parts = cast(Sequence[object], self.parts)
        object.__setattr__(self, "parts", tuple(make_augmentation(part) for part in parts))

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        check_input(x, generator)
        if all(isinstance(part, Identity) for part in self.parts):
            return x
        return super().__call__(x, generator)

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        places = x.shape[3] * x.shape[4]
        for run in _runs(self.parts):
            if isinstance(run[0], Symmetry):
                symmetries = cast(Sequence[Symmetry], run)
                elements = reduce(xor, [part.draw(len(x), generator) for part in symmetries])
                frames: list[Frame] = [s for p in symmetries if (s := p.signs_in) is not None]
                x = act(x, elements, frames[0] if frames else _HOUSE_FRAME)
            elif isinstance(run[0], Scaling):
                scalings = cast(Sequence[Scaling], run)
                drawn = [part.factors(len(x), places, generator) for part in scalings]
                x = scale(x, reduce(mul, drawn))
            else:
                x = run[0].change(x, generator)
        return x


def _runs(parts: Sequence[Augmentation]) -> list[list[Augmentation]]:
    """Neighbours that may go in one pass, together; all others alone."""
    runs: list[list[Augmentation]] = []
    for part in parts:
        if runs and all(_joins(part, other) for other in runs[-1]):
            runs[-1].append(part)
        else:
            runs.append([part])
    return runs


def _joins(part: Augmentation, other: Augmentation) -> bool:
    if isinstance(part, Scaling):
        return isinstance(other, Scaling)
    if not (isinstance(part, Symmetry) and isinstance(other, Symmetry)):
        return False
    return None in (part.signs_in, other.signs_in) or part.signs_in == other.signs_in


def make_augmentation(tree: object, origin: str = "augmentation") -> Augmentation:
    """An augmentation from its name or a tree.

    Args:
        tree: the name of a pipeline or of an augmentation; ``{"type": name, field: value}``; a list
            of such, which are composed; what ``core.manifest.to_tree`` makes of an augmentation;
            or an augmentation.
        origin: what to call it in an error.

    Raises:
        InputError: no such name, or fields that do not fit.
    """
    if isinstance(tree, str) and tree in pipelines:
        return pipelines.get(tree)
    if isinstance(tree, str) and tree not in augmentations:
        raise refuse_unknown(origin, tree, (*pipelines.names(), *augmentations.names()))
    if isinstance(tree, list | tuple):
        parts = tuple(make_augmentation(part, f"{origin}[{k}]") for k, part in enumerate(tree))
        return Compose(parts=parts)
    return make_member(augmentations, Augmentation, tree, origin)


def tactile(frame: Frame = "base") -> Compose:
    """The physical pipeline: variation of trial, animal and whiskers, then mirrors and reversal.

    Args:
        frame: the axes that the loads are in.
    """
    return Compose(
        parts=(
            TimeShift(),
            WhiskerDropout(),
            Gain(),
            Noise(),
            MirrorLeftRight(frame=frame),
            MirrorUpDown(frame=frame),
            MirrorFrontBack(frame=frame),
            TimeReversal(),
        )
    )


pipelines: Final[Registry[Augmentation]] = Registry("pipelines")
"""Name -> an augmentation, as a rule composed."""

pipelines.register("none")(Identity())
pipelines.register("tactile")(tactile())
pipelines.register("tactile_world")(tactile("world"))
pipelines.register("published")(Published())
pipelines.register("published_rot_tflip22")(Published(reversal="steps"))
pipelines.register("published_rot_ntf")(Published(reversal=None))
pipelines.register("published_no_rot_tflip110")(Published(rotation=False))
pipelines.register("published_no_rot_tflip22")(Published(rotation=False, reversal="steps"))
pipelines.register("published_no_rot_ntf")(Published(rotation=False, reversal=None))
pipelines.register("image")(ImageStyle())
