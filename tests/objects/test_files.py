"""Mesh files: what is read comes back whole, what cannot be read gives one sentence."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from vibrissa.core.errors import InputError
from vibrissa.objects import ReadLimits, TactileObject, procedural_object, read_object

ITEM = procedural_object("gear", 0)


def as_trimesh(item: TactileObject = ITEM) -> trimesh.Trimesh:
    return trimesh.Trimesh(item.vertices_mm, item.faces, process=False)


@pytest.mark.parametrize(
    ("extension", "options"),
    [
        ("obj", {}),
        ("stl", {}),
        ("stl", {"file_type": "stl_ascii"}),
        ("ply", {}),
        ("ply", {"encoding": "ascii"}),
        ("off", {}),
        ("glb", {}),
        ("STL", {}),
    ],
)
def test_round_trip(tmp_path: Path, extension: str, options: dict[str, str]) -> None:
    folder = tmp_path / "gear"
    folder.mkdir()
    path = folder / f"wheel.{extension}"
    kind = {"file_type": extension.lower()} | options
    as_trimesh().export(path, **kind)
    item = read_object(path)
    assert (item.name, item.label) == ("wheel", "gear")
    assert len(item.faces) == len(ITEM.faces)
    assert len(item.vertices_mm) == len(ITEM.vertices_mm)
    mesh = as_trimesh(item)
    assert mesh.is_watertight
    np.testing.assert_allclose(mesh.volume, as_trimesh().volume, rtol=1e-4)
    triangles, expected = item.vertices_mm[item.faces], ITEM.vertices_mm[ITEM.faces]
    np.testing.assert_allclose(triangles, expected, atol=2e-5)
    assert item.digest == read_object(path).digest


def test_unit_and_diagonal(tmp_path: Path) -> None:
    path = tmp_path / "a.stl"
    as_trimesh().export(path)
    assert np.isclose(read_object(path).diagonal_mm, 40.0, rtol=1e-5)
    assert np.isclose(read_object(path, unit="cm").diagonal_mm, 400.0, rtol=1e-5)
    assert np.isclose(read_object(path, unit="m").diagonal_mm, 40000.0, rtol=1e-5)
    assert np.isclose(read_object(path, diagonal_mm=25.0).diagonal_mm, 25.0)
    assert read_object(path, label="x", name="y").label == "x"
    for unit, diagonal_mm in (("inch", None), (None, -1.0), ("m", 2.0)):
        with pytest.raises(InputError):
            read_object(path, unit=unit, diagonal_mm=diagonal_mm)


def test_quads_and_groups_and_unused_vertices(tmp_path: Path) -> None:
    corners = [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    quads = ["1 4 3 2", "5 6 7 8", "1 2 6 5", "2 3 7 6", "3 4 8 7", "4 1 5 8"]
    lines = ["# cube", "mtllib absent.mtl", "o part", "v 99 99 99"]
    lines[3:3] = [f"v {x} {y} {z}" for x, y, z in corners]
    for n, quad in enumerate(quads):
        lines += [f"g side{n}", f"usemtl m{n}", f"f {quad}"]
    path = tmp_path / "cube.obj"
    path.write_text("\n".join(lines) + "\n")
    item = read_object(path)
    assert (len(item.vertices_mm), len(item.faces)) == (8, 12)
    assert np.isclose(as_trimesh(item).volume, 1.0)


def test_scene_with_transforms(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    box = trimesh.creation.box([1.0, 1.0, 1.0])
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 10.0
    scene.add_geometry(box, node_name="a", geom_name="box")
    scene.add_geometry(box.copy(), node_name="b", geom_name="box2", transform=mirror)
    path = tmp_path / "two.glb"
    scene.export(path)
    item = read_object(path)
    assert len(item.faces) == 24
    assert np.isclose(item.extent_mm[0], 11.0)
    assert np.isclose(as_trimesh(item).volume, 2.0)  # the mirrored part faces outward too


def test_flat_plate_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "plate.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n")
    assert len(read_object(path).faces) == 2


def binary_stl(count: int, body: bytes) -> bytes:
    return b"made".ljust(80, b"\0") + struct.pack("<I", count) + body


def exported(kind: str) -> bytes:
    data = as_trimesh().export(file_type=kind)
    assert isinstance(data, bytes | str)
    return data if isinstance(data, bytes) else data.encode()


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
PLY = "ply\nformat {}\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
PLY += "element face {}\nproperty list uchar int vertex_indices\nend_header\n"

BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty obj": ("a.obj", lambda: b""),
    "empty stl": ("a.stl", lambda: b""),
    "obj without faces": ("a.obj", lambda: TRIANGLE.encode()),
    "obj of a line": ("a.obj", lambda: (TRIANGLE + "l 1 2 3\n").encode()),
    "obj of text": ("a.obj", lambda: b"a recipe for soup\n"),
    "obj of zeros": ("a.obj", lambda: bytes(4096)),
    "zero area": ("a.obj", lambda: b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"),
    "one point": ("a.obj", lambda: b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n"),
    "nan": ("a.obj", lambda: b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n"),
    "inf": ("a.obj", lambda: b"v 0 0 0\nv inf 0 0\nv 0 1 0\nf 1 2 3\n"),
    "index out of range": ("a.obj", lambda: (TRIANGLE + "f 1 2 9\n").encode()),
    "index zero": ("a.obj", lambda: (TRIANGLE + "f 0 1 2\n").encode()),
    "broken number": ("a.obj", lambda: b"v 0 0 x\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
    "off index": ("a.off", lambda: b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n"),
    "off short": ("a.off", lambda: b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
    "off text": ("a.off", lambda: b"switched off\n"),
    "truncated stl": ("a.stl", lambda: exported("stl")[:-1000]),
    "stl header only": ("a.stl", lambda: exported("stl")[:84]),
    "stl of no faces": ("a.stl", lambda: binary_stl(0, b"")),
    "ascii stl of no faces": ("a.stl", lambda: b"solid x\nendsolid x\n"),
    "ascii stl cut": ("a.stl", lambda: exported("stl_ascii")[:5000]),
    "stl nan": ("a.stl", lambda: binary_stl(1, struct.pack("<12fH", *[float("nan")] * 12, 0))),
    "truncated ply": ("a.ply", lambda: exported("ply")[:-1000]),
    "ply header only": ("a.ply", lambda: exported("ply").split(b"end_header")[0]),
    "ply without faces": ("a.ply", lambda: PLY.format("ascii 1.0", 1, 0).encode() + b"0 0 0\n"),
    "ply that lies": (
        "a.ply",
        lambda: PLY.format("binary_little_endian 1.0", 10**9, 10**6).encode() + bytes(99),
    ),
    "truncated glb": ("a.glb", lambda: exported("glb")[:-1000]),
    "glb header only": ("a.glb", lambda: exported("glb")[:20]),
    "glb bad json": ("a.glb", lambda: exported("glb").replace(b'"accessors"', b'"accessorz"')),
    "stl named obj": ("a.obj", lambda: exported("stl")),
    "stl named glb": ("a.glb", lambda: exported("stl")),
    "stl named ply": ("a.ply", lambda: exported("stl")),
    "stl named off": ("a.off", lambda: exported("stl")),
    "obj named stl": ("a.stl", lambda: exported("obj")),
    "ply named stl": ("a.stl", lambda: exported("ply")),
    "glb named stl": ("a.stl", lambda: exported("glb")),
    "glb named obj": ("a.obj", lambda: exported("glb")),
    "unknown extension": ("a.blend", lambda: b"BLENDER"),
    "no extension": ("a", lambda: exported("stl")),
    "too many, stl": ("a.stl", lambda: binary_stl(500, bytes(25000))),
    "too many, ply": ("a.ply", lambda: PLY.format("ascii 1.0", 3, 10_000_000).encode()),
    "too many, off": ("a.off", lambda: b"OFF\n3 10000000 0\n"),
    "too many, obj": ("a.obj", lambda: (TRIANGLE + "f 1 2 3\n" * 500).encode()),
    "too many, glb": ("a.glb", lambda: exported("glb")),
}
REMEDIES = (
    "get the file again",
    "repair",
    "give a ",
    "give the ",
    "convert",
    "simplify",
    "check",
    "give one",
)


def check_sentence(error: InputError, path: Path) -> None:
    text = str(error)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert text.endswith(".")
    assert "; " in text
    assert any(f"; {remedy}" in text for remedy in REMEDIES), text
    assert len(text) < 400 + len(str(path))
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize("case", BAD)
def test_bad_mesh_gives_one_sentence(
    tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    name, content = BAD[case]
    path = tmp_path / name
    path.write_bytes(content())
    limits = ReadLimits(max_faces=400) if case.startswith("too many") else None
    with pytest.raises(InputError) as caught:
        read_object(path, limits=limits)
    check_sentence(caught.value, path)
    if case.startswith("too many"):
        assert "above the limit of 400" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_folder_missing_and_large(tmp_path: Path) -> None:
    (tmp_path / "b.obj").mkdir()
    for path in (tmp_path, tmp_path / "b.obj", tmp_path / "absent.stl"):
        with pytest.raises(InputError) as caught:
            read_object(path)
        check_sentence(caught.value, path)
    big = tmp_path / "big.obj"
    big.write_text(TRIANGLE + "f 1 2 3\n")
    with pytest.raises(InputError, match="bytes, above the limit of 10"):
        read_object(big, limits=ReadLimits(max_bytes=10))
    with pytest.raises(InputError):
        ReadLimits(max_faces=0)


def test_ten_million_faces_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.stl"
    with path.open("wb") as stream:  # sparse
        stream.write(binary_stl(10_000_000, b""))
        stream.truncate(84 + 50 * 10_000_000)
    with pytest.raises(InputError, match="10000000 faces, above the limit of 2000000"):
        read_object(path)


def test_binary_stl_that_says_solid(tmp_path: Path) -> None:
    data = exported("stl")
    path = tmp_path / "a.stl"
    path.write_bytes(b"solid exported by something".ljust(80, b"\0") + data[80:])
    assert len(read_object(path).faces) == len(ITEM.faces)
    path.write_bytes(b"solid exported by something".ljust(80, b" ") + data[80:])
    assert len(read_object(path).faces) == len(ITEM.faces)
