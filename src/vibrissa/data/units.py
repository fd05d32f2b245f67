"""The unit of work of the farm: objects in, one shard for each out."""

from __future__ import annotations

import math
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from vibrissa.core.errors import InputError, OutputError, VibrissaError, refuse
from vibrissa.data.index import SHARDS
from vibrissa.data.likeness import likeness_of
from vibrissa.data.recipe import Recipe
from vibrissa.data.shard import ShardContent, write_shard
from vibrissa.data.sources import Source, shard_path
from vibrissa.objects.distance_cache import no_cache

if TYPE_CHECKING:
    from vibrissa.simulation.protocols import Plan
    from vibrissa.simulation.run import Engine
    from vibrissa.simulation.scene import Scene
    from vibrissa.simulation.sweep import Sweep

LOG: Final = "log"
Trouble = Literal["refused", "error", "unwritable"]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of one object.

    Attributes:
        object: its name.
        sweeps: how many were stored.
        refused: how many sweeps were refused because of their placement.
        overlapping: how many start with whiskers inside the felt surface.
        redrawn: draws that the protocol threw away.
        trouble: None if the shard was written; ``refused`` if the object cannot be used,
            ``unwritable`` if the store cannot be written to, ``error`` for anything else.
        reason: one line.
        traceback: for those who look into it.
    """

    object: str
    sweeps: int = 0
    refused: int = 0
    overlapping: int = 0
    redrawn: int = 0
    trouble: Trouble | None = None
    reason: str = ""
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardMaker:
    """Makes shards; pickles, so that any process may do it. Repeating it gives the same bytes.

    Attributes:
        recipe: how.
        root: the store.
        batch: sweeps simulated at a time; results do not depend on it.
        threads: CPU threads of the simulation.
        cache_fields: keep distance fields in the user's cache (several megabytes per object).
    """

    recipe: Recipe
    root: Path
    batch: int = 16
    threads: int | None = 1
    cache_fields: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise refuse("batch", self.batch, "must be at least 1", "give 1 or more")

    def __call__(self, sources: Sequence[Source]) -> list[Made]:
        """Make the shards of these objects, whose sweeps are simulated together.

        An object that fails does not take the others with it.
        """
        with nullcontext() if self.cache_fields else no_cache():
            return self._make(sources)

    def _make(self, sources: Sequence[Source]) -> list[Made]:
        done: list[Made] = []
        ready: list[tuple[Source, _Prepared]] = []
        for source in sources:
            self._log("start", source.name)
            try:
                ready.append((source, self._prepare(source)))
            except Exception as error:  # one bad mesh must not end a farm
                done.append(_failed(source, error))
        try:
            recorded = self._simulate([prepared.plan for _, prepared in ready])
        except Exception as error:
            if len(sources) > 1:
                return done + [made for source, _ in ready for made in self._make((source,))]
            return [*done, *(_failed(source, error) for source, _ in ready)]
        for (source, prepared), sweeps in zip(ready, recorded, strict=True):
            try:
                done.append(self._write(source, prepared, sweeps))
                self._log("done", source.name)
            except Exception as error:
                done.append(_failed(source, error))
        return done

    # --- steps -------------------------------------------------------------------------------

    def _prepare(self, source: Source) -> _Prepared:
        recipe = self.recipe
        began_s = time.time()
        digest = source.digest()
        shape = source.read()
        plan = recipe.protocol.plan(
            recipe.array, shape, recipe.solver, seed=recipe.seed, allow_overlap=recipe.allow_overlap
        )
        return _Prepared(
            plan=plan,
            digest=digest,
            geometry=shape.digest if shape else "",
            likeness=likeness_of(shape.vertices_mm, shape.faces) if shape else "",
            began_s=began_s,
        )

    def _simulate(self, plans: Sequence[Plan]) -> list[list[_Recorded]]:
        """Recorded sweeps of each plan, in its order."""
        scenes = [scene for plan in plans for scene in plan.scenes]
        kept: dict[int, _Recorded] = {}
        for part in _alike(scenes, self.batch):
            recorded = self._record(_engine(self), [scenes[k] for k in part])
            kept |= dict(zip(part, recorded, strict=True))
        ends = np.cumsum([len(plan.scenes) for plan in plans])
        return [
            [kept[k] for k in range(end - len(plan.scenes), end)]
            for plan, end in zip(plans, ends.tolist(), strict=True)
        ]

    def _record(self, engine: Engine, scenes: Sequence[Scene]) -> Iterator[_Recorded]:
        from vibrissa.simulation.run import assemble

        solver = self.recipe.solver
        sweep = assemble(self.recipe.array, scenes, solver, engine.run(scenes))
        for k in range(len(sweep)):
            yield _recorded(self.recipe, sweep, k)

    def _write(self, source: Source, prepared: _Prepared, sweeps: list[_Recorded]) -> Made:
        recipe, plan = self.recipe, prepared.plan
        if not sweeps:
            reasons = [skipped.reason for skipped in plan.refused]
            raise InputError(
                f"{source.name}: all {len(reasons)} sweeps are refused, the first because: "
                f"{reasons[0] if reasons else 'the protocol asks for none'}."
            )
        overlapping = [len(plan.overlapping.get(scene.name, ())) for scene in plan.scenes]
        summary = np.array(
            [[*one.summary, count] for one, count in zip(sweeps, overlapping, strict=True)],
            np.float32,
        ).reshape(len(sweeps), -1)
        first = sweeps[0]
        known = [one.base_rotation for one in sweeps if one.base_rotation is not None]
        bases = np.stack(known) if len(known) == len(sweeps) else None
        if bases is not None and (bases == bases[:1]).all():
            bases = bases[:1]
        content = ShardContent(
            object=source.name,
            label=source.label,
            geometry=prepared.geometry,
            likeness=prepared.likeness,
            source_sha256=prepared.digest,
            recipe_sha256=recipe.digest,
            whiskers=recipe.array.names,
            rate_hz=first.rate_hz,
            sampling=_sampling(recipe),
            loads={f: np.stack([one.loads[f] for one in sweeps]) for f in first.loads},
            contact=np.stack([one.contact for one in sweeps]),
            base_rotation=bases,
            summary=summary,
            names=tuple(scene.name for scene in plan.scenes),
            parameters=tuple(one.parameters for one in sweeps),
            refused=tuple((s.scene, s.reason) for s in plan.refused),
            redrawn=plan.redrawn,
            manifest=recipe.manifest("shard", {source.name: prepared.digest}).to_json(),
        )
        path = self.root / SHARDS / shard_path(source.name)
        write_shard(path, content)
        # So that a mesh which changes while it is simulated counts as changed since.
        with suppress(OSError):
            os.utime(path, (prepared.began_s, prepared.began_s))
        return Made(
            object=source.name,
            sweeps=len(sweeps),
            refused=len(plan.refused),
            overlapping=sum(count > 0 for count in overlapping),
            redrawn=plan.redrawn,
        )

    def _log(self, event: str, name: str) -> None:
        """One line, appended at one go, so that many processes may share the file."""
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {os.getpid()} {event} {name}\n"
        log = self.root / LOG / "build.log"
        # A log that cannot be written must not stop the work.
        with suppress(OSError), log.open("a", encoding="utf-8") as stream:
            stream.write(line)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    plan: Plan
    digest: str
    geometry: str
    likeness: str
    began_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recorded:
    loads: dict[str, np.ndarray]
    contact: np.ndarray
    base_rotation: np.ndarray | None
    rate_hz: float
    parameters: dict[str, Any]
    summary: tuple[float, ...]


def _recorded(recipe: Recipe, sweep: Sweep, k: int) -> _Recorded:
    """One sweep as it is stored; what it is must not depend on its batch."""
    from vibrissa.simulation.sweep import LARGE_FORCE_UN

    frames = {"base": sweep.force_moment[k]}
    if sweep.force_moment_world is not None:
        frames["world"] = sweep.force_moment_world[k]
    kept, rate_hz = {}, sweep.rate_hz
    for frame, loads in frames.items():
        values, rate_hz = recipe.recording.record(
            loads, sweep.rate_hz, sampling=recipe.solver.sampling
        )
        kept[frame] = rounded(values, recipe.resolution_uN)
    force = np.linalg.norm(sweep.force_moment[k, ..., :3], axis=-1)
    moment = np.linalg.norm(sweep.force_moment[k, ..., 3:], axis=-1)
    summary = (
        float(sweep.contact[k].mean()),
        float(force.max()),
        float(moment.max()),
        float(np.mean(force > LARGE_FORCE_UN)),
        float(sweep.flagged[k].sum()),
    )
    return _Recorded(
        loads=kept,
        contact=recipe.recording.record_contact(sweep.contact[k], sweep.rate_hz),
        base_rotation=None if sweep.base_rotation is None else sweep.base_rotation[k],
        rate_hz=rate_hz,
        parameters=sweep.parameters[k],
        summary=summary,
    )


def _sampling(recipe: Recipe) -> str:
    """Frames that were weighted stand for spans of time, whatever they were made from."""
    weighted = recipe.recording.method in ("anti-aliased", "average")
    resampled = recipe.recording.rate_hz != recipe.solver.rate_hz
    return "average" if weighted and resampled else recipe.solver.sampling


def rounded(values: np.ndarray, resolution: float) -> np.ndarray:
    """Float32 values rounded to multiples of a resolution; 0 leaves every bit."""
    if resolution == 0.0:
        return np.ascontiguousarray(values, dtype=np.float32)
    steps = np.rint(values.astype(np.float64) / resolution)
    return (steps * resolution + 0.0).astype(np.float32)  # + 0.0 makes -0.0 an ordinary zero


def _alike(scenes: Sequence[Scene], batch: int) -> Iterator[list[int]]:
    """Positions of scenes that last equally long, some at a time."""
    groups: dict[float, list[int]] = {}
    for k, scene in enumerate(scenes):
        groups.setdefault(scene.duration_s, []).append(k)
    for group in groups.values():
        # Even batches: 17 sweeps at 16 a time would be a full batch and a lonely one.
        parts = math.ceil(len(group) / batch)
        for part in range(parts):
            yield group[part * len(group) // parts : (part + 1) * len(group) // parts]


_ENGINES: dict[tuple[str, int | None, bool], Engine] = {}


def _engine(maker: ShardMaker) -> Engine:
    """The engine of this process for this recipe; its kernel is loaded and its rods packed once."""
    from vibrissa.simulation.run import make_engine

    key = (maker.recipe.digest, maker.threads, maker.cache_fields)
    if key not in _ENGINES:
        _ENGINES.clear()
        solver = replace(maker.recipe.solver, threads=maker.threads)
        _ENGINES[key] = make_engine(maker.recipe.array, solver, cache_fields=maker.cache_fields)
    return _ENGINES[key]


def _failed(source: Source, error: Exception) -> Made:
    if isinstance(error, OutputError):
        trouble: Trouble = "unwritable"
    else:
        trouble = "refused" if isinstance(error, VibrissaError) else "error"
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    if trouble == "error":
        text = f"{type(error).__name__}: {text}"
    return Made(
        object=source.name,
        trouble=trouble,
        reason=text,
        traceback="".join(traceback.format_exception(error)),
    )
