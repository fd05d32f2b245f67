"""``vibrissa reproduce``: the published grid of networks at a scale that can be afforded."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vibrissa.cli.choosing import torch_device, writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse
from vibrissa.data.executors_dask import SlurmJobs

if TYPE_CHECKING:
    from vibrissa.study.stages import StudyConfig


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig:
    """Options of ``vibrissa reproduce``.

    Attributes:
        scale: tiny (every encoder, attender and objective; two cores, about an hour), small
            (the published networks with fewer channels; one GPU, hours) or paper (the published
            networks and recipes; needs ShapeNet and the recordings).
        grid: instead of a scale, a YAML file of your own (see docs/studies.md), or objects: three
            networks and two controls on objects of your own.
        out: folder for everything that is written; what is there and whole is kept, so that the
            same command goes on after an interruption. By default reproduce-SCALE.
        objects: your own: a folder CLASS/NAME.ext, a folder of meshes, a ShapeNetCore tree, or
            procedural:cup,bowl:N.
        nwb: your own recordings, files or folders, instead of synthetic ones.
        seeds: how many each network is trained with; by default as the grid says. More can be
            added later.
        seed: the first of them, and that of data and synthetic recordings.
        workers: processes or jobs; by default all cores, and with a GPU none beside this process.
        scheduler: None for processes; local for a Dask cluster here, slurm for SLURM jobs, else the
            address HOST:PORT of a Dask scheduler. Workers must see the folder under its name.
        slurm: the jobs of --scheduler slurm.
        device: where networks compute: cpu, cuda, cuda:1; auto takes a GPU if there is one.
        status: show how each cell stands, and do nothing.
        quiet: no progress bars.
    """

    scale: Literal["tiny", "small", "paper"] | None = None
    grid: str | None = None
    out: Path | None = None
    objects: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    nwb: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    seeds: int | None = None
    seed: int = 0
    workers: int | None = None
    scheduler: str | None = None
    slurm: SlurmJobs = field(default_factory=SlurmJobs)
    device: str = "auto"
    status: bool = False
    quiet: bool = False


def run(config: ReproduceConfig) -> int:
    """Do a grid, or what is left of it; print the path of the report. 1 if cells failed."""
    started = time.perf_counter()
    for name in ("seed", "workers", "seeds"):
        value = getattr(config, name)
        if value is not None and value < (name == "seeds"):
            raise refuse(name, value, "too small", f"give {int(name == 'seeds')} or more")
    if (config.scale is None) == (config.grid is None):
        given = "neither" if config.scale is None else "both"
        raise refuse(
            "scale, grid", given, "one says what is done", "give --scale tiny, or --grid FILE"
        )
    from vibrissa.data.executors import default_workers
    from vibrissa.study.grids import grid
    from vibrissa.study.reporting import write_report
    from vibrissa.study.stages import StudyConfig, run_study

    chosen_name = str(config.scale or config.grid)
    name, chosen = Path(chosen_name).stem, grid(chosen_name)
    if config.seeds is not None:
        chosen = replace(chosen, seeds=config.seeds)
    device = torch_device(config.device)
    workers = config.workers
    if workers is None:
        workers = 0 if device != "cpu" and config.scheduler is None else default_workers()
    study = StudyConfig(
        name=name, grid=chosen, objects=config.objects, recordings=config.nwb, seed=config.seed,
        workers=workers, scheduler=config.scheduler, slurm=config.slurm, device=device,
        quiet=config.quiet,
    )  # fmt: skip
    wanted = config.out or Path(f"reproduce-{name}")
    if config.status:
        _show(study, wanted)
        return 0
    out = writable_folder(wanted)
    try:
        result = run_study(study, out, say=say)
    except KeyboardInterrupt:
        say(f"stopped; run the same command again, and it goes on in {out}.")
        raise
    say("report ...")
    page = write_report(result)[0]
    finished = sum(cell["status"] == "finished" for cell in result.cells)
    print(f"{finished} of {len(result.cells) + len(result.failed)} cells finished.")
    for key, reason in result.failed.items():
        print(f"failed: {key}: {reason}")
    if study.synthetic:
        print("Alignment in the report is with synthetic recordings.")
    print(page)
    if not config.quiet:
        say(f"{time.perf_counter() - started:.0f} s")
    return 1 if result.failed else 0


def _show(study: StudyConfig, out: Path) -> None:
    from vibrissa.study.stages import status

    if not out.is_dir():
        raise refuse("out", str(out), "no such folder", "give that of a study that was begun")
    counts: Counter[str] = Counter()
    for cell, state, result in status(study, out):
        counts[state] += 1
        accuracy = (result or {}).get("accuracy")
        shown = "" if accuracy is None else f"  {100 * accuracy:5.1f} %"
        print(f"{state:<9}  seed {cell.seed}  {cell.label}{shown}")
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
