"""Turns of the grid by any angle that keep every whisker: a permutation of the places."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from vibrissa.augment.base import Augmentation, augmentations
from vibrissa.core.errors import refuse


@augmentations.register("grid_rotation")
@dataclass(frozen=True, kw_only=True)
class GridRotation(Augmentation):
    """Turn the grid by one of some angles, drawn per sample; every whisker keeps a place.

    The places are turned about the middle of the grid and matched one to one with the places
    there are, so that the sum of squared distances is least. By 0 and 180 degrees that is the
    exact turn. By any other angle a grid of 5 x 7 does not fall onto itself: the result is no
    image of the touch, merely a shuffling that keeps neighbours together as well as can be.
    No load changes its sign, which suits the base frame: a turn carries base frames along.

    Attributes:
        angles_deg: counter-clockwise as the grid is printed, equally likely.
    """

    angles_deg: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)

    def __post_init__(self) -> None:
        angles = tuple(float(angle) for angle in self.angles_deg)
        if not angles or not all(math.isfinite(angle) for angle in angles):
            raise refuse("angles_deg", angles, "not one or more finite angles", "give some")
        object.__setattr__(self, "angles_deg", angles)

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randint(
            len(self.angles_deg), (len(x),), generator=generator, device=generator.device
        )
        flat = x.flatten(3)
        for k, angle in enumerate(self.angles_deg):
            source = places_from(x.shape[3], x.shape[4], angle)
            if source == tuple(range(len(source))):
                continue
            which = torch.nonzero(drawn == k)[:, 0].to(x.device)
            order = torch.tensor(source).to(x.device, non_blocking=True)
            flat[which] = flat[which].index_select(3, order)
        return flat.view(x.shape)


@lru_cache(maxsize=256)
def places_from(rows: int, columns: int, angle_deg: float) -> tuple[int, ...]:
    """For each place, row-major, the place that comes there when the grid is turned."""
    from scipy.optimize import linear_sum_assignment

    row, column = np.divmod(np.arange(rows * columns), columns)
    right, up = column - (columns - 1) / 2.0, (rows - 1) / 2.0 - row
    turn = math.radians(angle_deg)
    turned_right = math.cos(turn) * right - math.sin(turn) * up
    turned_up = math.sin(turn) * right + math.cos(turn) * up
    distance = (turned_right - right[:, None]) ** 2 + (turned_up - up[:, None]) ** 2
    # Rounding must not decide between matchings that are equally good.
    _, source = linear_sum_assignment(distance.round(9))
    return tuple(int(place) for place in source)
