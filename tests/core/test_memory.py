"""Running out of memory is one sentence."""

import pytest

from vibrissa.core.errors import InputError
from vibrissa.core.memory import is_out_of_memory, memory_advice


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (MemoryError(), "this machine"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "this machine"),
        (RuntimeError("CUDA error: out of memory"), "this machine"),
        (OutOfMemoryError("tried to allocate 2 GiB"), "the GPU"),
    ],
)
def test_out_of_memory_is_told_with_a_way_out(error, where):
    assert is_out_of_memory(error)
    with (
        pytest.raises(InputError, match=rf"^size = 8: {where} ran out of memory; take 4\.$"),
        memory_advice("size", 8, "take 4"),
    ):
        raise error


def test_other_errors_pass():
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    for error in (RuntimeError("shapes differ"), InputError("out of memory is no word of ours.")):
        with pytest.raises(type(error), match=str(error)), memory_advice("size", 8, "take 4"):
            raise error
