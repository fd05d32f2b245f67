"""What a data set costs: CPU time, bytes and refusals per object, and memory over many objects.

    python benchmarks/dataset.py cost --objects procedural:27 --protocol passive-1000hz
    python benchmarks/dataset.py memory --count 1000

``cost`` builds into a temporary folder with one process, so that times are those of one core.
``memory`` builds a thousand small objects with worker processes that are never replaced and samples
their resident memory (Linux).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from vibrissa.cli.dataset_build import BuildConfig, recipe_of, sources_for
from vibrissa.data.building import build
from vibrissa.data.executors import Outcomes, SerialExecutor, make_executor
from vibrissa.data.recipe import Recipe
from vibrissa.data.sources import sources_of
from vibrissa.data.store import SweepStore
from vibrissa.morphology import mouse_array
from vibrissa.simulation import OnePass, PassiveSweep, SolverConfig


class Timed(SerialExecutor):
    """Runs the units one by one and keeps the CPU time of each."""

    def run(self, work, items) -> Outcomes:
        for key, item in items:
            before = time.process_time()
            yield from super().run(work, [(key, item)])
            SECONDS.append(time.process_time() - before)


SECONDS: list[float] = []


def cost(options: argparse.Namespace) -> dict[str, object]:
    """CPU seconds, bytes and sweeps per object of one core."""
    with tempfile.TemporaryDirectory() as folder:
        config = BuildConfig(
            objects=tuple(options.objects), protocol=options.protocol,
            placement=options.placement, out=Path(folder) / "data",
        )  # fmt: skip
        recipe = recipe_of(config)
        sources = sources_for(config, recipe)
        # A short pass first, which compiles or loads the kernel.
        short = OnePass(sweep=PassiveSweep(duration_s=0.05))
        warm = replace(recipe, protocol=short, protocol_name="passive")
        build(warm, sources[:1], Path(folder) / "first")
        SECONDS.clear()
        report = build(recipe, sources, config.out, executor=Timed())
        store = SweepStore.open(config.out)
        sweeps = len(store)
        seconds = np.array(SECONDS)
        return {
            "protocol": options.protocol,
            "placement": options.placement or "clean",
            "objects": len(sources),
            "failed": len(report.failed),
            "sweeps": sweeps,
            "refused": report.refused,
            "overlapping": report.overlapping,
            "cpu_s_per_object_median": float(np.median(seconds)),
            "cpu_s_per_object_mean": float(seconds.mean()),
            "cpu_s_per_sweep": float(seconds.sum() / sweeps),
            "bytes_per_sweep": float(store.objects["bytes"].to_numpy().sum() / sweeps),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def memory(options: argparse.Namespace) -> dict[str, object]:
    """Resident memory of parent and workers while many objects are built."""
    recipe = Recipe(
        protocol=OnePass(sweep=PassiveSweep(duration_s=0.1, diagonal_mm=15.0, distance_mm=4.0)),
        protocol_name="passive",
        array=mouse_array().select(["RC1", "RC2"]),
        solver=SolverConfig(grid_spacing_mm=0.5),
    )
    samples: list[tuple[int, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(root, samples, ended))
        watch.start()
        executor = make_executor(None, options.workers, recycle_after=10 * options.count)
        report = build(recipe, sources_of(f"procedural:{options.count}"), root, executor=executor)
        ended.set()
        watch.join()
    marks = [options.count * k // 10 for k in range(1, 11)]
    table = {}
    for mark in marks:
        near = [sample for sample in samples if sample[0] <= mark]
        if near:
            table[str(mark)] = {"parent_mb": near[-1][1], "largest_worker_mb": near[-1][2]}
    return {"objects": report.made, "workers": options.workers, "memory_after": table}


def _watch(root: Path, samples: list[tuple[int, float, float]], ended: threading.Event) -> None:
    log = root / "log" / "build.log"
    while not ended.wait(0.5):
        if not log.exists():
            continue
        lines = [line.split() for line in log.read_text().splitlines()]
        done = sum(line[2] == "done" for line in lines)
        workers = [_resident_mb(int(pid)) for pid in {line[1] for line in lines}]
        samples.append((done, _resident_mb("self"), max(workers, default=0.0)))


def _resident_mb(process: int | str) -> float:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return float(fields.get("VmRSS", "0").split()[0]) / 1024


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("cost", "memory"))
    parser.add_argument("--objects", nargs="+", default=["procedural:27"])
    parser.add_argument("--protocol", default="passive-1000hz")
    parser.add_argument("--placement", choices=("clean", "published"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = cost(options) if options.what == "cost" else memory(options)
    text = json.dumps(result, indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
