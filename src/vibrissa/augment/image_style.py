"""Image-style augmentation, the control: what is done to photographs, done to loads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from vibrissa.augment.base import (
    Augmentation,
    augmentations,
    check_not_negative,
    check_probability,
    uniform,
)
from vibrissa.core.errors import refuse

_GREY: Final = (0.299, 0.587, 0.114)  # ITU-R BT.601: luma of red, green and blue
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE, _SIGMA = range(5)


@augmentations.register("image_style")
@dataclass(frozen=True, kw_only=True)
class ImageStyle(Augmentation):
    """Colour jitter, grey-scale and blur, with the three forces, and the three moments, of each
    sub-frame as red, green and blue; drawn per sample, the same for its whole sweep.

    Nothing here is physical: it is the control that the published work names and did not run to a
    result. Where photographs have numbers from 0 to 1, loads are signed and without bounds, so
    values are not clamped, and hue is a turn of the triple about its grey axis (1, 1, 1).
    Places without a whisker are pixels like any other.

    Attributes:
        jitter_probability: of the colour jitter.
        jitter: brightness, contrast and saturation are drawn from [1 - jitter, 1 + jitter].
        hue: drawn from [-hue, hue], in turns.
        grey_probability: of all three becoming their luma.
        blur_probability: of a Gaussian blur over the grid, 3 x 3, reflected at the border.
        blur_sigma: least and largest standard deviation of the blur, in places.

    Reference:
        Strengths of Chen & He 2021, arXiv 2011.10566, appendix A.
    """

    jitter_probability: float = 0.8
    jitter: float = 0.4
    hue: float = 0.1
    grey_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)

    def __post_init__(self) -> None:
        for name in ("jitter_probability", "grey_probability", "blur_probability"):
            check_probability(name, getattr(self, name))
        for name in ("jitter", "hue"):
            check_not_negative(name, getattr(self, name))
        low, high = (float(sigma) for sigma in self.blur_sigma)
        if not 0.0 < low <= high < math.inf:
            raise refuse(
                "blur_sigma", self.blur_sigma, "not two positive numbers in order", "give (0.1, 2)"
            )
        object.__setattr__(self, "blur_sigma", (low, high))

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        batch, steps, channels, rows, columns = x.shape
        amounts = uniform(generator, 5, batch)
        jittered, grey, blurred = uniform(generator, 3, batch)
        spread = (2.0 * amounts - 1.0) * torch.where(jittered < self.jitter_probability, 1.0, 0.0)
        factors = 1.0 + self.jitter * spread
        matrix = self._colour(factors, self.hue * spread[_HUE], grey < self.grey_probability)
        shift = (1.0 - factors[_CONTRAST]) * factors[_BRIGHTNESS]
        low, high = self.blur_sigma
        sigma = low + (high - low) * amounts[_SIGMA]
        blur = _blur(sigma, rows, columns)
        still = torch.eye(rows * columns, device=blur.device)
        blur = torch.where((blurred < self.blur_probability)[:, None, None], blur, still)

        matrix, shift, blur = (
            value.to(x.device, x.dtype, non_blocking=True) for value in (matrix, shift, blur)
        )
        triples = x.view(batch, steps * channels // 3, 3, rows * columns)
        level = (triples.mean(dim=3) * x.new_tensor(_GREY)).sum(dim=2)  # (batch, triple)
        out = torch.empty_like(triples)
        for k in range(3):
            weight = matrix[:, k, :, None, None]
            out[:, :, k] = weight[:, 0] * triples[:, :, 0]
            for j in (1, 2):
                out[:, :, k].addcmul_(weight[:, j], triples[:, :, j])
        out += (shift[:, None] * level)[:, :, None, None]
        flat = out.view(batch, steps * channels, rows * columns)
        return torch.bmm(flat, blur.mT).view(x.shape)

    @staticmethod
    def _colour(factors: Tensor, hue: Tensor, grey: Tensor) -> Tensor:
        """(batch, 3, 3): brightness, contrast about the mean, saturation, hue and grey-scale."""
        eye = torch.eye(3, device=hue.device)
        luma = torch.tensor(_GREY, device=hue.device).expand(3, 3)
        amount = factors[_SATURATION][:, None, None]
        saturation = amount * eye + (1.0 - amount) * luma
        matrix = _turn_about_grey(2.0 * math.pi * hue) @ saturation
        matrix = torch.where(grey[:, None, None], luma @ matrix, matrix)
        return (factors[_BRIGHTNESS] * factors[_CONTRAST])[:, None, None] * matrix


def _turn_about_grey(angle: Tensor) -> Tensor:
    """(batch, 3, 3) rotations about (1, 1, 1) by Rodrigues' formula."""
    axis = torch.full((3, 3), 1.0 / 3.0, device=angle.device)
    cross = torch.tensor(
        [[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]], device=angle.device
    ) / math.sqrt(3.0)
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return c * torch.eye(3, device=angle.device) + s * cross + (1.0 - c) * axis


def _blur(sigma: Tensor, rows: int, columns: int) -> Tensor:
    """(batch, place, place): what each place takes from the others."""
    side = (-0.5 / sigma.square()).exp()
    middle, side = 1.0 / (1.0 + 2.0 * side), side / (1.0 + 2.0 * side)

    def along(count: int) -> Tensor:
        line = middle[:, None, None] * torch.eye(count, device=sigma.device)
        neighbours = torch.zeros(count, count, device=sigma.device)
        for k in range(count):
            for other in (k - 1, k + 1):
                inside = -other if other < 0 else min(other, 2 * (count - 1) - other)
                neighbours[k, inside] += 1.0
        return line + side[:, None, None] * neighbours

    both = torch.einsum("bij,bkl->bikjl", along(rows), along(columns))
    return both.reshape(len(sigma), rows * columns, rows * columns)
