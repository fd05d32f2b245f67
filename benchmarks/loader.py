"""Size and speed of the store and its loader, beside the published layout, in one run.

Both hold the same sweeps: a store (given, or made of procedural objects), and one compressed npz
file per sweep with float64 (110, 35, 6), as published. All is read in random order and in turns,
round after round; medians are given. Files stay in the system's page cache, which only root could
empty: "from the shards" means without our decoded cache, not from a cold disk. Loads of a store
made here are rounded as every store's are; unrounded ones would make the npz files larger.

    python benchmarks/loader.py --out loader.json
    python benchmarks/loader.py --data STORE --sweeps 4000
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import track
from vibrissa.core.seeds import generator
from vibrissa.data.building import build
from vibrissa.data.cache import open_cache
from vibrissa.data.declaration import STORE
from vibrissa.data.index import SHARDS, write_index
from vibrissa.data.loader import SweepDataset, TactileLoader
from vibrissa.data.normalising import measured
from vibrissa.data.preprocessing import Preprocessing, flat_to_model_input, pad_published
from vibrissa.data.reading import ShardReader
from vibrissa.data.recipe import Recipe
from vibrissa.data.shard import Shard, ShardContent, write_shard
from vibrissa.data.sources import shard_path, sources_of
from vibrissa.data.splits import ByObject, Split
from vibrissa.data.store import SweepStore
from vibrissa.morphology.mouse import mouse_array
from vibrissa.simulation.protocols import sweep_protocols


def make_store(path: Path, objects: int, copies: int, seed: int) -> SweepStore:
    """Simulate some procedural objects; each is stored several times under other names, so that
    there are many files."""
    name = "passive-1000hz"
    recipe = Recipe(
        protocol=sweep_protocols.get(name)(), protocol_name=name, array=mouse_array(), seed=seed
    )
    sources = sources_of(f"procedural:{objects}", seed=seed)
    seeds = path / "simulated"
    report = build(recipe, sources, seeds, threads=None, quiet=False)
    if report.failed:
        print(f"{len(report.failed)} objects failed: {report.failed[0].reason}", file=sys.stderr)
    names: dict[str, str] = {}
    root = path / "store"
    contents = [_content(shard) for _, shard in SweepStore.open(seeds).shards()]
    for copy in track(range(copies), "copying objects", unit="round"):
        for content in contents:
            thing = f"{content.object}-{copy}"
            names[thing] = content.label
            write_shard(root / SHARDS / shard_path(thing), replace(content, object=thing))
    config = {"recipe": recipe.tree, "objects": names}
    (root / STORE).write_text(Manifest.of("dataset", config, seed=seed).to_json())
    write_index(root)
    return SweepStore.open(root)


def _content(shard: Shard) -> ShardContent:
    return ShardContent(
        object=shard.object,
        label=shard.label,
        geometry=shard.geometry,
        source_sha256=shard.source_sha256,
        recipe_sha256=shard.recipe_sha256,
        whiskers=shard.whiskers,
        rate_hz=shard.rate_hz,
        sampling=shard.sampling,
        loads={frame: shard.loads(frame=frame) for frame in shard.frames},
        contact=shard.contact(),
        base_rotation=None,
        summary=shard.summary,
        names=shard.names,
        parameters=shard.parameters,
        manifest=shard.manifest,
    )


def make_npz(store: SweepStore, indices: np.ndarray, folder: Path, frame: str) -> list[Path]:
    """One compressed file per sweep, as published."""
    folder.mkdir()
    files = []
    for k in track(indices.tolist(), "writing npz", unit="sweep"):
        data = pad_published(store.loads(k, frame).astype(np.float64) / 1000.0)
        row = store.table.iloc[k]
        files.append(folder / f"{k:07d}.npz")
        np.savez_compressed(
            files[-1], data=data, label=np.int64(row["label_index"]), shape=str(row["object"])
        )
    return files


class NpzDataset(Dataset):
    """The published way to feed a network: a file per sweep, opened when it is wanted."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        with np.load(self.files[item]) as stored:
            values = flat_to_model_input(stored["data"]).astype(np.float32)
            return torch.from_numpy(values), int(stored["label"])


def per_second(batches: Iterable[Any], count: Callable[[Any], int]) -> float:
    """Sweeps in a second of a whole pass."""
    start, sweeps = time.perf_counter(), 0
    for batch in batches:
        sweeps += count(batch)
    return sweeps / (time.perf_counter() - start)


def milliseconds(read: Callable[[int], object], chosen: Iterable[int]) -> float:
    """Median time of single reads."""
    times = []
    for k in chosen:
        start = time.perf_counter()
        read(k)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def run(store: SweepStore, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    frame = "base" if "base" in store.frames else "world"
    draws = generator(options.seed, "benchmark sweeps")
    chosen = np.sort(draws.permutation(len(store))[: options.sweeps])
    files = make_npz(store, chosen[draws.permutation(len(chosen))[: options.npz]], folder, frame)
    preprocessing = Preprocessing(frame=frame)
    split = measured(store, Split.make("benchmark", ByObject(), store.table), preprocessing)
    found = split.normalisation(preprocessing.normalise, preprocessing.frame)
    reader = ShardReader(store, preprocessing, found)
    start = time.perf_counter()
    cached = open_cache(reader, "always", threads=options.threads)
    cache_s = time.perf_counter() - start
    if cached.file is None:
        raise SystemExit(cached.remark)
    settings: dict[str, Any] = {
        "batch_size": options.batch,
        "threads": options.threads,
        "drop_last": True,
    }
    common: dict[str, Any] = {
        "indices": chosen,
        "preprocessing": preprocessing,
        "normalisation": found,
    }
    shards = TactileLoader(SweepDataset(store, **common), **settings)
    mapped = TactileLoader(SweepDataset(store, **common, source=cached.file), **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking
        published = DataLoader(
            NpzDataset(files), batch_size=options.batch, shuffle=True, num_workers=2,
            persistent_workers=True,
        )  # fmt: skip
        next(iter(published))
    cache = cached.file
    out = np.empty((1, *reader.shape), np.float32)

    def load_npz(k: int) -> None:
        with np.load(files[k]) as stored:
            _ = stored["data"]

    results: dict[str, list[float]] = {}
    for _ in track(range(options.rounds), "measuring", unit="round"):
        some = draws.choice(chosen, 200)
        for name, value in (
            ("store.loads, ms", milliseconds(lambda k: store.loads(k, frame), some)),
            ("shard reader, ms", milliseconds(lambda k: reader.fill(np.array([k]), out), some)),
            ("cache, ms", milliseconds(lambda k: cache.fill(np.array([k]), out), some)),
            ("npz, ms", milliseconds(load_npz, draws.choice(len(files), 200).tolist())),
            ("loader from the shards, sweeps/s", per_second(shards, len)),
            ("loader from the cache, sweeps/s", per_second(mapped, len)),
            ("torch, 2 workers, npz, sweeps/s", per_second(published, lambda b: len(b[1]))),
        ):
            results.setdefault(name, []).append(value)
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor()},
        "sweeps": len(store),
        "objects": len(store.objects),
        "sweeps_read": len(chosen),
        "npz_files": len(files),
        "batch": options.batch,
        "threads": options.threads,
        "bytes_per_sweep": {
            "store": int(store.objects["bytes"].to_numpy().sum()) / len(store),
            "npz": statistics.mean(file.stat().st_size for file in files),
            "cache": cached.file.path.stat().st_size / len(store),
        },
        "cache_built_sweeps_per_s": len(store) / cache_s if cached.built else None,
        "median": {name: statistics.median(values) for name, values in results.items()},
        "rounds": results,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="a store, which gets a cache; else one is made")
    parser.add_argument("--objects", type=int, default=12, help="procedural ones to simulate")
    parser.add_argument("--copies", type=int, default=25, help="of each of these")
    parser.add_argument("--sweeps", type=int, default=4096, help="to read, at most")
    parser.add_argument("--npz", type=int, default=1024, help="npz files, at most")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2, help="of our loader")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vibrissa-loader-") as folder:
        work = Path(folder)
        if options.data is not None:
            store = SweepStore.open(options.data)
        else:
            store = make_store(work, options.objects, options.copies, options.seed)
        results = run(store, work / "npz", options)
    print(f"{results['sweeps']} sweeps of {results['objects']} objects, batch {options.batch}")
    for name, value in results["bytes_per_sweep"].items():
        print(f"{'bytes per sweep, ' + name:36s} {value:12,.0f}")
    for name, value in results["median"].items():
        print(f"{name:36s} {value:12,.2f}")
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
