"""The computation of a distance grid on the host side of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import InputError
from vibrissa.core.warp_runtime import warp_module
from vibrissa.objects.repair import RepairedMesh

TOP_STEP = 4
"""The coarsest lattice, in cells; a grid has a multiple of this many cells along each axis."""

EXACT_WITHIN_MM = 3.0
"""Distances up to this are exact to float32 rounding; larger ones are lower bounds."""

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
    wp = warp_module()
    from vibrissa.objects import _distance_kernels as kernels

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
        signed = sign_rule != "unsigned"
        values = _fill(wp, kernels, surface, start, shape, spacing_mm, signed)
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


def _fill(
    wp: Any,
    kernels: Any,
    surface: Any,
    start: Any,
    shape: tuple[int, int, int],
    spacing_mm: float,
    signed: bool,
) -> NDArray[np.float32]:
    """Distances and signs from the coarsest lattice down to the grid."""

    def launch(kernel: Any, step: int, *rest: Any, on_mesh: bool = True) -> None:
        lattice = tuple((n - 1) // step + 1 for n in shape)
        place = (surface.id, start) if on_mesh else ()
        wp.launch(kernel, int(np.prod(lattice)), [*place, spacing_mm, step, lattice, *rest])

    distance = wp.zeros(shape, dtype=float)
    launch(kernels.measure, TOP_STEP, distance)
    for step in (2, 1):
        # One cell of the coarser lattice more, so that what is exact rests on what is exact.
        exact_below = EXACT_WITHIN_MM + (step - 1) * 4.0 * spacing_mm
        launch(kernels.refine, step, exact_below, distance)
    values = np.array(distance.numpy(), dtype=np.float32)
    if not signed:
        return values
    sign = wp.zeros(shape, dtype=wp.int8)
    launch(kernels.ask_sign, TOP_STEP, distance, sign)
    for step in (2, 1, 1):
        known, sign = sign, wp.zeros(shape, dtype=wp.int8)
        launch(kernels.inherit_sign, step, distance, known, sign, on_mesh=False)
        if step == 2:
            launch(kernels.ask_sign, step, distance, sign)
    launch(kernels.ask_sign, 1, distance, sign)
    return values * sign.numpy()


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
