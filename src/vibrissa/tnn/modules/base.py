"""What memory modules have in common: the maps before and after a node's recurrent cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from vibrissa.core.registry import Registry
from vibrissa.tnn.modules.shapes import Shape, check_input

memory_modules: Final[Registry[type[MemoryConfig]]] = Registry("memory_modules")
"""Name -> a configuration class of memory modules."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(ABC):
    """Configuration of a memory module.

    Shapes are without the batch: ``(channels, height, width)`` or ``(features,)``.
    """

    @abstractmethod
    def output_shape(self, in_shape: Shape, *, residual: Shape | None = None) -> Shape:
        """Shape of the output, by formula.

        Args:
            in_shape: shape of the input.
            residual: shape of the node's harbor output, where the node offers it.

        Raises:
            InputError: the input does not suit; the text gives the numbers.
        """

    @abstractmethod
    def build(self, in_shape: Shape, *, residual: Shape | None = None) -> Memory:
        """Make the module; draws its parameters and does nothing else.

        Args:
            in_shape: shape of the input.
            residual: shape of the node's harbor output, where the node offers it.

        Raises:
            InputError: the input does not suit; the text gives the numbers.
        """

    @property
    @abstractmethod
    def foldable(self) -> bool:
        """May time and batch always be folded into one batch axis, with the same result?"""

    @property
    def uses_residual(self) -> bool:
        """Does it read the node's harbor output?"""
        return False


class Memory(nn.Module, ABC):
    """A map from one input to one output of a node, at one step.

    Args:
        in_shape: shape of the input, without the batch.
        out_shape: shape of the output, without the batch.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = out_shape

    @abstractmethod
    def forward(self, x: Tensor, *, residual: Tensor | None = None, t: int | None = None) -> Tensor:
        """Apply the module.

        Args:
            x: ``(batch, *in_shape)``.
            residual: the node's harbor output, for modules that add it.
            t: the step, counted from 0; modules that differ from step to step need it.

        Returns:
            ``(batch, *out_shape)``.

        Raises:
            InputError: a wrong shape, or something is missing.
        """

    @property
    def foldable(self) -> bool:
        """May time and batch be folded into one batch axis in the present mode, with the same
        result? (Training or evaluation; the answer is about this module and all inside it.)"""
        return all(inner.foldable for inner in self.children() if isinstance(inner, Memory))

    @property
    def multiply_adds(self) -> int:
        """Multiply-add pairs of its matrix products and convolutions, per sample and step."""
        return sum(inner.multiply_adds for inner in self.children() if isinstance(inner, Memory))

    def reset(self) -> None:
        """Begin a new sequence: what is drawn once per sequence is drawn anew."""
        for inner in self.children():
            if isinstance(inner, Memory):
                inner.reset()

    def _check(self, x: Tensor) -> None:
        check_input(type(self).__name__, x, self.in_shape)
