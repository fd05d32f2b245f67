"""Many random sweeps over procedural shapes and the user's meshes: does anything go wrong?

``python benchmarks/stress.py --sweeps 10000 --objects FOLDER --out stress.json``. A sweep counts
when it was simulated; refused objects and placements are counted apart, with their reasons. The
exit status is 1 if a value was not finite or something crashed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, VibrissaError
from vibrissa.core.files import atomic_path
from vibrissa.morphology import WhiskerArray, mouse_array
from vibrissa.objects import ObjectSource, TactileObject, procedural_classes, procedural_object
from vibrissa.objects import read_folder as read_objects
from vibrissa.objects.distance_cache import ENVIRONMENT_VARIABLE
from vibrissa.simulation import PassiveSweep, RandomPassive, SolverConfig, make_engine
from vibrissa.simulation._kernels import FLAG_ANGLE_CAPPED, FLAG_RESET
from vibrissa.simulation.engine import RawSweeps
from vibrissa.simulation.run import Engine
from vibrissa.simulation.scene import Scene
from vibrissa.simulation.sweep import LARGE_FORCE_UN

EMPTY_OBJECTS_IN_A_ROW = 200
LONGEST_LIST = 100
Make = tuple[str, Callable[[], TactileObject]]


@dataclass(kw_only=True)
class Findings:
    """What the sweeps did; shares are over whiskers and frames.

    Attributes:
        sweeps: simulated.
        objects: used; several sweeps each.
        refused_objects: name -> why.
        refused_placements: scene -> why, after all its redraws.
        redrawn: draws thrown away because of their placement.
        non_finite: sweeps with a value that is not finite.
        crashes: object -> exception that should not have been.
        whiskers_capped: sweeps x whiskers with a joint stopped at its limit.
        whiskers_reset: sweeps x whiskers that were reset.
        whisker_sweeps: sweeps x whiskers.
        frames: whiskers x frames.
        frames_in_contact: of these in contact.
        frames_large: of these with a force above 5 mN.
        peak_force_uN: largest.
        peak_moment_uN_mm: largest.
        odd: the first sweeps that were flagged, felt above 5 mN or were not finite, to repeat them.
        wall_s: all in all.
        cpu_s: all in all.
        simulated_s: sum of the durations.
    """

    sweeps: int = 0
    objects: int = 0
    refused_objects: dict[str, str] = field(default_factory=dict)
    refused_placements: dict[str, str] = field(default_factory=dict)
    redrawn: int = 0
    non_finite: int = 0
    crashes: dict[str, str] = field(default_factory=dict)
    whiskers_capped: int = 0
    whiskers_reset: int = 0
    whisker_sweeps: int = 0
    frames: int = 0
    frames_in_contact: int = 0
    frames_large: int = 0
    peak_force_uN: float = 0.0
    peak_moment_uN_mm: float = 0.0
    odd: dict[str, dict[str, Any]] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    simulated_s: float = 0.0

    @property
    def passed(self) -> bool:
        """No crash, and every value finite."""
        return not self.crashes and not self.non_finite

    def add(self, scenes: Sequence[Scene], raw: RawSweeps) -> None:
        """Count a batch."""
        force_moment, contact, flags = raw.force_moment, raw.contact, raw.flags
        broken = np.asarray(~np.isfinite(force_moment).all(axis=(1, 2, 3)))
        self.sweeps += len(scenes)
        self.non_finite += int(np.count_nonzero(broken))
        loads = np.nan_to_num(force_moment, nan=0.0, posinf=0.0, neginf=0.0)
        force = np.linalg.norm(loads[..., :3], axis=-1)
        moment = np.linalg.norm(loads[..., 3:], axis=-1)
        self.whisker_sweeps += flags.size
        self.whiskers_capped += int(np.count_nonzero(flags & FLAG_ANGLE_CAPPED))
        self.whiskers_reset += int(np.count_nonzero(flags & FLAG_RESET))
        self.frames += force.size
        self.frames_in_contact += int(np.count_nonzero(contact))
        self.frames_large += int(np.count_nonzero(force > LARGE_FORCE_UN))
        self.peak_force_uN = max(self.peak_force_uN, float(force.max()))
        self.peak_moment_uN_mm = max(self.peak_moment_uN_mm, float(moment.max()))
        odd = broken | (flags != 0).any(axis=1) | (force > LARGE_FORCE_UN).any(axis=(1, 2))
        for b in np.flatnonzero(odd)[: LONGEST_LIST - len(self.odd)]:
            self.odd[scenes[b].name] = {
                "peak_force_uN": float(force[b].max()),
                "flagged_whiskers": int(np.count_nonzero(flags[b])),
                **scenes[b].parameters,
            }

    def to_tree(self) -> dict[str, Any]:
        """For JSON, with reasons counted by kind."""
        shares = {
            "share_in_contact": self.frames_in_contact / max(1, self.frames),
            "share_above_5_mN": self.frames_large / max(1, self.frames),
            "share_above_5_mN_in_contact": self.frames_large / max(1, self.frames_in_contact),
        }
        kinds = Counter(_kind(r) for r in self.refused_placements.values())
        return {"passed": self.passed, **asdict(self), **shares, "placement_reasons": dict(kinds)}


def stress(
    sweeps: int,
    *,
    folders: Sequence[Path] = (),
    seed: int = 0,
    duration_s: float = 0.5,
    sweeps_per_object: int = 20,
    array: WhiskerArray | None = None,
    config: SolverConfig | None = None,
    told: Callable[[Findings], None] | None = None,
) -> Findings:
    """Simulate random sweeps, object by object; an interrupt ends it early, with what there is.

    Args:
        sweeps: how many to simulate.
        folders: of meshes ``class/name.ext``; their objects alternate with procedural ones.
        seed: of objects and draws.
        duration_s: of each sweep.
        sweeps_per_object: most sweeps with one object, of one size.
        array: the whiskers; the mouse's right ones by default.
        config: how to simulate; a distance grid of 0.5 mm by default.
        told: called after every object.

    Raises:
        InputError: a folder is not usable, or no object of many could be used.
    """
    whiskers = array or mouse_array()
    settings = config or SolverConfig(grid_spacing_mm=0.5)
    sources = [source for folder in folders for source in read_objects(folder)]
    engine = make_engine(whiskers, settings)
    found = Findings()
    wall, cpu = time.perf_counter(), time.process_time()
    empty = 0
    try:
        for name, make in _objects(sources, seed):
            if found.sweeps >= sweeps:
                break
            before = found.sweeps
            number = min(sweeps_per_object, sweeps - found.sweeps)
            protocol = RandomPassive(
                sweeps=number,
                sweep=PassiveSweep(duration_s=duration_s),
                starts=("clean", "clean", "clean", "published"),
                spin_deg_per_s=(-90.0, 90.0),
            )
            with _own_cache():
                _one_object(found, name, make, protocol, whiskers, settings, engine, seed)
            found.simulated_s += duration_s * (found.sweeps - before)
            found.wall_s = time.perf_counter() - wall
            found.cpu_s = time.process_time() - cpu
            if told is not None:
                told(found)
            empty = 0 if found.sweeps > before else empty + 1
            if empty > EMPTY_OBJECTS_IN_A_ROW:
                raise InputError(f"{empty} objects in a row gave no sweep; give other objects.")
    except KeyboardInterrupt:
        print("interrupted; what was done so far:", file=sys.stderr)
    return found


def _one_object(
    found: Findings, name: str, make: Callable[[], TactileObject], protocol: RandomPassive,
    array: WhiskerArray, config: SolverConfig, engine: Engine, seed: int,
) -> None:  # fmt: skip
    try:
        shape = make()
        plan = protocol.plan(array, shape, config, seed=seed)
    except VibrissaError as error:
        found.refused_objects[name] = str(error)
        return
    except Exception as error:  # counting these is what this is for
        found.crashes[name] = f"{type(error).__name__}: {error}"
        return
    found.objects += 1
    found.redrawn += plan.redrawn
    found.refused_placements |= {skipped.scene: skipped.reason for skipped in plan.refused}
    if not plan.scenes:
        return
    try:
        found.add(plan.scenes, engine.run(plan.scenes))
    except Exception as error:
        found.crashes[name] = f"{type(error).__name__}: {error}"


def _objects(sources: Sequence[ObjectSource], seed: int) -> Iterator[Make]:
    """Real and procedural objects in turn, without end; real ones come again in other sizes."""
    classes = procedural_classes()
    k = 0
    while True:
        if sources:
            source, turn = sources[k % len(sources)], k // len(sources)
            yield f"{source.name} #{turn}", lambda s=source, t=turn: _renamed(s.read(), t)
        label, index = classes[k % len(classes)], k // len(classes)
        yield f"{label}/{index:05d}", lambda c=label, i=index: procedural_object(c, i, seed)
        k += 1


def _renamed(shape: TactileObject, turn: int) -> TactileObject:
    """Draws depend on the name, so that every turn has draws of its own."""
    return replace(shape, name=f"{shape.name} #{turn}")


@contextmanager
def _own_cache() -> Iterator[None]:
    """Distance fields of random sizes are used once: keep them out of the user's cache."""
    before = os.environ.get(ENVIRONMENT_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="vibrissa-stress-") as folder:
        os.environ[ENVIRONMENT_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[ENVIRONMENT_VARIABLE]
            else:
                os.environ[ENVIRONMENT_VARIABLE] = before


def _kind(reason: str) -> str:
    return "runs over a base" if "whisker's base" in reason else "starts inside the object"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=10_000)
    parser.add_argument("--objects", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--duration", type=float, default=0.5, help="seconds of each sweep")
    parser.add_argument("--per-object", type=int, default=20, help="sweeps with one object")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="write the findings as JSON")
    options = parser.parse_args()

    def told(found: Findings) -> None:
        rate = found.sweeps / max(1e-9, found.wall_s)
        print(
            f"\r{found.sweeps}/{options.sweeps} sweeps, {found.objects} objects, "
            f"{len(found.refused_objects)} refused, {len(found.crashes)} crashes, "
            f"{found.non_finite} not finite, {rate:.1f} sweeps/s",
            end="", file=sys.stderr, flush=True,
        )  # fmt: skip

    try:
        found = stress(
            options.sweeps,
            folders=options.objects,
            seed=options.seed,
            duration_s=options.duration,
            sweeps_per_object=options.per_object,
            config=SolverConfig(grid_spacing_mm=0.5, device=options.device),
            told=told,
        )
    except VibrissaError as error:
        print(f"stress: error: {error}", file=sys.stderr)
        return 2
    print(file=sys.stderr)
    text = json.dumps(found.to_tree(), indent=1, ensure_ascii=False)
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
