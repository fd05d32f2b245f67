"""Copies of meshes are known however they are scaled, turned, moved or re-ordered."""

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_farm import tiny_recipe

from vibrissa.data.building import build
from vibrissa.data.likeness import TOLERANCE, alike, likeness_of
from vibrissa.data.sources import MeshSource
from vibrissa.data.split_table import Sweeps
from vibrissa.data.splits import ByObject, BySweep, Split, leaks
from vibrissa.data.store import SweepStore
from vibrissa.objects import procedural_classes, procedural_object, read_folder
from vibrissa.objects.folders import ObjectSource

GIVEN = Path(os.environ.get("VIBRISSA_TEST_OBJECTS", "objects-of-tests"))


def copied(vertices, faces, seed, *, dtype: type = np.float64):
    """Scaled, turned (or mirrored), moved, vertices, faces and corners in another order."""
    draws = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(draws.normal(size=(3, 3)))
    order = draws.permutation(len(vertices))
    size = np.exp(draws.uniform(-3, 3))
    moved = size * (vertices @ turn.T + draws.normal(size=3) * np.ptp(vertices))
    faces = np.argsort(order)[faces][draws.permutation(len(faces))]
    shifts = draws.integers(3, size=len(faces))
    faces = np.take_along_axis(faces, (np.arange(3) + shifts[:, None]) % 3, axis=1)
    return moved[order].astype(dtype), faces


def test_the_numbers_of_a_cube_are_those_of_geometry():
    corners = np.array([[x, y, z] for x in (0, 2.0) for y in (0, 2.0) for z in (0, 2.0)])
    faces = np.array(
        [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
         [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    )  # fmt: skip
    found = [float(word) for word in likeness_of(corners, faces).split()]
    assert found[:2] == [8, 12]
    size = np.sqrt(24.0)
    assert found[2] == pytest.approx(8.0 / size**3, abs=1e-6)
    # surface second moment about one axis: faces at +-1 hold 1, the other four 1/3
    wanted = (8 * 1.0 + 16 / 3.0) / 24.0 / 24.0
    assert found[3:6] == pytest.approx([wanted] * 3, abs=1e-6)
    assert found[6] == found[21] == pytest.approx(np.sqrt(3.0) / size, abs=1e-6)
    assert (found[22], found[37]) == pytest.approx((2 / size, np.sqrt(8) / size), abs=1e-6)
    assert found[38] == found[45] == pytest.approx(np.sqrt(2.0) / size, abs=1e-6)
    assert len(found) == 46


def test_copies_are_found_and_classes_kept_apart():
    known, wanted = {}, {}
    for label in procedural_classes():
        for index in range(4):
            shape = procedural_object(label, index)
            name = f"{label}/{index:05d}"
            known[name] = likeness_of(shape.vertices_mm, shape.faces)
            for k, dtype in enumerate((np.float64, np.float32)):
                copy = copied(shape.vertices_mm, shape.faces, seed=index + 100 * k, dtype=dtype)
                known[f"{name} copy {k}"] = likeness_of(*copy)
            wanted |= {f"{name}{end}": name for end in ("", " copy 0", " copy 1")}
    assert len(known) == 27 * 4 * 3
    assert alike(known) == wanted


def test_what_is_a_little_different_is_another_object():
    shape = procedural_object("cup", 0)
    longer = shape.vertices_mm * (1.0, 1.0, 1.001)
    cut = shape.faces[1:]
    known = {
        "a": likeness_of(shape.vertices_mm, shape.faces),
        "b": likeness_of(longer, shape.faces),
        "c": likeness_of(shape.vertices_mm, cut),
        "d": "",
        "e": "",
        "f": likeness_of(np.zeros((3, 3)), np.array([[0, 1, 2]])),
    }
    assert alike(known) == {name: name for name in known}
    unused = np.concatenate([shape.vertices_mm, [[1e3, 0, 0]]])
    assert likeness_of(unused, shape.faces) == known["a"]


def test_closeness_is_passed_on_and_order_does_not_count():
    def at(value):
        return "8 12 0.5 " + f"{value:.7f} 1.0"

    step = 0.9 * TOLERANCE
    known = {"c": at(0), "a": at(step), "b": at(2 * step), "z": at(4 * step), "y": "9 12 0.5 0 1"}
    assert alike(known) == {"a": "a", "b": "a", "c": "a", "z": "z", "y": "y"}
    assert alike(dict(reversed(known.items()))) == alike(known)


@pytest.mark.skipif(not GIVEN.is_dir(), reason="VIBRISSA_TEST_OBJECTS names no folder of meshes")
def test_copies_of_meshes_from_a_folder():
    known, digests = {}, {}
    for source in read_folder(GIVEN):
        shape = source.read()
        digests[source.name] = shape.digest
        known[source.name] = likeness_of(shape.vertices_mm, shape.faces)
        known[f"{source.name} copy"] = likeness_of(*copied(shape.vertices_mm, shape.faces, 0))
    found = alike(known)
    for name, digest in digests.items():
        assert found[f"{name} copy"] == found[name]
        first = found[name].removesuffix(" copy")
        assert digests[first] == digest, (name, first)  # only equal meshes fall together


def mesh_file(folder, name, vertices, faces):
    path = folder / f"{name}.obj"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    rows += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    path.write_text("\n".join(rows) + "\n")
    file = ObjectSource(path=path, name=name, label=name.partition("/")[0], unit="mm")
    return MeshSource(file=file)


def test_a_scaled_copy_leaks_and_is_kept_together(tmp_path):
    sources = []
    for index in range(5):
        shape = procedural_object("cup", index)
        sources.append(mesh_file(tmp_path, f"cup/{index}", shape.vertices_mm, shape.faces))
    shape = procedural_object("cup", 2)
    # not mirrored: the mesh must still have its inside inside
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    order = np.random.default_rng(0).permutation(len(shape.vertices_mm))
    larger = (1.7 * shape.vertices_mm @ turn.T + 5.0)[order]
    copy = mesh_file(tmp_path, "cup/copy", larger, np.argsort(order)[shape.faces])
    build(tiny_recipe(), [*sources, copy], tmp_path / "data")
    store = SweepStore.open(tmp_path / "data")
    table = store.table
    first = dict(zip(table["object"], table["alike"], strict=True))
    assert first == {f"cup/{k}": f"cup/{k}" for k in range(5)} | {"cup/copy": "cup/2"}
    assert len(set(table["geometry"].tolist())) == 6
    shapes = Sweeps.of(table).geometry_of
    assert shapes["cup/copy"] == shapes["cup/2"]
    assert len(set(shapes.values())) == 5
    for seed in range(5):
        split = Split.make("s", ByObject(seed=seed, fractions=(0.4, 0.3, 0.3)), table)
        assert split.assignment["cup/copy"] == split.assignment["cup/2"]
        assert not leaks(split.codes(table), table)
    codes = np.where(table["object"] == "cup/copy", 2, 0).astype(np.int8)
    found = leaks(codes, table)
    assert found.copies == ("cup/2", "cup/copy")
    assert "2 more have a copy in another part" in found.sentence()
    assert Split.make("b", BySweep(), table) is not None
