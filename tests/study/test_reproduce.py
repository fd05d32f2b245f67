"""``vibrissa reproduce``: what it refuses, what it shows, and that it can be killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from vibrissa.cli import main
from vibrissa.study.stages import STUDY

GRID = """
about: As small as can be.
data:
  objects: ["procedural:cup,torus:8"]
  protocol: {protocol: passive-grid, theta_deg: [0, 90], height_mm: [0], distance_mm: [6]}
  validate: 0.25
  test: 0.25
cortex: {animals: 3, sessions: 1, units: 24, trials: 120}
seeds: 2
draws: 50
entries:
  - models: ["tiny:gru+none+linear"]
    recipe: &recipe
      objective: supervised
      epochs: 3
      data: {batch_size: 4}
      optimiser: {type: adamw, lr: 1.0e-3}
    control: true
  - models: ["tiny:zhuang+none+none"]
    recipe: {<<: *recipe, objective: {type: simclr, augmentation: tactile}, probe: none}
    label: "{model}, SimCLR"
"""


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "mini.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, grid_file):
    out = tmp_path_factory.mktemp("undisturbed") / "study"
    began = time.monotonic()
    done = start(grid_file, out)
    printed, errors = done.communicate(timeout=600)
    assert done.returncode == 0, errors
    return out, printed, time.monotonic() - began


def start(grid_file, out):
    words = ["reproduce", "--grid", str(grid_file), "--out", str(out), "--workers", "2", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "vibrissa.cli", *words, "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def results(out):
    """What a reader looks at: the page, tables, figures."""
    kinds = (".html", ".csv", ".svg", ".pdf", ".gif", ".png")
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.suffix in kinds and "run" not in path.relative_to(out).parts
    }


def disturb(out, grid_file, seconds, kills):
    for after, how in kills:
        process = start(grid_file, out)
        try:
            process.communicate(timeout=after * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            _, errors = process.communicate(timeout=120)
            if how == signal.SIGINT and process.returncode:
                assert process.returncode == 130
                # Before it has begun Python itself answers.
                assert "goes on in" in errors or "KeyboardInterrupt" in errors or (
                    errors.strip() == "vibrissa: error: interrupted."
                )  # fmt: skip
        time.sleep(0.3)  # workers end with their parent
    process = start(grid_file, out)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def compare(out, wanted):
    found, expected = results(out), results(wanted)
    assert set(found) == set(expected)
    assert "report.html" in found
    for name, content in expected.items():
        assert found[name] == content, name


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
def test_killed_it_ends_in_the_same_report(undisturbed, grid_file, tmp_path):
    wanted, _, seconds = undisturbed
    disturb(tmp_path / "study", grid_file, seconds, [(0.5, signal.SIGKILL)])
    compare(tmp_path / "study", wanted)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
@pytest.mark.parametrize("trial", range(5))
def test_killed_often(undisturbed, grid_file, tmp_path, trial):
    wanted, _, seconds = undisturbed
    draws = random.Random(trial)
    kills = [(draws.uniform(0.1, 0.9), how) for how in (signal.SIGKILL, signal.SIGINT)]
    disturb(tmp_path / "study", grid_file, seconds, kills)
    compare(tmp_path / "study", wanted)


def test_what_is_printed(undisturbed):
    out, printed, _ = undisturbed
    lines = printed.splitlines()
    assert lines[0] == "6 of 6 cells finished."
    assert lines[-1] == str(out / "report.html")


def test_the_page_gives_intervals_over_seeds(undisturbed):
    out, _, _ = undisturbed
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "over seeds" in text
    assert "Fewer than three seeds" in text
    table = (out / "tables" / "networks.csv").read_text().splitlines()
    assert len(table) == 1 + 3


def test_status(undisturbed, grid_file, capsys):
    out, _, _ = undisturbed
    assert main(["reproduce", "--grid", str(grid_file), "--out", str(out), "--status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "6 done"
    assert all(line.startswith("done") for line in lines[:-1])
    assert sum("%" in line for line in lines) == 6
    # More seeds can be asked for later.
    more = ["reproduce", "--grid", str(grid_file), "--out", str(out), "--status", "--seeds", "3"]
    assert main(more) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "6 done, 3 to do"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], r"scale, grid = 'neither'.*--scale tiny"),
        (["--scale", "tiny", "--grid", "x.yaml"], "scale, grid = 'both'"),
        (["--scale", "paper"], r"--objects FOLDER .*shapenet\.org.*--nwb FOLDER .*neural download"),
        (["--scale", "paper", "--objects", "procedural:9"], r"paper needs .*: --nwb FOLDER"),
        (["--scale", "huge"], "huge"),
        (["--scale", "tiny", "--seeds", "0"], "seeds = 0"),
        (["--scale", "tiny", "--seed", "-1"], "seed = -1"),
        (["--scale", "tiny", "--device", "cuda:77"], "device = 'cuda:77'"),
        (["--grid", "no.yaml"], r"no\.yaml"),
        (["--scale", "tiny", "--status", "--out", "nowhere"], "nowhere.*no such folder"),
    ],
)
def test_what_is_refused(words, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(reason, error), error
    assert not list(tmp_path.iterdir())


def test_another_study_is_not_overwritten(undisturbed, capsys):
    out, _, _ = undisturbed
    before = (out / STUDY).read_bytes()
    assert main(["reproduce", "--scale", "tiny", "--out", str(out)]) == 2
    assert "another" in capsys.readouterr().err
    assert (out / STUDY).read_bytes() == before
