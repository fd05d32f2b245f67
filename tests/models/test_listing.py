"""``vibrissa list`` knows models and parts, with parameters and cost."""

from __future__ import annotations

import json

import pytest

from vibrissa.cli import main
from vibrissa.models import attenders, decoders, encoders, zoo


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("encoders", encoders.names()), ("attenders", attenders.names()),
        ("decoders", decoders.names()), ("zoo", tuple(zoo())),
    ],
)  # fmt: skip
def test_families(family, names, capsys):
    assert main(["list", family, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert tuple(found[family]) == names


def test_models(capsys):
    assert main(["list", "models"]) == 0
    out = capsys.readouterr().out
    assert "inter_ln+gpt+linear" in out
    assert "63,767,509 parameters" in out
    assert "GFLOP" in out
