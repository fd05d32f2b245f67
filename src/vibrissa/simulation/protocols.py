"""Named protocols: which scenes are simulated, which are refused, which were drawn again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Protocol

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.registry import Registry
from vibrissa.core.seeds import generator
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.passive import VARIED, PassiveSweep, published_1000hz
from vibrissa.simulation.placement import PlacementCheck, check_placement
from vibrissa.simulation.rodgers import RodgersStimuli
from vibrissa.simulation.run import Engine, EngineName, SkippedScene, assemble, make_engine
from vibrissa.simulation.scene import Scene, SolverConfig, Whisking
from vibrissa.simulation.sweep import Sweep
from vibrissa.simulation.whisking import SinusoidalWhisking

if TYPE_CHECKING:
    import numpy as np

    from vibrissa.objects.tactile_object import TactileObject

sweep_protocols: Final[Registry[type[SweepProtocol]]] = Registry("protocols")
"""Name -> a class of :class:`SweepProtocol`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What a protocol asks for, after its placement was checked.

    Attributes:
        scenes: those to simulate.
        refused: those not to, with the reason.
        redrawn: how many draws were thrown away because of their placement.
        overlapping: name of a scene to simulate -> whiskers inside the felt surface at time 0;
            scenes without any are left out.
    """

    scenes: tuple[Scene, ...]
    refused: tuple[SkippedScene, ...] = ()
    redrawn: int = 0
    overlapping: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        array: WhiskerArray,
        scenes: Sequence[Scene],
        config: SolverConfig,
        *,
        allow_overlap: bool = False,
    ) -> Plan:
        """Check scenes and part them into those to simulate and those refused."""
        sorter = _Sorter(array, config, allow_overlap)
        for scene in scenes:
            sorter.take(scene, sorter.check(scene))
        return sorter.plan()

    def simulate(
        self,
        array: WhiskerArray,
        config: SolverConfig,
        *,
        engine: EngineName = "rod",
        worker: Engine | None = None,
        seed: int | None = None,
    ) -> Sweep:
        """Simulate the scenes, which last equally long, as one batch.

        Args:
            array: the whiskers.
            config: how to simulate.
            engine: ``rod`` or ``mujoco``.
            worker: that engine, made for this array and configuration; made here if omitted.
            seed: recorded in the manifest.

        Raises:
            InputError: all scenes were refused; the text is the first reason.
        """
        if not self.scenes:
            reasons = [skipped.reason for skipped in self.refused]
            more = f" ({len(reasons) - 1} more scenes are refused)" if len(reasons) > 1 else ""
            raise InputError((reasons[0] if reasons else "there are no scenes") + more + ".")
        raw = (worker or make_engine(array, config, engine)).run(self.scenes)
        return assemble(array, self.scenes, config, raw, engine=engine, seed=seed)


class SweepProtocol(Protocol):
    """A named way to choose scenes; its class is built without arguments.

    Attributes:
        needs_object: whether ``plan`` wants an object; other protocols bring their own.
        sets: fields of :class:`PassiveSweep` that the protocol chooses itself.
    """

    needs_object: ClassVar[bool]
    sets: ClassVar[tuple[str, ...]]

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = False,
    ) -> Plan:
        """Choose scenes and check their placement."""
        ...


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
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    whisking: Whisking | None = None

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
        sweep: what is common to all. By default passes start clean; with ``start="published"``
            large objects begin inside the whiskers, as in the published set, and
            ``allow_overlap`` is needed.
    """

    needs_object: ClassVar[bool] = True
    sets: ClassVar[tuple[str, ...]] = ("theta_deg", "height_mm", "distance_mm")
    sweep: PassiveSweep = field(default_factory=PassiveSweep)

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
        scenes = [one.scene(body, array) for one in published_1000hz(self.sweep)]
        return Plan.of(array, scenes, config, allow_overlap=allow_overlap)


@sweep_protocols.register("rodgers6")
@dataclass(frozen=True, kw_only=True)
class Rodgers6:
    """The six stimuli of Rodgers et al. 2022 with active whisking.

    The published placement lets whiskers touch the slab at rest; this is allowed and counted.

    Attributes:
        whisking: how the bases turn; None keeps them still.
        sweep: gives the duration; nothing else of it counts.
        stimuli: places, sizes and head; its whisking and duration are replaced.
    """

    needs_object: ClassVar[bool] = False
    sets: ClassVar[tuple[str, ...]] = (*VARIED, "start_y_mm")
    whisking: Whisking | None = field(default_factory=SinusoidalWhisking)
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    stimuli: RodgersStimuli = field(default_factory=RodgersStimuli)

    def plan(
        self,
        array: WhiskerArray,
        shape: TactileObject | None,
        config: SolverConfig,
        *,
        seed: int = 0,
        allow_overlap: bool = True,
    ) -> Plan:
        """The scenes; ``seed`` and ``allow_overlap`` have no meaning here.

        Raises:
            InputError: an object is given.
        """
        if shape is not None:
            raise refuse(
                "object", shape.name, "rodgers6 brings its own objects", "leave the object out"
            )
        stimuli = replace(self.stimuli, whisking=self.whisking, duration_s=self.sweep.duration_s)
        return Plan.of(array, stimuli.scenes(), config, allow_overlap=True)


@sweep_protocols.register("random-passive")
@dataclass(frozen=True, kw_only=True)
class RandomPassive:
    """Passes drawn at random from a seed; badly placed draws are drawn again.

    Every number is drawn uniformly. The size is drawn once for all sweeps of an object, so that
    its distance field, which takes longest, is made once. Sweep k depends on the seed, the
    object's name and k alone.

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
    sweeps: int = 16
    redraws: int = 10
    sweep: PassiveSweep = field(default_factory=PassiveSweep)
    distance_mm: tuple[float, float] = (2.0, 10.0)
    height_mm: tuple[float, float] = (-8.0, 5.0)
    speed_mm_per_s: tuple[float, float] = (20.0, 60.0)
    diagonal_mm: tuple[float, float] = (20.0, 60.0)
    spin_deg_per_s: tuple[float, float] = (0.0, 0.0)
    starts: tuple[Literal["clean", "published"], ...] = ("clean",)

    def __post_init__(self) -> None:
        if self.sweeps < 1:
            raise refuse("sweeps", self.sweeps, "must be at least 1", "give 1 or more")
        if self.redraws < 0:
            raise refuse("redraws", self.redraws, "must not be negative", "give 0 or more")
        if not self.starts:
            raise refuse("starts", self.starts, "nothing to draw from", "give one or more")
        positive = ("speed_mm_per_s", "diagonal_mm")
        for name in ("distance_mm", "height_mm", "spin_deg_per_s", *positive):
            span = getattr(self, name)
            if (
                len(span) != 2
                or not all(math.isfinite(end) for end in span)
                or span[0] > span[1]
                or (name in positive and span[0] <= 0.0)
            ):
                above = ", above 0" if name in positive else ""
                raise refuse(name, span, "no range", f"give lowest, highest{above}")

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
        size = _draw(generator(seed, "random-passive", body.name), self.diagonal_mm)
        body = body.scaled_to_diagonal(size)
        sorter = _Sorter(array, config, allow_overlap)
        for k in range(self.sweeps):
            draws = generator(seed, "random-passive", body.name, k)
            for attempt in range(self.redraws + 1):
                sweep = replace(
                    self.sweep,
                    theta_deg=_draw(draws, (0.0, 360.0)),
                    distance_mm=_draw(draws, self.distance_mm),
                    height_mm=_draw(draws, self.height_mm),
                    speed_mm_per_s=_draw(draws, self.speed_mm_per_s),
                    spin_deg_per_s=_draw(draws, self.spin_deg_per_s),
                    start=self.starts[int(draws.integers(len(self.starts)))],
                    diagonal_mm=None,
                )
                scene = sweep.scene(body, array, name=f"{body.name} {k:04d}")
                scene = replace(scene, parameters=scene.parameters | {"diagonal_mm": size})
                check = sorter.check(scene)
                if check.refusal(allow_overlap=allow_overlap) is None or attempt == self.redraws:
                    sorter.take(scene, check)
                    break
                sorter.redrawn += 1
        return sorter.plan()


class _Sorter:
    """Parts scenes by their placement, one after the other."""

    def __init__(self, array: WhiskerArray, config: SolverConfig, allow_overlap: bool) -> None:
        self._array, self._config, self._allow_overlap = array, config, allow_overlap
        self._good: list[Scene] = []
        self._refused: list[SkippedScene] = []
        self._overlapping: dict[str, tuple[str, ...]] = {}
        self.redrawn = 0

    def check(self, scene: Scene) -> PlacementCheck:
        return check_placement(self._array, scene, self._config)

    def take(self, scene: Scene, check: PlacementCheck) -> None:
        reason = check.refusal(allow_overlap=self._allow_overlap)
        if reason is not None:
            self._refused.append(SkippedScene(scene=scene.name, reason=reason))
            return
        self._good.append(scene)
        if check.overlapping:
            self._overlapping[scene.name] = check.overlapping

    def plan(self) -> Plan:
        return Plan(
            scenes=tuple(self._good),
            refused=tuple(self._refused),
            redrawn=self.redrawn,
            overlapping=self._overlapping,
        )


def _given(shape: TactileObject | None, protocol: str) -> TactileObject:
    if shape is None:
        raise refuse("object", None, f"{protocol} needs one", "give an object")
    return shape


def _draw(draws: np.random.Generator, span: tuple[float, float]) -> float:
    """Uniform in the span, on a grid of 0.01 so that names and tables are short and exact."""
    return round(float(draws.uniform(*span)), 2)
