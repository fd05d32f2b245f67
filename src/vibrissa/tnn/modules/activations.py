"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from vibrissa.core.registry import Registry

ActivationFunction: TypeAlias = Callable[[Tensor], Tensor]


def identity(x: Tensor) -> Tensor:
    """The input itself."""
    return x


activations: Final[Registry[ActivationFunction]] = Registry("activation_functions")
"""Name -> a function of one tensor, element by element."""

for _name, _function in {
    "elu": F.elu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "identity": identity,
    "leaky_relu": F.leaky_relu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
}.items():
    activations.register(_name)(_function)


def activation(name: str | None) -> ActivationFunction:
    """The function of this name; none is the identity.

    Raises:
        InputError: no such name.
    """
    return identity if name is None else activations.get(name)
