"""Views of self-supervised objectives on several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vibrissa.data import DataModule
from vibrissa.train import config_from_tree
from vibrissa.train.checkpoint import read_checkpoint
from vibrissa.train.preparing import make_learner


def told(store, out, log, stop=0):
    """Train on two processes; the status, and the views of each."""
    log.mkdir(exist_ok=True)
    script = Path(__file__).with_name("telling.py")
    words = [sys.executable, script, store.path, out, log, stop]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    views = [(log / f"{rank}.txt").read_text().splitlines() for rank in (0, 1)]
    return done.stdout.split()[-1], views


@pytest.mark.slow
def test_processes_draw_their_own_views_and_the_same_again_after_a_stop(store, tmp_path):
    status, whole = told(store, tmp_path / "whole", tmp_path / "log")
    assert status == "finished"
    steps = 2 * (72 // 24)
    assert [len(views) for views in whole] == [2 * steps, 2 * steps]  # a batch in two parts
    drawn = [line.split()[0] for views in whole for line in views]
    assert len(set(drawn)) == len(drawn)  # no two alike, of no process, step or part
    shown = [line.split()[1] for views in whole for line in views]
    assert len(set(shown)) == len(shown)  # nor do two processes see the same sweeps

    status, _ = told(store, tmp_path / "stopped", tmp_path / "again", stop=8)  # in step 4
    assert status == "stopped"
    state = read_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")
    assert state["progress"]["step"] == 4
    status, resumed = told(store, tmp_path / "stopped", tmp_path / "again")
    assert status == "finished"
    assert resumed == whole

    one, other = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.pt")
        for name in ("whole", "stopped")
    )
    for part in ("model", "objective"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), name
    # the bank counts the sweeps of the store, and both processes put theirs into it
    data = DataModule(store, "by_object", quiet=True)
    trained = data.split.indices("train", store.table)
    assert one["objective"]["bank"].shape == (len(store), 8)
    assert one["objective"]["seen"].nonzero()[:, 0].tolist() == sorted(trained.tolist())


@pytest.mark.parametrize("rank", [0, 1])
def test_a_bank_has_a_row_for_every_sweep_of_the_store(store, rank):
    config = config_from_tree(
        {"model": "tiny:flatten", "objective": {"type": "instance_discrimination", "dimension": 4}}
    )
    data = DataModule(store, "by_object", rank=rank, world_size=2, quiet=True)
    learner = make_learner(config, data)
    assert learner.objective.bank.shape == (len(store), 4)
    assert max(int(batch.index.max()) for batch in data.loader("train")) < len(store)
