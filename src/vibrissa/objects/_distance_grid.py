"""The computation of a distance grid on the host side of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import InputError
from vibrissa.objects.repair import RepairedMesh

BLOCK = 4
"""Nodes along the edge of a block; the kernels are written for this number."""

LIST_CAPACITY = 768
LIST_BELOW_MM = 12.0
"""Blocks farther from the surface than this ask the mesh node by node; speed only."""

ALMOST_NOTHING_INSIDE = 0.05
"""Share of the nodes within one cell of an open surface that must be inside it for it to count as
solid; about one half for a solid, about zero for a sheet."""


def distance_grid(
    mesh: RepairedMesh,
    origin_mm: NDArray[np.float64],
    shape: tuple[int, int, int],
    spacing_mm: float,
    sign_rule: str,
    shell_offset_mm: float,
    device: str,
) -> tuple[NDArray[np.float32], str]:
    """Signed distances at the nodes, float32 in mm, and the sign rule that was used."""
    wp, kernels = _warp()
    if device not in [str(known) for known in wp.get_devices()]:
        raise InputError(
            f"device = {device!r}: not a device of this computer; use 'cpu' or one of "
            f"{', '.join(str(known) for known in wp.get_devices())}."
        )
    # float32 is relative: near the centre of the mesh it is finest.
    centre = 0.5 * (mesh.vertices_mm.min(axis=0) + mesh.vertices_mm.max(axis=0))
    points = (mesh.vertices_mm - centre).astype(np.float32)
    start = wp.vec3(*(origin_mm - centre).tolist())
    with wp.ScopedDevice(device):
        surface = wp.Mesh(
            points=wp.array(points, dtype=wp.vec3),
            indices=wp.array(mesh.faces.astype(np.int32).ravel(), dtype=wp.int32),
            support_winding_number=True,
        )
        corners = wp.array(points[mesh.faces], dtype=wp.vec3)
        signed = sign_rule != "unsigned"
        values = _fill(wp, kernels, surface, corners, start, shape, spacing_mm, signed, mesh.closed)
    if signed and not mesh.closed:
        near = np.abs(values) <= spacing_mm
        inside = np.count_nonzero(values[near] < 0) / max(np.count_nonzero(near), 1)
        if sign_rule == "auto" and inside < ALMOST_NOTHING_INSIDE:
            signed = False
            values = np.abs(values)
        else:
            _cap_holes(values, spacing_mm)
    if not signed:
        values -= np.float32(shell_offset_mm)
    return values, "winding" if signed else "unsigned"


def _warp() -> tuple[Any, Any]:
    import warp

    from vibrissa.objects import _distance_kernels

    return warp, _distance_kernels


def _fill(
    wp: Any,
    kernels: Any,
    surface: Any,
    corners: Any,
    start: Any,
    shape: tuple[int, int, int],
    spacing_mm: float,
    signed: bool,
    closed: bool,
) -> NDArray[np.float32]:
    blocks = tuple(-(-n // BLOCK) for n in shape)
    count = blocks[0] * blocks[1] * blocks[2]
    distance = wp.empty(count, dtype=float)
    sign = wp.empty(count, dtype=float)
    wp.launch(
        kernels.query_centres,
        count,
        [surface.id, start, spacing_mm, blocks[1], blocks[2], int(signed), distance, sign],
    )
    rule = wp.array(_sign_rules(distance, sign, blocks, spacing_mm, signed, closed), dtype=int)
    chunk = min(count, 256 if wp.get_device().is_cpu else 16384)
    scratch = [
        wp.empty((chunk, LIST_CAPACITY), dtype=kind) for kind in (int, float, int, float)
    ]
    values = wp.empty(shape, dtype=float)
    for first in range(0, count, chunk):
        wp.launch(
            kernels.fill_blocks,
            min(chunk, count - first),
            [
                *(surface.id, corners, start, spacing_mm, *shape, blocks[1], blocks[2], first),
                *(LIST_BELOW_MM, rule, distance, sign, *scratch, values),
            ],
        )
    return np.array(values.numpy(), dtype=np.float32)


def _sign_rules(
    distance: Any,
    sign: Any,
    blocks: tuple[int, ...],
    spacing_mm: float,
    signed: bool,
    closed: bool,
) -> NDArray[np.int32]:
    """Per block: 0 the sign of its centre holds, 1 ask corner by corner, 2 node by node."""
    count = int(np.prod(blocks))
    if not signed:
        return np.zeros(count, np.int32)
    half_diagonal = 0.5 * (BLOCK - 1) * 3**0.5 * spacing_mm
    touched = distance.numpy() <= half_diagonal * 1.001
    if closed:  # the sign changes at the surface and nowhere else
        return touched.astype(np.int32)
    # An open surface changes sign across its holes too: look wherever neighbours differ.
    from scipy.ndimage import maximum_filter, minimum_filter

    side = sign.numpy().reshape(blocks)
    mixed = maximum_filter(side, 3, mode="nearest") != minimum_filter(side, 3, mode="nearest")
    return (2 * (mixed.ravel() | touched)).astype(np.int32)


def _cap_holes(values: NDArray[np.float32], spacing_mm: float) -> None:
    """Where the sign changes away from the surface (in a hole), let the distance pass zero there.

    The winding number closes a hole by its surface of value one half. That surface is taken into
    the field as points half a cell beside the nodes on both its sides; without it the field would
    jump from positive to negative by twice the distance to the rim.
    """
    seeds = np.zeros(values.shape, bool)
    magnitude = np.abs(values)
    inside = values < 0
    for axis in range(3):
        low = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        high = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        # A segment that crosses the surface is at least as long as both its ends are far from it.
        jump = (inside[low] != inside[high]) & (
            magnitude[low] + magnitude[high] > spacing_mm * 1.0001
        )
        seeds[low] |= jump
        seeds[high] |= jump
    if not seeds.any():
        return
    from scipy.ndimage import distance_transform_edt

    to_cap = np.asarray(distance_transform_edt(~seeds, sampling=spacing_mm)) + 0.5 * spacing_mm
    np.minimum(magnitude, to_cap.astype(np.float32), out=magnitude)
    np.copysign(magnitude, values, out=values)
