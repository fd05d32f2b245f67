"""Reports: tables, figures and one self-contained HTML page.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.report.page import Page as Page
    from vibrissa.report.page import Picture as Picture
    from vibrissa.report.page import Section as Section
    from vibrissa.report.page import Table as Table
    from vibrissa.report.page import Text as Text

_MODULE_OF = {
    "Page": "page",
    "Picture": "page",
    "Section": "page",
    "Table": "page",
    "Text": "page",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
