"""The schedule that is the definition: step by step, node by node."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vibrissa.tnn.job import Done, GraphState, Job, map_state, schedules

if TYPE_CHECKING:
    from vibrissa.tnn.graph import TemporalGraph


@dataclass(frozen=True, kw_only=True)
class Stepwise:
    """The step-by-step schedule, :func:`stepwise`.

    Attributes:
        prune: leave out what neither a wanted output nor the state at the end depends on (not with
            ``lengths``). In training, batch norm then does not see it either.
    """

    prune: bool = False

    def __call__(self, graph: TemporalGraph, job: Job) -> Done:
        prune = self.prune and job.lengths is None
        return stepwise(graph, job, _needed(graph, job) if prune else None)


def stepwise(
    graph: TemporalGraph, job: Job, needed: Collection[tuple[str, int]] | None = None
) -> Done:
    """Unroll a graph as its equations say.

    At step t, for every node n with inputs p in their declared order::

        in_n(t)        = concat( resize_n( v_p ) ),   v_p = stimulus(t)   for a stimulus
                                                            y_p(t)        for an edge in same_step
                                                            y_p(t - 1)    for any other edge
        u_n(t)         = pre_n( in_n(t) )
        o_n(t), s_n(t) = cell_n( u_n(t), s_n(t - 1) )
        y_n(t)         = post_n( o_n(t) )   or   post_n( o_n(t), residual = in_n(t) )

    with ``y(-1) = 0`` and ``s_n(-1)`` the cell's initial state, or both as handed over. In
    biological unrolling ``same_step`` holds what the graph declares (usually nothing: every edge
    takes one step); in a full pass it holds all edges that point forwards in the order.

    Args:
        graph: the graph.
        job: what to unroll.
        needed: (node, step) that are computed; all if omitted. The state is then not handed back
            unless the job asks for it.
    """
    same_step = job.timing.same_step
    outputs, cells = dict(job.state.outputs), dict(job.state.cells)
    taken: dict[str, list[Tensor]] = {name: [] for name in job.wanted}
    wanted = {name: frozenset(steps) for name, steps in job.wanted.items()}
    for t in range(job.steps):
        now: dict[str, Tensor] = {}
        cells_now = {}
        for name in job.timing.order:
            if needed is not None and (name, t) not in needed:
                continue
            node = graph.nodes[name]
            values = []
            for source in node.spec.inputs:
                if source in job.frames:
                    values.append(job.frames[source].at(t))
                elif (source, name) in same_step:
                    values.append(now[source])
                else:
                    values.append(outputs[source])
            now[name], cells_now[name] = node(values, cells[name], t=job.state.step + t)
        for name, steps in wanted.items():
            if t in steps:
                taken[name].append(now[name])
        if job.lengths is not None:  # samples that are over stay as they were
            keep = partial(_where, job.lengths > t)
            now = {name: keep(y, outputs[name]) for name, y in now.items()}
            cells_now = {name: map_state(keep, s, cells[name]) for name, s in cells_now.items()}
        outputs, cells = now, {**cells, **cells_now}
    state = None
    if needed is None or job.keep_state:
        state = GraphState(step=job.state.step + job.steps, outputs=outputs, cells=cells)
    values = {name: torch.stack(list_, dim=1) for name, list_ in taken.items()}
    return Done(values=values, state=state)


def _needed(graph: TemporalGraph, job: Job) -> set[tuple[str, int]]:
    """(node, step) on which something wanted depends, found from the last step backwards."""
    last = job.steps - 1
    found: set[tuple[str, int]] = set()
    outputs = {(name, t) for name, steps in job.wanted.items() for t in steps}
    if job.keep_state:
        outputs |= {(name, last) for name in graph.nodes}
    for t in range(last, -1, -1):
        for name in reversed(job.timing.order):
            node = graph.nodes[name]
            if (name, t) in outputs or ((name, t + 1) in found and not node.cell.stateless):
                found.add((name, t))
                outputs |= {
                    (p, t if (p, name) in job.timing.same_step else t - 1)
                    for p in node.spec.inputs
                    if p not in job.frames
                }
    return found


def _where(going: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(going.view(-1, *(1 for _ in new.shape[1:])), new, old)


schedules.register("stepwise")(Stepwise())
