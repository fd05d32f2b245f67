import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.data.normalisation import NormalisationAccumulator
from vibrissa.data.split_rules import shares
from vibrissa.data.splits import (
    PARTS,
    ByClass,
    ByDraw,
    ByObject,
    BySweep,
    Split,
    class_counts,
    leaks,
    remarks,
    split_kinds,
)

TRAIN, VALIDATE, TEST = range(3)


def table(sizes, sweeps=4, **columns):
    """Classes of so many objects, each with so many sweeps, rows in order."""
    rows = [
        {"sweep": f"{label}/{k:03d} {row:04d}", "object": f"{label}/{k:03d}", "label": label,
         "row": row}
        for label, count in sizes.items() for k in range(count) for row in range(sweeps)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    for name, function in columns.items():
        frame[name] = [function(row) for row in rows]
    return frame


def drawn(sizes, draws=26, each=3):
    """As the published 110 Hz set: draws of some sweeps each, the last two for the test."""
    return table(
        sizes,
        draws * each,
        part=lambda row: "test" if row["row"] // each >= draws - 2 else "train",
        draw=lambda row: row["row"] // each,
    )


def parts_of(codes, frame):
    """Object -> the set of its parts, the slow way."""
    found = {}
    for name, code in zip(frame["object"], codes, strict=True):
        found.setdefault(name, set()).add(int(code))
    return found


MIXED = table({"cup": 30, "jar": 10, "box": 6, "can": 2, "one": 1}, 5)
CONFIGS = [
    ByObject(),
    ByObject(fractions=(0.5, 0.0, 0.5), seed=3),
    BySweep(seed=1),
    ByClass(fractions=(0.6, 0.2, 0.2)),
    ByClass(test_classes=("jar",), known=(1.0, 0.0, 0.0)),
    ByDraw(),
    ByDraw(validate="object"),
]


def test_every_kind_is_registered_documented_and_tried():
    assert set(split_kinds.names()) >= {"by_object", "by_sweep", "by_class", "by_draw"}
    frame = drawn({"cup": 5, "jar": 5, "box": 5})
    for name in split_kinds.names():
        codes = split_kinds.get(name)().assign(frame)
        assert codes.dtype == np.int8
        assert codes.shape == (len(frame),)
        assert (codes == TRAIN).sum() > len(frame) / 3
        assert (split_kinds.get(name).__doc__ or "").strip()


@given(st.randoms(use_true_random=False), st.sampled_from(CONFIGS))
@settings(max_examples=40, deadline=None)
def test_order_of_rows_does_not_matter(random, config):
    frame = drawn({"cup": 7, "jar": 5, "box": 2}, 6, 2)
    frame["geometry"] = ["same" if n in ("cup/001", "jar/002") else n for n in frame["object"]]
    codes = config.assign(frame)
    order = list(range(len(frame)))
    random.shuffle(order)
    shuffled = frame.iloc[order].reset_index(drop=True)
    np.testing.assert_array_equal(config.assign(shuffled), codes[order])
    split, again = (Split.make("one", config, f) for f in (frame, shuffled))
    assert split.to_json() == again.to_json()
    np.testing.assert_array_equal(split.codes(shuffled), codes[order])


# --- shares ----------------------------------------------------------------------------------


FRACTIONS = st.sampled_from(
    [(0.8, 0.1, 0.1), (0.6, 0.2, 0.2), (1.0, 0.0, 0.0), (0.34, 0.33, 0.33), (0.9, 0.1, 0.0),
     (0.1, 0.45, 0.45), (0.7, 0.0, 0.3)]
)  # fmt: skip


@given(st.integers(0, 400), FRACTIONS)
def test_shares_are_exact_to_one(count, fractions):
    got = shares(count, fractions)
    assert sum(got) == count
    for number, fraction in zip(got, fractions, strict=True):
        assert abs(number - count * fraction) < 1.0
        assert fraction > 0 or number == 0


def test_few_objects_train_then_test_then_validate():
    by_hand = {  # train, validate, test
        0: (0, 0, 0), 1: (1, 0, 0), 2: (1, 0, 1), 3: (2, 0, 1), 4: (3, 0, 1), 5: (4, 0, 1),
        6: (4, 1, 1), 7: (5, 1, 1), 8: (6, 1, 1), 10: (8, 1, 1), 20: (16, 2, 2), 100: (80, 10, 10),
    }  # fmt: skip
    assert {n: shares(n, (0.8, 0.1, 0.1)) for n in by_hand} == by_hand
    assert shares(3, (1 / 3, 1 / 3, 1 / 3)) == (1, 1, 1)


# --- by object -------------------------------------------------------------------------------


def test_by_object_parts_whole_objects_class_by_class():
    codes = ByObject(seed=5).assign(MIXED)
    parts = parts_of(codes, MIXED)
    assert all(len(p) == 1 for p in parts.values())
    got = Counter((name.split("/")[0], PARTS[min(p)]) for name, p in parts.items())
    assert got == {
        ("cup", "train"): 24, ("cup", "validate"): 3, ("cup", "test"): 3,
        ("jar", "train"): 8, ("jar", "validate"): 1, ("jar", "test"): 1,
        ("box", "train"): 4, ("box", "validate"): 1, ("box", "test"): 1,
        ("can", "train"): 1, ("can", "test"): 1, ("one", "train"): 1,
    }  # fmt: skip
    assert remarks(codes, MIXED) == (
        "Classes without validate sweeps: can, one.",
        "Classes without test sweeps: one.",
    )
    assert leaks(codes, MIXED).sentence() == "0 of 49 objects cross between parts."
    assert not leaks(codes, MIXED)


def test_seeds_choose_others_and_classes_do_not_depend_on_each_other():
    first = ByObject(seed=0).assign(MIXED)
    assert (ByObject(seed=0).assign(MIXED) == first).all()
    assert (ByObject(seed=1).assign(MIXED) != first).any()
    cups = MIXED.query("label == 'cup'").reset_index(drop=True)
    once = cups.query("row == 0")
    np.testing.assert_array_equal(ByObject().assign(cups), first[MIXED["label"] == "cup"])
    tested = Counter()
    for seed in range(300):  # each cup is tested in a tenth of the seeds
        codes = ByObject(seed=seed).assign(once)
        tested.update(np.flatnonzero(codes == TEST).tolist())
    assert len(tested) == 30
    assert 8 < min(tested.values()) <= max(tested.values()) < 60  # 30 +- 5.2


@given(st.lists(st.integers(0, 12), min_size=4, max_size=40), FRACTIONS, st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_copies_stay_together(shapes, fractions, seed):
    sizes = {"a": len(shapes) // 2, "b": len(shapes) - len(shapes) // 2}
    frame = table(sizes, 2)
    names = list(dict.fromkeys(frame["object"]))
    digest = dict(zip(names, map(str, shapes), strict=True))
    frame["geometry"] = [digest[name] for name in frame["object"]]
    codes = ByObject(fractions=fractions, seed=seed).assign(frame)
    where = {}
    for name, parts in parts_of(codes, frame).items():
        where.setdefault(digest[name], set()).update(parts)
    assert all(len(parts) == 1 for parts in where.values())
    assert not leaks(codes, frame)
    assert (codes >= 0).all()
    for part, fraction in enumerate(fractions):
        assert fraction > 0 or not (codes == part).any()


def test_copies_cost_no_more_than_they_must():
    frame = table({"cup": 20}, 1, geometry=lambda row: row["object"])
    frame.loc[[3, 11], "geometry"] = "twin"
    codes = ByObject().assign(frame)
    assert np.bincount(codes).tolist() == [16, 2, 2]
    assert codes[3] == codes[11]
    frame["geometry"] = None  # not known
    assert np.bincount(ByObject().assign(frame)).tolist() == [16, 2, 2]


# --- by sweep, class, draw -------------------------------------------------------------------


def test_by_sweep_is_exact_in_each_class_and_leaks():
    codes = BySweep().assign(MIXED)
    counts = class_counts(codes, MIXED)
    assert counts.loc["cup"].tolist() == [120, 15, 15]
    assert counts.loc["jar"].tolist() == [40, 5, 5]
    assert counts.loc["one"].tolist() == [4, 0, 1]
    found = leaks(codes, MIXED)
    crossing = [n for n, p in parts_of(codes, MIXED).items() if len(p) > 1]
    assert list(found.objects) == sorted(crossing)
    assert found.sweeps == 5 * len(crossing)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = [n for n, p in parts_of(codes, MIXED).items() if {a, b} <= p]
        assert found.pairs[PARTS[a], PARTS[b]] == len(both)
    assert found.sentence().startswith(f"{len(crossing)} of 49 objects cross between parts (train-")


def test_by_class_holds_whole_classes_out():
    sizes = {f"class{k}": 10 for k in range(10)}
    frame = table(sizes, 2)
    codes = ByClass(seed=2).assign(frame)
    objects = class_counts(codes, frame, of="objects")
    known = objects[objects["train"] > 0]
    unknown = objects[objects["train"] == 0]
    assert known.to_numpy().tolist() == [[8, 1, 1]] * 8
    assert sorted(unknown.to_numpy().tolist()) == [[0, 0, 10], [0, 10, 0]]
    assert any("of test that do not train" in r for r in remarks(codes, frame))
    alone = ByClass(test_classes=("class3", "class4"), known=(1.0, 0.0, 0.0)).assign(frame)
    tested = set(frame["label"][alone == TEST])
    assert tested == {"class3", "class4"}
    assert not (alone == VALIDATE).any()
    assert set(frame["label"][alone == TRAIN]) == set(sizes) - tested
    named = ByClass(test_classes=("class3",), validate_classes=("class5",)).assign(frame)
    assert (named[frame["label"] == "class5"] == VALIDATE).all()


def test_by_class_leaves_copies_of_the_unknown_out():
    frame = table({"a": 10, "b": 10, "c": 10}, 2, geometry=lambda row: row["object"])
    frame.loc[frame["object"].isin(["a/004", "b/007", "c/001"]), "geometry"] = "twin"
    codes = ByClass(test_classes=("c",), validate_classes=("b",)).assign(frame)
    assert (codes[frame["object"].isin(["a/004", "b/007"])] == -1).all()
    assert (codes == -1).sum() == 4
    assert (codes[frame["label"] == "c"] == TEST).all()
    assert not leaks(codes, frame)
    assert "4 of 60 sweeps are unused." in remarks(codes, frame)


@pytest.mark.parametrize("with_draws", [True, False])
def test_by_draw_keeps_the_written_test(with_draws):
    frame = drawn({"cup": 4, "jar": 3})
    if not with_draws:
        frame = frame.drop(columns="draw")
    codes = ByDraw().assign(frame)
    np.testing.assert_array_equal(codes == TEST, frame["part"] == "test")
    for name in sorted(set(frame["object"])):
        mine = (frame["object"] == name).to_numpy() & (codes == VALIDATE)
        # a tenth: 2.4 of 24 draws, or 7.2 of 72 sweeps
        assert mine.sum() == (2 * 3 if with_draws else 7)
        if with_draws:
            assert len(set(frame["draw"].to_numpy()[mine])) == 2
    assert len(leaks(codes, frame).objects) == 7


def test_by_draw_by_object():
    frame = drawn({"cup": 20, "jar": 10}, 5, 2)
    codes = ByDraw(validate="object").assign(frame)
    np.testing.assert_array_equal(codes == TEST, frame["part"] == "test")
    training = frame["part"] == "train"
    parts = parts_of(codes[training], frame[training])
    assert Counter(next(iter(p)) for p in parts.values()) == {TRAIN: 27, VALIDATE: 3}
    some = frame.assign(
        part=[None if r == 3 else p for r, p in zip(frame["row"], frame["part"], strict=True)]
    )
    np.testing.assert_array_equal(ByDraw().assign(some) == -1, frame["row"] == 3)


def test_kinds_refuse():
    three = table({"cup": 3})
    cases = [
        (lambda: ByObject(fractions=(0.5, 0.2, 0.2)), "three shares"),
        (lambda: ByObject(fractions=(0.0, 0.5, 0.5)), "the first above 0"),
        (lambda: BySweep(fractions=(1.2, -0.1, -0.1)), "three shares"),
        (lambda: ByClass(known=(0.5, 0.5)), "known"),  # pyright: ignore
        (lambda: ByClass(test_classes=("a",), validate_classes=("a",)), "held out for the test"),
        (lambda: ByClass(validate_classes=("a",)), "name both or neither"),
        (lambda: ByDraw(validate="sweep"), "choose draw or object"),  # pyright: ignore
        (lambda: ByDraw(fraction=1.0), "fraction"),
        (lambda: ByDraw().assign(three), "no column 'part', which the protocol passive-110hz"),
        (lambda: ByDraw().assign(three.assign(part="exam")), "part = 'exam'"),
        (lambda: ByClass().assign(three), "none to hold out"),
        (lambda: ByClass(test_classes=("jar",)).assign(three), "no such class"),
        (lambda: ByObject().assign(three.drop(columns="row")), "no column 'row'"),
        (lambda: ByObject().assign(three.iloc[:0]), "no sweeps"),
        (lambda: ByObject().assign(pd.concat([three, three])), "comes twice"),
        (lambda: ByObject().assign(three.assign(label=list("aabbccddeeff"))), "than one label"),
        (lambda: ByObject().assign(three.assign(geometry=list("ababababccaa"))), "one geometry"),
        (lambda: ByObject().assign(three.assign(object=None)), "without a value"),
        (lambda: class_counts(np.zeros(12, np.int8), three, of="cups"), "of = 'cups'"),
        (lambda: Split.make("x", ByDraw(), three.assign(part="test")), "left to train with"),
    ]  # fmt: skip
    for call, text in cases:
        with pytest.raises(InputError, match=text):
            call()


# --- the split as a file ---------------------------------------------------------------------


def some_split(config=None, frame=MIXED):
    measure = NormalisationAccumulator()
    measure.add(np.random.default_rng(0).normal(size=(50, 6)))
    split = Split.make("first", config or BySweep(seed=4), frame)
    return split.with_normalisation(measure.result())


@pytest.mark.parametrize("config", [c for c in CONFIGS if not isinstance(c, ByDraw)])
def test_saved_and_loaded(config, tmp_path):
    split = some_split(config)
    path = split.save(tmp_path / "splits" / "first.json")
    known = Split.load(path)
    assert known.to_json() == split.to_json()
    assert known.config == config
    assert known.kind == split_kinds.name_of(config)
    assert known.normalisation("rms", "base") == split.normalisations[0]
    assert known.normalisation("rms", "world") is None
    np.testing.assert_array_equal(known.codes(MIXED), config.assign(MIXED))
    together = np.concatenate([known.indices(part, MIXED) for part in PARTS])
    np.testing.assert_array_equal(np.sort(together), np.flatnonzero(known.codes(MIXED) >= 0))
    for k, part in enumerate(PARTS):
        assert (config.assign(MIXED)[known.indices(part, MIXED)] == k).all()


def test_letters_are_one_for_a_whole_object():
    whole = Split.make("a", ByObject(), MIXED)
    assert {len(letters) for letters in whole.assignment.values()} == {1}
    swept = Split.make("a", BySweep(), MIXED)
    codes = swept.codes(MIXED)
    for name, letters in swept.assignment.items():
        spelled = "".join("tve"[c] for c in codes[MIXED["object"] == name])
        assert letters in (spelled, spelled[0])
        assert (len(letters) == 1) == (len(set(spelled)) == 1)


def test_a_newer_normalisation_replaces_the_older():
    split = some_split()
    measure = NormalisationAccumulator(frame="world")
    measure.add(np.ones((3, 6)))
    both = split.with_normalisation(measure.result())
    assert len(both.normalisations) == 2
    assert both.with_normalisation(measure.result()).to_json() == both.to_json()


def test_every_flipped_byte_is_refused(tmp_path):
    frame = table({"cup": 3, "jär": 2}, 2)
    path = some_split(frame=frame).save(tmp_path / "one.json")
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(InputError, match="not a split as it was written; make it again"):
            Split.load(path)
    for changed in (b"", whole[:-1], whole[: len(whole) // 2], whole + b" ", b"[]", b"[" * 9999):
        path.write_bytes(changed)
        with pytest.raises(InputError, match="not a split as it was written"):
            Split.load(path)
    path.write_bytes(whole)
    Split.load(path).codes(frame)


def test_what_cannot_be_loaded(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no such file"):
        Split.load(tmp_path / "none.json")
    monkeypatch.setattr("vibrissa.data.splits.FORMAT_VERSION", 2)
    path = some_split().save(tmp_path / "new.json")
    assert json.loads(path.read_text())["version"] == 2
    monkeypatch.undo()
    with pytest.raises(InputError, match="version = 2: this release reads version 1"):
        Split.load(path)

    @dataclass(frozen=True, kw_only=True)
    class Mine(ByObject):
        extra: int = 1

    monkeypatch.setitem(split_kinds._entries, "mine", Mine)
    path = some_split(Mine()).save(tmp_path / "mine.json")
    assert Split.load(path).config == Mine()
    monkeypatch.undo()
    with pytest.raises(InputError, match="kind 'mine' does not take its settings here"):
        Split.load(path)
    for name in ("", "../x", "a/b", ".x"):
        with pytest.raises(InputError, match="no name for a file"):
            Split.make(name, ByObject(), MIXED)


def test_other_states_of_the_store_are_refused():
    split = some_split()
    changes = {
        "has lost 1 .one/000. objects since": MIXED[MIXED["label"] != "one"],
        "has gained 1 .new/000. objects since": pd.concat([MIXED, table({"new": 1})]),
        "labels or sweeps": MIXED.iloc[1:],
        "sweeps of its objects have changed": MIXED.assign(sweep=["x", *MIXED["sweep"][1:]]),
        "labels": MIXED.assign(label="all"),
    }
    for text, frame in changes.items():
        with pytest.raises(InputError, match=f"made for another state.*{text}.*make it again"):
            split.codes(frame)
    with pytest.raises(InputError, match="part = 'tset'"):
        split.indices("tset", MIXED)


# --- leaks -----------------------------------------------------------------------------------


def test_leaks_by_geometry():
    frame = table({"cup": 4}, 2, geometry=lambda row: "g" + row["object"])
    frame.loc[frame["object"].isin(["cup/000", "cup/003"]), "geometry"] = "same"
    codes = np.array([0, 0, 0, 2, -1, 0, 1, 1], dtype=np.int8)
    found = leaks(codes, frame)
    assert found.objects == ("cup/001",)
    assert found.copies == ("cup/000", "cup/003")
    assert found.sweeps == 6
    assert found.sweeps_total == 7
    assert found.pairs == {
        ("train", "validate"): 2, ("train", "test"): 1, ("validate", "test"): 0
    }  # fmt: skip
    assert found.sentence() == (
        "1 of 4 objects cross between parts and 2 more have a copy in another part "
        "(train-validate 2, train-test 1), 6 of 7 sweeps are concerned."
    )
    assert not leaks(np.full(8, -1, np.int8), frame)


def test_large_tables_are_quick():
    frame = table({f"class{k}": 40 for k in range(50)}, 16)
    split = Split.make("large", ByObject(), frame)
    assert np.bincount(split.codes(frame)).tolist() == [25600, 3200, 3200]
