"""Collapse: a model that gives one answer, one embedding, or no number at all; found and named."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from vibrissa.core.errors import refuse
from vibrissa.objectives.base import wide

Verdict = Literal[
    "healthy", "not finite", "constant answer", "nearly constant answer", "constant embedding",
    "low-rank embedding",
]  # fmt: skip

NEARLY = 0.95
"""Share of one answer from which on a model is said to answer nearly constantly."""
LEAST_RELATIVE_SD = 1e-3
"""Spread of an embedding, relative to its size, below which it is said to be constant."""
LEAST_RANK = 1.5
"""Effective rank below which an embedding is said to be of low rank: a line, or little more."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    """What was found, and by what numbers; None where it was not looked for.

    Attributes:
        verdict: the first of these that holds: ``not finite``; ``constant answer``, every sweep
            gets the same class; ``nearly constant answer``, 95 % of them; ``constant embedding``,
            its spread is below 1/1000 of its size; ``low-rank embedding``, effective rank below
            1.5; else ``healthy``.
        not_finite: how many of the numbers looked at are NaN or infinite.
        commonest_share: share of the sweeps that get the commonest answer.
        commonest_answer: which class that is.
        prior: share of the sweeps that truly are of that class.
        equals_prior: whether the accuracy is that share exactly, as it is for a constant answer.
        accuracy: top-1.
        effective_rank: see :func:`effective_rank`.
        dimensions: of the embedding.
        relative_sd: spread of the embedding over the root mean square of its size.
        sd_median: median over dimensions of their standard deviation.
        sd_least: the least.
        dead_dimensions: how many do not vary at all.
    """

    verdict: Verdict
    not_finite: int
    commonest_share: float | None = None
    commonest_answer: int | None = None
    prior: float | None = None
    equals_prior: bool | None = None
    accuracy: float | None = None
    effective_rank: float | None = None
    dimensions: int | None = None
    relative_sd: float | None = None
    sd_median: float | None = None
    sd_least: float | None = None
    dead_dimensions: int | None = None

    @property
    def collapsed(self) -> bool:
        """Anything but healthy."""
        return self.verdict != "healthy"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        """One sentence."""
        if self.verdict == "not finite":
            return f"not finite: {self.not_finite} numbers are NaN or infinite."
        said = [self.verdict]
        if self.commonest_share is not None:
            said.append(f"{self.commonest_share:.1%} of answers are class {self.commonest_answer}")
        if self.equals_prior:
            said.append(f"accuracy equals the share of that class, {self.prior:.2%}")
        if self.effective_rank is not None:
            said.append(f"effective rank {self.effective_rank:.1f} of {self.dimensions}")
            said.append(f"relative spread {self.relative_sd:.2g}")
        return said[0] + (": " + ", ".join(said[1:]) if len(said) > 1 else "") + "."


@torch.no_grad()
def diagnose(
    *,
    logits: Tensor | None = None,
    labels: Tensor | None = None,
    embedding: Tensor | None = None,
    loss: Tensor | float | None = None,
) -> Collapse:
    """Look for collapse.

    Args:
        logits: (sweep, class) scores.
        labels: (sweep,) the truth, to compare with the prior.
        embedding: (sweep, dimension), of many more sweeps than the rank to be found.
        loss: the training loss.

    Raises:
        InputError: nothing to look at, or shapes that do not fit.
    """
    looked_at = [wide(torch.as_tensor(v)) for v in (logits, embedding, loss) if v is not None]
    if not looked_at:
        raise refuse("diagnose", None, "nothing to look at", "give logits, an embedding or a loss")
    for name, value in (("logits", logits), ("embedding", embedding)):
        if value is not None and (value.ndim != 2 or not value.numel()):
            raise refuse(name, tuple(value.shape), "not (sweep, number)", "give two axes")
    if labels is not None and (logits is None or labels.shape != logits.shape[:1]):
        raise refuse("labels", tuple(labels.shape), "do not fit the logits", "give one per row")
    numbers: dict[str, Any] = {"not_finite": sum(int((~v.isfinite()).sum()) for v in looked_at)}
    if numbers["not_finite"]:
        return Collapse(verdict="not finite", **numbers)
    if logits is not None:
        numbers |= _answers(logits, labels)
    if embedding is not None:
        numbers |= _embedding(wide(embedding))
    return Collapse(verdict=_verdict(numbers), **numbers)


def _verdict(numbers: dict[str, Any]) -> Verdict:
    share = numbers.get("commonest_share")
    if share is not None and share >= NEARLY:
        return "constant answer" if share == 1.0 else "nearly constant answer"
    if numbers.get("relative_sd", 1.0) < LEAST_RELATIVE_SD:
        return "constant embedding"
    if numbers.get("dimensions", 0) > 1 and numbers["effective_rank"] < LEAST_RANK:
        return "low-rank embedding"
    return "healthy"


def _answers(logits: Tensor, labels: Tensor | None) -> dict[str, Any]:
    answer = logits.argmax(dim=1)
    counts = torch.bincount(answer)
    commonest = int(counts.argmax())
    found: dict[str, Any] = {
        "commonest_answer": commonest,
        "commonest_share": int(counts.max()) / len(answer),
    }
    if labels is not None:
        hits, of_class = int((answer == labels).sum()), int((labels == commonest).sum())
        found["accuracy"], found["prior"] = hits / len(answer), of_class / len(answer)
        found["equals_prior"] = hits == of_class
    return found


def _embedding(embedding: Tensor) -> dict[str, Any]:
    sd = embedding.std(dim=0, correction=0)
    size = embedding.square().sum(dim=1).mean().sqrt()
    spread = sd.square().sum().sqrt()
    return {
        "effective_rank": effective_rank(embedding),
        "dimensions": embedding.shape[1],
        "relative_sd": float(spread / size) if float(size) > 0.0 else 0.0,
        "sd_median": float(sd.median()),
        "sd_least": float(sd.min()),
        "dead_dimensions": int((sd <= 1e-7 * size).sum()),
    }


def effective_rank(embedding: Tensor, *, centre: bool = True) -> float:
    """RankMe: exp of the entropy of the singular values, as shares of their sum.

    Between 1 and min(sweep, dimension); 0 for an embedding that is zero throughout.

    Args:
        embedding: (sweep, dimension).
        centre: take the mean over sweeps away first, so that a constant embedding has rank 0 and
            not 1; False is the published definition.

    Reference:
        Garrido et al. 2023, arXiv 2210.02885, equation 1.
    """
    values = embedding.detach().double()
    size = float(values.abs().max())
    if centre:
        values = values - values.mean(dim=0)
    singular = torch.linalg.svdvals(values)
    if float(singular.max()) <= 1e-6 * size:  # rounding, in single precision
        return 0.0
    share = singular / singular.sum() + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))
