"""Instance discrimination: every sweep is a class of its own, remembered in a bank."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vibrissa.core.errors import refuse
from vibrissa.objectives.base import (
    Model,
    Objective,
    ObjectiveConfig,
    ObjectiveResult,
    Pool,
    check_pool,
    check_positive,
    objectives,
    pooled_features,
)
from vibrissa.objectives.distributed import cross_entropy_of_all, gathered, n_processes, sizes
from vibrissa.objectives.similarity import direction, products


@objectives.register("instance_discrimination")
@dataclass(frozen=True, kw_only=True)
class InstanceDiscriminationConfig(ObjectiveConfig):
    """Non-parametric instance discrimination (Wu et al. 2018, arXiv 1805.01978).

    Head: one linear layer to a direction v. The bank holds a direction for every sweep that was
    trained on; P(i | v) = exp(v . bank_i / T) / sum_j exp(v . bank_j / T) (equation 2), j over
    the sweeps seen so far. After each training step the rows of the batch move towards what was
    found, bank_i <- direction(momentum * bank_i + (1 - momentum) * v).

    Attributes:
        dimension: of the embedding.
        temperature: T.
        momentum: of the bank.
        negatives: None for the full softmax over the bank (exact; right up to some 100,000
            sweeps), or how many rows are drawn for noise-contrastive estimation (equations 6, 7),
            with the constant of normalisation estimated from the first batch (equation 8).
        pool: which features: those of the ``last`` step or the ``mean`` over steps.
    """

    dimension: int = 128
    temperature: float = 0.07
    momentum: float = 0.5
    negatives: int | None = None
    pool: Pool = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(dimension=self.dimension, temperature=self.temperature)
        if not 0.0 <= self.momentum < 1.0:
            raise refuse("momentum", self.momentum, "not in [0, 1)", "give 0.5")
        if self.negatives is not None:
            check_positive(negatives=self.negatives)
        check_pool(self.pool)

    def build(
        self,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
        input_shape: tuple[int, int, int, int],
        n_samples: int,
    ) -> InstanceDiscrimination:
        if n_samples < 2:
            raise refuse("n_samples", n_samples, "nothing to tell apart", "give 2 or more")
        return InstanceDiscrimination(self, n_features, n_samples)


class InstanceDiscrimination(Objective):
    """See :class:`InstanceDiscriminationConfig`.

    In training one view of each sweep is told from the bank. In eval mode the sweep, which need
    not have been trained on, is told by a view of it: its own clean embedding takes the place of
    its row, the other rows are the bank's, and nothing is remembered.

    Metrics: ``loss``; ``top1``, share of views nearest to their own row (full softmax only).

    Buffers: ``bank`` (sweep, dimension), directions; ``seen`` (sweep,) bool; ``log_z`` and
    whether it is known.

    Args:
        config: see there.
        n_features: width of the features.
        n_samples: rows of the bank; the index of a batch counts them.
    """

    bank: Tensor
    seen: Tensor
    log_z: Tensor
    log_z_known: Tensor

    def __init__(
        self, config: InstanceDiscriminationConfig, n_features: int, n_samples: int
    ) -> None:
        super().__init__()
        self.config, self.augmentation = config, config.augmentation
        self.neck = nn.Linear(n_features, config.dimension)
        edge = 1.0 / sqrt(config.dimension / 3.0)
        start = torch.empty(n_samples, config.dimension).uniform_(-edge, edge)
        self.register_buffer("bank", direction(start))
        self.register_buffer("seen", torch.zeros(n_samples, dtype=torch.bool))
        self.register_buffer("log_z", torch.tensor(0.0))
        self.register_buffer("log_z_known", torch.tensor(False))

    def forward(
        self,
        model: Model,
        x: Tensor,
        label: Tensor,
        index: Tensor,
        generator: torch.Generator,
    ) -> ObjectiveResult:
        on_cpu = index.device.type == "cpu"  # elsewhere it would have to be waited for
        if on_cpu and not (int(index.min()) >= 0 and int(index.max()) < len(self.bank)):
            raise refuse(
                "index", int(index.max()), f"the bank has {len(self.bank)} rows",
                "build with n_samples of the whole store",
            )  # fmt: skip
        features = pooled_features(model, self.augmentation(x, generator), self.config.pool)
        view = direction(self.neck(features))
        counts = sizes(len(index), index.device)
        if self.training:
            everyone = gathered(index, counts)
            self.seen[everyone] = True
            own = self.bank[index].to(view.dtype)
            loss, found = self._loss(view, own, index, generator, sum(counts))
            self._remember(everyone, gathered(view.detach(), counts))
        else:
            with torch.no_grad():
                clean = pooled_features(model, x, self.config.pool)
                own = direction(self.neck(clean))
            loss, found = self._loss(view, own, index, generator, sum(counts))
        metrics = {"loss": loss.detach()} | ({} if found is None else {"top1": found})
        outputs = {"embedding": view.detach()[None], "features": features.detach()}
        return ObjectiveResult(loss=loss, metrics=metrics, outputs=outputs)

    def _loss(
        self, view: Tensor, own: Tensor, index: Tensor, generator: torch.Generator, total: int
    ) -> tuple[Tensor, Tensor | None]:
        scale = self.config.temperature
        positive = (view * own).sum(dim=1) / scale
        if self.config.negatives is not None:
            return self._estimated(view, positive, generator, total), None
        # A copy, since the bank is written to before the gradient is taken.
        scores = products(view, self.bank.to(view.dtype, copy=True)) / scale
        scores = scores.masked_fill(~self.seen, -torch.inf)
        # Rows in the order of the bank, their own one in its place.
        scores = scores.scatter(1, index[:, None], positive[:, None])
        found = (scores.detach().argmax(dim=1) == index).float().mean()
        return cross_entropy_of_all(scores, index, total), found

    def _estimated(
        self, view: Tensor, positive: Tensor, generator: torch.Generator, total: int
    ) -> Tensor:
        """Noise-contrastive estimation with noise spread evenly over the sweeps seen."""
        rows = torch.nonzero(self.seen)[:, 0]
        if not len(rows):
            raise refuse("bank", "empty", "nothing was trained on yet", "train before validating")
        n_drawn = self.config.negatives or 0
        drawn = torch.randint(
            len(rows), (len(view), n_drawn), generator=generator, device=generator.device
        ).to(rows.device)
        noise = self.bank[rows[drawn]].to(view.dtype)  # (batch, drawn, dimension)
        negative = (view[:, None] * noise).sum(dim=2) / self.config.temperature
        if self.training and not bool(self.log_z_known):
            # Z = n * mean of exp(v . bank / T) over the draws.
            log_mean = torch.logsumexp(negative.detach().flatten(), 0) - log(negative.numel())
            log_z = log_mean + log(len(rows))
            if n_processes() > 1:
                one = log_z.new_ones(1, 1)
                log_z = gathered(log_z * one, [1] * n_processes()).mean()
            self.log_z.copy_(log_z)
            self.log_z_known.fill_(True)
        log_z = self.log_z.to(view.dtype)
        # Posterior that a row is the sweep's own: P / (P + m / n), with P = exp(s) / Z.
        noise_rate = log(n_drawn) - log(len(rows))
        own_odds, noise_odds = positive - log_z - noise_rate, negative - log_z - noise_rate
        each = -F.logsigmoid(own_odds) - F.logsigmoid(-noise_odds).sum(dim=1)
        return each.sum() * (n_processes() / total)

    @torch.no_grad()
    def _remember(self, index: Tensor, found: Tensor) -> None:
        """Move the rows of a batch; a sweep that comes twice counts once, with its mean."""
        rows, place = index.unique(return_inverse=True)
        mean = found.new_zeros(len(rows), found.shape[1]).index_add_(0, place, found)
        old, share = self.bank[rows].to(mean.dtype), self.config.momentum
        moved = direction(share * old + (1.0 - share) * direction(mean))
        self.bank[rows] = moved.to(self.bank.dtype)
