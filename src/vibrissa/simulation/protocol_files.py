"""Protocols from YAML files: ``protocol: NAME`` and the fields of its class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import InputError, refuse
from vibrissa.simulation.protocols import SweepProtocol, sweep_protocols


def protocol_from_yaml(path: Path | str) -> SweepProtocol:
    """Read a protocol.

    The file names it and sets fields of its class, others keep their defaults::

        protocol: passive-grid
        sweep: {duration_s: 1.0, through: true}
        theta_deg: [0, 45, 90]
        height_mm: [-5, 0]

    Raises:
        InputError: no readable YAML file, an unknown protocol or field, or a bad value.
    """
    return protocol_from_tree(read_yaml(path), origin=str(path))


def protocol_from_tree(tree: object, origin: str = "protocol") -> SweepProtocol:
    """A protocol from the tree of such a file; errors begin with ``origin``."""
    kind, entries = protocol_entries(tree, origin)
    return from_tree(kind, entries, origin)


def protocol_entries(tree: object, origin: str) -> tuple[type[SweepProtocol], dict[str, Any]]:
    """The class of the protocol that a tree names, and the other entries, not looked at yet."""
    if not isinstance(tree, Mapping):
        raise refuse(origin, tree, "not a mapping of names to values", "begin it with protocol:")
    entries = dict(tree)
    name = entries.pop("protocol", None)
    if not isinstance(name, str):
        names = ", ".join(sweep_protocols.names())
        raise refuse(f"{origin}: protocol", name, "not a name", f"choose one of {names}")
    try:
        return sweep_protocols.get(name), entries
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error
