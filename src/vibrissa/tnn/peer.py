"""Graphs of PyTorchTNN: its JSON configurations, read so that the numbers stay the same.

Weights are in :mod:`vibrissa.tnn.peer_weights`. What it means there and here:

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

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vibrissa.core.config import read_yaml
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.tnn import cells as c
from vibrissa.tnn import modules as m
from vibrissa.tnn.harbor import HarborName, Shape
from vibrissa.tnn.spec import STIMULUS, GraphSpec, Node

_HARBORS: Final[dict[str, HarborName]] = {"ResizeConcat": "resize_concat", "Identity": "concat"}

_ACTIVATIONS: Final = {
    "ELU": "elu", "GELU": "gelu", "Identity": "identity", "LeakyReLU": "leaky_relu",
    "ReLU": "relu", "SiLU": "silu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Tanh": "tanh",
}  # fmt: skip

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
    """Read a configuration of PyTorchTNN.

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
    origin = str(source) if isinstance(source, str | Path) else "configuration"
    try:
        return _Reader(tree, input_shape, num_timesteps).graph()
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


class _Reader:
    """Reads one configuration."""

    def __init__(self, tree: Any, input_shape: Shape | None, steps: int | None) -> None:
        if not isinstance(tree, Mapping):
            raise refuse("configuration", tree, "not a mapping", "give a PyTorchTNN JSON file")
        _known("configuration", tree, (
            "nodes", "edges", "input_nodes", "output_node", "input_shape", "num_timesteps",
            "ff_order", *_NOT_OF_THE_GRAPH,
        ))  # fmt: skip
        for entry in ("nodes", "edges", "input_nodes", "output_node"):
            if entry not in tree:
                raise InputError(
                    f"configuration: {entry} is missing; give a file of PyTorchTNN (those of the "
                    "TensorFlow original have another form)."
                )
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
            node.get("recurrent_cell", {}).get("name") == "ReciprocalGatedCell"
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
        if "harbor_policy" not in node:
            raise InputError(
                f"{where}: harbor_policy is missing; give a file of PyTorchTNN (those of the "
                "TensorFlow original have another form)."
            )
        _known(where, node, _NODE_ENTRIES)
        read = sorted(source for source, target in self.edges if target == name)
        inputs = ((STIMULUS,) if name in self.entries else ()) + tuple(read)
        harbor = dict(node["harbor_policy"])
        _known(f"{where}: harbor_policy", harbor, ("name", "interpolation"))
        if harbor.get("interpolation") not in (None, "bilinear"):
            raise refuse(
                f"{where}: interpolation", harbor["interpolation"], "not bilinear", "use bilinear"
            )
        if harbor["name"] not in _HARBORS:
            raise refuse_unknown(f"{where}: harbor_policy", harbor["name"], _HARBORS)
        cell = _named(f"{where}: recurrent_cell", node["recurrent_cell"], _CELLS)
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
        return _named(where, tree, readers)

    def _conv(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        _known(where, o, (
            "in_channels", "out_channels", "ksize", "stride", "padding", "dilation", "groups",
            "padding_mode", "use_bias", "bias", "init_dict", "dropout", "batchnorm",
            "batchnorm_timevary", "activation", "activation_func_kwargs", "num_timesteps",
        ))  # fmt: skip
        _only(where, o, "padding_mode", "zeros")
        return m.Conv(
            channels=o["out_channels"], kernel=_pair(o["ksize"]), stride=_pair(o.get("stride", 1)),
            padding=_pair(o.get("padding", 0)), dilation=_pair(o.get("dilation", 1)),
            groups=o.get("groups", 1), **self._companions(where, o),
        )  # fmt: skip

    def _full(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        _known(where, o, (
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
            "init": _init(where, o.get("init_dict")),
            "bias": o.get("bias") if use_bias else None,
            "dropout": m.Dropout(rate=rate) if rate else None,
            "batch_norm": norm,
            "activation": _activation(where, o, None),
        }

    def _residual_add(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        _known(where, o, (
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
            activation=_activation(where, o, None),
        )

    def _sequence(self, where: str, o: dict[str, Any]) -> m.MemoryConfig:
        _known(where, o, ("list_of_func_kwargs", "num_timesteps", "in_channels", "out_channels"))
        parts = enumerate(o["list_of_func_kwargs"])
        return m.Sequence(modules=tuple(self._memory(f"{where}[{k}]", part) for k, part in parts))


def _identity(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    _known(where, o, ("in_channels", "out_channels", "num_timesteps"))
    return m.Identity()


def _activation_layer(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    _known(where, o, (
        "activation", "activation_func_kwargs", "num_timesteps", "in_channels", "out_channels",
    ))  # fmt: skip
    return m.Activation(name=_activation(where, o, "ReLU") or "identity")


def _max_pool(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    _known(where, o, (
        "ksize", "stride", "padding", "dilation", "return_indices", "ceil_mode", "num_timesteps",
        "in_channels", "out_channels",
    ))  # fmt: skip
    _only(where, o, "return_indices", False)
    stride = o.get("stride")
    return m.MaxPool(
        kernel=_pair(o["ksize"]), stride=None if stride is None else _pair(stride),
        padding=_pair(o.get("padding", 0)), dilation=_pair(o.get("dilation", 1)),
        ceil=o.get("ceil_mode", False),
    )  # fmt: skip


def _adaptive_avg_pool(where: str, o: dict[str, Any]) -> m.MemoryConfig:
    _known(where, o, ("output_size", "flatten", "num_timesteps", "in_channels", "out_channels"))
    return m.AdaptiveAvgPool(
        size=_pair(o.get("output_size", (6, 6))), flatten=o.get("flatten", False)
    )


# --- cells ----------------------------------------------------------------------------------------

_CELL_COMMON: Final = (
    "input_in_channels", "in_channels", "out_channels", "ksize", "stride", "padding", "dilation",
    "groups", "use_bias", "bias", "padding_mode", "init_dict", "layernorm", "state_shape",
    "num_timesteps",
)  # fmt: skip


def _identity_cell(where: str, o: dict[str, Any]) -> c.CellConfig:
    _known(where, o, ("state_shape", "input_in_channels", "out_channels"))
    return c.Identity()


def _time_decay(where: str, o: dict[str, Any]) -> c.CellConfig:
    _known(where, o, (
        "state_shape", "input_in_channels", "out_channels", "init_dict", "tau", "trainable",
    ))  # fmt: skip
    _only(where, o, "init_dict", None)
    return c.TimeDecay(tau=float(o.get("tau", 0.0)), trainable=o.get("trainable", True))


def _conv_cell(kind: Any, more: tuple[str, ...] = (), **defaults: Any) -> Any:
    """Reader of a cell with one kernel; ``more`` of its options are those of the class here."""

    def read(where: str, o: dict[str, Any]) -> c.CellConfig:
        extra = ("activation", "activation_func_kwargs") if "activation" in defaults else ()
        _known(where, o, (*_CELL_COMMON, *more, *extra))
        kernel = _pair(o.get("ksize", defaults.get("ksize", 3)))
        _keeps_size(where, o, kernel, defaults.get("padding", "same"))
        _only(where, o, "groups", 1)
        _only(where, o, "use_bias", True)
        _only(where, o, "padding_mode", "zeros")
        options: dict[str, Any] = {
            "kernel": kernel,
            "init": _init(where, o.get("init_dict")),
            "bias": o.get("bias"),
            "layer_norm": bool(o.get("layernorm", defaults.get("layernorm", False))),
        }
        if "activation" in defaults:
            name = _activation(where, o, defaults["activation"])
            options["activation"] = name or "identity"
        if kind in (c.Vanilla, c.ConvBasic):
            options["channels"] = o.get("out_channels")
        return kind(**options, **{name: o[name] for name in more if name in o})

    return read


def _conv_basic(where: str, o: dict[str, Any]) -> c.CellConfig:
    for name in ("init_dict", "bias"):
        _only(where, o, name, None)
    _only(where, o, "layernorm", False)
    return _conv_cell(c.ConvBasic, activation="ReLU", padding=0)(where, o)


def _reciprocal(where: str, o: dict[str, Any]) -> c.CellConfig:
    """Its biases of gates and taus, and its inputs to them, have no effect in PyTorchTNN."""
    kernels = {
        "tau_kernel": "tau_filter_size", "gate_kernel": "gate_filter_size",
        "input_kernel": "ff_filter_size", "feedback_kernel": "feedback_filter_size",
    }  # fmt: skip
    separable = {
        "tau_separable": "tau_depth_separable", "gate_separable": "gate_depth_separable",
        "input_separable": "ff_depth_separable", "feedback_separable": "feedback_depth_separable",
    }  # fmt: skip
    same = (
        "tau_multiplier", "gate_multiplier", "tau_offset", "gate_offset", "feedback_entry",
        "cell_residual", "out_residual", "residual_to_out_gate", "input_to_cell", "input_to_out",
        "cell_to_out",
    )  # fmt: skip
    functions = {
        "tau": ("tau_nonlinearity", "Sigmoid"), "gate": ("gate_nonlinearity", "Sigmoid"),
        "input_activation": ("input_activation", "Identity"),
        "feedback_activation": ("feedback_activation", "Identity"),
        "cell_activation": ("cell_activation", "ELU"), "out_activation": ("out_activation", "ELU"),
    }  # fmt: skip
    without_effect = (
        "tau_bias", "gate_bias", "residual_to_cell_tau", "residual_to_cell_gate",
        "residual_to_out_tau", "input_to_tau", "input_to_gate",
    )  # fmt: skip
    _known(where, o, (
        *_CELL_COMMON, "cell_depth", "res_channels", "fb_channels", "dropout", "batchnorm",
        "batchnorm_timevary", "cell_tau_filter_size", "in_out_filter_size",
        "in_out_depth_separable", "ds_repeat", *kernels.values(), *separable.values(), *same,
        *without_effect, *(name for name, _ in functions.values()),
        *(f"{name}_kwargs" for name, _ in functions.values()),
    ))  # fmt: skip
    kernel = {ours: _pair(o.get(theirs, 3)) for ours, theirs in kernels.items()}
    apart = {ours: bool(o.get(theirs, False)) for ours, theirs in separable.items()}
    if kernel["gate_kernel"] == 0:
        raise refuse(f"{where}: gate_filter_size", [0, 0], "a cell without memory", "use a kernel")
    if _pair(o.get("cell_tau_filter_size")) not in (None, kernel["tau_kernel"]):
        raise refuse(
            f"{where}: cell_tau_filter_size", o["cell_tau_filter_size"],
            "it has no equal here", "leave it at tau_filter_size",
        )  # fmt: skip
    entry = (_pair(o.get("in_out_filter_size", 3)), bool(o.get("in_out_depth_separable", False)))
    if o.get("input_to_out") and entry != (kernel["input_kernel"], apart["input_separable"]):
        raise refuse(
            f"{where}: in_out_filter_size, in_out_depth_separable", entry,
            "not as ff_filter_size and ff_depth_separable", "make them equal",
        )  # fmt: skip
    for name, value in (
        ("dropout", 0.0), ("batchnorm", None), ("ds_repeat", False), ("stride", 1),
        ("dilation", 1), ("groups", 1), ("use_bias", True), ("padding", "same"),
        ("padding_mode", "zeros"),
    ):  # fmt: skip
        _only(where, o, name, value)
    chosen = {
        ours: _activation(where, o, default, theirs, f"{theirs}_kwargs") or "identity"
        for ours, (theirs, default) in functions.items()
    }
    return c.ReciprocalGated(
        channels=o["out_channels"], cell_channels=o["cell_depth"],
        init=_init(where, o.get("init_dict")), bias=o.get("bias"),
        layer_norm=bool(o.get("layernorm", False)), **kernel, **apart, **chosen,
        **{name: o[name] for name in same if name in o},
    )  # fmt: skip


_CELLS: Final[dict[str, Callable[[str, dict[str, Any]], c.CellConfig]]] = {
    "ConvRNNBasicCell": _conv_basic,
    "GRUCell": _conv_cell(c.GRU, ("forget_bias",), activation="Tanh"),
    "IdentityCell": _identity_cell,
    "IntersectionRNNCell": _conv_cell(c.Intersection, ("forget_bias",)),
    "LSTMCell": _conv_cell(c.LSTM, ("forget_bias",), activation="Tanh"),
    "ReciprocalGatedCell": _reciprocal,
    "TimeDecayRecurrentCell": _time_decay,
    "UGRNNCell": _conv_cell(c.UGRNN, ("forget_bias",)),
    "VanillaRNNCell": _conv_cell(c.Vanilla, activation="ELU", layernorm=True),
}


# --- small things -----------------------------------------------------------------------------


def _named(where: str, tree: Any, readers: Mapping[str, Callable[..., Any]]) -> Any:
    if not isinstance(tree, Mapping) or "name" not in tree:
        raise refuse(where, tree, "without a name", "give name: class of PyTorchTNN")
    name = tree["name"]
    if name not in readers:
        raise refuse_unknown(f"{where}: name", str(name), readers)
    options = {key: value for key, value in tree.items() if key != "name"}
    try:
        return readers[name](where, options)
    except KeyError as error:
        raise InputError(f"{where}: {error.args[0]} is missing; add it.") from error
    except InputError as error:
        text = str(error)
        raise error if text.startswith("node ") else InputError(f"{where}: {text}") from error


def _known(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise refuse_unknown(f"{where}: entry", name, known)


def _only(where: str, o: Mapping[str, Any], name: str, *values: Any) -> None:
    if name in o and o[name] not in values and _pair(o[name]) not in values:
        raise refuse(
            f"{where}: {name}", o[name], "it has no equal here", f"leave it at {values[0]!r}"
        )


def _pair(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2:
        return value[0] if value[0] == value[1] else tuple(value)
    return value


def _keeps_size(where: str, o: Mapping[str, Any], kernel: Any, default: Any) -> None:
    """State and input maps of these cells must have one size."""
    _only(where, o, "stride", 1)
    _only(where, o, "dilation", 1)
    rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = _pair(o.get("padding", default))
    both = padding if isinstance(padding, tuple) else (padding, padding)
    if padding != "same" and (2 * both[0], 2 * both[1]) != (rows - 1, columns - 1):
        raise refuse(f"{where}: padding", padding, "the maps change their size", "use 'same'")


def _init(where: str, tree: Mapping[str, Any] | None) -> m.Init | None:
    if tree is None:
        return None
    options = {key: value for key, value in tree.items() if key != "method"}
    return m.Init(name=str(tree["method"]).removesuffix("_"), options=options)


def _activation(
    where: str, o: Mapping[str, Any], default: str | None,
    key: str = "activation", options: str = "activation_func_kwargs",
) -> str | None:  # fmt: skip
    name = o.get(key, default)
    if name is None:
        return None
    if name not in _ACTIVATIONS:
        raise refuse_unknown(f"{where}: {key}", name, _ACTIVATIONS)
    if name == "GELU" and o.get(options) == {"approximate": "tanh"}:
        return "gelu_tanh"
    if o.get(options):
        raise refuse(f"{where}: {options}", o[options], "it has no equal here", "leave it out")
    return _ACTIVATIONS[name]
