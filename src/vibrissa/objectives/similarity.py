"""Directions, their agreement, and the contrast of pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from vibrissa.objectives.base import wide
from vibrissa.objectives.distributed import (
    cross_entropy_of_all,
    gathered,
    sizes,
    this_process,
)

LEAST_NORM = 1e-10


def direction(x: Tensor) -> Tensor:
    """Rows (..., dimension) over their lengths, in single precision at least.

    A row shorter than 1e-10 has no direction: it becomes zero, and so does its gradient, which
    would otherwise be infinite.
    """
    rows = wide(x)
    squared = rows.square().sum(dim=-1, keepdim=True)
    there = squared > LEAST_NORM**2
    length = torch.where(there, squared, 1.0).sqrt()
    return torch.where(there, rows / length, 0.0)


def products(one: Tensor, other: Tensor) -> Tensor:
    """Scalar products (row, other row) in the precision given, also where products are otherwise
    taken in half precision: over a small temperature half of it is lost in the exponent."""
    with torch.autocast(one.device.type, enabled=False):
        return one @ other.T


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """-cos of the angle between rows (batch, dimension), mean over the batch; no gradient to z."""
    return -(direction(p) * direction(z.detach())).sum(dim=-1).mean()


def nt_xent(one: Tensor, two: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised temperature-scaled cross-entropy, over the rows of all processes.

    For the 2 N rows z of both views of N samples, with p(i) the other view of i:
    l = -mean_i log( exp(cos(z_i, z_p(i)) / T) / sum_{k != i} exp(cos(z_i, z_k) / T) ).

    Args:
        one: (batch, dimension), one view of this process's samples.
        two: the other view.
        temperature: T.

    Returns:
        the loss, whose mean over processes is l; the share of this process's rows whose nearest
        other row is their partner; (2 batch, rows of all) cosines, -inf with itself.

    Reference:
        Chen et al. 2020, SimCLR, arXiv 2002.05709, equation 1.
    """
    count = len(one)
    own = torch.cat([direction(one), direction(two)])
    counts = [2 * n for n in sizes(count, own.device)]
    everyone = gathered(own, counts)
    start = sum(counts[: this_process()])
    here = torch.arange(2 * count, device=own.device)
    cosines = products(own, everyone)
    cosines = cosines.index_put((here, here + start), own.new_tensor(-torch.inf))
    partner = (here + count) % (2 * count) + start
    loss = cross_entropy_of_all(cosines / temperature, partner, sum(counts))
    with torch.no_grad():
        found = (cosines.argmax(dim=1) == partner).float().mean()
    return loss, found, cosines.detach()


def spread(directions: Tensor) -> Tensor:
    """How far directions (row, dimension) point apart: the root of the sum over dimensions of
    their variances, 1 where they point everywhere alike, 0 where all are the same.

    Reference:
        Chen & He 2021, SimSiam, arXiv 2011.10566, section 4.1 (there per dimension, 1/sqrt(d)).
    """
    return directions.var(dim=0, correction=0).sum().sqrt()
