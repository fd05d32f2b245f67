"""The guide: its Python runs in order, its commands and recipes exist."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from vibrissa.cli import VERBS
from vibrissa.train import config_from_tree

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_python_runs(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data").symlink_to(store.path)
    names = {}
    for code in blocks("python"):
        exec(compile(code, "training.md", "exec"), names)
    told = capsys.readouterr().out
    assert "Trained for 2 epochs, 4 steps." in told
    assert "knn probe of tiny:zhuang+none+linear" in told
    assert not names["model"].training
    assert names["own"].model_config.name


def test_yaml_is_a_recipe():
    (text,) = blocks("yaml")
    config = config_from_tree(yaml.safe_load(text))
    assert config.clip_norm == 1.0


def commands():
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.strip()]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_understood(words):
    import tyro

    from vibrissa.cli.train import ProbeOptions, TrainOptions, config_of

    assert words[0] == "vibrissa"
    assert words[1] in {verb.name for verb in VERBS}
    if words[1] == "probe":
        tyro.cli(ProbeOptions, args=words[2:])
        return
    options = tyro.cli(TrainOptions, args=words[2:], config=(tyro.conf.FlagCreatePairsOff,))
    if options.recipe == "mine.yaml" or "mine.py" in (options.model or ""):
        return  # files that the guide makes
    assert config_of(options).epochs >= 1


def test_what_it_points_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).is_file(), target


def test_every_optimiser_and_schedule_is_told():
    from vibrissa.train.optimisers import optimisers
    from vibrissa.train.schedules import schedules

    for name in (*optimisers.names(), *schedules.names()):
        assert f"`{name}`" in TEXT


def test_public_names_are_what_they_say():
    import vibrissa.train as room

    for name in room._MODULE_OF:
        found = getattr(room, name)
        assert getattr(found, "__module__", "").startswith("vibrissa.train."), name
