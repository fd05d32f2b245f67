"""``vibrissa dataset ...`` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_farm import contents

from vibrissa.cli import main
from vibrissa.data.store import SweepStore
from vibrissa.morphology import mouse_array

PROTOCOL = """\
protocol: passive-grid
distance_mm: [4.0, 6.0]
sweep:
  duration_s: 0.2
  diagonal_mm: 20.0
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Options of a build that takes a second."""
    folder = tmp_path_factory.mktemp("options")
    (folder / "mine.yaml").write_text(PROTOCOL)
    mouse_array().select(["RC1", "RC2"]).to_table(folder / "two.csv")
    return [
        "dataset", "build", "--objects", "procedural:cup,box,torus:9",
        "--protocol", str(folder / "mine.yaml"), "--array", str(folder / "two.csv"),
        "--solver.grid-spacing-mm", "0.5", "--workers", "0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def data(words, tmp_path_factory):
    out = tmp_path_factory.mktemp("set") / "data"
    assert main([*words, "--out", str(out)]) == 0
    return out


def run(capsys, *given):
    status = main([str(word) for word in given])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_build_says_what_it_did_and_goes_on(words, data, capsys):
    before = contents(data)
    status, out, err = run(capsys, *words, "--out", data)
    assert (status, out.strip()) == (0, str(data))
    assert "0 objects made (0 sweeps), 9 kept" in err
    assert contents(data) == before
    store = SweepStore.open(data)
    assert len(store) == 18
    assert store.table["distance_mm"].tolist() == [4.0, 6.0] * 9
    assert "by_object" in store.splits


def test_build_refuses_other_settings(words, data, capsys):
    status, _, err = run(capsys, *words, "--quiet", "--out", data, "--seed", "1")
    assert status == 2
    assert "seed = 1" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--out", "x"], "needs some"),
        (["--out", "x", "--objects", "procedural:some"], "no number of objects"),
        (["--out", "x", "--objects", "procedural:3", "--part", "4/3"], "not K/N"),
        (["--out", "x", "--objects", "procedural:3", "--protocol", "nothing"], "no such name"),
        (["--out", "x", "--objects", "procedural:3", "--workers", "-1"], "negative"),
        (["--out", "x", "--objects", "procedural:3", "--scheduler", "nowhere"], "scheduler"),
        (["--out", "x", "--objects", "a", "--protocol", "rodgers6"], "brings its own"),
        (["--out", "x", "--protocol", "rodgers6", "--placement", "clean"], "places its own"),
        (["--objects", "procedural:3"], "out"),
    ],
)
def test_bad_options_give_one_line(given, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, "dataset", "build", *given)
    assert status == 2
    assert text in err
    assert err.strip().count("\n") == 0
    assert out == ""
    assert "Traceback" not in err


def test_failures_make_it_exit_with_1(words, capsys, tmp_path):
    mesh = tmp_path / "meshes" / "cup" / "broken.stl"
    mesh.parent.mkdir(parents=True)
    mesh.write_bytes(b"no mesh")
    options = ["--objects", str(tmp_path / "meshes"), "--out", str(tmp_path / "data")]
    status, _, err = run(capsys, *words, *options)
    assert status == 1
    assert "failed cup/broken" in err
    assert "failures" in err
    status, out, _ = run(capsys, "dataset", "check", tmp_path / "data")
    assert status == 1
    assert "cup/broken" in out
    assert len(SweepStore.open(tmp_path / "data")) == 18


def test_published_placement_counts_overlap(words, capsys, tmp_path):
    options = ["--placement", "published", "--out", str(tmp_path / "data")]
    assert run(capsys, *words, *options)[0] == 0
    table = SweepStore.open(tmp_path / "data").table
    assert set(table["start"]) == {"published"}
    assert table["overlapping"].to_numpy().min() >= 0


def test_check(data, capsys):
    status, out, _ = run(capsys, "dataset", "check", data)
    assert status == 0
    assert "9 shards with 18 sweeps are whole: sound." in out
    status, out, err = run(capsys, "dataset", "check", data, "--json")
    assert json.loads(out)["sound"] is True
    assert err == ""


def test_info_and_plot(data, capsys, tmp_path):
    status, out, _ = run(capsys, "dataset", "info", data, "--figure", tmp_path / "info.png")
    assert status == 0
    assert "9 in 3 classes" in out
    assert (tmp_path / "info.png").stat().st_size > 10_000
    status, out, _ = run(capsys, "dataset", "info", data, "--json")
    assert json.loads(out)["sweeps"] == 18
    plot = ["dataset", "plot", data, "--query", "label == 'cup'", "--out", tmp_path / "plot.png"]
    assert run(capsys, *plot)[0] == 0
    assert (tmp_path / "plot.png").stat().st_size > 10_000
    status, _, err = run(capsys, "dataset", "plot", data, "--query", "label == 'cap'")
    assert (status, "no sweep fits" in err) == (2, True)
    status, _, err = run(capsys, "dataset", "plot", data, "--query", "labels == 'cap'")
    assert (status, "use the columns" in err) == (2, True)


def test_split(data, capsys):
    status, _, err = run(capsys, "dataset", "split", data, "--kind", "by_sweep", "--seed", "4")
    assert status == 0
    assert "objects cross" in err
    split = SweepStore.open(data).split("by_sweep")
    assert split.normalisation("rms", "base") is not None
    status, _, err = run(capsys, "dataset", "split", data, "--kind", "by_objects")
    assert (status, "did you mean" in err) == (2, True)
    status, _, err = run(capsys, "dataset", "split", data, "--kind", "by_draw")
    assert (status, "part" in err) == (2, True)


def test_export_and_import(data, capsys, tmp_path):
    assert run(capsys, "dataset", "export", data, "--out", tmp_path / "npz")[0] == 0
    files = sorted((tmp_path / "npz").glob("*/*.npz"))
    assert len(files) == 18
    with np.load(files[0], allow_pickle=False) as file:
        assert {"data", "label", "shape"} <= set(file.files)
    status, _, err = run(
        capsys, "dataset", "export", data, "--out", tmp_path / "other", "--split", "none",
        "--layout", "webdataset",
    )  # fmt: skip
    assert status == 2
    assert "name a split" in err


def test_unknown_folder(capsys, tmp_path):
    for verb in ("check", "info", "plot", "split", "baseline"):
        status, _, err = run(capsys, "dataset", verb, tmp_path)
        assert status == 2
        assert "no data set" in err
        assert err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX systems")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopped_politely(words, data, tmp_path, sign):
    """Ctrl-C and a batch system's end: one remark, no traceback, and the rerun goes on."""
    out = tmp_path / "data"
    command = [sys.executable, "-m", "vibrissa.cli", *words, "--workers", "2", "--out", str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log = out / "log" / "build.log"
    ends = time.monotonic() + 60
    while not (log.exists() and "done" in log.read_text()):
        assert time.monotonic() < ends
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    if sign == signal.SIGINT:
        os.killpg(process.pid, sign)  # as a terminal does
    else:
        process.terminate()
    _, err = process.communicate(timeout=30)
    if process.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert process.returncode == 130
    assert "Run the same command again to go on" in err
    assert "Traceback" not in err
    assert list(out.rglob("*.partial*")) == []
    assert main([*words, "--quiet", "--out", str(out)]) == 0
    assert contents(out, without=("log", "splits")) == contents(data, without=("log", "splits"))
