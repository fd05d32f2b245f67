"""Small parts of reading PyTorchTNN's configurations: options by name, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.tnn import modules as m

ACTIVATIONS: Final = {
    "ELU": "elu", "GELU": "gelu", "Identity": "identity", "LeakyReLU": "leaky_relu",
    "ReLU": "relu", "SiLU": "silu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Tanh": "tanh",
}  # fmt: skip


def named(where: str, tree: Any, readers: Mapping[str, Callable[..., Any]]) -> Any:
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


def known(where: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise refuse_unknown(f"{where}: entry", name, known)


def only(where: str, o: Mapping[str, Any], name: str, *values: Any) -> None:
    if name in o and o[name] not in values and pair(o[name]) not in values:
        raise refuse(
            f"{where}: {name}", o[name], "it has no equal here", f"leave it at {values[0]!r}"
        )


def pair(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2:
        return value[0] if value[0] == value[1] else tuple(value)
    return value


def keeps_size(where: str, o: Mapping[str, Any], kernel: Any, default: Any) -> None:
    """State and input maps of these cells must have one size."""
    only(where, o, "stride", 1)
    only(where, o, "dilation", 1)
    rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = pair(o.get("padding", default))
    both = padding if isinstance(padding, tuple) else (padding, padding)
    if padding != "same" and (2 * both[0], 2 * both[1]) != (rows - 1, columns - 1):
        raise refuse(f"{where}: padding", padding, "the maps change their size", "use 'same'")


def init(where: str, tree: Mapping[str, Any] | None) -> m.Init | None:
    if tree is None:
        return None
    options = {key: value for key, value in tree.items() if key != "method"}
    return m.Init(name=str(tree["method"]).removesuffix("_"), options=options)


def activation(
    where: str, o: Mapping[str, Any], default: str | None,
    key: str = "activation", options: str = "activation_func_kwargs",
) -> str | None:  # fmt: skip
    name = o.get(key, default)
    if name is None:
        return None
    if name not in ACTIVATIONS:
        raise refuse_unknown(f"{where}: {key}", name, ACTIVATIONS)
    if name == "GELU" and o.get(options) == {"approximate": "tanh"}:
        return "gelu_tanh"
    if o.get(options):
        raise refuse(f"{where}: {options}", o[options], "it has no equal here", "leave it out")
    return ACTIVATIONS[name]
