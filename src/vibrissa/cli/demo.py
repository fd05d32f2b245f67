"""``vibrissa demo``: the whole path on a small default, from objects to a report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vibrissa.cli.choosing import writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Options of ``vibrissa demo``.

    Attributes:
        out: folder for everything that is written; what is there and whole is kept, so that the
            same command goes on after an interruption.
        objects: your own, instead of procedural ones: a folder CLASS/NAME.ext, a folder of meshes,
            or procedural:cup,bowl:N.
        nwb: your own recordings, files or folders, instead of synthetic ones.
        seed: of everything.
        workers: processes; by default all cores.
        quiet: no progress bars.
    """

    out: Path = Path("demo")
    objects: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    nwb: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    seed: int = 0
    workers: int | None = None
    quiet: bool = False


def run(config: DemoConfig) -> int:
    """Do the study of the grid ``demo``; print where the report is, and what it says in short."""
    started = time.perf_counter()
    for name in ("seed", "workers"):
        value = getattr(config, name)
        if value is not None and value < 0:
            raise refuse(name, value, "negative", "give 0 or more")
    out = writable_folder(config.out)
    from vibrissa.data.executors import default_workers
    from vibrissa.study.grids import grid
    from vibrissa.study.reporting import write_report
    from vibrissa.study.stages import StudyConfig, run_study

    workers = default_workers() if config.workers is None else config.workers
    study = StudyConfig(
        name="demo", grid=grid("demo"), objects=config.objects, recordings=config.nwb,
        seed=config.seed, workers=workers, quiet=config.quiet,
    )  # fmt: skip
    try:
        result = run_study(study, out, say=say)
    except KeyboardInterrupt:
        say(f"stopped; run the same command again, and it goes on in {out}.")
        raise
    say("report ...")
    for cell in result.cells:
        accuracy = cell.get("accuracy")
        if accuracy is None:
            print(f"{cell['label']}: {cell['status']}")
            continue
        interval = f"{100 * cell['low']:.1f} to {100 * cell['high']:.1f}"
        chance = "" if cell.get("chance") is None else f", chance {100 * cell['chance']:.1f} %"
        print(f"{cell['label']}: {100 * accuracy:.1f} % ({interval}){chance}")
    if study.synthetic:
        print("Alignment in the report is with synthetic recordings.")
    print(write_report(result)[0])
    if not config.quiet:
        say(f"{time.perf_counter() - started:.0f} s")
    return 1 if result.failed else 0
