"""What recurrent cells have in common: one step, with the state in the caller's hands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Final, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.registry import Registry
from vibrissa.tnn.cells.maps import LinearMap
from vibrissa.tnn.modules.initialisers import Init
from vibrissa.tnn.modules.shapes import Pair, Shape, check_input, check_shape, pair, width

cells: Final[Registry[type[CellConfig]]] = Registry("cells")
"""Name -> a configuration class of recurrent cells."""

State: TypeAlias = tuple[Tensor, ...]
"""A cell's state: a named tuple of tensors ``(batch, *state_shapes[i])``; ``()`` without state."""

Drive: TypeAlias = Tensor | tuple[Tensor, ...]
"""What a cell makes of its input alone; every tensor has the batch first."""


class Context(NamedTuple):
    """The parts of the node's harbor output, for cells that read them beside their input.

    Attributes:
        feedforward: the feedforward part, ``(batch, channels, height, width)``.
        feedback: the feedback part, or none.
    """

    feedforward: Tensor
    feedback: Tensor | None = None


class ContextShape(NamedTuple):
    """Shapes of a :class:`Context`, without the batch."""

    feedforward: Shape
    feedback: Shape | None = None


@dataclass(frozen=True, kw_only=True)
class CellConfig(ABC):
    """Configuration of a recurrent cell."""

    uses_context: ClassVar[bool] = False
    """Does the cell read the harbor's parts beside its input?"""

    @abstractmethod
    def build(
        self, in_shape: Shape, channels: int | None = None, *, context: ContextShape | None = None
    ) -> Cell:
        """Make the cell; draws its parameters and does nothing else.

        Args:
            in_shape: shape of the input, without the batch: ``(channels, height, width)`` or
                ``(features,)``.
            channels: width of the state, before that of the configuration; the input's if both are
                omitted.
            context: shapes of the harbor's parts, for cells with ``uses_context``.

        Raises:
            InputError: the shapes do not suit; the text gives the numbers.
        """


@dataclass(frozen=True, kw_only=True)
class ConvCellConfig(CellConfig, ABC):
    """Options of all cells whose maps are convolutions or matrix products.

    Attributes:
        kernel: rows and columns of the 'same' convolutions; none or 0 for matrix products, the
            form for vectors.
        channels: width of the state; that of the input if omitted.
        layer_norm: layer norm (Ba et al. 2016, arXiv 1607.06450) of every gate before its bias and
            nonlinearity, with a scale and a shift per channel and gate.
        norm_axes: over what the norm is taken: ``"channel"``, the channels of each position, as in
            PyTorchTNN; ``"all"``, channels and positions together, as in the TensorFlow original.
        norm_eps: added to the variance; 1e-5 over channels and 1e-12 over all if omitted.
        init: how weights are drawn, the input's and the state's as one; torch's default if omitted.
        bias: constant start of the biases; torch's default, uniform, if omitted.
    """

    kernel: Pair | None = 3
    channels: int | None = None
    layer_norm: bool = False
    norm_axes: Literal["channel", "all"] = "channel"
    norm_eps: float | None = None
    init: Init | None = None
    bias: float | None = None

    def __post_init__(self) -> None:
        if self.linear:
            object.__setattr__(self, "_given_kernel", self.kernel)  # for what is said of it
            object.__setattr__(self, "kernel", None)
        else:
            pair("kernel", self.kernel, 1)
        if self.channels is not None:
            width("channels", self.channels)
        if self.norm_axes not in ("channel", "all"):
            raise refuse("norm_axes", self.norm_axes, "unknown", "choose channel or all")
        if self.norm_eps is not None and not self.norm_eps >= 0:
            raise refuse("norm_eps", self.norm_eps, "negative", "give a small positive number")

    @property
    def linear(self) -> bool:
        """Matrix products instead of convolutions?"""
        return self.kernel is None or self.kernel == 0 or self.kernel in ((0, 0), [0, 0])

    @property
    def eps(self) -> float:
        """What layer norm adds to the variance."""
        if self.norm_eps is not None:
            return self.norm_eps
        return 1e-5 if self.norm_axes == "channel" else 1e-12

    def kernel_size(self) -> tuple[int, int] | None:
        """Rows and columns of the kernel; none in the linear form."""
        return None if self.linear else pair("kernel", self.kernel, 1)

    def check_in_shape(self, in_shape: Shape) -> Shape:
        """Refuse vectors in the convolutional form and maps in the linear one.

        Raises:
            InputError: they do not go together.
        """
        shape = check_shape(cells.name_of(self), in_shape)
        if self.linear and len(shape) == 3:
            raise refuse(
                "kernel", getattr(self, "_given_kernel", None),
                f"none and 0 mean the linear form, which takes vectors, and this input is {shape}",
                "give a kernel, 1 for one matrix product per position",
            )  # fmt: skip
        if not self.linear and len(shape) == 1:
            raise refuse(
                "kernel", self.kernel, f"a vector {shape} has no positions",
                "set the kernel to none for the linear form",
            )  # fmt: skip
        return shape

    def state_width(self, in_shape: Shape, channels: int | None) -> int:
        """Width of the state: the argument, else the option, else the input's width."""
        chosen = self.channels if channels is None else width("channels", channels)
        return in_shape[0] if chosen is None else chosen


class NoState(NamedTuple):
    """The state of a cell without one."""


class HiddenState(NamedTuple):
    """The state of a cell with one hidden variable.

    Attributes:
        s: ``(batch, channels, height, width)`` or ``(batch, features)``.
    """

    s: Tensor


class Cell(nn.Module, ABC):
    """A recurrent cell: one step, state in and state out; it keeps none itself.

    A step has two halves. :meth:`drive` is what depends on the input alone, so that it may be
    computed for all steps at once, with time folded into the batch. :meth:`advance` is what has to
    wait for the state.

    Args:
        in_shape: shape of the input, without the batch.
        out_shape: shape of the output, without the batch.
        state_type: named tuple that holds the state.
        state_shapes: shapes of its tensors, without the batch.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        state_type: Callable[..., State] = NoState,
        state_shapes: tuple[Shape, ...] = (),
    ) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = out_shape
        self.state_type = state_type
        self.state_shapes = state_shapes

    @property
    def stateless(self) -> bool:
        """Does the output depend on this step's input alone?"""
        return not self.state_shapes

    def init_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The state before the first step: zeros.

        Args:
            batch: number of samples.
            device: where; that of the parameters if omitted.
            dtype: of what type; that of the parameters if omitted.
        """
        like = next(self.parameters(), None)
        if like is not None:
            device = like.device if device is None else device
            dtype = like.dtype if dtype is None else dtype
        return self.state_type(
            *(torch.zeros(batch, *shape, device=device, dtype=dtype) for shape in self.state_shapes)
        )

    @abstractmethod
    def drive(self, x: Tensor, context: Context | None = None) -> Drive:
        """The half of a step that depends on the input alone.

        Args:
            x: ``(n, *in_shape)``; n is the batch, or batch times steps in any order.
            context: the harbor's parts, for cells that read them, with the same n.

        Returns:
            Tensors with n first.

        Raises:
            InputError: a wrong shape.
        """

    @abstractmethod
    def advance(self, drive: Drive, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The half of a step that needs the state.

        Args:
            drive: what :meth:`drive` made of this step's input.
            x: this step's input, ``(batch, *in_shape)``.
            state: the state before the step.

        Returns:
            The output ``(batch, *out_shape)``, and the state after the step.
        """

    def step(self, x: Tensor, state: State, context: Context | None = None) -> tuple[Tensor, State]:
        """One step: :meth:`drive`, then :meth:`advance`.

        Args:
            x: ``(batch, *in_shape)``.
            state: the state before the step.
            context: the harbor's parts, for cells that read them.

        Returns:
            The output ``(batch, *out_shape)``, and the state after the step.

        Raises:
            InputError: a wrong shape; the text gives both.
        """
        drive = self.drive(x, context)
        found = tuple(tuple(part.shape) for part in state)
        wanted = tuple((x.shape[0], *shape) for shape in self.state_shapes)
        if found != wanted:
            raise InputError(
                f"{type(self).__name__}: the state has shapes {found}, which are not {wanted}; "
                "begin with init_state(batch) and hand on what step returns."
            )
        return self.advance(drive, x, state)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, State]:
        """The same as :meth:`step`."""
        return self.step(*args, **kwargs)

    @property
    def multiply_adds(self) -> int:
        """Multiply-add pairs of its matrix products and convolutions, per sample and step."""
        positions = prod(self.in_shape[1:])
        return sum(m.weight.numel() * positions for m in self.modules() if isinstance(m, LinearMap))

    def _check(self, x: Tensor) -> None:
        check_input(type(self).__name__, x, self.in_shape)

    def extra_repr(self) -> str:
        return f"{self.in_shape} -> {self.out_shape}"


def refuse_width(name: str, channels: int | None, in_shape: Shape) -> None:
    """Refuse a state width that is not the input's, for cells whose equations add the two.

    Raises:
        InputError: they differ.
    """
    if channels is not None and channels != in_shape[0]:
        raise refuse(
            "channels", channels, f"the state of {name} is as wide as its input, {in_shape[0]}",
            "leave it out, or change the width before the cell",
        )  # fmt: skip
