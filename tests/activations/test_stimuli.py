from dataclasses import replace

import numpy as np
import pytest
import torch

from vibrissa.activations import (
    CONDITIONS,
    InputConfig,
    choose_stimuli,
    condition_name,
    extract,
    from_store,
    from_sweep,
    rodgers6,
)
from vibrissa.core.errors import InputError
from vibrissa.core.units import UN_PER_MN
from vibrissa.data import DataModule, Normalisation, Preprocessing, Recording
from vibrissa.models import build
from vibrissa.morphology import mouse_array
from vibrissa.morphology.grid import grid_place
from vibrissa.simulation import SolverConfig, Sweep
from vibrissa.train import load_run

SHAPE = (22, 30, 5, 7)
SCALE = Normalisation(kind="rms", scale=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("convex close", "convex close"),
        ("convex_close", "convex close"),
        ("Near Concave", "concave close"),
        ("concave-mid", "concave medium"),
        ("far/convex", "convex far"),
        ("convex close 2", "convex close 2"),
        ("convex concave", "convex concave"),
        ("convex", "convex"),
        ("close far", "close far"),
        ("convexclose", "convexclose"),
        ("cup/00001", "cup/00001"),
    ],
)
def test_names_of_conditions(given, wanted):
    assert condition_name(given) == wanted


def sweep_of(frames=110, rate_hz=110.0, names=("convex_near", "far concave"), seed=0):
    draws = np.random.default_rng(seed)
    array = mouse_array("R")
    loads = draws.normal(size=(len(names), frames, 30, 6)).astype(np.float32)
    return Sweep(
        force_moment=loads,
        contact=loads[..., 0] > 1,
        whiskers=array.names,
        rate_hz=rate_hz,
        names=tuple(names),
        labels=("slab", "slab"),
        parameters=({"x_mm": 1, "way": "a", "only": 1}, {"x_mm": 2.5, "way": "b"}),
        flagged=np.zeros((len(names), 30), bool),
        sampling="average",
        head_rotation=np.broadcast_to(np.eye(3, dtype=np.float32), (len(names), 1, 3, 3)),
    )


def test_loads_land_where_the_network_expects_them():
    sweep = sweep_of()
    found = from_sweep(sweep, InputConfig(input_shape=SHAPE, normalisation=SCALE))
    assert found.names == ("convex close", "concave far")
    assert found.inputs.shape == (2, *SHAPE)
    draws = np.random.default_rng(1)
    for _ in range(200):
        s, t, w, c = (int(draws.integers(n)) for n in sweep.force_moment.shape)
        row, column = grid_place(sweep.whiskers[w])
        value = found.inputs[s, t // 5, (t % 5) * 6 + c, row, column]
        assert value == pytest.approx(sweep.force_moment[s, t, w, c] / (c + 1), rel=1e-6)
    assert found.times_s == pytest.approx(np.arange(1, 23) * 5 / 110)
    assert found.metadata["x_mm"].tolist() == [1.0, 2.5]
    assert found.metadata["way"].tolist() == ["a", "b"]
    assert "only" not in found.metadata
    assert found.metadata["contact_share"] == pytest.approx(sweep.contact.mean(axis=(1, 2)))


def test_other_rates_come_to_that_of_the_training():
    fast = sweep_of(1000, 1000.0)
    config = InputConfig(input_shape=SHAPE, normalisation=SCALE)
    found = from_sweep(fast, config)
    recorded, rate = Recording().record(fast.force_moment, 1000.0)
    assert (recorded.shape[1], rate) == (110, 110.0)
    wanted = Preprocessing().apply(recorded, fast.whiskers, SCALE)
    assert np.array_equal(found.inputs, wanted)
    published = InputConfig(input_shape=SHAPE, preprocessing=Preprocessing.published())
    with pytest.raises(InputError, match="the bases moved"):
        from_sweep(fast, published)
    bases = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 30, 3, 3))
    still = replace(fast, base_rotation=bases)
    strided = from_sweep(still, published)
    first = fast.force_moment[:, ::9][:, :110]
    row, column = grid_place(fast.whiskers[7])
    got = strided.inputs[:, :, :, row, column].reshape(2, 110, 6)
    assert np.allclose(got, first[:, :, 7] / UN_PER_MN, rtol=1e-6)
    assert strided.times_s[-1] == pytest.approx(0.99)


def test_a_network_that_was_never_trained_takes_the_scale_of_the_stimuli():
    sweep = sweep_of()
    found = from_sweep(sweep, InputConfig(input_shape=SHAPE))
    rms = np.sqrt((sweep.force_moment.astype(float) ** 2).mean(axis=(0, 1, 2)))
    row, column = grid_place(sweep.whiskers[3])
    wanted = sweep.force_moment[:, 0, 3] / rms
    assert np.allclose(found.inputs[:, 0, :6, row, column], wanted, rtol=1e-5)
    assert found.about["normalisation"]["scale"] == pytest.approx(rms)


def test_sweeps_of_a_store_are_what_a_training_sees(store):
    data = DataModule(store, "by_object")
    config = InputConfig(input_shape=SHAPE, normalisation=data.normalisation)
    chosen = store.query("label == 'cup'")
    found = from_store(store, config, chosen)
    assert len(found) == len(chosen) == 9
    assert found.names[0] == f"{store.table['object'][chosen[0]]}/sweep_000"
    seen = {}
    for part in data.parts:
        for batch in data.loader(part):
            seen |= {int(i): x.numpy() for i, x in zip(batch.index, batch.input, strict=True)}
    for k, index in enumerate(chosen.tolist()):
        if index in seen:
            assert np.array_equal(found.inputs[k : k + 1][0], seen[index])
    assert set(chosen.tolist()) & set(seen)
    assert found.metadata["label"].tolist() == ["cup"] * 9
    model = build("tiny:ugrnn+none+linear", n_classes=3, seed=0)
    acts = found.extract(model, batch_size=4)
    with torch.no_grad():
        logits = model.eval()(torch.tensor(found.inputs[0:9])).numpy()
    assert np.allclose(acts.layers["linear"][:, 0], logits, atol=1e-5)
    assert acts.metadata["distance_mm"].tolist() == found.metadata["distance_mm"].tolist()
    assert acts.manifest.inputs["inputs"] == found.digest


def test_words_for_stimuli(store, tmp_path):
    config = InputConfig(input_shape=SHAPE, normalisation=SCALE)
    assert len(choose_stimuli(str(store.path), config)) == 27
    assert len(choose_stimuli(f"{store.path}:distance_mm == 8", config)) == 9
    path = sweep_of().save(tmp_path / "a.sweep.h5")
    assert choose_stimuli(str(path), config).names == ("convex close", "concave far")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rodgers", "did you mean 'rodgers6'"),
        ("nothing.sweep.h5", "there is no such file"),
        ("{store}:label == 'spoon'", "no sweep fits"),
        ("{store}:lable == 'cup'", "query = "),
        ("{text}", "not a readable sweep file"),
    ],
)
def test_bad_words_are_refused_in_one_sentence(store, tmp_path, text, words):
    (tmp_path / "a.sweep.h5").write_text("hello")
    config = InputConfig(input_shape=SHAPE, normalisation=SCALE)
    with pytest.raises(InputError) as told:
        choose_stimuli(text.format(store=store.path, text=tmp_path / "a.sweep.h5"), config)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_stimuli_that_do_not_fit_the_network_are_refused(store):
    for shape in ((10, 30, 5, 7), (22, 6, 5, 7)):
        config = InputConfig(input_shape=shape, normalisation=SCALE)
        with pytest.raises(InputError, match="the network takes input"):
            from_store(store, config)
        with pytest.raises(InputError, match="the network takes input"):
            from_sweep(sweep_of(), config)
    with pytest.raises(InputError, match="stands twice"):
        from_sweep(sweep_of(names=("a", "a")), InputConfig(input_shape=SHAPE))


def test_the_six_stimuli(tmp_path, monkeypatch):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path))
    array = mouse_array("R").select(["RC1", "RC2", "RC3", "RB2"])
    config = InputConfig(input_shape=SHAPE)
    found = rodgers6(config, array=array, solver=SolverConfig(grid_spacing_mm=0.5))
    assert found.names == CONDITIONS
    assert found.inputs.shape == (6, *SHAPE)
    assert found.metadata["stimulus"].tolist() == ["concave"] * 3 + ["convex"] * 3
    assert found.metadata["distance"].tolist() == ["close", "medium", "far"] * 2
    share = dict(zip(found.names, found.metadata["contact_share"], strict=True))
    assert min(share.values()) > 0
    for face in ("concave", "convex"):  # what is nearer is touched more
        assert share[f"{face} close"] > share[f"{face} far"]
    rows, columns = np.nonzero(np.abs(found.inputs).sum(axis=(0, 1, 2)))
    assert set(zip(rows, columns, strict=True)) == {grid_place(name) for name in array.names}
    assert np.ptp(found.inputs, axis=0).max() > 0.1  # they differ
    model = build("tiny:ugrnn+none+linear", n_classes=3, seed=0)
    acts = extract(model, found.inputs, stimuli=found.names)
    assert acts.stimuli == CONDITIONS


def at_rate(folder, **changes):
    """A run as if it had been trained on sweeps recorded in another way."""
    return replace(load_run(folder), **changes)


def test_a_run_knows_how_its_sweeps_were_recorded(run_folder, store):
    run = load_run(run_folder)
    assert (run.rate_hz, run.frames, run.sampling) == (store.rate_hz, store.time, store.sampling)
    assert run.recording == Recording(rate_hz=110.0)  # as the recipe of the store says
    config = InputConfig.of_run(run)
    assert (config.rate_hz, config.recording) == (110.0, Recording(rate_hz=110.0))
    assert len(from_store(store, config)) == len(store)


def test_stimuli_come_to_the_rate_of_the_training(run_folder):
    fast = sweep_of(550, 1000.0)
    run = at_rate(run_folder, rate_hz=200.0, recording=Recording(rate_hz=200.0, method="average"))
    found = from_sweep(fast, InputConfig.of_run(run))
    # frames of 5 ms are means of 5 of 1 ms
    means = fast.force_moment.astype(float).reshape(2, 110, 5, 30, 6).mean(axis=2)
    wanted = run.preprocessing.apply(means.astype(np.float32), fast.whiskers, run.normalisation)
    assert np.allclose(found.inputs, wanted, atol=1e-6)
    assert found.times_s[-1] == pytest.approx(0.55)


def test_what_was_imported_or_kept_in_full_is_recorded_without_aliasing(run_folder):
    for recording in (None, Recording(method="full")):
        run = at_rate(run_folder, rate_hz=200.0, recording=recording)
        assert InputConfig.of_run(run).recording == Recording(rate_hz=200.0)


def test_the_published_stride_comes_out_at_its_own_rate(run_folder):
    run = at_rate(run_folder, rate_hz=1000 / 9, recording=Recording.published())
    fast = sweep_of(1000, 1000.0)
    found = from_sweep(fast, InputConfig.of_run(run))
    assert found.times_s[-1] == pytest.approx(0.99)
    row, column = grid_place(fast.whiskers[0])
    scale = np.asarray(run.normalisation.scale)
    got = found.inputs[:, :, :, row, column].reshape(2, 110, 6) * scale
    assert np.allclose(got, fast.force_moment[:, ::9][:, :110, 0], rtol=1e-5, atol=1e-4)
    with pytest.raises(InputError, match=r"stride from 500 to 125 Hz': .*trained at 111.111 Hz"):
        from_sweep(sweep_of(500, 500.0), InputConfig.of_run(run))


def test_a_preprocessing_that_strides_sees_the_rate_of_its_training(run_folder):
    way = Preprocessing.published()
    run = at_rate(run_folder, rate_hz=1000.0, frames=1000, recording=None, preprocessing=way)
    bases = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 30, 3, 3))

    def still(frames):
        return replace(sweep_of(frames, 1000.0), base_rotation=bases)

    config = InputConfig.of_run(run)
    assert from_sweep(still(999), config).times_s[-1] == pytest.approx(0.99)  # every ninth, too
    with pytest.raises(InputError, match=r"see them at 55.5556 Hz, and was trained at 111.111 Hz"):
        from_sweep(still(2000), config)


def test_stimuli_at_another_rate_are_refused(run_folder, store):
    run = at_rate(run_folder, rate_hz=200.0)
    config = InputConfig.of_run(run)
    with pytest.raises(InputError, match="recording = .*trained at 200 Hz; record with"):
        from_sweep(sweep_of(1000, 1000.0), config)  # the store's recording says 110
    config = InputConfig.of_run(run, Recording(rate_hz=200.0))
    with pytest.raises(InputError, match=r"stimuli = '110 Hz': .* trained at 200 Hz; simulate"):
        from_sweep(sweep_of(), config)  # as many frames as the network takes, but slower
    with pytest.raises(InputError, match="200 frames at 200 Hz"):
        from_sweep(sweep_of(1000, 1000.0), config)
    with pytest.raises(InputError, match=r"at 110 Hz': the network was trained at 200 Hz"):
        from_store(store, config)


def test_the_six_are_simulated_for_as_long_as_the_input_lasts(run_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path))
    array = mouse_array("R").select(["RC1"])
    run = at_rate(run_folder, rate_hz=220.0, recording=Recording(rate_hz=220.0))
    found = rodgers6(InputConfig.of_run(run), array=array, solver=SolverConfig(grid_spacing_mm=0.5))
    assert found.inputs.shape == (6, *SHAPE)
    assert found.times_s[-1] == pytest.approx(0.5)
