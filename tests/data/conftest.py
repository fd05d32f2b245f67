"""Tiny stores made without simulating: real shards, of loads that are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vibrissa.core.manifest import Manifest
from vibrissa.core.seeds import generator

LABELS = ("ball", "cup", "fork")
DISTANCES_MM = (5.0, 8.0)


def drawn_loads(
    draws: np.random.Generator, label_index: int, sweeps: int, frames: int = 110
) -> np.ndarray:
    """Loads (sweep, time, 30, 6): about a third of the whiskers touch, for part of the time.

    Which whiskers touch most depends on the class, so that classes can be told apart. Values are
    multiples of 2**-10, as a build stores them.
    """
    time = np.linspace(0.0, 1.0, frames)
    near = np.abs(np.arange(30) - 10 * (label_index % 3) - 5) / 10
    touches = draws.random((sweeps, 30)) < np.clip(0.8 - 0.5 * near, 0.05, 0.8)
    start = draws.uniform(0.1, 0.5, (sweeps, 30))
    length = draws.uniform(0.1, 0.4, (sweeps, 30))
    phase = np.clip((time[:, None] - start[:, None]) / length[:, None], 0.0, 1.0)
    pulse = np.sin(np.pi * phase) * touches[:, None]
    peak = draws.normal(0.0, 1.0, (sweeps, 1, 30, 6)) * (300, 300, 100, 900, 2000, 2000)
    loads = np.rint(pulse[..., None] * peak * 1024) / 1024 + 0.0
    return loads.astype(np.float32)


def write_store(
    path: Path,
    objects: int = 6,
    sweeps: int = 4,
    seed: int = 0,
    *,
    labels: Sequence[str] = LABELS,
    frames: int = 110,
    still: bool = True,
) -> Any:
    """Write a store of drawn loads and open it.

    Args:
        path: the folder.
        objects: how many; their classes take turns.
        sweeps: of each object.
        seed: of the draws.
        labels: names of the classes.
        frames: of each sweep, at 110 Hz.
        still: whether base frames are stored, so that loads can be had in world axes.

    Returns:
        The :class:`vibrissa.data.store.SweepStore`. Sweeps have the parameters ``theta_deg`` and
        ``distance_mm``; the first object of all has one refused sweep.
    """
    from vibrissa.data.declaration import STORE
    from vibrissa.data.index import SHARDS, write_index
    from vibrissa.data.recipe import Recipe
    from vibrissa.data.shard import SUMMARY, ShardContent, write_shard
    from vibrissa.data.sources import shard_path
    from vibrissa.data.store import SweepStore
    from vibrissa.morphology.mouse import mouse_array
    from vibrissa.simulation.protocols import sweep_protocols

    array = mouse_array()
    name = "passive-1000hz"
    recipe = Recipe(
        protocol=sweep_protocols.get(name)(), protocol_name=name, array=array, seed=seed
    )
    bases = np.stack([whisker.base_rotation for whisker in array])[None]
    names = {
        f"{labels[k % len(labels)]}/{k // len(labels):05d}": labels[k % len(labels)]
        for k in range(objects)
    }
    path.mkdir(parents=True, exist_ok=True)
    tree = {"recipe": recipe.tree, "objects": dict(sorted(names.items()))}
    (path / STORE).write_text(Manifest.of("dataset", tree, seed=seed).to_json(), encoding="utf-8")
    for k, (name, label) in enumerate(names.items()):
        draws = generator(seed, "drawn loads", name)
        loads = drawn_loads(draws, k % len(labels), sweeps, frames)
        contact = (loads != 0).any(axis=-1)
        force = np.linalg.norm(loads[..., :3], axis=-1)
        moment = np.linalg.norm(loads[..., 3:], axis=-1)
        summary = dict.fromkeys(SUMMARY, np.zeros(sweeps)) | {
            "contact_share": contact.mean(axis=(1, 2)),
            "peak_force_uN": force.max(axis=(1, 2)),
            "peak_moment_uN_mm": moment.max(axis=(1, 2)),
        }
        content = ShardContent(
            object=name,
            label=label,
            geometry=f"{seed:032x}{k:032x}",
            source_sha256=f"{k:064x}",
            recipe_sha256=recipe.digest,
            whiskers=array.names,
            rate_hz=110.0,
            sampling="average",
            loads={"base": loads},
            contact=contact,
            base_rotation=bases.astype(np.float32) if still else None,
            summary=np.stack([summary[column] for column in SUMMARY], axis=1).astype(np.float32),
            names=tuple(f"sweep_{j:03d}" for j in range(sweeps)),
            parameters=tuple(
                {"theta_deg": 45.0 * j, "distance_mm": DISTANCES_MM[j % len(DISTANCES_MM)]}
                for j in range(sweeps)
            ),
            refused=(("sweep_refused", "whiskers are inside the object"),) if k == 0 else (),
            manifest=recipe.manifest("shard", {name: f"{k:064x}"}).to_json(),
        )
        write_shard(path / SHARDS / shard_path(name), content)
    write_index(path)
    return SweepStore.open(path)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Any]:
    """``make_store(path, objects=6, sweeps=4, seed=0)``: see :func:`write_store`."""
    return write_store
