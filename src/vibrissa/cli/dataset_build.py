"""``vibrissa dataset build``: objects past whiskers -> a data set, resumable at any moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vibrissa.cli.choosing import Side, choose_array
from vibrissa.cli.speaking import say
from vibrissa.core.errors import InputError, refuse
from vibrissa.data.executors import default_workers, make_executor
from vibrissa.data.executors_dask import SlurmJobs
from vibrissa.data.resampling import Recording
from vibrissa.simulation.scene import SolverConfig

if TYPE_CHECKING:
    from vibrissa.data.building import BuildReport
    from vibrissa.data.executors import Executor
    from vibrissa.data.recipe import Recipe
    from vibrissa.data.sources import Source
    from vibrissa.simulation.protocols import SweepProtocol


@dataclass(frozen=True, kw_only=True)
class FarmSolver(SolverConfig):
    """How sweeps are simulated; the frame rate follows from the protocol."""

    rate_hz: Annotated[float, tyro.conf.Suppress] = SolverConfig.rate_hz
    threads: Annotated[int | None, tyro.conf.Suppress] = None
    record_nodes: Annotated[bool, tyro.conf.Suppress] = False


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Options of ``vibrissa dataset build``.

    Attributes:
        objects: what to touch, may be repeated: a folder CLASS/NAME.ext, a ShapeNetCore tree, a
            folder of meshes, procedural:N (N objects over all procedural classes) or
            procedural:cup,bowl:N (over these).
        protocol: which sweeps of each object, see vibrissa list protocols; or a YAML file.
        placement: clean, before the object reaches the whiskers, or published, where most sweeps
            start with whiskers inside the object; by default what the protocol says.
        out: folder of the data set; what is there and whole is kept.
        workers: processes; 0 means in this process, by default all cores.
        scheduler: None for processes; local for a Dask cluster here, slurm for SLURM jobs, else
            the address HOST:PORT of a Dask scheduler.
        slurm: the jobs of --scheduler slurm.
        part: K/N makes the K-th of N parts of the objects, for a job array.
        array: mouse, mouse:N for one of the eight individuals, rat, or a table TABLE.csv.
        side: whiskers; objects pass on the right, for L on the left.
        parameters: mechanical parameter set.
        fill: take what was not measured on an individual from the average mouse.
        rate_hz: frames per second of the simulation; by default what the protocol says.
        solver: how to simulate.
        recording: which of the simulated frames are kept.
        resolution_uN: stored loads are multiples of this; 0 keeps every bit.
        unit: unit of mesh files, mm, cm or m, where their size is kept.
        ids: for a ShapeNetCore tree, a file that lists the models to use.
        labels: for a ShapeNetCore tree, a file with the class of each model or synset.
        seed: of every random draw.
        batch: sweeps simulated at a time; by default 16, on a GPU 512.
        group: objects per unit of work; by default 1, on a GPU 32.
        recycle_after: replace a worker process after so many objects.
        prune: take objects that --objects does not name any more out of the data set.
        cache_fields: keep distance fields in the user's cache, some megabytes per object.
        quiet: no progress bar, no remarks.
    """

    objects: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    protocol: str = "passive-1000hz"
    placement: Literal["clean", "published"] | None = None
    out: Path
    workers: int | None = None
    scheduler: str | None = None
    slurm: SlurmJobs = field(default_factory=SlurmJobs)
    part: str = "1/1"
    array: str = "mouse"
    side: Side = "R"
    parameters: str = "physical"
    fill: bool = False
    rate_hz: float | None = None
    solver: FarmSolver = field(default_factory=FarmSolver)
    recording: Recording = field(default_factory=Recording)
    resolution_uN: float = 2.0**-10
    unit: str | None = None
    ids: Path | None = None
    labels: Path | None = None
    seed: int = 0
    batch: int | None = None
    group: int | None = None
    recycle_after: int = 200
    prune: bool = False
    cache_fields: bool = False
    quiet: bool = False


def run(config: BuildConfig) -> int:
    """Build, and say what was done; exit status 1 if objects remain without a shard."""
    from vibrissa.data.building import build

    recipe = recipe_of(config)
    sources = sources_for(config, recipe)
    part = _part(config.part)
    executor, threads = _workers(config)
    on_gpu = config.solver.device != "cpu"
    group = (32 if on_gpu else 1) if config.group is None else config.group
    batch = (512 if on_gpu else 16) if config.batch is None else config.batch
    if not config.quiet:
        say(f"{len(sources)} objects, protocol {recipe.protocol_name}, into {config.out}")
    try:
        with _stopped_by_terminate():
            report = build(
                recipe, sources, config.out, executor=executor, batch=batch, group=group,
                threads=threads, cache_fields=config.cache_fields, part=part,
                prune=config.prune, quiet=config.quiet,
            )  # fmt: skip
    except KeyboardInterrupt:
        say(f"stopped; {_count(config.out)} objects are done and kept. {_GO_ON}")
        raise
    _tell(config, report)
    if not report.missing:
        _default_splits(config)
    print(config.out)
    return 1 if report.failed else 0


_GO_ON = "Run the same command again to go on."


def recipe_of(config: BuildConfig) -> Recipe:
    """The recipe that the options mean.

    Raises:
        InputError: an option that does not fit.
    """
    from vibrissa.data.recipe import Recipe

    protocol, name = _protocol(config)
    plain: dict[str, Any] = {f.name: getattr(config.solver, f.name) for f in fields(SolverConfig)}
    plain["rate_hz"] = protocol.rate_hz if config.rate_hz is None else config.rate_hz
    solver = SolverConfig(**plain)
    return Recipe(
        protocol=protocol,
        protocol_name=name,
        array=choose_array(config.array, config.side, config.parameters, fill=config.fill),
        solver=solver,
        recording=config.recording,
        resolution_uN=config.resolution_uN,
        seed=config.seed,
        allow_overlap=_starts(protocol) != "clean",
    )


def sources_for(config: BuildConfig, recipe: Recipe) -> list[Source]:
    """The objects, or the stand-in for those that the protocol brings.

    Raises:
        InputError: none where some are needed, or the other way round.
    """
    from vibrissa.data.sources import StimuliSource, sources_of

    if recipe.protocol.needs_object:
        if not config.objects:
            raise refuse(
                "objects", None, f"protocol {recipe.protocol_name} needs some",
                "give --objects FOLDER or --objects procedural:N",
            )  # fmt: skip
        return sources_of(
            config.objects, seed=config.seed, unit=config.unit, ids=config.ids, labels=config.labels
        )
    if config.objects:
        raise refuse(
            "objects", config.objects[0], f"protocol {recipe.protocol_name} brings its own",
            "leave --objects out",
        )  # fmt: skip
    return [StimuliSource(protocol=recipe.protocol_name)]


def _protocol(config: BuildConfig) -> tuple[SweepProtocol, str]:
    from vibrissa.simulation import protocol_from_yaml, sweep_protocols

    if config.protocol.lower().endswith((".yaml", ".yml")):
        protocol = protocol_from_yaml(Path(config.protocol))
        name = sweep_protocols.name_of(type(protocol))
    else:
        name = config.protocol
        protocol = sweep_protocols.get(name)()
    changed: dict[str, Any] = {}
    if config.side == "L" and hasattr(protocol, "sweep"):
        changed["side"] = "L"
    if config.placement is not None:
        if not protocol.needs_object:
            raise refuse(
                "placement", config.placement, f"protocol {name} places its own objects",
                "leave it out",
            )  # fmt: skip
        if hasattr(protocol, "starts"):
            protocol = replace(protocol, starts=(config.placement,))  # pyright: ignore
        else:
            changed["start"] = config.placement
    if changed:
        protocol = replace(protocol, sweep=replace(protocol.sweep, **changed))  # pyright: ignore
    return protocol, name


def _starts(protocol: SweepProtocol) -> str:
    """``clean`` if no sweep may start with whiskers inside the object."""
    starts = getattr(protocol, "starts", None)
    if starts is not None:
        return "clean" if set(starts) == {"clean"} else "published"
    return protocol.sweep.start if hasattr(protocol, "sweep") else "clean"  # pyright: ignore


def _workers(config: BuildConfig) -> tuple[Executor, int | None]:
    """Who works, and the threads of each unit of work."""
    from vibrissa.data.executors import SerialExecutor

    on_gpu = config.solver.device != "cpu"
    workers = config.workers
    if workers is None:
        workers = 0 if on_gpu and config.scheduler is None else default_workers()
    if workers < 0:
        raise refuse("workers", workers, "negative", "give 0 or more")
    if config.scheduler is None and workers == 0:
        return SerialExecutor(), None  # one process: let the simulation use all cores
    executor = make_executor(
        config.scheduler, workers, recycle_after=config.recycle_after, slurm=config.slurm
    )
    return executor, 1


def _part(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise refuse("part", text, "not K/N", "give the number of the part, for instance 3/10")
    return int(first), int(second)


@contextmanager
def _stopped_by_terminate() -> Iterator[None]:
    """Let a polite end (a batch system's) be as clean as Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _count(out: Path) -> int:
    from vibrissa.data.index import shard_files

    return len(shard_files(out))


def _tell(config: BuildConfig, report: BuildReport) -> None:
    for name, reason in report.mended.items():
        say(f"mended {name}: {reason}")
    for made in report.failed:
        say(f"failed {made.object}: {made.reason}")
    if not config.quiet:
        say(report.sentence())
    if report.failed:
        folder = config.out / "failures"
        say(f"tracebacks are under {folder}; mend the objects, or take them out (--prune).")


def _default_splits(config: BuildConfig) -> None:
    """Write the splits that any user of this set wants, unless they are there and still fit."""
    from vibrissa.data.splits import Split, remarks, split_kinds
    from vibrissa.data.store import SweepStore

    store = SweepStore.open(config.out)
    table = store.table
    for kind in ["by_object"] + (["by_draw"] if "part" in table.columns else []):
        rule = split_kinds.get(kind)()
        if kind in store.splits:
            try:
                known = store.split(kind)
            except InputError as error:
                say(str(error))
                continue
            try:
                known.codes(table)
                continue
            except InputError:
                say(f"split {kind} is made anew for the objects of now, by the rule it had.")
                rule = known.config
        split = Split.make(kind, rule, table)
        store.save_split(split)
        if not config.quiet:
            for remark in remarks(split.codes(table), table):
                say(f"split {kind}: {remark}")
