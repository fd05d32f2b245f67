"""What stops a training against its will: losses that are not finite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vibrissa.core.files import atomic_path
from vibrissa.data.loader import TactileBatch


class NonFiniteError(Exception):
    """A loss or a gradient is not finite.

    Args:
        what: ``loss`` or ``gradient``.
        value: the loss.
        batch: the one that did it, as this process saw it.
    """

    def __init__(self, what: str, value: float, batch: TactileBatch) -> None:
        super().__init__(f"the {what} is not finite")
        self.what, self.value, self.batch = what, value, batch


def save_batch(path: Path, error: NonFiniteError, epoch: int, step: int) -> Path:
    """Write the batch for inspection: ``torch.load(path, weights_only=True)`` reads it.

    Its ``input`` is (batch, step, channel, row, column); ``label`` and ``index`` count in the
    store.
    """
    batch = error.batch
    content: dict[str, Any] = {
        "what": error.what, "loss": error.value, "epoch": epoch, "step": step,
        "input": batch.input.cpu(), "label": batch.label.cpu(), "index": batch.index.cpu(),
    }  # fmt: skip
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
    return path
