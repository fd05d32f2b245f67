"""Folders of classes, ShapeNetCore trees, and batches with bad files in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh

from vibrissa.core.errors import InputError
from vibrissa.objects import load_all, read_folder, read_shapenet


def put(path: Path, size: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.creation.box([size] * 3).export(path)


def test_folder(tmp_path: Path) -> None:
    for name in ("b/two.stl", "b/one.obj", "a/x.ply", "a/x.off", "a/y.GLB"):
        put(tmp_path / name.lower())
    (tmp_path / "a" / "notes.txt").write_text("not a mesh")
    (tmp_path / "a" / ".hidden.obj").write_text("")
    put(tmp_path / "a" / "deeper" / "z.obj")
    (tmp_path / "objects.csv").write_text("")
    sources = read_folder(tmp_path, diagonal_mm=40.0)
    names = ["a/x.off", "a/x.ply", "a/y", "b/one", "b/two"]
    assert [s.name for s in sources] == names
    assert [s.label for s in sources] == ["a", "a", "a", "b", "b"]
    objects, refusals = load_all(sources)
    assert not refusals
    assert [o.name for o in objects] == names
    assert all(abs(o.diagonal_mm - 40.0) < 1e-6 for o in objects)


def test_bad_files_do_not_stop_the_batch(tmp_path: Path) -> None:
    put(tmp_path / "a" / "good.stl")
    (tmp_path / "a" / "bad.obj").write_text("")
    put(tmp_path / "b" / "gone.stl")
    put(tmp_path / "b" / "other.stl")
    sources = read_folder(tmp_path)
    (tmp_path / "b" / "gone.stl").unlink()
    objects, refusals = load_all(sources)
    assert [o.name for o in objects] == ["a/good", "b/other"]
    assert [r.source.name for r in refusals] == ["a/bad", "b/gone"]
    assert "empty" in refusals[0].reason
    assert "no such file" in refusals[1].reason


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(InputError, match="one folder per class"):
        read_folder(tmp_path)


def shapenet(root: Path) -> None:
    for name in ("03797390/b", "03797390/a", "02876657/c"):
        put(root / name / "models" / "model_normalized.obj")


def test_shapenet(tmp_path: Path) -> None:
    shapenet(tmp_path / "core")
    everything = read_shapenet(tmp_path / "core")
    assert [s.name for s in everything.sources] == ["02876657/c", "03797390/a", "03797390/b"]
    assert [s.label for s in everything.sources] == ["02876657", "03797390", "03797390"]
    ids = tmp_path / "ids.txt"
    ids.write_text("# chosen\n03797390/b\n03797390/zzz  # lost\n\n02876657/c\n03797390/b\n")
    table = tmp_path / "labels.csv"
    table.write_text("synset,label\n03797390,mug\n02876657/c,bottle\n")
    listing = read_shapenet(tmp_path / "core", ids, table, diagonal_mm=40.0)
    assert [(s.name, s.label) for s in listing.sources] == [
        ("03797390/b", "mug"),
        ("02876657/c", "bottle"),
    ]
    assert listing.missing == ("03797390/zzz",)
    objects, refusals = load_all(listing.sources)
    assert [o.label for o in objects] == ["mug", "bottle"]
    assert not refusals
    mapping = tmp_path / "labels.json"
    mapping.write_text(json.dumps({"03797390": "mug"}))
    again = read_shapenet(tmp_path / "core", ["03797390/a"], mapping)
    assert again.sources[0].label == "mug"


def test_shapenet_refusals(tmp_path: Path) -> None:
    shapenet(tmp_path)
    with pytest.raises(InputError, match="synset/model"):
        read_shapenet(tmp_path, ["../etc"])
    with pytest.raises(InputError, match="synset/model"):
        read_shapenet(tmp_path, ["03797390"])
    with pytest.raises(InputError, match="readable text"):
        read_shapenet(tmp_path, tmp_path / "absent.txt")
    (tmp_path / "l.json").write_text("[1]")
    with pytest.raises(InputError, match="JSON"):
        read_shapenet(tmp_path, None, tmp_path / "l.json")
    (tmp_path / "l.csv").write_text("a,b,c\n")
    with pytest.raises(InputError, match="two columns"):
        read_shapenet(tmp_path, None, tmp_path / "l.csv")


def test_real_meshes(reference_objects: Path) -> None:
    sources = read_folder(reference_objects, diagonal_mm=40.0)
    assert len({s.label for s in sources}) >= 10
    objects, refusals = load_all(sources[::10])
    assert not refusals
    assert objects
