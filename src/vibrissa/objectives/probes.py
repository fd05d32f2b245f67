"""Probes: how well classes can be read from features of a frozen model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vibrissa.core.errors import refuse
from vibrissa.core.registry import Registry
from vibrissa.core.seeds import integer_seed
from vibrissa.objectives.base import check_positive
from vibrissa.objectives.intervals import bootstrap_over_groups, wilson
from vibrissa.objectives.similarity import direction


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """How well a probe read the classes of the test sweeps.

    Attributes:
        probe: its registered name.
        top1: share of test sweeps whose class comes first.
        top5: share whose class is among the first five; None of five classes or fewer.
        top1_interval: 95 % interval: over groups where they were given, else Wilson's.
        top5_interval: the same.
        interval: ``bootstrap over groups`` or ``wilson``.
        chance: share of the commonest class of the test sweeps.
        n_train: sweeps that the probe learned from.
        n_test: sweeps that it was tested on.
        n_classes: how many classes it told apart.
        scores: (test sweep, class) float32.
        prediction: (test sweep,) int64.
    """

    probe: str
    top1: float
    top5: float | None
    top1_interval: tuple[float, float]
    top5_interval: tuple[float, float] | None
    interval: Literal["wilson", "bootstrap over groups"]
    chance: float
    n_train: int
    n_test: int
    n_classes: int
    scores: np.ndarray
    prediction: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain JSON types, without the scores of single sweeps; top-5 only where
        there is one."""
        left_out = ("scores", "prediction")
        kept = {k: v for k, v in vars(self).items() if k not in left_out and v is not None}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}


class FittedProbe(Protocol):
    """What a probe learned."""

    def __call__(self, features: Tensor) -> Tensor:
        """(sweep, feature) float32 -> scores (sweep, class)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """A way to read classes from features. Equal features and seed give equal answers on CPU."""

    @abstractmethod
    def fit(self, features: Tensor, labels: Tensor, n_classes: int) -> FittedProbe:
        """Learn from (sweep, feature) float32 and (sweep,) int64, on any device."""

    def evaluate(
        self,
        features_train: npt.ArrayLike | Tensor,
        labels_train: npt.ArrayLike | Tensor,
        features_test: npt.ArrayLike | Tensor,
        labels_test: npt.ArrayLike | Tensor,
        *,
        groups: npt.ArrayLike | None = None,
        n_classes: int | None = None,
    ) -> ProbeResult:
        """Learn from some sweeps and be tested on others.

        May be called in the middle of a training: it draws from no global generator.

        Args:
            features_train: (sweep, feature).
            labels_train: (sweep,) from 0.
            features_test: (sweep, feature).
            labels_test: (sweep,).
            groups: (test sweep,) which of them belong together, as a rule the object, for the
                interval.
            n_classes: how many there are; by default one more than the highest label.

        Raises:
            InputError: shapes that do not fit, features that are not finite, labels out of range.
        """
        x, y = _checked("train", features_train, labels_train)
        x_test, y_test = _checked("test", features_test, labels_test)
        if x.shape[1] != x_test.shape[1]:
            raise refuse(
                "features_test", tuple(x_test.shape), f"training has {x.shape[1]} features",
                "take both from the same model",
            )  # fmt: skip
        highest = int(max(y.max(), y_test.max()))
        classes = highest + 1 if n_classes is None else n_classes
        if highest >= classes or classes < 2:
            raise refuse("n_classes", classes, f"the highest label is {highest}", "give more")
        fitted = self.fit(x, y, classes)
        scores = fitted(x_test).float().cpu().numpy()
        truth = y_test.cpu().numpy()
        # Of equal scores the lower class comes first, everywhere.
        ranked = np.argsort(-scores, axis=1, kind="stable")[:, : min(5, classes)]
        hit = ranked == truth[:, None]
        first, five = hit[:, 0], hit.any(axis=1)
        return ProbeResult(
            probe=probe_kinds.name_of(self),
            top1=float(first.mean()),
            top5=float(five.mean()) if classes > 5 else None,
            top1_interval=_interval(first, groups),
            top5_interval=_interval(five, groups) if classes > 5 else None,
            interval="wilson" if groups is None else "bootstrap over groups",
            chance=float(np.bincount(truth).max() / len(truth)),
            n_train=len(x),
            n_test=len(truth),
            n_classes=classes,
            scores=scores,
            prediction=ranked[:, 0].astype(np.int64),
        )


probe_kinds: Final[Registry[type[Probe]]] = Registry("probes")
"""Name -> a configuration class of probes."""


@probe_kinds.register("linear")
@dataclass(frozen=True, kw_only=True)
class LinearProbe(Probe):
    """Multinomial logistic regression on standardised features, solved to the end by L-BFGS.

    Minimises the mean cross-entropy + penalty / 2 * |weights|^2 (biases are free) in double
    precision. The problem is convex: the answer depends on nothing but the data.

    Attributes:
        penalty: of the weights; 0 has a solution only where classes overlap.
        max_iterations: of L-BFGS.
    """

    penalty: float = 1e-3
    max_iterations: int = 500

    def __post_init__(self) -> None:
        check_positive(penalty=self.penalty, max_iterations=self.max_iterations)

    def fit(self, features: Tensor, labels: Tensor, n_classes: int) -> FittedProbe:
        from scipy.optimize import minimize

        x = features.double()
        mean, sd = x.mean(dim=0), x.std(dim=0, correction=0)
        # A feature that is constant up to rounding says nothing; it must not be blown up.
        scale = torch.where(sd > 1e-6 * (x.abs().amax(dim=0) + 1e-30), 1.0 / sd, 0.0)
        x = (x - mean) * scale
        shape = (n_classes, x.shape[1] + 1)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            whole = torch.from_numpy(flat).to(x.device).view(shape)
            weight, bias = whole[:, :-1], whole[:, -1]
            log_p = torch.log_softmax(x @ weight.T + bias, dim=1)
            loss = F.nll_loss(log_p, labels) + 0.5 * self.penalty * weight.square().sum()
            error = log_p.exp()
            error[torch.arange(len(x), device=x.device), labels] -= 1.0
            error /= len(x)
            slope = torch.cat([error.T @ x + self.penalty * weight, error.sum(0)[:, None]], dim=1)
            return float(loss), slope.flatten().cpu().numpy()

        start = np.zeros(shape[0] * shape[1])
        options = {"maxiter": self.max_iterations, "ftol": 1e-12, "gtol": 1e-7}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        whole = torch.from_numpy(found.x).to(x.device).view(shape)
        weight = whole[:, :-1] * scale
        bias = whole[:, -1] - weight @ mean
        return _Linear(weight, bias)


@probe_kinds.register("linear_sgd")
@dataclass(frozen=True, kw_only=True)
class LinearSGDProbe(Probe):
    """A linear layer by stochastic gradient descent, as published, on features computed once.

    The published one ran the encoder in training mode and so moved its batch-norm statistics and
    kept its dropout; here the features are those of the frozen model. Its order and its start come
    from the seed.

    Attributes:
        rate: learning rate; tenfold less after every ``step`` epochs.
        step: see above.
        epochs: passes over the training sweeps.
        batch_size: of a step.
        momentum: of the descent.
        weight_decay: of weights and biases.
        standardise: bring every feature to mean 0 and standard deviation 1 first (not published).
        seed: see above.
    """

    rate: float = 0.1
    step: int = 30
    epochs: int = 100
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 1e-4
    standardise: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(
            rate=self.rate, step=self.step, epochs=self.epochs, batch_size=self.batch_size
        )

    def fit(self, features: Tensor, labels: Tensor, n_classes: int) -> FittedProbe:
        dice = torch.Generator().manual_seed(integer_seed(self.seed, "linear_sgd probe"))
        mean, scale = torch.zeros_like(features[0]), torch.ones_like(features[0])
        if self.standardise:
            mean, sd = features.mean(dim=0), features.std(dim=0, correction=0)
            scale = torch.where(sd > 1e-6, 1.0 / sd, 0.0)
        x = (features - mean) * scale
        edge = 1.0 / x.shape[1] ** 0.5  # as nn.Linear draws
        weight = torch.empty(n_classes, x.shape[1]).uniform_(-edge, edge, generator=dice)
        bias = torch.empty(n_classes).uniform_(-edge, edge, generator=dice)
        parameters = [nn.Parameter(value.to(x.device)) for value in (weight, bias)]
        descent = torch.optim.SGD(
            parameters, self.rate, momentum=self.momentum, weight_decay=self.weight_decay
        )
        with torch.enable_grad():
            for epoch in range(self.epochs):
                for group in descent.param_groups:
                    group["lr"] = self.rate * 0.1 ** (epoch // self.step)
                order = torch.randperm(len(x), generator=dice).to(x.device)
                for chosen in order.split(self.batch_size):
                    loss = F.cross_entropy(F.linear(x[chosen], *parameters), labels[chosen])
                    descent.zero_grad()
                    loss.backward()
                    descent.step()
        weight, bias = (value.detach().double() for value in parameters)
        weight = weight * scale
        return _Linear(weight, bias - weight @ mean.double())


@probe_kinds.register("knn")
@dataclass(frozen=True, kw_only=True)
class KNNProbe(Probe):
    """The k nearest training sweeps vote, each with weight exp(cosine / temperature).

    Attributes:
        k: how many; all if there are fewer.
        temperature: of the votes.

    Reference:
        Wu et al. 2018, arXiv 1805.01978, section 3.4 (k = 200, temperature 0.07).
    """

    k: int = 200
    temperature: float = 0.07

    def __post_init__(self) -> None:
        check_positive(k=self.k, temperature=self.temperature)

    def fit(self, features: Tensor, labels: Tensor, n_classes: int) -> FittedProbe:
        return _Neighbours(self, direction(features), labels, n_classes)


@dataclass(frozen=True)
class _Linear:
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return F.linear(features.double(), self.weight, self.bias)


@dataclass(frozen=True)
class _Neighbours:
    config: KNNProbe
    known: Tensor
    labels: Tensor
    n_classes: int

    def __call__(self, features: Tensor) -> Tensor:
        k = min(self.config.k, len(self.known))
        scores = []
        for block in direction(features).split(1024):
            cosine, nearest = (block @ self.known.T).topk(k, dim=1)
            vote = ((cosine - 1.0) / self.config.temperature).exp()  # the same up to a factor
            votes = torch.zeros(len(block), self.n_classes, device=block.device)
            scores.append(votes.scatter_add_(1, self.labels[nearest], vote))
        return torch.cat(scores)


def _checked(
    part: str, features: npt.ArrayLike | Tensor, labels: npt.ArrayLike | Tensor
) -> tuple[Tensor, Tensor]:
    x, y = torch.as_tensor(features).detach().float(), torch.as_tensor(labels).detach()
    if x.ndim != 2 or not len(x):
        raise refuse(f"features_{part}", tuple(x.shape), "not (sweep, feature)", "pool the steps")
    if y.shape != x.shape[:1] or y.dtype.is_floating_point:
        raise refuse(
            f"labels_{part}", (tuple(y.shape), y.dtype), f"there are {len(x)} sweeps",
            "give one whole number for each",
        )  # fmt: skip
    if not bool(x.isfinite().all()):
        count = int((~x.isfinite().all(dim=1)).sum())
        raise refuse(
            f"features_{part}", f"{count} of {len(x)} sweeps", "not finite",
            "the model has diverged: probe an earlier checkpoint",
        )  # fmt: skip
    if int(y.min()) < 0:
        raise refuse(f"labels_{part}", int(y.min()), "negative", "number the classes from 0")
    return x, y.long().to(x.device)


def _interval(hit: np.ndarray, groups: npt.ArrayLike | None) -> tuple[float, float]:
    if groups is None:
        return wilson(int(hit.sum()), len(hit))
    return bootstrap_over_groups(hit, groups)
