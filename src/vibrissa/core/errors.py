"""Typed errors: one clear sentence that names the field, the value, the reason and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


class VibrissaError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(VibrissaError, ValueError):
    """Something that the user gave cannot be used: a value, a file, a field of a file."""


class OutputError(InputError):
    """A file or folder cannot be written: no space, no permission."""


class MissingExtraError(VibrissaError, ImportError):
    """An optional dependency is absent."""


def refuse(field: str, value: object, reason: str, remedy: str) -> InputError:
    """Build the error for a refused value; the caller raises it.

    Args:
        field: name of the field, option or file that holds the value.
        value: what was found there.
        reason: why it cannot be used.
        remedy: what to do instead, an imperative without the full stop.

    Returns:
        An error whose text is one sentence.
    """
    text = repr(value)
    if len(text) > 120:
        text = text[:117] + "..."
    return InputError(f"{field} = {text}: {reason}; {remedy}.")


def refuse_unknown(field: str, value: str, options: Iterable[str]) -> InputError:
    """Build the error for a name that is not among the options; the caller raises it.

    Args:
        field: name of the field, option or family.
        value: the unknown name.
        options: the known names; they are listed in the given order.

    Returns:
        An error that names the nearest option, if one is near, and lists all.
    """
    known = list(options)
    lowered = {option.lower(): option for option in reversed(known)}
    near = get_close_matches(str(value).lower(), list(lowered), n=1, cutoff=0.5)
    remedy = f"did you mean {lowered[near[0]]!r}? " if near else "choose one. "
    return InputError(
        f"{field} = {value!r}: no such name; {remedy}Known: {', '.join(known) or 'none'}."
    )


def require_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency or say in one sentence how to get it.

    Args:
        module: the module to import, for instance ``"mujoco"``.
        extra: the extra of this package that brings it.
        purpose: what it is needed for, a noun phrase.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module}, which is not installed; "
            f'run: pip install "vibrissa[{extra}]".'
        ) from error
