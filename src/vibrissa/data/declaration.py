"""What a store is to hold: its manifest and the objects that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from vibrissa.core.errors import refuse
from vibrissa.core.manifest import Manifest
from vibrissa.data.sources import shard_path

STORE: Final = "store.json"


def read_manifest(root: Path) -> Manifest:
    """The manifest of a store.

    Raises:
        InputError: the folder is no store, or its manifest is damaged.
    """
    file = root / STORE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise refuse(
            "data set", str(root), f"no {STORE} there, so it is no data set",
            "check the path, or run vibrissa dataset build",
        ) from None  # fmt: skip
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(
            "data set", str(file), f"not readable ({error})", "restore it or build again"
        ) from error
    return Manifest.from_json(text, origin=str(file))


def declared_objects(root: Path, manifest: Manifest) -> dict[str, str]:
    """Name -> label of every object that the store is to hold.

    Raises:
        InputError: the manifest is not that of a data set.
    """
    tree: Any = manifest.config
    parts = tree if isinstance(tree, dict) else {}
    objects = parts.get("objects")
    whole = (
        manifest.what == "dataset"
        and isinstance(objects, dict)
        and all(isinstance(label, str) for label in objects.values())
        and isinstance(parts.get("recipe"), dict)
    )
    if not whole or not isinstance(objects, dict):
        raise refuse(
            f"{root / STORE}: what", manifest.what, "not the manifest of a data set",
            "restore the file, or build into another folder",
        )  # fmt: skip
    return dict(objects)


def declared_paths(root: Path) -> frozenset[str] | None:
    """Paths of the shards of the declared objects; None where nothing is declared yet."""
    if not (root / STORE).exists():
        return None
    return frozenset(shard_path(name) for name in declared_objects(root, read_manifest(root)))
