"""Units of work for the tests of the executors; worker processes import this file."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from vibrissa.core.errors import InputError


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.05)
    return number * number


def behave(what: tuple[str, int]) -> int:
    """Do what the item says."""
    kind, number = what
    if kind == "refuse":
        raise InputError("field = 1: too small; give 2.")
    if kind == "fail":
        raise ZeroDivisionError("first line\nsecond line")
    if kind == "exit":
        sys.exit(3)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "leave":
        os._exit(7)
    return number * number


class Unpicklable(Exception):
    """Its arguments do not fit its constructor, so that it cannot be loaded again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_unpicklable(_: Any) -> None:
    raise Unpicklable(1, 2)


def give_unpicklable(number: int) -> Any:
    return number if number else lambda: None


class _Refuses:
    def __reduce__(self) -> Any:
        return square, ("no number",)


def give_unloadable(_: Any) -> Any:
    return _Refuses()


def who(_: Any) -> tuple[int, str, str]:
    """The process, and what numpy's libraries were told."""
    return os.getpid(), os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]


def speak(number: int) -> int:
    print("a banner")
    os.write(1, b"a native banner\n")
    os.write(2, b"a native complaint\n")
    return number


def wait_once(folder: str) -> str:
    """At the first attempt: write one's own pid and wait for the end; at the second: done."""
    note = Path(folder) / "pid"
    if note.exists():
        return "done"
    partial = note.with_suffix(".partial")
    partial.write_text(str(os.getpid()))
    partial.replace(note)
    time.sleep(60)
    return "never"


def wait_long(item: tuple[str, int]) -> None:
    """Note the pid, wait, and clean up whatever happens."""
    folder, number = item
    (Path(folder) / f"{number}.temporary").touch()
    try:
        (Path(folder) / f"{number}-{os.getpid()}.pid").touch()
        time.sleep(60)
    finally:
        (Path(folder) / f"{number}.temporary").unlink()


def note_and_wait(item: tuple[str, int]) -> int:
    """Leave a mark for each attempt, then take a moment."""
    folder, number = item
    (Path(folder) / f"{number}-{time.monotonic_ns()}.begun").touch()
    time.sleep(0.2)
    return number * number


def refuse_to_warm() -> None:
    raise InputError("cache = 'x': cannot be written; choose another.")


def leave_at_once() -> None:
    os._exit(9)


def quick_then_long(item: tuple[str, int]) -> int | None:
    return behave(item) if item[0] == "none" else wait_long(item)


def slow_who(_: Any) -> int:
    time.sleep(0.2)
    return os.getpid()
