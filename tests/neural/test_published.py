"""The published formulas, draw for draw, against a plain re-derivation and known values."""

import warnings

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from vibrissa.core.errors import InputError
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.published import (
    QUANTITIES,
    draw_statistics,
    filtered_mean,
    filtered_share,
    legacy_halves,
    published_maximum,
    quantities,
)
from vibrissa.neural.published_arrays import join, published_rates, session_array
from vibrissa.neural.published_auditing import PublishedConfig, published_protocol
from vibrissa.neural.synth import SynthConfig, synth_sessions


def plain_rdm(patterns):
    return (1 - np.corrcoef(patterns))[np.triu_indices(len(patterns), k=1)]


def plain_halves(values, seed):
    if values.ndim == 2:
        return values, values
    order = list(range(len(values)))
    np.random.RandomState(seed).shuffle(order)
    half = len(values) // 2
    return np.nanmean(values[order[:half]], axis=0), np.nanmean(values[order[half:]], axis=0)


def plain_draws(source, target, seeds, correlate=pearsonr):
    """The definition in facts and paper, written as loops; None where a half lacks data."""
    found = {name: [] for name in QUANTITIES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing, which are what is looked for
        whole_x = source if source.ndim == 2 else np.nanmean(source, axis=0)
        whole_y = np.nanmean(target, axis=0)
        for seed in seeds:
            x1, x2 = plain_halves(source, seed)
            y1, y2 = plain_halves(target, seed)
            if not all(np.isfinite(a).all() for a in (x1, x2, y1, y2)):
                continue
            r_xy = correlate(plain_rdm(whole_x), plain_rdm(whole_y))[0]
            r_xx = correlate(plain_rdm(x1), plain_rdm(x2))[0]
            r_yy = correlate(plain_rdm(y1), plain_rdm(y2))[0]
            xx, yy = 2 * r_xx / (1 + r_xx), 2 * r_yy / (1 + r_yy)
            bad = xx * yy < 0 or np.isclose(xx * yy, 0)
            root = np.nan if bad else (xx * yy) ** 0.5
            row = (r_xy / root, r_xx, xx, r_yy, yy, r_xy, root)
            for name, number in zip(QUANTITIES, row, strict=True):
                found[name].append(number)
    return {name: np.array(numbers) for name, numbers in found.items()}


def noisy(seed, trials, units, noise, missing=0):
    rng = np.random.default_rng(seed)
    signal = np.random.default_rng(99).standard_normal((1, 6, units))
    values = signal + noise * rng.standard_normal((trials, 6, units))
    if missing:
        values[-missing:, :, units // 2 :] = np.nan
    return values


@pytest.mark.parametrize("comparison", ["pearson", "spearman"])
@pytest.mark.parametrize(
    ("noise", "trials", "missing"), [(0.5, 30, 0), (4.0, 20, 0), (2.0, 31, 9), (1.0, 12, 9)]
)
@pytest.mark.parametrize("source", ["model", "animal"])
def test_equal_to_the_definition_draw_for_draw(comparison, noise, trials, missing, source):
    target = noisy(1, trials, 14, noise, missing)
    given = (
        np.random.default_rng(2).standard_normal((6, 40))
        if source == "model" else noisy(3, trials + 7, 11, noise)
    )  # fmt: skip
    found = draw_statistics(given, target, draws=80, comparison=comparison)
    expected = plain_draws(
        given, target, range(1234, 1314), pearsonr if comparison == "pearson" else spearmanr
    )
    for name in QUANTITIES:
        assert found[name].shape == expected[name].shape, name
        assert np.array_equal(np.isnan(found[name]), np.isnan(expected[name])), name
        scale = np.maximum(1.0, np.abs(expected[name]))  # SB explodes near r = -1
        assert np.nanmax(np.abs(found[name] - expected[name]) / scale) <= 1e-10, name
    if missing and trials == 12:
        assert len(found["r_yy"]) < 80  # some draws are skipped in silence


def test_blocks_equal_the_joined_array():
    blocks = [noisy(k, n, 8, 1.0) for k, n in enumerate((20, 13, 17))]
    source = np.random.default_rng(2).standard_normal((6, 40))
    one = draw_statistics(source, blocks, draws=60)
    two = draw_statistics(source, join(blocks), draws=60)
    for name in QUANTITIES:
        assert np.allclose(one[name], two[name], rtol=1e-12, atol=1e-12, equal_nan=True)


def test_halves_are_those_of_the_legacy_generator():
    # RandomState(1234).shuffle of 0..4, as numpy has given it since 1.0 (frozen by its policy)
    order = [0, 1, 2, 3, 4]
    np.random.RandomState(1234).shuffle(order)
    assert legacy_halves(5, [1234])[0].tolist() == [k in order[:2] for k in range(5)]
    assert legacy_halves(5, [1234, 1235]).sum(axis=1).tolist() == [2, 2]


def test_published_values_follow_from_their_inputs():
    """Mean, median and extremes of the released draws on the model input, by their own formula.

    r_xy = 0.28345, r_yy from -0.508 to 0.880: the released extremes of SB and score are those of
    the formula at these ends; a draw of the cutoff 0.5 has SB = 2/3.
    """
    r_yy = np.array([-0.508, 0.880, 0.5, 0.1411, 0.00142])
    found = quantities(np.full(5, 0.28345), np.ones(5), r_yy)
    assert found["r_yy_sb"][0] == pytest.approx(-2.06, abs=0.01)
    assert found["r_xy_n_sb"][1] == pytest.approx(0.293, abs=5e-4)
    assert found["r_yy_sb"][2] == pytest.approx(2 / 3)
    assert found["r_yy_sb"][3] == pytest.approx(0.247, abs=5e-4)
    assert np.isnan(found["r_xy_n_sb"][0])
    assert not np.isnan(found["r_xy_n_sb"][1:]).any()
    # the largest score, 5.338, is that of a reliability of (0.28345 / 5.338)**2
    sb = (0.28345 / 5.338) ** 2
    assert quantities(np.array([0.28345]), np.ones(1), np.array([sb / (2 - sb)]))["r_xy_n_sb"][
        0
    ] == pytest.approx(5.338)


def test_no_score_exactly_where_the_product_is_negative():
    rng = np.random.default_rng(0)
    r_xx, r_yy = rng.uniform(-0.9, 0.9, (2, 500))
    found = quantities(np.full(500, 0.3), r_xx, r_yy)
    assert np.array_equal(np.isnan(found["r_xy_n_sb"]), r_xx * r_yy < 0)
    both = (r_xx < 0) & (r_yy < 0)  # two negative reliabilities give a finite score
    assert np.isfinite(found["r_xy_n_sb"][both]).all()


def test_the_filter_is_on_uncorrected_reliabilities():
    found = quantities(np.full(4, 0.4), np.ones(4), np.array([0.49, 0.51, 0.9, -0.3]))
    expected = np.mean([0.4 / np.sqrt(2 * r / (1 + r)) for r in (0.51, 0.9)])
    assert filtered_mean(found) == pytest.approx(expected)
    assert filtered_share(found) == 0.5
    assert filtered_mean(found, None) == pytest.approx(np.nanmean(found["r_xy_n_sb"]))
    assert np.isnan(filtered_mean(found, 0.95))


def test_a_nan_that_comes_first_is_the_maximum():
    nan = float("nan")
    assert np.isnan(published_maximum([nan, 0.9]))
    assert published_maximum([0.2, nan, 0.1]) == 0.2
    with pytest.raises(InputError, match="none"):
        published_maximum([])


def test_rates_round_durations_up_to_bins():
    (session, *_) = synth_sessions(SynthConfig(animals=1, sessions=1), 0)
    rates = published_rates(session)
    assert session.event_s is not None
    for t in range(session.n_trials):
        start = session.event_s[t]
        stop = start + session.duration_s[t]
        edges = np.arange(start, stop + 0.045, 0.045)
        assert rates[t] == pytest.approx(session.counts[t] / ((len(edges) - 1) * 0.045))
    assert np.array_equal(published_rates(session, binned=False), session.rates())


def test_arrays_are_those_of_the_public_loader():
    (session, *_) = synth_sessions(SynthConfig(animals=1, sessions=1), 0)
    array = session_array(session)
    seen = list(dict.fromkeys(session.condition.tolist()))
    rates = published_rates(session)
    for t, name in enumerate(session.condition):
        expected = np.zeros((6, session.n_units))
        expected[seen.index(name)] = rates[t]
        assert np.array_equal(array[t], expected)
    named = session_array(session, first_appearance=False, zeros=False)
    shown = np.isfinite(named).all(axis=2)
    assert (shown.sum(axis=1) == 1).all()
    assert [CONDITIONS[k] for k in np.argmax(shown, axis=1)] == session.condition.tolist()
    with pytest.raises(InputError, match=CONDITIONS[3]):
        session_array(session.select(session.condition != CONDITIONS[3]))


@pytest.fixture(scope="module")
def recorded():
    return synth_sessions(SynthConfig(animals=3, sessions=2, units=9, trials=80), 2)


def test_protocol_is_the_definition_on_the_published_arrays(recorded):
    layers = {
        "one": np.random.default_rng(1).standard_normal((6, 30)),
        "two": np.random.default_rng(2).standard_normal((6, 30)),
    }
    result = published_protocol(layers, recorded, PublishedConfig(draws=40), stimuli=CONDITIONS)
    animals = list(dict.fromkeys(s.animal for s in recorded))
    arrays = {a: join([session_array(s) for s in recorded if s.animal == a]) for a in animals}
    arrays["pooled"] = join([arrays[a] for a in animals])
    best = []
    for layer, patterns in layers.items():
        for target, array in arrays.items():
            expected = plain_draws(patterns, array, range(1234, 1274))
            found = result.statistics["model", layer, target]
            for name in QUANTITIES:
                assert np.array_equal(np.isnan(found[name]), np.isnan(expected[name]))
                scale = np.maximum(1.0, np.abs(expected[name]))
                assert np.nanmax(np.abs(found[name] - expected[name]) / scale) <= 1e-10
            drop = (expected["r_yy"] < 0.5) | (expected["r_xx"] < 0.5)
            kept = expected["r_xy_n_sb"][~drop]
            best.append(np.mean(kept) if len(kept) else np.nan)
    known = [value for value in best if np.isfinite(value)]
    if known and np.isfinite(best[0]):
        assert result.models["model"] == pytest.approx(max(known))
    row = result.table.iloc[0]
    assert row["kept"] == pytest.approx(
        np.mean(result.statistics["model", "one", animals[0]]["r_yy"] >= 0.5)
    )


def test_the_published_clock_needs_its_sessions(recorded):
    layers = {"one": np.eye(6)}
    with pytest.raises(InputError, match="shifted"):
        published_protocol(
            layers, recorded, PublishedConfig(published_clock=True), stimuli=CONDITIONS
        )
    with pytest.raises(InputError, match="pearson"):
        PublishedConfig(comparison="tau")
    with pytest.raises(InputError, match="draws"):
        PublishedConfig(draws=0)
