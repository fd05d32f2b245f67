"""A whole study, as small as can be: objects, networks, recordings, report."""

import json
import shutil

import pytest

from vibrissa.cli import main
from vibrissa.core.errors import InputError, MissingExtraError
from vibrissa.neural.synth import SynthConfig
from vibrissa.study import stages, work
from vibrissa.study.grids import Entry, Grid, Objects
from vibrissa.study.reporting import write_report
from vibrissa.study.stages import LOADS, StudyConfig, run_study, status
from vibrissa.study.tables import runs_table

RECIPE = {
    "objective": "supervised", "epochs": 2, "data": {"batch_size": 8},
    "optimiser": {"type": "adamw", "lr": 1.0e-3},
}  # fmt: skip


def a_study(**changes):
    grid = Grid(
        about="As small as can be.",
        data=Objects(
            objects=("procedural:cup,torus:8",),
            protocol={"protocol": "passive-grid", "theta_deg": [0, 90], "height_mm": [0],
                      "distance_mm": [6]},
            validate=0.25, test=0.25,
        ),
        cortex=SynthConfig(animals=3, sessions=1, units=24, trials=120),
        seeds=1,
        entries=(Entry(models=("tiny:gru+none+linear",), recipe=RECIPE, control=True),),
        draws=50,
    )  # fmt: skip
    return StudyConfig(**{"name": "small", "grid": grid, "quiet": True} | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    result = run_study(a_study(), path)
    return path, result, write_report(result)


def test_every_stage_gives_what_the_next_one_needs(folder):
    path, result, files = folder
    assert [cell["status"] for cell in result.cells] == ["finished", "finished"]
    assert not result.failed
    runs = runs_table(result)
    assert runs["accuracy"].between(0, 1).all()
    assert set(result.alignment.models["model"]) == {
        LOADS, "tiny:gru+none+linear seed 0", "tiny:gru+none+linear, untrained seed 0"
    }  # fmt: skip
    assert [state for _, state, _ in status(a_study(), path)] == ["done", "done"]
    assert all(file.stat().st_size for file in files)


def test_known_truth_is_found(folder):
    """The synthetic cortex is tuned to what the whiskers feel."""
    _, result, _ = folder
    row = result.alignment.value(LOADS, "input", "pooled")
    assert row["score"] > 0.85
    assert row["p"] < 0.02


def test_the_page_says_what_is_synthetic_and_shows_each_network(folder):
    path, result, _ = folder
    text = (path / "report.html").read_text(encoding="utf-8")
    assert "Synthetic recordings." in text
    for cell in result.cells:
        assert cell["label"] in text
    assert "undecided at this scale" in text
    assert "supported</td>" not in text.replace("not supported</td>", "")
    assert "Fewer than three seeds" in text


def test_a_study_goes_on_and_ends_in_the_same_page(folder, tmp_path):
    path, _, _ = folder
    wanted = {f.name: f.read_bytes() for f in path.rglob("*") if f.suffix in (".html", ".csv")}
    again = tmp_path / "again"
    shutil.copytree(path, again)
    (again / "report.html").unlink()
    shutil.rmtree(again / "recordings")
    (again / "alignment.h5").unlink()
    trained = next(p for p in (again / "cells").iterdir() if "supervised" in p.name)
    (trained / work.RESULT).unlink()  # killed after the training, before it was written down
    write_report(run_study(a_study(), again))
    for name, content in wanted.items():
        if name in ("report.html", "accuracy.csv", "alignment.csv", "findings.csv"):
            assert next(again.rglob(name)).read_bytes() == content, name


def test_an_interrupted_training_interrupts_the_study(tmp_path, monkeypatch, folder):
    path, _, _ = folder
    other = tmp_path / "other"
    shutil.copytree(path, other)
    trained = next(p for p in (other / "cells").iterdir() if "supervised" in p.name)
    shutil.rmtree(trained)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "_trained", stop)
    with pytest.raises(KeyboardInterrupt):
        run_study(a_study(), other)
    monkeypatch.undo()
    states = {cell.objective: state for cell, state, _ in status(a_study(), other)}
    assert states == {"supervised": "to do", "untrained": "done"}
    run_study(a_study(), other)
    found, wanted = (
        json.loads((root / "cells" / trained.name / work.RESULT).read_text())
        for root in (other, path)
    )
    assert found == wanted


def test_what_is_refused(folder, tmp_path, capsys):
    path, _, _ = folder
    with pytest.raises(InputError, match=r"seed = 1: .* holds a study with another seed"):
        run_study(a_study(seed=1), path)
    with pytest.raises(InputError, match="workers = -1"):
        a_study(workers=-1)
    broken = tmp_path / "broken"
    shutil.copytree(path, broken)
    file = next(broken.rglob(work.RESULT))
    file.write_text("{")
    with pytest.raises(InputError, match="remove it, and run again"):
        run_study(a_study(), broken)
    (tmp_path / "taken").write_text("in the way")
    assert main(["demo", "--out", str(tmp_path / "taken")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["demo", "--out", str(tmp_path / "d"), "--seed", "-1"]) == 2
    assert "seed = -1" in capsys.readouterr().err


def test_what_is_not_installed_is_told_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "NEEDED", (("no_such_module", "train", "training"),))
    with pytest.raises(
        MissingExtraError, match=r"training needs no_such_module.*vibrissa\[train\]"
    ):
        run_study(a_study(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stages_are_named_in_the_docstring():
    for name in (stages.STIMULI, stages.STUDY.replace("study.json", "alignment.h5")):
        assert name in (stages.__doc__ or "")
