"""Time-resolved RSA finds when the recordings are like a step; baselines are what they say."""

import numpy as np
import pytest

from vibrissa.activations.container import Activations
from vibrissa.core.errors import InputError
from vibrissa.neural.align_time import align_over_time
from vibrissa.neural.aligning import AlignConfig, align
from vibrissa.neural.baselines import animals_as_models, raw_input, shuffled, with_baselines
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.measures import measures
from vibrissa.neural.session import Session
from vibrissa.neural.synth import SynthConfig, synth_sessions


def timed_sessions(codes, trials=120, units=25):
    """Sessions whose units follow another code (bin, condition, 4) in each bin."""
    found = []
    for k in range(3):
        rng = np.random.default_rng(k)
        rows = np.concatenate([np.repeat(np.arange(6), 3), rng.integers(0, 6, trials - 18)])
        weights = rng.standard_normal((4, units)) / 2
        rates = 8.0 * np.exp(0.5 * np.array([code @ weights for code in codes]))
        binned = rng.poisson(rates[:, rows].transpose(1, 0, 2)).astype(float)
        found.append(
            Session(
                name=f"s{k}", animal=f"a{k}", unit_ids=np.arange(units),
                condition=np.array(CONDITIONS)[rows], counts=binned.sum(axis=1),
                duration_s=np.full(trials, float(len(codes))), binned_counts=binned,
                bin_edges_s=np.arange(len(codes) + 1.0),
            )
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(9).standard_normal((3, 6, 4))


def test_steps_meet_their_bins(codes):
    rng = np.random.default_rng(1)
    layer = np.stack([code @ rng.standard_normal((4, 60)) for code in codes], axis=1)
    found = align_over_time(layer, CONDITIONS, timed_sessions(codes), draws=50)
    assert found.best_step.tolist() == [0, 1, 2]
    assert (np.diag(found.raw) > 0.6).all()
    assert (np.diag(found.p_max) < 0.05).all()
    assert (found.reliability > 0.5).all()
    assert (found.p_max >= found.p - 1e-12).all()
    order = rng.permutation(6)
    again = align_over_time(
        layer[order], [CONDITIONS[k] for k in order], timed_sessions(codes), draws=50
    )
    assert np.allclose(found.raw, again.raw)


def test_bins_outside_the_window_do_not_count(codes):
    sessions = timed_sessions(codes)
    cut = sessions[0].binned_counts.copy()
    cut[:, 2] = np.nan
    from dataclasses import replace

    some = [replace(sessions[0], binned_counts=cut), *sessions[1:]]
    layer = np.random.default_rng(0).standard_normal((6, 2, 10))
    found = align_over_time(layer, CONDITIONS, some, draws=10)
    assert any("s0, bin 2" in remark for remark in found.remarks)
    only = align_over_time(layer, CONDITIONS, sessions[1:], draws=10)
    assert np.allclose(found.raw[:, 2], only.raw[:, 2])


def test_refusals(codes):
    layer = np.zeros((6, 2, 10))
    sessions = timed_sessions(codes)
    with pytest.raises(InputError, match="no bins|there are none"):
        align_over_time(layer, CONDITIONS, synth_sessions(SynthConfig(animals=1), 0))
    with pytest.raises(InputError, match="step, unit"):
        align_over_time(layer[:, 0], CONDITIONS, sessions)
    with pytest.raises(InputError, match="was recorded"):
        align_over_time(layer, [*CONDITIONS[:5], "ball"], sessions)
    with pytest.raises(InputError, match="not resolved in time"):
        align_over_time(layer, CONDITIONS, sessions, measure=measures.get("best_unit")())


def test_raw_input_is_the_mean_over_steps():
    inputs = np.random.default_rng(0).standard_normal((6, 22, 30, 5, 7))
    found = raw_input(inputs, CONDITIONS)
    assert found["input"].shape == (6, 30 * 5 * 7)
    assert np.allclose(found["input"][2], inputs[2].mean(axis=0).ravel())
    with pytest.raises(InputError, match="step"):
        raw_input(inputs[:5], CONDITIONS)


def test_shuffled_labels_move_all_layers_alike():
    layers = {"a": np.arange(12.0).reshape(6, 2), "b": np.arange(18.0).reshape(6, 3)}
    found = shuffled(layers, 3, stimuli=CONDITIONS)["model (shuffled)"]
    order = (found["a"][:, 0] / 2).astype(int)
    assert sorted(order) == list(range(6))
    assert order.tolist() != list(range(6))
    assert np.array_equal(found["b"], layers["b"][order])


def test_all_baselines_in_one_table():
    sessions = synth_sessions(SynthConfig(animals=3, sessions=1, units=12, trials=90), 0)
    rng = np.random.default_rng(0)
    layers = {"conv1": rng.standard_normal((6, 1, 20))}
    net = Activations.from_arrays(layers, stimuli=CONDITIONS, model="net")
    models = with_baselines(
        {"net": net}, untrained={"net": net}, inputs=rng.standard_normal((6, 22, 3)),
        stimuli=CONDITIONS,
    )  # fmt: skip
    models |= animals_as_models(sessions)
    config = AlignConfig(draws=20, folds=0)
    found = align(models, sessions, config, stimuli=CONDITIONS)
    assert set(found.table["model"]) == {
        "net", "net (untrained)", "raw input", "all but 219CR", "all but 220CR", "all but 221CR"
    }  # fmt: skip
    animal = found.value("all but 219CR", "units", "219CR")
    assert animal["raw"] > 0.3
    with pytest.raises(InputError, match="no other"):
        animals_as_models(sessions[:1])
