"""Trainings that are killed or stopped end with the very weights of those that are not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.train import RunOptions, config_from_tree, load_run, read_metrics, train
from vibrissa.train.checkpoint import read_checkpoint
from vibrissa.train.loop import Loop

QUIET = RunOptions(quiet=True, threads=1, accelerator="cpu", save_every_steps=2)
# dropout, augmentation, momentum, batches in parts: all that has a state or a draw
SUPERVISED = {
    "model": "tiny:flatten+gpt+linear",
    "objective": {"type": "supervised", "augmentation": "tactile"},
    "optimiser": {"type": "adamw", "lr": 0.003},
    "data": {"batch_size": 16},
    "epochs": 3,
    "accumulate": 2,
    "clip_norm": 1.0,
    "seed": 5,
}
# batch norm in model and head, and its running averages
SIMSIAM = {
    "model": "tiny:resnet+none+linear",
    "objective": {"type": "simsiam", "pool": "mean"},
    "optimiser": {"type": "sgd", "lr": 0.05},
    "schedule": "cosine_annealing",
    "data": {"batch_size": 24},
    "epochs": 2,
    "seed": 6,
}


def killed(store, out, config, steps, moment):
    """Start a training that kills itself; its exit status."""
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(store.path), str(out), str(config), str(steps), moment],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def equal(one, other):
    """Whether two nested trees of tensors are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return set(one) == set(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def assert_same(one, other):
    for name in ("last.pt", "best.pt"):
        a, b = (read_checkpoint(folder / "checkpoints" / name) for folder in (one, other))
        assert equal(a, b), name
    for name in ("metrics.csv", "result.json", "predictions.csv", "recipe.yaml", "manifest.json"):
        if (one / name).exists() or (other / name).exists():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_killed_in_the_middle_of_a_step(store, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SUPERVISED))
    assert killed(store, tmp_path / "killed", config, 7, "before") == -signal.SIGKILL
    state = read_checkpoint(tmp_path / "killed" / "checkpoints" / "last.pt")
    assert state["progress"]["step"] == 6
    assert state["loader"]["batches"] == 2  # in the middle of the second epoch
    result = train(config_from_tree(SUPERVISED), store, tmp_path / "killed", options=QUIET)
    assert result.status == "finished"
    train(config_from_tree(SUPERVISED), store, tmp_path / "whole", options=QUIET)
    assert_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("config", [SUPERVISED, SIMSIAM], ids=["supervised", "simsiam"])
def test_killed_five_times_at_random(store, tmp_path, config):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    draws = random.Random(f"{config['seed']}")
    # each process gets at most so many steps that five kills come before the end
    steps_in_all = config["epochs"] * (72 // config["data"]["batch_size"])
    most = 3 if steps_in_all >= 10 else 1
    moments = ["before", "after", "writing", "before", "after"]
    draws.shuffle(moments)
    kills = 0
    for moment in moments:
        steps = draws.randint(1, most)
        kills += killed(store, tmp_path / "killed", file, steps, moment) == -signal.SIGKILL
    assert kills == 5
    train(config_from_tree(config), store, tmp_path / "killed", options=QUIET)
    train(config_from_tree(config), store, tmp_path / "whole", options=QUIET)
    assert_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_killed_by_the_clock(store, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(SUPERVISED | {"epochs": 12}))
    script = Path(__file__).with_name("killed.py")
    words = [sys.executable, str(script), str(store.path), str(tmp_path / "killed"), str(config)]
    draws = random.Random(0)
    kills = 0
    while kills < 5:
        process = subprocess.Popen([*words, "100000", "after"], stderr=subprocess.DEVNULL)
        last = tmp_path / "killed" / "checkpoints" / "last.pt"
        before = last.stat().st_mtime_ns if last.exists() else 0
        while process.poll() is None and (not last.exists() or last.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(draws.uniform(0.0, 0.2))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
    assert kills >= 3
    long = config_from_tree(SUPERVISED | {"epochs": 12})
    train(long, store, tmp_path / "killed", options=QUIET)
    train(long, store, tmp_path / "whole", options=QUIET)
    assert_same(tmp_path / "killed", tmp_path / "whole")


def test_stopped_by_ctrl_c_and_gone_on(store, tmp_path, monkeypatch):
    config = config_from_tree(SUPERVISED | {"model": "tiny:flatten+none+linear@all"})
    train(config, store, tmp_path / "whole", options=QUIET)
    step, count = Loop._step, 0

    def interrupted(self, batch):
        nonlocal count
        count += 1
        if count == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    monkeypatch.setattr(Loop, "_step", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = train(config, store, tmp_path / "stopped", options=QUIET)
    assert signal.getsignal(signal.SIGINT) is before
    assert result.status == "stopped"
    assert "SIGINT after 6 of 12 steps; the same command goes on" in result.message
    assert result.scores is None
    assert load_run(tmp_path / "stopped").epoch == 0 or result.tree["best"]["epoch"] == 1
    assert len(read_metrics(tmp_path / "stopped" / "metrics.csv")) == 1
    again = train(config, store, tmp_path / "stopped", options=QUIET)
    assert again.status == "finished"
    assert count == 12  # no step was made twice
    assert_same(tmp_path / "stopped", tmp_path / "whole")


def test_what_has_ended_is_not_repeated(store, tmp_path, monkeypatch):
    config = config_from_tree(
        {"model": "tiny:flatten+none+linear@all", "data": {"batch_size": 36}, "epochs": 1}
    )
    first = train(config, store, tmp_path / "run", options=QUIET)
    monkeypatch.setattr(Loop, "run", lambda *_: pytest.fail("it trained again"))
    again = train(config, store, tmp_path / "run", options=QUIET)
    assert again.repeated
    assert again.tree == first.tree


def test_another_configuration_is_refused_by_its_first_difference(store, tmp_path, monkeypatch):
    tree = {"model": "tiny:flatten+none+linear@all", "data": {"batch_size": 36}, "epochs": 1}
    train(config_from_tree(tree), store, tmp_path / "run", options=QUIET)
    for change, text in (
        ({"optimiser": {"type": "adamw", "lr": 0.5}}, "optimiser.lr = 0.5.*begun with 0.001"),
        ({"optimiser": "sgd"}, "optimiser.type = 'sgd'.*begun with 'adamw'"),
        ({"seed": 4}, "seed = 4"),
        ({"model": "tiny:gru"}, "model = 'tiny:gru'"),
    ):
        with pytest.raises(InputError, match=text) as refused:
            train(config_from_tree(tree | change), store, tmp_path / "run", options=QUIET)
        assert str(refused.value).count("\n") == 0
