"""Shapes of all nodes of a graph, from its specification and the stimuli; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.cells import ContextShape
from vibrissa.tnn.harbor import Shape
from vibrissa.tnn.spec import GraphSpec, Node
from vibrissa.tnn.validation import shapes_by_stimulus


@dataclass(frozen=True)
class NodeShapes:
    """Shapes within a node, without the batch: (channel, row, column) or (channel,).

    Attributes:
        inputs: of each input, before the harbor.
        size_from: the node or stimulus that gave the harbor's size.
        harbor: what leaves the harbor.
        context: its feedforward and feedback parts, for cells that read them.
        pre: what leaves the pre-memory and enters the cell.
        cell: what leaves the cell.
        out: what leaves the node.
    """

    inputs: tuple[Shape, ...]
    size_from: str
    harbor: Shape
    context: ContextShape | None
    pre: Shape
    cell: Shape
    out: Shape


def infer_shapes(
    spec: GraphSpec, input_shape: Shape | Mapping[str, Shape] | None = None
) -> dict[str, NodeShapes]:
    """Shapes of all nodes.

    Sizes flow along ``size_from`` and channels along all edges. Around a cycle both are found by
    going round until nothing changes.

    Args:
        spec: the graph.
        input_shape: of one frame, if the graph does not say it or to take its place.

    Raises:
        InputError: no input shape; inputs of a node that do not fit together; a module that refuses
            its input; sizes or channels that depend on themselves. The node is named.
    """
    wanted = spec.input_shape if input_shape is None else input_shape
    if wanted is None:
        raise refuse(
            "input_shape", None, "the graph does not say it",
            "give (channel, row, column) of one frame, or (channel,)",
        )  # fmt: skip
    stimuli = shapes_by_stimulus(spec, wanted)
    order = spec.timing().order
    size_from = {name: _size_source(spec, spec[name]) for name in order}
    _check_anchored(spec, size_from)
    known: dict[str, Shape] = dict(stimuli)
    changed = order
    for _ in range(len(order) + 2):
        before = dict(known)
        for name in order:
            found = _try_out(spec, name, known, size_from[name])
            if found is not None:
                known[name] = found
        changed = tuple(name for name in order if known.get(name) != before.get(name))
        if not changed:
            break
    if changed:
        raise refuse(
            f"node {changed[0]}: channels", known[changed[0]][0],
            "they grow around a cycle without end",
            "set the width there with a convolution or a fully connected module",
        )  # fmt: skip
    for name in order:  # what is unknown now has refused its input: let the first say why
        if name not in known and size_from[name] in known:
            _refuse_unknown(spec, name, known, size_from[name])
    return {name: _node_shapes(spec, name, known, size_from[name]) for name in order}


def _refuse_unknown(spec: GraphSpec, name: str, known: Mapping[str, Shape], source: str) -> None:
    missing = [p for p in spec[name].inputs if p not in known and not spec[p].out_channels]
    try:
        _node_shapes(spec, name, known, source)
    except InputError as error:
        if not missing:
            raise
        raise InputError(
            f"{str(error).rstrip('.')}; if the reason is that the channels of "
            f"{', '.join(missing)}, which depend on it in turn, were not known yet, set "
            "out_channels there."
        ) from error


def _size_source(spec: GraphSpec, node: Node) -> str:
    """Whose output gives the harbor's size."""
    if node.size_from is not None:
        return node.size_from
    stimuli = [p for p in node.inputs if p in spec.stimuli]
    return stimuli[0] if stimuli else min(node.inputs, key=lambda p: spec.depth[p])


def _check_anchored(spec: GraphSpec, size_from: Mapping[str, str]) -> None:
    """Refuse sizes that are taken from one another in a circle."""
    for start in size_from:
        trail = [start]
        while (source := size_from[trail[-1]]) not in spec.stimuli:
            if source in trail:
                raise refuse(
                    f"node {source}: size_from", size_from[source],
                    f"no feedforward source: {', '.join(trail)} take their size from one another",
                    "set size_from of one of them to the stimulus or to a node nearer to it",
                )  # fmt: skip
            trail.append(source)


def _try_out(spec: GraphSpec, name: str, known: Mapping[str, Shape], source: str) -> Shape | None:
    """The node's output from what is known so far; None where that does not suffice yet."""
    if source not in known:
        return None
    try:
        return _node_shapes(spec, name, known, source).out
    except InputError:
        return None  # the last word is spoken when all inputs are known


def _node_shapes(
    spec: GraphSpec,
    name: str,
    known: Mapping[str, Shape],
    source: str,
) -> NodeShapes:
    """Shapes within a node; inputs that are not known yet count with their declared channels."""
    node = spec[name]
    inputs = {p: known[p] for p in node.inputs if p in known}
    missing = [p for p in node.inputs if p not in known]
    guessed = {p: spec[p].out_channels or 0 for p in missing}
    size = known[source][1:]
    _check_inputs(node, inputs, source, size)
    parts = [known[p][0] if p in known else guessed[p] for p in node.inputs]
    harbor = (sum(parts), *size)
    where = f"node {name}"
    context = None
    enters = harbor
    if node.cell.uses_context:
        feedforward = feedforward_inputs(spec, node, source)
        forward = sum(n for p, n in zip(node.inputs, parts, strict=True) if p in feedforward)
        feedback = sum(parts) - forward
        enters = (forward, *size)
        context = ContextShape(enters, (feedback, *size) if feedback else None)
    residual = enters if node.residual else None
    pre = _asked(f"{where}: pre", lambda: node.pre.output_shape(enters, residual=residual))
    cell = _asked(f"{where}: cell", lambda: _cell_shape(node, pre, context))
    out = _asked(f"{where}: post", lambda: node.post.output_shape(cell, residual=residual))
    if node.out_channels is not None and out[0] != node.out_channels:
        raise refuse(
            f"{where}: out_channels", node.out_channels, f"its modules give {out[0]}",
            "correct it or leave it out",
        )  # fmt: skip
    arrived = tuple(inputs[p] for p in node.inputs if p in inputs)
    return NodeShapes(arrived, source, harbor, context, pre, cell, out)


def feedforward_inputs(spec: GraphSpec, node: Node, source: str) -> tuple[str, ...]:
    """The inputs that count as feedforward: those declared, else stimuli, else that of the size.

    Raises:
        InputError: there is none.
    """
    if node.feedforward:
        return node.feedforward
    found = tuple(p for p in node.inputs if p in spec.stimuli) or tuple(
        p for p in node.inputs if p == source
    )
    if not found:
        raise refuse(
            f"node {node.name}: feedforward", [], "no input is the feedforward source",
            f"name it, one of {', '.join(node.inputs)}",
        )  # fmt: skip
    return found


def _check_inputs(node: Node, inputs: Mapping[str, Shape], source: str, size: Shape) -> None:
    for name, shape in inputs.items():
        if len(shape) - 1 != len(size):
            kind = {0: "a vector", 2: "a map"}
            raise refuse(
                f"node {node.name}: inputs", name,
                f"it is {kind[len(shape) - 1]} {shape}, but {source} gives the size of "
                f"{kind[len(size)]}",
                "read vectors and maps in different nodes, or flatten the map in its own node",
            )  # fmt: skip
        if node.harbor == "concat" and shape[1:] != size:
            raise refuse(
                f"node {node.name}: inputs", name,
                f"its size {shape[1:]} is not {size}, that of {source}",
                "use the harbor resize_concat, or pool one of them",
            )  # fmt: skip


def _cell_shape(node: Node, pre: Shape, context: ContextShape | None) -> Shape:
    with torch.device("meta"):  # no memory, no random numbers
        return node.cell.build(pre, context=context).out_shape


def _asked(where: str, question: Callable[[], Shape]) -> Shape:
    try:
        return question()
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
