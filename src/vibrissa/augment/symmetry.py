"""Mirror images, half turns and time reversal: exact images of the same touch.

A mirrored whisker's base frame is (R x, R y, -R z) for a reflection R of space (see
:meth:`vibrissa.morphology.whisker.Whisker.mirrored`). Forces are vectors, F' = R F; moments are
pseudo-vectors, M' = -R M. So in the base frame *any* reflection turns the signs of Fz, Mx and My,
whatever its plane, and only the names of the whiskers tell the planes apart. In world axes the
force along the normal of the plane changes its sign, and the two moments within the plane.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

import torch
from torch import Tensor

from vibrissa.augment.base import Augmentation, augmentations, check_probability, happens, samples
from vibrissa.core.errors import refuse

Frame = Literal["base", "world"]
Reversal = Literal["samples", "steps"]

LEFT_RIGHT, FRONT_BACK, UP_DOWN, SAMPLES, STEPS = 1, 2, 4, 8, 16
"""Bits of the elements of the group; every element is its own inverse and all commute."""

_BASE_SIGNS: Final = (1.0, 1.0, -1.0, -1.0, -1.0, 1.0)
_WORLD_SIGNS: Final = {
    LEFT_RIGHT: (-1.0, 1.0, 1.0, 1.0, -1.0, -1.0),
    FRONT_BACK: (1.0, -1.0, 1.0, -1.0, 1.0, -1.0),
    UP_DOWN: (1.0, 1.0, -1.0, -1.0, -1.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class Symmetry(Augmentation):
    """A random element of a group of symmetries, drawn per sample.

    Attributes:
        probability: of the change.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    @property
    def signs_in(self) -> Frame | None:
        """The frame that the sign rules are those of; None where it does not matter."""
        return None

    @property
    @abstractmethod
    def element(self) -> int:
        """The bits of the change."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The element for each of ``count`` samples, (count,) int64."""
        return happens(count, self.probability, generator).long() * self.element

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return act(x, self.draw(len(x), generator), self.signs_in or "base")


def signs(element: int, frame: Frame) -> tuple[float, ...]:
    """Signs (6,) of Fx Fy Fz Mx My Mz under an element."""
    found = (1.0,) * 6
    for plane, in_world in _WORLD_SIGNS.items():
        if element & plane:
            rule = _BASE_SIGNS if frame == "base" else in_world
            found = tuple(a * b for a, b in zip(found, rule, strict=True))
    return found


def act(x: Tensor, elements: Tensor, frame: Frame) -> Tensor:
    """Apply to each sample its element; overwrites ``x``.

    Args:
        x: (batch, step, n x 6, row, column), contiguous.
        elements: (batch,) int64, on any device; on that of the generator nothing has to wait.
        frame: whose sign rules hold.
    """
    drawn = elements.unique().tolist()
    for element in drawn:
        if element == 0:
            continue
        if len(drawn) == 1:
            return image(x, element, frame)
        which = torch.nonzero(elements == element)[:, 0].to(x.device)
        x[which] = image(x[which], element, frame)
    return x


def image(x: Tensor, element: int, frame: Frame = "base") -> Tensor:
    """The image of all samples under one element; may share memory with ``x``.

    Args:
        x: (batch, step, n x 6, row, column), contiguous.
        element: bits.
        frame: whose sign rules hold.
    """
    dims = [d for bit, d in ((UP_DOWN, -2), (FRONT_BACK, -1)) if element & bit]
    if element & STEPS:
        dims.append(1)
    if dims:
        x = x.flip(dims)
    if element & SAMPLES:
        x = samples(x).flip(1).view(x.shape)
    rule = signs(element, frame)
    if min(rule) < 0:
        turned = torch.tensor(rule, dtype=x.dtype).to(x.device, non_blocking=True)
        x = (samples(x) * turned[:, None, None]).view(x.shape)
    return x


@dataclass(frozen=True, kw_only=True)
class _Mirror(Symmetry):
    """A reflection.

    Attributes:
        frame: ``base`` (house) or ``world`` (as published): the axes that the loads are in.
    """

    frame: Frame = "base"
    bits: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frame not in get_args(Frame):
            raise refuse("frame", self.frame, "unknown", "choose base or world")

    @property
    def signs_in(self) -> Frame | None:
        return self.frame

    @property
    def element(self) -> int:
        return self.bits


@augmentations.register("mirror_left_right")
@dataclass(frozen=True, kw_only=True)
class MirrorLeftRight(_Mirror):
    """Reflection about the sagittal plane: what the whiskers of the other side would feel.

    Rows and columns stay, since the grid is the same for either side; signs change.
    """

    bits: ClassVar[int] = LEFT_RIGHT


@augmentations.register("mirror_up_down")
@dataclass(frozen=True, kw_only=True)
class MirrorUpDown(_Mirror):
    """Reflection about the horizontal plane: rows A..E become E..A, and signs change.

    The mirrored array has its whiskers at the mirrored places, so places without a whisker move
    along (E6 becomes A6, A5 and A6 become E5 and E6): no whisker is lost.
    """

    bits: ClassVar[int] = UP_DOWN


@augmentations.register("mirror_front_back")
@dataclass(frozen=True, kw_only=True)
class MirrorFrontBack(_Mirror):
    """Reflection about the frontal plane: columns 0..6 become 6..0, and signs change.

    Places without a whisker move along, as in :class:`MirrorUpDown`. The longest whiskers, which
    are caudal, come to stand where the shortest were: the array of another animal.
    """

    bits: ClassVar[int] = FRONT_BACK


@augmentations.register("half_turn")
@dataclass(frozen=True, kw_only=True)
class HalfTurn(_Mirror):
    """Turn of the grid by 180 degrees: up-down and front-back mirror together.

    A half turn of everything about the left-right axis. No load changes in the base frame, since
    a turn carries the base frames along; in world axes Fy, Fz, My and Mz change their sign.
    """

    bits: ClassVar[int] = UP_DOWN | FRONT_BACK


@augmentations.register("time_reversal")
@dataclass(frozen=True, kw_only=True)
class TimeReversal(Symmetry):
    """The same motion played backward; no sign changes.

    Contact that is quasi-static and free of friction depends on where the object is, not on where
    it goes, so that the loads run backward as they are. Friction, slip-off and ringing do depend
    on the direction: reversal is an approximation for these.

    Attributes:
        over: ``samples``, all 110 in turn, or ``steps``, the 22 steps in turn with the order of
            the sub-frames within a step as it was (a published variant; not a motion).
    """

    over: Reversal = "samples"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.over not in get_args(Reversal):
            raise refuse("over", self.over, "unknown", "choose samples or steps")

    @property
    def element(self) -> int:
        return SAMPLES if self.over == "samples" else STEPS


def product(elements: Iterable[int]) -> int:
    """The element that comes of all of them, in any order."""
    whole = 0
    for element in elements:
        whole ^= element
    return whole
