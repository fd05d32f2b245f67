"""A node in rows layout: products per tap, and gates that remember only their inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from vibrissa.tnn.cells import GRUCell, IdentityCell, TimeDecayCell, VanillaCell
from vibrissa.tnn.convolve import Source, convolve
from vibrissa.tnn.copying import copying
from vibrissa.tnn.gates import ARITHMETIC, Arithmetic, gru_gates, gru_update, in_rows, recomputed
from vibrissa.tnn.gathered import fused, gathering
from vibrissa.tnn.layouts import (
    Call,
    Results,
    State,
    Value,
    from_rows,
    stack_maps,
    stack_rows,
    to_rows,
)
from vibrissa.tnn.modules import ActivationModule, ConvModule, IdentityModule
from vibrissa.tnn.modules.activations import identity
from vibrissa.tnn.modules.base import Memory
from vibrissa.tnn.packed import Packed, pack
from vibrissa.tnn.tiles import choose

if TYPE_CHECKING:
    from vibrissa.tnn.graph import GraphNode

# Maps of more positions than this are left to the ordinary convolution: zeros around them weigh
# less, and its blocks fit the caches.
LARGEST: Final = 64

Convolutions: TypeAlias = Literal["products", "gather", "copy"]


def fits_rows(node: GraphNode) -> bool:
    """Does the cost rule put this node in rows layout? Maps up to 8 x 8 of cells known here, in a
    node whose harbor is no residual; not if there is nothing to multiply."""
    shape = node.cell.in_shape
    if node.spec.residual or node.parts_context or not in_rows(node.cell):
        return False
    if shape[1] * shape[2] > LARGEST or not _elementwise(node.post):
        return False
    return _by_taps(node.pre) or not isinstance(node.cell, IdentityCell | TimeDecayCell)


def _elementwise(memory: Memory) -> bool:
    return type(memory) in (ActivationModule, IdentityModule)


def _by_taps(memory: Memory) -> bool:
    """A plain 'same' convolution of stride 1?"""
    if type(memory) is not ConvModule:
        return False
    config = memory.config
    return (
        config.padding == "same"
        and config.groups == 1
        and config.dilation in (1, (1, 1), [1, 1])
        and memory.batch_norm is None
        and (memory.dropout is None or not memory.dropout.training)
    )


class RowsNode:
    """See the module.

    Args:
        node: the node; :func:`fits_rows`.
        inputs: shapes of what it reads.
        dtype: of values and states.
        low: type of the operands of products, if another.
        batch: samples of a step, by which the algorithm of convolutions is chosen.
        convolutions: as :class:`vibrissa.tnn.fast.Fast` has them.
        compiled: compile the arithmetic, and the gathering.
        sparing: hold no weight twice.
    """

    batch_axis = 1

    def __init__(
        self,
        node: GraphNode,
        inputs: Sequence[tuple[int, ...]],
        dtype: torch.dtype,
        low: torch.dtype | None,
        batch: int,
        convolutions: Convolutions = "products",
        compiled: bool = False,
        sparing: bool = False,
    ) -> None:
        self.node, self.dtype, self.low = node, dtype, low or dtype
        self.lowered = low
        cell: Any = node.cell
        self.cell: Any = cell
        self.size: tuple[int, int] = (cell.in_shape[1], cell.in_shape[2])
        self.convolutions, self.compiled, self.batch = convolutions, compiled, batch
        self.sparing = sparing
        self.positions = self.size[0] * self.size[1]
        self.firsts = [sum(shape[0] for shape in inputs[:k]) for k in range(len(inputs))]
        resized = any(tuple(shape[1:]) != self.size for shape in inputs)
        self.pre: Packed | None = None
        pre: Any = node.pre
        if _by_taps(pre) and not resized:
            self.pre = self._pack(pre.weight)
        weights: dict[str, Any] = {
            name: getattr(getattr(cell, name, None), "weight", None)
            for name in ("input", "state", "candidate")
        }
        self.input: Packed | None = None
        self.of_state: Packed | None = None
        self.candidate: Packed | None = None
        self.wide = 0  # the first channel of the state in the weight of both
        if isinstance(cell, GRUCell):
            self.input, self.of_state = self._pack(weights["input"]), self._pack(weights["state"])
            self.candidate = self._pack(weights["candidate"])
        elif weights["input"] is not None:  # of input and state together
            self.wide = weights["input"].shape[1]
            self.input = self.of_state = self._pack(weights["input"], weights["state"])
        self.bias: Any = None
        if self.input is not None:
            self.bias = cell.input.bias
            if isinstance(node.cell, VanillaCell):
                self.bias = self.bias + cell.state.bias
        post: Any = node.post
        act = identity if isinstance(post, IdentityModule) else post._function
        if isinstance(cell, GRUCell):
            self.gates, self.gate_parameters = _wide(cell, gru_gates, None, dtype, compiled)
            self.update, self.parameters = _wide(cell, gru_update, act, dtype, compiled)
        else:
            of_cell = ARITHMETIC[type(cell)]
            self.update, self.parameters = _wide(cell, of_cell, act, dtype, compiled)

    def _pack(self, *weights: Tensor) -> Packed:
        kernel = (weights[0].shape[2], weights[0].shape[3])
        if self.convolutions == "gather":
            how = gathering(self.size, kernel, weights[0].device, self.compiled)
        elif self.convolutions == "copy":
            how = copying(self.size, kernel)
        else:
            how = choose(self.size, kernel, self.batch)
        return pack(weights, self.low, how, ordered=not self.sparing)

    def enter(self, sources: Sequence[Sequence[Value]], batch: int) -> list[Tensor | None]:
        if self.pre is None:
            return [stack_maps(values, batch) for values in sources]
        return [stack_rows(values, batch, self.low) for values in sources]

    def compute(self, entered: list[Tensor | None], state: State | None, call: Call) -> Results:
        count = len(call.steps)
        x = self._enter_cell(entered, call)
        drive = None
        if self.input is not None and (count > 1 or isinstance(self.cell, GRUCell)):
            source = Source(x, self.input)
            drive = convolve([source], self.size, count * call.batch, self.bias)
        outs: list[Tensor | None] = []
        states: list[State] = []
        for k in range(count):
            part = slice(k * call.batch, (k + 1) * call.batch)
            one = x if count == 1 else x[:, part]
            ahead = None if drive is None else drive if count == 1 else drive[:, part]
            fresh = state is None
            if state is None:
                state = self._zeros(call.batch, x)
            y, state = self._advance(ahead, one, state, fresh, call.batch)
            outs.append(y if call.needed[k] else None)
            states.append(state)
        return outs, states

    def _enter_cell(self, entered: list[Tensor | None], call: Call) -> Tensor:
        """The cell's input, (positions, steps * batch, channels)."""
        node, batch = self.node, len(call.steps) * call.batch
        pre: Any = node.pre
        if self.pre is not None:
            sources = [
                Source(x, self.pre, first)
                for x, first in zip(entered, self.firsts, strict=True)
                if x is not None
            ]
            if not sources:  # all zero: the bias alone
                out = torch.zeros(
                    self.positions,
                    batch,
                    pre.out_shape[0],
                    dtype=self.low,
                    device=pre.weight.device,
                )
                return pre._activation(out if pre.bias is None else out + pre.bias.to(self.low))
            return pre._activation(convolve(sources, self.size, batch, pre.bias))
        inputs = [x for x in entered if x is not None]
        kind = inputs[0].device.type
        with torch.autocast(kind, self.low, enabled=self.lowered is not None, cache_enabled=False):
            harbor, _ = node.enter(inputs)
            if len(call.steps) == 1 or pre.foldable:
                u = pre(harbor, t=call.first + call.steps[0])
            else:
                parts = harbor.split(call.batch)
                u = torch.cat(
                    [pre(p, t=call.first + t) for p, t in zip(parts, call.steps, strict=True)]
                )
        return to_rows(u).to(self.low)

    def _zeros(self, batch: int, like: Tensor) -> State:
        return tuple(
            torch.zeros(self.positions, batch, shape[0], dtype=self.dtype, device=like.device)
            for shape in self.cell.state_shapes
        )

    def _advance(
        self, drive: Tensor | None, x: Tensor, state: State, fresh: bool, batch: int
    ) -> tuple[Tensor, State]:
        if isinstance(self.cell, GRUCell):
            assert drive is not None
            return self._advance_gru(drive, x, state, fresh, batch)
        pre = drive
        if self.input is not None and self.of_state is not None:
            hidden = state[-1]  # of an LSTM, h
            of_state = Source(hidden.to(self.low), self.of_state, self.wide)
            sources = [] if fresh else [of_state]
            if drive is None:
                sources.insert(0, Source(x, self.input))
                pre = convolve(sources, self.size, batch, self.bias)
            elif sources:
                pre = convolve(sources, self.size, batch, None, drive)
        out, *new = recomputed(self.update, x if pre is None else pre, x, *state, *self.parameters)
        return out, tuple(new)

    def _advance_gru(
        self, drive: Tensor, x: Tensor, state: State, fresh: bool, batch: int
    ) -> tuple[Tensor, State]:
        assert self.of_state is not None
        assert self.candidate is not None
        (s,) = state
        wide = 2 * self.cell.channels
        gates, c = drive[..., :wide], drive[..., wide:]
        if not fresh:
            gates = convolve([Source(s.to(self.low), self.of_state)], self.size, batch, None, gates)
        kept, u = recomputed(self.gates, gates, s, *self.gate_parameters)
        if not fresh:
            c = convolve([Source(kept.to(self.low), self.candidate)], self.size, batch, None, c)
        out, new = recomputed(self.update, c, u, s, *self.parameters)
        return out, (new,)

    def leave(self, y: Tensor) -> Value:
        return Value(rows=y, size=self.size)

    def enter_state(self, state: State) -> State:
        return tuple(to_rows(s) for s in state)

    def leave_state(self, state: State) -> State:
        return tuple(from_rows(s, self.size) for s in state)

    def expand(self, state: Tensor, batch: int) -> Tensor:
        return state.expand(-1, batch, -1).contiguous()


def _wide(
    cell: Any,
    of_cell: Callable[[Any], tuple[Arithmetic, list[Tensor]]],
    act: Callable[[Tensor], Tensor] | None,
    dtype: torch.dtype,
    compiled: bool,
) -> tuple[Arithmetic, list[Tensor]]:
    """Arithmetic in the wide type whatever its operands come in, with the node's activation."""
    run, parameters = of_cell(cell)

    def wide(*tensors: Tensor) -> tuple[Tensor, ...]:
        out, *rest = run(*(t.to(dtype) for t in tensors))
        return (out if act is None else act(out), *rest)

    if not compiled:
        return wide, parameters
    made = _COMPILED.setdefault(cell, {})
    key = (of_cell, act, dtype)
    if key not in made:
        made[key] = fused(wide)
    return made[key], parameters


# Cell -> its compiled arithmetic, which outlives an unrolling.
_COMPILED: Final[WeakKeyDictionary[Any, dict[Any, Arithmetic]]] = WeakKeyDictionary()
