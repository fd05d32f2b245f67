"""Weights of PyTorchTNN, both ways.

Key map, for a node ``n``; ``P`` is ``n._pre_memory`` or ``n._post_memory`` there and
``nodes.n.pre`` or ``nodes.n.post`` here, ``C`` is ``n._recurrent_cell`` there and ``nodes.n.cell``
here:

=============================================  ===================================================
PyTorchTNN                                     here
=============================================  ===================================================
``P.conv.*``, ``P.lin.*``                      ``P.*`` (full: columns channel-major in both)
``P.bn.*`` (channels,)                         ``P.batch_norm.*``, averages (1, channels)
``P.bns.<t>.*``                                ``P.batch_norm.*``, row t
``P.feedforward``, ``P.residual``              ``P.main``, ``P.beside``
``P.sequential_mem.<k>``                       ``P.parts.<k>``
``C.tau``                                      ``C.tau``
``C.conv.weight`` over [x, s]                  ``C.input.weight``, ``C.state.weight``, in this order
``C.conv.bias``                                ``C.input.bias``
GRU: ``C.conv_ru``, ``C.conv_c``               rows r, u, c of ``C.input``; ``C.state`` (r, u) and
                                               ``C.candidate`` (c) on the state
``C.conv_input.*``, ``C.conv_state.*``         ``C.input.*``, ``C.state.*``
UGRNN ``C.ln_g_act``, ``ln_c_act``             ``C.norm.g``, ``c``
Intersection ``C.ln_gh_act`` and so on         ``C.norm.gh``, ``h``, ``gy``, ``y``
GRU ``C.ln_r_pre``, ``ln_u_pre``, ``ln_c_pre``  ``C.norm.r``, ``u``, ``c``
LSTM ``C.ln_input``, ``ln_transform``,         ``C.norm.i``, ``j``, ``f``, ``o``, ``c``
``ln_forget``, ``ln_output``, ``ln_state``
vanilla ``C.ln``                               ``C.norm.s``
reciprocal ``C.<map>_conv.conv.*``             ``C.<map>.*``, see ``_RECIPROCAL``
=============================================  ===================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn import cells as c
from vibrissa.tnn import modules as m
from vibrissa.tnn.graph import GraphNode, TemporalGraph, module_key

State = Mapping[str, Tensor]

_NORMS: Final[dict[type, dict[str, str]]] = {
    c.UGRNNCell: {"g": "ln_g_act", "c": "ln_c_act"},
    c.IntersectionCell: {k: f"ln_{k}_act" for k in ("gh", "h", "gy", "y")},
    c.GRUCell: {k: f"ln_{k}_pre" for k in "ruc"},
    c.LSTMCell: {
        "i": "ln_input", "j": "ln_transform", "f": "ln_forget", "o": "ln_output", "c": "ln_state",
    },
    c.VanillaCell: {"s": "ln"},
    c.ReciprocalGatedCell: {"c": "ln_cell", "o": "ln_out"},
}  # fmt: skip

_RECIPROCAL: Final = {
    "cell_tau": "cell_tau", "cell_gate": "cell_gate", "input_to_cell": "inp2cell",
    "out_tau": "out_tau", "cell_to_out": "cell2out", "residual_to_gate": "out_gate",
    "feedback": "feedback", "input_to_out": "inp2out", "residual_to_cell": "res2cell",
    "residual_to_out": "res2out",
}  # fmt: skip

_AVERAGES: Final = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Link:
    """Tensors here that hold the same numbers as tensors there.

    Attributes:
        ours: keys here.
        theirs: keys there.
        to_ours: the tensors here from those there.
        to_theirs: the other way.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    to_ours: Callable[..., tuple[Tensor, ...]]
    to_theirs: Callable[..., tuple[Tensor, ...]]


def state_from_peer(graph: TemporalGraph, state: State) -> dict[str, Tensor]:
    """A state dict of PyTorchTNN's ``TemporalGraph`` as one of the equal graph here.

    Args:
        graph: the graph, for instance from :func:`~vibrissa.tnn.peer.from_peer`.
        state: its state dict there; left unchanged.

    Returns:
        What ``graph.load_state_dict`` takes.

    Raises:
        InputError: keys are missing or left over, or the graph has no equal there.
    """
    links = peer_links(graph)
    _check_keys(state, [key for link in links for key in link.theirs], "PyTorchTNN")
    found: dict[str, Tensor] = {}
    for link in links:
        values = link.to_ours(*(state[key].detach() for key in link.theirs))
        found.update(zip(link.ours, values, strict=True))
    return found


def state_to_peer(graph: TemporalGraph, state: State | None = None) -> dict[str, Tensor]:
    """The state dict of the equal ``TemporalGraph`` of PyTorchTNN.

    Args:
        graph: the graph.
        state: its state dict; that of its present parameters if omitted.

    Raises:
        InputError: keys are missing or left over, or the graph has no equal there.
    """
    links = peer_links(graph)
    state = graph.state_dict() if state is None else state
    _check_keys(state, [key for link in links for key in link.ours], "the graph")
    found: dict[str, Tensor] = {}
    for link in links:
        values = link.to_theirs(*(state[key].detach() for key in link.ours))
        found.update(zip(link.theirs, values, strict=True))
    return found


def peer_links(graph: TemporalGraph) -> list[Link]:
    """The key map of a graph, tensor by tensor.

    Raises:
        InputError: inputs of a node are not in PyTorchTNN's order, or a module has no equal there.
    """
    links: list[Link] = []
    for name, node in graph.nodes.items():
        stimuli = [p for p in node.spec.inputs if p in graph.spec.stimuli]
        others = sorted(p for p in node.spec.inputs if p not in graph.spec.stimuli)
        if list(node.spec.inputs) != stimuli + others:
            raise refuse(
                f"node {name}: inputs", list(node.spec.inputs),
                "PyTorchTNN concatenates the stimulus, then the nodes sorted by name",
                "put them in that order before training",
            )  # fmt: skip
        links.extend(_node_links(name, node))
    return links


def _node_links(name: str, node: GraphNode) -> Iterator[Link]:
    ours = f"nodes.{module_key(name)}"
    try:
        yield from _memory_links(node.pre, f"{ours}.pre.", f"{name}._pre_memory.")
        yield from _cell_links(node.cell, f"{ours}.cell.", f"{name}._recurrent_cell.")
        yield from _memory_links(node.post, f"{ours}.post.", f"{name}._post_memory.")
    except InputError as error:
        raise InputError(f"node {name}: {error}") from error


def _memory_links(module: m.Memory, ours: str, theirs: str) -> Iterator[Link]:
    if isinstance(module, m.ConvModule | m.FullModule):
        inner = "conv." if isinstance(module, m.ConvModule) else "lin."
        yield _same(f"{ours}weight", f"{theirs}{inner}weight")
        if module.bias is not None:
            yield _same(f"{ours}bias", f"{theirs}{inner}bias")
        if module.batch_norm is not None:
            yield from _batch_norm_links(module.batch_norm, f"{ours}batch_norm.", theirs)
    elif isinstance(module, m.ResidualAddModule):
        yield from _memory_links(module.main, f"{ours}main.", f"{theirs}feedforward.")
        yield from _memory_links(module.beside, f"{ours}beside.", f"{theirs}residual.")
    elif isinstance(module, m.SequenceModule):
        for k, part in enumerate(module.parts):
            assert isinstance(part, m.Memory)
            yield from _memory_links(part, f"{ours}parts.{k}.", f"{theirs}sequential_mem.{k}.")
    elif next(iter(module.state_dict()), None) is not None:
        raise refuse("module", type(module).__name__, "it has no equal in PyTorchTNN", "replace it")


def _batch_norm_links(norm: m.BatchNormModule, ours: str, theirs: str) -> Iterator[Link]:
    config = norm.config
    names = (("weight", "bias") if config.affine else ()) + _AVERAGES
    if not config.per_step:
        for name in names:
            if name in _AVERAGES:
                yield Link(
                    (f"{ours}{name}",), (f"{theirs}bn.{name}",),
                    lambda row: (row[None].clone(),), lambda table: (table[0].clone(),),
                )  # fmt: skip
            else:
                yield _same(f"{ours}{name}", f"{theirs}bn.{name}")
        return
    if config.steps is None:
        raise refuse("batch_norm: steps", None, "PyTorchTNN fixes their number", "give steps")
    for name in names:
        keys = tuple(f"{theirs}bns.{t}.{name}" for t in range(config.steps))
        yield Link(
            (f"{ours}{name}",), keys,
            lambda *rows: (torch.stack(rows),),
            lambda table, n=config.steps: tuple(row.clone() for row in table[:n]),
        )  # fmt: skip


def _cell_links(cell: c.Cell, ours: str, theirs: str) -> Iterator[Link]:
    kind = type(cell)
    if isinstance(cell, c.IdentityCell):
        return
    if isinstance(cell, c.TimeDecayCell):
        if cell.config.bounds is not None or cell.config.layer_norm:
            raise refuse("cell", "time_decay", "bounds and layer norm are ours", "leave them out")
        yield _same(f"{ours}tau", f"{theirs}tau")
    elif isinstance(cell, c.UGRNNCell | c.IntersectionCell | c.LSTMCell):
        wide = cell.in_shape[0]
        yield Link(
            (f"{ours}input.weight", f"{ours}state.weight"), (f"{theirs}conv.weight",),
            lambda w: (w[:, :wide].clone(), w[:, wide:].clone()),
            lambda x, s: (torch.cat([x, s], dim=1),),
        )  # fmt: skip
        yield _same(f"{ours}input.bias", f"{theirs}conv.bias")
    elif isinstance(cell, c.GRUCell):
        yield from _gru_links(cell, ours, theirs)
    elif isinstance(cell, c.VanillaCell):
        for part in ("input", "state"):
            for name in ("weight", "bias"):
                yield _same(f"{ours}{part}.{name}", f"{theirs}conv_{part}.{name}")
    elif isinstance(cell, c.ReciprocalGatedCell):
        for here, there in _RECIPROCAL.items():
            map_ = getattr(cell, here)
            if map_ is None:
                continue
            parts = {"": "conv."}
            if isinstance(map_, c.SeparableMap):
                parts = {"depthwise.": "depth_wise.", "pointwise.": "point_wise."}
            for inner, outer in parts.items():
                for name in ("weight", "bias"):
                    yield _same(
                        f"{ours}{here}.{inner}{name}", f"{theirs}{there}_conv.{outer}{name}"
                    )
    else:
        raise refuse("cell", kind.__name__, "it has no equal in PyTorchTNN", "use another")
    for gate, there in _NORMS.get(kind, {}).items():
        for name in ("weight", "bias"):
            if f"norm.{gate}.{name}" in cell.state_dict():
                yield _same(f"{ours}norm.{gate}.{name}", f"{theirs}{there}.{name}")
    if getattr(getattr(cell, "config", None), "norm_axes", "channel") != "channel":
        raise refuse("norm_axes", "all", "PyTorchTNN norms over channels", "use channel")


def _gru_links(cell: c.GRUCell, ours: str, theirs: str) -> Iterator[Link]:
    wide, gates = cell.in_shape[0], 2 * cell.channels
    yield Link(
        (f"{ours}input.weight", f"{ours}state.weight", f"{ours}candidate.weight"),
        (f"{theirs}conv_ru.weight", f"{theirs}conv_c.weight"),
        lambda ru, new: (
            torch.cat([ru[:, :wide], new[:, :wide]]), ru[:, wide:].clone(), new[:, wide:].clone(),
        ),
        lambda x, s, r: (
            torch.cat([x[:gates], s], dim=1), torch.cat([x[gates:], r], dim=1),
        ),
    )  # fmt: skip
    yield Link(
        (f"{ours}input.bias",), (f"{theirs}conv_ru.bias", f"{theirs}conv_c.bias"),
        lambda ru, new: (torch.cat([ru, new]),),
        lambda bias: (bias[:gates].clone(), bias[gates:].clone()),
    )  # fmt: skip


def _same(ours: str, theirs: str) -> Link:
    return Link((ours,), (theirs,), lambda x: (x.clone(),), lambda x: (x.clone(),))


def _check_keys(state: State, wanted: list[str], whose: str) -> None:
    missing = [key for key in wanted if key not in state]
    known = set(wanted)
    extra = [key for key in state if key not in known]
    if missing or extra:
        odd = (missing or extra)[0]
        what = f"{len(missing)} keys are missing" if missing else f"{len(extra)} keys are left over"
        raise refuse(
            f"state dict of {whose}", odd, f"{what}, this among them",
            "give the state dict of the same configuration",
        )  # fmt: skip
