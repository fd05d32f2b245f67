"""95 % intervals of shares of correct answers."""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse
from vibrissa.core.seeds import generator

Z_95: Final = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson(correct: int, count: int) -> tuple[float, float]:
    """Interval for a share of independent answers.

    Reference:
        Wilson 1927, J Am Stat Assoc 22, 209, doi:10.1080/01621459.1927.10502953.
    """
    if not 0 <= correct <= count or count < 1:
        raise refuse("correct", (correct, count), "not a share", "give 0 <= correct <= count >= 1")
    share, z2 = correct / count, Z_95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    # At the ends rounding must not leave the share outside.
    return min(low, share), max(high, share)


def bootstrap_over_groups(
    correct: npt.ArrayLike, groups: npt.ArrayLike, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval when whole groups, for instance objects, are drawn anew.

    Sweeps of one object are no independent answers: as a rule an object is known or not.

    Args:
        correct: (sweep,) bool or shares.
        groups: (sweep,) to which group each belongs.
        draws: how many times.
        seed: of the draws.

    Raises:
        InputError: lengths differ, or fewer than two groups.
    """
    right, group = np.asarray(correct, dtype=np.float64), np.asarray(groups)
    if right.shape != group.shape or right.ndim != 1:
        raise refuse("groups", group.shape, f"the answers are {right.shape}", "give one for each")
    names, place = np.unique(group, return_inverse=True)
    if len(names) < 2:
        raise refuse("groups", len(names), "nothing to draw from", "give two groups or more")
    hits, counts = np.bincount(place, weights=right), np.bincount(place)
    dice = generator(seed, "bootstrap over groups")
    times = dice.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=draws)
    shares = (times @ hits) / (times @ counts)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)
