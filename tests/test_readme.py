"""The README: its Python runs, its commands exist, what it points to is there."""

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vibrissa.cli import VERBS, main
from vibrissa.objects import procedural_classes
from vibrissa.simulation import Sweep

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_python_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len(code.strip().splitlines()) <= 12
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    lines = [line for line in printed.getvalue().splitlines() if "load on device" not in line]
    assert lines[0] == "(1, 1000, 30, 6)"
    assert lines[0] in code
    assert float(lines[1].split()[0]) > 100.0
    assert Sweep.load("cup.sweep.h5").contact.any()
    assert (tmp_path / "traces.png").stat().st_size > 10_000


@pytest.mark.parametrize("line", [x for b in blocks("sh") for x in b.splitlines() if "vib" in x])
def test_commands_exist(line, capsys, tmp_path, monkeypatch):
    words = shlex.split(line, comments=True)
    assert words[0] == "vibrissa"
    names = {verb.name for verb in VERBS}
    assert words[1] in names or " ".join(words[1:3]) in names
    monkeypatch.chdir(tmp_path)
    # A folder in the way: every option is understood, and the refusal is the only one.
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "some.obj").write_text("nothing")
    (tmp_path / "out").write_text("in the way")
    (tmp_path / "data").write_text("in the way")
    if words[1] == "simulate":
        assert main(words[1:]) == 2
        assert "out: cannot be written" in capsys.readouterr().err
    if words[1:3] == ["dataset", "build"]:
        assert main(words[1:]) == 2
        assert "data/shards: cannot be made" in capsys.readouterr().err


def test_the_quick_start_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "quickstart.md", "exec"), found)
    assert found["touched"].sum() > 5
    assert "whisker's base" in capfd.readouterr().out
    assert found["active"].contact.any()
    assert found["plan"].overlapping == {"convex close": ("RC2", "RC3")}
    assert found["stimuli"].contact.any(axis=(1, 2)).all()
    assert np.abs(found["world"]).max() > 10.0
    assert not list(tmp_path.glob("*.h5"))


def test_make_targets_exist():
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make ([a-z]+) ", TEXT.replace("`", " ")):
        if target in ("demo", "test", "slow", "validate", "bench", "bench-data", "stress"):
            assert f"\n{target}:" in rules


def test_what_is_pointed_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if "://" not in target:
            assert (ROOT / target).is_file(), target


def test_the_picture_is_small():
    path = ROOT / "docs" / "images" / "demo.png"
    assert path.stat().st_size <= 300_000
    with Image.open(path) as picture:
        assert picture.width >= 1000


def test_counts_are_true():
    assert f"{len(procedural_classes())} procedural classes" in TEXT
