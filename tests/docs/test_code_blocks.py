"""Code in README and docs: Python blocks run, commands are understood, files that are shown load.

A fence with ``<!-- not run: reason -->`` on the line before it is left out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

import vibrissa.cli as cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# Pages whose Python is run, and its results looked at, by the tests of the room they tell of.
RUN_BY = {
    "README.md": "tests/test_readme.py",
    "docs/quickstart.md": "tests/test_readme.py",
    "docs/tnn.md": "tests/tnn/test_docs.py",
    "docs/models.md": "tests/models/test_docs.py",
    "docs/training.md": "tests/train/test_docs.py",
    "docs/objectives.md": "tests/objectives/test_docs.py",
    "docs/augmentation.md": "tests/augment/test_docs.py",
    "docs/activations.md": "tests/test_cli_activations.py",
    "docs/alignment.md": "tests/neural/test_align_docs.py",
}
FENCE = re.compile(
    r"(?P<mark><!-- not run: (?P<why>[^>]*) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    text: str
    left_out: str


def blocks(text: str, page: str) -> list[Block]:
    return [
        Block(page, found["language"], found["text"], (found["why"] or "").strip())
        for found in FENCE.finditer(text)
    ]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


BLOCKS = [b for path in PAGES for b in blocks(path.read_text("utf-8"), name_of(path))]
PYTHON = {
    page: [b for b in BLOCKS if b.page == page and b.language == "python" and not b.left_out]
    for page in sorted({b.page for b in BLOCKS})
}


def commands() -> list[tuple[str, str]]:
    """Page and command, of fences and of indented lines, with continued lines joined."""
    texts = [(b.page, b.text) for b in BLOCKS if b.language == "sh" and not b.left_out]
    for path in PAGES:
        bare = FENCE.sub("", path.read_text("utf-8"))
        texts.append((name_of(path), "\n".join(re.findall(r"^ {4}(.+)$", bare, re.MULTILINE))))
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb")):
        nbformat = pytest.importorskip("nbformat")
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                texts += [(name_of(path), b.text) for b in blocks(cell.source, "")]
            elif cell.source.startswith("%%sh"):
                texts.append((name_of(path), cell.source))
    found: list[tuple[str, str]] = []
    for page, text in texts:
        for line in re.sub(r" *\\\n\s*", " ", text).splitlines():
            words = line.split("#")[0].split()
            if any(word in ("vibrissa", "make", "python", "pip") for word in words[:3]):
                found.append((page, line.strip()))
    return found


COMMANDS = commands()


def words_of(line: str, program: str) -> list[str] | None:
    """What follows the program in a line, up to a pipe or a redirection; None if it is not run.

    Variables of the shell stand for numbers.
    """
    words = shlex.split(re.sub(r"\$\w+", "1", line), comments=True)
    if program not in words:
        return None
    words = words[words.index(program) + 1 :]
    ends = [k for k, word in enumerate(words) if word in ("|", ">", "&&", ";", "&")]
    return words[: ends[0]] if ends else words


# --- Python ---------------------------------------------------------------------------------


def test_blocks_are_found() -> None:
    assert sum(map(len, PYTHON.values())) > 40
    assert len(COMMANDS) > 60
    assert {block.language for block in BLOCKS} <= {"python", "sh", "yaml", "json", ""}


def test_what_is_left_out_has_a_reason() -> None:
    left_out = [block for block in BLOCKS if block.left_out]
    assert len(left_out) <= 5
    marks = sum(path.read_text("utf-8").count("<!-- not run") for path in PAGES)
    assert marks == len(left_out), "a mark without a reason, or not right before a fence"


@pytest.mark.parametrize("page", [page for page, found in PYTHON.items() if found])
def test_python_is_run_somewhere(page: str) -> None:
    if page not in RUN_BY:
        return  # by the next test
    text = (ROOT / RUN_BY[page]).read_text("utf-8")
    assert Path(page).name in text
    assert "exec(compile(" in text or "subprocess.run(" in text


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set and the recordings that the pages take for granted."""
    pytest.importorskip("pynwb")
    from vibrissa.neural import SynthConfig, write_synth

    folder = tmp_path_factory.mktemp("docs")
    build = (
        "dataset build --objects procedural:cup,box:12 --protocol passive --workers 0 --quiet "
        f"--solver.grid-spacing-mm 1 --out {folder / 'data'}"
    )
    assert cli.main(build.split()) == 0
    write_synth(folder / "recordings", SynthConfig(animals=1, sessions=1, trials=40), quiet=True)
    return folder


@pytest.mark.parametrize("page", [p for p, found in PYTHON.items() if found and p not in RUN_BY])
def test_python_runs(page: str, prepared: Path, tmp_path: Path) -> None:
    """The blocks of a page, in order, in one process of their own."""
    for name in ("data", "recordings"):
        (tmp_path / name).symlink_to(prepared / name)
    script = tmp_path / "page.py"
    script.write_text("\n".join(block.text for block in PYTHON[page]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg",
             "VIBRISSA_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# --- commands -------------------------------------------------------------------------------


def understood(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The configuration that the command line makes of the words, before it does anything."""
    made: list[Any] = []

    def parse_only(verb: cli.Verb, rest: list[str]) -> int:
        module, _, name = verb.target.partition(":")
        hints = get_type_hints(getattr(import_module(module), name))
        hints.pop("return", None)
        (config_type,) = hints.values()
        made.append(cli._parse(config_type, verb, rest))
        return 0

    monkeypatch.setattr(cli, "_run", parse_only)
    assert cli.main(words) == 0
    return made[0] if made else None


VIBRISSA = sorted({(p, line) for p, line in COMMANDS if words_of(line, "vibrissa") is not None})


@pytest.mark.parametrize(("page", "line"), VIBRISSA)
def test_commands_are_understood(
    page: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_of(line, "vibrissa")
    assert words
    if "--help" in words or words == ["--version"]:
        assert cli.main(words) == 0
        return
    config = understood(words, monkeypatch)
    assert not isinstance(config, int), capsys.readouterr().err
    assert config is not None


def test_a_wrong_command_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert understood(["train", "data", "--out", "run", "--epoch", "3"], monkeypatch) == 2


def test_other_commands_exist() -> None:
    """Scripts with the options they are given, targets of make, extras of pip."""
    rules = (ROOT / "Makefile").read_text("utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    seen = set()
    for page, line in COMMANDS:
        for target in [w for w in words_of(line, "make") or [] if "=" not in w]:
            assert f"\n{target}:" in rules, (page, line)
            seen.add("make")
        words = words_of(line, "python") or []
        if words and words[0].endswith(".py"):
            script = ROOT / words[0]
            assert script.is_file(), (page, line)
            source = script.read_text("utf-8")
            for option in [w for w in words[1:] if w.startswith("--")]:
                assert f'"{option}"' in source, (page, line)
            seen.add("python")
    for path in PAGES:
        for names in re.findall(r'pip install "?vibrissa\[([\w,]+)\]', path.read_text("utf-8")):
            assert set(names.split(",")) <= set(extras), (path.name, names)
            seen.add("pip")
    assert seen == {"make", "python", "pip"}


# --- files that are shown -------------------------------------------------------------------


def test_yaml_is_yaml() -> None:
    for block in BLOCKS:
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict), block.page


def test_the_protocol_that_is_shown_loads(tmp_path: Path) -> None:
    from vibrissa.simulation import protocol_from_yaml

    (block,) = [b for b in BLOCKS if b.page == "docs/datasets.md" and b.language == "yaml"]
    (tmp_path / "mine.yaml").write_text(block.text, encoding="utf-8")
    assert protocol_from_yaml(tmp_path / "mine.yaml")


def test_the_mapping_that_is_shown_loads(tmp_path: Path) -> None:
    from vibrissa.neural import RecordingMapping

    (block,) = [b for b in BLOCKS if b.page == "docs/recordings.md" and b.language == "yaml"]
    (tmp_path / "touch.yaml").write_text(block.text, encoding="utf-8")
    mapping = RecordingMapping.from_yaml(tmp_path / "touch.yaml")
    assert mapping.conditions == ("smooth slow", "smooth fast", "rough slow", "rough fast")
    assert mapping.columns_of_condition() == ("texture", "speed")
