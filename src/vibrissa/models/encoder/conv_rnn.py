"""The convolutional recurrent encoders: one graph, and the cell in its convolutions.

Reference: Chung et al. 2025, arXiv 2505.18361; the graph is that of Zhuang et al. 2017,
arXiv 1706.07555 (see ``vibrissa/tnn/graphs/zhuang.yaml``), the cells are in ``vibrissa.tnn.cells``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vibrissa.core.errors import refuse
from vibrissa.models.parts import Encoder, EncoderConfig, InputShape, Steps, Tap, encoders, positive
from vibrissa.tnn import Fast, GraphSpec, TemporalGraph, published_graph, unroll

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")
FULL = ("fc7", "fc8")
WIDE = 128
"""Channels from which on products per tap of a kernel are faster than ordinary convolutions."""


@dataclass(frozen=True, kw_only=True)
class ConvRNN(EncoderConfig):
    """Six convolutions and two fully connected layers with feedback and skips, one layer per step.

    Attributes:
        channels: of conv1 to conv6.
        units: of fc7 and fc8; the last is the width of the features.
        mode: ``biological``: every connection takes one step, so that the output sees the input
            three steps late; ``full``: a whole feedforward pass at each step.
        compile: run the arithmetic of the gates through ``torch.compile``.
    """

    cell: ClassVar[str | None] = None
    """Registered name of the cell in the convolutions; time decay in every layer if None."""
    layer_norm: ClassVar[bool] = False
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"channels": (6, 8, 8, 8, 8, 8), "units": (24, 16)},
        "small": {"channels": (24, 32, 48, 64, 64, 48), "units": (192, 128)},
    }

    channels: tuple[int, ...] = (96, 128, 256, 384, 384, 256)
    units: tuple[int, ...] = (1024, 512)
    mode: Literal["biological", "full"] = "biological"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, width, nodes in (
            ("channels", self.channels, CONVOLUTIONS), ("units", self.units, FULL),
        ):  # fmt: skip
            if len(width) != len(nodes):
                raise refuse(name, width, f"{len(width)} numbers", f"give {len(nodes)}")
            positive(**{f"{name}[{k}]": value for k, value in enumerate(width)})
        if self.mode not in ("biological", "full"):
            raise refuse("mode", self.mode, "unknown", "choose biological or full")

    def graph(self, frame_shape: tuple[int, int, int]) -> GraphSpec:
        """The temporal graph that the encoder unrolls, for frames (channel, row, column)."""
        return _graph(self.cell, self.layer_norm, self.channels, self.units, frame_shape)

    def build(self, input_shape: InputShape) -> ConvRNNEncoder:
        return ConvRNNEncoder(self, input_shape)


@cache
def _graph(
    cell: str | None,
    layer_norm: bool,
    channels: tuple[int, ...],
    units: tuple[int, ...],
    frame_shape: tuple[int, int, int],
) -> GraphSpec:
    options = {"layer_norm": True} if layer_norm else {}
    spec = published_graph("zhuang", cell=cell, **options)
    widths: dict[str, dict[str, Any]] = {
        name: {"channels": n} for name, n in zip(CONVOLUTIONS, channels, strict=True)
    }
    widths |= {name: {"units": n} for name, n in zip(FULL, units, strict=True)}
    nodes = [replace(n, pre=replace(n.pre, **widths[n.name])) for n in spec.nodes]
    return replace(spec, nodes=tuple(nodes), input_shape=frame_shape)


@encoders.register("zhuang")
@dataclass(frozen=True, kw_only=True)
class Zhuang(ConvRNN):
    """ConvRNN with time decay: state = input + tau state, one trained tau per layer."""


@encoders.register("ugrnn")
@dataclass(frozen=True, kw_only=True)
class UGRNN(ConvRNN):
    """ConvRNN with update-gate cells."""

    cell = "ugrnn"


@encoders.register("ugrnn_ln")
@dataclass(frozen=True, kw_only=True)
class UGRNNLayerNorm(UGRNN):
    """ConvRNN with update-gate cells and layer norm."""

    layer_norm = True


@encoders.register("inter")
@dataclass(frozen=True, kw_only=True)
class Inter(ConvRNN):
    """ConvRNN with intersection cells."""

    cell = "intersection"


@encoders.register("inter_ln")
@dataclass(frozen=True, kw_only=True)
class InterLayerNorm(Inter):
    """ConvRNN with intersection cells and layer norm (the published Inter models)."""

    layer_norm = True


@encoders.register("gru")
@dataclass(frozen=True, kw_only=True)
class GRU(ConvRNN):
    """ConvRNN with gated recurrent units."""

    cell = "gru"


@encoders.register("gru_ln")
@dataclass(frozen=True, kw_only=True)
class GRULayerNorm(GRU):
    """ConvRNN with gated recurrent units and layer norm."""

    layer_norm = True


@encoders.register("lstm")
@dataclass(frozen=True, kw_only=True)
class LSTM(ConvRNN):
    """ConvRNN with long short-term memory."""

    cell = "lstm"


@encoders.register("lstm_ln")
@dataclass(frozen=True, kw_only=True)
class LSTMLayerNorm(LSTM):
    """ConvRNN with long short-term memory and layer norm."""

    layer_norm = True


class ConvRNNEncoder(Encoder):
    """See :class:`ConvRNN`; the parameters are under ``graph``."""

    def __init__(self, config: ConvRNN, input_shape: InputShape) -> None:
        super().__init__(input_shape, config.units[-1], causal=True)
        self.config = config
        self.graph = TemporalGraph(config.graph(input_shape[1:]))
        self._timing = self.graph.spec.timing(config.mode)

    def layers(self) -> tuple[str, ...]:
        return (*CONVOLUTIONS, *FULL)

    def first_input_step(self, layer: str | None = None) -> int:
        return self._timing.first_input_step[layer or FULL[-1]]

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        kind = x.device.type
        mixed = torch.is_autocast_enabled(kind)
        low = mixed and torch.get_autocast_dtype(kind) == torch.bfloat16
        schedule = Fast(
            precision="bfloat16" if low else None,
            checkpoint=self.checkpoint,
            compile=self.config.compile,
            rows=None if max(self.config.channels) >= WIDE else False,
        )
        wanted = () if tap is None else tuple(n for n in self.layers() if n in tap.wanted)
        # The schedule has a mixed precision of its own, with state and gates in float32.
        with torch.autocast(kind, enabled=False):
            found = unroll(
                self.graph,
                x.float() if mixed else x,
                read="all" if steps is None else steps,
                record=wanted,
                mode=self.config.mode,
                schedule=schedule,
            )
        if tap is not None:
            for name in wanted:
                tap(name, found.activations[name])
        return found.output

    @property
    def multiply_adds(self) -> int:
        return self.n_steps * sum(node.multiply_adds for _, node in self.graph.nodes.items())
