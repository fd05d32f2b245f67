"""From YAML and JSON to configuration dataclasses, with every mistake named by its place."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Union

from vibrissa.core.errors import InputError, refuse

C = TypeVar("C")

TREE_TYPE: Final = "tree_type"
"""Key in the metadata of a dataclass field: the type that :func:`from_tree` reads there instead of
the annotated one, for instance a dataclass where the annotation is a protocol."""


def from_tree(cls: type[C], tree: object, origin: str = "configuration") -> C:
    """Build a frozen dataclass from mappings, lists, numbers, text, truth values and nulls.

    Annotations may be ``bool``, ``int``, ``float`` (takes whole numbers as well), ``str``,
    ``Path``, ``Literal``, unions, ``tuple[X, ...]``, ``tuple[X, Y]``, ``list[X]``, ``Sequence[X]``,
    ``Mapping[str, X]``, ``Any`` and dataclasses of such. An entry ``type`` that names the class, as
    :func:`~vibrissa.core.manifest.to_tree` writes it, is passed over.

    Args:
        cls: what to build.
        tree: a mapping from field names to values; left unchanged.
        origin: what to call the tree in an error, for instance the file.

    Raises:
        InputError: an unknown, missing or wrong entry, named by its place, or values that the class
            itself refuses.
    """
    return _dataclass(cls, tree, origin, "")


def read_yaml(path: Path | str) -> Any:
    """The plain tree of a YAML file (one document, safe types; JSON files are YAML as well).

    Raises:
        InputError: no such file, not text, bad YAML, or a key that stands twice in one mapping.
    """
    import yaml

    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{source}: there is no such file; check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{source}: cannot be read ({why}); give a YAML file.") from error
    try:
        return yaml.load(text, Loader=_loader())
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise InputError(f"{source}: not YAML ({line}{problem}); mend it.") from error


def _loader() -> type:
    """YAML's safe loader, but a key may stand only once in a mapping."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[object] = set()
            for key_node, _ in getattr(node, "value", []):
                if key_node.tag == "tag:yaml.org,2002:merge":
                    continue
                key = key_node.value if isinstance(key_node.value, str) else None
                if key is not None and key in seen:
                    raise refuse(
                        f"line {key_node.start_mark.line + 1}: key", key,
                        "it stands twice in one mapping", "leave one out",
                    )  # fmt: skip
                seen.add(key)
            return super().construct_mapping(node, deep=deep)

    return Loader


# --- reading by type -------------------------------------------------------------------------


def _dataclass(cls: type[C], tree: object, origin: str, place: str) -> C:
    where = f"{origin}: {place}" if place else origin
    if not isinstance(tree, Mapping):
        raise refuse(where, tree, "not a mapping of names to values", "give name: value entries")
    known: dict[str, Field[Any]] = {f.name: f for f in fields(cls) if f.init}  # type: ignore[arg-type]
    entries = dict(tree)
    if "type" not in known and entries.get("type") == f"{cls.__module__}.{cls.__qualname__}":
        del entries["type"]
    for key in entries:
        if key not in known:
            raise InputError(_unknown(where, key, known))
    missing = [
        name
        for name, f in known.items()
        if f.default is MISSING and f.default_factory is MISSING and name not in entries
    ]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} missing; add it.")
    hints = typing.get_type_hints(cls)
    values = {
        name: _value(
            known[name].metadata.get(TREE_TYPE, hints[name]), value, origin,
            f"{place}.{name}" if place else name,
        )
        for name, value in entries.items()
    }  # fmt: skip
    try:
        return cls(**values)
    except ValueError as error:
        inside = place and any(str(error).startswith(f"{name} =") for name in known)
        link = "." if inside else ": "
        raise InputError(f"{where}{link}{error}") from error


def _unknown(where: str, key: object, known: Mapping[str, object]) -> str:
    near = get_close_matches(str(key), list(known), n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(known) or "none"
    return f"{where}: {key!r} is no entry here; {guess}Known: {listed}."


def _value(kind: Any, value: Any, origin: str, place: str) -> Any:
    """Read a value as an annotated type."""
    where = f"{origin}: {place}"
    outer, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is object:
        return value
    if kind is None or kind is type(None):
        if value is not None:
            raise refuse(where, value, "not null", "leave it out")
        return None
    if kind in _PLAIN:
        fits, reason, remedy = _PLAIN[kind]
        if (isinstance(value, bool) and kind is not bool) or not isinstance(value, fits):
            raise refuse(where, value, reason, remedy)
        return kind(value)
    if outer is Literal:
        if not any(value == option and type(value) is type(option) for option in inner):
            options = ", ".join(str(option) for option in inner)
            raise refuse(where, value, "unknown", f"choose one of {options}")
        return value
    if outer in (Union, types.UnionType):
        return _one_of(inner, value, origin, place)
    if outer is tuple:
        return _tuple(inner, value, origin, place)
    if outer is not None and issubclass(outer, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise refuse(where, value, "not a mapping of names to values", "give name: value")
        return {k: _value(inner[1], v, origin, f"{place}.{k}") for k, v in value.items()}
    if outer is not None and issubclass(outer, Sequence):
        items = _tuple((inner[0], ...), value, origin, place)
        return list(items) if outer is list else items
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind, value, origin, place)
    raise refuse(where, value, "cannot be given in a file", "leave it out")


_PLAIN: Final[dict[Any, tuple[Any, str, str]]] = {
    bool: (bool, "not a truth value", "give true or false"),
    int: (int, "not a whole number", "give one"),
    float: ((int, float), "not a number", "give one, powers of ten as 1.0e-3"),
    str: (str, "not text", "put it in quotes"),
    Path: (str, "not a path", "give text"),
}


def _one_of(kinds: Sequence[Any], value: Any, origin: str, place: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    real = [kind for kind in kinds if kind is not type(None)]
    if isinstance(value, int) and not isinstance(value, bool) and int in real:
        return value  # a whole number stays one
    problems = []
    for kind in real:
        try:
            return _value(kind, value, origin, place)
        except InputError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    names = ", ".join(getattr(kind, "__name__", str(kind)) for kind in real)
    raise refuse(f"{origin}: {place}", value, f"none of {names}", "give one of them")


def _tuple(kinds: Sequence[Any], value: Any, origin: str, place: str) -> tuple[Any, ...]:
    where = f"{origin}: {place}"
    if not isinstance(value, list | tuple):
        raise refuse(where, value, "not a list", "put it in brackets, as [1, 2]")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = [kinds[0]] * len(value)
    if len(kinds) != len(value):
        raise refuse(where, value, f"{len(value)} entries", f"give {len(kinds)}")
    return tuple(
        _value(kind, item, origin, f"{place}[{k}]")
        for k, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
