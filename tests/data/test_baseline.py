"""The linear baseline on stores whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.core.manifest import Manifest
from vibrissa.data.baseline import (
    BaselineConfig,
    BaselineResult,
    channel_grams,
    cross_validate,
    svm_baseline,
)
from vibrissa.data.declaration import STORE
from vibrissa.data.index import SHARDS, write_index
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.shard import SUMMARY, ShardContent, write_shard
from vibrissa.data.sources import shard_path
from vibrissa.data.store import SweepStore
from vibrissa.morphology.mouse import mouse_array

pytest.importorskip("sklearn")

FRAMES, SWEEPS = 10, 6
Draw = Callable[[int, int], np.ndarray]  # class, object -> loads (sweep, time, whisker, channel)
SHAPE = (SWEEPS, FRAMES, 30, 6)
CHANNEL_SIZES = np.array([1.0, 1.0, 1.0, 1e3, 1e3, 1e3])
RNG_SEED = 11


def make(path: Path, draw: Draw, *, classes: int = 3, objects: int = 10) -> SweepStore:
    """A store with so many objects of every class."""
    whiskers = mouse_array().names
    path.mkdir()
    names = {f"c{k}/{j:03d}": f"c{k}" for k in range(classes) for j in range(objects)}
    config = {"recipe": {"made": "for a test"}, "objects": names}
    (path / STORE).write_text(Manifest.of("dataset", config).to_json(), encoding="utf-8")
    for name, label in names.items():
        loads = draw(int(label[1:]), int(name.split("/")[1])) * CHANNEL_SIZES
        content = ShardContent(
            object=name, label=label, geometry="", source_sha256="", recipe_sha256="",
            whiskers=whiskers, rate_hz=110.0, sampling="average",
            loads={"base": loads.astype(np.float32)}, contact=np.ones(SHAPE[:3], bool),
            base_rotation=None, summary=np.zeros((SWEEPS, len(SUMMARY))),
            names=tuple(f"s{k}" for k in range(SWEEPS)), parameters=({},) * SWEEPS,
        )  # fmt: skip
        write_shard(path / SHARDS / shard_path(name), content)
    write_index(path)
    return SweepStore.open(path)


@pytest.fixture(scope="module")
def separable(tmp_path_factory: pytest.TempPathFactory) -> SweepStore:
    rng = np.random.default_rng(RNG_SEED)
    means = rng.normal(size=(4, *SHAPE[1:]))
    return make(
        tmp_path_factory.mktemp("s") / "store",
        lambda label, _: means[label] + rng.normal(size=SHAPE),
        classes=4, objects=6,
    )  # fmt: skip


@pytest.fixture(scope="module")
def signatures(tmp_path_factory: pytest.TempPathFactory) -> SweepStore:
    """Every object feels like itself; nothing is common to those of a class."""
    rng = np.random.default_rng(RNG_SEED)
    return make(
        tmp_path_factory.mktemp("g") / "store",
        lambda *_: rng.normal(size=SHAPE[1:]) + 0.5 * rng.normal(size=SHAPE),
    )


def accuracies(result: BaselineResult) -> dict[tuple[int, str], float]:
    return {(row.classes, row.kind): row.accuracy for row in result.rows}


def test_classes_that_are_apart_are_told_apart(separable: SweepStore) -> None:
    result = svm_baseline(separable, BaselineConfig(draws=3))
    assert {(row.classes, row.all, row.kind, row.draws) for row in result.rows} == {
        (count, whole, kind, draws)
        for count, whole, draws in ((2, False, 3), (3, False, 3), (4, False, 1), (4, True, 1))
        for kind in ("by_object", "by_sweep")
    }
    for row in result.rows:
        assert row.accuracy == 1.0
        assert (row.low, row.high, row.sd) == (1.0, 1.0, 0.0)
        assert row.chance == pytest.approx(1 / row.classes)
        assert row.objects == 6 * row.classes
        assert row.sweeps == 36 * row.classes


def test_what_leakage_is_worth(signatures: SweepStore) -> None:
    """Objects that are known by heart are recognised; new ones are not, as nothing is common."""
    result = svm_baseline(signatures, BaselineConfig(classes=(0,)))
    found = accuracies(result)
    assert found[3, "by_sweep"] > 0.95
    (row,) = (row for row in result.rows if row.kind == "by_object")
    # 30 objects by chance at 1/3: standard error 0.086; below chance as the rest of the class is
    # then a little rarer among the neighbours
    assert row.accuracy < 1 / 3 + 0.2
    assert row.low < 1 / 3
    assert row.low <= row.accuracy <= row.high


def test_shuffled_labels_give_chance(separable: SweepStore) -> None:
    grams = channel_grams(separable, np.arange(len(separable)))
    groups = separable.table["shard"].to_numpy()
    owners = np.array([label[1:] for label in separable.table["label"]])
    rng = np.random.default_rng(RNG_SEED)
    shuffled = [
        cross_validate(grams, rng.permutation(owners), groups, kind="by_sweep").accuracy
        for _ in range(5)
    ]
    # mean of 5 x 144 guesses at 1/4: standard error 0.016
    assert abs(np.mean(shuffled) - 0.25) < 0.06
    of_object = rng.permutation(np.repeat(["a", "b", "c", "d"], 6))[groups]
    by_object = cross_validate(grams, of_object, groups, kind="by_object")
    assert by_object.accuracy < 0.25 + 0.27  # 24 objects at 1/4: three standard errors of 0.09
    apart = cross_validate(grams, owners, groups, kind="by_object")
    assert apart.accuracy == 1.0


def test_whole_objects_are_held_out(signatures: SweepStore) -> None:
    grams = channel_grams(signatures, np.arange(len(signatures)))
    labels, groups = (signatures.table[name].to_numpy() for name in ("label_index", "shard"))
    of_object = cross_validate(grams, labels, groups, kind="by_object")
    folds_of = [set(of_object.fold[groups == group]) for group in np.unique(groups)]
    assert all(len(folds) == 1 for folds in folds_of)
    assert set.union(*folds_of) == set(range(5))
    by_sweep = cross_validate(grams, labels, groups, kind="by_sweep")
    assert max(len(set(by_sweep.fold[groups == group])) for group in np.unique(groups)) > 1
    again = cross_validate(grams, labels, groups, kind="by_sweep")
    np.testing.assert_array_equal(again.right, by_sweep.right)


def test_the_machine_is_a_linear_one_on_the_normalised_model_input(signatures: SweepStore) -> None:
    """The same decisions as scikit-learn's on the flattened numbers themselves."""
    from sklearn.svm import SVC

    indices = np.arange(len(signatures))
    labels, groups = (signatures.table[name].to_numpy() for name in ("label_index", "shard"))
    mine = cross_validate(
        channel_grams(signatures, indices), labels, groups, kind="by_object", c=0.1
    )
    loads = signatures.loads(indices)
    expected = np.zeros(len(labels), bool)
    for fold in range(5):
        train, test = (np.flatnonzero(mine.fold != fold), np.flatnonzero(mine.fold == fold))
        preprocessing = Preprocessing(normalise="rms", steps=2)
        measure = preprocessing.accumulator()
        measure.add(loads[train])
        inputs = preprocessing.apply(loads, signatures.whiskers, measure.result())
        inputs = inputs.reshape(len(inputs), -1).astype(np.float64)
        assert inputs.shape[1] == FRAMES * 35 * 6
        inputs /= np.sqrt((inputs[train] ** 2).sum(axis=1).mean())
        machine = SVC(kernel="linear", C=0.1).fit(inputs[train], labels[train])
        expected[test] = machine.predict(inputs[test]) == labels[test]
    assert 0 < expected.sum() < len(expected)
    assert np.mean(expected == mine.right) > 0.99


def test_a_channel_that_is_never_felt_does_no_harm(tmp_path: Path) -> None:
    rng = np.random.default_rng(RNG_SEED)
    means = rng.normal(size=(2, *SHAPE[1:]))
    felt = np.array([1, 1, 0, 1, 1, 0])
    store = make(
        tmp_path / "store", lambda k, _: (means[k] + rng.normal(size=SHAPE)) * felt, classes=2
    )
    assert accuracies(svm_baseline(store, BaselineConfig(classes=(0,))))[2, "by_object"] == 1.0


def test_large_stores_are_sampled_in_whole_objects_of_every_class(signatures: SweepStore) -> None:
    result = svm_baseline(signatures, BaselineConfig(classes=(0,), most_sweeps=108))
    assert {(row.sweeps, row.objects) for row in result.rows} == {(108.0, 18.0)}


def test_classes_of_few_objects_are_left_out_and_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(RNG_SEED)
    store = make(tmp_path / "store", lambda *_: rng.normal(size=SHAPE), classes=2, objects=4)
    with pytest.raises(InputError, match="fewer than two classes have 5 objects or more"):
        svm_baseline(store)
    result = svm_baseline(store, BaselineConfig(folds=4))
    assert [row.classes for row in result.rows] == [2, 2, 2, 2]  # of 3 and 4 there are not enough


def test_the_result_is_told_in_a_table_and_in_json(separable: SweepStore) -> None:
    result = svm_baseline(separable, BaselineConfig(classes=(2, 0), draws=2))
    text = result.to_markdown()
    lines = text.splitlines()
    assert lines[2].startswith("| 2 | objects | 100.0 | 0.0 | 100.0 to 100.0 | 50.0 | 72 | 12 |")
    assert lines[5].startswith("| all 4 | sweeps (leaks) | 100.0 ")
    assert "C = 100" in text
    tree = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert tree["rows"][0]["accuracy"] == 1.0
    assert len(tree["drawn"]["2"]) == 2
    assert svm_baseline(separable, BaselineConfig(classes=(2, 0), draws=2)) == result


@pytest.mark.parametrize(
    ("field", "value"),
    [("classes", (1,)), ("classes", ()), ("kinds", ("by_day",)), ("folds", 1), ("draws", 0),
     ("c", 0.0), ("frame", "head"), ("most_sweeps", 0)],
)  # fmt: skip
def test_bad_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError, match=field):
        BaselineConfig(**{field: value})  # pyright: ignore[reportArgumentType]
