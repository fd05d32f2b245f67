"""From a name to a model: ``inter_ln+gpt+linear``, ``tiny:zhuang+none+mlp@all``."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import vibrissa.models.attender
import vibrissa.models.decoder
import vibrissa.models.encoder
import vibrissa.models.own  # noqa: F401  (the parts register themselves)
from vibrissa.core.errors import InputError, refuse
from vibrissa.core.seeds import integer_seed
from vibrissa.models.ead import EAD, EADConfig
from vibrissa.models.own import OwnAttender, OwnDecoder, OwnEncoder, is_target
from vibrissa.models.parts import (
    INPUT_SHAPE,
    SIZES,
    InputShape,
    PartConfig,
    attenders,
    decoders,
    encoders,
)


def build(
    model: str | EADConfig,
    *,
    n_classes: int | None = None,
    input_shape: InputShape = INPUT_SHAPE,
    seed: int | None = None,
) -> EAD:
    """Build an Encoder-Attender-Decoder.

    Args:
        model: a name (see :func:`config_of`) or a configuration.
        n_classes: how many class scores; not needed with decoder ``none``.
        input_shape: (step, channel, row, column) of one sample.
        seed: of the parameters, and torch's own random state stays as it is; without it they are
            drawn from that state.

    Raises:
        InputError: an unknown name, or parts and shapes that do not fit.
    """
    config = config_of(model)
    name = model if isinstance(model, str) else None
    if seed is None:
        return EAD(config, n_classes=n_classes, input_shape=input_shape, name=name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(seed, "model"))
        return EAD(config, n_classes=n_classes, input_shape=input_shape, name=name)


def config_of(model: str | EADConfig) -> EADConfig:
    """The configuration that a name stands for.

    ``encoder``, ``encoder+attender`` or ``encoder+attender+decoder``; the attender is ``none`` and
    the decoder ``linear`` if left out. ``tiny:`` or ``small:`` before it makes it narrow. ``@`` and
    steps after the decoder say which it reads: ``mlp@all``, ``linear@5,10,21``. A part from your
    own file is ``module:Class`` or ``./file.py:Class`` (see :mod:`vibrissa.models.own`). The name
    of a published model (see :func:`vibrissa.models.published.zoo`) stands for its parts.

    Raises:
        InputError: a part is unknown, or there are too many.
    """
    if isinstance(model, EADConfig):
        return model
    if not isinstance(model, str) or not model.strip():
        raise refuse("model", model, "not a name", "give one, for instance inter_ln+gpt+linear")
    from vibrissa.models.published import refuse_unpublished, zoo

    text = model.strip()
    if text in zoo():
        return zoo()[text].model
    # Names of parts have no hyphen; files and modules have a colon.
    if "-" in text and not set("+:@") & set(text) and text not in encoders:
        raise refuse_unpublished("model", text)
    size, text = _size(model.strip())
    parts = [part.strip() for part in text.split("+")]
    if len(parts) > 3:
        raise refuse("model", model, f"{len(parts)} parts", "give encoder+attender+decoder")
    parts += ["none", "linear"][len(parts) - 1 :]
    try:
        return EADConfig(
            encoder=_part(encoders, parts[0], size, OwnEncoder),
            attender=_part(attenders, parts[1], size, OwnAttender),
            decoder=_decoder(parts[2], size),
        )
    except InputError as error:
        raise InputError(f"model {model}: {error}") from error


def name_of(config: EADConfig) -> str:
    """The name of a configuration; parts with options of their own get a ``*``."""
    parts = (
        (encoders, config.encoder), (attenders, config.attender), (decoders, config.decoder),
    )  # fmt: skip
    for size in reversed(SIZES):
        names = [_named(registry, part, size) for registry, part in parts]
        if not any(name.endswith("*") for name in names):
            break
    else:
        size = "published"
        names = [_named(registry, part, size) for registry, part in parts]
    return ("" if size == "published" else f"{size}:") + "+".join(names)


def _named(registry: Any, part: PartConfig, size: str) -> str:
    if isinstance(part, OwnEncoder | OwnAttender | OwnDecoder):
        return f"{part.target}({','.join(part.options)})" if part.options else part.target
    name = registry.name_of(part)
    plain = type(part).of_size(size)
    steps = getattr(part, "steps", None)
    if steps is not None and steps != getattr(plain, "steps", None):
        text = steps if isinstance(steps, str) else ",".join(map(str, steps))
        name, plain = f"{name}@{text}", replace(plain, steps=steps)  # type: ignore[call-arg]
    return name if part == plain else f"{name}*"


def _size(model: str) -> tuple[str, str]:
    head, colon, rest = model.partition(":")
    if colon and head in SIZES:
        return head, rest
    near = get_close_matches(head.lower(), SIZES, n=1, cutoff=0.6) if colon else []
    if near and not _is_module(head):
        raise refuse(
            "model", model, f"{head!r} is no size, and no module here",
            f"did you mean {near[0] + ':' + rest!r}",
        )  # fmt: skip
    return "published", model


def _is_module(name: str) -> bool:
    """Whether a module of this name is here or installed; nothing is imported."""
    if not name.isidentifier():
        return True  # a path or a module in a package, for others to find
    here = Path.cwd() / name
    return here.is_dir() or here.with_suffix(".py").is_file() or find_spec(name) is not None


def _part(registry: Any, name: str, size: str, own: Any) -> Any:
    if is_target(name):
        return own(target=name)
    return registry.get(name).of_size(size)


def _decoder(text: str, size: str) -> Any:
    if is_target(text):
        return OwnDecoder(target=text)
    name, at, steps = text.partition("@")
    config = _part(decoders, name, size, OwnDecoder)
    if not at:
        return config
    if not hasattr(config, "steps"):
        raise refuse("decoder", text, f"{name} reads no chosen steps", "leave the @ out")
    if steps in ("last", "all"):
        return replace(config, steps=steps)
    try:
        return replace(config, steps=tuple(int(t) for t in steps.split(",")))
    except ValueError as error:
        raise refuse(
            "decoder", text, "no steps after the @", "write last, all, or steps as 5,10,21"
        ) from error
