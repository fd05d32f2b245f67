"""From what a layer gave to what is kept of it: axes in order, steps chosen and reduced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from torch import Tensor

from vibrissa.activations.axes import arrange, parse_axes
from vibrissa.core.errors import refuse

Reduction = Literal["mean", "last", "max", "flatten"]
INPUT: Final = "input"
_INPUT_AXES: Final = {
    2: "batch unit",
    3: "batch time unit",
    4: "batch channel row column",
    5: "batch time channel row column",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked for."""

    layers: tuple[str, ...]
    include_input: bool
    steps: tuple[int, ...] | None
    reduce: Reduction | None
    seed: int
    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """A layer's values for some stimuli, (stimulus, time, unit), and what goes with them."""

    values: np.ndarray
    unit_shape: tuple[int, ...]
    first_input_step: int
    times_s: np.ndarray | None


def kept_of(
    source: Any,
    layer: str,
    values: Tensor,
    plan: Plan,
    names: tuple[str, ...],
    times: np.ndarray | None,
) -> Block:
    """Make a block of a layer's values.

    Args:
        source: what recorded them.
        layer: name of the layer.
        values: (stimulus, step, *unit axes); of the input as it was shown.
        plan: what is asked for.
        names: of the stimuli.
        times: (step,) of the input, or None.

    Raises:
        InputError: a value is not finite, or steps that the layer has not.
    """
    if layer == INPUT and layer not in plan.layers:
        text = getattr(source, "input_axes", None) or _INPUT_AXES.get(values.ndim)
        if text is None:
            raise refuse(
                "inputs", tuple(values.shape), "their axes cannot be told",
                "give ModuleAdapter input_axes, or include_input=False",
            )  # fmt: skip
        axes, first = parse_axes(text), 0
    else:
        axes = ("batch", "time", *(f"unit {k}" for k in range(values.ndim - 2)))
        first = source.first_input_step(layer)
    flat, unit_shape = arrange(values.float(), axes, len(names), f"layer {layer!r}")
    array = flat.numpy()
    if not np.isfinite(array).all():
        culprit = int(np.argmin(np.isfinite(array).all(axis=(1, 2))))
        raise refuse(
            f"layer {layer!r}", names[culprit], "a value is not finite for this stimulus",
            "look for a network that has diverged, or a wrong normalisation",
        )  # fmt: skip
    return _timed(layer, array, unit_shape, first, plan, times)


def _timed(
    layer: str,
    array: np.ndarray,
    unit_shape: tuple[int, ...],
    first: int,
    plan: Plan,
    times: np.ndarray | None,
) -> Block:
    """Choose and reduce steps."""
    steps = array.shape[1]
    known = times if times is not None and len(times) == steps else None
    if not 0 <= first < steps:
        raise refuse(
            f"first_input_step of layer {layer!r}",
            first,
            f"it has {steps} steps",
            "show more steps",
        )
    if plan.steps is not None and steps > 1:
        chosen = list(plan.steps)
        if chosen[-1] >= steps:
            raise refuse("steps", chosen[-1], f"layer {layer!r} has {steps}", "count from 0")
        array = array[:, chosen]
        known = None if known is None else known[chosen]
        later = [k for k, step in enumerate(chosen) if step >= first]
        if not later:
            raise refuse(
                "steps", tuple(chosen), f"nothing has reached layer {layer!r} before step {first}",
                "choose later ones, or leave the layer out",
            )  # fmt: skip
        first = later[0]
    if plan.reduce is None or steps == 1:
        return Block(
            values=np.ascontiguousarray(array), unit_shape=unit_shape, first_input_step=first,
            times_s=known,
        )  # fmt: skip
    used = array[:, first:]
    if plan.reduce == "flatten":
        flat = np.ascontiguousarray(used).reshape(len(used), 1, -1)
        shape = (used.shape[1], *unit_shape)
        return Block(values=flat, unit_shape=shape, first_input_step=0, times_s=None)
    reduced = {
        "mean": lambda: used.mean(axis=1, dtype=np.float64),
        "max": lambda: used.max(axis=1),
        "last": lambda: used[:, -1],
    }[plan.reduce]()
    last = known[-1:] if known is not None and plan.reduce == "last" else None
    return Block(
        values=np.ascontiguousarray(reduced[:, None], dtype=np.float32), unit_shape=unit_shape,
        first_input_step=0, times_s=last,
    )  # fmt: skip
