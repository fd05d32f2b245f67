"""The window of a recording that is kept: where most contact is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse


def best_window(contact: npt.ArrayLike, frames: int) -> int:
    """First frame of the window that holds most contact.

    Contact is counted in frames in which a whisker touches, over all whiskers. Among equally good
    places the middle one is taken (of two, the earlier), which centres a contact that is shorter
    than the window, and takes the middle of a recording without any.

    Args:
        contact: (time, whisker) bool.
        frames: length of the window; one that is longer than the recording keeps all of it.

    Raises:
        InputError: not two axes, or no frames.
    """
    touched = np.asarray(contact, dtype=bool)
    if touched.ndim != 2:
        raise refuse("contact", touched.shape, "not (time, whisker)", "give these two axes")
    if frames < 1:
        raise refuse("frames", frames, "no window", "give 1 or more")
    if frames >= len(touched):
        return 0
    until = np.concatenate([[0], np.cumsum(touched.sum(axis=1, dtype=np.int64))])
    held = until[frames:] - until[:-frames]
    best = np.flatnonzero(held == held.max())
    return int(best[(len(best) - 1) // 2])
