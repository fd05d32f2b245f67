"""Whisker bases in the world: the head's motion carries them, whisking turns them."""

from __future__ import annotations

import numpy as np

from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.motion import Array, Knots, Motion, knots_of
from vibrissa.simulation.scene import Whisking


class _Base:
    """The motion of one whisker's base."""

    knots_needed = True

    def __init__(
        self, array: WhiskerArray, which: int, head: Motion, whisking: Whisking | None
    ) -> None:
        self._whisker = array.whiskers[which]
        self._alone = array.with_whiskers([self._whisker])
        self._head = head
        self._whisking = whisking

    def poses(self, times_s: Array) -> tuple[Array, Array]:
        position, rotation = self._head.poses(times_s)
        if self._whisking is None:
            local = self._whisker.base_rotation[None]
        else:
            local = self._whisking.base_rotations(self._alone, times_s)[0]
        return position + rotation @ self._whisker.base_position_mm, rotation @ local


def base_knots(
    array: WhiskerArray, head: Motion, whisking: Whisking | None, times_s: Array
) -> Knots:
    """Knots of all bases at times ``(knot,)``; the leading axis is ``whisker``."""
    motions = (_Base(array, w, head, whisking) for w in range(len(array)))
    return Knots.stack([knots_of(motion, np.asarray(times_s)) for motion in motions])
