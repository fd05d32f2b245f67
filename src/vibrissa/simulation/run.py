"""From scenes to a :class:`Sweep`: the one function that most users call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import progress
from vibrissa.morphology.array import WhiskerArray
from vibrissa.objects.distance_field import DistanceField
from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.bases import base_poses
from vibrissa.simulation.engine import RawSweeps, RodEngine
from vibrissa.simulation.fields import distance_fields
from vibrissa.simulation.placement import PlacementCheck, check_placement
from vibrissa.simulation.rod import Rod
from vibrissa.simulation.scene import Scene, SolverConfig, frame_times_s
from vibrissa.simulation.sweep import WINDOW_START, Sweep, rotate_loads
from vibrissa.simulation.windows import best_window

EngineName = Literal["rod", "mujoco"]


class Engine(Protocol):
    """What simulates a batch of scenes."""

    rods: tuple[Rod, ...]

    def run(self, scenes: Sequence[Scene]) -> RawSweeps:
        """Loads at the bases; all scenes last equally long."""
        ...


@dataclass(frozen=True, kw_only=True)
class SkippedScene:
    """A scene that was not simulated, and why, in one sentence."""

    scene: str
    reason: str


def make_engine(
    array: WhiskerArray,
    config: SolverConfig | None = None,
    engine: EngineName = "rod",
    *,
    cache_fields: bool = True,
) -> Engine:
    """Build an engine once for many batches.

    Args:
        array: the whiskers.
        config: how to simulate.
        engine: ``rod`` or ``mujoco``.
        cache_fields: whether distance fields may be read from and written to the disk cache.

    Raises:
        InputError: an unknown engine, or a device that is not there.
        MissingExtraError: ``mujoco`` is not installed.
    """
    settings = config or SolverConfig()
    if engine == "rod":
        return RodEngine(array, settings, cache_fields=cache_fields)
    if engine == "mujoco":
        from vibrissa.simulation.mujoco_engine import MujocoEngine

        return MujocoEngine(array, settings)
    raise refuse("engine", engine, "unknown", "choose rod or mujoco")


def check_scenes(
    array: WhiskerArray,
    scenes: Sequence[Scene],
    config: SolverConfig | None = None,
    *,
    allow_overlap: bool = False,
) -> tuple[list[Scene], list[SkippedScene], list[PlacementCheck]]:
    """Part scenes into those to simulate and those refused; the third list has every check."""
    settings = config or SolverConfig()
    good: list[Scene] = []
    refused: list[SkippedScene] = []
    checks: list[PlacementCheck] = []
    held: dict[str, DistanceField] = {}
    for scene in scenes:
        held = distance_fields([scene], settings, known=held)
        check = check_placement(array, scene, settings, fields=held)
        checks.append(check)
        reason = check.refusal(allow_overlap=allow_overlap)
        if reason is None:
            good.append(scene)
        else:
            refused.append(SkippedScene(scene=scene.name, reason=reason))
    return good, refused, checks


def simulate(
    array: WhiskerArray,
    scenes: Scene | Sequence[Scene],
    config: SolverConfig | None = None,
    *,
    engine: EngineName = "rod",
    allow_overlap: bool = False,
    seed: int | None = None,
    quiet: bool = True,
) -> Sweep:
    """Simulate one scene, or several that keep equally many frames; what the bases felt.

    Args:
        array: the whiskers.
        scenes: what happens around them.
        config: how to simulate; defaults suit mouse whiskers.
        engine: ``rod``, or ``mujoco`` as an independent check (slow).
        allow_overlap: simulate scenes in which whiskers start inside an object, as the published
            data set does.
        seed: recorded in the manifest if the scenes were drawn at random.
        quiet: no progress bar.

    Raises:
        InputError: a scene is badly placed; see :func:`check_scenes` to sort them beforehand.
    """
    batch = [scenes] if isinstance(scenes, Scene | TactileObject) else list(scenes)
    for scene in batch:
        if not isinstance(scene, Scene):
            raise refuse(
                "scenes", type(scene).__name__, "not a scene, which says how things move",
                "make one, for instance by PassiveSweep().scene(object, array)",
            )  # fmt: skip
    parts = list(
        simulate_batches(
            array, batch, config, batch=max(1, len(batch)), engine=engine,
            allow_overlap=allow_overlap, seed=seed, quiet=quiet,
        )
    )  # fmt: skip
    return parts[0]


def simulate_batches(
    array: WhiskerArray,
    scenes: Sequence[Scene],
    config: SolverConfig | None = None,
    *,
    batch: int = 64,
    engine: EngineName = "rod",
    allow_overlap: bool = False,
    seed: int | None = None,
    quiet: bool = True,
) -> Iterator[Sweep]:
    """Like :func:`simulate`, but yields a :class:`Sweep` for every ``batch`` scenes, so that any
    number of scenes needs the memory of one batch."""
    settings = config or SolverConfig()
    if batch < 1:
        raise refuse("batch", batch, "must be at least 1", "give 1 or more")
    if not scenes:
        raise refuse("scenes", [], "nothing to simulate", "give one scene or more")
    good, refused, _ = check_scenes(array, scenes, settings, allow_overlap=allow_overlap)
    if refused:
        more = f" ({len(refused) - 1} more scenes are refused)" if len(refused) > 1 else ""
        raise InputError(refused[0].reason + more + ".")
    worker = make_engine(array, settings, engine)
    with progress("simulating", total=len(good), unit="sweep", quiet=quiet) as bar:
        for start in range(0, len(good), batch):
            part = good[start : start + batch]
            yield run_scenes(array, part, settings, worker, engine=engine, seed=seed)
            bar.update(len(part))


def run_scenes(
    array: WhiskerArray,
    scenes: Sequence[Scene],
    config: SolverConfig,
    worker: Engine,
    *,
    engine: str = "rod",
    seed: int | None = None,
) -> Sweep:
    """Simulate scenes that keep equally many frames; those of one duration go as one batch.

    Raises:
        InputError: no scenes, or they keep different numbers of frames.
    """
    if not scenes:
        raise refuse("scenes", [], "nothing to simulate", "give one scene or more")
    if len({config.frames(scene.kept_s) for scene in scenes}) > 1:
        raise refuse(
            "duration_s", sorted({scene.kept_s for scene in scenes}),
            "sweeps of one file must last equally long",
            "give them one duration, or one window_s",
        )  # fmt: skip
    groups: dict[float, list[int]] = {}
    for k, scene in enumerate(scenes):
        groups.setdefault(scene.duration_s, []).append(k)
    parts: list[RawSweeps] = []
    starts = np.zeros(len(scenes), np.int64)
    for which in groups.values():
        batch = [scenes[k] for k in which]
        part, starts[which] = _cut(batch, config, worker.run(batch))
        parts.append(part)
    if any(part.force_moment_world is not None for part in parts):
        parts = [
            _with_world(array, [scenes[k] for k in which], part)
            for which, part in zip(groups.values(), parts, strict=True)
        ]
    order = np.argsort(np.concatenate(list(groups.values())))
    raw = parts[0] if len(parts) == 1 else _joined(parts, order)
    return _named(array, scenes, config, raw, starts, engine, seed)


def assemble(
    array: WhiskerArray,
    scenes: Sequence[Scene],
    config: SolverConfig,
    raw: RawSweeps,
    *,
    engine: str = "rod",
    seed: int | None = None,
) -> Sweep:
    """Give what the engine made of scenes of one duration its names, frames and manifest.

    Where a scene asks for a window, the recording is cut to it.
    """
    kept, starts = _cut(scenes, config, raw)
    return _named(array, scenes, config, kept, starts, engine, seed)


def _cut(
    scenes: Sequence[Scene], config: SolverConfig, raw: RawSweeps
) -> tuple[RawSweeps, np.ndarray]:
    """Keep the window of every scene; also the first frames ``(sweep,)`` of the windows."""
    frames = config.frames(scenes[0].kept_s)
    starts = np.array([best_window(touched, frames) for touched in raw.contact])
    if frames >= raw.contact.shape[1]:
        return raw, starts

    def windows(values: np.ndarray | None) -> Any:
        if values is None:
            return None
        return np.stack([v[at : at + frames] for v, at in zip(values, starts, strict=True)])

    along_time = ("force_moment", "force_moment_world", "contact", "nodes_mm")
    return replace(raw, **{name: windows(getattr(raw, name)) for name in along_time}), starts


def _with_world(array: WhiskerArray, scenes: Sequence[Scene], raw: RawSweeps) -> RawSweeps:
    """Turn loads into world axes where the engine did not, which is where the bases stand still."""
    if raw.force_moment_world is not None:
        return raw
    still = np.stack([base_poses(array, s.head, None, np.zeros(1))[1][:, 0] for s in scenes])
    return replace(raw, force_moment_world=rotate_loads(raw.force_moment, still[:, None]))


def _joined(parts: Sequence[RawSweeps], order: np.ndarray) -> RawSweeps:
    """The sweeps of several batches as one, in this order."""

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    return RawSweeps(**{f.name: joined(f.name) for f in fields(RawSweeps)})


def _named(
    array: WhiskerArray,
    scenes: Sequence[Scene],
    config: SolverConfig,
    raw: RawSweeps,
    starts: np.ndarray,
    engine: str,
    seed: int | None,
) -> Sweep:
    frames = raw.force_moment.shape[1]
    heads = []
    still = True
    parameters = []
    for scene, start in zip(scenes, starts.tolist(), strict=True):
        times = frame_times_s(config, scene.duration_s)
        ends, rotations = scene.head.poses(times[[0, -1]])
        stands = np.array_equal(rotations[0], rotations[1]) and not scene.head.knots_needed
        still = still and stands and scene.whisking is None and np.array_equal(ends[0], ends[1])
        kept = times[start : start + frames]
        heads.append(rotations[:1] if stands else scene.head.poses(kept)[1])
        window = {} if scene.window_s is None else {WINDOW_START: start / config.rate_hz}
        parameters.append(scene.parameters | window)
    longest = max(len(h) for h in heads)
    head_rotation = np.stack([np.broadcast_to(h, (longest, 3, 3)) for h in heads])
    bases = None
    if still:
        bases = np.stack(
            [base_poses(array, s.head, None, np.zeros(1))[1][:, 0] for s in scenes]
        ).astype(np.float32)
    inputs: dict[str, str] = {}
    for shape in (p.shape for scene in scenes for p in scene.objects):
        known = inputs.setdefault(shape.name, shape.digest)
        if known != shape.digest:  # another object, or another size, of the same name
            inputs[f"{shape.name} {shape.digest[:8]}"] = shape.digest
    manifest = Manifest.of(
        "sweep",
        {
            "engine": engine,
            "solver": config,
            "array": {
                "species": array.species,
                "parameters": array.parameters,
                "source": array.source,
            },
        },
        seed=seed,
        inputs=inputs,
    )
    return Sweep(
        force_moment=raw.force_moment,
        contact=raw.contact,
        whiskers=array.names,
        rate_hz=config.rate_hz,
        names=tuple(scene.name for scene in scenes),
        labels=tuple(scene.label for scene in scenes),
        parameters=tuple(parameters),
        flagged=raw.flags != 0,
        sampling=config.sampling,
        head_rotation=head_rotation.astype(np.float32),
        base_rotation=bases,
        force_moment_world=raw.force_moment_world,
        nodes_mm=raw.nodes_mm,
        manifest=manifest,
    )
