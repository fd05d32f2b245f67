import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.core.seeds import generator, integer_seed

paths = st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=4)


@given(st.integers(0, 2**64), paths, paths)
def test_streams_depend_on_root_and_path_alone(root, one, two):
    assert integer_seed(root, *one) == integer_seed(root, *one)
    assert (integer_seed(root, *one) == integer_seed(root, *two)) == (one == two)
    assert 0 <= integer_seed(root, *one) < 2**63


def test_golden_values():
    """Frozen on first writing: a change would silently change every seeded result."""
    assert integer_seed(0) == 5573743126012254648
    assert integer_seed(7, "dataset", "mug", 3) == 6594555180562004259


def test_text_and_number_differ_and_joints_matter():
    seeds = {
        integer_seed(1, "3"),
        integer_seed(1, 3),
        integer_seed(1, "ab", "c"),
        integer_seed(1, "a", "bc"),
    }
    assert len(seeds) == 4
    assert integer_seed(1, int(np.int64(3))) == integer_seed(1, 3)


def test_streams_look_independent():
    draws = np.stack([generator(5, "stream", i).standard_normal(2000) for i in range(8)])
    off_diagonal = np.asarray(np.corrcoef(draws))[~np.eye(8, dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_bad_roots_are_refused(seed):
    with pytest.raises(InputError, match="not a non-negative integer"):
        generator(seed)


def test_bad_paths_are_refused():
    with pytest.raises(InputError, match="neither text nor integer"):
        generator(0, 1.5)  # pyright: ignore[reportArgumentType]
