"""Any network as something whose layers can be recorded: hooks on its modules, axes in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vibrissa.activations.axes import arrange, has_time, parse_axes
from vibrissa.activations.checks import KINDS, checked_words
from vibrissa.core.errors import refuse, refuse_unknown


@dataclass(frozen=True, kw_only=True)
class LayerTap:
    """Where a layer's values come from and what their axes are.

    Attributes:
        axes: of what the module returns, for instance ``"batch time unit"``,
            ``"time batch unit"``, ``"batch unit"``, ``"batch channel row column"`` or
            ``"batch*time unit"`` where steps were folded into the batch. A module without ``time``
            that is called several times in one pass is taken to be called once per step.
        module: dotted name of the module within the network; by default the layer's name.
        output: which of several results, by number or key.
        kind: ``encoder``, ``attender``, ``decoder`` or ``other``.
        first_input_step: the first step at which what came in has reached the layer.

    Raises:
        InputError: axes that cannot be, an unknown kind or a negative step.
    """

    axes: str = "batch unit"
    module: str | None = None
    output: int | str = 0
    kind: str = "other"
    first_input_step: int = 0

    def __post_init__(self) -> None:
        parse_axes(self.axes)
        if self.kind not in KINDS:
            raise refuse_unknown("kind", self.kind, KINDS)
        if self.first_input_step < 0:
            raise refuse("first_input_step", self.first_input_step, "negative", "count from 0")


class ModuleAdapter:
    """A network of anyone's with named layers, for :func:`~vibrissa.activations.extract`.

    Args:
        module: the network; it is not changed.
        layers: name -> axes, or a :class:`LayerTap`, in the order wanted.
        name: what to call the network; its class if omitted.
        input_axes: axes of what it is shown, needed to keep that as layer ``input``; by the number
            of axes if omitted: ``batch unit``, ``batch time unit``, ``batch channel row column`` or
            ``batch time channel row column``.
        forward: how it is called, ``forward(module, x)``; by default ``module(x)``.

    Raises:
        InputError: no layers, a module that the network has not, or bad axes.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Mapping[str, str | LayerTap],
        *,
        name: str = "",
        input_axes: str | None = None,
        forward: Callable[[Any, Tensor], Any] | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise refuse("module", type(module).__name__, "no torch module", "give an nn.Module")
        self.module = module
        self.name = name or type(module).__name__
        self.input_axes = input_axes
        if input_axes is not None:
            parse_axes(input_axes)
        self._forward = forward
        known = dict(module.named_modules())
        self._taps: dict[str, LayerTap] = {}
        self._modules: dict[str, nn.Module] = {}
        for layer in checked_words("layers", tuple(layers)):
            given = layers[layer]
            tap = LayerTap(axes=given) if isinstance(given, str) else given
            place = layer if tap.module is None else tap.module
            if place not in known:
                raise refuse_unknown(f"module of layer {layer!r}", place, [n for n in known if n])
            self._taps[layer], self._modules[layer] = tap, known[place]

    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self._taps)

    def first_input_step(self, layer: str) -> int:
        """The first step at which what came in has reached a layer."""
        return self._tap(layer).first_input_step

    def kind(self, layer: str) -> str:
        """What a layer is a part of."""
        return self._tap(layer).kind

    def record(self, x: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Values of layers during one pass, in whatever mode the network is.

        Args:
            x: what the network is shown, (batch, ...).
            layers: which; all if omitted.

        Returns:
            Name -> (batch, time, \\*unit axes).

        Raises:
            InputError: no such layer, a module that was not called or gave no tensor, or axes that
                do not fit.
        """
        wanted = self.layers() if layers is None else tuple(layers)
        calls: dict[str, list[Tensor]] = {name: [] for name in wanted}
        hooks = []
        try:
            for name in wanted:
                hook = _Hook(name, self._tap(name), calls[name])
                hooks.append(self._modules[name].register_forward_hook(hook))
            if self._forward is None:
                self.module(x)
            else:
                self._forward(self.module, x)
        finally:
            for hook in hooks:
                hook.remove()
        return {name: self._joined(name, calls[name], len(x)) for name in wanted}

    def _tap(self, layer: str) -> LayerTap:
        if layer not in self._taps:
            raise refuse_unknown("layer", layer, self._taps)
        return self._taps[layer]

    def _joined(self, name: str, calls: list[Tensor], batch: int) -> Tensor:
        axes = parse_axes(self._taps[name].axes)
        if not calls:
            raise refuse(
                f"layer {name!r}", 0, "its module was not called in the pass",
                "name a module that is, or call it by its forward",
            )  # fmt: skip
        if len(calls) > 1 and has_time(axes):
            raise refuse(
                f"layer {name!r}", len(calls), "its module, which is said to give all steps, was "
                "called several times in one pass", "declare its axes without time",
            )  # fmt: skip
        parts = []
        for call in calls:
            flat, unit_shape = arrange(call, axes, batch, f"layer {name!r}")
            parts.append(flat.reshape(*flat.shape[:2], *unit_shape))
        if len({part.shape for part in parts}) > 1:
            raise refuse(
                f"layer {name!r}", [tuple(part.shape) for part in parts][:4],
                "its module gave other shapes from call to call", "record another module",
            )  # fmt: skip
        return torch.cat(parts, dim=1)


class _Hook:
    def __init__(self, name: str, tap: LayerTap, calls: list[Tensor]) -> None:
        self._name, self._tap, self._calls = name, tap, calls

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found = output
        if not isinstance(found, Tensor):
            try:
                found = output[self._tap.output]
            except (KeyError, IndexError, TypeError):
                found = None
        if not isinstance(found, Tensor):
            raise refuse(
                f"output of layer {self._name!r}", self._tap.output,
                f"the module gives a {type(output).__name__} without such a tensor",
                "say which with LayerTap(output=...)",
            )  # fmt: skip
        # a copy, as the next module may work in place
        self._calls.append(found.clone())
