"""``vibrissa train`` and ``vibrissa probe`` as a user types them."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from vibrissa.cli import main
from vibrissa.train import load_run, read_metrics

_spec = importlib.util.spec_from_file_location(
    "stores_to_train_with", Path(__file__).parent / "train" / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_stores = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_stores)

MODEL = ("--model", "tiny:flatten+none+linear@all", "--batch-size", "24")
OWN = '''\
"""The last place of the grid that felt anything, in twenty lines or fewer."""
from torch import nn


class MyEncoder(nn.Module):
    def __init__(self, input_shape, width=8):
        super().__init__()
        step, channel, row, column = input_shape
        self.linear = nn.Linear(channel * row * column, width)

    def forward(self, x):
        return self.linear(x.flatten(2)).tanh()
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli_train") / "data"
    _stores.write_split_store(path, objects=24, sweeps=4)
    return path


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """A run of two epochs."""
    folder = tmp_path_factory.mktemp("cli_run") / "run"
    words = ["train", str(data), *MODEL, "--epochs", "2", "--lr", "0.01", "--out", str(folder)]
    assert main([*words, "--quiet"]) == 0
    return folder


def run(capsys, *given):
    status = main([str(word) for word in given])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_train_says_what_it_does(data, tmp_path, capsys):
    folder = tmp_path / "run"
    status, told, err = run(
        capsys, "train", data, *MODEL, "--objective", "supervised", "--split", "by_object",
        "--epochs", 1, "--out", folder,
    )  # fmt: skip
    assert (status, told.strip()) == (0, str(folder))
    assert "epoch 1, train loss" in err
    assert "Trained for 1 epochs, 3 steps." in err
    assert "test: top-1" in err
    assert "top-5" not in err  # of three classes
    assert set(read_metrics(folder / "metrics.csv")[0]).isdisjoint({"train_top5", "validate_top5"})
    assert "top5" not in json.loads((folder / "result.json").read_text())["scores"]["test"]
    assert "chance 33.3 %, 12 sweeps of 3 objects" in err


def test_options_make_the_recipe(data, tmp_path, capsys):
    status, told, _ = run(
        capsys, "train", data, "--out", tmp_path / "x", "--recipe", "quick_simclr", "--epochs", 7,
        "--optimiser", "lars", "--lr", 0.3, "--augmentation", "none", "--seed", 2,
        "--set", "objective.temperature=2e-1", "--set", "data.preprocessing.normalise=standard",
        "--print-recipe",
    )  # fmt: skip
    tree = yaml.safe_load(told)
    assert status == 0
    assert (tree["epochs"], tree["seed"]) == (7, 2)
    assert tree["objective"]["temperature"] == 0.2
    assert tree["objective"]["augmentation"] == {"type": "identity"}
    assert (tree["optimiser"]["type"], tree["optimiser"]["lr"]) == ("lars", 0.3)
    assert "beta1" not in tree["optimiser"]
    assert tree["data"]["preprocessing"]["normalise"] == "standard"
    assert not (tmp_path / "x").exists()
    # what is printed is a recipe
    (tmp_path / "mine.yaml").write_text(told)
    words = ("--recipe", tmp_path / "mine.yaml", "--print-recipe", "--out", tmp_path / "x")
    assert run(capsys, "train", data, *words)[1] == told


def test_what_has_ended_is_not_repeated_and_can_be_read(data, out, capsys):
    before = (out / "checkpoints" / "last.pt").read_bytes()
    words = ("train", data, *MODEL, "--epochs", 2, "--lr", 0.01, "--out", out)
    status, told, err = run(capsys, *words, "--json")
    assert status == 0
    assert "had ended before; nothing was done" in err
    assert json.loads(told) == json.loads((out / "result.json").read_text())
    assert run(capsys, "train", data, "--out", out, "--resume", "--quiet")[0] == 0
    assert (out / "checkpoints" / "last.pt").read_bytes() == before


def test_another_configuration_is_refused(data, out, capsys):
    words = ("train", data, *MODEL, "--epochs", 2, "--out", out)
    status, _, err = run(capsys, *words)
    assert status == 2
    assert "optimiser.lr = 0.001: the run in" in err
    assert err.count("\n") == 1


def test_ones_own_encoder(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    assert len(OWN.splitlines()) <= 20
    status, _, err = run(
        capsys, "train", data, "--model", "./mine.py:MyEncoder+none+linear@all", "--epochs", 1,
        "--batch-size", 24, "--out", "run", "--quiet",
    )  # fmt: skip
    assert (status, err) == (0, "")
    model = load_run("run").model
    assert model(torch.zeros(2, 22, 30, 5, 7)).shape == (2, 3)


def test_probe_of_a_run_and_of_an_untrained_network(data, out, capsys, tmp_path):
    status, told, err = run(capsys, "probe", out, data, "--kind", "knn", "--pool", "mean")
    assert status == 0
    path = out / "probe" / "knn-mean-by_object-test.json"
    assert told.strip() == str(path)
    assert "trained " in err
    assert "untrained " in err
    tree = json.loads(path.read_text())
    assert tree["trained"]["n_train"] == 72
    assert tree["untrained"]["chance"] == pytest.approx(1 / 3)
    status, told, err = run(
        capsys, "probe", "untrained:tiny:flatten", data, "--pool", "mean", "--kind", "knn"
    )
    assert status == 0
    assert json.loads(told)["trained"] is None
    assert "untrained" in err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--model", "zhung"), "did you mean 'zhuang'"),
        (("--model", "tinny:zhuang"), "did you mean 'tiny:zhuang'"),
        (("--model", "sl-zhuang-gtp"), "did you mean 'sl-zhuang-gpt'"),
        (
            ("--set", "model.encoder.width=abc"),
            "model.encoder: width = 'abc': not a whole",
        ),
        (
            ("--objective", "simclr", "--augmentation", "tactile_world"),
            "loads are in the base",
        ),
        (
            ("--augmentation", "tactile", "--set", "data.preprocessing.normalise=standard"),
            "normalise = 'standard': TimeShift needs",
        ),
        (("--objective", "simclr", "--batch-size", 1), "batch_size = 1: simclr learns from"),
        (("--objective", "simclear"), "did you mean 'simclr'"),
        (("--optimiser", "sdg"), "did you mean 'sgd'"),
        (("--schedule", "cosinus"), "did you mean 'cosine'"),
        (("--augmentation", "tactil"), "no such name"),
        (("--recipe", "quik"), "did you mean 'quick'"),
        (("--recipe", "nowhere.yaml"), "nowhere.yaml: there is no such file"),
        (("--split", "by_moon"), "split = 'by_moon': no such name"),
        (("--split", "by_class"), "classes to be tested have no sweeps to train with"),
        (("--n-classes", 117), "n_classes = 117: the store"),
        (("--epochs", 0), "epochs = 0: must be at least 1"),
        (("--lr", "nan"), "lr = nan: not a positive number"),
        (("--set", "objective.colour=3"), "'colour' is no entry here"),
        (("--set", "objective"), "set = 'objective': not PLACE=VALUE"),
        (("--track", "excel"), "track = 'excel'"),
        (("--accelerator", "abacus"), "accelerator = 'abacus'"),
        (("--devices", 0), "devices = 0"),
        (("--resume",), "no run folder"),
        (("--start", "nowhere"), "run = 'nowhere': no run folder"),
        (("--precision", "fp8"), "--precision"),
    ],
)
def test_bad_options_are_one_sentence(data, tmp_path, capsys, words, text):
    status, told, err = run(capsys, "train", data, *MODEL, "--out", tmp_path / "run", *words)
    assert status == 2
    assert told == ""
    assert text in err
    assert err.count("\n") == 1


def test_bad_places_are_one_sentence(data, tmp_path, capsys):
    status, _, err = run(capsys, "train", tmp_path / "nothing", "--out", tmp_path / "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "it is no data set" in err
    (tmp_path / "file").touch()
    status, _, err = run(capsys, "train", tmp_path / "file", "--out", tmp_path / "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "a file, and a data set is a folder" in err
    status, _, err = run(capsys, "train", data, *MODEL, "--out", tmp_path / "file" / "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot be written" in err
    status, _, err = run(capsys, "train", data, *MODEL, "--out", data)
    assert (status, err.count("\n")) == (2, 1)
    assert "is no run folder" in err


def test_bad_probes_are_one_sentence(data, out, capsys, tmp_path):
    for words, text in (
        ((tmp_path, data), "no run folder"),
        ((out, tmp_path), "it is no data set"),
        ((out, data, "--kind", "deep"), "kind = 'deep'"),
        ((out, data, "--part", "dream"), "part = 'dream'"),
        ((out, data, "--device", "abacus"), "device = 'abacus'"),
        (("untrained:zhung", data), "did you mean 'zhuang'"),
    ):
        status, _, err = run(capsys, "probe", *words)
        assert (status, err.count("\n")) == (2, 1)
        assert text in err


def refused(capsys, *words):
    """What was said of bad input: one line, status 2, nothing on stdout."""
    status, told, err = run(capsys, *words)
    assert (status, told, err.count("\n")) == (2, "", 1), err
    assert err.startswith("vibrissa: error: ")
    return err


def copied(out, to):
    shutil.copytree(out, to)
    (to / "result.json").unlink()
    return to / "checkpoints"


def test_a_store_without_a_split(tmp_path, capsys, out):
    bare = _stores._stores.write_store(tmp_path / "bare", objects=6, sweeps=2).path
    text = f"split = 'by_object': {bare} has no splits yet; run vibrissa dataset split {bare}"
    assert text in refused(capsys, "train", bare, *MODEL, "--out", tmp_path / "run")
    assert text in refused(capsys, "probe", out, bare)


def test_checkpoints_of_another_model(data, out, tmp_path, capsys):
    other = tmp_path / "other"
    words = ("--model", "tiny:flatten+none+mlp@all", "--batch-size", "24", "--epochs", "2")
    assert run(capsys, "train", data, *words, "--lr", "0.01", "--out", other, "--quiet")[0] == 0
    mixed = tmp_path / "mixed"
    place = copied(out, mixed)
    for name in ("last.pt", "best.pt"):
        shutil.copy(other / "checkpoints" / name, place / name)
    again = (*MODEL, "--epochs", "2", "--lr", "0.01")
    text = ".pt: a checkpoint of another training (model is 'tiny:flatten+none+mlp@all' there"
    assert f"last{text}" in refused(capsys, "train", data, *again, "--out", mixed)
    for words in (("probe", mixed, data), ("activations", mixed, "--list")):
        assert f"best{text}" in refused(capsys, *words)
    words = ("--model", "tiny:gru+none+linear", "--batch-size", "24", "--start", out)
    err = refused(capsys, "train", data, *words, "--out", tmp_path / "run")
    assert "start = " in err
    assert "it holds another model" in err


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "text"])
def test_checkpoints_that_are_damaged(data, out, tmp_path, capsys, how):
    broken = tmp_path / "broken"
    place = copied(out, broken)
    for path in place.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(
            {"flipped": content, "cut": content[:-100], "empty": b"", "text": b"hello"}[how]
        )
    again = (*MODEL, "--epochs", "2", "--lr", "0.01")
    text = ".pt: not a checkpoint as it was written (cut short or changed); "
    assert f"last{text}delete it" in refused(capsys, "train", data, *again, "--out", broken)
    for words in (
        ("probe", broken, data),
        ("activations", broken, "--list"),
        ("train", data, *MODEL, "--start", broken, "--out", tmp_path / "run"),
    ):
        assert f"best{text}" in refused(capsys, *words)


GREEDY = """
import resource, sys
import vibrissa.cli, vibrissa.activations.extractor, vibrissa.train.training, lightning.fabric
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * 2**20, -1))
sys.exit(vibrissa.cli.main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
@pytest.mark.parametrize("spare_mb", [400, 900])
@pytest.mark.parametrize("verb", ["train", "probe", "activations"])
def test_out_of_memory(data, tmp_path, verb, spare_mb):
    model = "zhuang+gpt+linear"  # 190 MB of weights; a batch of 72 takes more than 3 GB to train
    words = {
        "train": ["train", data, "--model", model, "--batch-size", 72, "--out", tmp_path / "run"],
        "probe": ["probe", f"untrained:{model}", data],
        "activations": [
            "activations", model, "--untrained", "--stimuli", data, "--out", tmp_path / "a.h5"
        ],
    }[verb]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, str(spare_mb), *map(str, words), "--quiet"],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if verb != "train" and spare_mb > 400 and done.returncode == 0:
        return  # it was enough
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "out of memory" in done.stderr
    assert "a smaller" in done.stderr


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(data, tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-m", "vibrissa.cli", "train", str(data), *MODEL]
    words += ["--epochs", "2000", "--out", str(folder)]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(words, stderr=err, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (folder / "metrics.csv").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    text = (tmp_path / "err").read_text()
    assert "Stopped by SIGINT after" in text
    assert "the same command goes on from there" in text
    assert "Traceback" not in text
    done = len(read_metrics(folder / "metrics.csv"))
    assert 1 <= done < 2000
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(read_metrics(folder / "metrics.csv")) == done and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(60) == 130
    assert json.loads((folder / "result.json").read_text())["status"] == "stopped"
