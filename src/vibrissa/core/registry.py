"""Registries: one per family; names exist for YAML and the command line, code goes by type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from vibrissa.core.errors import VibrissaError, refuse, refuse_unknown

T = TypeVar("T")
F = TypeVar("F")


class Registry(Generic[T]):
    """The named members of one family: configuration classes, functions or plain values.

    Other packages add members by an entry point in the group ``vibrissa.<family>``, whose name is
    the member's name; it is loaded when a name is first asked for that is not known here, or when
    the names are listed.

    Args:
        family: plural noun that names the family, for instance ``"cells"``.
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._entries: dict[str, T] = {}
        self._builders: dict[type, Callable[..., Any]] = {}
        self._outside_loaded = False

    def register(self, name: str) -> Callable[[F], F]:
        """Decorator that enters a class or function (or, called by hand, a value) under ``name``.

        Raises:
            InputError: the name is empty or already taken by something else.
        """

        def enter(entry: F) -> F:
            self._enter(name, entry)
            return entry

        return enter

    def builder(self, config_type: type) -> Callable[[F], F]:
        """Decorator that names the function which builds from a configuration of this type.

        Raises:
            InputError: the type has a builder already.
        """

        def enter(function: F) -> F:
            if config_type in self._builders:
                raise refuse(
                    f"builder of {config_type.__name__}",
                    function,
                    f"{self.family} has one already",
                    "use a configuration class of your own",
                )
            self._builders[config_type] = function  # type: ignore[assignment]
            return function

        return enter

    def get(self, name: str) -> T:
        """The member of this name.

        Raises:
            InputError: no such member; the text names the nearest and lists all.
        """
        if name not in self._entries:
            self._load_outside()
        if name not in self._entries:
            raise refuse_unknown(self.family, name, self.names())
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        self._load_outside()
        return tuple(sorted(self._entries))

    def name_of(self, entry: object) -> str:
        """The name under which a member, or the type of a configuration, is registered.

        Raises:
            InputError: it is not registered.
        """
        self._load_outside()
        for name, known in self._entries.items():
            if known is entry or known is type(entry):
                return name
        raise refuse(
            self.family, entry, "not registered", f"choose one of {', '.join(self.names())}"
        )

    def build(self, config: object, *args: Any, **kwargs: Any) -> Any:
        """Build from a configuration, by its type; ``config`` is left unchanged.

        The builder is the one given for the nearest class in the type's method resolution order,
        else the configuration's own ``build`` method.

        Raises:
            InputError: there is neither.
        """
        for kind in type(config).__mro__:
            if kind in self._builders:
                return self._builders[kind](config, *args, **kwargs)
        own = getattr(config, "build", None)
        if callable(own):
            return own(*args, **kwargs)
        raise refuse(
            self.family,
            config,
            "nothing says how to build it",
            f"register a builder for {type(config).__name__}",
        )

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def _enter(self, name: str, entry: Any) -> None:
        if not name or name != name.strip():
            raise refuse(self.family, name, "a name must be a word", "give it one")
        if self._entries.get(name, entry) is not entry:
            raise refuse(self.family, name, "already registered", "choose another name")
        self._entries[name] = entry

    def _load_outside(self) -> None:
        if self._outside_loaded:
            return
        self._outside_loaded = True  # before loading: a member's module may ask for names
        for point in entry_points(group=f"vibrissa.{self.family}"):
            try:
                entry = point.load()
            except VibrissaError:
                raise
            except Exception as error:
                self._outside_loaded = False
                raise refuse(
                    f"entry point vibrissa.{self.family}",
                    point.value,
                    f"cannot be loaded ({error})",
                    "repair or uninstall the package that brings it",
                ) from error
            self._enter(point.name, entry)
