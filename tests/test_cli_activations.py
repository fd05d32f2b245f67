"""``vibrissa activations`` as a user types it."""

import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from vibrissa.activations import CONDITIONS, Activations
from vibrissa.cli import main
from vibrissa.data import DataModule
from vibrissa.morphology import mouse_array
from vibrissa.simulation import Sweep
from vibrissa.train import load_run

ROOT = Path(__file__).parents[1]


def _fixtures():
    place = ROOT / "tests" / "activations" / "conftest.py"
    spec = importlib.util.spec_from_file_location("fixtures_of_activations", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MODULE = _fixtures()
store, run_folder = _MODULE.store, _MODULE.run_folder


def command(capsys, *words):
    status = main(["activations", *(str(word) for word in words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_run_and_a_store(run_folder, store, tmp_path, capsys):
    out = tmp_path / "deep" / "a.acts.h5"
    status, printed, told = command(
        capsys, run_folder, "--stimuli", f"{store.path}:label == 'cup'", "--out", out
    )
    assert (status, printed.strip()) == (0, str(out))
    assert "9 stimuli" in told
    acts = Activations.load(out)
    found = load_run(run_folder)
    assert acts.run_digest == found.digest
    assert acts.layer_names == ("input", *found.model.layers())
    data = DataModule(store, "by_object")
    module = found.model
    for part in data.parts:  # what the run itself says of sweeps of its store
        for batch in data.loader(part):
            with torch.no_grad():
                scores = module(batch.input).numpy()
            for index, score in zip(batch.index.tolist(), scores, strict=True):
                row = store.table.iloc[index]
                name = f"{row['object']}/{row['sweep']}"
                if name in acts.stimuli:
                    mine = acts.layer("linear", [name])[0, 0]
                    assert np.allclose(mine, score, atol=1e-5)


def test_chosen_layers_steps_and_reductions(run_folder, store, tmp_path, capsys):
    out = tmp_path / "a.acts.h5"
    some = f"{store.path}:label == 'cup'"
    words = [run_folder, "--stimuli", some, "--out", out, "--quiet"]
    assert command(capsys, *words, "--layers", "conv1", "linear", "--no-input")[0] == 0
    whole = Activations.load(out)
    assert whole.layer_names == ("conv1", "linear")
    assert command(capsys, *words, "--layers", "conv1", "--steps", "3", "9")[0] == 0
    assert np.array_equal(Activations.load(out).layers["conv1"], whole.layers["conv1"][:, [3, 9]])
    assert command(capsys, *words, "--layers", "conv1", "--reduce", "mean")[2] == ""
    mean = Activations.load(out)
    assert mean.reduction == "mean"
    assert np.allclose(mean.layers["conv1"][:, 0], whole.mean_over_time("conv1"), atol=1e-6)


def test_untrained_controls(run_folder, store, tmp_path, capsys):
    files, some = [], f"{store.path}:label == 'cup'"
    for seed in (0, 0, 1):
        out = tmp_path / f"{len(files)}.acts.h5"
        words = [run_folder, "--untrained", "--seed", seed, "--stimuli", some, "--quiet"]
        assert command(capsys, *words, "--out", out)[0] == 0
        files.append(Activations.load(out))
    assert files[0].equals(files[1])
    assert not files[0].equals(files[2])
    assert files[0].model == "tiny:ugrnn+none+linear untrained seed 0"
    # the same input as the trained one is shown
    assert command(
        capsys, run_folder, "--stimuli", some, "--out", tmp_path / "t.h5", "--quiet"
    )[0] == 0  # fmt: skip
    trained = Activations.load(tmp_path / "t.h5")
    assert np.array_equal(trained.layers["input"], files[0].layers["input"])
    assert not np.array_equal(trained.layers["linear"], files[0].layers["linear"])


def test_the_layers_are_listed(run_folder, capsys):
    status, printed, _ = command(capsys, run_folder, "--list")
    assert status == 0
    model = load_run(run_folder).model
    rows = [line.split("\t") for line in printed.splitlines()]
    assert [row[0] for row in rows] == list(model.layers())
    assert rows[0][1] == "encoder"
    assert rows[-1][1] == "decoder"
    assert rows[1][2] == f"from step {model.first_input_step(rows[1][0])}"


@pytest.mark.slow
def test_the_six_stimuli_by_name(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "cache"))
    from vibrissa.morphology import mouse_array

    mouse_array().select(["RC1", "RC2"]).to_table(tmp_path / "two.csv")
    out = tmp_path / "a.acts.h5"
    status, _, told = command(
        capsys, "tiny:ugrnn+none+linear", "--untrained", "--array", tmp_path / "two.csv",
        "--layers", "fc8", "--out", out,
    )  # fmt: skip
    assert status == 0
    assert "the stimuli's own is used" in told
    acts = Activations.load(out)
    assert acts.stimuli == CONDITIONS
    assert acts.layer_names == ("input", "fc8")
    assert acts.times_s["fc8"][-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing"], "run = 'nothing': there is no such folder"),
        (["nothing", "--untrained"], "nothing"),
        (["{tmp}"], "no run folder"),
        (["{run}", "--layers", "conv9", "--stimuli", "{store}"], "layer = 'conv9'"),
        (["{run}", "--stimuli", "{store}x"], "stimuli = "),
        (["{run}", "--stimuli", "{store}", "--steps", "99"], "steps = 99"),
        (["{run}", "--seed", "-1"], "seed = -1"),
        (["{run}", "--stimuli", "{store}", "--batch-size", "0"], "batch_size = 0"),
        (["{run}", "--stimuli", "{store}", "--out", "{tmp}/file/a.h5"], "cannot be written"),
        (["{run}", "--array", "cat"], "array = 'cat'"),
        (["{run}", "--reduce", "median"], "reduce"),
    ],
)
def test_bad_input_is_told_in_one_line(run_folder, store, tmp_path, capsys, words, told):
    (tmp_path / "file").write_text("")
    given = [word.format(tmp=tmp_path, run=run_folder, store=store.path) for word in words]
    if "--out" not in given:
        given += ["--out", str(tmp_path / "a.h5")]
    status, printed, error = command(capsys, *given, "--quiet")
    assert (status, printed) == (2, "")
    assert told in error
    assert error.count("\n") == 1
    assert error.startswith("vibrissa: error: ")
    assert not (tmp_path / "a.h5").exists()


def test_the_rate_is_that_of_the_training(run_folder, tmp_path, capsys):
    array = mouse_array("R")
    loads = np.random.default_rng(0).normal(size=(1, 1000, 30, 6)).astype(np.float32)
    fast = Sweep(
        force_moment=loads, contact=loads[..., 0] > 1, whiskers=array.names, rate_hz=1000.0,
        names=("a",), labels=("",), parameters=({},), flagged=np.zeros((1, 30), bool),
        sampling="average", head_rotation=np.eye(3, dtype=np.float32)[None, None],
    ).save(tmp_path / "fast.sweep.h5")  # fmt: skip
    words = (run_folder, "--stimuli", fast, "--out", tmp_path / "a.h5", "--quiet")
    assert command(capsys, *words)[0] == 0  # 110 Hz, as the run says
    plain = Activations.load(tmp_path / "a.h5")
    assert plain.times_s["input"][-1] == pytest.approx(1.0)
    assert command(capsys, *words, "--recording.method", "average")[0] == 0
    other = Activations.load(tmp_path / "a.h5")
    assert other.times_s["input"][-1] == pytest.approx(1.0)
    assert not np.array_equal(other.layers["input"], plain.layers["input"])
    status, printed, error = command(capsys, *words, "--recording.rate-hz", "220")
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert "from 1000 to 220 Hz': the network was trained at 110 Hz" in error


def test_the_documentation_runs(run_folder, store, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_run").symlink_to(run_folder)
    (tmp_path / "data").symlink_to(store.path)
    text = (ROOT / "docs" / "activations.md").read_text(encoding="utf-8")
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    assert len(lines) == 5
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, line
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    known: dict = {}
    for block in blocks:
        exec(compile(block, "activations.md", "exec"), known)
    own = next(block for block in blocks if "ModuleAdapter" in block)
    assert len([line for line in own.splitlines() if line.strip()]) <= 15
    capsys.readouterr()
    six, mine = Activations.load("six.acts.h5"), Activations.load("mine.acts.h5")
    assert set(six.stimuli) == set(CONDITIONS)
    assert known["acts"].stimuli == CONDITIONS
    assert set(mine.stimuli) == set(CONDITIONS)
    assert mine.layers["memory"].shape == (6, 22, 16)
    assert known["one"].shape == (6, 16)
    assert Activations.load("control.acts.h5").model.endswith("untrained seed 3")
    assert Activations.load("cups.acts.h5").reduction == "mean"
