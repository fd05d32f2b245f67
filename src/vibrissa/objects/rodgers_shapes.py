"""The curved stimulus of the mouse shape-discrimination task of Rodgers et al. 2022.

In the task (Neuron 110, doi 10.1016/j.neuron.2022.03.012) a mouse tells a convex from a concave
curved surface. The published simulator (github.com/neuroagents-lab/2025-tactile-whisking) stands
for both with one thin curved slab of 55 mm bounding-box diagonal: one face is convex, the other
concave, and the stimulus is the slab turned by 155 degrees (convex) or -25 degrees (concave) about
z. The slab built here has the proportions measured on that simulator's public mesh, in units of
its bounding-box diagonal:

- extents 0.857 x 0.407 x 0.317; heights -0.1601 to 0.1568 about the mesh origin;
- the convex face is a plane curve, upright along z, of length 0.9506; it begins at
  (-0.4499, 0.1218), and its heading falls from 2.2 to -41.5 degrees as a quartic in the share of
  its length (within 2e-5). Its curvature is no constant: 0.99 at the beginning, 1.14 at a fifth of
  the length, 0.25 at the end;
- the concave face is the same curve, moved by (-0.01276, -0.02871), that is by 0.0314 (1.7 mm).
"""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import refuse
from vibrissa.objects.shape_building import extrude
from vibrissa.objects.tactile_object import TactileObject

RODGERS_DIAGONAL_MM: Final = 55.0
RODGERS_ROTATION_DEG: Final = {"convex": 155.0, "concave": -25.0}

_HEADING_RAD = (-0.5737, 1.4927, -0.7392, -0.9501, 0.0437)  # powers 4 to 0 of the share of length
_LENGTH = 0.95060
_START = (-0.44992, 0.12179)
_CONCAVE_SHIFT = (-0.01276, -0.02871)
_BOTTOM, _TOP = -0.16013, 0.15682


def rodgers_shape(
    diagonal_mm: float = RODGERS_DIAGONAL_MM, steps: int = 100, layers: int = 24
) -> TactileObject:
    """The slab, unrotated: convex side towards +y, extruded along z, closed.

    Args:
        diagonal_mm: bounding-box diagonal.
        steps: pieces of the curve.
        layers: rows of faces along the height.

    Raises:
        InputError: the diagonal or a count is not positive.
    """
    if steps < 2 or layers < 1:
        raise refuse("steps, layers", (steps, layers), "too few", "give at least 2 and 1")
    fine = 16 * steps
    heading = np.polyval(_HEADING_RAD, (np.arange(fine) + 0.5) / fine)
    pieces = np.stack([np.cos(heading), np.sin(heading)], axis=1) * (_LENGTH / fine)
    curve = np.concatenate([np.zeros((1, 2)), np.cumsum(pieces, axis=0)])[::16] + _START
    outline = np.concatenate([curve, (curve + _CONCAVE_SHIFT)[::-1]])
    vertices, faces = extrude(outline, _TOP - _BOTTOM, layers)
    vertices[:, 2] += _BOTTOM
    slab = TactileObject(
        name="rodgers",
        label="rodgers",
        vertices_mm=vertices,
        faces=faces.astype(np.int32),
        source="parametric, after Rodgers et al. 2022, doi 10.1016/j.neuron.2022.03.012",
    )
    return slab.scaled_to_diagonal(diagonal_mm)


def rodgers_stimulus(
    side: Literal["convex", "concave"], diagonal_mm: float = RODGERS_DIAGONAL_MM
) -> TactileObject:
    """The slab turned about z as the published simulator presents it.

    Args:
        side: which face is presented; it becomes the label.
        diagonal_mm: bounding-box diagonal before the turn.

    Raises:
        InputError: unknown side, or no positive diagonal.
    """
    if side not in RODGERS_ROTATION_DEG:
        raise refuse("side", side, "unknown", "choose convex or concave")
    slab = rodgers_shape(diagonal_mm).rotated(_about_z(RODGERS_ROTATION_DEG[side]))
    return TactileObject(
        name=f"rodgers {side}",
        label=side,
        vertices_mm=slab.vertices_mm,
        faces=slab.faces,
        source=slab.source,
    )


def _about_z(angle_deg: float) -> NDArray[np.float64]:
    angle = math.radians(angle_deg)
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
