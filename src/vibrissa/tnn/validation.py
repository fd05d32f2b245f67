"""What a graph must be before it can be built; every refusal names the node and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.tnn.order import NEVER, cycle_among

if TYPE_CHECKING:
    from vibrissa.tnn.spec import GraphSpec, Node

_SMALL = 3


def check_node(node: Node) -> None:
    """Refuse a node that is wrong by itself.

    Raises:
        InputError: no name, no inputs, an input twice, or an entry of another kind.
    """
    if not isinstance(node.name, str) or not node.name or node.name != node.name.strip():
        raise refuse("node", node.name, "a name must be a word", "give it one")
    where = f"node {node.name}"
    for field in ("inputs", "feedforward", "same_step"):
        _names(where, field, getattr(node, field))
    if not node.inputs:
        raise refuse(
            f"{where}: inputs", [], "it reads nothing",
            "name the stimulus or the nodes that it reads",
        )  # fmt: skip
    for field in ("feedforward", "same_step"):
        for name in getattr(node, field):
            if name not in node.inputs:
                raise refuse(
                    f"{where}: {field}", name, f"not among its inputs {', '.join(node.inputs)}",
                    "name inputs only",
                )  # fmt: skip
    if node.harbor not in ("resize_concat", "concat"):
        raise refuse(f"{where}: harbor", node.harbor, "unknown", "resize_concat or concat")
    if node.out_channels is not None and not _positive(node.out_channels):
        raise refuse(f"{where}: out_channels", node.out_channels, "not a width", "give 1 or more")
    _check_parts(node, where)


def _check_parts(node: Node, where: str) -> None:
    from vibrissa.tnn.cells import CellConfig
    from vibrissa.tnn.modules import MemoryConfig

    for field, base in (("pre", MemoryConfig), ("cell", CellConfig), ("post", MemoryConfig)):
        value = getattr(node, field)
        if not isinstance(value, base):
            raise refuse(
                f"{where}: {field}", value, f"not a {base.__name__}",
                "give one of the configuration classes (trees are read by GraphSpec.from_tree)",
            )  # fmt: skip


def check_names(spec: GraphSpec) -> None:
    """Refuse names that are missing, not text or stand twice."""
    if not spec.nodes:
        raise refuse("nodes", [], "a graph needs nodes", "add one")
    names = [node.name for node in spec.nodes]
    for field, value in (("outputs", spec.outputs), ("stimuli", spec.stimuli)):
        _names("graph", field, value)
        if not value:
            raise refuse(f"graph: {field}", [], "empty", "name at least one")
    for name in names:
        if names.count(name) > 1:
            raise refuse("node", name, "two nodes have this name", "rename one")
        if name in spec.stimuli:
            raise refuse("node", name, "a stimulus has this name", "rename the node")


def check_graph(spec: GraphSpec) -> None:
    """Refuse a graph whose edges do not fit together. Shapes are for :mod:`.shapes`.

    Raises:
        InputError: an unknown name, a node that the stimulus does not reach, a cycle without delay,
            an order that is none, or a shape of the wrong form.
    """
    names = [node.name for node in spec.nodes]
    known = [*spec.stimuli, *names]
    for node in spec.nodes:
        _known(f"node {node.name}: inputs", node.inputs, known)
        if node.size_from is not None:
            _known(f"node {node.name}: size_from", [node.size_from], known)
        for name in node.same_step:
            if name in spec.stimuli:
                raise refuse(
                    f"node {node.name}: same_step", name,
                    "a stimulus always delivers in the same step", "leave it out",
                )  # fmt: skip
    _known("graph: outputs", spec.outputs, names)
    _check_reached(spec)
    edges = {(p, node.name) for node in spec.nodes for p in node.same_step}
    cycle = cycle_among(edges)
    if cycle:
        raise refuse(
            f"node {cycle[0]}: same_step", [p for p in spec[cycle[0]].same_step if p in cycle],
            f"a cycle without a delay ({', '.join(cycle)} wait for one another within one step)",
            "take one of these out of same_step",
        )  # fmt: skip
    if spec.order is not None:
        _check_order(spec, names, edges)
    if spec.input_shape is not None:
        shapes_by_stimulus(spec, spec.input_shape)


def _check_reached(spec: GraphSpec) -> None:
    for stimulus in spec.stimuli:
        if not any(stimulus in node.inputs for node in spec.nodes):
            raise refuse(
                "graph: stimuli", stimulus, "no node reads it",
                "put it among the inputs of the nodes that see it",
            )  # fmt: skip
    lost = [name for name, steps in spec.depth.items() if steps == NEVER]
    if lost:
        first = lost[0]
        raise refuse(
            f"node {first}: inputs", list(spec[first].inputs),
            f"no path leads from {' or '.join(spec.stimuli)} to {', '.join(lost[:_SMALL])}",
            "let one of them read the stimulus or a node that it reaches, or take them out",
        )  # fmt: skip


def _check_order(spec: GraphSpec, names: list[str], edges: set[tuple[str, str]]) -> None:
    assert spec.order is not None
    _known("graph: order", spec.order, names)
    if sorted(spec.order) != names:
        missing = sorted(set(names) - set(spec.order))
        raise refuse(
            "graph: order", list(spec.order), f"not every node once ({missing or 'one twice'})",
            "name each node once",
        )  # fmt: skip
    place = {name: k for k, name in enumerate(spec.order)}
    for source, name in sorted(edges):
        if place[source] > place[name]:
            raise refuse(
                "graph: order", list(spec.order),
                f"{name} reads {source} in the same step but comes first",
                f"move {source} before {name}",
            )  # fmt: skip


def shapes_by_stimulus(spec: GraphSpec, shape: Any) -> dict[str, tuple[int, ...]]:
    """Stimulus -> shape of one frame.

    Args:
        spec: the graph.
        shape: (channel, row, column) or (channel,), or a mapping from stimulus to such.

    Raises:
        InputError: a stimulus without shape, or a shape of another form.
    """
    if not isinstance(shape, Mapping):
        if len(spec.stimuli) > 1:
            raise refuse(
                "input_shape", shape, f"the graph has the stimuli {', '.join(spec.stimuli)}",
                "give a mapping from stimulus to shape",
            )  # fmt: skip
        shape = dict.fromkeys(spec.stimuli, shape)
    for name in shape:
        if name not in spec.stimuli:
            raise refuse_unknown("input_shape: stimulus", name, spec.stimuli)
    found = {}
    for name in spec.stimuli:
        if name not in shape:
            raise refuse("input_shape", dict(shape), f"no shape for {name}", "add it")
        value = shape[name]
        listed: tuple[Any, ...] = tuple(value) if isinstance(value, Iterable) else ()
        if len(listed) not in (1, 3) or not all(_positive(n) for n in listed):
            raise refuse(
                "input_shape", value, "not the shape of one frame",
                "give (channel, row, column) or (channel,)",
            )  # fmt: skip
        found[name] = listed
    return found


def _positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _names(where: str, field: str, value: Any) -> None:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise refuse(f"{where}: {field}", value, "not a tuple of names", "give ('a', 'b')")
    for name in value:
        if value.count(name) > 1:
            raise refuse(f"{where}: {field}", name, "it stands twice", "name it once")


def _known(field: str, given: Iterable[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise refuse_unknown(field, name, known)
