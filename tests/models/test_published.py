"""The published zoo: parameter counts, accuracies, recipes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.models import build, encoders, published_model, zoo
from vibrissa.models.published import TEST_SWEEPS
from vibrissa.models.summary import attender_costs, decoder_costs, encoder_costs, model_costs

N_CLASSES = 117


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    """Architecture -> its parameters, from the module itself."""
    found = {}
    for name in {entry.architecture for entry in zoo().values()}:
        with torch.device("meta"):
            model = build(name, n_classes=N_CLASSES)
        found[name] = sum(p.numel() for p in model.parameters())
    return found


def test_the_table_is_whole():
    models = [e for e in zoo().values() if e.objective != "untrained"]
    assert len(models) == 60
    assert len(zoo()) - len(models) == 13
    assert sum(e.released for e in models) == 49
    assert Counter(e.objective for e in models) == {
        "sl": 14, "simclr": 10, "simsiam": 10, "simsiam_warmup": 9, "ae": 9, "ae_ssl": 8,
    }  # fmt: skip
    assert sum(e.collapsed for e in models) == 11
    assert len({e.run for e in zoo().values()}) == 73


@pytest.mark.parametrize("name", list(zoo()))
def test_parameters_are_the_published_ones(name, counted):
    entry = zoo()[name]
    assert counted[entry.architecture] == entry.parameters


@pytest.mark.parametrize(
    "entry", [e for e in zoo().values() if not e.released], ids=lambda e: e.name
)
def test_counts_that_are_not_released_are_those_of_models_whose_are(entry):
    same = [e for e in zoo().values() if e.released and e.architecture == entry.architecture]
    assert same
    assert {e.parameters for e in same} == {entry.parameters}


def test_parameters_of_the_parts():
    # Numbers of the publication's parts, not of ours.
    found = {name: cost.parameters for name, cost in encoder_costs().items()}
    assert {
        "zhuang": 23_460_072, "ugrnn": 30_688_416, "gru": 34_302_592, "lstm": 37_916_768,
        "inter_ln": 37_928_800, "resnet": 11_523_840, "s4": 3_434_496,
    }.items() <= found.items()  # fmt: skip
    # Layer norm adds a scale and a shift for each gate of 1504 channels in all (2, 4, 3 gates; 4
    # and the cell state).
    for name, vectors in {"ugrnn": 4, "inter": 8, "gru": 6, "lstm": 10}.items():
        assert found[f"{name}_ln"] - found[name] == vectors * 1504
    attenders = {name: cost.parameters for name, cost in attender_costs().items()}
    assert {
        "gpt": 25_778_688, "gpt_256": 6_532_608, "mamba": 6_784_000, "none": 0,
    }.items() <= attenders.items()  # fmt: skip
    decoders = {name: cost.parameters for name, cost in decoder_costs().items()}
    assert decoders == {"linear": 60_021, "mlp": 1_110_133, "none": 0}
    models = model_costs()
    assert models["s4+gpt+linear"].parameters == 29_273_205
    assert models["s4+mamba+linear"].parameters == 10_278_517


def test_cost_is_that_of_the_publication():
    # GFLOP per sample of the recurrent encoders, dense, as derived from the graph by hand.
    flop = {name: cost.flop / 1e9 for name, cost in encoder_costs().items()}
    for name, wanted in {"zhuang": 5.14, "ugrnn": 12.77, "gru": 16.58, "lstm": 20.40}.items():
        assert flop[name] == pytest.approx(wanted, abs=0.006)
    assert flop["inter_ln"] == pytest.approx(20.40, abs=0.006)


@pytest.mark.parametrize("entry", zoo().values(), ids=list(zoo()))
def test_accuracies_are_multiples_of_one_test_sweep(entry):
    for percent in (entry.top1_percent, entry.top5_percent):
        sweeps = round(percent / 100 * TEST_SWEEPS)
        assert round(100 * sweeps / TEST_SWEEPS, 2) == pytest.approx(percent)
    if entry.collapsed:  # the largest class
        assert round(entry.top1_percent / 100 * TEST_SWEEPS) == 135


def test_recipes():
    entry = published_model("tactile1000hz_enc_Zhuang_att_GPT_simclr_rot_tflip110_lr1e_2")
    assert entry.name == "simclr-zhuang-gpt"
    assert entry.probe is not None
    recipe = entry.recipe
    assert recipe is not None
    assert recipe["model"] == "zhuang+gpt+none"
    assert recipe["objective"] == {"type": "simclr", "augmentation": "published"}
    assert recipe["optimiser"]["type"] == "lars"
    assert recipe["optimiser"]["lr"] == 0.01
    assert recipe["optimiser"]["weight_decay"] == 1e-4
    assert recipe["epochs"] == 100
    four = published_model("simsiam-inter_ln").recipe
    assert four is not None
    assert four["data"]["batch_size"] == 1024  # 256 on each of 4
    assert four["schedule"]["warmup_epochs"] == 0
    warm = published_model("simsiam_warmup-inter_ln").recipe
    assert warm is not None
    assert warm["schedule"]["warmup_epochs"] == 10
    assert published_model("untrained-zhuang").recipe is None
    with pytest.raises(InputError, match="did you mean 'sl-zhuang-gpt'"):
        published_model("sl-zhuang-gtp")


@pytest.mark.parametrize("entry", [e for e in zoo().values() if e.recipe], ids=lambda e: e.name)
def test_recipes_are_read_by_training(entry):
    config = pytest.importorskip("vibrissa.train.config")
    read = config.config_from_tree(entry.recipe, entry.name)
    assert read.optimiser.lr == entry.lr
    assert read.data.batch_size == entry.batch_size
    assert read.model_config.encoder == entry.model.encoder
    assert read.model_config.attender == entry.model.attender


def test_a_published_name_builds():
    with torch.device("meta"):
        model = build("sl-inter_ln-gpt", n_classes=N_CLASSES)
    assert model.n_parameters == 63_767_509
    assert model.config.name == "inter_ln+gpt+linear"
    assert encoders.name_of(model.config.encoder) == "inter_ln"
