"""What a training writes down on the way: metrics.csv, TensorBoard, trackers if asked."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

from vibrissa.core.errors import InputError, refuse_unknown, require_extra
from vibrissa.core.files import atomic_path

Row = dict[str, float | int | None]
Tracker = Literal["wandb", "mlflow"]
METRICS: Final = "metrics.csv"
_FIRST: Final = ("epoch", "step", "lr")


def write_metrics(path: Path, rows: Sequence[Row]) -> Path:
    """One line per epoch, whole or not at all; what was not measured is empty.

    Columns: ``epoch`` (from 1), ``step`` (steps done), ``lr`` (of the last step), then
    ``part_metric``, sorted.
    """
    names = sorted({name for row in rows for name in row} - set(_FIRST))
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*_FIRST, *names], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _text(v) for k, v in row.items()} for row in rows)
    return path


def read_metrics(path: Path | str) -> list[Row]:
    """What :func:`write_metrics` wrote.

    Args:
        path: the file, or the folder of a run that holds it.

    Raises:
        InputError: there is no such file.
    """
    file_path = Path(path) / METRICS if Path(path).is_dir() else Path(path)
    try:
        stream = file_path.open(newline="", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file_path}: cannot be read ({error.strerror}); give the folder of a run."
        ) from error
    with stream as file:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _text(value: float | int | None) -> str:
    return "" if value is None else repr(value)


def _number(text: str) -> float | int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


class Recorder:
    """TensorBoard always, Weights & Biases and MLflow if asked.

    Args:
        folder: of the run; TensorBoard's files go to ``tensorboard``.
        trackers: ``wandb``, ``mlflow``.
        config: the recipe, for the trackers.
        from_epoch: epochs after it that stand in TensorBoard's files are hidden.

    Raises:
        InputError: an unknown tracker.
        MissingExtraError: TensorBoard or a tracker is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        trackers: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        from_epoch: int = 0,
    ) -> None:
        check_trackers(trackers)
        require_extra("tensorboard", "train", "training")
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        from torch.utils.tensorboard.writer import SummaryWriter

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=from_epoch + 1)
        self._others: list[Any] = []
        if trackers:
            from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

            if "wandb" in trackers:
                self._others.append(WandbLogger(name=folder.name, save_dir=folder))
            if "mlflow" in trackers:
                uri = (folder / "mlflow").resolve().as_uri()
                self._others.append(MLFlowLogger("vibrissa", folder.name, tracking_uri=uri))
            for logger in self._others:
                logger.log_hyperparams(dict(config or {}))

    def epoch(self, row: Row) -> None:
        """Record the row of an epoch."""
        number = int(row["epoch"] or 0)
        values = {
            _grouped(name): float(value)
            for name, value in row.items()
            if name not in ("epoch", "step") and value is not None and math.isfinite(value)
        }
        for name, value in values.items():
            self._board.add_scalar(name, value, number)
        self._board.flush()
        for logger in self._others:
            logger.log_metrics(values, step=number)

    def close(self) -> None:
        """Write what is left."""
        self._board.close()
        for logger in self._others:
            logger.finalize("success")


def check_trackers(trackers: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed.

    Raises:
        InputError: unknown.
        MissingExtraError: not installed.
    """
    for name in trackers:
        if name not in get_args(Tracker):
            raise refuse_unknown("track", name, get_args(Tracker))
        require_extra(name, "track", f"--track {name}")


def _grouped(name: str) -> str:
    """``validate_top1`` as ``top1/validate``: TensorBoard draws a group in one place."""
    part, _, metric = name.partition("_")
    return f"{metric}/{part}" if part in ("train", "validate", "probe") and metric else name
