"""Hook of mkdocs: API pages, one per room, and links for the references in docstrings."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

from mkdocs.structure.files import File

# In the order in which the data flows.
ROOMS = (
    "morphology", "objects", "simulation", "data", "augment", "tnn", "models", "objectives",
    "train", "activations", "neural", "study", "report", "core",
)  # fmt: skip
# Rooms without a front of their own, and modules that pages of the guide send readers to.
MODULES = {
    "core": ("axes", "errors", "files", "manifest", "registry", "seeds", "units"),
    "tnn": ("cells", "modules"),
    "study": ("grids", "work", "reporting"),
}


def home_of(value: Any) -> str | None:
    """Where a class or function of ours is defined, as it can be imported; None for all else."""
    place, name = getattr(value, "__module__", ""), getattr(value, "__name__", "")
    if not (callable(value) and isinstance(place, str) and place.startswith("vibrissa.")):
        return None
    found = getattr(importlib.import_module(place), name, None) is value
    return f"{place}.{name}" if found and name.isidentifier() else None


def homes(module: ModuleType) -> list[str]:
    """Homes of the classes, then of the functions, that a module offers, by name."""
    found = [(name, getattr(module, name)) for name in dir(module) if not name.startswith("_")]
    found.sort(key=lambda pair: (not isinstance(pair[1], type), pair[0]))
    return [home for _, value in found if (home := home_of(value)) is not None]


def page(room: str) -> str:
    """Markdown of a room's page: what the room offers, then what its listed modules define."""
    module = importlib.import_module(f"vibrissa.{room}")
    about = (module.__doc__ or "What several rooms need.").strip().split("\n\n")[0]
    lines = [f"# vibrissa.{room}", "", " ".join(about.split()), ""]
    names = homes(module)
    for part in MODULES.get(room, ()):
        place = f"vibrissa.{room}.{part}"
        found = homes(importlib.import_module(place))
        names += [home for home in found if home.startswith(f"{place}.")]
    for home in dict.fromkeys(names):
        lines += [f"::: {home}", ""]
    return "\n".join(lines)


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the pages; mkdocs calls this."""
    for room in ROOMS:
        files.append(File.generated(config, f"api/{room}.md", content=page(room)))
    return files


_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|obj):<code>(~?)([\w.]+)</code>")


def on_page_content(html: str, **_: Any) -> str:
    """References such as :func:`~a.b.c` become links where the API pages have the name."""

    def link(found: re.Match[str]) -> str:
        short, name = found.groups()
        shown = name.rpartition(".")[2] if short else name
        return f'<autoref optional identifier="{name}"><code>{shown}</code></autoref>'

    return _ROLE.sub(link, html)
