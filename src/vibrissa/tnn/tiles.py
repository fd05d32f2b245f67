"""Algorithms for 'same' convolutions of small maps with fewer products than taps.

Along one axis, m neighbouring outputs of a kernel of r taps need m + r - 1 products instead of
m r, if sums of inputs are multiplied with sums of taps (Winograd 1980, doi
10.1137/1.9781611970364; Lavin & Gray 2016, arXiv 1509.09308). An algorithm is three matrices::

    y = leave ((kernel w) * (enter x))            * element by element

With the points 0, 1, -1 and infinity the entries are 0, 1, -1 and, in ``kernel``, 1/2: rounding
grows by a small factor only. Rows and columns combine by the Kronecker product. Products with zeros
around the map drop out, so that 2x2 on 4x6 takes 54, 48 or 40 products per sample and pair of
channels where the taps take 77.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Final

import torch
from torch import Tensor

from vibrissa.tnn.modules.shapes import same_padding

Size = tuple[int, int]

# Finite points, in this order; infinity is the last one always.
_POINTS: Final = (0, 1, -1)

Vector = tuple[Fraction, ...]


@dataclass(frozen=True)
class Product:
    """One product of a one-dimensional algorithm, with zero coefficients where nothing enters.

    Attributes:
        enter: (inputs,) the sum of inputs.
        kernel: (taps,) the sum of taps.
        leave: (outputs,) where and how often the product is added.
    """

    enter: Vector
    kernel: Vector
    leave: Vector


def _vandermonde(points: tuple[int, ...], columns: int) -> list[Vector]:
    """Powers of the points, and the row of infinity: the value of a polynomial at each."""
    rows = [tuple(Fraction(p) ** k for k in range(columns)) for p in points]
    return [*rows, (*(Fraction(0),) * (columns - 1), Fraction(1))]


def _inverse(matrix: list[Vector]) -> list[Vector]:
    """Gauss-Jordan, exact."""
    n = len(matrix)
    work = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(matrix)]
    for k in range(n):
        pivot = next(i for i in range(k, n) if work[i][k])
        work[k], work[pivot] = work[pivot], work[k]
        work[k] = [value / work[k][k] for value in work[k]]
        for i in range(n):
            if i != k and work[i][k]:
                work[i] = [a - work[i][k] * b for a, b in zip(work[i], work[k], strict=True)]
    return [tuple(row[n:]) for row in work]


def _tile(outputs: int, taps: int) -> list[Product]:
    """``y(i) = sum over k of w(k) x(i + k)`` for some outputs: the transpose of the product of two
    polynomials, found from its values at points."""
    count = outputs + taps - 1
    points = _POINTS[: count - 1]
    values = _vandermonde(points, count)
    back = _inverse(values)
    kernel, leave = _vandermonde(points, taps), _vandermonde(points, outputs)
    found = []
    for k in range(count):
        enter = tuple(back[j][k] for j in range(count))
        scale = Fraction(1)
        for value in enter:  # fractions go to the kernel, which is transformed once
            scale = max(scale, Fraction(value.denominator))
        found.append(
            Product(tuple(v * scale for v in enter), tuple(v / scale for v in kernel[k]), leave[k])
        )
    return found


@cache
def along_axis(length: int, taps: int, tile: int) -> tuple[Product, ...]:
    """The algorithm of a 'same' convolution along one axis.

    Args:
        length: of the axis.
        taps: of the kernel.
        tile: outputs that are computed together; 1 multiplies tap by tap.
    """
    before = same_padding(taps)[0]
    found: list[Product] = []
    for first in range(0, length, tile):
        outputs = min(tile, length - first)
        if outputs == 1:
            unit = [tuple(Fraction(int(i == k)) for i in range(taps)) for k in range(taps)]
            parts = [Product(row, row, (Fraction(1),)) for row in unit]
        else:
            parts = _tile(outputs, taps)
        for part in parts:
            enter = [Fraction(0)] * length
            for k, value in enumerate(part.enter):
                place = first - before + k
                if 0 <= place < length:
                    enter[place] = value
            leave = [Fraction(0)] * length
            leave[first : first + outputs] = part.leave
            if any(enter):
                found.append(Product(tuple(enter), part.kernel, tuple(leave)))
    return tuple(found)


class Form:
    """The algorithm of a map and a kernel; products of equal kernels stand together.

    Args:
        size: rows and columns of the map.
        kernel: rows and columns of the kernel.
        tile: rows and columns of outputs computed together.

    Attributes:
        enter: (product, position).
        leave: (position, product).
        kernel: (kind, tap), one row for each kind of product.
        ranges: for each kind its first product and the one behind its last.
    """

    def __init__(self, size: Size, kernel: Size, tile: Size) -> None:
        self.size, self.taps, self.tile = size, kernel, tile
        axes = [along_axis(*of) for of in zip(size, kernel, tile, strict=True)]
        kinds: dict[tuple[Vector, Vector], list[tuple[Product, Product]]] = {}
        for a in axes[0]:
            for b in axes[1]:
                kinds.setdefault((a.kernel, b.kernel), []).append((a, b))
        pairs = [pair for found in kinds.values() for pair in found]
        self.enter = _matrix([_outer(a.enter, b.enter) for a, b in pairs])
        self.leave = _matrix([_outer(a.leave, b.leave) for a, b in pairs]).t().contiguous()
        self.kernel = _matrix([_outer(*kind) for kind in kinds])
        self.ranges: list[tuple[int, int]] = []
        for found in kinds.values():
            first = self.ranges[-1][1] if self.ranges else 0
            self.ranges.append((first, first + len(found)))
        self.products = len(pairs)
        self._cast: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def matrix(self, name: str, like: Tensor) -> Tensor:
        """``enter``, ``leave``, ``kernel`` or the transpose of one, in the type and place of a
        tensor."""
        key = (name, like.dtype, like.device)
        if key not in self._cast:
            base = getattr(self, name.removesuffix("_t"))
            base = base.t().contiguous() if name.endswith("_t") else base
            self._cast[key] = base.to(dtype=like.dtype, device=like.device)
        return self._cast[key]


@cache
def form(size: Size, kernel: Size, tile: Size) -> Form:
    """One algorithm; made once."""
    return Form(size, kernel, tile)


def _outer(a: Vector, b: Vector) -> list[float]:
    return [float(x * y) for x in a for y in b]


def _matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


# A product of matrices costs as if it had so many more rows, for its weight has to be read and
# put in order; and an algorithm as if there were this share more products, for its sums.
_ROWS_PER_KIND: Final = 48
_SUMS: Final = 0.1


@cache
def choose(size: Size, kernel: Size, batch: int) -> Form | None:
    """The algorithm that should take least time for so many samples; None: tap by tap.

    Args:
        size: rows and columns of the map.
        kernel: rows and columns of the kernel.
        batch: samples of a step.
    """
    if min(kernel) == max(kernel) == 1:
        return None
    largest = [1 if k == 1 else max(1, len(_POINTS) + 2 - k) for k in kernel]
    rows, columns = (
        {min(n, t): None for t in range(1, top + 1)} for n, top in zip(size, largest, strict=True)
    )
    best: tuple[float, Form | None] | None = None
    for m in rows:
        for n in columns:
            found = None if m == n == 1 else form(size, kernel, (m, n))
            if found is None:
                plain = form(size, kernel, (1, 1))
                cost = plain.products * batch + _ROWS_PER_KIND * len(plain.ranges)
            else:
                cost = found.products * batch * (1 + _SUMS) + _ROWS_PER_KIND * len(found.ranges)
            if best is None or cost < best[0]:
                best = (cost, found)
    assert best is not None
    return best[1]
