"""Checkpoints: tensors, plain numbers and JSON text, read without unpickling anything else."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.memory import is_out_of_memory

FORMAT: Final = "vibrissa checkpoint"
FORMAT_VERSION: Final = 1
_TEXTS: Final = ("config", "progress")


def save_checkpoint(
    path: Path,
    *,
    config: Mapping[str, Any],
    model: Mapping[str, Any],
    objective: Mapping[str, Any],
    progress: Mapping[str, Any],
    optimiser: Mapping[str, Any] | None = None,
    loader: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        config: what the model is, a JSON tree.
        model: its state dict.
        objective: the state dict of the heads.
        progress: where the training is and what was measured, a JSON tree.
        optimiser: its state dict; None for weights alone.
        loader: where the loader is; None for weights alone.

    Raises:
        OutputError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "config": json.dumps(config),
        "progress": json.dumps(progress),
        "model": _plain(model),
        "objective": _plain(objective),
        "optimiser": None if optimiser is None else dict(optimiser),
        "loader": None if loader is None else dict(loader),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)
    return path


def read_checkpoint(
    path: Path | str,
    remedy: str = "copy the run again from where it came, read the other one of best.pt and "
    "last.pt (load_run takes which), or train again with another --out",
) -> dict[str, Any]:
    """What :func:`save_checkpoint` wrote, tensors on the CPU; JSON texts are read.

    Args:
        path: the file.
        remedy: what to do where it is damaged.

    Raises:
        InputError: no such file, not a checkpoint, cut short, or any byte of it changed.
    """
    source = Path(path)
    if not source.is_file():
        raise refuse("checkpoint", str(source), "there is no such file", "check the run folder")
    damaged = InputError(
        f"{source}: not a checkpoint as it was written (cut short or changed); {remedy}."
    )
    try:
        with zipfile.ZipFile(source) as archive:
            if archive.testzip() is not None:  # torch.load itself does not compare checksums
                raise damaged
        content = torch.load(source, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise refuse(
            "checkpoint", str(source), f"cannot be read ({error.strerror})", "make it readable"
        ) from error
    except Exception as error:  # zipfile and torch raise many kinds for damaged files
        if is_out_of_memory(error):
            raise InputError(
                f"{source}: it does not fit into the memory that is left; free some, or choose a "
                "smaller model."
            ) from error
        raise damaged from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{source}: not a checkpoint of vibrissa; give one from a run folder.")
    if content["version"] != FORMAT_VERSION:
        raise refuse(
            f"{source}: version", content["version"],
            f"this release reads version {FORMAT_VERSION}", "upgrade vibrissa",
        )  # fmt: skip
    for name in _TEXTS:
        content[name] = json.loads(content[name])
    return content


def load_weights(module: torch.nn.Module, state: Mapping[str, Any], source: Path | str) -> None:
    """Load a state dict that must fit exactly.

    Raises:
        InputError: other names or shapes; the first odd one is told.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    extra = [name for name in state if name not in own]
    if missing or extra:
        odd = f"{missing[0]} is missing" if missing else f"{extra[0]} is not in the model"
        raise InputError(
            f"{source}: a checkpoint of another model ({odd}, "
            f"{len(missing) + len(extra)} names differ); give that of the same model."
        )
    for name, value in own.items():
        there = tuple(state[name].shape)
        if there != tuple(value.shape):
            raise InputError(
                f"{source}: a checkpoint of another model ({name} has the shape {there} there and "
                f"{tuple(value.shape)} here); give that of the same model."
            )
    module.load_state_dict(dict(state))


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach() for name, value in state.items()}
