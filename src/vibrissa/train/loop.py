"""The loop: epochs of steps, validation, checkpoints from which it goes on to the bit.

All randomness of a step follows from the seed, the number of the step and the process alone, so a
checkpoint needs no random states, and a loop that was killed anywhere repeats what is lost exactly.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from vibrissa.core.progress import Bar, is_watched, progress
from vibrissa.core.seeds import integer_seed
from vibrissa.data.datamodule import DataModule
from vibrissa.data.loader import TactileBatch
from vibrissa.train.checkpoint import load_weights, read_checkpoint, save_checkpoint
from vibrissa.train.config import TrainConfig
from vibrissa.train.folder import check_card
from vibrissa.train.interruption import Wish
from vibrissa.train.learner import Learner, Means, evaluate
from vibrissa.train.losing import NonFiniteError
from vibrissa.train.monitoring import Monitor
from vibrissa.train.probing import probe_online
from vibrissa.train.recording import METRICS, Recorder, Row, write_metrics

BEST: Final = "best.pt"
LAST: Final = "last.pt"


@contextmanager
def own_random_state() -> Iterator[None]:
    """Leave the global random states of torch, numpy and Python as they were found."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


def seed_all(seed: int, *path: str | int) -> None:
    """Seed the global generators, from which dropout and users' models draw."""
    number = integer_seed(seed, *path)
    torch.manual_seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002
    random.seed(number)


@dataclass
class Place:
    """How far a training has come.

    Attributes:
        epoch: epochs done.
        step: steps done.
        means: of the epoch under way.
        history: one row per epoch done.
    """

    epoch: int
    step: int
    means: Means
    history: list[Row]

    def to_tree(self) -> dict[str, Any]:
        """Plain JSON types."""
        means = {"sums": self.means.sums, "count": self.means.count}
        return {
            "epoch": self.epoch, "step": self.step, "means": means, "history": self.history
        }  # fmt: skip

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Place:
        """What :meth:`to_tree` made."""
        means = Means(sums=dict(tree["means"]["sums"]), count=tree["means"]["count"])
        return cls(
            epoch=tree["epoch"], step=tree["step"], means=means, history=list(tree["history"])
        )


class Loop:
    """One training on one process of however many.

    Args:
        fabric: Lightning's Fabric, launched: devices, precision, processes.
        config: what to do.
        learner: model and objective, not wrapped yet.
        data: the loaders.
        folder: of the run; its ``checkpoints`` are written.
        card: what the model is, for the checkpoints.
        wish: whether someone wants it to end.
        save_every_s: seconds between checkpoints within an epoch.
        save_every_steps: steps between them instead.
        quiet: no progress bar.
        tell: takes a line for every epoch, where no bar is seen.
    """

    def __init__(
        self, fabric: Any, config: TrainConfig, learner: Learner, data: DataModule, folder: Path,
        *, card: Mapping[str, Any], wish: Wish, save_every_s: float = 600.0,
        save_every_steps: int | None = None, quiet: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.fabric, self.config, self.data = fabric, config, data
        self.folder, self.card, self.wish = folder, card, wish
        self.quiet = quiet
        self.tell = None if tell is None or is_watched(quiet) else tell
        self.learner = learner
        self.module: nn.Module = fabric.setup_module(learner)
        self.optimiser = config.optimiser.build([learner])
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.loader = data.loader("train")
        self.by_labels = learner.objective.uses_decoder
        usual = ("validate_top1", "validate_loss") if self.by_labels else ("validate_loss",)
        self.monitor = Monitor(config.monitor, config.patience, usual)
        self.place = Place(epoch=0, step=0, means=Means(), history=[])
        self._every_s, self._every_steps = save_every_s, save_every_steps
        self._saved_at = time.monotonic()

    # --- checkpoints -------------------------------------------------------------------------

    def restore(self, path: Path) -> None:
        """Go on where a checkpoint was written.

        Raises:
            InputError: it is damaged, of another model or of other data.
        """
        state = read_checkpoint(
            path, "delete it to begin this training anew, or choose another --out"
        )
        check_card(state["config"], self.card["recipe"], path)
        load_weights(self.learner.model, state["model"], path)
        load_weights(self.learner.objective, state["objective"], path)
        self.optimiser.load_state_dict(state["optimiser"])
        self.loader.load_state_dict(state["loader"])
        self.place = Place.from_tree(state["progress"])
        for row in self.place.history:
            self.monitor.look(row)

    def save(self, name: str = LAST) -> None:
        """Write a checkpoint: all to go on from, or the weights of the best epoch."""
        self._saved_at = time.monotonic()
        if self.fabric.is_global_zero:
            whole = name == LAST
            save_checkpoint(
                self.folder / "checkpoints" / name,
                config=self.card,
                model=self.learner.model.state_dict(),
                objective=self.learner.objective.state_dict(),
                progress=self.place.to_tree(),
                optimiser=self.optimiser.state_dict() if whole else None,
                loader=self.loader.state_dict() if whole else None,
            )
        self.fabric.barrier()

    # --- epochs ------------------------------------------------------------------------------

    def run(self, recorder: Recorder | None) -> bool:
        """Train to the end, or until someone wants it to end or patience is lost.

        Returns:
            Whether it came to its end.

        Raises:
            NonFiniteError: a loss or gradient was not finite; weights are those before that step.
        """
        total = self.config.epochs * len(self.loader)
        with progress("training", total=total, unit="step", quiet=self.quiet) as bar:
            bar.update(self.place.step)
            while self.place.epoch < self.config.epochs:
                if self.monitor.exhausted:
                    return True
                if not self._epoch(bar):
                    return False
                self._finish_epoch(recorder, bar)
                if self._wanted_stop() and self.place.epoch < self.config.epochs:
                    return False
        return True

    def _epoch(self, bar: Bar) -> bool:
        """Train on what is left of an epoch; False if it was broken off, with a checkpoint."""
        self.loader.set_epoch(self.place.epoch)
        self.module.train()
        steps = len(self.loader)
        for batch in self.loader:
            stop = self._step(batch)
            bar.update(1)
            if self.place.step % steps == 0:
                break  # a last batch; a stop is looked at when the epoch is finished
            if stop or self._time_to_save():
                self.save()
            if stop:
                return False
        return True

    def _finish_epoch(self, recorder: Recorder | None, bar: Bar) -> None:
        place = self.place
        means = place.means.merged(self._sum)
        row: Row = {"epoch": place.epoch + 1, "step": place.step, "lr": self._rate(place.step - 1)}
        row |= self._named("train", means)
        if "validate" in self.data.parts:
            found, _ = evaluate(
                self.module, self.data.loader("validate"), self.fabric.device,
                seed=self.config.seed, reduce=self._sum,
            )  # fmt: skip
            row |= self._named("validate", found)
        row |= self._probe()
        place.history.append(row)
        place.epoch += 1
        place.means = Means()
        if self.monitor.look(row):
            self.save(BEST)
        self.save()
        bar.set_postfix_str(self.monitor.sentence(row))
        if self.fabric.is_global_zero:
            if self.tell is not None:
                self.tell(self.monitor.sentence(row))
            write_metrics(self.folder / METRICS, place.history)
            if recorder is not None:
                recorder.epoch(row)

    def _named(self, part: str, means: Mapping[str, float]) -> Row:
        """Columns of a part; what a contrast between sweeps calls top-1 is not that of classes."""
        among = "" if self.by_labels else "contrast_"
        return {
            f"{part}_{among if name.startswith('top') else ''}{name}": value
            for name, value in means.items()
        }

    def _probe(self) -> Row:
        """What the features are worth, where they are not trained by labels."""
        config, done = self.config, self.place.epoch + 1
        due = done % config.probe_every == 0 or done == config.epochs
        if self.by_labels or config.probe == "none" or not due or "validate" not in self.data.parts:
            return {}
        found: list[Row] = [{}]
        if self.fabric.is_global_zero:
            found = [probe_online(self.learner.model, self.data, config)]
        return self.fabric.broadcast(found)[0]

    # --- a step ------------------------------------------------------------------------------

    def _step(self, batch: TactileBatch) -> bool:
        """One step of the optimiser; whether someone wants the training to end."""
        config, place = self.config, self.place
        rate = self._rate(place.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        seed_all(config.seed, "step", place.step, self.fabric.global_rank)
        self.optimiser.zero_grad(set_to_none=True)
        loss, means = self._gradient(batch)
        norm = nn.utils.clip_grad_norm_(self.parameters, config.clip_norm or float("inf"))
        what = self._verdict(loss, norm)
        if what != "sound":
            raise NonFiniteError(what, loss, batch)
        self.optimiser.step()
        place.means.add(means, len(batch))
        place.step += 1
        return self._wanted_stop()

    def _gradient(self, batch: TactileBatch) -> tuple[float, dict[str, float]]:
        """Gradients of the whole batch, part after part; its loss and metrics."""
        place = self.place
        here = batch.to(self.fabric.device, non_blocking=True)
        count = min(self.config.accumulate, len(batch))
        parts = list(zip(*(t.tensor_split(count) for t in (here.input, here.label, here.index)),
                         strict=True))  # fmt: skip
        total, means = 0.0, Means()
        for k, (x, label, index) in enumerate(parts):
            views = torch.Generator().manual_seed(
                integer_seed(self.config.seed, "views", place.step, self.fabric.global_rank, k)
            )
            share = len(x) / len(batch)
            waits = k + 1 < len(parts)
            with self.fabric.no_backward_sync(self.module, enabled=waits and self._processes > 1):
                loss, metrics, _ = self.module(x, label, index, views)
                self.fabric.backward(loss * share, model=self.module)
            total += float(loss.detach()) * share
            means.add(metrics, len(x))
        return total, means.merged()

    def _rate(self, step: int) -> float:
        config = self.config
        return config.optimiser.lr * config.schedule.at(step, len(self.loader), config.epochs)

    def _verdict(self, loss: float, norm: Tensor) -> str:
        """Whether loss and gradient are finite, on all processes."""
        bad = [float(not np.isfinite(loss)), float(not bool(torch.isfinite(norm)))]
        if self._processes > 1:
            bad = self._sum(torch.tensor(bad, dtype=torch.float64)).tolist()
        return "loss" if bad[0] else "gradient" if bad[1] else "sound"

    # --- several processes -------------------------------------------------------------------

    @property
    def _processes(self) -> int:
        return int(self.fabric.world_size)

    def _sum(self, values: Tensor) -> Tensor:
        if self._processes == 1:
            return values
        there = values.to(self.fabric.device)
        torch.distributed.all_reduce(there)
        return there.cpu()

    def _wanted_stop(self) -> bool:
        wished = self.wish.by is not None
        if self._processes == 1:
            return wished
        return bool(self._sum(torch.tensor([float(wished)])).item())

    def _time_to_save(self) -> bool:
        if self._every_steps is not None:
            return self.place.step % self._every_steps == 0
        late = time.monotonic() - self._saved_at > self._every_s
        # Only the first process looks at its clock: all must come to the same barrier.
        return bool(self.fabric.broadcast(late)) if self._processes > 1 else late
