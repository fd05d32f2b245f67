"""Published npz layout and webdataset: out and in again, and what is refused."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.core.manifest import Manifest
from vibrissa.data.checking import check
from vibrissa.data.declaration import STORE
from vibrissa.data.index import SHARDS, write_index
from vibrissa.data.interchange import (
    LABELS,
    export_npz,
    export_webdataset,
    import_npz,
    label_numbers,
)
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.recipe import Recipe
from vibrissa.data.shard import SUMMARY, ShardContent, write_shard
from vibrissa.data.sources import shard_path
from vibrissa.data.splits import ByObject, BySweep, Split
from vibrissa.data.store import SweepStore
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.mouse import mouse_array
from vibrissa.simulation.protocols import sweep_protocols

EMPTY = (5, 6, 12, 13, 34)
KEYS_1000 = {"data", "shape", "label", "h", "d", "t"}
KEYS_110 = {"data", "shape", "label", "h", "to", "t", "v", "s"}


def passes_1000hz() -> list[dict[str, Any]]:
    """Parameters of four sweeps as the protocol writes them."""
    return [
        {"theta_deg": angle, "distance_mm": 8.0, "height_mm": height, "start": "clean"}
        for angle in (0.0, 120.0)
        for height in (-5.0, 0.0)
    ]


def passes_110hz() -> list[dict[str, Any]]:
    common = {"distance_mm": 5.0, "height_mm": -3.0, "speed_mm_per_s": 41.0, "diagonal_mm": 37.0}
    return [
        common | {"theta_deg": 89.0 + turn, "draw": 3, "part": "train"} for turn in (0.0, 270.0)
    ]


def tiny_store(
    path: Path,
    parameters: list[dict[str, Any]],
    *,
    protocol: str = "passive-1000hz",
    frames: int = 110,
    objects: tuple[str, ...] = ("ball/00000", "cup/00000", "cup/00001"),
    array: WhiskerArray | None = None,
) -> SweepStore:
    """A store of random loads in both frames."""
    array = array or mouse_array()
    recipe = Recipe(protocol=sweep_protocols.get(protocol)(), protocol_name=protocol, array=array)
    rng = np.random.default_rng(7)
    path.mkdir()
    config = {"recipe": recipe.tree, "objects": {name: name.split("/")[0] for name in objects}}
    (path / STORE).write_text(Manifest.of("dataset", config).to_json(), encoding="utf-8")
    for name in objects:
        shape = (len(parameters), frames, len(array), 6)
        touched = rng.random(shape[:3]) < 0.3
        loads = {
            frame: (rng.normal(0, 500, shape) * touched[..., None]).astype(np.float32)
            for frame in ("base", "world")
        }
        content = ShardContent(
            object=name, label=name.split("/")[0], geometry="", source_sha256="0" * 64,
            recipe_sha256=recipe.digest, whiskers=array.names, rate_hz=float(frames),
            sampling="average", loads=loads, contact=touched, base_rotation=None,
            summary=np.zeros((len(parameters), len(SUMMARY))),
            names=tuple(f"{name} {k}" for k in range(len(parameters))),
            parameters=tuple({"object": name} | p for p in parameters),
        )  # fmt: skip
        write_shard(path / SHARDS / shard_path(name), content)
    write_index(path)
    return SweepStore.open(path)


def tree_bytes(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def test_an_export_has_the_published_names_keys_types_and_places(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "store", passes_1000hz())
    split = Split.make("s", ByObject(fractions=(0.5, 0.0, 0.5)), store.table)
    report = export_npz(store, split, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "export.json", "labels.json", "test", "train", "validate",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / LABELS).read_text()) == {"ball": 0, "cup": 1}
    assert report.counts == {"train": 8, "validate": 0, "test": 4}
    files = sorted((tmp_path / "out" / "train").iterdir())
    assert [f.name for f in files] == [f"{k:08d}.npz" for k in range(8)]
    seen = []
    for part in ("train", "test"):
        for file in sorted((tmp_path / "out" / part).iterdir()):
            with np.load(file) as sweep:
                assert set(sweep.files) == KEYS_1000
                data = sweep["data"]
                assert data.shape == (110, 35, 6)
                assert data.dtype == np.float64
                assert not data[:, EMPTY].any()
                assert [sweep[k].dtype.kind for k in ("shape", "h", "d", "t")] == ["U"] * 4
                assert sweep["label"].dtype.kind == "i"
                shape, h, t = (sweep[key].item() for key in ("shape", "h", "t"))
                assert (sweep["d"].item(), h in ("-5", "0"), t in ("0", "120")) == ("8", True, True)
                assert sweep["label"] == {"ball": 0, "cup": 1}[shape.split("/")[0]]
                (index,) = store.where(object=shape, height_mm=float(h), theta_deg=float(t))
                kept = [p for p in range(35) if p not in EMPTY]
                mine = store.loads(int(index), "world").astype(np.float64) / 1000.0
                np.testing.assert_array_equal(data[:, kept], mine)
                seen.append((part, shape.replace("/", "_"), f"h{h}_d8_t{t}"))
    # within a part the files stand in the order of the published names
    assert [s for s in seen if s[0] == "train"] == sorted(s for s in seen if s[0] == "train")
    assert len(seen) == 12


def test_sweeps_of_the_110hz_set_say_both_angles_speed_and_scale(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "store", passes_110hz(), protocol="passive-110hz")
    export_npz(store, None, tmp_path / "out")
    turns = set()
    for file in (tmp_path / "out" / "train").iterdir():
        with np.load(file) as sweep:
            assert set(sweep.files) == KEYS_110
            assert (sweep["h"].item(), sweep["to"].item(), sweep["v"].item()) == (-3.0, 89, 41)
            assert sweep["s"].item() == 37
            assert [sweep[k].dtype.kind for k in ("h", "to", "t", "v", "s")] == list("fiiii")
            turns.add(sweep["t"].item())
    assert turns == {0, 270}
    import_npz(tmp_path / "out", tmp_path / "again")
    again = SweepStore.open(tmp_path / "again")
    assert set(again.table["theta_deg"]) == {89.0, 359.0}
    assert set(again.table["speed_mm_per_s"]) == {41.0}
    assert again.rate_hz == 110.0


def test_other_protocols_write_their_parameters_as_text_besides(tmp_path: Path) -> None:
    parameters = [{"theta_deg": 12.5, "distance_mm": 5.0, "height_mm": 1.0, "twist": True}]
    store = tiny_store(tmp_path / "store", parameters, protocol="random-passive")
    export_npz(store, None, tmp_path / "out")
    with np.load(tmp_path / "out" / "train" / "00000000.npz") as sweep:
        found = {key: sweep[key].item() for key in sweep.files if key not in ("data", "label")}
    assert found == {
        "shape": "ball/00000", "h": "1", "d": "5", "t": "12.5", "theta_deg": "12.5",
        "distance_mm": "5", "height_mm": "1", "twist": "true",
    }  # fmt: skip


def test_out_and_in_again_gives_the_same_bits_labels_parts_and_parameters(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "store", passes_1000hz())
    split = Split.make("s", BySweep(fractions=(0.5, 0.25, 0.25)), store.table)
    export_npz(store, split, tmp_path / "out")
    report = import_npz(tmp_path / "out", tmp_path / "again")
    assert report.refused == []
    again = SweepStore.open(tmp_path / "again")
    assert (len(again), again.labels, again.whiskers) == (len(store), store.labels, store.whiskers)
    assert check(tmp_path / "again").sound
    codes, new_codes = split.codes(store.table), again.split("imported").codes(again.table)
    for k, row in enumerate(again.table.to_dict("records")):
        (index,) = store.where(
            object=row["object"], theta_deg=row["theta_deg"], height_mm=row["height_mm"]
        )
        assert again.loads(k, "world").tobytes() == store.loads(int(index), "world").tobytes()
        assert row["label"] == store.table["label"][int(index)]
        assert new_codes[k] == codes[index]
        assert row["part"] == ("train", "validate", "test")[codes[index]]
    assert not again.contact(slice(None)).any()
    assert set(again.table["contact_known"].tolist()) == {False}
    assert np.isnan(again.table["contact_share"].to_numpy()).all()
    with pytest.raises(InputError, match=r"frame = 'base'.*holds world only; choose world"):
        again.loads(0, "base")


@pytest.mark.parametrize("protocol", ["passive-1000hz", "passive-110hz", "random-passive"])
def test_importing_an_import_changes_nothing(tmp_path: Path, protocol: str) -> None:
    parameters = passes_110hz() if protocol == "passive-110hz" else passes_1000hz()
    store = tiny_store(tmp_path / "store", parameters, protocol=protocol)
    split = Split.make("imported", BySweep(fractions=(0.5, 0.0, 0.5)), store.table)
    export_npz(store, split, tmp_path / "one")
    import_npz(tmp_path / "one", tmp_path / "store1")
    first = SweepStore.open(tmp_path / "store1")
    export_npz(first, first.split("imported"), tmp_path / "two")
    import_npz(tmp_path / "two", tmp_path / "store2")
    one, two = tree_bytes(tmp_path / "one"), tree_bytes(tmp_path / "two")
    assert {n: b for n, b in one.items() if n != "export.json"} == {
        n: b for n, b in two.items() if n != "export.json"
    }
    assert tree_bytes(tmp_path / "store1") == tree_bytes(tmp_path / "store2")


def test_an_export_goes_on_where_it_was_and_mends_what_is_broken(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "store", passes_1000hz())
    export_npz(store, None, tmp_path / "a")
    whole = tree_bytes(tmp_path / "a")
    files = sorted((tmp_path / "a" / "train").iterdir())
    times = {f: f.stat().st_mtime_ns for f in files}
    files[3].unlink()
    files[5].write_bytes(files[5].read_bytes()[:-100])
    middle = bytearray(files[7].read_bytes())
    middle[len(middle) // 2] ^= 1
    files[7].write_bytes(middle)
    report = export_npz(store, None, tmp_path / "a")
    assert (report.written, report.kept) == (3, 9)
    assert tree_bytes(tmp_path / "a") == whole
    changed = {f for f in files if f.stat().st_mtime_ns != times[f]}
    assert changed == {files[3], files[5], files[7]}


def test_a_folder_of_another_export_is_refused(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "store", passes_1000hz())
    export_npz(store, None, tmp_path / "a")
    split = Split.make("s", ByObject(), store.table)
    with pytest.raises(InputError, match="another store, state or split"):
        export_npz(store, split, tmp_path / "a")
    (tmp_path / "b" / "train").mkdir(parents=True)
    (tmp_path / "b" / "train" / "x.npz").touch()
    with pytest.raises(InputError, match="another origin"):
        export_npz(store, None, tmp_path / "b")


def test_whiskers_of_two_sides_do_not_fit(tmp_path: Path) -> None:
    store = tiny_store(
        tmp_path / "store", passes_1000hz()[:1], array=mouse_array("both"), frames=22
    )
    with pytest.raises(InputError, match="share a place"):
        export_npz(store, None, tmp_path / "out")


def test_another_length_and_other_whiskers_are_kept_and_told(tmp_path: Path) -> None:
    array = mouse_array("L")
    array = array.with_whiskers(list(array)[4:9])
    store = tiny_store(tmp_path / "store", passes_1000hz()[:1], array=array, frames=44)
    report = export_npz(store, None, tmp_path / "out")
    assert "44 frames at 44 Hz" in report.sentence()
    import_npz(tmp_path / "out", tmp_path / "again")
    again = SweepStore.open(tmp_path / "again")
    assert (again.time, again.rate_hz, again.whiskers) == (44, 44.0, array.names)
    np.testing.assert_array_equal(again.loads([0, 2], "world"), store.loads([0, 2], "world"))


def published_file(path: Path, **changes: Any) -> None:
    """A file as the published program writes it (no module of ours is used)."""
    data = np.random.default_rng(3).normal(0, 0.2, (110, 35, 6))
    data[:, EMPTY] = 0.0
    values: dict[str, Any] = {
        "data": data, "shape": "02876657/abc", "label": 49, "h": "-5", "d": "8", "t": "30",
    }  # fmt: skip
    values |= changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{k: v for k, v in values.items() if v is not None})


def test_a_published_folder_needs_nothing_besides(tmp_path: Path) -> None:
    published_file(tmp_path / "in/train/00000000.npz")
    published_file(tmp_path / "in/train/00000001.npz", shape="02946921/x", label=100, t="90")
    published_file(tmp_path / "in/test/00000000.npz", t="120")
    report = import_npz(tmp_path / "in", tmp_path / "out")
    assert report.counts == {"train": 2, "validate": 0, "test": 1}
    store = SweepStore.open(tmp_path / "out")
    assert store.labels == ("label_049", "label_100")
    assert label_numbers(store) == {"label_049": 49, "label_100": 100}
    assert store.rate_hz == pytest.approx(111.111, abs=1e-3)
    rows = store.table.sort_values(["object", "theta_deg"])
    assert rows["object"].tolist() == ["02876657/abc"] * 2 + ["02946921/x"]
    assert rows["theta_deg"].tolist() == [30.0, 120.0, 90.0]
    assert rows["sweep"].tolist() == ["train/00000000", "test/00000000", "train/00000001"]
    with np.load(tmp_path / "in/test/00000000.npz") as sweep:
        kept = [p for p in range(35) if p not in EMPTY]
        expected = (sweep["data"][:, kept] * 1000.0).astype(np.float32)
    np.testing.assert_array_equal(
        store.loads(int(store.where(theta_deg=120.0)[0]), "world"), expected
    )
    import_npz(
        tmp_path / "in", tmp_path / "named", labels={"can": 100, "bottle": 49}, rate_hz=100.0
    )
    named = SweepStore.open(tmp_path / "named")
    assert (named.labels, named.rate_hz) == (("bottle", "can"), 100.0)
    assert label_numbers(named) == {"bottle": 49, "can": 100}


def test_every_bad_file_is_named_with_its_reason_and_the_rest_goes_in(tmp_path: Path) -> None:
    root = tmp_path / "in"
    nan = np.zeros((110, 35, 6))
    nan[17, 3, 4] = np.nan
    filled = np.zeros((110, 35, 6))
    filled[0, 13, 0] = 1.0
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "missing": ({"label": None}, "the key 'label' is missing"),
        "shape": ({"data": np.zeros((110, 30, 6))}, r"shape \(110, 30, 6\), not \(110, 35, 6\)"),
        "nan": ({"data": nan}, "not finite at frame 17, place 3, My"),
        "filled": ({"data": filled}, "not zero at place 13"),
        "text": ({"data": np.full((110, 35, 6), "x")}, "no numbers"),
        "pickled": ({"shape": np.array({"a": 1}, dtype=object)}, "not a readable npz file"),
        "label": ({"label": 7}, "label = 7 is not in labels.json"),
        "other": ({"label": 100}, "other sweeps of 02876657/abc have 49"),
        "alone": ({"shape": "alone", "data": nan}, "not finite"),
    }
    for name, (changes, _) in bad.items():
        published_file(root / f"train/{name}.npz", **changes)
    for name in ("a", "b", "c"):
        published_file(root / f"train/{name}.npz")
    (root / "train/cut.npz").write_bytes((root / "train/a.npz").read_bytes()[:5000])
    flipped = bytearray((root / "train/a.npz").read_bytes())
    flipped[3000] ^= 0xFF
    (root / "train/flipped.npz").write_bytes(flipped)
    (root / "train/empty.npz").touch()
    with zipfile.ZipFile(root / "train/huge.npz", "w") as archive:
        for key in ("shape", "label"):
            buffer = io.BytesIO()
            np.save(buffer, np.array("02876657/abc" if key == "shape" else 49))
            archive.writestr(f"{key}.npy", buffer.getvalue())
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 35, 6)}
        )
        archive.writestr("data.npy", head.getvalue())
    (root / LABELS).write_text('{"bottle": 49, "can": 100}')
    report = import_npz(root, tmp_path / "out")
    reasons = {path.stem: reason for path, reason in report.refused}
    unreadable = dict.fromkeys(("cut", "flipped", "empty"), "not a readable npz file")
    expected = {name: reason for name, (_, reason) in bad.items()} | unreadable
    expected["huge"] = "data has the shape"
    assert set(reasons) == set(expected)
    for name, pattern in expected.items():
        assert re.search(pattern, reasons[name]), (name, reasons[name])
        assert reasons[name].endswith(".")
        assert "\n" not in reasons[name]
    store = SweepStore.open(tmp_path / "out")
    assert store.table["sweep"].tolist() == ["train/a", "train/b", "train/c"]
    assert check(tmp_path / "out").sound
    # mended files go in at the next import, and nothing else is made anew
    for name in bad:
        published_file(root / f"train/{name}.npz", shape="02876657/new", t="60")
    again = import_npz(root, tmp_path / "out")
    assert again.kept == 1
    assert len(SweepStore.open(tmp_path / "out")) == 3 + len(bad)


def test_an_import_that_cannot_begin_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no npz files in train, validate, test"):
        import_npz(tmp_path, tmp_path / "out")
    (tmp_path / "in/train").mkdir(parents=True)
    (tmp_path / "in/train/x.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="none of 1 files can be used, the first because not a"):
        import_npz(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / STORE).exists()
    published_file(tmp_path / "in/train/y.npz")
    for text in ("{", "[1]", '{"a": 1, "b": 1}', '{"a": "1"}'):
        (tmp_path / "in" / LABELS).write_text(text)
        with pytest.raises(InputError, match=r"labels\.json"):
            import_npz(tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / LABELS).unlink()
    import_npz(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="holds another data set"):
        import_npz(tmp_path / "in", tmp_path / "out", rate_hz=50.0)


def test_our_published_preset_is_what_the_published_loader_makes_of_an_export(
    tmp_path: Path, make_store: Any
) -> None:
    """The way from npz to model input is derived anew, with explicit loops."""
    store = make_store(tmp_path / "store", objects=3, sweeps=2)
    export_npz(store, None, tmp_path / "out")
    preset = Preprocessing.published()
    files = sorted((tmp_path / "out/train").iterdir())
    assert len(files) == 6
    for file in files[::2]:
        with np.load(file) as sweep:
            data = sweep["data"].astype(np.float32)  # as torch.from_numpy(...).to(float32)
            shape, angle = sweep["shape"].item(), float(sweep["t"].item())
        expected = np.full((22, 30, 5, 7), np.nan, dtype=np.float32)
        for frame in range(110):
            for place in range(35):
                for channel in range(6):
                    step, sub = divmod(frame, 5)
                    row, column = divmod(place, 7)
                    expected[step, sub * 6 + channel, row, column] = data[frame, place, channel]
        index = store.where(object=shape, theta_deg=angle)
        mine = preset.apply(store.loads(index, "world"), store.whiskers)
        assert mine.shape == (1, 22, 30, 5, 7)
        np.testing.assert_array_equal(mine[0], expected)
        assert np.count_nonzero(expected) > 1000


def test_webdataset_tars_hold_model_input_class_and_table(tmp_path: Path, make_store: Any) -> None:
    store = make_store(tmp_path / "store", objects=9, sweeps=4)
    split = Split.make("s", ByObject(fractions=(0.6, 0.2, 0.2)), store.table)
    report = export_webdataset(store, split, tmp_path / "a", shard_size=10)
    export_webdataset(store, split, tmp_path / "b", shard_size=10)
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")
    train = split.indices("train", store.table)
    squares = np.mean(store.loads(train).astype(np.float64) ** 2, axis=(0, 1, 2))
    found: dict[str, list[int]] = {part: [] for part in ("train", "validate", "test")}
    for path in sorted((tmp_path / "a").glob("*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            content = {m.name: archive.extractfile(m).read() for m in members}  # pyright: ignore
        assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}
        # the files of a sample are neighbours and share what stands before the first dot
        for one in range(0, len(members), 3):
            key = members[one].name.split(".")[0]
            three = [m.name for m in members[one : one + 3]]
            assert three == [f"{key}.input.npy", f"{key}.cls", f"{key}.json"]
            index = int(key)
            assert int(content[f"{key}.cls"]) == store.table["label_index"][index]
            row = json.loads(content[f"{key}.json"])
            assert row["object"] == store.table["object"][index]
            values = np.load(io.BytesIO(content[f"{key}.input.npy"]))
            assert values.dtype == np.float32
            assert values.shape == (22, 30, 5, 7)
            loads = store.loads(index)[57, store.whiskers.index("RC2")]  # step 11, sub-frame 2
            np.testing.assert_allclose(values[11, 12:18, 2, 2], loads / np.sqrt(squares), rtol=1e-5)
            found[path.name.split("-")[0]].append(index)
    assert {p: sorted(i) for p, i in found.items()} == {
        p: split.indices(p, store.table).tolist() for p in found
    }
    assert found["train"] != sorted(found["train"])
    assert len(found["train"]) == 12
    assert report.shards["train"] == "train-{000000..000001}.tar"
    (tmp_path / "a/train-000001.tar").unlink()
    assert export_webdataset(store, split, tmp_path / "a", shard_size=10).written == 1
    assert tree_bytes(tmp_path / "a") == tree_bytes(tmp_path / "b")
    with pytest.raises(InputError, match="another store, state or setting"):
        export_webdataset(store, split, tmp_path / "a", shard_size=11)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate_hz": "fast"}, "rate_hz = 'fast': not a number of frames per second"),
        ({"rate_hz": -1.0}, "rate_hz = -1.0"),
        ({"rate_hz": True}, "rate_hz = True"),
        ({"frames": "110"}, "frames = '110': not a number of frames"),
        ({"frames": [110]}, "frames = [110]"),
        ({"letters": {"a": 1}}, "letters = {'a': 1}: not one of 1000hz, 110hz, other"),
        ({"sampling": "often"}, "sampling = 'often': not one of"),
        ({"whiskers": "RC1"}, "whiskers = 'RC1': not a list of whiskers"),
        ({"whiskers": ["RC1", "RC1"]}, "not a list of whiskers"),
        ({"whiskers": ["RZ9"]}, "not a list of whiskers"),
        ({"whiskers": [1]}, "not a list of whiskers"),
    ],
)
def test_an_odd_export_json_is_told_in_one_sentence(tmp_path, changes, words):
    store = tiny_store(tmp_path / "data", passes_1000hz())
    export_npz(store, None, tmp_path / "npz")
    path = tmp_path / "npz" / "export.json"
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(tree | {"config": tree["config"] | changes}))
    for act in (
        lambda: import_npz(tmp_path / "npz", tmp_path / "again"),
        lambda: export_npz(store, None, tmp_path / "npz"),
    ):
        with pytest.raises(InputError) as told:
            act()
        assert words in str(told.value)
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "export.json"),
        ("[]", "not a manifest"),
        ("{}", "not a manifest"),
        ('{"manifest": 1}', "missing or unknown fields"),
        ("\u00ff", "export.json"),
        (
            '{"manifest": 1, "what": "x", "config": [1], "seed": 0, "versions": {}, "inputs": {}}',
            "config = [1]: not as an export writes it",
        ),
        (
            '{"manifest": 1, "what": "x", "config": {}, "seed": 0, "versions": {}, "inputs": 3}',
            "inputs = 3: not as an export writes it",
        ),
    ],
)
def test_an_export_json_of_other_things_is_told_in_one_sentence(tmp_path, text, words):
    store = tiny_store(tmp_path / "data", passes_1000hz())
    export_npz(store, None, tmp_path / "npz")
    (tmp_path / "npz" / "export.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError) as told:
        import_npz(tmp_path / "npz", tmp_path / "again")
    assert words in str(told.value)
    assert "\n" not in str(told.value)
