"""Cells of PyTorchTNN, read from its configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from vibrissa.core.errors import refuse
from vibrissa.tnn import cells as c
from vibrissa.tnn.peer_options import activation, init, keeps_size, known, only, pair

_CELL_COMMON: Final = (
    "input_in_channels", "in_channels", "out_channels", "ksize", "stride", "padding", "dilation",
    "groups", "use_bias", "bias", "padding_mode", "init_dict", "layernorm", "state_shape",
    "num_timesteps",
)  # fmt: skip


def _identity_cell(where: str, o: dict[str, Any]) -> c.CellConfig:
    known(where, o, ("state_shape", "input_in_channels", "out_channels"))
    return c.Identity()


def _time_decay(where: str, o: dict[str, Any]) -> c.CellConfig:
    known(where, o, (
        "state_shape", "input_in_channels", "out_channels", "init_dict", "tau", "trainable",
    ))  # fmt: skip
    only(where, o, "init_dict", None)
    return c.TimeDecay(tau=float(o.get("tau", 0.0)), trainable=o.get("trainable", True))


def _conv_cell(kind: Any, more: tuple[str, ...] = (), **defaults: Any) -> Any:
    """Reader of a cell with one kernel; ``more`` of its options are those of the class here."""

    def read(where: str, o: dict[str, Any]) -> c.CellConfig:
        extra = ("activation", "activation_func_kwargs") if "activation" in defaults else ()
        known(where, o, (*_CELL_COMMON, *more, *extra))
        kernel = pair(o.get("ksize", defaults.get("ksize", 3)))
        keeps_size(where, o, kernel, defaults.get("padding", "same"))
        only(where, o, "groups", 1)
        only(where, o, "use_bias", True)
        only(where, o, "padding_mode", "zeros")
        options: dict[str, Any] = {
            "kernel": kernel,
            "init": init(where, o.get("init_dict")),
            "bias": o.get("bias"),
            "layer_norm": bool(o.get("layernorm", defaults.get("layernorm", False))),
        }
        if "activation" in defaults:
            name = activation(where, o, defaults["activation"])
            options["activation"] = name or "identity"
        if kind in (c.Vanilla, c.ConvBasic):
            options["channels"] = o.get("out_channels")
        return kind(**options, **{name: o[name] for name in more if name in o})

    return read


def _conv_basic(where: str, o: dict[str, Any]) -> c.CellConfig:
    for name in ("init_dict", "bias"):
        only(where, o, name, None)
    only(where, o, "layernorm", False)
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
    known(where, o, (
        *_CELL_COMMON, "cell_depth", "res_channels", "fb_channels", "dropout", "batchnorm",
        "batchnorm_timevary", "cell_tau_filter_size", "in_out_filter_size",
        "in_out_depth_separable", "ds_repeat", *kernels.values(), *separable.values(), *same,
        *without_effect, *(name for name, _ in functions.values()),
        *(f"{name}_kwargs" for name, _ in functions.values()),
    ))  # fmt: skip
    kernel = {ours: pair(o.get(theirs, 3)) for ours, theirs in kernels.items()}
    apart = {ours: bool(o.get(theirs, False)) for ours, theirs in separable.items()}
    if kernel["gate_kernel"] == 0:
        raise refuse(f"{where}: gate_filter_size", [0, 0], "a cell without memory", "use a kernel")
    if pair(o.get("cell_tau_filter_size")) not in (None, kernel["tau_kernel"]):
        raise refuse(
            f"{where}: cell_tau_filter_size", o["cell_tau_filter_size"],
            "it has no equal here", "leave it at tau_filter_size",
        )  # fmt: skip
    entry = (pair(o.get("in_out_filter_size", 3)), bool(o.get("in_out_depth_separable", False)))
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
        only(where, o, name, value)
    chosen = {
        ours: activation(where, o, default, theirs, f"{theirs}_kwargs") or "identity"
        for ours, (theirs, default) in functions.items()
    }
    return c.ReciprocalGated(
        channels=o["out_channels"], cell_channels=o["cell_depth"],
        init=init(where, o.get("init_dict")), bias=o.get("bias"),
        layer_norm=bool(o.get("layernorm", False)), **kernel, **apart, **chosen,
        **{name: o[name] for name in same if name in o},
    )  # fmt: skip


CELLS: Final[dict[str, Callable[[str, dict[str, Any]], c.CellConfig]]] = {
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
