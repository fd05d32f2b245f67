"""``vibrissa demo``: one procedural object past the mouse's whiskers, with files and figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vibrissa.cli.choosing import writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse

if TYPE_CHECKING:
    from vibrissa.morphology.array import WhiskerArray
    from vibrissa.simulation.scene import Scene, SolverConfig
    from vibrissa.simulation.sweep import Sweep

OBJECT: Final = ("cup", 0)
NAME: Final = "A cup passes the right whiskers of the mouse"
FILES: Final = ("sweep.h5", "array.png", "traces.png", "contact_sheet.png", "film.gif")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Options of ``vibrissa demo``.

    Attributes:
        out: folder for everything that is written.
        seed: of the object; another seed gives another cup.
    """

    out: Path = Path("demo")
    seed: int = 0


def scene_of(seed: int) -> tuple[WhiskerArray, Scene, SolverConfig]:
    """The demonstration: the mouse's right whiskers and a cup that passes them in a second."""
    from vibrissa.morphology import mouse_array
    from vibrissa.objects import procedural_object
    from vibrissa.simulation import PassiveSweep, SolverConfig

    array = mouse_array()
    cup = procedural_object(*OBJECT, seed)
    sweep = PassiveSweep(theta_deg=30.0, distance_mm=6.0, diagonal_mm=28.0, speed_mm_per_s=40.0)
    return array, sweep.scene(cup, array, name=NAME), SolverConfig(record_nodes=True)


def run(config: DemoConfig) -> None:
    """Simulate, write, print where the files are and what the whiskers felt."""
    started = time.perf_counter()
    if config.seed < 0:
        raise refuse("seed", config.seed, "not a non-negative integer", "give 0 or more")
    out = writable_folder(config.out)
    say("making the object and its distance field ...")
    sweep, scene, cpu_s = _simulated(config.seed)
    say("drawing ...")
    paths = draw(sweep, scene, out)
    for path in paths:
        print(path)
    print(_summary(sweep, scene, cpu_s, time.perf_counter() - started))


def _simulated(seed: int) -> tuple[Sweep, Scene, float]:
    from vibrissa.simulation.placement import check_placement, require_placed
    from vibrissa.simulation.run import assemble, make_engine

    array, scene, solver = scene_of(seed)
    require_placed(check_placement(array, scene, solver), allow_overlap=False)
    say("compiling the kernel (the first time only) ...")
    engine = make_engine(array, solver)
    engine.run([replace(scene, duration_s=solver.frame_s)])
    say("simulating ...")
    before = time.process_time()
    raw = engine.run([scene])
    cpu_s = time.process_time() - before
    return assemble(array, [scene], solver, raw, seed=seed), scene, cpu_s


def draw(sweep: Sweep, scene: Scene, out: Path) -> list[Path]:
    """Write the sweep and its pictures into a folder; the paths in the order of ``FILES``."""
    from vibrissa.morphology import HeadPose, mouse_array
    from vibrissa.simulation.drawing import (
        animate,
        contact_sheet,
        draw_array,
        draw_traces,
        save_figure,
    )

    file, array, traces, sheet, film = (out / name for name in FILES)
    whole = draw_array(mouse_array(), head=HeadPose.published_passive(), objects=scene.objects)
    return [
        sweep.save(file),
        save_figure(whole, array),
        save_figure(draw_traces(sweep), traces),
        save_figure(contact_sheet(sweep, scene), sheet),
        animate(sweep, scene, path=film, frames=50),
    ]


def _summary(sweep: Sweep, scene: Scene, cpu_s: float, wall_s: float) -> str:
    import numpy as np

    force = np.linalg.norm(sweep.force_moment[0, ..., :3], axis=-1)
    moment = np.linalg.norm(sweep.force_moment[0, ..., 3:], axis=-1)
    touched = int(sweep.contact[0].any(axis=0).sum())
    at = [sweep.whiskers[int(np.argmax(v.max(axis=0)))] for v in (force, moment)]
    return "\n".join(
        [
            f"whiskers touched   {touched} of {len(sweep.whiskers)}",
            f"peak load          {force.max():.0f} uN at {at[0]}, "
            f"{moment.max():.0f} uN*mm at {at[1]}",
            f"in contact         {sweep.contact.mean():.0%} of whisker frames",
            f"speed              {scene.duration_s / cpu_s:.1f} simulated s per CPU s "
            f"({len(sweep.whiskers)} whiskers)",
            f"time taken         {wall_s:.0f} s",
        ]
    )
