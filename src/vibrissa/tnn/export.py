"""Export of a built graph: a program of torch's core operations, and an ONNX file.

The step-by-step schedule is what is written out, for a number of steps that is fixed by then; what
no output reads is left out of it. The batch size stays free unless it is given.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor, nn

from vibrissa.core.errors import InputError, refuse, require_extra
from vibrissa.core.files import atomic_path
from vibrissa.tnn.job import GraphState, InputGate
from vibrissa.tnn.modules import BatchNormModule
from vibrissa.tnn.spec import Mode
from vibrissa.tnn.stepwise import Stepwise
from vibrissa.tnn.unrolling import unroll

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from vibrissa.tnn.graph import TemporalGraph

_LARGEST: Final = 2**31 - 2**24
"""Bytes that fit into one ONNX file: a protocol buffer holds less than 2 GiB."""

Read = Literal["last", "all"] | Sequence[int]


def export_program(
    graph: TemporalGraph,
    *,
    steps: int,
    batch: int | None = None,
    image: bool = False,
    read: Read = "last",
    mode: Mode = "biological",
    gate: InputGate | Mapping[str, InputGate] | None = None,
    carry_state: bool = False,
) -> ExportedProgram:
    """A graph as one program of torch's core operations, without Python (``torch.export``).

    ``export_program(...).module()(movie)`` gives what ``graph(movie)`` gives in evaluation mode;
    ``torch.export.save`` writes it.

    Args:
        graph: the graph; left as it is, also its mode (training or evaluation).
        steps: how many are unrolled.
        batch: the batch size, if it is to be fixed; free (1 or more) if omitted.
        image: the stimuli are images, (batch, \\*shape), not movies (batch, time, \\*shape).
        read: which steps of the read-out nodes, as in :func:`~vibrissa.tnn.unrolling.unroll`.
        mode: of the unrolling, ``biological`` or ``full``.
        gate: when the stimuli are shown.
        carry_state: the program takes the state after the stimuli and returns it after the
            outputs, tensor by tensor in the order of :meth:`GraphState.tensors`; so it can be run
            on one chunk after the other. ``graph.init_state(batch).tensors()`` is the first.

    Returns:
        The program. Inputs: the stimuli in the order of ``graph.spec.stimuli``. Outputs: those of
        the read-out nodes in the order of ``graph.spec.outputs``.

    Raises:
        InputError: a number of steps or a batch size that is none; a state to be carried where the
            number of the step matters (a gate, statistics of batch norm per step).
    """
    for name, value in (("steps", steps), ("batch", 1 if batch is None else batch)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise refuse(name, value, "not a positive number", "give 1 or more")
    from torch.export import Dim, export

    if carry_state:
        _check_carrying(graph, gate)
    size = 2 if batch is None else batch
    like = next(graph.parameters(), torch.empty(0))
    time = () if image else (steps,)
    tensors = [
        torch.zeros(size, *time, *graph.input_shapes[s], device=like.device, dtype=like.dtype)
        for s in graph.spec.stimuli
    ]
    if carry_state:
        tensors += graph.init_state(size).tensors().values()
    options = {"steps": steps, "read": read, "mode": mode, "gate": gate}
    unrolled = _Unrolled(graph, carry_state, options)
    shapes = None
    if batch is None:
        shapes = {"tensors": tuple({0: Dim("batch", min=1)} for _ in tensors)}
    with _evaluating(graph), torch.no_grad():
        return export(unrolled, tuple(tensors), dynamic_shapes=shapes, strict=False)


def export_onnx(graph: TemporalGraph, path: Path | str, **options: Any) -> Path:
    """Write a graph as an ONNX file, whole or not at all.

    Torch works through all operations of all steps: minutes for a large graph over many steps.
    With ``carry_state`` and one step the file is soon written and serves sequences of any length.

    Inputs are named after the stimuli, outputs after the read-out nodes (with ``.out`` where a
    stimulus has the same name); with ``carry_state`` the tensors of the state follow, as
    ``outputs.<node>`` and ``cells.<node>.<k>``, and come back with ``.next`` behind. The
    configuration of the graph stands in the file's metadata as ``vibrissa.graph``, the options of
    the unrolling as ``vibrissa.unrolling``.

    Args:
        graph: the graph, of dtype float32 (or what the runtime knows besides).
        path: the file.
        options: as :func:`export_program`.

    Returns:
        The path.

    Raises:
        InputError: as :func:`export_program`; a graph too large for one file.
        MissingExtraError: onnx and onnxscript are not installed.
        OutputError: it cannot be written.
    """
    for module in ("onnx", "onnxscript"):
        require_extra(module, "export", "export to ONNX")
    size = sum(x.numel() * x.element_size() for x in graph.state_dict().values())
    if size > _LARGEST:
        raise InputError(
            f"the graph: its {size / 1e9:.1f} GB of parameters do not fit into one ONNX file "
            "(2 GB); use export_program."
        )
    program = export_program(graph, **options)
    state = list(graph.init_state(1).tensors()) if options.get("carry_state") else []
    stimuli = list(graph.spec.stimuli)
    with _quiet():
        onnx_program: Any = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            input_names=[*stimuli, *state],
            output_names=[
                *(f"{name}.out" if name in stimuli else name for name in graph.spec.outputs),
                *(f"{name}.next" for name in state),
            ],
        )
        model = onnx_program.model_proto
    if options.get("batch") is None:
        _name_batch(model)
    notes = {
        "vibrissa.graph": json.dumps(graph.config_dict(), sort_keys=True),
        "vibrissa.unrolling": json.dumps(options, sort_keys=True, default=str),
    }
    for key, value in notes.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    with atomic_path(path) as partial:
        partial.write_bytes(model.SerializeToString())
    return Path(path)


def _name_batch(model: Any) -> None:
    """Call the free axis ``batch``; torch gives it the name of a symbol of its own."""
    inputs, outputs = model.graph.input, model.graph.output
    symbol = inputs[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*inputs, *outputs, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == symbol:
                axis.dim_param = "batch"


class _Unrolled(nn.Module):
    """An unrolling as a function of tensors alone."""

    def __init__(self, graph: TemporalGraph, carry_state: bool, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = graph  # not "graph": the program's own module needs that name
        self.carry_state = carry_state
        self.options = options

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...] | Tensor:
        stimuli = self.model.spec.stimuli
        inputs = dict(zip(stimuli, tensors, strict=False))
        state = None
        if self.carry_state:
            names = self.model.init_state(1).tensors()
            given = dict(zip(names, tensors[len(stimuli) :], strict=True))
            state = GraphState.from_tensors(self.model, given)
        found = unroll(
            self.model, inputs, state=state, keep_state=self.carry_state,
            schedule=Stepwise(prune=True), **self.options,
        )  # fmt: skip
        results: tuple[Tensor, ...] = tuple(found.outputs.values())
        if found.state is not None:
            results += tuple(found.state.tensors().values())
        return results[0] if len(results) == 1 else results


def _check_carrying(graph: TemporalGraph, gate: object) -> None:
    if gate is not None:
        raise refuse(
            "gate", gate, "the program does not know the step at which a chunk begins",
            "blank the stimulus before it, or leave carry_state out",
        )  # fmt: skip
    for name, node in graph.nodes.items():
        for module in node.modules():
            if isinstance(module, BatchNormModule) and module.config.per_step:
                raise refuse(
                    "carry_state", True,
                    f"batch norm of node {name} differs from step to step, and the program does "
                    "not know the step at which a chunk begins",
                    "export all steps at once",
                )  # fmt: skip


@contextmanager
def _evaluating(graph: nn.Module) -> Iterator[None]:
    """Evaluation mode, and afterwards the mode that every module had."""
    modes = [(module, module.training) for module in graph.modules()]
    graph.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own notices: on packages that are not needed, on what it deprecates."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
