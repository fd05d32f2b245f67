"""Optimisers by name: what makes steps of gradients."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.optim import Optimizer

from vibrissa.core.errors import refuse
from vibrissa.core.registry import Registry
from vibrissa.train.lars import LARS

_NORMS: Final = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True, kw_only=True)
class OptimiserConfig(ABC):
    """What every optimiser has.

    Attributes:
        lr: the rate that schedules scale.
        weight_decay: pull towards zero, per step and rate.
        decay_all: biases and the gains of norms decay as well.

    Raises:
        InputError: numbers out of range.
    """

    lr: float
    weight_decay: float = 1e-4
    decay_all: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise refuse("lr", self.lr, "not a positive number", "give one, for instance 0.001")
        not_negative("weight_decay", self.weight_decay)

    @abstractmethod
    def build(self, modules: Iterable[nn.Module]) -> Optimizer:
        """The optimiser of all parameters of these modules that take gradients."""

    def groups(self, modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
        """Parameter groups: all in one, or biases and gains apart and without decay."""
        matrices, vectors = split_parameters(modules)
        if self.decay_all:
            everything = [p for module in modules for p in module.parameters() if p.requires_grad]
            return [{"params": everything, "weight_decay": self.weight_decay}]
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]


optimisers: Final[Registry[type[OptimiserConfig]]] = Registry("optimisers")
"""Name -> a configuration class of optimisers."""


def split_parameters(modules: Iterable[nn.Module]) -> tuple[list[Any], list[Any]]:
    """Parameters that take gradients: weights; and biases, scalars and all that norms have."""
    weights, others = [], []
    seen: set[int] = set()
    for root in modules:
        for module in root.modules():
            norm = isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()
            for parameter in module.parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    (others if norm or parameter.ndim <= 1 else weights).append(parameter)
    return weights, others


def not_negative(name: str, value: float) -> None:
    """Refuse a negative or infinite number."""
    if not (math.isfinite(value) and value >= 0):
        raise refuse(name, value, "not a finite number of at least 0", "give 0 or more")


def share(name: str, value: float) -> None:
    """Refuse what is not in [0, 1)."""
    if not 0 <= value < 1:
        raise refuse(name, value, "not in [0, 1)", "give 0 or more, but less than 1")


@optimisers.register("sgd")
@dataclass(frozen=True, kw_only=True)
class SGD(OptimiserConfig):
    """Stochastic gradient descent.

    Attributes:
        momentum: share of the velocity that lasts.
        nesterov: look ahead along the velocity.
    """

    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        share("momentum", self.momentum)
        if self.nesterov and self.momentum == 0:
            raise refuse("nesterov", True, "there is no momentum", "give momentum, or leave it out")

    def build(self, modules: Iterable[nn.Module]) -> Optimizer:
        return torch.optim.SGD(
            self.groups(list(modules)), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov
        )


@dataclass(frozen=True, kw_only=True)
class _Moments(OptimiserConfig):
    """Running means of gradient and squared gradient.

    Attributes:
        beta1, beta2: their decay per step.
        eps: added to the root of the second.
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        share("beta1", self.beta1)
        share("beta2", self.beta2)
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise refuse("eps", self.eps, "not a positive number", "give one, for instance 1.0e-8")

    @property
    def betas(self) -> tuple[float, float]:
        return self.beta1, self.beta2


@optimisers.register("adam")
@dataclass(frozen=True, kw_only=True)
class Adam(_Moments):
    """Adam; weight decay is part of the gradient (Kingma and Ba 2015, arXiv 1412.6980)."""

    def build(self, modules: Iterable[nn.Module]) -> Optimizer:
        groups = self.groups(list(modules))
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps)


@optimisers.register("adamw")
@dataclass(frozen=True, kw_only=True)
class AdamW(_Moments):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    def build(self, modules: Iterable[nn.Module]) -> Optimizer:
        groups = self.groups(list(modules))
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps)


@optimisers.register("lars")
@dataclass(frozen=True, kw_only=True)
class Lars(OptimiserConfig):
    """Layer-wise adaptive rates, see :class:`vibrissa.train.lars.LARS`.

    By default biases and norms neither adapt nor decay. The published runs adapt and decay every
    tensor, and a bias that begins at zero stays there: ``adapt_all=True, decay_all=True,
    zero_moves=False``.

    Attributes:
        momentum: share of the velocity that lasts.
        eta: trust coefficient.
        adapt_all: biases and norms have rates of their own as well.
        zero_moves: zero tensors take the local rate 1.
    """

    lr: float = 0.1
    decay_all: bool = False
    momentum: float = 0.9
    eta: float = 1e-3
    adapt_all: bool = False
    zero_moves: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        share("momentum", self.momentum)
        if not (math.isfinite(self.eta) and self.eta > 0):
            raise refuse("eta", self.eta, "not a positive number", "give one, for instance 0.001")

    def groups(self, modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
        weights, others = split_parameters(modules)
        groups = [
            {"params": weights, "weight_decay": self.weight_decay, "adapt": True},
            {
                "params": others,
                "weight_decay": self.weight_decay if self.decay_all else 0.0,
                "adapt": self.adapt_all,
            },
        ]
        return [group for group in groups if group["params"]]

    def build(self, modules: Iterable[nn.Module]) -> Optimizer:
        return LARS(
            self.groups(list(modules)), self.lr, momentum=self.momentum, eta=self.eta,
            zero_moves=self.zero_moves,
        )  # fmt: skip
