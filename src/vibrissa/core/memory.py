"""Running out of memory, however it is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vibrissa.core.errors import InputError


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, or one of torch's."""
    if isinstance(error, MemoryError) or _of_gpu(error):
        return True
    text = str(error).lower()
    return "can't allocate memory" in text or "out of memory" in text


@contextmanager
def memory_advice(field: str, value: object, remedy: str) -> Iterator[None]:
    """Turn running out of memory into one sentence with a way out.

    Args:
        field, value: what decides how much is needed.
        remedy: what to do, in the imperative.

    Raises:
        InputError: in its place.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        where = "the GPU" if _of_gpu(error) else "this machine"
        raise InputError(f"{field} = {value}: {where} ran out of memory; {remedy}.") from error


def _of_gpu(error: BaseException) -> bool:
    # torch's class by its name: core does without torch
    return type(error).__name__ == "OutOfMemoryError"
