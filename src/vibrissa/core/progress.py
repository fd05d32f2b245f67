"""Progress: one bar on stderr with rate and time left; silent when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

T = TypeVar("T")


class Bar(Protocol):
    """What a running task may say of itself."""

    def update(self, n: float = 1, /) -> object:
        """Say that ``n`` more units are done."""
        ...

    def set_postfix_str(self, s: str = "", /) -> object:
        """Show a short remark behind the bar."""
        ...


class _Silent:
    def update(self, n: float = 1, /) -> object:
        return None

    def set_postfix_str(self, s: str = "", /) -> object:
        return None


def is_watched(quiet: bool = False) -> bool:
    """Whether a bar would be seen: not asked to be quiet, and stderr is a terminal."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress(
    description: str, *, total: float | None = None, unit: str = "it", quiet: bool = False
) -> Iterator[Bar]:
    """A bar to be updated by hand.

    Args:
        description: what is under way, a few words.
        total: how many units there will be; None if unknown.
        unit: what is counted.
        quiet: show nothing.
    """
    if not is_watched(quiet):
        yield _Silent()
        return
    from tqdm import tqdm

    with tqdm(desc=description, total=total, unit=unit, file=sys.stderr, dynamic_ncols=True) as bar:
        yield bar


def track(
    items: Iterable[T],
    description: str,
    *,
    total: int | None = None,
    unit: str = "it",
    quiet: bool = False,
) -> Iterator[T]:
    """Yield the items and show how far one has come; ``total`` defaults to their length."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with progress(description, total=total, unit=unit, quiet=quiet) as bar:
        for item in items:
            yield item
            bar.update(1)
