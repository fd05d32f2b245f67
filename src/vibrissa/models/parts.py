"""What encoders, attenders and decoders have in common, and their registries.

An encoder maps (batch, step, channel, row, column) to (batch, step, feature), an attender features
to features, a decoder features to class scores. Each is a frozen configuration that builds its
module from plain shapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.registry import Registry

InputShape: TypeAlias = tuple[int, int, int, int]
"""(step, channel, row, column) of one sample."""

Steps: TypeAlias = tuple[int, ...]
"""Ascending steps, from 0."""

Size: TypeAlias = Literal["tiny", "small", "published"]

SIZES: Final[tuple[Size, ...]] = ("tiny", "small", "published")
"""``published``: widths of the publication; ``small``: for a laptop; ``tiny``: for tests."""

INPUT_SHAPE: Final[InputShape] = (22, 30, 5, 7)
"""Of the published models: 22 steps of 5 sub-frames with 6 forces and moments, 5 x 7 whiskers."""

T = TypeVar("T")

OWN: Final = "own"
"""Name in files of a part from outside; see :mod:`vibrissa.models.own`."""


class Parts(Registry[T]):
    """A family of parts; that for parts from outside, which needs to be told which, is not listed
    among the names."""

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in super().names() if name != OWN)


encoders: Final[Parts[type[EncoderConfig]]] = Parts("encoders")
"""Name -> a configuration class of encoders."""

attenders: Final[Parts[type[AttenderConfig]]] = Parts("attenders")
"""Name -> a configuration class of attenders."""

decoders: Final[Parts[type[DecoderConfig]]] = Parts("decoders")
"""Name -> a configuration class of decoders."""

P = TypeVar("P", bound="PartConfig")


class Tap:
    """Takes the values of layers by name while they are computed.

    Args:
        wanted: the layers to keep.
        dtype: to keep them in.
    """

    def __init__(self, wanted: Iterable[str], dtype: torch.dtype) -> None:
        self.wanted = frozenset(wanted)
        self.found: dict[str, Tensor] = {}
        self._dtype = dtype

    def __call__(self, layer: str, values: Tensor) -> None:
        """Keep the values (batch, step, \\*unit axes) of a layer, if they are wanted."""
        if layer in self.wanted:
            self.found[layer] = values.to(self._dtype)


@dataclass(frozen=True, kw_only=True)
class PartConfig(ABC):  # noqa: B024  (the families below say what to build from)
    """Configuration of a part; its defaults are those of the publication."""

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Size -> the options in which it differs from the defaults."""

    @classmethod
    def of_size(cls: type[P], size: str) -> P:
        """The configuration of a size; the defaults where the part has no widths.

        Raises:
            InputError: no such size.
        """
        if size not in SIZES:
            raise refuse_unknown("size", size, SIZES)
        return replace(cls(), **cls.sizes.get(size, {}))


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(PartConfig):
    """Configuration of an encoder."""

    @abstractmethod
    def build(self, input_shape: InputShape) -> Encoder:
        """Make the module; draws its parameters and does nothing else.

        Args:
            input_shape: (step, channel, row, column) of one sample.

        Raises:
            InputError: the shape does not suit.
        """


@dataclass(frozen=True, kw_only=True)
class AttenderConfig(PartConfig):
    """Configuration of an attender."""

    @abstractmethod
    def build(self, n_features: int, n_steps: int) -> Attender:
        """Make the module; draws its parameters and does nothing else.

        Args:
            n_features: width of what the encoder gives at each step.
            n_steps: of the sequence.

        Raises:
            InputError: these do not suit.
        """


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(PartConfig):
    """Configuration of a decoder."""

    @abstractmethod
    def build(self, n_features: int, n_steps: int, n_classes: int | None) -> Decoder:
        """Make the module; draws its parameters and does nothing else.

        Args:
            n_features: width of a step's features.
            n_steps: of the sequence.
            n_classes: how many scores to give.

        Raises:
            InputError: these do not suit.
        """


class Part(nn.Module):
    """A module of a model whose layers can be recorded by name.

    Attributes:
        checkpoint: keep less for the backward pass and compute it again, where the part can.
    """

    checkpoint: bool = False

    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be recorded, in the order of computation."""
        return ()

    @property
    def multiply_adds(self) -> int | None:
        """Multiply-add pairs of convolutions, matrix products and scans, per sample and sequence;
        None if not known."""
        return None


class Encoder(Part, ABC):
    """Maps (batch, step, channel, row, column) to (batch, step, feature).

    Args:
        input_shape: (step, channel, row, column) of one sample.
        n_features: width of a step's features.
        causal: does a step depend on that step and earlier ones alone?
    """

    def __init__(self, input_shape: InputShape, n_features: int, *, causal: bool) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.n_steps = input_shape[0]
        self.n_features = n_features
        self.causal = causal

    @abstractmethod
    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        """Encode.

        Args:
            x: (batch, \\*input_shape).
            steps: which to give, all if omitted; what only others need may be left out.
            tap: called with the values of every layer at all steps.

        Returns:
            (batch, step, n_features).
        """

    def first_input_step(self, layer: str | None = None) -> int:
        """The first step at which a layer's value depends on the input.

        Args:
            layer: its name; None for the output.
        """
        return 0


class Attender(Part, ABC):
    """Maps (batch, step, feature) to (batch, step, feature').

    Args:
        n_steps: of the sequence.
        n_features: width of what it gives.
        causal: does a step depend on that step and earlier ones alone?
    """

    def __init__(self, n_steps: int, n_features: int, *, causal: bool) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.n_features = n_features
        self.causal = causal

    def needs(self, steps: Steps) -> Steps:
        """Steps of the input on which these steps of the output depend: 0, 1, ..."""
        return tuple(range(max(steps) + 1 if self.causal else self.n_steps))

    @abstractmethod
    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        """Attend.

        Args:
            x: (batch, step, feature), the steps that :meth:`needs` says, all if ``steps`` is None.
            steps: which to give, all if omitted; what only others need may be left out.
            tap: called with the values of every layer at all steps of ``x``.

        Returns:
            (batch, step, n_features).
        """


class Decoder(Part, ABC):
    """Maps (batch, step, feature) to (batch, class).

    Args:
        steps: the steps that it reads.
        n_classes: how many scores it gives; None if it gives features.
    """

    def __init__(self, steps: Steps, n_classes: int | None) -> None:
        super().__init__()
        self.steps = steps
        self.n_classes = n_classes

    def forward(self, features: Tensor) -> Tensor:
        """Decode features of all steps, (batch, step, feature)."""
        return self.read_out(features[:, list(self.steps)])

    @abstractmethod
    def read_out(self, x: Tensor, *, tap: Tap | None = None) -> Tensor:
        """Decode.

        Args:
            x: (batch, step, feature) at :attr:`steps` alone.
            tap: called with the values of every layer, (batch, 1, unit).

        Returns:
            (batch, class).
        """


def positive(**values: object) -> None:
    """Refuse what is not a whole number of 1 or more.

    Raises:
        InputError: named by the keyword.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise refuse(name, value, "not a whole number above 0", "give 1 or more")


def fraction(**values: object) -> None:
    """Refuse what is not a number from 0 to below 1.

    Raises:
        InputError: named by the keyword.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise refuse(name, value, "not a fraction", "give 0 or more, below 1")


def pick(x: Tensor, steps: Steps | None) -> Tensor:
    """The chosen steps of (batch, step, ...), without a copy where they are consecutive."""
    if steps is None or steps == tuple(range(x.shape[1])):
        return x
    if steps == tuple(range(steps[0], steps[-1] + 1)):
        return x[:, steps[0] : steps[-1] + 1]
    return x[:, list(steps)]
