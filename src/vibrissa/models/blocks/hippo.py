"""HiPPO-LegS: the matrix whose state remembers the past as coefficients of Legendre polynomials.

Reference: Gu et al. 2020, arXiv 2008.07669, theorem 2; the normal-plus-low-rank form is from
Gu, Goel & Ré 2021 (S4), arXiv 2111.00396, theorem 1 and appendix C.1.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray


def legs(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The system s' = A s + B u.

    Returns:
        A (n, n): -sqrt((2i+1)(2j+1)) below the diagonal, -(i+1) on it, 0 above. B (n,):
        sqrt(2i+1).
    """
    b = np.sqrt(2 * np.arange(n) + 1).astype(np.float64)
    a = -np.tril(np.outer(b, b), -1) - np.diag(np.arange(n) + 1.0)
    return a.astype(np.float64), b


@cache
def legs_diagonal_plus_low_rank(
    n: int,
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.complex128]]:
    """:func:`legs` in the basis in which its normal part is diagonal: A = diag(w) - p p*.

    A + p p* with p_i = sqrt(i + 1/2) is -1/2 plus a skew-symmetric matrix, hence normal. Its
    eigenvalues come in conjugate pairs; the one with the negative imaginary part is given.

    Args:
        n: size of the real system, even.

    Returns:
        w, p and B, each (n / 2,); the other half is their conjugate.
    """
    a, b = legs(n)
    p = np.sqrt(np.arange(n) + 0.5)
    skew = a + np.outer(p, p)
    real = np.diagonal(skew).mean()
    imaginary, basis = np.linalg.eigh(-1j * (skew - real * np.eye(n)))
    half = np.argsort(imaginary)[: n // 2]
    turn = basis[:, half].conj().T.astype(np.complex128)
    return (real + 1j * imaginary[half]).astype(np.complex128), turn @ p, turn @ b
