from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from vibrissa.core import registry as module
from vibrissa.core.errors import InputError
from vibrissa.core.registry import Registry


@dataclass(frozen=True)
class Gru:
    width: int = 3

    def build(self, scale: int) -> int:
        return self.width * scale


@dataclass(frozen=True)
class Lstm:
    width: int = 3


@pytest.fixture
def cells() -> Registry:
    registry: Registry = Registry("cells")
    assert registry.register("gru")(Gru) is Gru
    registry.register("lstm")(Lstm)
    return registry


def test_names_and_members(cells):
    assert cells.names() == ("gru", "lstm")
    assert cells.get("gru") is Gru
    assert cells.name_of(Gru) == cells.name_of(Gru(4)) == "gru"
    assert "gru" in cells
    assert "x" not in cells
    assert list(cells) == ["gru", "lstm"]
    assert len(cells) == 2


def test_duplicates_raise_but_the_same_again_does_not(cells):
    cells.register("gru")(Gru)
    with pytest.raises(InputError, match="cells = 'gru': already registered"):
        cells.register("gru")(Lstm)


def test_bad_name_is_refused_when_used(cells):
    with pytest.raises(InputError, match="a name must be a word"):
        cells.register("")(Lstm)


def test_unknown_lists_the_nearest_and_all(cells):
    with pytest.raises(InputError, match="did you mean 'lstm'. Known: gru, lstm"):
        cells.get("ltsm")
    with pytest.raises(InputError, match="not registered"):
        cells.name_of(3)


def test_build_goes_by_type(cells):
    config = Gru(4)
    assert cells.build(config, 2) == 8
    assert config == Gru(4)
    with pytest.raises(InputError, match="register a builder for Lstm"):
        cells.build(Lstm())
    cells.builder(Lstm)(lambda config, scale: config.width + scale)
    assert cells.build(Lstm(), 2) == 5
    with pytest.raises(InputError, match="has one already"):
        cells.builder(Lstm)(print)


def test_entry_points_load_at_the_first_unknown_name(cells, monkeypatch):
    asked = []

    def entry_points(*, group):
        asked.append(group)
        return [SimpleNamespace(name="mine", value="other:Mine", load=lambda: "Mine")]

    monkeypatch.setattr(module, "entry_points", entry_points)
    fresh: Registry = Registry("cells")
    fresh.register("gru")(Gru)
    assert fresh.get("gru") is Gru
    assert asked == []
    assert fresh.get("mine") == "Mine"
    assert fresh.names() == ("gru", "mine")
    assert asked == ["vibrissa.cells"]


def test_a_broken_entry_point_says_so(monkeypatch):
    def load():
        raise ImportError("no module named other")

    point = SimpleNamespace(name="mine", value="other:Mine", load=load)
    monkeypatch.setattr(module, "entry_points", lambda *, group: [point])
    with pytest.raises(InputError, match="other:Mine.*repair or uninstall"):
        Registry("cells").get("mine")
