"""No attender: the encoder's features as they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vibrissa.models.parts import Attender, AttenderConfig, Steps, Tap, attenders, pick


@attenders.register("none")
@dataclass(frozen=True, kw_only=True)
class NoAttender(AttenderConfig):
    """The encoder's features as they are."""

    def build(self, n_features: int, n_steps: int) -> Identity:
        return Identity(n_steps, n_features, causal=True)


class Identity(Attender):
    """See :class:`NoAttender`."""

    def needs(self, steps: Steps) -> Steps:
        return steps

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        return x if steps is None or x.shape[1] == len(steps) else pick(x, steps)

    @property
    def multiply_adds(self) -> int:
        return 0
