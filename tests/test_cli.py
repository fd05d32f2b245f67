import json
import subprocess
import sys

import pytest

from vibrissa import cli
from vibrissa.cli import main


def test_overview_names_every_verb(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    for verb in cli.VERBS:
        assert verb.name in text
        assert verb.help in text


@pytest.mark.parametrize("verb", [verb.name for verb in cli.VERBS])
def test_every_verb_has_help(verb, capsys):
    assert main([*verb.split(), "--help"]) == 0
    assert f"vibrissa {verb}" in capsys.readouterr().out


def test_help_is_light():
    code = (
        "import sys; from vibrissa.cli import main; main(['--help']); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'warp', 'numpy', 'tyro')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_list(capsys):
    assert main(["list"]) == 0
    assert "physical" in capsys.readouterr().out
    assert main(["list", "arrays", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"arrays"}


def test_doctor_prints_one_document(capfd):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["problems"] == []
    assert found["devices"]["torch"][0].startswith("cpu")
    assert found["devices"]["warp"]
    assert found["versions"]["numpy"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["doctr"], "did you mean 'doctor'"),
        (["list", "parameterz"], "did you mean 'parameters'"),
        (["list", "--jsn"], "--jsn"),
        (["list", "a", "b"], "Unrecognized options: b. See: vibrissa list --help"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, complaint, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("vibrissa: error: ")
    assert complaint in err


def test_debug_shows_the_traceback(capsys):
    assert main(["--debug", "doctr"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_is_status_130(monkeypatch, capsys):
    def stop(words):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", stop)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "vibrissa: error: interrupted.\n"


def test_the_installed_program_runs():
    done = subprocess.run(
        [sys.executable, "-m", "vibrissa.cli", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert done.stdout.startswith("vibrissa ")
