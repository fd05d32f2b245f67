"""Configurations to and from plain trees; recipes; where two configurations differ."""

from dataclasses import replace

import pytest
import yaml

from vibrissa.core.errors import InputError
from vibrissa.models import EADConfig, config_of
from vibrissa.models.encoder import Flatten
from vibrissa.models.published import zoo
from vibrissa.objectives import objectives
from vibrissa.train import config_from_file, config_from_tree, recipe, recipe_names
from vibrissa.train.config import TrainConfig, first_difference, with_changes
from vibrissa.train.optimisers import Lars, optimisers
from vibrissa.train.recipe_files import recipe_tree
from vibrissa.train.schedules import CosineAnnealing, schedules


def there_and_back(config):
    return config_from_tree(yaml.safe_load(yaml.safe_dump(config.to_tree())))


@pytest.mark.parametrize("objective", objectives.names())
@pytest.mark.parametrize("optimiser", optimisers.names())
@pytest.mark.parametrize("schedule", schedules.names())
def test_every_member_there_and_back(objective, optimiser, schedule):
    tree = {"objective": objective, "optimiser": optimiser, "schedule": schedule}
    config = config_from_tree(tree)
    assert there_and_back(config) == config


def test_a_model_may_be_a_name_or_parts(tmp_path):
    parts = config_of("tiny:zhuang+gpt+mlp@all")
    config = TrainConfig(model=parts)
    assert isinstance(there_and_back(config).model, EADConfig)
    assert there_and_back(config) == config
    assert config_from_tree({"model": "tiny:zhuang+gpt+mlp@all"}).model_config == parts
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(config.to_tree()))
    assert config_from_file(path) == config


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package(name):
    config = recipe(name)
    assert there_and_back(config) == config
    assert config.epochs >= 1


@pytest.mark.parametrize("name", [e.name for e in zoo().values() if e.recipe is not None])
def test_every_published_recipe(name):
    entry = zoo()[name]
    config = recipe(name)
    assert there_and_back(config) == config
    assert config.epochs == 100
    assert config.optimiser.lr == entry.lr
    assert config.data.batch_size == entry.batch_size
    assert config.optimiser.weight_decay == 1e-4
    if entry.optimiser == "lars":
        optimiser = config.optimiser
        assert isinstance(optimiser, Lars)
        assert (optimiser.eta, optimiser.adapt_all, optimiser.decay_all) == (1e-3, True, True)
    if entry.objective == "simsiam":
        assert isinstance(config.schedule, CosineAnnealing)
        assert config.schedule.warmup_epochs == 0
        assert config.schedule.at(0, 10, 100) > 0.99
    if entry.schedule == "cos_w_warmup":
        assert config.schedule.at(0, 10, 100) == 0.0


def test_recipes_that_are_not_there():
    with pytest.raises(InputError, match=r"recipe = 'quik': no such name; did you mean 'quick'\?"):
        recipe_tree("quik")
    with pytest.raises(InputError, match="recipe = 'untrained-zhuang': an untrained control"):
        recipe_tree("untrained-zhuang")


def test_changes_by_place():
    tree = {"optimiser": "sgd", "data": {"split": "a"}}
    changed = with_changes(
        tree, {"optimiser.lr": 0.5, "data.batch_size": 8, "epochs": 2}, "options"
    )
    assert changed == {
        "optimiser": {"type": "sgd", "lr": 0.5}, "data": {"split": "a", "batch_size": 8},
        "epochs": 2,
    }  # fmt: skip
    assert tree == {"optimiser": "sgd", "data": {"split": "a"}}
    changed = with_changes({"model": "tiny:flatten+gpt"}, {"model.encoder.width": 5}, "options")
    config = config_from_tree(changed).model_config
    assert config == replace(config_of("tiny:flatten+gpt"), encoder=Flatten(width=5))
    changed = with_changes({"model": "tiny:flatten"}, {"model.encoder.width": "abc"}, "options")
    with pytest.raises(InputError, match=r"options: model\.encoder: width = 'abc': not a whole"):
        config_from_tree(changed, "options")
    with pytest.raises(InputError, match="options: epochs.x = 1: epochs has no entries"):
        with_changes({"epochs": 3}, {"epochs.x": 1}, "options")


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, None),
        ({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}, "a": 1}, ("b.c", 2, 3)),
        ({"a": 1}, {"a": 1, "d": 4}, ("d", None, 4)),
        ({"a": [1, 2]}, {"a": [1, 3]}, ("a", [1, 2], [1, 3])),
    ],
)
def test_first_difference(one, other, found):
    assert first_difference(one, other) == found


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"epoch": 3}, "recipe: entry = 'epoch': no such name; did you mean 'epochs'"),
        ({"epochs": 0}, "epochs = 0: must be at least 1"),
        ({"epochs": "ten"}, "recipe: epochs = 'ten': not a whole number"),
        ({"optimiser": "sdg"}, "optimisers = 'sdg': no such name; did you mean 'sgd'"),
        ({"optimiser": {"type": "sgd", "rate": 1}}, "recipe.optimiser: 'rate' is no entry here"),
        ({"objective": "simclear"}, "'simclear': no such name; did you mean 'simclr'"),
        ({"objective": {"type": "simclr", "temperature": -1.0}}, "temperature = -1.0"),
        ({"precision": "fp8"}, "precision = 'fp8'"),
        ({"clip_norm": 0.0}, "clip_norm = 0.0"),
        ({"accumulate": 300}, "accumulate = 300: a batch has 256 sweeps"),
        ({"seed": -1}, "seed = -1: negative"),
        ({"model": "zhung"}, "did you mean 'zhuang'"),
        ({"data": {"batch_size": 0}}, "batch_size = 0"),
        ([1], "not a mapping"),
    ],
)
def test_what_cannot_be_meant_is_refused(tree, text):
    with pytest.raises(InputError, match=text) as refused:
        config_from_tree(tree)
    assert "\n" not in str(refused.value)
