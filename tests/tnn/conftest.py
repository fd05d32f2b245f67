import pytest
import torch


@pytest.fixture(autouse=True)
def _small_tensors():
    """The same numbers every time, and one thread: tensors here are too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
