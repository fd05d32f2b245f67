"""NVIDIA Warp, started without a word: two rooms compute with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def warp_module() -> Any:
    """Warp, imported, started once, and from then on silent but for errors.

    It greets on stdout, reports what it compiles, and misses a GPU aloud on the native standard
    error stream; programs that print JSON on stdout can have none of that.
    """
    import warp

    warp.config.log_level = warp.LOG_ERROR
    with _native_stderr_closed():
        warp.init()
    return warp


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """Send what native code writes to the standard error stream to nowhere."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no such stream
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
