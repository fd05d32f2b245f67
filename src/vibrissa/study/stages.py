"""A study from its grid to its results: data set, stimuli, recordings, cells, alignment.

Each stage is done once: what stands whole in the folder is kept, so that a study may be stopped at
any moment and goes on where it was.

    out/data/            the data set
    out/stimuli.sweep.h5 the six stimuli of the shape task, with active whisking
    out/recordings/      synthetic recordings, where the user has none
    out/cells/KEY/       one folder per cell
    out/alignment.h5, out/runs.csv, out/findings.csv, out/report.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse, require_extra
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest, to_tree
from vibrissa.core.progress import progress
from vibrissa.data.executors import make_executor
from vibrissa.data.executors_dask import SlurmJobs
from vibrissa.study.cells import Cell
from vibrissa.study.grids import Grid
from vibrissa.study.work import ACTIVATIONS, Job, read_cell, run_cell

if TYPE_CHECKING:
    from vibrissa.neural.alignment import Alignment
    from vibrissa.neural.session import Session

SPLIT: Final = "study"
STUDY: Final = "study.json"
STIMULI: Final = "stimuli.sweep.h5"
LOADS: Final = "whisker loads"
"""What the networks are shown, as a model without layers: the baseline of alignment."""
NEEDED: Final = (
    ("lightning", "train", "training"),
    ("pynwb", "neural", "reading and writing recordings"),
)
"""Module, extra, and what a study needs it for."""
_FILM_S: Final = 0.4
_FILM_FRAMES: Final = 30


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study.

    Attributes:
        name: of the grid.
        grid: what is done.
        objects: instead of those of the grid.
        recordings: NWB files or folders, instead of synthetic recordings.
        seed: the first seed, and that of data and recordings.
        workers: processes; 0 for none beside this one.
        scheduler: as for ``vibrissa dataset build``.
        slurm: the jobs of the scheduler ``slurm``.
        device: where networks compute.
        quiet: no progress bars.
    """

    name: str
    grid: Grid
    objects: tuple[str, ...] = ()
    recordings: tuple[Path, ...] = ()
    seed: int = 0
    workers: int = 0
    scheduler: str | None = None
    slurm: SlurmJobs | None = None
    device: str = "cpu"
    quiet: bool = False

    def __post_init__(self) -> None:
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise refuse(name, getattr(self, name), "negative", "give 0 or more")
        missing = self.missing
        if missing:
            raise InputError(
                f"{self.name} needs what is not given: {'; '.join(missing)}. Then run it again."
            )

    @property
    def missing(self) -> list[str]:
        """What the user has to bring, one clause for each."""
        without = {
            "objects": not self.objects and self.grid.data.objects is None,
            "nwb": not self.recordings and self.grid.cortex is None,
        }
        return [
            f"--{name} {self.grid.needs.get(name, '')}".rstrip()
            for name, lacks in without.items()
            if lacks
        ]

    @property
    def synthetic(self) -> bool:
        """Whether the recordings are synthetic."""
        return not self.recordings

    @property
    def tree(self) -> dict[str, Any]:
        """All that the results depend on."""
        return {
            "name": self.name, "grid": to_tree(self.grid), "objects": list(self.objects),
            "recordings": [path.name for path in self.recordings], "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """What a study found.

    Attributes:
        config: the study.
        out: its folder.
        cells: what became of each cell, in the order of the grid.
        failed: cell -> why it could not be done.
        alignment: of all cells that gave activations.
    """

    config: StudyConfig
    out: Path
    cells: Sequence[dict[str, Any]]
    failed: dict[str, str] = field(default_factory=dict)
    alignment: Alignment | None = None


Say = Callable[[str], None]


def run_study(config: StudyConfig, out: Path | str, *, say: Say = lambda text: None) -> StudyResult:
    """Do a study, or what is left of it.

    Args:
        config: what to do.
        out: its folder.
        say: told in a sentence what begins.

    Raises:
        InputError: the folder is that of another study, or something given cannot be used.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    root = Path(out)
    for module, extra, purpose in NEEDED:  # told before anything is done
        if find_spec(module) is None:
            require_extra(module, extra, purpose)
    _claim(root, config)
    say("objects past whiskers ...")
    store = _data(config, root)
    say("six stimuli, actively whisked ...")
    stimuli = _stimuli(config, root)
    cells = config.grid.cells(config.seed)
    say(f"{len(cells)} networks ...")
    failed = _cells(config, root, cells, store, stimuli, say)
    found = [_read(root, cell) for cell in cells if cell.key not in failed]
    say("recordings ...")
    sessions = _recordings(config, root, store, stimuli)
    say("alignment ...")
    alignment = _alignment(config, root, found, sessions)
    return StudyResult(config=config, out=root, cells=found, failed=failed, alignment=alignment)


def folder_of(root: Path, cell: Cell | dict[str, Any]) -> Path:
    """The folder of a cell."""
    return root / "cells" / (cell.key if isinstance(cell, Cell) else str(cell["key"]))


def status(
    config: StudyConfig, out: Path | str
) -> Iterator[tuple[Cell, str, dict[str, Any] | None]]:
    """Each cell, how it stands (``done``, ``under way`` or ``to do``), and what it gave."""
    for cell in config.grid.cells(config.seed):
        folder = folder_of(Path(out), cell)
        found = read_cell(folder)
        if found is not None:
            yield cell, "done", found
        else:
            yield cell, "under way" if folder.exists() else "to do", None


# --- stages ----------------------------------------------------------------------------------


def _claim(root: Path, config: StudyConfig) -> None:
    path = root / STUDY
    text = Manifest.of("study", config.tree, seed=config.seed).to_json()
    wanted = json.loads(text)["config"]
    if path.exists():
        known = Manifest.from_json(path.read_text(encoding="utf-8"), origin=str(path)).config
        for name, value in wanted.items():
            old = known.get(name)
            if name == "grid" and isinstance(old, dict):
                old, value = ({k: v for k, v in g.items() if k != "seeds"} for g in (old, value))
            if old != value:
                raise refuse(
                    name, config.tree[name] if name != "grid" else config.name,
                    f"{root} holds a study with another {name}",
                    "choose another folder, or the settings of then",
                )  # fmt: skip
        if known == wanted:
            return
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _data(config: StudyConfig, root: Path) -> Path:
    from vibrissa.data.building import build
    from vibrissa.data.recipe import Recipe
    from vibrissa.data.sources import sources_of
    from vibrissa.data.splits import Split, split_kinds
    from vibrissa.data.store import SweepStore
    from vibrissa.morphology.mouse import mouse_array
    from vibrissa.simulation.protocol_files import protocol_from_tree
    from vibrissa.simulation.scene import SolverConfig

    data = config.grid.data
    tree = {"protocol": data.protocol} if isinstance(data.protocol, str) else data.protocol
    protocol = protocol_from_tree(tree, origin="grid: data.protocol")
    recipe = Recipe(
        protocol=protocol, protocol_name=str(tree["protocol"]), array=mouse_array("R"),
        solver=SolverConfig(rate_hz=protocol.rate_hz), seed=config.seed,
    )  # fmt: skip
    sources = sources_of(config.objects or data.objects or (), seed=config.seed)
    executor = make_executor(config.scheduler, config.workers, slurm=config.slurm)
    threads = 1 if config.workers else None
    report = build(
        recipe, sources, root / "data", executor=executor, threads=threads, quiet=config.quiet
    )
    if report.failed:
        worst = report.failed[0]
        raise InputError(
            f"{len(report.failed)} objects could not be used, {worst.object} first: "
            f"{worst.reason.rstrip('.')}; mend them or take them out, then run the study again."
        )
    store = SweepStore.open(root / "data")
    fractions = (1.0 - data.validate - data.test, data.validate, data.test)
    kind: Any = split_kinds.get(data.split)
    rule = kind(fractions=fractions, seed=config.seed)
    if SPLIT not in store.splits:
        store.save_split(Split.make(SPLIT, rule, store.table))
    return root / "data"


def _stimuli(config: StudyConfig, root: Path) -> Path:
    from vibrissa.morphology.mouse import mouse_array
    from vibrissa.simulation.passive import PassiveSweep
    from vibrissa.simulation.rodgers import Rodgers6
    from vibrissa.simulation.scene import SolverConfig

    path = root / STIMULI
    if not path.exists():
        array, solver = mouse_array("R"), SolverConfig()
        protocol = Rodgers6(sweep=PassiveSweep(duration_s=1.0))
        protocol.plan(array, None, solver).simulate(array, solver).save(path)
    return path


def film(root: Path) -> tuple[Path, Path]:
    """The animation of one stimulus, and a sheet of stills for readers who want no motion; made
    once."""
    from vibrissa.morphology.mouse import mouse_array
    from vibrissa.simulation.drawing import animate, contact_sheet, save_figure
    from vibrissa.simulation.passive import PassiveSweep
    from vibrissa.simulation.rodgers import Rodgers6
    from vibrissa.simulation.scene import SolverConfig

    moving, still = root / "stimulus.gif", root / "stimulus.png"
    if not (moving.exists() and still.exists()):
        array, solver = mouse_array("R"), SolverConfig(record_nodes=True)
        protocol = Rodgers6(sweep=PassiveSweep(duration_s=_FILM_S))
        plan = protocol.plan(array, None, solver)
        plan = replace(plan, scenes=plan.scenes[:1])
        sweep = plan.simulate(array, solver)
        save_figure(contact_sheet(sweep, plan.scenes[0], n=4), still)
        animate(sweep, plan.scenes[0], path=moving, frames=_FILM_FRAMES, fps=12.0)
    return moving, still


def _cells(
    config: StudyConfig, root: Path, cells: Sequence[Cell], store: Path, stimuli: Path, say: Say
) -> dict[str, str]:
    """Do all cells; key -> reason of those that failed."""
    threads = 1 if config.workers > 1 else None
    jobs = [
        Job(
            cell=cell, store=store, split=SPLIT, stimuli=stimuli, folder=folder_of(root, cell),
            threads=threads, device=config.device,
        )
        for cell in cells
        if read_cell(folder_of(root, cell)) is None
    ]  # fmt: skip
    failed: dict[str, str] = {}
    executor = make_executor(config.scheduler, config.workers, recycle_after=50, slurm=config.slurm)
    with progress("networks", total=len(cells), unit="network", quiet=config.quiet) as bar:
        bar.update(len(cells) - len(jobs))
        with closing(executor.run(run_cell, ((job.cell.key, job) for job in jobs))) as outcomes:
            for outcome in outcomes:
                if outcome.failure is not None:
                    failed[outcome.key] = outcome.failure.message
                    say(f"{outcome.key}: {outcome.failure.message}")
                elif outcome.result is not None:
                    bar.set_postfix_str(str(outcome.result["label"])[:30])
                bar.update(1)
    return failed


def _read(root: Path, cell: Cell) -> dict[str, Any]:
    found = read_cell(folder_of(root, cell))
    assert found is not None
    return found


def sensor_features(store: Path, stimuli: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """What the whiskers feel of each stimulus, the mean over time of the model's input.

    Returns:
        Names of the stimuli, and (stimulus, unit).
    """
    from vibrissa.activations.stimuli import InputConfig, choose_stimuli
    from vibrissa.data.datamodule import DataModule

    data = DataModule(store, SPLIT, quiet=True)
    way = InputConfig(
        input_shape=tuple(data.input_shape), preprocessing=data.preprocessing,
        normalisation=data.normalisation, rate_hz=data.store.rate_hz,
        stored_frames=data.store.time,
    )  # fmt: skip
    chosen = choose_stimuli(str(stimuli), way)
    values = np.asarray(chosen.inputs[0 : len(chosen)], dtype=np.float64)
    return chosen.names, values.mean(axis=1).reshape(len(chosen), -1)


def _recordings(config: StudyConfig, root: Path, store: Path, stimuli: Path) -> tuple[Session, ...]:
    from vibrissa.neural.conditions import CONDITIONS
    from vibrissa.neural.nwb import read_sessions
    from vibrissa.neural.synth_nwb import TRUTH_FILE, write_synth

    if config.recordings:
        return read_sessions(config.recordings, quiet=config.quiet)
    folder = root / "recordings"
    if not (folder / TRUTH_FILE).exists():
        names, values = sensor_features(store, stimuli)
        rows = [names.index(name) for name in CONDITIONS]
        assert config.grid.cortex is not None  # else it is missing, and so refused
        write_synth(
            folder, config.grid.cortex, config.seed, features=values[rows], quiet=config.quiet
        )
    return read_sessions(folder, quiet=config.quiet)


def _alignment(
    config: StudyConfig, root: Path, found: Sequence[dict[str, Any]], sessions: Sequence[Session]
) -> Alignment | None:
    from vibrissa.activations import Activations
    from vibrissa.neural.aligning import AlignConfig, align

    files = [folder_of(root, cell) / ACTIVATIONS for cell in found]
    loaded = [Activations.load(path) for path in files if path.exists()]
    if not loaded:
        return None
    # What the networks are shown is a baseline of its own, not a layer that any of them may claim.
    networks = [
        each.select(layers=[name for name, kind in each.kinds.items() if kind != "input"])
        for each in loaded
    ]
    shown = replace(loaded[0].select(layers=["input"]), model=LOADS)
    settings = AlignConfig(draws=config.grid.draws, seed=config.seed)
    alignment = align([shown, *networks], sessions, settings, quiet=config.quiet)
    alignment.save(root / "alignment.h5")
    return alignment
