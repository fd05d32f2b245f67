"""The Encoder-Attender-Decoder: three parts joined, its configuration, its layers.

Reference: Chung et al. 2025, arXiv 2505.18361, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from vibrissa.core.config import read_yaml
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.models.attender import NoAttender
from vibrissa.models.decoder import Linear
from vibrissa.models.parts import (
    INPUT_SHAPE,
    OWN,
    AttenderConfig,
    DecoderConfig,
    EncoderConfig,
    InputShape,
    Steps,
    Tap,
    attenders,
    decoders,
    encoders,
    pick,
)
from vibrissa.tnn.trees import MEMBER, read_config, write_config

FAMILIES: Final = {EncoderConfig: encoders, AttenderConfig: attenders, DecoderConfig: decoders}


@dataclass(frozen=True, kw_only=True)
class EADConfig:
    """An Encoder-Attender-Decoder before anything is built.

    In a file a part is its registered name, or ``type`` with that name beside its options::

        encoder: inter_ln
        attender: {type: gpt, n_layers: 4}
        decoder: {type: mlp, steps: all}

    A part from your own file is ``./my_encoder.py:MyEncoder``, or that under ``type`` beside its
    options.

    Attributes:
        encoder: from the whisker grid to features.
        attender: from features to features.
        decoder: from features to class scores.
        precision: ``bfloat16``: matrix products and convolutions in that type, parameters and
            results in float32. It pays on processors with bfloat16 arithmetic.
        checkpoint: keep less for the backward pass and compute it again, which needs less memory
            and more time.
    """

    encoder: EncoderConfig
    attender: AttenderConfig = field(default_factory=NoAttender)
    decoder: DecoderConfig = field(default_factory=Linear)
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint: bool = False

    def __post_init__(self) -> None:
        for name, part, base in (
            ("encoder", self.encoder, EncoderConfig),
            ("attender", self.attender, AttenderConfig),
            ("decoder", self.decoder, DecoderConfig),
        ):
            if not isinstance(part, base):
                raise refuse(
                    name, part, f"not a configuration of the {name}s",
                    f"give one, or a name to vibrissa.build (known: {', '.join(_names(base))})",
                )  # fmt: skip
        if self.precision not in ("float32", "bfloat16"):
            raise refuse("precision", self.precision, "unknown", "choose float32 or bfloat16")

    @classmethod
    def from_tree(cls, tree: object, origin: str = "model") -> EADConfig:
        """Read a plain tree, as YAML and JSON give it; left unchanged.

        Raises:
            InputError: an entry is unknown, missing or wrong, named by its place.
        """
        if isinstance(tree, Mapping):
            tree = {key: _own(value) for key, value in tree.items()}
        return read_config(cls, tree, FAMILIES, origin)

    @classmethod
    def from_file(cls, path: Path | str) -> EADConfig:
        """Read a YAML or JSON file; the tree is that of :meth:`from_tree`."""
        return cls.from_tree(read_yaml(path), origin=str(path))

    def to_tree(self) -> dict[str, Any]:
        """The tree that :meth:`from_tree` reads, in plain JSON types, all options written out."""
        return write_config(self, FAMILIES)

    @property
    def name(self) -> str:
        """``encoder+attender+decoder``, with the size before it where all widths are of one."""
        from vibrissa.models.building import name_of

        return name_of(self)


def _own(tree: Any) -> Any:
    """A part that stands as ``module:Class``, written out."""
    from vibrissa.models.own import is_target

    if is_target(tree):
        return {MEMBER: OWN, "target": tree}
    if isinstance(tree, Mapping) and is_target(tree.get(MEMBER)):
        options = {key: value for key, value in tree.items() if key != MEMBER}
        return {MEMBER: OWN, "target": tree[MEMBER], "options": options}
    return tree


def _names(base: type) -> tuple[str, ...]:
    return FAMILIES[base].names()


class EAD(nn.Module):
    """Encoder, attender and decoder in a row.

    Parameters are drawn in this order, each part's by its own rule. Keys of the state dict begin
    with ``encoder.``, ``attender.`` or ``decoder.``.

    Args:
        config: the parts.
        n_classes: how many scores; None with a decoder that gives features.
        input_shape: (step, channel, row, column) of one sample.
        name: what to call it; that of the configuration if omitted.

    Raises:
        InputError: parts and shapes do not fit.
    """

    def __init__(
        self,
        config: EADConfig,
        *,
        n_classes: int | None = None,
        input_shape: InputShape = INPUT_SHAPE,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.name = name or config.name
        self.input_shape = _checked_shape(input_shape)
        self.n_steps = self.input_shape[0]
        self.encoder = config.encoder.build(self.input_shape)
        self.attender = config.attender.build(self.encoder.n_features, self.n_steps)
        self.n_features = self.attender.n_features
        self.decoder = config.decoder.build(self.n_features, self.n_steps, n_classes)
        self.n_classes = self.decoder.n_classes
        for part in (self.encoder, self.attender, self.decoder):
            part.checkpoint = config.checkpoint
        names = [*self.encoder.layers(), *self.attender.layers(), *self.decoder.layers()]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise refuse("layers", twice, "two parts use the same name", "rename one")
        self._layers = tuple(names)

    def features(self, x: Tensor, *, steps: Sequence[int] | None = None) -> Tensor:
        """What the decoder reads.

        Args:
            x: (batch, step, channel, row, column).
            steps: which to give, ascending from 0; all if omitted. What only others need is not
                computed.

        Returns:
            (batch, step, feature).
        """
        self._check(x)
        return self._features(x, None if steps is None else tuple(steps), None)

    def decode(self, features: Tensor) -> Tensor:
        """From features of all steps, (batch, step, feature), to class scores (batch, class)."""
        with self._mixed(features):
            return self.decoder(features).to(features.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (batch, class); without a decoder the last step's features.

        The same as ``decode(features(x))``, without the steps that the decoder does not read.

        Args:
            x: (batch, step, channel, row, column).

        Raises:
            InputError: the shape is another.
        """
        self._check(x)
        features = self._features(x, self.decoder.steps, None)
        with self._mixed(x):
            return self.decoder.read_out(features).to(features.dtype)

    def layers(self) -> tuple[str, ...]:
        """Names of the layers that :meth:`record` knows, in the order of computation."""
        return self._layers

    def record(self, x: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Values of layers, in whatever mode the model is, with or without gradients.

        Args:
            x: (batch, step, channel, row, column).
            layers: which; all if omitted.

        Returns:
            Name -> (batch, step, \\*unit axes); layers of the decoder have one step.

        Raises:
            InputError: no such layer.
        """
        self._check(x)
        wanted = self._layers if layers is None else tuple(layers)
        for name in wanted:
            if name not in self._layers:
                raise refuse_unknown("layer", name, self._layers)
        tap = Tap(wanted, x.dtype)
        features = self._features(x, None, tap)
        with self._mixed(x):
            self.decoder.read_out(pick(features, self.decoder.steps), tap=tap)
        return {name: tap.found[name] for name in wanted}

    def first_input_step(self, layer: str) -> int:
        """The first step at which a layer's value depends on the input, 0 for decoder layers.

        Raises:
            InputError: no such layer.
        """
        if layer in self.encoder.layers():
            return self.encoder.first_input_step(layer)
        if layer in self.attender.layers():
            return self.encoder.first_input_step() if self.attender.causal else 0
        if layer in self.decoder.layers():
            return 0
        raise refuse_unknown("layer", layer, self._layers)

    @property
    def n_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters())

    @property
    def flop(self) -> int | None:
        """Floating-point operations of convolutions, matrix products and scans for one sample, two
        for each multiply-add, before anything is left out; None if a part does not say."""
        parts = [p.multiply_adds for p in (self.encoder, self.attender, self.decoder)]
        return None if any(p is None for p in parts) else 2 * sum(p or 0 for p in parts)

    def extra_repr(self) -> str:
        return f"{self.name}, {self.n_parameters:,} parameters"

    # --- inside ------------------------------------------------------------------------------

    def _features(self, x: Tensor, steps: Steps | None, tap: Tap | None) -> Tensor:
        needed = None if steps is None else self.attender.needs(steps)
        with self._mixed(x):
            encoded = self.encoder(x, steps=needed, tap=tap)
            return self.attender(encoded, steps=steps, tap=tap).to(x.dtype)

    def _mixed(self, x: Tensor) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(x.device.type, dtype=torch.bfloat16)

    def _check(self, x: Tensor) -> None:
        if not isinstance(x, Tensor) or tuple(x.shape[1:]) != self.input_shape or not len(x):
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"input = {shape}: the model {self.name} takes (batch, "
                f"{', '.join(map(str, self.input_shape))}), which are batch, step, channel, row "
                "and column; give such a tensor, or build the model with another input_shape."
            )


def _checked_shape(shape: Sequence[int]) -> InputShape:
    given = tuple(shape)
    if len(given) != 4 or not all(isinstance(n, int) and n > 0 for n in given):
        raise refuse(
            "input_shape", given, "not (step, channel, row, column)", "give four whole numbers"
        )
    return given[0], given[1], given[2], given[3]
