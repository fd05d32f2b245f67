"""Sessions: names on all axes, means that never invent a condition, no order that matters."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.neural.conditions import CONDITIONS, condition_name, ordered_conditions
from vibrissa.neural.session import Session


def make(n_trials=9, n_units=4, seed=0, **changed):
    draw = np.random.default_rng(seed)
    entries: dict[str, Any] = {
        "name": "190901_231CR",
        "animal": "231CR",
        "unit_ids": 39 + 7 * np.arange(n_units),
        "condition": draw.choice(["convex far", "concave close"], n_trials),
        "counts": draw.poisson(5.0, (n_trials, n_units)),
        "duration_s": draw.uniform(3.0, 4.0, n_trials),
        "choice": draw.choice(["left", "right"], n_trials),
        "outcome": np.full(n_trials, "correct"),
        "task": "discrimination",
        "file_order": np.sort(draw.choice(50, n_trials, replace=False)),
        "covariates": {"contact_count": draw.integers(0, 9, n_trials)},
        "unit_info": {"layer": np.full(n_units, "4"), "inhibitory": np.zeros(n_units, bool)},
    }
    return Session(**{**entries, **changed})


def test_conditions_have_one_order():
    assert CONDITIONS[0] == "concave close"
    assert CONDITIONS[-1] == "convex far"
    assert ordered_conditions(["z", "convex far", "a", "concave far", "z"]) == (
        "concave far", "convex far", "a", "z",
    )  # fmt: skip
    assert condition_name("nothing", "") == "nothing"
    with pytest.raises(InputError, match="stimulus = 'cube'"):
        condition_name("cube", "far")
    with pytest.raises(InputError, match="position = 'near'"):
        condition_name("convex", "near")


def test_rates_and_means_are_those_of_a_loop():
    session = make()
    rates, mean = session.rates(), session.condition_mean(CONDITIONS)
    assert rates.shape == (9, 4)
    for unit in range(4):
        for row, name in enumerate(CONDITIONS):
            found = [
                session.counts[t, unit] / session.duration_s[t]
                for t in range(9)
                if session.condition[t] == name
            ]
            if found:
                assert mean[row, unit] == pytest.approx(sum(found) / len(found), abs=1e-12)
            else:
                assert np.isnan(mean[row, unit])  # absent, never zero
    assert session.conditions == ("concave close", "convex far")
    assert session.condition_mean().shape == (2, 4)
    assert sum(session.trials_per_condition().values()) == 9


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_trials_and_units_does_not_matter(seed):
    session, draw = make(), np.random.default_rng(seed)
    mixed = session.select(draw.permutation(9), units=draw.permutation(4))
    assert mixed.equals(session)
    assert session.equals(mixed)
    back = np.argsort(mixed.unit_ids)
    np.testing.assert_allclose(
        mixed.condition_mean(CONDITIONS)[:, back], session.condition_mean(CONDITIONS), atol=1e-12
    )


@pytest.mark.parametrize(
    "change",
    [
        {"counts": np.full((9, 4), 3.0)},
        {"animal": "other"},
        {"condition": np.full(9, "convex far")},
        {"covariates": {}},
        {"unit_ids": np.arange(4)},
        {"choice": np.full(9, "left")},
    ],
)
def test_equals_sees_a_difference(change):
    assert make().equals(make())
    assert not make().equals(make(**change))


def test_select_keeps_everything_together():
    session = make(
        binned_counts=np.arange(9 * 3 * 4.0).reshape(9, 3, 4), bin_edges_s=[0.0, 0.1, 0.2, 0.4]
    )
    part = session.select(session.condition == "convex far", units=[2, 0])
    rows = np.flatnonzero(session.condition == "convex far")
    np.testing.assert_array_equal(part.counts, session.counts[rows][:, [2, 0]])
    np.testing.assert_array_equal(part.file_order, session.file_order[rows])
    np.testing.assert_array_equal(
        part.covariates["contact_count"], session.covariates["contact_count"][rows]
    )
    assert part.binned_counts is not None
    assert session.binned_counts is not None
    np.testing.assert_array_equal(part.binned_counts[:, 1, 0], session.binned_counts[rows, 1, 2])
    np.testing.assert_allclose(part.binned_rates()[0, 2], part.binned_counts[0, 2] / 0.2)
    assert session.select([]).n_trials == 0
    with pytest.raises(InputError, match="positions below 9"):
        session.select([9])


def test_arrays_are_copied_and_cannot_be_written_to():
    counts = np.ones((9, 4))
    session = make(counts=counts)
    counts[:] = 7
    assert session.counts.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        session.counts[0, 0] = 5


def test_what_is_not_given_is_empty_or_counted():
    session = Session(
        name="s", animal="a", unit_ids=np.array(["b", "a"]), condition=np.array(["x", "y"]),
        counts=np.eye(2), duration_s=np.array([1.0, 2.0]),
    )  # fmt: skip
    assert session.choice.tolist() == ["", ""]
    assert session.file_order.tolist() == [0, 1]
    assert session.unit_ids.tolist() == ["b", "a"]
    assert session.conditions == ("x", "y")
    none = np.zeros(0)
    empty = Session(
        name="s",
        animal="a",
        unit_ids=none,
        condition=none,
        counts=np.zeros((0, 0)),
        duration_s=none,
    )
    assert (empty.n_trials, empty.n_units, empty.conditions) == (0, 0, ())
    assert np.isnan(make(n_trials=0).condition_mean(CONDITIONS)).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": " "}, "session name = ' '"),
        ({"counts": np.ones((9, 3))}, "shape (9, 4) expected"),
        ({"counts": np.full((9, 4), np.nan)}, "not a count"),
        ({"counts": np.full((9, 4), -1)}, "not a count"),
        ({"duration_s": np.zeros(9)}, "not all above 0"),
        ({"duration_s": ["long"] * 9}, "not numbers"),
        ({"unit_ids": [1, 1, 2, 3]}, "some stand twice"),
        ({"file_order": [0] * 9}, "some stand twice"),
        ({"choice": ["left"]}, "9 values expected"),
        ({"task": "guessing"}, "task = 'guessing'"),
        ({"bin_edges_s": [0.0, 1.0]}, "bins and edges go together"),
        ({"binned_counts": np.ones((9, 1, 4)), "bin_edges_s": [1.0, 0.0]}, "rising"),
        ({"covariates": {"contact_count": [1.0]}}, "covariate contact_count"),
        ({"unit_info": {"layer": ["4"]}}, "unit_info layer"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(change, text):
    with pytest.raises(InputError) as caught:
        make(**change)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
