"""Graphs in the JSON format of the TensorFlow original of PyTorchTNN (``convrnns``, ``tnn``).

PyTorchTNN itself does not read it. What it means here follows the one graph that was published in
both forms:

* a node with ``shape`` (row, column, channel) reads the stimulus, of that shape; one with
  ``shape_from`` does not; the node that no other reads is read out;
* ``pre_memory`` and ``post_memory`` are lists of functions: ``conv``, ``fc``, ``relu`` and so on;
* ``memory`` with ``memory_decay`` is the time-decay cell;
* ``xavier`` draws from the normal distribution, ``truncated_normal`` with ``stddev``.

Entries about the machine (``dtype``, seeds, zeros as start) and about the layers above the graph
are passed over. Inputs are concatenated as PyTorchTNN does, sorted by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.tnn import cells as c
from vibrissa.tnn import modules as m
from vibrissa.tnn.harbor import Shape
from vibrissa.tnn.peer_options import known, only, pair
from vibrissa.tnn.spec import STIMULUS, GraphSpec, Node

_ABOVE: Final = ("addnet", "layernum_add", "retres", "sep_num")

_INITS: Final = {"xavier": "xavier_normal", "truncated_normal": "trunc_normal"}

_FUNCTIONS: Final = ("elu", "relu", "sigmoid", "tanh")


def is_ancestor(tree: Mapping[str, Any]) -> bool:
    """Is a configuration in this format?"""
    nodes = tree.get("nodes")
    if not isinstance(nodes, list) or "input_nodes" in tree:
        return False
    return any(isinstance(node, Mapping) and "memory" in node for node in nodes)


def from_ancestor(tree: Mapping[str, Any], input_shape: Shape | None = None) -> GraphSpec:
    """Read a configuration in this format.

    Args:
        tree: the configuration; left unchanged.
        input_shape: (channel, row, column), in place of that of the file.

    Raises:
        InputError: an entry that has no equal here; the text names the node.
    """
    known("configuration", tree, ("nodes", "edges", *_ABOVE))
    nodes = {str(node["name"]): node for node in tree["nodes"]}
    edges = [(str(edge["from"]), str(edge["to"])) for edge in tree.get("edges", ())]
    for name in {name for edge in edges for name in edge}:
        if name not in nodes:
            raise refuse_unknown("edges: node", name, nodes)
    entries = [name for name, node in nodes.items() if "shape_from" not in node]
    shapes = {tuple(nodes[name].get("shape", ())) for name in entries}
    if input_shape is None:
        if len(shapes) != 1 or len(one := next(iter(shapes))) != 3:
            raise refuse(
                "configuration: shape", sorted(shapes), "not one (row, column, channel)",
                "give input_shape",
            )  # fmt: skip
        input_shape = (one[2], one[0], one[1])
    read = {source for source, _ in edges}
    tops = [name for name in nodes if name not in read]
    if len(tops) != 1:
        raise refuse(
            "configuration: edges", tops, "not one node that no other reads",
            "write the graph anew with its outputs",
        )  # fmt: skip
    return GraphSpec(
        nodes=tuple(
            _node(name, node, sorted(a for a, b in edges if b == name), name in entries)
            for name, node in nodes.items()
        ),
        outputs=(tops[0],),
        input_shape=tuple(input_shape),
    )


def _node(name: str, node: Mapping[str, Any], sources: list[str], entry: bool) -> Node:
    where = f"node {name}"
    known(where, node, (
        "name", "shape", "shape_from", "dtype", "input_init", "state_init", "harbor", "pre_memory",
        "memory", "post_memory",
    ))  # fmt: skip
    for part in ("input_init", "state_init"):
        only(where, node, part, {"function": "zeros"})
    only(where, node, "harbor", {"function": "harbor"})
    return Node(
        name=name,
        inputs=(STIMULUS, *sources) if entry else tuple(sources),
        size_from=STIMULUS if entry else node["shape_from"],
        pre=_memory(f"{where}: pre_memory", node.get("pre_memory", ())),
        cell=_cell(f"{where}: memory", node.get("memory")),
        post=_memory(f"{where}: post_memory", node.get("post_memory", ())),
    )


def _cell(where: str, tree: Mapping[str, Any] | None) -> c.CellConfig:
    if tree is None:
        return c.Identity()
    if not isinstance(tree, Mapping) or tree.get("function") != "memory":
        raise refuse(
            where, tree, "only the time decay, memory, is read",
            "write the graph anew with another cell",
        )  # fmt: skip
    known(where, tree, ("function", "memory_decay", "trainable"))
    return c.TimeDecay(
        tau=float(tree.get("memory_decay", 0)), trainable=bool(tree.get("trainable", False))
    )


def _memory(where: str, trees: Any) -> m.MemoryConfig:
    parts = tuple(_function(f"{where}[{k}]", tree) for k, tree in enumerate(trees))
    if len(parts) == 1:
        return parts[0]
    return m.Sequence(modules=parts) if parts else m.Identity()


def _function(where: str, tree: Mapping[str, Any]) -> m.MemoryConfig:
    if not isinstance(tree, Mapping):
        raise refuse(where, tree, "not a mapping", "give function: name, and its options")
    if tree.get("function") in ("conv", "fc") and "out_depth" not in tree:
        raise InputError(f"{where}: out_depth is missing; add it.")
    name = tree.get("function")
    if name in _FUNCTIONS:
        known(where, tree, ("function",))
        return m.Activation(name=str(name))
    if name == "conv":
        known(where, tree, (
            "function", "out_depth", "ksize", "strides", "padding", "kernel_init",
            "kernel_init_kwargs", "bias", "activation", "batch_norm",
        ))  # fmt: skip
        only(where, tree, "padding", "SAME", "VALID")
        if "ksize" not in tree:
            raise InputError(f"{where}: ksize is missing; add it.")
        strides = tree.get("strides", [1, 1, 1, 1])
        return m.Conv(
            channels=tree["out_depth"], kernel=pair(tree["ksize"]),
            stride=pair(strides[1:3]) if isinstance(strides, list) else strides,
            padding="valid" if tree.get("padding") == "VALID" else "same",
            **_companions(where, tree),
        )  # fmt: skip
    if name == "fc":
        known(where, tree, (
            "function", "out_depth", "kernel_init", "kernel_init_kwargs", "bias", "activation",
            "batch_norm", "dropout", "dropout_seed",
        ))  # fmt: skip
        return m.Full(units=tree["out_depth"], **_companions(where, tree))
    raise refuse_unknown(f"{where}: function", str(name), ("conv", "fc", *_FUNCTIONS))


def _companions(where: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    only(where, tree, "batch_norm", False, None)
    only(where, tree, "activation", None, *_FUNCTIONS)
    kind = tree.get("kernel_init", "xavier")
    if kind not in _INITS:
        raise refuse_unknown(f"{where}: kernel_init", str(kind), _INITS)
    options = dict(tree.get("kernel_init_kwargs") or {})
    known(f"{where}: kernel_init_kwargs", options, ("seed", "stddev"))
    std = options.get("stddev")
    rate = tree.get("dropout")
    return {
        "init": m.Init(name=_INITS[kind], options={} if std is None else {"std": std}),
        "bias": float(tree.get("bias", 0)),
        "activation": tree.get("activation"),
        "dropout": m.Dropout(rate=rate) if rate else None,
    }
