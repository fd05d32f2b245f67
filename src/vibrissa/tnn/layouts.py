"""Values in the layouts of the fast schedule, and the node that works on maps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from vibrissa.tnn.graph import GraphNode

State = tuple[Tensor, ...]
Results = tuple[list[Tensor | None], list[State]]


def to_rows(maps: Tensor) -> Tensor:
    """(batch, channel, row, column) -> (position, batch, channel)."""
    return maps.flatten(2).permute(2, 0, 1).contiguous()


def from_rows(rows: Tensor, size: Sequence[int]) -> Tensor:
    """(position, batch, channel) -> (batch, channel, row, column)."""
    return rows.permute(1, 2, 0).reshape(*rows.shape[1:], *size)


class Value:
    """What a node hands on at one step, in maps or rows, for one sample or all.

    Args:
        maps: (batch, *shape).
        rows: (position, batch, channel); one of the two must be given.
        size: rows and columns, for ``rows``.
        zero: it is known to be zero.
    """

    __slots__ = ("_low", "_maps", "_rows", "size", "zero")

    def __init__(
        self,
        *,
        maps: Tensor | None = None,
        rows: Tensor | None = None,
        size: tuple[int, ...] = (),
        zero: bool = False,
    ) -> None:
        self._maps, self._rows, self._low = maps, rows, None
        self.size = size
        self.zero = zero

    @property
    def maps(self) -> Tensor:
        """(batch or 1, *shape)."""
        if self._maps is None:
            assert self._rows is not None
            self._maps = from_rows(self._rows, self.size)
        return self._maps

    def rows(self, dtype: torch.dtype) -> Tensor:
        """(position, batch or 1, channel)."""
        if self._rows is None:
            assert self._maps is not None
            self._rows = to_rows(self._maps)
        if self._rows.dtype == dtype:
            return self._rows
        if self._low is None:
            self._low = self._rows.to(dtype)
        return self._low


def stack_maps(values: Sequence[Value], batch: int) -> Tensor:
    """Values of several steps, one after the other, (steps * batch, *shape)."""
    maps = [v.maps.expand(batch, *v.maps.shape[1:]) for v in values]
    return maps[0] if len(maps) == 1 else torch.cat(maps)


def stack_rows(values: Sequence[Value], batch: int, dtype: torch.dtype) -> Tensor | None:
    """The same in rows, (positions, steps * batch, channel); of a single step (positions, batch or
    1, channel); none if all are zero."""
    if all(v.zero for v in values):
        return None
    if len(values) == 1:
        return values[0].rows(dtype)
    return torch.cat([v.rows(dtype).expand(-1, batch, -1) for v in values], dim=1)


@dataclass(frozen=True)
class Call:
    """Steps of a node to be computed at once.

    Attributes:
        steps: which.
        first: step of the sequence at which the unrolling began.
        batch: samples, or 1 if one stands for all.
        needed: at which of the steps the output is read.
    """

    steps: tuple[int, ...]
    first: int
    batch: int
    needed: Sequence[bool]


class Worker(Protocol):
    """Computes a node in a layout of its choice."""

    batch_axis: int

    def enter(self, sources: Sequence[Sequence[Value]], batch: int) -> list[Tensor | None]:
        """Its inputs, of several steps, as :meth:`compute` wants them."""
        ...

    def compute(self, entered: list[Tensor | None], state: State | None, call: Call) -> Results:
        """Outputs where they are read, and the states, step by step."""
        ...

    def leave(self, y: Tensor) -> Value:
        """An output of :meth:`compute` as a value."""
        ...

    def enter_state(self, state: State) -> State:
        """A state in maps in its own layout."""
        ...

    def leave_state(self, state: State) -> State:
        """The opposite."""
        ...

    def expand(self, state: Tensor, batch: int) -> Tensor:
        """A state of one sample for all."""
        ...


class MapsNode:
    """A node in maps layout, by its own modules.

    Args:
        node: the node.
        low: type of the operands of products, if not that of the graph.
    """

    batch_axis = 0

    def __init__(self, node: GraphNode, low: torch.dtype | None) -> None:
        self.node = node
        self.low = low

    def enter(self, sources: Sequence[Sequence[Value]], batch: int) -> list[Tensor | None]:
        return [stack_maps(values, batch) for values in sources]

    def compute(self, entered: list[Tensor | None], state: State | None, call: Call) -> Results:
        node, cell = self.node, self.node.cell
        inputs = [x for x in entered if x is not None]
        dtype, device = inputs[0].dtype, inputs[0].device
        lower = (
            nullcontext()
            if self.low is None
            else torch.autocast(device.type, dtype=self.low, cache_enabled=False)
        )
        with lower:
            harbor, context = node.enter(inputs)
            residual = harbor if node.spec.residual else None
            x = self._memory(node.pre, harbor, residual, call, range(len(call.steps))).to(dtype)
            drive = cell.drive(x, context)
            if state is None:
                state = cell.init_state(call.batch, device=device, dtype=dtype)
            outs: list[Tensor] = []
            states: list[State] = []
            if cell.stateless:
                out, _ = cell.advance(drive, x, state)
                states = [state] * len(call.steps)
                outs = list(out.split(call.batch))
            else:
                for k in range(len(call.steps)):
                    part = _at(drive, k, call)
                    out, state = cell.advance(part, _at(x, k, call), state)
                    outs.append(out)
                    states.append(cell.state_type(*(s.to(dtype) for s in state)))
                    state = states[-1]
            needed = [k for k, need in enumerate(call.needed) if need]
            done: list[Tensor | None] = [None] * len(call.steps)
            if needed:
                some = [outs[k] for k in needed]
                rest = None
                if residual is not None:
                    rest = _joined([_at(residual, k, call) for k in needed])
                y = self._memory(node.post, _joined(some), rest, call, needed).to(dtype)
                for k, part in zip(needed, y.split(call.batch), strict=True):
                    done[k] = part
        return done, states

    def _memory(
        self, memory: Any, x: Tensor, residual: Tensor | None, call: Call, steps: Sequence[int]
    ) -> Tensor:
        """A memory module at several steps, together where it allows that."""
        if len(steps) == 1 or memory.foldable:
            return memory(x, residual=residual, t=call.first + call.steps[steps[0]])
        parts = []
        for place, k in enumerate(steps):
            beside = None if residual is None else _at(residual, place, call)
            parts.append(memory(_at(x, place, call), residual=beside, t=call.first + call.steps[k]))
        return torch.cat(parts)

    def leave(self, y: Tensor) -> Value:
        return Value(maps=y, size=tuple(y.shape[2:]))

    def enter_state(self, state: State) -> State:
        return state

    def leave_state(self, state: State) -> State:
        return state

    def expand(self, state: Tensor, batch: int) -> Tensor:
        return state.expand(batch, *state.shape[1:])


def _at(x: Any, k: int, call: Call) -> Any:
    """The k-th step of what holds several."""
    if isinstance(x, tuple):
        return tuple(_at(part, k, call) for part in x)
    return x if len(call.steps) == 1 else x[k * call.batch : (k + 1) * call.batch]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
