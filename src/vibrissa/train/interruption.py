"""A polite end: Ctrl-C and a batch system's SIGTERM become a wish that is asked for."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Wish:
    """Whether someone wants the work to end.

    Attributes:
        by: name of the signal that said so, or None.
    """

    def __init__(self) -> None:
        self.by: str | None = None


@contextmanager
def stop_wishes() -> Iterator[Wish]:
    """Turn the first SIGINT or SIGTERM into a wish; a second SIGINT interrupts at once.

    Outside the main thread signals cannot be caught, and nothing changes.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return

    def note(number: int, _: object) -> None:
        if wish.by is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        wish.by = signal.Signals(number).name

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
