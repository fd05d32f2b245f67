"""The fast schedule: the numbers of the stepwise one, with less work.

:mod:`vibrissa.tnn.plan` says which steps of which nodes are needed, for one sample or for all, and
which can be computed together; here they are computed. A node is computed in one of two layouts:

* **maps**, (batch, channel, row, column), with the node's own modules: any node, any device;
* **rows**, (position, batch, channel), with convolutions as matrix products (see
  :mod:`vibrissa.tnn.convolve`) and arithmetic that remembers only its inputs for the backward pass
  (see :mod:`vibrissa.tnn.gates`): small maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vibrissa.core.errors import refuse
from vibrissa.tnn.cuda_graph import replayed
from vibrissa.tnn.job import Done, GraphState, Job, schedules
from vibrissa.tnn.layouts import Call, MapsNode, Value, Worker
from vibrissa.tnn.plan import BEFORE, Plan, Question, Task, make_plan
from vibrissa.tnn.rows import Convolutions, RowsNode, fits_rows
from vibrissa.tnn.stepwise import stepwise

if TYPE_CHECKING:
    from vibrissa.tnn.graph import TemporalGraph

Precision = Literal["bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Fast:
    """The fast schedule with its options; ``unroll(..., schedule=Fast(checkpoint=True))``.

    It equals the stepwise schedule to rounding: outputs, activations, state, gradients. Random
    masks of dropout are drawn in another order. With dropout or batch norm in training, samples
    are not interchangeable and what nobody reads still moves the averages; then every node is
    computed at every step for the whole batch, and with ``lengths`` besides, the stepwise schedule
    is used.

    Attributes:
        precision: ``"bfloat16"``: operands of convolutions and matrix products in bfloat16, state
            and gates in the graph's own type. None: everything in the graph's type. It pays on
            processors with bfloat16 arithmetic (AMX, AVX512-BF16, GPUs) and is slow on others.
        checkpoint: remember only what passes between tasks for the backward pass and compute the
            rest again, which needs less memory and more time.
        compile: run the arithmetic of gates, and gathering, through ``torch.compile`` (needs a C++
            compiler, or Triton on GPUs).
        cuda_graph: record the kernels of an unrolling once and replay them afterwards; without
            gradients, for whole sequences, on CUDA devices.
        rows: compute small maps in rows layout; None: unless under autocast.
        convolutions: of small maps: ``"products"``, with as few multiplications as possible;
            ``"gather"``, with as few kernels; ``"copy"``, one large product of copies. None: the
            last for bfloat16 on CPUs with AMX, the first on CPUs otherwise, the second elsewhere.
        together: most steps of a node outside cycles computed at once; chosen by batch and device
            if omitted.
        block: the same within cycles, as far as their delays allow.
    """

    precision: Precision | None = None
    checkpoint: bool = False
    compile: bool = False
    cuda_graph: bool = False
    rows: bool | None = None
    convolutions: Convolutions | None = None
    together: int | None = None
    block: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in (None, "bfloat16"):
            raise refuse("precision", self.precision, "unknown", "choose bfloat16 or leave it out")
        if self.convolutions not in (None, *get_args(Convolutions)):
            remedy = "choose products, gather or copy, or none"
            raise refuse("convolutions", self.convolutions, "unknown", remedy)
        if self.cuda_graph and not torch.cuda.is_available():
            raise refuse(
                "cuda_graph", True, "there is no CUDA device", "leave it out on this machine"
            )
        for name in ("together", "block"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or value < 1
            ):
                raise refuse(name, value, "not a number of steps", "give 1 or more")

    def __call__(self, graph: TemporalGraph, job: Job) -> Done:
        safe = _samples_apart(graph)
        if job.lengths is not None and not safe:
            return stepwise(graph, job)
        if self.cuda_graph:
            return replayed(graph, job, self, lambda job: _Run(graph, job, self, safe).run())
        return _Run(graph, job, self, safe).run()


def _samples_apart(graph: TemporalGraph) -> bool:
    """Does every sample's value depend on that sample alone, and on nothing drawn?"""
    for _, node in graph.nodes.items():
        for memory in (node.pre, node.post):
            if memory.training and not memory.foldable:
                return False
        if any(m.training and isinstance(m, _MIXING) for m in node.cell.modules()):
            return False
    return True


_MIXING: Final = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


def plan_of(graph: TemporalGraph, job: Job, options: Fast, safe: bool) -> Plan:
    """The plan of an unrolling."""
    nodes = dict(graph.nodes.items())
    on_cpu = _device(job).type == "cpu"
    every = range(job.steps)
    wanted: dict[str, set[int]] = {name: set(steps) for name, steps in job.wanted.items()}
    last = _ends(job) if job.keep_state else set()
    for name in nodes:
        kept = every if not safe else last
        if kept:
            wanted.setdefault(name, set()).update(kept)
    live: dict[str, int] = {}
    if safe and job.fresh and job.batch > 1:
        live = {n: min(t, job.steps) for n, t in job.timing.first_input_step.items()}
    stateless = {name for name, node in nodes.items() if node.cell.stateless}
    repeats = {n for n in stateless if safe and nodes[n].pre.foldable and nodes[n].post.foldable}
    return make_plan(
        Question(
            order=job.timing.order,
            inputs=graph.spec.sources,
            stimuli={
                name: [p for p in node.spec.inputs if p in job.frames]
                for name, node in nodes.items()
            },
            same_step=job.timing.same_step,
            steps=job.steps,
            wanted=wanted,
            stateless=stateless,
            repeats=repeats,
            first_live=live,
            frame=lambda stimulus, t: job.frames[stimulus].distinct(t),
            together=options.together or max(1, (_ROWS_CPU if on_cpu else _ROWS_GPU) // job.batch),
            block=options.block or max(1, _BLOCK // job.batch),
        )
    )


# Samples times steps beyond which a product gains nothing from more of them.
_ROWS_CPU: Final = 256
_BLOCK: Final = 8
_ROWS_GPU: Final = 8192


def _device(job: Job) -> torch.device:
    return next(iter(job.frames.values())).values.device


def _ends(job: Job) -> set[int]:
    """The last steps of the samples."""
    if job.lengths is None:
        return {job.steps - 1}
    return {int(end) - 1 for end in job.lengths}


def _convolutions(device: torch.device, low: torch.dtype | None) -> Convolutions:
    if device.type != "cpu":
        return "gather"
    return "copy" if low is not None and _has_amx() else "products"


@cache
def _has_amx() -> bool:
    """Matrix units for bfloat16? Asked of torch in a way that it may drop."""
    try:
        return bool(torch.cpu._is_amx_tile_supported())
    except AttributeError:
        return False


class _Run:
    """One unrolling under way."""

    def __init__(self, graph: TemporalGraph, job: Job, options: Fast, safe: bool) -> None:
        self.graph, self.job, self.options = graph, job, options
        self.plan = plan_of(graph, job, options, safe)
        first = next(iter(job.frames.values())).values
        self.device, self.dtype = first.device, first.dtype
        self.low = torch.bfloat16 if options.precision else None
        self.convolutions: Convolutions = options.convolutions or _convolutions(
            self.device, self.low
        )
        self.values: dict[tuple[str, int], Value] = {}
        self.left = dict(self.plan.reads)
        self.ends = _ends(job) if job.keep_state else set()
        self.end_states: dict[tuple[str, int], tuple[Tensor, ...]] = {}
        self.states: dict[str, tuple[Tensor, ...] | None] = {}
        self.nodes: dict[str, Worker] = {}
        self.kept = {
            (name, self.plan.source(name, t)) for name, steps in job.wanted.items() for t in steps
        } | {(name, self.plan.source(name, t)) for name in graph.nodes for t in self.ends}
        for name in self.plan.computed:
            self._prepare(name)
        for name, _ in (key for key in self.plan.reads if key[1] == BEFORE):
            self.values[name, BEFORE] = self._before(name)

    def _prepare(self, name: str) -> None:
        node = self.graph.nodes[name]
        inputs = [self._shape(p) for p in node.spec.inputs]
        rows = self.options.rows
        autocast = torch.is_autocast_enabled(self.device.type)
        wanted = not autocast if rows is None else rows
        if wanted and fits_rows(node):
            self.nodes[name] = RowsNode(
                node, inputs, self.dtype, self.low, self.job.batch, self.convolutions,
                self.options.compile, self.options.checkpoint,
            )  # fmt: skip
        else:
            self.nodes[name] = MapsNode(node, self.low)
        state = self.job.state.cells[name]
        self.states[name] = None if self.job.fresh else self.nodes[name].enter_state(state)

    def _shape(self, source: str) -> tuple[int, ...]:
        shapes = self.graph.input_shapes
        return shapes[source] if source in shapes else self.graph.shapes[source].out

    def _before(self, name: str) -> Value:
        """What was handed on before the first step."""
        y = self.job.state.outputs[name]
        return Value(maps=y[:1] if self.job.fresh else y, zero=self.job.fresh)

    def run(self) -> Done:
        for task in self.plan.tasks:
            self._do(task)
        job = self.job
        wanted = {
            name: torch.stack([self._whole(name, t) for t in steps], dim=1)
            for name, steps in job.wanted.items()
        }
        return Done(values=wanted, state=self._state() if job.keep_state else None)

    def _do(self, task: Task) -> None:
        name, steps = task.node, task.steps
        batch = 1 if task.shared else self.job.batch
        worker = self.nodes[name]
        spec, same_step = self.graph.nodes[name].spec, self.job.timing.same_step
        read: list[tuple[str, int]] = []
        sources: list[list[Value]] = []
        for p in spec.inputs:
            if p in self.job.frames:
                frames = self.job.frames[p]
                sources.append([Value(maps=frames.at(t)) for t in steps])
                continue
            lag = 0 if (p, name) in same_step else 1
            keys = [(p, self.plan.source(p, t - lag)) for t in steps]
            read += keys
            sources.append([self.values[key] for key in keys])
        state = self.states[name]
        if state is not None and state and state[0].shape[worker.batch_axis] != batch:
            state = _like(state, [worker.expand(s, batch) for s in state])
        entered = worker.enter(sources, batch)
        needed = [t in self.plan.needed[name] for t in steps]
        call = Call(steps, self.job.state.step, batch, needed)
        if self.options.checkpoint and torch.is_grad_enabled():
            outs, states = checkpoint(worker.compute, entered, state, call, use_reentrant=False)  # type: ignore[misc]
        else:
            outs, states = worker.compute(entered, state, call)
        self.states[name] = states[-1]
        for t, y, s in zip(steps, outs, states, strict=True):
            if y is not None:
                self.values[name, t] = worker.leave(y)
            if t in self.ends:
                self.end_states[name, t] = s
        for key in read:
            self.left[key] -= 1
            if not self.left[key] and key not in self.kept:
                del self.values[key]

    def _whole(self, name: str, t: int) -> Tensor:
        """An output for all samples."""
        y = self.values[name, self.plan.source(name, t)].maps
        return y.expand(self.job.batch, *y.shape[1:])

    def _state(self) -> GraphState:
        job = self.job
        ends = sorted(self.ends)
        outputs: dict[str, Tensor] = {}
        cells: dict[str, Any] = {}
        for name, node in self.graph.nodes.items():
            old = job.state.cells[name]
            outputs[name] = _choose(job.lengths, {t: self._whole(name, t) for t in ends})
            worker, parts = self.nodes[name], []
            for k in range(len(node.cell.state_shapes)):
                by_end = {}
                for t in ends:
                    s = worker.leave_state(self.end_states[name, t])[k]
                    by_end[t] = s.expand(job.batch, *s.shape[1:])
                parts.append(_choose(job.lengths, by_end))
            cells[name] = _like(old, parts)
        return GraphState(step=job.state.step + job.steps, outputs=outputs, cells=cells)


def _like(state: Any, parts: list[Tensor]) -> Any:
    """A state of the same kind: cells may read theirs by name."""
    return type(state)(*parts) if hasattr(type(state), "_fields") else type(state)(parts)


def _choose(lengths: Tensor | None, by_end: Mapping[int, Tensor]) -> Tensor:
    """For each sample the value at its own last step."""
    (_, found), *rest = by_end.items()
    for end, value in rest:
        assert lengths is not None
        mine = (lengths == end + 1).view(-1, *(1 for _ in value.shape[1:]))
        found = torch.where(mine, value, found)
    return found.contiguous()


schedules.register("fast")(Fast())
