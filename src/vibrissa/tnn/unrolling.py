"""Unrolling a temporal graph over time: one function for movies, images, chunks and read-outs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from vibrissa.core.axes import ACTIVATION_AXES, MODEL_INPUT_AXES
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.tnn import fast as _fast  # noqa: F401  (registers its schedule)
from vibrissa.tnn import stepwise as _stepwise  # noqa: F401  (the same)
from vibrissa.tnn.job import Frames, GraphState, InputGate, Job, Schedule, schedules
from vibrissa.tnn.spec import Mode

if TYPE_CHECKING:
    from vibrissa.tnn.graph import TemporalGraph

DEFAULT_SCHEDULE: Final = "fast"


@dataclass(frozen=True, kw_only=True)
class Unrolled:
    """What an unrolling gives.

    Attributes:
        outputs: read-out node -> (batch, \\*shape) for ``read="last"``, else
            (batch, time, \\*shape).
        activations: recorded node -> (batch, time, \\*shape), all steps of this unrolling. Steps
            beyond a sample's length are 0, in ``outputs`` as well.
        axes: recorded node -> the names of its axes.
        steps: the step of the sequence at which each time of ``activations`` stands.
        first_input_step: node -> step of the sequence whose value is the first that the stimulus
            can have changed; before it the node only says what it would say to anything.
        state: to go on from, if it was asked for.
    """

    outputs: Mapping[str, Tensor]
    activations: Mapping[str, Tensor]
    axes: Mapping[str, tuple[str, ...]]
    steps: tuple[int, ...]
    first_input_step: Mapping[str, int]
    state: GraphState | None

    @property
    def output(self) -> Tensor:
        """That of the first read-out node."""
        return next(iter(self.outputs.values()))


def unroll(
    graph: TemporalGraph,
    inputs: Tensor | Mapping[str, Tensor],
    *,
    steps: int | None = None,
    read: Literal["last", "all"] | Sequence[int] = "last",
    record: Sequence[str] | Literal["all"] = (),
    mode: Mode = "biological",
    schedule: str | Schedule = DEFAULT_SCHEDULE,
    state: GraphState | None = None,
    keep_state: bool = False,
    lengths: Tensor | Sequence[int] | None = None,
    gate: InputGate | Mapping[str, InputGate] | None = None,
    check_finite: bool = False,
) -> Unrolled:
    """Unroll a graph over time.

    Args:
        graph: the graph.
        inputs: a movie (batch, time, \\*input_shape) or an image (batch, \\*input_shape) that is
            shown at every step; with several stimuli a mapping from stimulus to such. Left
            unchanged.
        steps: how many; needed for an image, else the length of the movie.
        read: which steps of the read-out nodes to return: the last, all, or these, ascending and
            counted from 0 in this unrolling.
        record: nodes whose outputs to return at all steps; ``"all"`` for every node.
        mode: ``biological`` (one step per edge) or ``full`` (one feedforward pass per step); see
            :meth:`~vibrissa.tnn.spec.GraphSpec.timing`.
        schedule: how it is computed, a name in :data:`~vibrissa.tnn.job.schedules`, or one with
            options such as :class:`~vibrissa.tnn.fast.Fast`; the numbers
            are the same to rounding.
        state: where to go on from (the ``state`` of a previous unrolling); None begins anew.
        keep_state: return the state after the last step.
        lengths: (batch,) steps of each sample, from 1 to all. The last step of a sample is then its
            own, and so is its state. Padded frames are computed all the same: in training they
            count in the statistics of batch norm.
        gate: when the stimulus is shown, for instance 12 steps of an image and then grey.
        check_finite: refuse NaN and infinity in the inputs (one pass over them).

    Returns:
        Outputs, recorded activations, and the state if asked for.

    Raises:
        InputError: a shape, dtype, name, length or step that does not fit.
    """
    if isinstance(schedule, str):
        schedule = schedules.get(schedule)
    given = _by_stimulus(graph, inputs)
    batch, steps, static = _sizes(graph, given, steps)
    for name, values in given.items():
        _check_values(graph, name, values, check_finite)
    first = next(iter(given.values()))
    fresh = state is None
    if state is None:
        graph.reset()
        state = graph.init_state(batch, device=first.device, dtype=first.dtype)
    else:
        _check_state(graph, state, batch, first)
    timing = graph.spec.timing(mode)
    frames = {
        name: Frames(
            values, static=static[name], gate=_gate_of(graph, gate, name), first_step=state.step
        )
        for name, values in given.items()
    }
    ends = _lengths(lengths, batch, steps, first.device)
    recorded = _recorded(graph, record)
    read_steps = _read_steps(read, steps, ends)
    wanted = {
        name: tuple(range(steps)) if name in recorded else read_steps
        for name in dict.fromkeys((*graph.spec.outputs, *recorded))
    }
    done = schedule(
        graph,
        Job(
            steps=steps, batch=batch, frames=frames, timing=timing, state=state, wanted=wanted,
            lengths=ends, keep_state=keep_state, fresh=fresh,
        ),
    )  # fmt: skip
    outputs = {
        name: _read_out(done.values[name], wanted[name], read_steps, read, ends)
        for name in graph.spec.outputs
    }
    return Unrolled(
        outputs=outputs,
        activations={name: _masked(done.values[name], wanted[name], ends) for name in recorded},
        axes={name: axes_of(done.values[name]) for name in recorded},
        steps=tuple(range(state.step, state.step + steps)),
        first_input_step=dict(timing.first_input_step),
        state=done.state if keep_state else None,
    )


def axes_of(values: Tensor) -> tuple[str, ...]:
    """Names of the axes of (batch, time, channel, row, column) or (batch, time, unit)."""
    if values.dim() == len(MODEL_INPUT_AXES):
        return MODEL_INPUT_AXES
    return (*MODEL_INPUT_AXES[:2], ACTIVATION_AXES[-1])


# --- what was given --------------------------------------------------------------------------


def _by_stimulus(graph: TemporalGraph, inputs: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    stimuli = graph.spec.stimuli
    if isinstance(inputs, Tensor):
        if len(stimuli) > 1:
            raise InputError(
                f"inputs: one tensor, but the graph has the stimuli {', '.join(stimuli)}; "
                "give a mapping from stimulus to tensor."
            )
        return dict.fromkeys(stimuli, inputs)
    if not isinstance(inputs, Mapping):
        raise refuse("inputs", type(inputs).__name__, "not a tensor", "give one")
    for name in inputs:
        if name not in stimuli:
            raise refuse_unknown("inputs: stimulus", name, stimuli)
    for name in stimuli:
        if not isinstance(inputs.get(name), Tensor):
            raise InputError(f"inputs: no tensor for the stimulus {name}; add it.")
    return {name: inputs[name] for name in stimuli}


def _sizes(
    graph: TemporalGraph, given: Mapping[str, Tensor], steps: int | None
) -> tuple[int, int, dict[str, bool]]:
    """Batch, steps, and which stimuli are images."""
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
        raise refuse("steps", steps, "not a number of steps", "give 1 or more")
    static: dict[str, bool] = {}
    batches: dict[str, int] = {}
    for name, values in given.items():
        shape = graph.input_shapes[name]
        wanted = f"(batch, time, {', '.join(map(str, shape))}) or the same without time"
        extra = values.dim() - len(shape)
        if extra not in (1, 2) or tuple(values.shape[extra:]) != shape or 0 in values.shape:
            raise refuse(
                f"inputs: shape of {name}", tuple(values.shape), f"not {wanted}",
                "give a tensor of that shape, or build the graph with another input_shape",
            )  # fmt: skip
        static[name] = extra == 1
        batches[name] = values.shape[0]
        if not static[name]:
            if steps is not None and values.shape[1] != steps:
                raise refuse(
                    "steps", steps, f"{name} has {values.shape[1]} frames",
                    "give as many steps as frames, or leave steps out",
                )  # fmt: skip
            steps = values.shape[1]
    if steps is None:
        raise refuse("steps", None, "an image has no length", "say for how many steps to unroll")
    first, *others = batches.values()  # may be symbols, while a graph is exported
    if any(batch != first for batch in others):
        raise refuse("inputs: batch", batches, "stimuli differ", "give all the same batch")
    return first, steps, static


def _check_values(graph: TemporalGraph, name: str, values: Tensor, check_finite: bool) -> None:
    if not values.is_floating_point():
        raise refuse(
            f"inputs: dtype of {name}", values.dtype, "not floating point", "convert with .float()"
        )
    parameter = next(graph.parameters(), None)
    if parameter is not None:
        if parameter.device != values.device:
            raise refuse(
                f"inputs: device of {name}", str(values.device),
                f"the graph is on {parameter.device}", "move one of them with .to()",
            )  # fmt: skip
        if parameter.dtype != values.dtype and not torch.is_autocast_enabled(values.device.type):
            raise refuse(
                f"inputs: dtype of {name}", values.dtype, f"the graph is {parameter.dtype}",
                f"use inputs.to({parameter.dtype}) or graph.to({values.dtype})",
            )  # fmt: skip
    if check_finite and not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise InputError(
            f"inputs: {name} holds {bad} values that are NaN or infinite; mend or mask them."
        )


def _check_state(graph: TemporalGraph, state: object, batch: int, like: Tensor) -> None:
    if not isinstance(state, GraphState):
        raise refuse(
            "state", state if isinstance(state, str) else type(state).__name__,
            "not a state of a graph",
            "give the state of an unrolling, or one that GraphState.load read from a file",
        )  # fmt: skip
    wanted, found = graph.init_state(1, device="meta").tensors(), state.tensors()
    odd = sorted(set(wanted) ^ set(found))
    if odd:
        raise refuse("state", odd, "of another graph", "give a state of this one")
    for name, y in found.items():
        shape = (batch, *wanted[name].shape[1:])
        if tuple(y.shape) != shape:
            raise refuse(
                f"state: shape of {name}", tuple(y.shape), f"not {shape}",
                "go on with the batch that the state came from",
            )  # fmt: skip
        if y.device != like.device:
            raise refuse(
                f"state: device of {name}", str(y.device), f"the inputs are on {like.device}",
                "move it with state.to()",
            )  # fmt: skip


def _gate_of(
    graph: TemporalGraph, gate: InputGate | Mapping[str, InputGate] | None, name: str
) -> InputGate | None:
    if gate is None or isinstance(gate, InputGate):
        return gate
    for given in gate:
        if given not in graph.spec.stimuli:
            raise refuse_unknown("gate: stimulus", given, graph.spec.stimuli)
    return gate.get(name)


def _lengths(
    lengths: Tensor | Sequence[int] | None, batch: int, steps: int, device: torch.device
) -> Tensor | None:
    if lengths is None:
        return None
    ends = torch.as_tensor(lengths, device=device)
    if tuple(ends.shape) != (batch,) or ends.is_floating_point() or ends.dtype == torch.bool:
        raise refuse(
            "lengths", tuple(ends.shape), f"not ({batch},) whole numbers", "give one per sample"
        )
    if int(ends.min()) < 1 or int(ends.max()) > steps:
        raise refuse(
            "lengths", [int(ends.min()), int(ends.max())], f"not all within 1 to {steps} steps",
            "cut or pad the movies",
        )  # fmt: skip
    return ends


def _recorded(graph: TemporalGraph, record: Sequence[str] | str) -> tuple[str, ...]:
    if record == "all":
        return graph.spec.timing().order
    names = (record,) if isinstance(record, str) else tuple(record)
    for name in names:
        if name not in graph.nodes:
            raise refuse_unknown("record", name, graph.nodes)
    return tuple(dict.fromkeys(names))


# --- what is handed back ---------------------------------------------------------------------


def _read_steps(read: str | Sequence[int], steps: int, ends: Tensor | None) -> tuple[int, ...]:
    if isinstance(read, str):
        if read == "all":
            return tuple(range(steps))
        if read == "last":
            if ends is None:
                return (steps - 1,)
            return tuple(sorted({int(end) - 1 for end in ends}))
        raise refuse("read", read, "unknown", "choose last, all, or give steps")
    chosen: tuple[int, ...] = tuple(read) if isinstance(read, Iterable) else ()
    fits = all(isinstance(t, int) and not isinstance(t, bool) and 0 <= t < steps for t in chosen)
    if not chosen or not fits or list(chosen) != sorted(set(chosen)):
        raise refuse("read", read, f"not ascending steps from 0 to {steps - 1}", "give such steps")
    return chosen


def _read_out(
    values: Tensor,
    have: tuple[int, ...],
    want: tuple[int, ...],
    read: str | Sequence[int],
    ends: Tensor | None,
) -> Tensor:
    if isinstance(read, str) and read == "last":
        if ends is None:
            return values[:, have.index(want[-1])]
        place = torch.full((have[-1] + 1,), -1, device=values.device)
        place[list(have)] = torch.arange(len(have), device=values.device)
        return values[torch.arange(len(values), device=values.device), place[ends - 1]]
    chosen = values if have == want else values[:, [have.index(t) for t in want]]
    return _masked(chosen, want, ends)


def _masked(values: Tensor, steps: tuple[int, ...], ends: Tensor | None) -> Tensor:
    """Zeros where a sample is over."""
    if ends is None:
        return values
    alive = torch.tensor(steps, device=values.device)[None, :] < ends[:, None]
    alive = alive.view(*alive.shape, *(1 for _ in values.shape[2:]))
    return torch.where(alive, values, values.new_zeros(()))
