"""Parts from the user's own file: ``mymodule:MyEncoder`` or ``./my_encoder.py:MyEncoder``.

An encoder is any ``nn.Module`` class (or function that makes one) which is called with the input
shape and its options, and maps (batch, step, channel, row, column) to (batch, step, feature).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vibrissa.core.errors import InputError, VibrissaError, refuse, refuse_unknown
from vibrissa.models.parts import (
    OWN,
    Attender,
    AttenderConfig,
    Decoder,
    DecoderConfig,
    Encoder,
    EncoderConfig,
    InputShape,
    Part,
    PartConfig,
    Steps,
    Tap,
    attenders,
    decoders,
    encoders,
    pick,
)

P = TypeVar("P", bound=Part)


@dataclass(frozen=True, kw_only=True)
class _Own(PartConfig):
    """What parts from outside have in common.

    Attributes:
        target: ``module:Class``, or ``path/to/file.py:Class``.
        options: keyword arguments for it, of plain types.
    """

    target: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not is_target(self.target):
            raise refuse("target", self.target, "not module:Class", "give one, as mymodule:MyPart")


@encoders.register(OWN)
@dataclass(frozen=True, kw_only=True)
class OwnEncoder(_Own, EncoderConfig):
    """An encoder from your own file, called with (step, channel, row, column)."""

    def build(self, input_shape: InputShape) -> Encoder:
        made = _make(self, EncoderConfig, Encoder, (input_shape,))
        return made if isinstance(made, Encoder) else _EncoderAround(self, made, input_shape)


@attenders.register(OWN)
@dataclass(frozen=True, kw_only=True)
class OwnAttender(_Own, AttenderConfig):
    """An attender from your own file, called with the numbers of features and of steps."""

    def build(self, n_features: int, n_steps: int) -> Attender:
        made = _make(self, AttenderConfig, Attender, (n_features, n_steps))
        if isinstance(made, Attender):
            return made
        return _AttenderAround(self, made, n_features, n_steps)


@decoders.register(OWN)
@dataclass(frozen=True, kw_only=True)
class OwnDecoder(_Own, DecoderConfig):
    """A decoder from your own file, called with the numbers of features, steps and classes."""

    def build(self, n_features: int, n_steps: int, n_classes: int | None) -> Decoder:
        made = _make(self, DecoderConfig, Decoder, (n_features, n_steps, n_classes))
        if isinstance(made, Decoder):
            return made
        return _DecoderAround(self, made, n_features, n_steps, n_classes)


def is_target(text: object) -> bool:
    """Does it read as ``module:Class``?"""
    if not isinstance(text, str):
        return False
    module, colon, name = text.rpartition(":")
    return bool(colon and module.strip() and name.isidentifier())


# --- finding and making --------------------------------------------------------------------------


def find(target: str) -> Any:
    """The class or function that a target names.

    Raises:
        InputError: no such file, module or name in it, or the module cannot be imported.
    """
    place, _, name = target.rpartition(":")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
    except VibrissaError:
        raise
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"{target}: {place} cannot be imported ({type(error).__name__}: "
            f"{_one_line(error)}); mend it."
        ) from error
    if not hasattr(module, name):
        known = [n for n in vars(module) if not n.startswith("_") and callable(vars(module)[n])]
        raise refuse_unknown(f"{target}: class in {place}", name, known)
    return getattr(module, name)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the path.")
    path = path.resolve()
    digest = sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    key = f"_vibrissa_own_{path.stem}_{digest}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[key]
        raise
    return module


def _from_name(name: str) -> ModuleType:
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:  # a console command does not look where it is called
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise InputError(
            f"{name}: there is no such module here or among the installed ones; "
            "give module:Class, or the path of the file as ./my_encoder.py:MyEncoder."
        ) from error
    finally:
        if added:
            sys.path.remove(here)


def _make(config: _Own, config_type: type, part_type: type[P], shapes: tuple[Any, ...]) -> Any:
    """What the target makes: a part of ours, or any module."""
    found = find(config.target)
    try:
        if isinstance(found, type) and issubclass(found, config_type):
            made = found(**config.options).build(*shapes)
        else:
            made = found(*shapes, **config.options)
    except VibrissaError as error:
        raise InputError(f"{config.target}: {error}") from error
    except Exception as error:  # whatever the user's class raises
        raise InputError(
            f"{config.target}: cannot be built with {', '.join(map(str, shapes))} and options "
            f"{dict(config.options)} ({type(error).__name__}: {_one_line(error)}); mend it."
        ) from error
    if not isinstance(made, nn.Module):
        raise refuse(
            config.target, type(made).__name__, "not a torch module", "return an nn.Module"
        )
    if isinstance(made, Part) and not isinstance(made, part_type):
        raise refuse(
            config.target, type(made).__name__, f"not an {part_type.__name__.lower()}",
            "name it at its own place in the model",
        )  # fmt: skip
    return made


def _trial(
    config: _Own, module: nn.Module, x: Tensor, wanted: str, fits: Callable[..., bool]
) -> Tensor:
    """What the module makes of two samples of zeros; its state and the random state stay."""
    like = next(module.parameters(), None)
    if like is not None:
        x = x.to(like.device, like.dtype)
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            y = module(x)
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"{config.target}: fails on an input of shape {tuple(x.shape)} "
            f"({type(error).__name__}: {_one_line(error)}); mend its forward."
        ) from error
    finally:
        for inner, mode in modes:
            inner.training = mode
    if not isinstance(y, Tensor) or not fits(tuple(y.shape)):
        gave = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise refuse(
            f"{config.target}: output", gave, f"for an input of {tuple(x.shape)} not {wanted}",
            "mend what its forward returns",
        )  # fmt: skip
    return y


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


# --- around modules of any kind ------------------------------------------------------------------


class _EncoderAround(Encoder):
    """A module as an encoder; its parameters are under ``module``."""

    def __init__(self, config: OwnEncoder, module: nn.Module, input_shape: InputShape) -> None:
        steps = input_shape[0]
        y = _trial(
            config, module, torch.zeros(2, *input_shape),
            f"(batch, step, feature) = (2, {steps}, n)",
            lambda shape: len(shape) == 3 and shape[:2] == (2, steps) and shape[2] > 0,
        )  # fmt: skip
        super().__init__(input_shape, y.shape[2], causal=False)
        self.module = module

    def layers(self) -> tuple[str, ...]:
        return ("encoder",)

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        y = self.module(x)
        if tap is not None:
            tap("encoder", y)
        return pick(y, steps)

    @property
    def multiply_adds(self) -> int | None:
        return None


class _AttenderAround(Attender):
    """A module as an attender; its parameters are under ``module``."""

    def __init__(
        self, config: OwnAttender, module: nn.Module, n_features: int, n_steps: int
    ) -> None:
        y = _trial(
            config, module, torch.zeros(2, n_steps, n_features),
            f"(batch, step, feature) = (2, {n_steps}, n)",
            lambda shape: len(shape) == 3 and shape[:2] == (2, n_steps) and shape[2] > 0,
        )  # fmt: skip
        super().__init__(n_steps, y.shape[2], causal=False)
        self.module = module

    def layers(self) -> tuple[str, ...]:
        return ("attender",)

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        y = self.module(x)
        if tap is not None:
            tap("attender", y)
        return pick(y, steps)

    @property
    def multiply_adds(self) -> int | None:
        return None


class _DecoderAround(Decoder):
    """A module as a decoder of all steps; its parameters are under ``module``."""

    def __init__(
        self,
        config: OwnDecoder,
        module: nn.Module,
        n_features: int,
        n_steps: int,
        n_classes: int | None,
    ) -> None:
        _trial(
            config, module, torch.zeros(2, n_steps, n_features),
            f"(batch, class) = (2, {n_classes})",
            lambda shape: len(shape) == 2 and shape[0] == 2 and n_classes in (None, shape[1]),
        )  # fmt: skip
        super().__init__(tuple(range(n_steps)), n_classes)
        self.module = module

    def layers(self) -> tuple[str, ...]:
        return ("decoder",)

    def read_out(self, x: Tensor, *, tap: Tap | None = None) -> Tensor:
        y = self.module(x)
        if tap is not None:
            tap("decoder", y[:, None])
        return y

    @property
    def multiply_adds(self) -> int | None:
        return None
