"""What passes between :func:`unroll` and a schedule: the checked job, and the state carried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import torch
from torch import Tensor

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.registry import Registry
from vibrissa.tnn.files import read_tensors, write_tensors
from vibrissa.tnn.order import Timing

if TYPE_CHECKING:
    from vibrissa.tnn.graph import TemporalGraph

STATE: Final = "vibrissa temporal graph state 1"


@dataclass(frozen=True, kw_only=True)
class InputGate:
    """Shows the stimulus for its first steps, then a constant frame.

    Steps count from the beginning of the sequence, also where it is unrolled in chunks. The
    caller's tensor is left as it is.

    Attributes:
        shown: steps for which the stimulus is shown, 0 or more.
        blank: value of every element afterwards.
    """

    shown: int
    blank: float = 0.5

    def __post_init__(self) -> None:
        if isinstance(self.shown, bool) or not isinstance(self.shown, int) or self.shown < 0:
            raise refuse("shown", self.shown, "not a number of steps", "give 0 or more")


class Frames:
    """One stimulus over the steps of one unrolling.

    Args:
        values: movie (batch, time, ...), or image (batch, ...) shown at every step.
        static: it is an image.
        gate: when it is shown.
        first_step: step of the sequence at which this unrolling begins.
    """

    def __init__(
        self, values: Tensor, *, static: bool, gate: InputGate | None = None, first_step: int = 0
    ) -> None:
        self.values = values
        self.static = static
        self._blank_from = None if gate is None else max(gate.shown - first_step, 0)
        self._blank: Tensor | None = None
        if gate is not None:
            self._blank = torch.full_like(values if static else values[:, 0], gate.blank)

    def at(self, t: int) -> Tensor:
        """The frame at step t of this unrolling, (batch, ...)."""
        if self._blank is not None and self._blank_from is not None and t >= self._blank_from:
            return self._blank
        return self.values if self.static else self.values[:, t]

    def distinct(self, t: int) -> int:
        """A number that is equal for steps that show the same frame."""
        if self._blank_from is not None and t >= self._blank_from:
            return -1
        return 0 if self.static else t


@dataclass(frozen=True, kw_only=True)
class GraphState:
    """Where a sequence stands after some steps; with it the next steps go on as if uninterrupted.

    Attributes:
        step: steps done.
        outputs: node -> what it last handed on, (batch, \\*shape).
        cells: node -> state of its cell, a NamedTuple of tensors (empty for stateless cells).
    """

    step: int
    outputs: Mapping[str, Tensor]
    cells: Mapping[str, Any]

    def detach(self) -> GraphState:
        """The same values, cut from the history of gradients (truncated backpropagation)."""
        return self._each(Tensor.detach)

    def to(self, *args: Any, **kwargs: Any) -> GraphState:
        """The same values on another device or in another dtype, as ``Tensor.to``."""
        return self._each(lambda x: x.to(*args, **kwargs))

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name: ``outputs.<node>``, then ``cells.<node>.<k>``, k the field."""
        found = {f"outputs.{name}": y for name, y in sorted(self.outputs.items())}
        for name, state in sorted(self.cells.items()):
            found |= {f"cells.{name}.{k}": part for k, part in enumerate(state)}
        return found

    @classmethod
    def from_tensors(
        cls, graph: TemporalGraph, tensors: Mapping[str, Tensor], step: int = 0
    ) -> GraphState:
        """The state whose :meth:`tensors` these are.

        Args:
            graph: the graph.
            tensors: as :meth:`tensors` gives them.
            step: steps done.

        Raises:
            InputError: a tensor is missing or left over.
        """
        like = graph.init_state(1, device="meta")
        wanted = like.tensors()
        odd = sorted(set(wanted) ^ set(tensors))
        if odd:
            raise refuse("state", odd, "of another graph", "give a state of this one")
        cells = {}
        for name, state in like.cells.items():
            parts = [tensors[f"cells.{name}.{k}"] for k in range(len(state))]
            kind = type(state)
            cells[name] = kind(*parts) if hasattr(kind, "_fields") else kind(parts)
        return cls(
            step=step, outputs={name: tensors[f"outputs.{name}"] for name in like.outputs},
            cells=cells,
        )  # fmt: skip

    def save(self, path: Path | str) -> None:
        """Write the state to a file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        write_tensors(path, {"format": STATE, "step": self.step, "tensors": self.tensors()})

    @classmethod
    def load(
        cls, path: Path | str, graph: TemporalGraph, *, map_location: Any = None
    ) -> GraphState:
        """Read what :meth:`save` wrote; only tensors, numbers and text are read, never code.

        Args:
            path: the file.
            graph: the graph that it belongs to.
            map_location: where to put the tensors, as for ``torch.load``.

        Raises:
            InputError: no such file, not a state, a damaged one, or one of another graph.
        """
        content = read_tensors(path, STATE, "state of a temporal graph", map_location)
        step, tensors = content.get("step"), content.get("tensors")
        if not isinstance(step, int) or not isinstance(tensors, dict):
            raise InputError(f"{path}: the step or the tensors are missing; save the state anew.")
        try:
            return cls.from_tensors(graph, tensors, step)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def _each(self, change: Callable[[Tensor], Tensor]) -> GraphState:
        return GraphState(
            step=self.step,
            outputs={name: change(y) for name, y in self.outputs.items()},
            cells={name: map_state(change, s) for name, s in self.cells.items()},
        )


def map_state(change: Callable[..., Tensor], *states: Any) -> Any:
    """A cell's state with a function applied field by field (to those of several states)."""
    kind = type(states[0])
    values = [change(*parts) for parts in zip(*states, strict=True)]
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One unrolling, checked and resolved.

    Attributes:
        steps: how many, T.
        batch: samples.
        frames: stimulus -> its frames.
        timing: which edges deliver within a step, and an order for it.
        state: where to go on from; its ``step`` plus t is the step of the sequence.
        wanted: node -> steps (0..T-1, ascending) whose outputs are asked for.
        lengths: (batch,) steps of each sample, at most T and at least 1; None: all T.
        keep_state: is the state after the last step asked for?
        fresh: does the sequence begin here, with all zero?
    """

    steps: int
    batch: int
    frames: Mapping[str, Frames]
    timing: Timing
    state: GraphState
    wanted: Mapping[str, tuple[int, ...]]
    lengths: Tensor | None
    keep_state: bool
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a schedule hands back.

    Attributes:
        values: for each node wanted (batch, steps wanted, \\*shape). What stands there beyond a
            sample's length is arbitrary.
        state: after the last step; with lengths, each sample's after its own last step. May be
            None if it was not asked for.
    """

    values: Mapping[str, Tensor]
    state: GraphState | None


Schedule: TypeAlias = "Callable[[TemporalGraph, Job], Done]"

schedules: Final[Registry[Schedule]] = Registry("schedules")
"""Name -> a way of doing a :class:`Job`. All give the same numbers, to rounding."""
