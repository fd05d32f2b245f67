"""Named protocols: which scenes are simulated, which are refused, which were drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from vibrissa.core.errors import InputError
from vibrissa.core.registry import Registry
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.fields import distance_fields
from vibrissa.simulation.placement import PlacementCheck, check_placement
from vibrissa.simulation.run import Engine, EngineName, SkippedScene, make_engine, run_scenes
from vibrissa.simulation.scene import Scene, SolverConfig
from vibrissa.simulation.sweep import Sweep

if TYPE_CHECKING:
    from vibrissa.objects.distance_field import DistanceField
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
        sorter = Sorter(array, config, allow_overlap)
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
        """Simulate the scenes, which keep equally many frames, those of one duration as one batch.

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
        return run_scenes(
            array, self.scenes, config, worker or make_engine(array, config, engine),
            engine=engine, seed=seed,
        )  # fmt: skip


class SweepProtocol(Protocol):
    """A named way to choose scenes; its class is built without arguments.

    Attributes:
        needs_object: whether ``plan`` wants an object; other protocols bring their own.
        sets: fields of :class:`~vibrissa.simulation.passive.PassiveSweep` that the protocol
            chooses itself.
        rate_hz: frames per second that suit it.
    """

    needs_object: ClassVar[bool]
    sets: ClassVar[tuple[str, ...]]
    rate_hz: ClassVar[float]

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


class Sorter:
    """Parts scenes by their placement, one after the other.

    Attributes:
        redrawn: to be counted up by whoever draws a scene again.
    """

    def __init__(self, array: WhiskerArray, config: SolverConfig, allow_overlap: bool) -> None:
        self._array, self._config, self._allow_overlap = array, config, allow_overlap
        self._good: list[Scene] = []
        self._refused: list[SkippedScene] = []
        self._overlapping: dict[str, tuple[str, ...]] = {}
        self._fields: dict[str, DistanceField] = {}  # of the last scene
        self.redrawn = 0

    def check(self, scene: Scene) -> PlacementCheck:
        """Look at the placement of a scene; quickest where the objects are those of the last."""
        self._fields = distance_fields([scene], self._config, known=self._fields)
        return check_placement(self._array, scene, self._config, fields=self._fields)

    def take(self, scene: Scene, check: PlacementCheck) -> None:
        """Put a scene among those to simulate or those refused."""
        reason = check.refusal(allow_overlap=self._allow_overlap)
        if reason is not None:
            self._refused.append(SkippedScene(scene=scene.name, reason=reason))
            return
        self._good.append(scene)
        if check.overlapping:
            self._overlapping[scene.name] = check.overlapping

    def plan(self) -> Plan:
        """What was found."""
        return Plan(
            scenes=tuple(self._good),
            refused=tuple(self._refused),
            redrawn=self.redrawn,
            overlapping=self._overlapping,
        )


# What these modules hold is registered whenever a protocol is asked for.
from vibrissa.simulation import passive_protocols, rodgers  # noqa: E402, F401
