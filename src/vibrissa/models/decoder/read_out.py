"""Read-outs of the last step, of all steps or of chosen ones: linear, perceptron, or none.

Reference: Chung et al. 2025, arXiv 2505.18361: linear on the last step after an attender and in
probes; a perceptron 1024-512 on the last step of ConvRNNs without attender, on all steps of the
ResNet without attender.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F

from vibrissa.core.errors import refuse
from vibrissa.models.parts import Decoder, DecoderConfig, Steps, Tap, decoders, fraction, positive

Chosen: TypeAlias = Literal["last", "all"] | tuple[int, ...]
"""``last``, ``all``, or steps from 0; negative ones count from the end."""


@dataclass(frozen=True, kw_only=True)
class ReadOut(DecoderConfig):
    """What the read-outs have in common.

    Attributes:
        steps: which steps are read; their features are concatenated in order of time.
    """

    steps: Chosen = "last"

    def __post_init__(self) -> None:
        if isinstance(self.steps, str):
            if self.steps not in ("last", "all"):
                raise refuse("steps", self.steps, "unknown", "choose last, all, or give steps")
        elif not self.steps or not all(
            isinstance(t, int) and not isinstance(t, bool) for t in self.steps
        ):
            raise refuse("steps", self.steps, "not whole numbers", "give steps as [5, 10, 21]")

    def resolve(self, n_steps: int) -> Steps:
        """The steps of a sequence of this length, ascending.

        Raises:
            InputError: a step beyond it, or one twice.
        """
        if self.steps == "last":
            return (n_steps - 1,)
        if self.steps == "all":
            return tuple(range(n_steps))
        chosen = []
        for t in self.steps:
            assert isinstance(t, int)
            if not -n_steps <= t < n_steps:
                raise refuse(
                    "steps", t, f"the sequence has {n_steps} steps",
                    f"choose from 0 to {n_steps - 1}",
                )  # fmt: skip
            chosen.append(t % n_steps)
        if len(set(chosen)) < len(chosen):
            raise refuse("steps", self.steps, "a step stands twice", "leave one out")
        return tuple(sorted(chosen))


@decoders.register("linear")
@dataclass(frozen=True, kw_only=True)
class Linear(ReadOut):
    """One matrix product."""

    def build(self, n_features: int, n_steps: int, n_classes: int | None) -> Perceptron:
        return Perceptron(self.resolve(n_steps), n_features, (), n_classes, 0.0, "linear")


@decoders.register("mlp")
@dataclass(frozen=True, kw_only=True)
class MLP(ReadOut):
    """A perceptron with ReLU between its layers.

    Attributes:
        hidden: widths of the layers between features and scores.
        dropout: fraction of features and hidden units left out in training.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (24, 16)},
        "small": {"hidden": (256, 128)},
    }

    hidden: tuple[int, ...] = (1024, 512)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(**{f"hidden[{k}]": width for k, width in enumerate(self.hidden)})
        fraction(dropout=self.dropout)

    def build(self, n_features: int, n_steps: int, n_classes: int | None) -> Perceptron:
        return Perceptron(
            self.resolve(n_steps), n_features, self.hidden, n_classes, self.dropout, "mlp"
        )


@decoders.register("none")
@dataclass(frozen=True, kw_only=True)
class NoDecoder(DecoderConfig):
    """The features of the last step, as self-supervised objectives read them."""

    def build(self, n_features: int, n_steps: int, n_classes: int | None) -> LastFeatures:
        return LastFeatures((n_steps - 1,), None)


class Perceptron(Decoder):
    """See :class:`Linear` and :class:`MLP`; parameters ``layer.<k>.weight``, ``.bias``."""

    def __init__(
        self,
        steps: Steps,
        n_features: int,
        hidden: tuple[int, ...],
        n_classes: int | None,
        dropout: float,
        name: str,
    ) -> None:
        if n_classes is None:
            raise refuse(
                "n_classes", None, "the decoder gives a score per class",
                "say how many there are, or choose decoder none",
            )  # fmt: skip
        positive(n_classes=n_classes)
        super().__init__(steps, n_classes)
        widths = (len(steps) * n_features, *hidden, n_classes)
        self.dropout = dropout
        self.layer = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self._names = tuple(
            f"{name}.l{k}" if hidden else name for k in range(len(self.layer))
        )  # fmt: skip

    def layers(self) -> tuple[str, ...]:
        return self._names

    def read_out(self, x: Tensor, *, tap: Tap | None = None) -> Tensor:
        x = x.flatten(1)
        for k, layer in enumerate(self.layer):
            x = layer(F.dropout(x, self.dropout, self.training))
            if k + 1 < len(self.layer):
                x = F.relu(x)
            if tap is not None:
                tap(self._names[k], x[:, None])
        return x

    @property
    def multiply_adds(self) -> int:
        return sum(
            layer.in_features * layer.out_features
            for layer in self.layer
            if isinstance(layer, nn.Linear)
        )


class LastFeatures(Decoder):
    """See :class:`NoDecoder`."""

    def read_out(self, x: Tensor, *, tap: Tap | None = None) -> Tensor:
        return x[:, -1]

    @property
    def multiply_adds(self) -> int:
        return 0
