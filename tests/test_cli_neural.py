"""``vibrissa neural ...`` as a user types it."""

import json
import re

import h5py
import numpy as np
import pytest

from vibrissa.cli import main
from vibrissa.neural.synth_truths import SynthTruth

pytest.importorskip("pynwb")
SMALL = ["--animals", "1", "--sessions", "2", "--units", "6", "--trials", "40"]


def run(capsys, *given):
    status = main(["neural", *[str(word) for word in given]])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "r"
    assert main(["neural", "synth", "--out", str(out), *SMALL, "--seed", "3", "--quiet"]) == 0
    return out


def test_synth_says_where(folder, tmp_path, capsys):
    status, out, err = run(capsys, "synth", "--out", tmp_path / "r", *SMALL, "--seed", "3")
    assert (status, out.strip()) == (0, str(tmp_path / "r"))
    assert "2 synthetic recordings" in err
    assert "truth.json" in err
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "r" / path.relative_to(folder)).read_bytes()


@pytest.mark.parametrize("end", [".npy", ".csv"])
def test_synth_takes_a_geometry(tmp_path, capsys, end):
    features = np.random.default_rng(0).normal(size=(6, 30))
    if end == ".npy":
        np.save(tmp_path / "f.npy", features)
    else:
        np.savetxt(tmp_path / "f.csv", features, delimiter=",", fmt="%.17g")
    status, _, _ = run(
        capsys, "synth", "--out", tmp_path / "r", "--animals", 1, "--sessions", 1, "--units", 16,
        "--trials", 20, "--population", "exact", "--tuning", 0.2,
        "--geometry", tmp_path / f"f{end}",
    )  # fmt: skip
    assert status == 0
    truth = SynthTruth.load(tmp_path / "r" / "truth.json")
    np.testing.assert_allclose(truth.rdm(), 1 - np.corrcoef(features), atol=1e-9)


def test_synth_takes_the_layer_of_activations(tmp_path, capsys):
    activations = pytest.importorskip("vibrissa.activations.container")
    from vibrissa.neural.conditions import CONDITIONS

    values = np.random.default_rng(1).normal(size=(6, 40)).astype(np.float32)
    names = CONDITIONS[::-1]
    activations.Activations.from_arrays({"fc": values}, stimuli=names).save(tmp_path / "a.h5")
    common = [
        "synth", "--animals", 1, "--sessions", 1, "--units", 16, "--trials", 20,
        "--population", "exact", "--tuning", 0.2, "--geometry", tmp_path / "a.h5",
    ]  # fmt: skip
    status, _, _ = run(capsys, *common, "--out", tmp_path / "r", "--layer", "fc")
    assert status == 0
    truth = SynthTruth.load(tmp_path / "r" / "truth.json")
    # Stimuli go by name: the rows of the layer stand in the opposite order.
    np.testing.assert_allclose(truth.rdm(), 1 - np.corrcoef(values[::-1]), atol=1e-5)
    status, _, err = run(capsys, *common, "--out", tmp_path / "q")
    assert status == 2
    assert "name one" in err


def test_inspect_prints_a_page(folder, tmp_path, capsys):
    figure = tmp_path / "clock.png"
    status, out, err = run(capsys, "inspect", folder, "--quiet", "--figure", figure)
    assert status == 0
    assert "2 of 2 files can be used" in out
    assert "the clocks agree" in out
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert "WARNING" not in err


def test_inspect_prints_one_document(folder, capsys):
    status, out, _ = run(capsys, "inspect", folder, "--quiet", "--json")
    found = json.loads(out)
    assert status == 0
    assert [one["clock"]["status"] for one in found] == ["ok", "ok"]
    assert all(one["usable"] for one in found)


def test_inspect_is_loud_when_the_clock_is_shifted(folder, capsys):
    status, out, err = run(
        capsys, "inspect", folder, "--quiet", "--json", "--subtract-recording-start"
    )
    assert status == 2  # none of them can be used
    assert err.count("WARNING") == 2
    assert "THE CLOCKS DISAGREE" in err
    assert [one["usable"] for one in json.loads(out)] == [False, False]
    assert all(abs(one["clock"]["shift_s"] + 10) < 0.01 for one in json.loads(out))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["inspect", "nowhere.nwb"], "no such file or folder"),
        (["inspect", "FOLDER", "--trials", "corect"], "did you mean 'correct'"),
        (["inspect", "FOLDER", "--window", "contact", "--quiet"], "did you mean 'contacts'"),
        (["inspect", "FOLDER", "--mapping", "no.yaml"], "there is no such file"),
        (["inspect", "FOLDER", "--quiet", "--figure", "x.gif"], "no such figure format"),
        (["synth", "--out", "OUT", "--animals", "0"], "animals = 0"),
        (["synth", "--out", "OUT", "--geometry", "no.csv"], "no table of numbers"),
        (["download", "--out", "OUT", "--dandiset", "231"], "six digits"),
    ],
)
def test_bad_input_is_one_line(folder, tmp_path, capsys, given, text):
    words = [str(folder) if w == "FOLDER" else str(tmp_path) if w == "OUT" else w for w in given]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert text in err
    assert err.count("\n") == 1


def test_download_without_dandi(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dandi", None)
    status, _, err = run(capsys, "download", "--out", tmp_path / "x")
    assert status == 2
    assert "pip install" in err
    assert "dandi download" in err
    assert err.count("\n") == 1


def test_inspect_tells_by_its_exit_status_whether_files_can_be_used(folder, tmp_path, capsys):
    """Whatever the reason: here a file whose trials all lie after the recording."""
    for k, source in enumerate(sorted(folder.rglob("*.nwb"))):
        (tmp_path / f"{k}.nwb").write_bytes(source.read_bytes())
    assert run(capsys, "inspect", tmp_path, "--quiet")[0] == 0
    with h5py.File(tmp_path / "1.nwb", "r+") as file:
        file["acquisition/extracellular array recording/starting_time"][()] = 1e6  # pyright: ignore
    status, out, _ = run(capsys, "inspect", tmp_path, "--quiet")
    assert (status, "1 of 2 files can be used" in out) == (1, True)
    status, out, _ = run(capsys, "inspect", tmp_path / "1.nwb", "--quiet")
    assert (status, "0 of 1 files can be used" in out) == (2, True)


def test_text_in_place_of_times_is_a_sentence(folder, tmp_path, capsys):
    path = tmp_path / "text.nwb"
    path.write_bytes(next(folder.rglob("*.nwb")).read_bytes())
    with h5py.File(path, "r+") as file:
        n = len(file["intervals/trials/id"])  # pyright: ignore
        del file["intervals/trials/start_time"]
        file["intervals/trials/start_time"] = ["noon"] * n
    status, out, _ = run(capsys, "inspect", path, "--quiet")
    assert status == 2
    assert "'start_time' holds text, not times (the first is 'noon')" in out


def test_synth_of_one_unit(tmp_path, capsys):
    """The correlation of one number with another is undefined: null, not a broken document."""
    status, _, _ = run(
        capsys, "synth", "--out", tmp_path / "r", "--animals", 1, "--sessions", 1, "--units", 1,
        "--trials", 20,
    )  # fmt: skip
    assert status == 0
    tree = json.loads((tmp_path / "r" / "truth.json").read_text())
    assert tree["rdm_correlation"] == [[None] * 6] * 6
    assert SynthTruth.load(tmp_path / "r" / "truth.json").rates().shape == (6, 1)


@pytest.mark.parametrize("command", ["inspect", "synth", "download"])
def test_every_option_says_what_it_does(command, capsys):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0
    # Options stand at the left edge, in a frame or not; their text is indented further.
    options = re.split(r"\n[│ ] ? ?(?=--[a-z])", out.replace(" │\n", "\n"))[1:]
    assert len(options) > 4
    for option in options:
        # The name, what it takes, then what it does, and the default.
        does = re.sub(r"\(default:[^)]*\)|[╭╰].*", "", option.split(maxsplit=1)[1])
        does = re.sub(r"\{[^}]*\}|\b[A-Z][A-Z|]*\b|\W+", " ", does)
        assert len(does.split()) >= 2, option


def test_a_flag_that_switches_off_says_so(capsys):
    text = " ".join(run(capsys, "synth", "--help")[1].replace("│", " ").split())
    assert "--no-declared-gaps writes files that do not" in text
