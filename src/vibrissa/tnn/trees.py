"""Configurations that hold members of a registered family, from and to plain trees.

In a tree a member is its registered name (all defaults) or a mapping with that name under ``type``
beside its options: ``relu`` has no options, ``{type: conv, channels: 96, kernel: 2}`` has.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Union

from vibrissa.core.config import from_tree
from vibrissa.core.errors import InputError, VibrissaError, refuse
from vibrissa.core.registry import Registry

C = TypeVar("C")

Families: TypeAlias = Mapping[type, Registry[Any]]
"""Base class of a family -> its registry."""

MEMBER: typing.Final = "type"
"""Key under which a member's registered name stands."""


def read_member(base: type[C], tree: object, families: Families, where: str) -> C:
    """Read a member of a family.

    Args:
        base: base class of the family.
        tree: its name, or a mapping with ``type`` and options; left unchanged.
        families: all families that may stand inside.
        where: what to call the place in an error.

    Raises:
        InputError: unknown name or option, or a value that the member refuses.
    """
    registry = families[base]
    if isinstance(tree, str):
        tree = {MEMBER: tree}
    if not isinstance(tree, Mapping) or not isinstance(tree.get(MEMBER), str):
        raise refuse(
            where, tree, f"not one of the {registry.family}",
            f"give a name, or {MEMBER}: name with its options",
        )  # fmt: skip
    try:
        kind = registry.get(tree[MEMBER])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    options = {key: value for key, value in tree.items() if key != MEMBER}
    return read_config(kind, options, families, where)


def read_config(cls: type[C], tree: object, families: Families, where: str) -> C:
    """Read a dataclass whose fields may hold members of families, tuples of such, or none.

    Raises:
        InputError: as :func:`vibrissa.core.config.from_tree`.
    """
    hints = typing.get_type_hints(cls)
    members = {name: kind for name, hint in hints.items() if (kind := _member(hint, families))}
    # A stand-in with the same fields lets core read and check everything but the members.
    stand_in = make_dataclass(
        cls.__name__,
        [
            (f.name, Any if f.name in members else hints[f.name], _default(f))
            for f in fields(cls)  # type: ignore[arg-type]
            if f.init
        ],
        kw_only=True,
    )
    plain = from_tree(stand_in, tree, where)
    values = {f.name: getattr(plain, f.name) for f in fields(plain)}
    given = tree if isinstance(tree, Mapping) else {}
    for name, kind in members.items():
        if name in given:
            values[name] = _nested(kind, given[name], families, f"{where}.{name}")
    try:
        return cls(**values)
    except VibrissaError as error:
        raise InputError(f"{where}: {error}") from error


def write_member(config: object, families: Families) -> dict[str, Any]:
    """The tree that :func:`read_member` reads, with every option written out."""
    base = _base_of(config, families)
    return {MEMBER: families[base].name_of(config)} | write_config(config, families)


def write_config(config: object, families: Families) -> dict[str, Any]:
    """The tree that :func:`read_config` reads."""
    return {
        f.name: _written(getattr(config, f.name), families)
        for f in fields(config)  # type: ignore[arg-type]
        if f.init
    }


def _default(f: Any) -> Any:
    if f.default is not MISSING:
        return field(default=f.default)
    if f.default_factory is not MISSING:
        return field(default_factory=f.default_factory)
    return field()


def _base_of(config: object, families: Families) -> type:
    for base in families:
        if isinstance(config, base):
            return base
    raise refuse("configuration", config, "of no known family", "register its class")


def _member(hint: Any, families: Families) -> type | None:
    """The class of the members that a field holds: a family's base, or one member alone."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint if any(issubclass(hint, base) for base in families) else None
    if typing.get_origin(hint) in (Union, types.UnionType, tuple):
        return next((f for a in typing.get_args(hint) if (f := _member(a, families))), None)
    return None


def _nested(kind: type, tree: object, families: Families, where: str) -> Any:
    if tree is None:
        return None
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return tuple(_nested(kind, item, families, f"{where}[{k}]") for k, item in enumerate(tree))
    if kind in families:
        return read_member(kind, tree, families, where)
    # Only one member may stand here, so that its name can be left out.
    base = next(base for base in families if issubclass(kind, base))
    name = families[base].name_of(kind)
    if isinstance(tree, Mapping) and tree.get(MEMBER, name) == name:
        options = {key: value for key, value in tree.items() if key != MEMBER}
        return read_config(kind, options, families, where)
    raise refuse(where, tree, f"only {name} may stand here", "give a mapping of its options")


def _written(value: Any, families: Families) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        if any(isinstance(value, base) for base in families):
            return write_member(value, families)
        return write_config(value, families)
    if isinstance(value, tuple | list):
        return [_written(item, families) for item in value]
    if isinstance(value, Mapping):
        return {key: _written(item, families) for key, item in value.items()}
    if isinstance(value, Path):
        return value.as_posix()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise refuse("configuration", value, "has no plain form", "use numbers, text and lists")
