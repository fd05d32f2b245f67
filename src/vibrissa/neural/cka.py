"""Linear centred kernel alignment, debiased.

Kornblith et al. (2019), arXiv:1905.00414; the unbiased estimator of HSIC is that of Song et al.
(2012), J. Mach. Learn. Res. 13:1393, eq. 5. It leaves the diagonal of the Gram matrices out, and
with it the part that noise of single conditions and numbers of units above conditions inflate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vibrissa.neural.measures import Measure, measures
from vibrissa.neural.rdm import pairs
from vibrissa.neural.rdm_moments import Moments


def u_centred(gram: np.ndarray) -> np.ndarray:
    """Gram matrices (..., n, n) U-centred: zero diagonal, rows that sum to 0; n of 4 or more.

    Szekely and Rizzo (2014), doi:10.1214/14-AOS1255, eq. 2.1. The inner product of two of them over
    n (n - 3) is the unbiased HSIC.
    """
    n = gram.shape[-1]
    off = ~np.eye(n, dtype=bool)
    hollow = np.where(off, gram, 0.0)
    row = hollow.sum(axis=-1, keepdims=True) / (n - 2)
    column = hollow.sum(axis=-2, keepdims=True) / (n - 2)
    level = hollow.sum(axis=(-1, -2), keepdims=True) / ((n - 1) * (n - 2))
    return np.where(off, hollow - row - column + level, 0.0)


@measures.register("cka")
@dataclass(frozen=True, kw_only=True)
class CKA(Measure):
    """Linear CKA, debiased; needs four conditions or more.

    Attributes:
        scale: of the target's responses.
    """

    least_conditions: ClassVar[int] = 4

    def features(self, moments: Moments) -> np.ndarray:
        gram = moments.centred() / moments.n_units
        rows, columns = pairs(moments.n_conditions)
        vector = u_centred(gram)[..., rows, columns]
        size = np.linalg.norm(vector, axis=-1, keepdims=True)
        level = np.abs(gram).max(axis=(-1, -2))[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            return vector / np.where(size > 1e-12 * level, size, np.nan)
