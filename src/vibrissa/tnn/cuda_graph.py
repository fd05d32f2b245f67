"""An unrolling recorded as a CUDA graph: all its kernels are launched at once afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from vibrissa.core.errors import refuse
from vibrissa.tnn.job import Done, Job

if TYPE_CHECKING:
    from vibrissa.tnn.graph import TemporalGraph

Run = Callable[[Job], Done]


class _Recording:
    """The kernels of one unrolling, with tensors of their own for what goes in and comes out.

    Parameters are read where they are: changing them in place changes what a replay gives.
    """

    def __init__(self, job: Job, run: Run) -> None:
        self.inputs: dict[str, Tensor] = {}
        frames = {}
        for name, old in job.frames.items():
            frames[name] = copy.copy(old)
            frames[name].values = self.inputs[name] = old.values.clone()
        job = replace(job, frames=frames)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # constants are made and libraries warm up
            for _ in range(2):
                run(job)
        torch.cuda.current_stream().wait_stream(aside)
        self.kernels = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.kernels):
            self.done = run(job)

    def __call__(self, job: Job) -> Done:
        for name, values in self.inputs.items():
            values.copy_(job.frames[name].values)
        self.kernels.replay()
        return Done(values={name: y.clone() for name, y in self.done.values.items()}, state=None)


_RECORDINGS: Final[WeakKeyDictionary[Any, dict[Hashable, _Recording]]] = WeakKeyDictionary()


def replayed(graph: TemporalGraph, job: Job, options: Hashable, run: Run) -> Done:
    """Do a job by replaying the recording of an equal one, which is made if there is none.

    Raises:
        InputError: a job that cannot be recorded.
    """
    first = next(iter(job.frames.values())).values
    bad = None
    if first.device.type != "cuda":
        bad = f"the inputs are on {first.device}"
    elif torch.is_grad_enabled():
        bad = "gradients are recorded"
    elif graph.training:
        bad = "the graph is in training mode"
    elif not job.fresh or job.keep_state or job.lengths is not None:
        bad = "states and lengths are not replayed"
    elif any(frames._blank_from is not None for frames in job.frames.values()):
        bad = "input gates are not replayed"
    if bad:
        raise refuse(
            "cuda_graph", True, bad,
            "use it for whole sequences on CUDA, after eval() and under torch.no_grad()",
        )  # fmt: skip
    shapes = tuple((n, f.values.shape, f.values.dtype, f.static) for n, f in job.frames.items())
    wanted = tuple(job.wanted.items())
    key = (options, job.steps, job.timing.order, job.timing.same_step, wanted, shapes, first.device)
    made = _RECORDINGS.setdefault(graph, {})
    if key not in made:
        made[key] = _Recording(job, run)
    return made[key](job)
