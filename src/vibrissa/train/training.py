"""Train a model on a store: one function, resumable, on one processor or many."""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from vibrissa.core.errors import InputError, refuse, require_extra
from vibrissa.core.files import atomic_path, digest_of_bytes
from vibrissa.core.manifest import Manifest
from vibrissa.core.memory import is_out_of_memory, memory_advice
from vibrissa.data.datamodule import DataModule
from vibrissa.data.store import SweepStore
from vibrissa.train.config import TrainConfig
from vibrissa.train.folder import (
    CHECKPOINTS,
    RECIPE,
    WHAT,
    claim,
    has_begun,
    read_result,
    write_result,
)
from vibrissa.train.interruption import stop_wishes
from vibrissa.train.loop import LAST, Loop, own_random_state
from vibrissa.train.losing import NonFiniteError, save_batch
from vibrissa.train.preparing import (
    RunOptions,
    card_of,
    check_config,
    check_data,
    check_folder,
    make_data,
    make_learner,
)
from vibrissa.train.recording import Recorder, check_trackers
from vibrissa.train.summary import summary
from vibrissa.train.sync_batch_norm import check_batch, synchronise_batch_norms

NON_FINITE: Final = "non_finite_batch.pt"
Status = Literal["finished", "stopped", "non-finite"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What came of a training.

    Attributes:
        folder: of the run.
        status: ``finished``, ``stopped`` (it can go on) or ``non-finite``.
        message: one sentence.
        tree: all of ``result.json``.
        repeated: it had ended before, and nothing was done now.
    """

    folder: Path
    status: Status
    message: str
    tree: Mapping[str, Any]
    repeated: bool = False

    @property
    def scores(self) -> Mapping[str, Any] | None:
        """Part -> metric -> value and intervals, of the best epoch; None unless finished."""
        return self.tree.get("scores")


def train(
    config: TrainConfig,
    store: SweepStore | Path | str,
    out: Path | str,
    *,
    options: RunOptions | None = None,
) -> RunResult:
    """Train, or go on with what was begun in ``out``; what has ended is not repeated.

    Ctrl-C or SIGTERM ends it after the step under way, with a checkpoint; the same call then goes
    on, to the same weights as without the break (to the bit on CPUs).

    Args:
        config: what to do.
        store: the sweeps, with the split that the configuration names.
        out: the run folder.
        options: how to run it here.

    Raises:
        InputError: the store, the configuration and the folder do not fit each other, a checkpoint
            is damaged, or memory ran out.
        MissingExtraError: Lightning or a tracker is not installed.
    """
    settings = options or RunOptions()
    check_config(config)
    check_folder(store)
    data = make_data(config, store, settings, rank=0, world_size=1)
    check_data(config, data)
    if settings.devices * settings.nodes > 1:
        check_batch(config.data.batch_size, settings.devices * settings.nodes)
    folder = Path(out)
    manifest = _manifest(config, data)
    if has_begun(folder):
        claim(folder, manifest)
        known = read_result(folder)
        if known is not None and known["status"] != "stopped":
            return _result(folder, known, repeated=True)
    require_extra("lightning", "train", "training")  # takes seconds, so not before it is needed
    check_trackers(settings.track)
    begun = claim(folder, manifest)
    if not begun:
        _write_recipe(folder, config)
    data.normalisation  # noqa: B018  (measured once, and kept, before processes start)
    job = _Job(config, data.store.path, folder, settings)
    remedy = (
        f"compute it in more parts (--accumulate {2 * config.accumulate}), choose a smaller batch "
        "or a smaller model"
    )
    with stop_wishes(), memory_advice("batch_size", config.data.batch_size, remedy):
        _launch(job)
    tree = read_result(folder)
    assert tree is not None
    return _result(folder, tree)


def _result(folder: Path, tree: Mapping[str, Any], *, repeated: bool = False) -> RunResult:
    return RunResult(
        folder=folder, status=tree["status"], message=tree["message"], tree=tree, repeated=repeated
    )


# --- before ----------------------------------------------------------------------------------


def _manifest(config: TrainConfig, data: DataModule) -> Manifest:
    tree = config.to_tree()
    split = digest_of_bytes(data.split.codes(data.store.table).tobytes())
    inputs = {"store": data.store.digest, f"split {config.data.split}": split}
    return Manifest.of(WHAT, tree, seed=config.seed, inputs=inputs)


def _write_recipe(folder: Path, config: TrainConfig) -> None:
    with atomic_path(folder / RECIPE) as temporary:
        text = yaml.safe_dump(config.to_tree(), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


# --- processes -------------------------------------------------------------------------------


class _Job:
    """What every process gets; no dataclass, for Lightning takes those that it passes on apart."""

    def __init__(self, config: TrainConfig, store: Path, folder: Path, options: RunOptions) -> None:
        self.config, self.store, self.folder, self.options = config, store, folder, options


def _launch(job: _Job) -> None:
    """Start as many processes as are wanted, and train in each."""
    with _quiet_lightning():
        from lightning.fabric import Fabric
        from lightning.fabric.strategies.ddp import DDPStrategy

        options = job.options
        strategy: Any = "auto"
        if options.devices * options.nodes > 1:
            started = any(name in os.environ for name in ("LOCAL_RANK", "SLURM_PROCID"))
            strategy = DDPStrategy(start_method="popen" if started else "spawn")
        bf16 = job.config.precision == "bf16"
        try:
            fabric = Fabric(
                accelerator=options.accelerator, devices=options.devices,
                num_nodes=options.nodes, strategy=strategy,
                precision="bf16-mixed" if bf16 else "32-true",
            )  # fmt: skip
        except (ValueError, RuntimeError, ImportError, TypeError) as error:
            text = " ".join(str(error).split()).split(". ")[0].rstrip(".")
            raise InputError(
                f"accelerator = {options.accelerator!r}, devices = {options.devices}: cannot be "
                f"had here ({text}); choose others."
            ) from error
        try:
            launch: Any = fabric.launch
            launch(_process, job)
        except Exception as error:
            if not type(error).__name__.startswith("Process"):
                raise
            _explain(error)
            raise


def _explain(error: Exception) -> None:
    """Say what a process of several said before it ended, if it is a sentence.

    Raises:
        InputError: with that sentence, or because the process was killed.
        MemoryError: memory ran out there.
    """
    found = re.search(r"vibrissa\.core\.errors\.\w+: (.*)", str(error))
    if found is not None:
        raise InputError(found[1]) from error
    if is_out_of_memory(error):
        raise MemoryError from error
    if getattr(error, "signal_name", None) == "SIGKILL":
        raise InputError(
            "devices: a process was killed, as the system does when memory runs out; the same "
            "command goes on, choose fewer devices or a smaller batch if it happens again."
        ) from error


@contextmanager
def _quiet_lightning() -> Any:
    """Lightning without its notes on hardware and its hints."""
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning, module=r"lightning\..*")
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"lightning\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _process(fabric: Any, job: _Job) -> None:
    """Train in one process; the first of them writes down what came of it."""
    config, options = job.config, job.options
    with _quiet_lightning(), own_random_state(), stop_wishes() as wish:
        data = make_data(
            config, job.store, options, rank=fabric.global_rank, world_size=fabric.world_size
        )
        learner = make_learner(config, data)
        if config.sync_batch_norm and fabric.world_size > 1:
            synchronise_batch_norms(learner)
        loop = Loop(
            fabric, config, learner, data, job.folder,
            card=card_of(config, data), wish=wish, save_every_s=options.save_every_s,
            save_every_steps=options.save_every_steps,
            quiet=options.quiet or fabric.global_rank > 0, tell=options.tell,
        )  # fmt: skip
        last = job.folder / CHECKPOINTS / LAST
        if last.is_file():
            loop.restore(last)
        fabric.barrier()
        recorder = None
        if fabric.is_global_zero:
            recorder = Recorder(
                job.folder, trackers=options.track, config=config.to_tree(),
                from_epoch=loop.place.epoch,
            )  # fmt: skip
        status, message = _run(loop, recorder, fabric, job)
        if recorder is not None:
            recorder.close()
            tree = summary(loop, status, message, job.folder, quiet=options.quiet)
            write_result(job.folder, tree)
        fabric.barrier()


def _run(loop: Loop, recorder: Recorder | None, fabric: Any, job: _Job) -> tuple[str, str]:
    config = job.config
    try:
        ended = loop.run(recorder)
    except NonFiniteError as error:
        place = loop.place
        name = NON_FINITE if fabric.world_size == 1 else f"{fabric.global_rank}_{NON_FINITE}"
        if fabric.world_size == 1 or not math.isfinite(error.value) or fabric.is_global_zero:
            save_batch(job.folder / name, error, place.epoch + 1, place.step + 1)
        return "non-finite", (
            f"The {error.what} was not finite in step {place.step + 1} (epoch {place.epoch + 1}); "
            f"the batch is in {job.folder / name}; choose a lower lr, clip_norm, or fp32."
        )
    except RuntimeError as error:
        if "finished reduction" not in str(error):
            raise
        raise refuse(
            "model", loop.learner.model.name, "some of its parameters have no part in the loss, "
            "which several processes cannot share", "freeze them with requires_grad_(False)",
        ) from error  # fmt: skip
    place = loop.place
    if ended and place.epoch < config.epochs:
        return "finished", f"Ended after {place.epoch} epochs, {config.patience} without a better."
    if ended:
        return "finished", f"Trained for {config.epochs} epochs, {place.step} steps."
    return "stopped", (
        f"Stopped by {loop.wish.by or 'another process'} after {place.step} of "
        f"{config.epochs * len(loop.loader)} steps; the same command goes on from there."
    )
