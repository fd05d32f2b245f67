"""Probes of runs and of untrained networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.data import DataModule
from vibrissa.models import build
from vibrissa.objectives import KNNProbe
from vibrissa.train import RunOptions, config_from_tree, load_run, probe, train
from vibrissa.train.probing import probe_online, whole_loader

QUIET = RunOptions(quiet=True, threads=1, accelerator="cpu")
TREE = {
    "model": "tiny:flatten+none+linear@all",
    "objective": {"type": "simclr", "hidden": 16, "dimension": 8, "pool": "mean"},
    "data": {"batch_size": 24},
    "epochs": 2,
    "seed": 4,
}


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("probed") / "run"
    train(config_from_tree(TREE), store, out, options=QUIET)
    return out


def test_trained_and_untrained_beside_chance(store, folder):
    report = probe(folder, store, kind="knn")
    assert report.trained is not None
    assert (report.pool, report.split, report.part) == ("mean", "by_object", "test")
    assert report.untrained.chance == pytest.approx(1 / 3)
    assert report.run is not None
    for word in ("trained ", "untrained ", "chance 33.3 %"):
        assert word in report.sentence
    # the untrained ones are the run's own first weights
    alone = probe("untrained:tiny:flatten+none+linear@all", store, kind="knn", pool="mean", seed=4)
    assert alone.trained is None
    assert np.array_equal(alone.untrained.scores, report.untrained.scores)
    assert not np.array_equal(alone.untrained.scores, report.trained.scores)


def test_features_are_those_of_the_frozen_model_by_hand(store):
    name = "tiny:flatten+none+linear"
    report = probe(f"untrained:{name}", store, kind="knn", pool="mean", part="validate")
    model = build(name, n_classes=3, seed=0).eval()
    data = DataModule(store, "by_object", quiet=True)
    features, labels = {}, {}
    for part in ("train", "validate"):
        with torch.no_grad():
            found = [(model.features(b.input).mean(1), b.label) for b in whole_loader(data, part)]
        features[part] = torch.cat([f for f, _ in found])
        labels[part] = torch.cat([label for _, label in found])
    wanted = KNNProbe().evaluate(
        features["train"], labels["train"], features["validate"], labels["validate"]
    )
    np.testing.assert_allclose(report.untrained.scores, wanted.scores, rtol=1e-5)


def test_a_probe_in_the_middle_changes_nothing(store):
    config = config_from_tree(TREE | {"model": "tiny:resnet+none+linear"})
    model = build(config.model, n_classes=3, seed=0).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    data = DataModule(store, "by_object", quiet=True)
    loader = data.loader("train")
    next(iter(loader))
    place = loader.state_dict()
    row = probe_online(model, data, config)
    assert set(row) == {"probe_top1"}  # of three classes
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert loader.state_dict() == place


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"kind": "deep"}, "kind = 'deep'"),
        ({"part": "dream"}, "part = 'dream'"),
        ({"split": "by_moon"}, "split = 'by_moon'"),
        ({"target": "untrained:nothing"}, "'nothing': no such name"),
        ({"target": "nowhere"}, "run = 'nowhere': no run folder"),
    ],
)
def test_what_cannot_be_probed_is_refused(store, given, text):
    words = {"target": "untrained:tiny:flatten"} | given
    with pytest.raises(InputError, match=text):
        probe(words.pop("target"), store, **words)


def test_a_store_recorded_otherwise_is_refused(folder, tmp_path, make_split_store):
    other = make_split_store(tmp_path / "store", objects=12, frames=88)
    with pytest.raises(InputError, match="store = .*the run takes"):
        probe(folder, other)


def test_a_store_at_another_rate_is_refused(store, folder):
    run = replace(load_run(folder), rate_hz=220.0)
    with pytest.raises(InputError, match="recorded at 110 Hz, and the run was trained at 220 Hz"):
        probe(run, store, kind="knn")
