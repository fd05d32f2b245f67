"""Configuration from plain trees: what is read, and how mistakes are named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from vibrissa.core.config import TREE_TYPE, from_tree, read_yaml
from vibrissa.core.errors import InputError, refuse
from vibrissa.core.manifest import to_tree


class Anything:
    """No dataclass."""


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: float = 1.0
    name: str = "a"

    def __post_init__(self) -> None:
        if self.size < 0:
            raise refuse("size", self.size, "negative", "give 0 or more")
        if self.name == "odd":
            raise InputError("odd things happen; choose another.")


@dataclass(frozen=True, kw_only=True)
class Other:
    count: int


@dataclass(frozen=True, kw_only=True)
class Outer:
    kind: ClassVar[str] = "outer"
    flag: bool = False
    count: int = 1
    share: float = 0.5
    text: str = ""
    path: Path = Path()
    mode: Literal["slow", "fast", 3] = "slow"
    maybe: float | None = None
    either: int | float | str = 0
    many: tuple[float, ...] = ()
    pair: tuple[int, str] = (0, "")
    listed: Sequence[int] = ()
    table: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    one_of: Inner | Other | None = None
    inners: tuple[Inner, ...] = ()
    free: Any = None
    strange: Anything | None = None
    stand_in: Anything | None = field(default=None, metadata={TREE_TYPE: Inner | None})
    derived: int = field(init=False, default=0)


def read(**entries: Any) -> Outer:
    return from_tree(Outer, entries, "my.yaml")


def test_plain_values() -> None:
    tree = {
        "flag": True, "count": 3, "share": 2, "text": "x", "path": "a/b", "mode": 3, "maybe": 1.5,
        "either": "word", "many": [1, 2.5], "pair": [4, "z"], "listed": [1, 2],
        "table": {"near": [1, 2]}, "inner": {"size": 3}, "one_of": {"count": 2},
        "inners": [{}, {"name": "b"}], "free": {"any": [1]}, "stand_in": {"size": 4},
    }  # fmt: skip
    before = repr(tree)
    found = from_tree(Outer, tree)
    assert repr(tree) == before
    assert found == Outer(
        flag=True, count=3, share=2.0, text="x", path=Path("a/b"), mode=3, maybe=1.5,
        either="word", many=(1.0, 2.5), pair=(4, "z"), listed=(1, 2), table={"near": (1.0, 2.0)},
        inner=Inner(size=3.0), one_of=Other(count=2), inners=(Inner(), Inner(name="b")),
        free={"any": [1]}, stand_in=Inner(size=4.0),  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    assert type(found.share) is float
    assert type(read(either=3).either) is int
    assert type(read(either=3.0).either) is float
    assert read() == Outer()
    assert read(maybe=None, one_of=None, stand_in=None) == Outer()


def test_what_a_manifest_holds_is_read_back() -> None:
    outer = Outer(inner=Inner(size=2.0), many=(1.0, 2.0), one_of=Other(count=3), mode="fast")
    tree = to_tree(outer)
    del tree["derived"]
    assert from_tree(Outer, tree) == outer


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"flag": 1}, "my.yaml: flag = 1: not a truth value"),
        ({"count": True}, "my.yaml: count = True: not a whole number"),
        ({"count": 3.0}, "my.yaml: count = 3.0: not a whole number"),
        ({"share": "1e-3"}, "my.yaml: share = '1e-3': not a number; give one, powers of ten as"),
        ({"share": None}, "my.yaml: share = None: not a number"),
        ({"text": 3}, "my.yaml: text = 3: not text"),
        ({"path": 3}, "my.yaml: path = 3: not a path"),
        ({"mode": "quick"}, "my.yaml: mode = 'quick': unknown; choose one of slow, fast, 3"),
        ({"mode": True}, "my.yaml: mode = True: unknown"),
        ({"maybe": "x"}, "my.yaml: maybe = 'x': not a number"),
        ({"either": []}, "my.yaml: either = []: none of int, float, str"),
        ({"many": 3}, "my.yaml: many = 3: not a list"),
        ({"many": "abc"}, "my.yaml: many = 'abc': not a list"),
        ({"many": [1, "x"]}, "my.yaml: many[1] = 'x': not a number"),
        ({"pair": [1]}, "my.yaml: pair = [1]: 1 entries; give 2"),
        ({"table": [1]}, "my.yaml: table = [1]: not a mapping"),
        ({"table": {"a": [1, None]}}, "my.yaml: table.a[1] = None: not a number"),
        ({"inner": 3}, "my.yaml: inner = 3: not a mapping"),
        ({"inner": {"size": "x"}}, "my.yaml: inner.size = 'x': not a number"),
        ({"inner": {"sise": 1}}, "my.yaml: inner: 'sise' is no entry here; did you mean 'size'"),
        ({"inner": {"size": -1}}, "my.yaml: inner.size = -1.0: negative; give 0 or more."),
        ({"inner": {"name": "odd"}}, "my.yaml: inner: odd things happen"),
        ({"inners": [{}, {"size": -1}]}, "my.yaml: inners[1].size = -1.0: negative"),
        ({"one_of": {"x": 1}}, "my.yaml: one_of = {'x': 1}: none of Inner, Other"),
        ({"strange": {}}, "my.yaml: strange = {}: cannot be given in a file"),
        ({"cont": 3}, "my.yaml: 'cont' is no entry here; did you mean 'count'"),
        ({"derived": 3}, "my.yaml: 'derived' is no entry here"),
        ({"kind": "x"}, "my.yaml: 'kind' is no entry here"),
    ],
)
def test_mistakes_are_named_by_their_place(entries: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        read(**entries)
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_what_is_missing_and_what_is_no_mapping() -> None:
    with pytest.raises(InputError, match="my.yaml: count missing; add it."):
        from_tree(Other, {}, "my.yaml")
    for tree in (None, [1], "x"):
        with pytest.raises(InputError, match="my.yaml = .*not a mapping"):
            from_tree(Other, tree, "my.yaml")
    with pytest.raises(InputError, match="3 is no entry here"):
        from_tree(Other, {3: 4}, "my.yaml")


def test_yaml_files(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: [1, 2.5, null]\nb: {c: text, d: true}\ne: &x {f: 1}\ng: {<<: *x, f: 2}\n")
    assert read_yaml(path) == {
        "a": [1, 2.5, None], "b": {"c": "text", "d": True}, "e": {"f": 1}, "g": {"f": 2}
    }  # fmt: skip
    path.write_text('{"a": [1, {"b": null}]}')
    assert read_yaml(path) == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key = 'a': it stands twice"),
        ("x: {b: 2, b: 3}\n", "line 1: key = 'b': it stands twice"),
        ("a: [1\n", "not YAML (line 2"),
        ("a: !!python/object:os.system {}\n", "not YAML (line 1"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("? [1]\n: 2\n", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_bad_yaml_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_yaml(tmp_path / "gone.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_yaml(tmp_path / "b.yaml")
