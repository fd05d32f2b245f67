"""Graphs of PyTorchTNN: its JSON configurations, read so that the numbers stay the same.

Weights are in :mod:`vibrissa.tnn.peer_weights`, the format of its TensorFlow original in
:mod:`vibrissa.tnn.peer_ancestor`. What it means there and here:

====================================  =============================================
PyTorchTNN                            here
====================================  =============================================
``nodes[].shape_from``                ``Node.size_from``
``harbor_policy``                     ``Node.harbor``
edges, in order of node names         ``Node.inputs``: the stimulus, then sorted names
``pre_memory``, ``post_memory``       ``Node.pre``, ``Node.post``
``recurrent_cell``                    ``Node.cell``
``num_timesteps``                     steps of a per-step batch norm
``ff_order``                          ``GraphSpec.order``
====================================  =============================================

Options that PyTorchTNN accepts without effect are passed over; those that it does not know, and
drops in silence, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from vibrissa.core.config import read_yaml
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.tnn import modules as m
from vibrissa.tnn.harbor import HarborName, Shape
from vibrissa.tnn.peer_ancestor import from_ancestor, is_ancestor
from vibrissa.tnn.peer_cells import CELLS
from vibrissa.tnn.peer_options import activation, init, known, named, only, pair
from vibrissa.tnn.spec import STIMULUS, GraphSpec, Node

_HARBORS: Final[dict[str, HarborName]] = {"ResizeConcat": "resize_concat", "Identity": "concat"}

# Other entries at the top, of the code around PyTorchTNN.
_NOT_OF_THE_GRAPH: Final = ("addnet", "layernum_add", "retres", "sep_num")

_NODE_ENTRIES: Final = (
    "name", "nickname", "shape_from", "harbor_policy", "pre_memory", "recurrent_cell",
    "post_memory", "out_channels", "residual",
)  # fmt: skip


def from_peer(
    source: Path | str | Mapping[str, Any],
    *,
    input_shape: Shape | None = None,
    num_timesteps: int | None = None,
) -> GraphSpec:
    """Read a configuration of PyTorchTNN, or one of its TensorFlow original.

    Channels are concatenated as there: the stimulus first, then the predecessors sorted by name as
    text (``conv10`` before ``conv2``). A graph with a ``ReciprocalGatedCell`` is read as its
    ``RecurrentModuleRGC`` treats it: the first channels of that concatenation, as many as
    ``shape_from`` hands on, are feedforward and the others feedback, whatever they come from.

    Args:
        source: the JSON file, or its tree; left unchanged.
        input_shape: (channel, row, column), in place of that of the file.
        num_timesteps: in place of that of the file; read by per-step batch norm alone.

    Raises:
        InputError: not such a configuration, or an option that has no equal here; the text names
            the node.
    """
    tree = read_yaml(source) if isinstance(source, str | Path) else source
    try:
        _check_form(tree)
        if is_ancestor(tree):
            return from_ancestor(tree, input_shape)
        return _Reader(tree, input_shape, num_timesteps).graph()
    except InputError as error:
        if isinstance(source, Mapping):
            raise
        raise InputError(f"{source}: {error}") from error


def _check_form(tree: Any) -> None:
    """Refuse what is not even built like a configuration, of either form."""
    if not isinstance(tree, Mapping):
        raise refuse("configuration", tree, "not a mapping", "give a PyTorchTNN JSON file")
    for entry, keys in (("nodes", ("name",)), ("edges", ("from", "to"))):
        if entry not in tree:
            raise InputError(f"configuration: {entry} is missing; give a file of PyTorchTNN.")
        parts = tree[entry]
        if not isinstance(parts, list | tuple):
            raise refuse(f"configuration: {entry}", parts, "not a list", "give one")
        for k, part in enumerate(parts):
            if not isinstance(part, Mapping) or any(key not in part for key in keys):
                raise refuse(
                    f"configuration: {entry}[{k}]", part, f"not a mapping with {', '.join(keys)}",
                    "give one",
                )  # fmt: skip


class _Reader:
    """Reads one configuration."""

    def __init__(self, tree: Any, input_shape: Shape | None, steps: int | None) -> None:
        known("configuration", tree, (
            "nodes", "edges", "input_nodes", "output_node", "input_shape", "num_timesteps",
            "ff_order", *_NOT_OF_THE_GRAPH,
        ))  # fmt: skip
        for entry in ("input_nodes", "output_node"):
            if entry not in tree:
                raise InputError(f"configuration: {entry} is missing; give a file of PyTorchTNN.")
        self.tree = tree
        self.input_shape = tuple(input_shape or tree.get("input_shape") or ()) or None
        self.steps = tree.get("num_timesteps") if steps is None else steps
        self.nodes = {str(node["name"]): node for node in tree["nodes"]}
        self.entries = [str(name) for name in tree["input_nodes"]]
        self.edges = [(str(edge["from"]), str(edge["to"])) for edge in tree["edges"]]
        for name in (*self.entries, *(n for edge in self.edges for n in edge)):
            if name not in self.nodes:
                raise refuse_unknown("edges and input_nodes: node", name, self.nodes)
        self.reciprocal = any(
            isinstance(cell := node.get("recurrent_cell"), Mapping)
            and cell.get("name") == "ReciprocalGatedCell"
            for node in self.nodes.values()
        )

    def graph(self) -> GraphSpec:
        outputs = self.tree["output_node"]
        order = self.tree.get("ff_order")
        return GraphSpec(
            nodes=tuple(self._node(name) for name in self.nodes),
            outputs=(outputs,) if isinstance(outputs, str) else tuple(outputs),
            input_shape=self.input_shape,
            order=None if order is None else tuple(order),
        )

    def _node(self, name: str) -> Node:
        node = self.nodes[name]
        where = f"node {name}"
        for entry in ("harbor_policy", "pre_memory", "recurrent_cell", "post_memory"):
            if not isinstance(node.get(entry), Mapping) or "name" not in node[entry]:
                raise refuse(
                    f"{where}: {entry}", node.get(entry), "not a mapping with a name",
                    "give name: class of PyTorchTNN, and its options",
                )  # fmt: skip
        known(where, node, _NODE_ENTRIES)
        read = sorted(source for source, target in self.edges if target == name)
        inputs = ((STIMULUS,) if name in self.entries else ()) + tuple(read)
        harbor = dict(node["harbor_policy"])
        known(f"{where}: harbor_policy", harbor, ("name", "interpolation"))
        if harbor.get("interpolation") not in (None, "bilinear"):
            raise refuse(
                f"{where}: interpolation", harbor["interpolation"], "not bilinear", "use bilinear"
            )
        if harbor["name"] not in _HARBORS:
            raise refuse_unknown(f"{where}: harbor_policy", harbor["name"], _HARBORS)
        cell = named(f"{where}: recurrent_cell", node["recurrent_cell"], CELLS)
        return Node(
            name=name,
            inputs=inputs,
            pre=self._memory(f"{where}: pre_memory", node["pre_memory"]),
            cell=cell,
            post=self._memory(f"{where}: post_memory", node["post_memory"]),
            residual=bool(node.get("residual")),
            size_from=node.get("shape_from") or (STIMULUS if name in self.entries else None),
            harbor=_HARBORS[harbor["name"]],
            feedforward=self._feedforward(name, inputs) if self.reciprocal else (),
            out_channels=node.get("out_channels"),
        )

    def _feedforward(self, name: str, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """The inputs that RecurrentModuleRGC takes for feedforward: the first channels."""
        if len(inputs) == 1:
            return ()
        where = f"node {name}"
        shape = self.input_shape or (0,)
        widths = [shape[0] if p == STIMULUS else int(self.nodes[p]["out_channels"]) for p in inputs]
        ahead = STIMULUS if name in self.entries else self.nodes[name]["shape_from"]
        wanted = widths[inputs.index(ahead)] if ahead in inputs else -1
        taken = next((k for k in range(len(inputs)) if sum(widths[: k + 1]) == wanted), None)
        if self.nodes[name]["recurrent_cell"]["name"] != "ReciprocalGatedCell" or taken is None:
            raise refuse(
                f"{where}: inputs", list(inputs),
                "PyTorchTNN parts their channels between two inputs, or drops some",
                "rename nodes so that the feedforward one comes first, or write the graph anew",
            )  # fmt: skip
        return inputs[: taken + 1]

    # --- memory modules ------------------------------------------------------------------------

    def _memory(self, where: str, tree: Mapping[str, Any]) -> m.MemoryConfig:
        readers: dict[str, Callable[[str, dict[str, Any]], m.MemoryConfig]] = {
            "ActivationLayer": _activation_layer,
            "AdaptiveAvgPool": _adaptive_avg_pool,
            "Conv2dCell": self._conv,
            "FullyConnected": self._full,
            "Identity": _identity,
            "MaxPool": _max_pool,
            "ResidualAdd": self._residual_add,
            "Sequential": self._sequence,
        }
        return named(where, tree, readers)

    def _conv(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        known(where, o, (
            "in_channels", "out_channels", "ksize", "stride", "padding", "dilation", "groups",
            "padding_mode", "use_bias", "bias", "init_dict", "dropout", "batchnorm",
            "batchnorm_timevary", "activation", "activation_func_kwargs", "num_timesteps",
        ))  # fmt: skip
        only(where, o, "padding_mode", "zeros")
        return m.Conv(
            channels=o["out_channels"], kernel=pair(o["ksize"]), stride=pair(o.get("stride", 1)),
            padding=pair(o.get("padding", 0)), dilation=pair(o.get("dilation", 1)),
            groups=o.get("groups", 1), **self._companions(where, o),
        )  # fmt: skip

    def _full(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        known(where, o, (
            "in_channels", "out_channels", "init_dict", "use_bias", "bias", "dropout", "batchnorm",
            "batchnorm_timevary", "activation", "activation_func_kwargs", "num_timesteps",
        ))  # fmt: skip
        o.setdefault("activation", "ReLU")
        return m.Full(units=o["out_channels"], **self._companions(where, o))

    def _companions(self, where: str, o: Mapping[str, Any]) -> dict[str, Any]:
        use_bias = o.get("use_bias", True)
        rate = o.get("dropout", 0.0)
        norm = None
        if o.get("batchnorm") is not None:
            per_step = bool(o.get("batchnorm_timevary"))
            if per_step and self.steps is None:
                raise refuse(
                    f"{where}: batchnorm_timevary", True, "num_timesteps is not given", "give it"
                )
            norm = m.BatchNorm(per_step=per_step, steps=self.steps if per_step else None)
        return {
            "use_bias": use_bias,
            "init": init(where, o.get("init_dict")),
            "bias": o.get("bias") if use_bias else None,
            "dropout": m.Dropout(rate=rate) if rate else None,
            "batch_norm": norm,
            "activation": activation(where, o, None),
        }

    def _residual_add(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        known(where, o, (
            "feedforward_func_kwargs", "residual_func_kwargs", "activation",
            "activation_func_kwargs", "num_timesteps", "in_channels", "out_channels",
        ))  # fmt: skip
        beside = o.get("residual_func_kwargs")
        main = self._memory(f"{where}.feedforward_func_kwargs", o["feedforward_func_kwargs"])
        return m.ResidualAdd(
            forward=main,
            residual=m.Identity()
            if beside is None
            else self._memory(f"{where}.residual_func_kwargs", beside),
            activation=activation(where, o, None),
        )

    def _sequence(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        known(where, o, ("list_of_func_kwargs", "num_timesteps", "in_channels", "out_channels"))
        parts = enumerate(o["list_of_func_kwargs"])
        return m.Sequence(modules=tuple(self._memory(f"{where}[{k}]", part) for k, part in parts))


def _identity(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    known(where, o, ("in_channels", "out_channels", "num_timesteps"))
    return m.Identity()


def _activation_layer(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    known(where, o, (
        "activation", "activation_func_kwargs", "num_timesteps", "in_channels", "out_channels",
    ))  # fmt: skip
    return m.Activation(name=activation(where, o, "ReLU") or "identity")


def _max_pool(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    known(where, o, (
        "ksize", "stride", "padding", "dilation", "return_indices", "ceil_mode", "num_timesteps",
        "in_channels", "out_channels",
    ))  # fmt: skip
    only(where, o, "return_indices", False)
    stride = o.get("stride")
    return m.MaxPool(
        kernel=pair(o["ksize"]), stride=None if stride is None else pair(stride),
        padding=pair(o.get("padding", 0)), dilation=pair(o.get("dilation", 1)),
        ceil=o.get("ceil_mode", False),
    )  # fmt: skip


def _adaptive_avg_pool(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    known(where, o, ("output_size", "flatten", "num_timesteps", "in_channels", "out_channels"))
    return m.AdaptiveAvgPool(
        size=pair(o.get("output_size", (6, 6))), flatten=o.get("flatten", False)
    )
