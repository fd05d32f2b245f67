"""``vibrissa align`` from the command line."""

import contextlib
import json

import numpy as np
import pandas as pd
import pytest

from vibrissa.activations.container import Activations
from vibrissa.cli import main
from vibrissa.neural.alignment import Alignment
from vibrissa.neural.conditions import CONDITIONS

FAST = ["--draws", "30", "--folds", "3", "--quiet"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("activations")
    rng = np.random.default_rng(0)
    layers = {f"conv{k}": rng.standard_normal((6, 2, 30)) for k in range(3)}
    net = Activations.from_arrays(layers, stimuli=CONDITIONS, model="net")
    other = Activations.from_arrays(
        {"conv0": rng.standard_normal((6, 2, 30))}, stimuli=[*CONDITIONS[:5], "ball"], model="odd"
    )
    return net.save(folder / "net.acts.h5"), other.save(folder / "odd.acts.h5")


def test_json_and_files(files, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["align", str(files[0]), "--synthetic", "1", "--truth", "conv1", "--out", str(out),
             "--json", "--published", *FAST]  # fmt: skip
    assert main(words) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert document["models"][0]["best_layer"] == "conv1"
    assert {step["step"] for step in document["published"]} >= {"as published", "all draws"}
    table = Alignment.load(out / "alignment.h5").table
    assert len(table) == len(document["table"]) == 3 * 8
    assert np.allclose(pd.read_csv(out / "alignment.csv")["raw"], table["raw"])
    assert (out / "alignment.png").stat().st_size > 10_000
    assert (out / "published.csv").exists()


def test_text(files, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["align", str(files[0]), "--synthetic", "1", "--out", str(out), "--measure", "cka",
             "--no-figure", "--draws", "20", "--folds", "0"]  # fmt: skip
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "net" in captured.out
    assert "chosen on the other animals" in captured.out
    assert "fixed" in captured.err
    assert not (out / "alignment.png").exists()


def test_names_are_whole_and_on_one_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    names = [f"zhuang+gpt+linear of a long recipe, {kind}" for kind in ("trained", "untrained")]
    paths = [
        Activations.from_arrays(
            {"conv0": rng.standard_normal((6, 2, 30))}, stimuli=CONDITIONS, model=name
        ).save(tmp_path / f"{k}.acts.h5")
        for k, name in enumerate([*names, "two\nlines"])
    ]
    words = ["align", *map(str, paths), "--synthetic", "1", "--out", str(tmp_path / "o"),
             "--no-figure", "--draws", "20", "--folds", "0"]  # fmt: skip
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3 + 3
    for name in [*names, "two\\nlines"]:
        assert sum(line.strip().startswith(name) for line in lines) == 2
    assert "[-" not in "".join(line.replace("[-0", "") for line in lines)


def test_all_files_are_told_and_none_left_behind(files, tmp_path, capsys, monkeypatch):
    out = tmp_path / "deep" / "out"
    words = ["align", str(files[0]), "--synthetic", "1", "--out", str(out), "--no-figure",
             "--draws", "20", "--folds", "0", "--published"]  # fmt: skip

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vibrissa.neural.aligning.align", stop)
        with contextlib.suppress(KeyboardInterrupt):
            main(words)
    assert not (tmp_path / "deep").exists()
    capsys.readouterr()
    assert main(words) == 0
    said = capsys.readouterr().err
    for path in out.iterdir():
        assert str(path) in said
    assert (out / "published.csv").exists()


def test_an_output_folder_that_is_a_file(files, tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    words = ["align", str(files[0]), "--synthetic", "1", "--out", str(tmp_path / "out"), *FAST]
    assert main(words) == 2
    assert "a file, not a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_one_animal_says_why_there_is_no_score():
    from vibrissa.cli.align import _short
    from vibrissa.neural.aligning import AlignConfig, align
    from vibrissa.neural.synth import SynthConfig, synth_sessions

    sessions = synth_sessions(SynthConfig(animals=1, sessions=2, units=10, trials=110), 5)
    layers = {"a": np.random.default_rng(0).standard_normal((6, 30))}
    found = align(layers, sessions, AlignConfig(draws=20, folds=0), stimuli=CONDITIONS)
    assert "score - (one_animal) no interval" in _short(found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "recordings"),
        (["--synthetic", "1", "--recordings", "x.nwb"], "not both"),
        (["--recordings", "nowhere.nwb"], "nowhere.nwb"),
        (["--synthetic", "1", "--measure", "rsaa"], "rsa"),
        (["--synthetic", "1", "--measure", "ridge", "--rdm", "euclidean"], "rdm"),
        (["--synthetic", "1", "--truth", "conv9"], "conv0"),
        (["--synthetic", "1", "--task", "detection"], "detection"),
        (["--synthetic", "1", "--conditions", "convex near"], "convex near"),
        (["--synthetic", "-1"], "seed"),
    ],
)
def test_bad_input_is_one_line(files, tmp_path, capsys, words, said):
    status = main(["align", str(files[0]), "--out", str(tmp_path / "o"), *FAST, *words])
    captured = capsys.readouterr()
    assert status == 2
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    assert said in captured.err


def test_other_stimuli_and_missing_files(files, tmp_path, capsys):
    for file, said in ((files[1], "convex far"), (tmp_path / "none.h5", "none.h5")):
        assert main(["align", str(file), "--synthetic", "1", "--out", str(tmp_path), *FAST]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert len(captured.err.strip().splitlines()) == 1
