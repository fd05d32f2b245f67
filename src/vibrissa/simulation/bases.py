"""Whisker bases in the world: the head's motion carries them, whisking turns them."""

from __future__ import annotations

import numpy as np

from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.motion import Array, Knots, Motion, knots_of
from vibrissa.simulation.scene import Whisking


class _Base:
    """The motion of one whisker's base."""

    knots_needed = True

    def __init__(self, alone: WhiskerArray, head: Motion, whisking: Whisking | None) -> None:
        self._alone, self._head, self._whisking = alone, head, whisking

    def poses(self, times_s: Array) -> tuple[Array, Array]:
        points, frames = base_poses(self._alone, self._head, self._whisking, times_s)
        return points[0], frames[0]


def base_knots(
    array: WhiskerArray, head: Motion, whisking: Whisking | None, times_s: Array
) -> Knots:
    """Knots of all bases at times ``(knot,)``; the leading axis is ``whisker``."""
    motions = (_Base(array.with_whiskers([w]), head, whisking) for w in array)
    return Knots.stack([knots_of(motion, np.asarray(times_s)) for motion in motions])


def base_poses(
    array: WhiskerArray, head: Motion, whisking: Whisking | None, times_s: Array
) -> tuple[Array, Array]:
    """Base points ``(whisker, time, 3)`` in mm and frames ``(whisker, time, 3, 3)``, world."""
    times = np.asarray(times_s, dtype=np.float64)
    position, rotation = head.poses(times)
    local = np.stack([w.base_position_mm for w in array])
    points = position + np.einsum("tij,wj->wti", rotation, local)
    if whisking is None:
        frames = np.stack([w.base_rotation for w in array])[:, None]
    else:
        frames = whisking.base_rotations(array, times)
    return points, np.broadcast_to(rotation @ frames, (len(array), len(times), 3, 3))
