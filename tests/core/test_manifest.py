import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.core.manifest import Manifest, to_tree, version_of, versions


class Rule(Enum):
    BEAM = 1


@dataclass(frozen=True)
class Inner:
    gains: tuple[float, ...] = (0.5, float("inf"))
    rule: Rule = Rule.BEAM


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    path: Path = Path("a/b")
    small: np.ndarray = field(default_factory=lambda: np.arange(3))
    large: np.ndarray = field(default_factory=lambda: np.arange(100.0))
    number: np.floating = field(default_factory=lambda: np.float32(0.5))


def test_tree_of_nested_dataclasses():
    tree = to_tree(Outer())
    assert tree["type"].endswith("Outer")
    assert tree["inner"]["gains"] == [0.5, "inf"]
    assert tree["inner"]["rule"] == "BEAM"
    assert tree["path"] == "a/b"
    assert tree["small"] == [0, 1, 2]
    assert tree["large"]["shape"] == [100]
    assert len(tree["large"]["sha256"]) == 64
    assert tree["number"] == 0.5
    json.dumps(tree, allow_nan=False)


def test_round_trip_and_determinism():
    one = Manifest.of("sweep", Outer(), seed=3, inputs={"mug.obj": "00"})
    two = Manifest.of("sweep", Outer(), seed=3, inputs={"mug.obj": "00"})
    assert one.to_json() == two.to_json()
    assert Manifest.from_json(one.to_json()) == one
    assert Manifest.from_json(one.to_json()).to_json() == one.to_json()


def test_versions_come_without_importing():
    found = versions()
    assert found["numpy"] == np.__version__
    assert "python" in found
    assert version_of("no-such-package-at-all") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "x.json: not JSON"),
        ("[]", "x.json: not a manifest"),
        ('{"manifest": 99}', "x.json: version = 99: .*upgrade vibrissa"),
        ('{"manifest": 1, "what": "sweep"}', "missing or unknown fields"),
    ],
)
def test_what_is_no_manifest_is_refused(text, complaint):
    with pytest.raises(InputError, match=complaint):
        Manifest.from_json(text, origin="x.json")


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array([object()])])
def test_what_has_no_json_form_is_refused(value):
    with pytest.raises(InputError, match="manifest = "):
        to_tree(value)
