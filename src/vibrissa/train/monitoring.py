"""Which epoch was the best, and when to lose patience."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vibrissa.core.errors import refuse_unknown
from vibrissa.train.recording import Row

_SHOWN = ("train_loss", "validate_top1", "validate_loss", "probe_top1")


class Monitor:
    """Watches one metric over the epochs.

    Args:
        metric: its name, with or without ``validate_``; None for the first of ``usual`` that is
            measured. Without a validation part every epoch is better than the last.
        patience: epochs without a better one before it is exhausted; None for ever.
        usual: see above.
    """

    def __init__(
        self,
        metric: str | None = None,
        patience: int | None = None,
        usual: Sequence[str] = ("validate_top1", "validate_loss"),
    ) -> None:
        self._asked = metric
        self._usual = tuple(usual)
        self.metric: str | None = None
        self.patience = patience
        self.best: Row | None = None
        self.waited = 0

    def look(self, row: Row) -> bool:
        """Look at the row of an epoch; whether it is the best so far.

        Raises:
            InputError: there is no such metric.
        """
        if self.metric is None:
            self.metric = self._choose(row)
        if not self.metric:
            self.best = row
            return True
        value = row.get(self.metric)
        if value is None:  # a probe that was not due
            return False
        if self.best is None or self._goodness(row) > self._goodness(self.best):
            self.best, self.waited = row, 0
            return True
        self.waited += 1
        return False

    @property
    def least(self) -> bool:
        """Whether the least value is the best."""
        return "loss" in (self.metric or "")

    def _goodness(self, row: Row) -> tuple[float, float]:
        """Greater is better; of equal shares that with the lower loss."""
        value = float(row[self.metric or ""] or 0.0)
        loss = row.get("validate_loss")
        return (-value if self.least else value), -float("inf" if loss is None else loss)

    @property
    def exhausted(self) -> bool:
        """Whether patience is lost."""
        return self.patience is not None and self.waited >= self.patience

    def sentence(self, row: Row) -> str:
        """A few words on an epoch."""
        words = [f"epoch {row['epoch']}"]
        for name in dict.fromkeys((*_SHOWN, self.metric or "")):
            value = row.get(name)
            if value is not None:
                words.append(f"{name.replace('_', ' ')} {value:.4g}")
        return ", ".join(words)

    def _choose(self, row: Mapping[str, object]) -> str:
        measured = [name for name in row if name.startswith(("validate_", "probe_"))]
        if self._asked is None:
            return next((name for name in self._usual if name in measured), "")
        names = (self._asked, f"validate_{self._asked}")
        found = next((name for name in names if name in measured), None)
        if found is None:
            # A probe is not measured every epoch, so it may be yet to come.
            if self._asked.startswith("probe_"):
                return self._asked
            raise refuse_unknown("monitor", self._asked, measured)
        return found
