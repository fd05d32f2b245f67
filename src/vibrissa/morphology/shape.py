"""Rest shapes: a planar parabola by arc length, and the chain of links of the published arrays.

Base frame: x along the whisker at its base, the whisker bends toward -y, about z in the negative
sense. All functions are pure and take arc lengths in mm.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_PUBLISHED_ANGLES: Final = 20  # links for which the published table holds a joint angle


def parabola_abscissa_mm(arc_mm: npt.ArrayLike, curvature_per_mm: float) -> Array:
    """Where the parabola y = a x^2 has come to after an arc length.

    Solves s(x) = (x sqrt(1 + u^2) + asinh(u) / (2 a)) / 2, u = 2 a x, by Newton's method; s is
    convex and x <= s, so that the iteration from x = s falls monotonically to the root.

    Args:
        arc_mm: arc length from the apex, any shape, not negative.
        curvature_per_mm: a, not negative; 0 is a straight line.

    Returns:
        x in mm, to rounding, the shape of ``arc_mm``.
    """
    s = np.asarray(arc_mm, dtype=np.float64)
    a = float(curvature_per_mm)
    if a == 0.0:
        return s.copy()
    x = s.copy()
    for _ in range(100):
        u = 2.0 * a * x
        root = np.sqrt(1.0 + u * u)
        step = (0.5 * (x * root + np.arcsinh(u) / (2.0 * a)) - s) / root
        x = x - step
        if np.all(np.abs(step) <= 1e-14 * (1.0 + np.abs(x))):
            break
    return x


def parabola_points_mm(arc_mm: npt.ArrayLike, curvature_per_mm: float) -> Array:
    """Points (..., 3) of the parabola y = -a x^2, z = 0 at the given arc lengths."""
    x = parabola_abscissa_mm(arc_mm, curvature_per_mm)
    return np.stack([x, -curvature_per_mm * x * x, np.zeros_like(x)], axis=-1)


def parabola_turning_rad(arc_mm: npt.ArrayLike, curvature_per_mm: float) -> Array:
    """Angle of the tangent from the x axis about z (0 or negative), the shape of ``arc_mm``."""
    return -np.arctan(2.0 * curvature_per_mm * parabola_abscissa_mm(arc_mm, curvature_per_mm))


def published_link_count(length_mm: float) -> int:
    """Links of the published whisker: one for each whole mm, at least one."""
    return max(1, int(np.floor(length_mm)))


def published_angles_rad(length_mm: float, curvature_per_mm: float) -> Array:
    """Joint angles at rest of the published chain of N equal links.

    The published arrays cut the parabola into 20 chords and tabulate the angles between them, but
    use only the first N on N longer links; so short whiskers are far too straight. The first
    chord's angle to the base axis (half of the others) is not lost: the first link stays along
    the base axis, and the joint after it turns by about 1.5 times the others.

    Args:
        length_mm: arc length.
        curvature_per_mm: quadratic coefficient a.

    Returns:
        (N,) angles about z, 0 or negative; entry i stands between link i - 1 and link i, entry 0
        at the clamped base (0). A 21st link, which the table lacks, is straight.
    """
    points = parabola_points_mm(
        np.linspace(0.0, length_mm, _PUBLISHED_ANGLES + 1), curvature_per_mm
    )
    chords = np.diff(points[:, :2], axis=0)
    heading = np.arctan2(chords[:, 1], chords[:, 0])
    table = np.concatenate([[0.0, heading[1]], np.diff(heading)[1:]])
    angles = np.zeros(published_link_count(length_mm))
    used = min(len(angles), _PUBLISHED_ANGLES)
    angles[:used] = table[:used]
    return angles


def chain_points_mm(arc_mm: npt.ArrayLike, length_mm: float, angles_rad: Array) -> Array:
    """Points (..., 3) at the given arc lengths along a chain of N equal links.

    Args:
        arc_mm: arc length from the base, any shape, in [0, length_mm].
        length_mm: length of the chain.
        angles_rad: (N,) joint angles about z, entry 0 at the base.
    """
    s = np.asarray(arc_mm, dtype=np.float64)
    heading = np.cumsum(angles_rad)
    link_mm = length_mm / len(heading)
    direction = np.stack([np.cos(heading), np.sin(heading), np.zeros_like(heading)], axis=-1)
    nodes = np.concatenate([np.zeros((1, 3)), np.cumsum(link_mm * direction, axis=0)])
    link = np.clip((s / link_mm).astype(np.int64), 0, len(heading) - 1)
    return nodes[link] + (s - link * link_mm)[..., None] * direction[link]
