# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
# ruff: noqa: RUF046, UP018
# In Warp int(0) is a variable where 0 is a constant.
"""How far a link is from an object: distance grids, the felt curve of a link, its lowest point."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from vibrissa.simulation._kernel_motion import make_motion
from vibrissa.simulation._kernel_types import make_types


@cache
def make_fields(real: Any) -> SimpleNamespace:
    """Structures and functions for ``wp.float32`` or ``wp.float64``."""
    Real = real
    types = make_types(real)
    V3 = types.V3
    Scene = types.Scene
    Pose = make_motion(real).Pose

    @wp.struct
    class Grid:
        """One distance field, unpacked once for many samples."""

        start: wp.int64
        row: wp.int32
        plane: wp.int32
        top: V3
        origin: V3
        spacing: real
        per_mm: real
        padding: real

    @wp.func
    def grid_of(scene: Scene, field: wp.int32):
        grid = Grid()
        shape = scene.field_shape[field]
        grid.start = scene.field_start[field]
        grid.row = shape[2]
        grid.plane = shape[1] * shape[2]
        grid.top = V3(Real(shape[0] - 1), Real(shape[1] - 1), Real(shape[2] - 1))
        grid.origin = scene.field_origin[field]
        grid.spacing = scene.field_spacing[field]
        grid.per_mm = Real(1.0) / grid.spacing
        grid.padding = scene.field_padding[field]
        return grid

    @wp.func
    def sample(distance: wp.array(dtype=wp.float32), grid: Grid, point: V3):
        """Signed distance at a point of the object's frame; a lower bound outside the grid."""
        cell = grid.per_mm * (point - grid.origin)
        top = grid.top
        low = V3(
            wp.clamp(cell[0], Real(0.0), top[0]),
            wp.clamp(cell[1], Real(0.0), top[1]),
            wp.clamp(cell[2], Real(0.0), top[2]),
        )
        beyond = wp.length_sq(cell - low)
        if beyond > Real(0.0):
            return grid.padding + grid.spacing * wp.sqrt(beyond)
        i = wp.int32(wp.min(low[0], top[0] - Real(1.0)))
        j = wp.int32(wp.min(low[1], top[1] - Real(1.0)))
        k = wp.int32(wp.min(low[2], top[2] - Real(1.0)))
        x = low[0] - Real(i)
        y = low[1] - Real(j)
        z = low[2] - Real(k)
        row = grid.row
        plane = grid.plane
        at = grid.start + wp.int64(i * plane + j * row + k)
        d000 = Real(distance[at])
        d001 = Real(distance[at + wp.int64(1)])
        at2 = at + wp.int64(row)
        d010 = Real(distance[at2])
        d011 = Real(distance[at2 + wp.int64(1)])
        at3 = at + wp.int64(plane)
        d100 = Real(distance[at3])
        d101 = Real(distance[at3 + wp.int64(1)])
        at4 = at3 + wp.int64(row)
        d110 = Real(distance[at4])
        d111 = Real(distance[at4 + wp.int64(1)])
        d00 = d000 + z * (d001 - d000)
        d01 = d010 + z * (d011 - d010)
        d10 = d100 + z * (d101 - d100)
        d11 = d110 + z * (d111 - d110)
        d0 = d00 + y * (d01 - d00)
        d1 = d10 + y * (d11 - d10)
        return d0 + x * (d1 - d0)

    @wp.func
    def normal_at(distance: wp.array(dtype=wp.float32), grid: Grid, y: V3):
        # Differences over two cells: the slope inside one trilinear cell is only first order.
        s = grid.spacing
        z = Real(0.0)
        return wp.normalize(
            V3(
                sample(distance, grid, y + V3(s, z, z)) - sample(distance, grid, y - V3(s, z, z)),
                sample(distance, grid, y + V3(z, s, z)) - sample(distance, grid, y - V3(z, s, z)),
                sample(distance, grid, y + V3(z, z, s)) - sample(distance, grid, y - V3(z, z, s)),
            )
        )

    @wp.struct
    class Curve:
        """One link as it is felt: the corners at its joints are rounded off by parabolas.

        The chain is the control polygon of a quadratic B-spline, which is what the bent beam looks
        like: it touches each link and cuts the corners. Vectors are in world axes
        or, as ``seen`` from an object, in its frame.
        """

        start: V3
        tangent: V3
        bend0: V3  # change of tangent at the joint where the link starts
        bend1: V3  # and where it ends
        reach0: real  # how far from the joint the rounding goes
        reach1: real
        length: real
        shrink: real  # whisker radius at the start, plus the contact offset
        taper: real

    @wp.func
    def felt_point(curve: Curve, arc: real):
        x0 = wp.max(Real(1.0) - arc / curve.reach0, Real(0.0))
        x1 = wp.max(Real(1.0) - (curve.length - arc) / curve.reach1, Real(0.0))
        return (
            arc * curve.tangent
            + (Real(0.25) * curve.reach0 * x0 * x0) * curve.bend0
            + (Real(0.25) * curve.reach1 * x1 * x1) * curve.bend1
        )

    @wp.func
    def gap_at(distance: wp.array(dtype=wp.float32), grid: Grid, curve: Curve, arc: real):
        return (
            sample(distance, grid, curve.start + felt_point(curve, arc))
            - curve.shrink
            - curve.taper * arc
        )

    @wp.func
    def lowest_of_parabola(a: real, b: real, c: real):
        """Abscissa in [-1, 1] of the lowest point of the parabola through -1, 0 and 1."""
        curve = a - Real(2.0) * b + c
        if curve > Real(1.0e-7):
            return wp.clamp(Real(0.5) * (a - c) / curve, Real(-1.0), Real(1.0))
        if a < c:
            return Real(-1.0)
        return Real(1.0)

    @wp.struct
    class Lowest:
        """The point of a link that is nearest to an object, as far as it was worth knowing."""

        found: wp.int32
        arc: real
        gap: real  # of the nearest sample
        bound: real  # nothing of the link is nearer than this

    @wp.func(inline=True)
    def followed(
        distance: wp.array(dtype=wp.float32), grid: Grid, curve: Curve, pose: Pose, arc: real
    ):
        """Where a contact was, it most likely still is: a parabola through three close samples.

        Finds nothing where the samples do not enclose a minimum.
        """
        back = wp.transpose(pose.turn)
        seen = curve
        seen.start = back * (curve.start - pose.position)
        seen.tangent = back * curve.tangent
        seen.bend0 = back * curve.bend0
        seen.bend1 = back * curve.bend1
        width = Real(0.0625) * curve.length
        middle = wp.clamp(arc, width, curve.length - width)
        ga = gap_at(distance, grid, seen, middle - width)
        gb = gap_at(distance, grid, seen, middle)
        gc = gap_at(distance, grid, seen, middle + width)
        lowest = Lowest()
        if gb <= wp.min(ga, gc):
            lowest.found = 1
            lowest.arc = middle + width * lowest_of_parabola(ga, gb, gc)
            lowest.gap = gb
        return lowest

    @wp.func(inline=True)
    def searched(
        distance: wp.array(dtype=wp.float32),
        grid: Grid,
        curve: Curve,
        pose: Pose,
        bow: real,
        below: real,
    ):
        """The lowest point of a link from five samples and, if need be, rounds of parabolas.

        Args:
            bow: how far the felt curve may leave the straight link.
            below: what other objects have already offered; only a lower gap counts.
        """
        length = curve.length
        half = Real(0.5) * length
        back = wp.transpose(pose.turn)
        seen = curve
        seen.start = back * (curve.start - pose.position)
        seen.tangent = back * curve.tangent
        lowest = Lowest()
        # One sample in the middle of the straight link is enough for most links.
        g2 = (
            sample(distance, grid, seen.start + half * seen.tangent)
            - seen.shrink
            - seen.taper * half
        )
        if g2 > half + bow + Real(0.05):
            lowest.bound = g2 - half - bow
            return lowest
        seen.bend0 = back * curve.bend0
        seen.bend1 = back * curve.bend1
        quarter = Real(0.5) * half
        g0 = gap_at(distance, grid, seen, Real(0.0))
        g1 = gap_at(distance, grid, seen, quarter)
        g3 = gap_at(distance, grid, seen, half + quarter)
        g4 = gap_at(distance, grid, seen, length)
        least = wp.min(wp.min(wp.min(g0, g1), wp.min(g2, g3)), g4)
        safe = least - Real(0.5) * quarter - bow
        if least < below and safe < Real(0.05):
            # The bracket around the lowest sample: middle, half width, values.
            width = quarter
            middle = half
            ga = g1
            gb = g2
            gc = g3
            inner = int(1)
            if least == g1:
                middle = quarter
                ga = g0
                gb = g1
                gc = g2
            elif least == g3:
                middle = half + quarter
                ga = g2
                gb = g3
                gc = g4
            elif least == g0:
                inner = 0
                width = Real(0.5) * quarter
                middle = width
                ga = g0
                gb = gap_at(distance, grid, seen, middle)
                gc = g1
                if gb < ga:
                    inner = 1
            elif least == g4:
                inner = 0
                width = Real(0.5) * quarter
                middle = length - width
                ga = g3
                gb = gap_at(distance, grid, seen, middle)
                gc = g4
                if gb < gc:
                    inner = 1
            for _round in range(2 * inner):
                trial = middle + width * lowest_of_parabola(ga, gb, gc)
                width = Real(0.5) * width
                middle = wp.clamp(trial, width, length - width)
                ga = gap_at(distance, grid, seen, middle - width)
                gb = gap_at(distance, grid, seen, middle)
                gc = gap_at(distance, grid, seen, middle + width)
            lowest.found = 1
            lowest.gap = least
            lowest.arc = wp.clamp(
                middle + width * lowest_of_parabola(ga, gb, gc), Real(0.0), length
            )
            # Seen this closely, nothing of the link is nearer than this.
            nearest = wp.min(wp.min(ga, gb), gc)
            safe = wp.max(safe, wp.min(nearest, least) - Real(0.03))
        lowest.bound = safe
        return lowest

    return SimpleNamespace(
        grid_of=grid_of, sample=sample, normal_at=normal_at, Curve=Curve, felt_point=felt_point,
        followed=followed, searched=searched,
    )  # fmt: skip
