"""The convolutional recurrent encoders: one graph, and the cell in its convolutions.

Reference: Chung et al. 2025, arXiv 2505.18361; the graph is that of Zhuang et al. 2017,
arXiv 1706.07555 (see ``vibrissa/tnn/graphs/zhuang.yaml``), the cells are in ``vibrissa.tnn.cells``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vibrissa.core.errors import refuse
from vibrissa.models.parts import Encoder, EncoderConfig, InputShape, Steps, Tap, encoders, positive
from vibrissa.tnn import Fast, GraphSpec, TemporalGraph, published_graph, unroll

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")
FULL = ("fc7", "fc8")


@dataclass(frozen=True, kw_only=True)
class ConvRNN(EncoderConfig):
    """Six convolutions and two fully connected layers with feedback and skips, one layer per step.

    Attributes:
        channels: of conv1 to conv6.
        units: of fc7 and fc8; the last is the width of the features.
        mode: ``biological``: every connection takes one step, so that the output sees the input
            three steps late; ``full``: a whole feedforward pass at each step.
        precision: ``bfloat16``: operands of convolutions and matrix products in that type, state
            and gates in float32, at all times; ``auto``: where automatic mixed precision is on.
        checkpoint: keep less for the backward pass and compute it again.
        compile: run the arithmetic of the gates through ``torch.compile``.
        schedule: ``fast``, or ``stepwise``, the same numbers one step after the other.
    """

    cell: ClassVar[str | None] = None
    """Registered name of the cell in the convolutions; time decay in every layer if None."""
    cell_options: ClassVar[Mapping[str, Any]] = {}
    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"channels": (6, 8, 8, 8, 8, 8), "units": (24, 16)},
        "small": {"channels": (24, 32, 48, 64, 64, 48), "units": (192, 128)},
    }

    channels: tuple[int, ...] = (96, 128, 256, 384, 384, 256)
    units: tuple[int, ...] = (1024, 512)
    mode: Literal["biological", "full"] = "biological"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint: bool = False
    compile: bool = False
    schedule: Literal["fast", "stepwise"] = "fast"

    def __post_init__(self) -> None:
        for name, width, nodes in (
            ("channels", self.channels, CONVOLUTIONS), ("units", self.units, FULL),
        ):  # fmt: skip
            if len(width) != len(nodes):
                raise refuse(name, width, f"{len(width)} numbers", f"give {len(nodes)}")
            positive(**{f"{name}[{k}]": value for k, value in enumerate(width)})
        for name, value, options in (
            ("mode", self.mode, ("biological", "full")),
            ("precision", self.precision, ("auto", "float32", "bfloat16")),
            ("schedule", self.schedule, ("fast", "stepwise")),
        ):
            if value not in options:
                raise refuse(name, value, "unknown", f"choose one of {', '.join(options)}")

    def graph(self, frame_shape: tuple[int, int, int]) -> GraphSpec:
        """The temporal graph that the encoder unrolls, for frames (channel, row, column)."""
        spec = published_graph("zhuang", cell=self.cell, **self.cell_options)
        widths = dict(zip(CONVOLUTIONS, self.channels, strict=True))
        units = dict(zip(FULL, self.units, strict=True))
        nodes = []
        for node in spec.nodes:
            change = (
                {"channels": widths[node.name]}
                if node.name in widths
                else {"units": units[node.name]}
            )
            nodes.append(replace(node, pre=replace(node.pre, **change)))  # type: ignore[arg-type]
        return replace(spec, nodes=tuple(nodes), input_shape=frame_shape)

    def build(self, input_shape: InputShape) -> ConvRNNEncoder:
        return ConvRNNEncoder(self, input_shape)


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

    cell_options = {"layer_norm": True}


@encoders.register("inter")
@dataclass(frozen=True, kw_only=True)
class Inter(ConvRNN):
    """ConvRNN with intersection cells."""

    cell = "intersection"


@encoders.register("inter_ln")
@dataclass(frozen=True, kw_only=True)
class InterLayerNorm(Inter):
    """ConvRNN with intersection cells and layer norm (the published Inter models)."""

    cell_options = {"layer_norm": True}


@encoders.register("gru")
@dataclass(frozen=True, kw_only=True)
class GRU(ConvRNN):
    """ConvRNN with gated recurrent units."""

    cell = "gru"


@encoders.register("gru_ln")
@dataclass(frozen=True, kw_only=True)
class GRULayerNorm(GRU):
    """ConvRNN with gated recurrent units and layer norm."""

    cell_options = {"layer_norm": True}


@encoders.register("lstm")
@dataclass(frozen=True, kw_only=True)
class LSTM(ConvRNN):
    """ConvRNN with long short-term memory."""

    cell = "lstm"


@encoders.register("lstm_ln")
@dataclass(frozen=True, kw_only=True)
class LSTMLayerNorm(LSTM):
    """ConvRNN with long short-term memory and layer norm."""

    cell_options = {"layer_norm": True}


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
        low = self.config.precision == "bfloat16" or (
            self.config.precision == "auto"
            and mixed
            and torch.get_autocast_dtype(kind) == torch.bfloat16
        )
        schedule: str | Fast = self.config.schedule
        if schedule == "fast":
            schedule = Fast(
                precision="bfloat16" if low else None,
                checkpoint=self.config.checkpoint,
                compile=self.config.compile,
            )
        # The schedule has a mixed precision of its own, with state and gates in float32.
        with torch.autocast(kind, enabled=False):
            found = unroll(
                self.graph,
                x.float() if mixed else x,
                read="all" if steps is None else steps,
                record=self.layers() if tap is not None else (),
                mode=self.config.mode,
                schedule=schedule,
            )
        if tap is not None:
            for name in self.layers():
                tap(name, found.activations[name])
        return found.output

    @property
    def multiply_adds(self) -> int:
        return self.n_steps * sum(node.multiply_adds for _, node in self.graph.nodes.items())
