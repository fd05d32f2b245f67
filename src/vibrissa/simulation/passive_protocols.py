"""Protocols of passive sweeps: one pass, the two published sets, grids, random passes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, ClassVar, Final, Literal, get_args

from vibrissa.core.errors import refuse
from vibrissa.core.seeds import generator
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.passive import (
    VARIED,
    PassiveSweep,
    crossed,
    published_1000hz,
    require_plain,
)
from vibrissa.simulation.protocols import Plan, Sorter, sweep_protocols
from vibrissa.simulation.scene import Scene, SolverConfig, Whisking
from vibrissa.simulation.whisking import IN_FILES

if TYPE_CHECKING:
    import numpy as np

    from vibrissa.objects.tactile_object import TactileObject

Start = Literal["clean", "published"]
PLACE: Final = ("theta_deg", "height_mm", "distance_mm")


@sweep_protocols.register("passive")
@dataclass(frozen=True, kw_only=True)
class OnePass:
    """One straight pass of the object (the default).

    Attributes:
        sweep: the pass.
        whisking: how the bases turn meanwhile; None keeps them still.
    """

    needs_object: ClassVar[bool] = True
    sets: ClassVar[tuple[str, ...]] = ()
    rate_hz: ClassVar[float] = 1000.0
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    whisking: Whisking | None = field(default=None, metadata=IN_FILES)

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = False,
    ) -> Plan:
        """The scene of this pass; ``seed`` has no meaning here."""
        scene = self.sweep.scene(_given(shape, "passive"), array)
        scene = replace(scene, whisking=self.whisking)
        return Plan.of(array, [scene], config, allow_overlap=allow_overlap)


@sweep_protocols.register("passive-1000hz")
@dataclass(frozen=True, kw_only=True)
class Passive1000Hz:
    """The 16 passes per object of the published 1000 Hz set.

    Attributes:
        sweep: what is common to all. By default passes start clean, go right through the whiskers
            and are cut to the published length around the contact; with ``start="published"``
            large objects begin inside the whiskers, as in the published set, and
            ``allow_overlap`` is needed.
    """

    needs_object: ClassVar[bool] = True
    sets: ClassVar[tuple[str, ...]] = (*PLACE, "through")
    rate_hz: ClassVar[float] = 1000.0
    sweep: PassiveSweep = field(default_factory=PassiveSweep)

    def __post_init__(self) -> None:
        require_plain(self.sweep, self.sets)

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = False,
    ) -> Plan:
        """The scenes, ``seed`` having no meaning here."""
        body = _given(shape, "passive-1000hz")
        passes = published_1000hz(_right_through(self.sweep))
        return Plan.of(array, _scenes(body, array, passes), config, allow_overlap=allow_overlap)


@sweep_protocols.register("passive-grid")
@dataclass(frozen=True, kw_only=True)
class PassiveGrid:
    """Every combination of some values, for sets of one's own.

    Attributes:
        sweep: what is common to all.
        theta_deg: values of this field of the pass, in place of the one in ``sweep``; none keep it.
            So for the other fields.
        distance_mm: values.
        height_mm: values.
        speed_mm_per_s: values.
        spin_deg_per_s: values.
        diagonal_mm: values; None leaves the size of the mesh.
        start_y_mm: values.
    """

    needs_object: ClassVar[bool] = True
    sets: ClassVar[tuple[str, ...]] = ()
    rate_hz: ClassVar[float] = 1000.0
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    theta_deg: tuple[float, ...] = ()
    distance_mm: tuple[float, ...] = ()
    height_mm: tuple[float, ...] = ()
    speed_mm_per_s: tuple[float, ...] = ()
    spin_deg_per_s: tuple[float, ...] = ()
    diagonal_mm: tuple[float | None, ...] = ()
    start_y_mm: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in _LETTERS:
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise refuse(name, values, "a value stands twice", "list each once")
            for value in values:
                replace(self.sweep, **{name: value})  # refuses what no pass can have

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = False,
    ) -> Plan:
        """The scenes, the last field varying fastest; ``seed`` has no meaning here."""
        body = _given(shape, "passive-grid")
        lists: dict[str, tuple[float | None, ...]] = {
            name: getattr(self, name) or (getattr(self.sweep, name),) for name in _LETTERS
        }
        told = [name for name in _LETTERS if len(lists[name]) > 1]
        sized = {size: _sized(body, size) for size in lists["diagonal_mm"]}
        scenes = []
        for one in crossed(self.sweep, lists):
            words = [f"{_LETTERS[name]}{_short(getattr(one, name))}" for name in told]
            scene = one.scene(
                body, array, name=" ".join([body.name, *words]), sized=sized[one.diagonal_mm]
            )
            varied = {"start_y_mm": one.start_y_mm} if "start_y_mm" in told else {}
            scenes.append(replace(scene, parameters=scene.parameters | varied))
        return Plan.of(array, scenes, config, allow_overlap=allow_overlap)


# Sizes first, so that scenes with the same distance field stand together.
_LETTERS: Final = {
    "diagonal_mm": "s", "theta_deg": "t", "distance_mm": "d", "height_mm": "h",
    "speed_mm_per_s": "v", "spin_deg_per_s": "w", "start_y_mm": "y",
}  # fmt: skip


@sweep_protocols.register("passive-110hz")
@dataclass(frozen=True, kw_only=True)
class Passive110Hz:
    """The 312 passes per object of the published 110 Hz set: 24 + 2 draws of 12 passes each.

    A draw is a speed, a size and a first angle, whole numbers with both ends; its 12 passes are
    three heights times four turns. It depends on the seed, the object's name and its number alone;
    draws for training come first.

    Attributes:
        train_draws: how many draws are for training.
        test_draws: how many are for testing.
        sweep: what is common to all; clean starts go right through the whiskers and are cut to the
            published length around the contact.
        speed_mm_per_s: lowest and highest.
        diagonal_mm: lowest and highest.
        theta_deg: lowest and highest first angle.
        heights_mm: of every draw.
        turns_deg: added to the first angle.
        start_y_mm: where a published start is.
    """

    needs_object: ClassVar[bool] = True
    sets: ClassVar[tuple[str, ...]] = (
        "theta_deg", "height_mm", "speed_mm_per_s", "diagonal_mm", "start_y_mm", "through",
    )  # fmt: skip
    rate_hz: ClassVar[float] = 110.0
    train_draws: int = 24
    test_draws: int = 2
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    speed_mm_per_s: tuple[int, int] = (30, 60)
    diagonal_mm: tuple[int, int] = (20, 60)
    theta_deg: tuple[int, int] = (0, 89)
    heights_mm: tuple[float, ...] = (-3.0, 0.0, 3.0)
    turns_deg: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)
    start_y_mm: float = 20.0

    def __post_init__(self) -> None:
        require_plain(self.sweep, self.sets)
        for name in ("train_draws", "test_draws"):
            if getattr(self, name) < 0:
                raise refuse(name, getattr(self, name), "must not be negative", "give 0 or more")
        if not self.train_draws + self.test_draws:
            raise refuse("train_draws", 0, "nothing to draw", "give 1 or more")
        for name in ("speed_mm_per_s", "diagonal_mm", "theta_deg"):
            _require_range(name, getattr(self, name), positive=name != "theta_deg")
            if any(end != int(end) for end in getattr(self, name)):
                raise refuse(name, getattr(self, name), "not whole numbers", "give two")
        for name in ("heights_mm", "turns_deg"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values) or not all(map(math.isfinite, values)):
                raise refuse(name, values, "empty, doubled or not finite", "list each once")
        if not math.isfinite(self.start_y_mm):
            raise refuse("start_y_mm", self.start_y_mm, "not finite", "give a number")

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = False,
    ) -> Plan:
        """Draw the scenes of an object from the seed and the name of the object."""
        body = _given(shape, "passive-110hz")
        largest = body.scaled_to_diagonal(self.diagonal_mm[1])
        template = replace(_right_through(self.sweep), start_y_mm=self.start_y_mm)
        scenes = []
        for draw in range(self.train_draws + self.test_draws):
            draws = generator(seed, "passive-110hz", body.name, draw)
            speed, size, first = (
                float(draws.integers(low, high, endpoint=True))
                for low, high in (self.speed_mm_per_s, self.diagonal_mm, self.theta_deg)
            )
            sized = largest.scaled_to_diagonal(size, share_field=True)
            told = {"draw": draw, "part": "train" if draw < self.train_draws else "test"}
            for height, turn in product(self.heights_mm, self.turns_deg):
                one = replace(
                    template, theta_deg=first + turn, height_mm=height, speed_mm_per_s=speed,
                    diagonal_mm=size,
                )  # fmt: skip
                name = f"{body.name} {draw:02d} h{height:g} a{turn:g}"
                scene = one.scene(body, array, name=name, sized=sized)
                scenes.append(replace(scene, parameters=scene.parameters | told))
        return Plan.of(array, scenes, config, allow_overlap=allow_overlap)


@sweep_protocols.register("random-passive")
@dataclass(frozen=True, kw_only=True)
class RandomPassive:
    """Passes drawn at random from a seed; badly placed draws are drawn again.

    Every number is drawn uniformly. Sweep k depends on the seed, the object's name and k alone.

    Attributes:
        sweeps: how many to plan for an object.
        redraws: how often a sweep is drawn again before it is refused.
        sweep: what is not drawn.
        distance_mm: lowest and highest.
        height_mm: lowest and highest.
        speed_mm_per_s: lowest and highest.
        diagonal_mm: lowest and highest.
        spin_deg_per_s: lowest and highest.
        starts: the start is drawn from these.
    """

    needs_object: ClassVar[bool] = True
    sets: ClassVar[tuple[str, ...]] = VARIED[:-1]
    rate_hz: ClassVar[float] = 1000.0
    sweeps: int = 16
    redraws: int = 10
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    distance_mm: tuple[float, float] = (2.0, 10.0)
    height_mm: tuple[float, float] = (-8.0, 5.0)
    speed_mm_per_s: tuple[float, float] = (20.0, 60.0)
    diagonal_mm: tuple[float, float] = (20.0, 60.0)
    spin_deg_per_s: tuple[float, float] = (0.0, 0.0)
    starts: tuple[Start, ...] = ("clean",)

    def __post_init__(self) -> None:
        require_plain(self.sweep, self.sets)
        if self.sweeps < 1:
            raise refuse("sweeps", self.sweeps, "must be at least 1", "give 1 or more")
        if self.redraws < 0:
            raise refuse("redraws", self.redraws, "must not be negative", "give 0 or more")
        if not self.starts:
            raise refuse("starts", self.starts, "nothing to draw from", "give one or more")
        if not set(self.starts) <= set(get_args(Start)):
            raise refuse("starts", self.starts, "unknown", "choose from clean and published")
        positive = ("speed_mm_per_s", "diagonal_mm")
        for name in ("distance_mm", "height_mm", "spin_deg_per_s", *positive):
            _require_range(name, getattr(self, name), positive=name in positive)

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = False,
    ) -> Plan:
        """Draw the scenes of an object from the seed and the name of the object."""
        body = _given(shape, "random-passive")
        largest = body.scaled_to_diagonal(self.diagonal_mm[1])
        sorter = Sorter(array, config, allow_overlap)
        for k in range(self.sweeps):
            draws = generator(seed, "random-passive", body.name, k)
            # One size per sweep, so that what is drawn again stays cheap to check.
            size = _draw(draws, self.diagonal_mm)
            sized = largest.scaled_to_diagonal(size, share_field=True)
            for attempt in range(self.redraws + 1):
                one = self._one(draws, size)
                scene = one.scene(body, array, name=f"{body.name} {k:04d}", sized=sized)
                check = sorter.check(scene)
                if check.refusal(allow_overlap=allow_overlap) is None or attempt == self.redraws:
                    sorter.take(scene, check)
                    break
                sorter.redrawn += 1
        return sorter.plan()

    def _one(self, draws: np.random.Generator, size: float) -> PassiveSweep:
        drawn = {
            "theta_deg": _draw(draws, (0.0, 360.0)),
            "distance_mm": _draw(draws, self.distance_mm),
            "height_mm": _draw(draws, self.height_mm),
            "speed_mm_per_s": _draw(draws, self.speed_mm_per_s),
            "spin_deg_per_s": _draw(draws, self.spin_deg_per_s),
        }
        start = self.starts[int(draws.integers(len(self.starts)))]
        through = self.sweep.through and start == "clean"
        return replace(self.sweep, **drawn, start=start, through=through, diagonal_mm=size)


def _given(shape: TactileObject | None, protocol: str) -> TactileObject:
    if shape is None:
        raise refuse("object", None, f"{protocol} needs one", "give an object")
    return shape


def _right_through(sweep: PassiveSweep) -> PassiveSweep:
    """A clean start, simulated until the object is past; a published one as it is."""
    return replace(sweep, through=sweep.start == "clean")


def _sized(shape: TactileObject, size: float | None) -> TactileObject:
    return shape if size is None else shape.scaled_to_diagonal(size)


def _scenes(
    shape: TactileObject, array: WhiskerArray, passes: Iterable[PassiveSweep]
) -> list[Scene]:
    """Scenes of passes of one size."""
    every = list(passes)
    sized = _sized(shape, every[0].diagonal_mm)
    return [one.scene(shape, array, sized=sized) for one in every]


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _require_range(name: str, span: tuple[float, float], *, positive: bool) -> None:
    if (
        len(span) != 2
        or not all(math.isfinite(end) for end in span)
        or span[0] > span[1]
        or (positive and span[0] <= 0.0)
    ):
        above = ", above 0" if positive else ""
        raise refuse(name, span, "no range", f"give lowest, highest{above}")


def _draw(draws: np.random.Generator, span: tuple[float, float]) -> float:
    """Uniform in the span, on a grid of 0.01 so that names and tables are short and exact."""
    return round(float(draws.uniform(*span)), 2)
