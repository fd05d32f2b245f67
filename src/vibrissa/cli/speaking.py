"""What verbs say besides their results: remarks on stderr, and nothing from the compiler."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


def say(text: str) -> None:
    """One line on stderr."""
    print(f"vibrissa: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def silent_compiler() -> Iterator[None]:
    """Keep the messages of the kernel compiler away, above all from stdout."""
    import warp

    before = warp.config.log_level
    warp.config.log_level = warp.LOG_ERROR
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        warp.config.log_level = before
