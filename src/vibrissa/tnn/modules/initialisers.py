"""How weights are drawn: initialisers of torch by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from vibrissa.core.errors import refuse, refuse_unknown

INITIALISERS: Final[Mapping[str, Callable[..., Any]]] = {
    "constant": nn.init.constant_,
    "dirac": nn.init.dirac_,
    "kaiming_normal": nn.init.kaiming_normal_,
    "kaiming_uniform": nn.init.kaiming_uniform_,
    "normal": nn.init.normal_,
    "orthogonal": nn.init.orthogonal_,
    "trunc_normal": nn.init.trunc_normal_,
    "uniform": nn.init.uniform_,
    "xavier_normal": nn.init.xavier_normal_,
    "xavier_uniform": nn.init.xavier_uniform_,
    "zeros": nn.init.zeros_,
}
"""Name -> the function of ``torch.nn.init``."""


@dataclass(frozen=True, kw_only=True)
class Init:
    """An initialiser of weights.

    Attributes:
        name: one of :data:`INITIALISERS`.
        options: its own arguments, for instance ``{"std": 0.01}``.
    """

    name: str
    options: Mapping[str, float | str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.name not in INITIALISERS:
            raise refuse_unknown("init.name", self.name, INITIALISERS)
        arguments = list(inspect.signature(INITIALISERS[self.name]).parameters)[1:]
        known = [name for name in arguments if name != "generator"]
        for name, value in self.options.items():
            if name not in known:
                raise refuse_unknown(f"init.options of {self.name}", name, known)
            if not isinstance(value, int | float | str):
                raise refuse(f"init.options.{name}", value, "not a number or a name", "give one")
        if self.name == "constant" and "val" not in self.options:
            raise refuse("init.options", dict(self.options), "val is missing", "give val")
        object.__setattr__(self, "options", dict(self.options))

    def fill(self, weight: Tensor) -> None:
        """Draw a weight in place."""
        INITIALISERS[self.name](weight, **self.options)


def draw(
    shape: tuple[int, ...],
    *,
    init: Init | None = None,
    bias: float | None = None,
    use_bias: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Draw the weight and the bias of a convolution or of a matrix product.

    Without options these are torch's defaults, drawn in torch's order: weight and bias uniform
    within ``1 / sqrt(fan_in)``, where ``fan_in`` is the product of all sizes but the first. So with
    the same seed they are the numbers of ``torch.nn.Conv2d`` or ``torch.nn.Linear``.

    Args:
        shape: shape of the weight, output width first.
        init: how the weight is drawn instead.
        bias: constant start of the bias instead.
        use_bias: false: there is no bias.

    Returns:
        weight, and bias ``(shape[0],)`` or none; neither requires gradients yet.
    """
    weight = torch.empty(shape)
    bound = torch.Size(shape[1:]).numel() ** -0.5
    with torch.no_grad():
        if init is None:
            nn.init.kaiming_uniform_(weight, a=5**0.5)  # uniform within the bound above
        else:
            init.fill(weight)
        if not use_bias:
            return weight, None
        start = torch.empty(shape[0])
        if bias is None:
            nn.init.uniform_(start, -bound, bound)
        else:
            nn.init.constant_(start, bias)
    return weight, start
