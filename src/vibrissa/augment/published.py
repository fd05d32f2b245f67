"""The published augmentations, as published, with what is not physical about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from vibrissa.augment.base import Augmentation, augmentations, samples, uniform
from vibrissa.augment.symmetry import Reversal
from vibrissa.core.errors import refuse


@augmentations.register("published")
@dataclass(frozen=True, kw_only=True)
class Published(Augmentation):
    """The tactile augmentation of the published contrastive models.

    With probability 1/2 the columns are reversed with probability 1/2, else the rows with
    probability 1/2; then the grid is turned by 90, 180, 270 or 360 degrees, equally likely; then,
    with probability 1/2, time is reversed and every load changes its sign.

    As published, and unlike the physical ones: one draw for the whole batch; a turn by 90 or 270
    degrees on the fixed canvas keeps the middle 5 x 5 and puts zero at the other 10 of the 35
    places; mirrors and turns leave the signs of loads as they are; time reversal changes them.

    Attributes:
        rotation: False for the runs named ``no_rot``.
        reversal: ``samples`` for ``tflip110``, ``steps`` for ``tflip22``, None for ``ntf``.
        sign_change: whether reversal changes all signs.
        per_sample: draw for each sample instead of once.

    Reference:
        The released code of arXiv 2505.18361, named ``rot_tflip110`` there with the defaults.
    """

    rotation: bool = True
    reversal: Reversal | None = "samples"
    sign_change: bool = True
    per_sample: bool = False

    def __post_init__(self) -> None:
        if self.reversal is not None and self.reversal not in get_args(Reversal):
            raise refuse("reversal", self.reversal, "unknown", "choose samples, steps or None")

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        rows, columns = x.shape[3:]
        if self.rotation and (columns < rows or (columns - rows) % 2):
            raise refuse(
                "x", tuple(x.shape), "the published turn needs an even surplus of columns",
                "leave the rotation out",
            )  # fmt: skip
        codes = self.draw(len(x) if self.per_sample else 1, generator)
        if not self.per_sample:
            return self._image(x, int(codes[0]))
        for code in codes.unique().tolist():
            which = torch.nonzero(codes == code)[:, 0].to(x.device)
            x[which] = self._image(x[which], code)
        return x

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) int64: flip (0 none, 1 columns, 2 rows) + 3 * quarter turns + 12 * reversal."""
        choice, flip, turn, reverse = uniform(generator, 4, count)
        code = torch.where(flip < 0.5, torch.where(choice < 0.5, 1, 2), 0)
        if self.rotation:
            code = code + 3 * (turn * 4).long()
        if self.reversal is not None:
            code = code + 12 * (reverse < 0.5).long()
        return code

    def _image(self, x: Tensor, code: int) -> Tensor:
        flip, turns, reverse = code % 3, code // 3 % 4, code // 12
        if flip:
            x = x.flip(-1 if flip == 1 else -2)
        if turns == 2:
            x = x.flip(-1, -2)
        elif turns:
            edge = (x.shape[4] - x.shape[3]) // 2
            middle = slice(edge, edge + x.shape[3])
            turned = torch.zeros_like(x)
            turned[..., middle] = x[..., middle].rot90(turns, (-2, -1))
            x = turned
        if reverse and self.reversal == "steps":
            x = x.flip(1)
        elif reverse:
            x = samples(x.contiguous()).flip(1).view(x.shape)
        return -x if reverse and self.sign_change else x
