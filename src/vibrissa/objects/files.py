"""Reading one mesh file: OBJ, STL, PLY, OFF or GLB, or one sentence that says why not."""

from __future__ import annotations

import json
import logging
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import InputError, refuse
from vibrissa.objects.repair import merge_vertices
from vibrissa.objects.tactile_object import TactileObject

EXTENSIONS: Final = (".glb", ".obj", ".off", ".ply", ".stl")
UNITS_MM: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What is too much to read.

    Attributes:
        max_faces: largest number of triangles (or polygons, where a header counts those).
        max_bytes: largest file; it stands in for the face count where no header gives one.
    """

    max_faces: int = 2_000_000
    max_bytes: int = 400_000_000

    def __post_init__(self) -> None:
        for name in ("max_faces", "max_bytes"):
            if getattr(self, name) < 1:
                raise refuse(name, getattr(self, name), "not positive", "give 1 or more")


def read_object(
    path: Path | str,
    *,
    label: str | None = None,
    name: str | None = None,
    unit: str | None = None,
    diagonal_mm: float | None = None,
    limits: ReadLimits | None = None,
) -> TactileObject:
    """Read a mesh file.

    All meshes of a file are joined, with their transforms; polygons are cut into triangles;
    vertices of equal coordinates are merged, in the order of their first use. Nothing else is
    changed. Colours, normals and textures are left out.

    Args:
        path: the file; its extension, in either case, says what it is.
        label: class; the name of the folder by default.
        name: name; the file's name without extension by default.
        unit: unit of the coordinates, ``"mm"``, ``"cm"`` or ``"m"``; mm if neither this nor
            ``diagonal_mm`` is given.
        diagonal_mm: scale to this bounding-box diagonal instead, whatever the unit.
        limits: what is too much to read.

    Raises:
        InputError: the file is no usable mesh, in one sentence.
    """
    file = Path(path)
    limits = limits or ReadLimits()
    if unit is not None and unit not in UNITS_MM:
        raise refuse("unit", unit, "unknown", f"choose one of {', '.join(UNITS_MM)}")
    if diagonal_mm is not None and not (math.isfinite(diagonal_mm) and diagonal_mm > 0):
        raise refuse("diagonal_mm", diagonal_mm, "not a positive length", "give one above 0")
    if unit is not None and diagonal_mm is not None:
        raise refuse("unit", unit, "diagonal_mm fixes the size already", "give one of the two")
    data = _bytes_of(file, limits)
    vertices, faces = _parse(file, data, limits)
    if len(faces) > limits.max_faces:
        raise _too_many(file, len(faces), limits)
    title = name if name is not None else file.stem
    kind = label if label is not None else file.resolve().parent.name
    try:
        raw = TactileObject(title, kind, vertices, faces.astype(np.int32), source=str(file))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    merged, renumbered = merge_vertices(raw.vertices_mm, raw.faces.astype(np.int64))
    result = TactileObject(title, kind, merged, renumbered.astype(np.int32), source=str(file))
    try:
        if diagonal_mm is not None:
            return result.scaled_to_diagonal(diagonal_mm)
        return result if unit in (None, "mm") else result.scaled(UNITS_MM[unit])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _refused(file: Path, found: str, remedy: str) -> InputError:
    return InputError(f"{file}: {found}; {remedy}.")


def _too_many(file: Path, count: int, limits: ReadLimits) -> InputError:
    return _refused(
        file,
        f"it has {count} faces, above the limit of {limits.max_faces}",
        "simplify the mesh or raise max_faces",
    )


def _bytes_of(file: Path, limits: ReadLimits) -> bytes:
    kind = file.suffix.lower()
    if file.is_dir():
        raise _refused(file, "a folder where a mesh file is needed", "give a file, or read_folder")
    if file.exists() and not file.is_file():
        raise _refused(file, "a pipe or a device", "give a plain file")
    if kind not in EXTENSIONS:
        raise _refused(
            file,
            f"the extension {file.suffix!r} is not one of {', '.join(EXTENSIONS)}",
            "convert the mesh to one of these formats",
        )
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(65536)
            if not head:
                raise _refused(file, "it is empty (0 bytes)", "get the file again")
            declared = _declared_faces(kind, head, size)
            if declared is not None and declared > limits.max_faces:
                raise _too_many(file, declared, limits)
            if size > limits.max_bytes:
                raise _refused(
                    file,
                    f"it has {size} bytes, above the limit of {limits.max_bytes}",
                    "simplify the mesh or raise max_bytes",
                )
            return head + stream.read()
    except FileNotFoundError:
        raise _refused(file, "there is no such file", "check the path") from None
    except OSError as error:
        raise _refused(
            file, f"it cannot be read ({error.strerror or error})", "check its permissions"
        ) from None


def _declared_faces(kind: str, head: bytes, size: int) -> int | None:
    """Number of faces by the header, before the rest is read; None where none says so."""
    if kind == ".stl" and len(head) >= 84 and not _looks_like_ascii_stl(head):
        count = struct.unpack_from("<I", head, 80)[0]
        # A count that the size does not bear out is damage, which is reported as such later.
        return count if 84 + 50 * count <= size else None
    if kind == ".ply":
        return _ply_counts(head).get("face")
    if kind == ".off":
        words = _off_counts(head)
        return words[1] if words else None
    return None


def _looks_like_ascii_stl(data: bytes) -> bool:
    return data[:512].lstrip()[:5].lower() == b"solid" and b"\0" not in data[:512]


def _ply_counts(head: bytes) -> dict[str, int]:
    end = head.find(b"end_header")
    counts: dict[str, int] = {}
    if not head.startswith(b"ply") or end < 0:
        return counts
    for line in head[:end].decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "element" and words[2].isdigit():
            counts[words[1]] = int(words[2])
    return counts


def _off_counts(head: bytes) -> tuple[int, int] | None:
    lines = (line.split(b"#")[0] for line in head[:4096].splitlines())
    words = b" ".join(lines).split()[:4]
    if len(words) == 4 and words[0].endswith(b"OFF") and words[1].isdigit() and words[2].isdigit():
        return int(words[1]), int(words[2])
    return None


def _parse(
    file: Path, data: bytes, limits: ReadLimits
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    kind = file.suffix.lower()
    expected_vertices: int | None = None
    expected_faces = 1
    if kind == ".stl" and not _looks_like_ascii_stl(data):
        return _binary_stl(file, data)
    if kind == ".ply":
        counts = _ply_counts(data[:65536])
        if "vertex" not in counts:
            raise _mismatch(file, "PLY")
        expected_vertices, expected_faces = counts["vertex"], counts.get("face", 0)
        if not expected_faces:
            raise _no_faces(file)
        if min(expected_vertices, expected_faces) > len(data):
            raise _truncated(file, f"{expected_vertices} vertices and {expected_faces} faces")
    elif kind == ".off":
        off = _off_counts(data)
        if off is None:
            raise _mismatch(file, "OFF")
        expected_vertices, expected_faces = off
        if not expected_faces:
            raise _no_faces(file)
    elif kind == ".glb":
        _check_glb(file, data, limits)
    elif b"\0" in data[:65536] or (kind == ".obj" and not _has_obj_lines(data)):
        raise _mismatch(file, kind[1:].upper())
    elif kind == ".stl" and b"facet" not in data:
        raise _no_faces(file)
    vertices, faces = _through_trimesh(file, data, kind)
    if expected_vertices is not None and (
        len(vertices) < expected_vertices or len(faces) < expected_faces
    ):
        raise _truncated(file, f"{expected_vertices} vertices and {expected_faces} faces")
    if not len(faces):
        raise _no_faces(file)
    return vertices, faces


def _no_faces(file: Path) -> InputError:
    return _refused(file, "it has no faces", "give a triangle mesh, not points or curves")


def _mismatch(file: Path, kind: str) -> InputError:
    return _refused(
        file, f"its content is not {kind}", "give the file the extension of its true format"
    )


def _truncated(file: Path, promised: str) -> InputError:
    return _refused(
        file, f"its header promises {promised} but the file ends early", "get the file again"
    )


def _has_obj_lines(data: bytes) -> bool:
    return data.startswith(b"v ") or b"\nv " in data or b"\nv\t" in data


def _binary_stl(file: Path, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if len(data) < 84:
        raise _mismatch(file, "STL")
    count = struct.unpack_from("<I", data, 80)[0]
    if not count:
        raise _no_faces(file)
    if 84 + 50 * count > len(data):
        known = (b"ply", b"glTF", b"OFF", b"#", b"v ", b"mtllib", b"o ", b"\x89PNG", b"PK", b"<")
        if data.startswith(known):
            raise _mismatch(file, "STL")
        raise _truncated(file, f"{count} faces ({84 + 50 * count} bytes, there are {len(data)})")
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.frombuffer(data, record, count=count, offset=84)["corners"]
    vertices = corners.reshape(-1, 3).astype(np.float64)
    return vertices, np.arange(3 * count, dtype=np.int64).reshape(-1, 3)


def _check_glb(file: Path, data: bytes, limits: ReadLimits) -> None:
    if data[:4] != b"glTF" or len(data) < 20:
        raise _mismatch(file, "GLB")
    length = struct.unpack_from("<I", data, 8)[0]
    if length > len(data):
        raise _truncated(file, f"{length} bytes (there are {len(data)})")
    size = struct.unpack_from("<I", data, 12)[0]
    try:
        tree = json.loads(data[20 : 20 + size])
        accessors = tree.get("accessors", [])
        total = 0
        for mesh in tree.get("meshes", []):
            for part in mesh.get("primitives", []):
                index = part.get("indices", part.get("attributes", {}).get("POSITION"))
                total += accessors[index]["count"] // 3
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise _refused(file, "its GLB header is damaged", "get the file again") from None
    if not total:
        raise _no_faces(file)
    if total > limits.max_faces:
        raise _too_many(file, total, limits)


def _through_trimesh(
    file: Path, data: bytes, kind: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    import io

    import trimesh

    file_type = "stl_ascii" if kind == ".stl" else kind[1:]
    options: dict[str, Any] = {"process": False}
    if kind == ".obj":
        options |= {"skip_materials": True, "maintain_order": True}
    with _silence():
        try:
            scene = trimesh.load_scene(io.BytesIO(data), file_type=file_type, **options)
            parts = [(n, *scene.graph[n]) for n in sorted(scene.graph.nodes_geometry)]
            vertices: list[NDArray[np.float64]] = []
            faces: list[NDArray[np.int64]] = []
            offset = 0
            for _, matrix, geometry_name in parts:
                geometry: Any = scene.geometry[geometry_name]
                if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
                    continue
                points = np.asarray(geometry.vertices, dtype=np.float64)
                corners = np.asarray(geometry.faces, dtype=np.int64)
                if np.linalg.det(matrix[:3, :3]) < 0:
                    corners = corners[:, ::-1]
                vertices.append(points @ matrix[:3, :3].T + matrix[:3, 3])
                faces.append(corners + offset)
                # Out-of-range indices must not reach into the next part unnoticed.
                if corners.min() < 0 or corners.max() >= len(points):
                    raise _IndexOutOfRange(int(corners.max()), len(points))
                offset += len(points)
        except _IndexOutOfRange as error:
            raise _refused(
                file,
                f"a face uses vertex {error.index}, but there are {error.count} vertices",
                "repair the mesh",
            ) from None
        except MemoryError:
            raise _refused(file, "it does not fit into memory", "simplify the mesh") from None
        except Exception as error:  # trimesh raises whatever its parsers run into
            text = " ".join(str(error).split())[:100].rstrip(".;")
            reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
            raise _refused(
                file,
                f"it cannot be read as {kind[1:].upper()} ({reason}), or is cut short",
                "repair the file or export it again",
            ) from None
    if not vertices:
        raise _no_faces(file)
    return np.concatenate(vertices), np.concatenate(faces)


class _IndexOutOfRange(Exception):
    def __init__(self, index: int, count: int) -> None:
        super().__init__(index, count)
        self.index, self.count = index, count


@contextmanager
def _silence() -> Iterator[None]:
    """Keep trimesh's log lines and numpy's warnings about odd files to ourselves."""
    logger = logging.getLogger("trimesh")
    disabled = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = disabled
