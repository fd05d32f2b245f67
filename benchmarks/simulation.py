"""Speed, thread scaling and memory of the rod engine, MuJoCo beside it in the same run.

The job is the published 1000 Hz protocol (16 sweeps per object) over 20 objects. Distance fields
and kernels are made beforehand and not counted. MuJoCo gets each object's convex hull as a single
piece, which is the cheapest geometry it can have, sleeping whiskers and its cheapest tolerance,
and the same longest time step; both engines run the same scenes in turn on one thread.

    python benchmarks/simulation.py --objects FOLDER --out benchmarks.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from vibrissa.core.files import atomic_path
from vibrissa.core.progress import track
from vibrissa.core.seeds import generator
from vibrissa.morphology.mouse import mouse_array
from vibrissa.objects.folders import read_folder
from vibrissa.objects.procedural import procedural_classes, procedural_object
from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.engine import RodEngine
from vibrissa.simulation.passive import PassiveSweep, published_1000hz
from vibrissa.simulation.scene import Scene, SolverConfig

OBJECTS = 20


def choose_objects(folder: Path | None, seed: int) -> list[TactileObject]:
    """Twenty objects: drawn from a folder, or one of each of the first procedural classes."""
    if folder is None:
        return [procedural_object(name, 0, seed=seed) for name in procedural_classes()[:OBJECTS]]
    sources = list(read_folder(folder))
    drawn = generator(seed, "benchmark objects").permutation(len(sources))[:OBJECTS]
    return [sources[k].read() for k in sorted(drawn.tolist())]


def hulls(scene: Scene) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """The convex hull of every object of a scene, by digest."""
    import trimesh

    pieces = {}
    for placed in scene.objects:
        hull = trimesh.Trimesh(placed.shape.vertices_mm, placed.shape.faces).convex_hull
        pieces[placed.shape.digest] = [(np.asarray(hull.vertices), np.asarray(hull.faces))]
    return pieces


def cpu_seconds(engine: RodEngine, scenes: list[Scene]) -> float:
    """CPU time of a run whose distance fields the engine already has."""
    engine.run(scenes[:1])
    start = time.process_time()
    engine.run(scenes)
    return time.process_time() - start


def measure_speed(objects: list[TactileObject], mujoco: bool) -> dict[str, object]:
    array = mouse_array()
    config = SolverConfig(threads=1)
    engine = RodEngine(array, config)
    per_object: list[float] = []
    ratios: list[float] = []
    oracle: list[float] = []
    contact: list[float] = []
    template = PassiveSweep()
    for shape in track(objects, "one core", unit="object"):
        scenes = [p.scene(shape, array) for p in published_1000hz(template)]
        seconds = cpu_seconds(engine, scenes)
        per_object.append(sum(s.duration_s for s in scenes) / seconds)
        # A contact-rich sweep of the object for the comparison: the first of the protocol.
        one = [scenes[0]]
        result = engine.run(one)
        contact.append(float(result.contact.mean()))
        if mujoco:
            from vibrissa.simulation.mujoco_engine import MujocoEngine, MujocoOptions

            other = MujocoEngine(
                array,
                replace(config, record_world=False),
                pieces=hulls(one[0]),
                options=MujocoOptions.fastest(),
            )
            ours = statistics.median(cpu_seconds(engine, one) for _ in range(3))
            start = time.process_time()
            other.run(one)
            theirs = time.process_time() - start
            oracle.append(one[0].duration_s / theirs)
            ratios.append(theirs / ours)
    sweeps = [sum(16 / v for v in per_object)]
    summary: dict[str, object] = {
        "objects": len(objects),
        "sweeps": 16 * len(objects),
        "simulated_s_per_cpu_s": 16 * len(objects) / sweeps[0],
        "per_object_min_median_max": [
            min(per_object),
            statistics.median(per_object),
            max(per_object),
        ],
        "contact_share_of_first_sweeps": statistics.mean(contact),
    }
    if mujoco:
        summary["mujoco_simulated_s_per_cpu_s_median"] = statistics.median(oracle)
        summary["ratio_to_mujoco_min_median_max"] = [
            min(ratios),
            statistics.median(ratios),
            max(ratios),
        ]
    return summary


def measure_threads(objects: list[TactileObject], repeats: int = 5) -> dict[str, object]:
    """Wall time of the same batch on one and on two threads, interleaved."""
    array = mouse_array()
    scenes = [
        p.scene(shape, array) for shape in objects[:4] for p in published_1000hz(PassiveSweep())
    ][::2]
    engines = {n: RodEngine(array, SolverConfig(threads=n)) for n in (1, 2)}
    walls: dict[int, list[float]] = {1: [], 2: []}
    for engine in engines.values():
        engine.run(scenes)
    for _ in range(repeats):
        for n, engine in engines.items():
            start = time.perf_counter()
            engine.run(scenes)
            walls[n].append(time.perf_counter() - start)
    ratio = [a / b for a, b in zip(walls[1], walls[2], strict=True)]
    return {
        "cores": os.cpu_count(),
        "sweeps": len(scenes),
        "wall_s_one_thread": statistics.median(walls[1]),
        "wall_s_two_threads": statistics.median(walls[2]),
        "speedup_min_median_max": [min(ratio), statistics.median(ratio), max(ratio)],
    }


def measure_memory(objects: list[TactileObject], sweeps: int) -> dict[str, object]:
    """Peak memory of the process after one batch of many sweeps."""
    array = mouse_array()
    protocol = [
        p.scene(shape, array) for shape in objects for p in published_1000hz(PassiveSweep())
    ]
    scenes = [protocol[k % len(protocol)] for k in range(sweeps)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    result = RodEngine(array, SolverConfig()).run(scenes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "sweeps": sweeps,
        "peak_GB": peak,
        "peak_before_GB": before,
        "output_GB": (result.force_moment.nbytes + result.contact.nbytes) / 1e9,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=Path, help="folder class/name.ext; else procedural")
    parser.add_argument("--what", nargs="+", default=["speed", "threads", "memory"])
    parser.add_argument("--no-mujoco", action="store_true")
    parser.add_argument("--sweeps", type=int, default=1024, help="of the memory batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    objects = choose_objects(options.objects, options.seed)
    results: dict[str, object] = {}
    if "memory" in options.what:
        results["memory"] = measure_memory(objects, options.sweeps)
    if "speed" in options.what:
        results["speed"] = measure_speed(objects, not options.no_mujoco)
    if "threads" in options.what:
        results["threads"] = measure_threads(objects)
    text = json.dumps(results, indent=1)
    print(text)
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
