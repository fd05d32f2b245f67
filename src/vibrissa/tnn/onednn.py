"""Products with weights that oneDNN has put in the order of its blocks once.

A product of few rows spends much of its time putting the weight in order, which is the same at
every step of an unrolling. torch offers this to its compiler only; the operators are tried once and
left alone if they are missing or give something else than an ordinary product.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch
from torch import Tensor

# In bfloat16 an ordinary product is as fast.
_TYPES: Final = (torch.float32,)


def offered(like: Tensor) -> bool:
    """Can products of this type and place be made so?"""
    return like.device.type == "cpu" and like.dtype in _TYPES and _works(like.dtype)


@cache
def _works(dtype: torch.dtype) -> bool:
    x = torch.arange(12.0).view(3, 4).to(dtype)
    weight = torch.arange(8.0).view(4, 2).to(dtype)
    try:
        ordered = order(weight, 3)
        once = product(x, ordered)
        twice = product(x, ordered, once)
    except (RuntimeError, AttributeError, TypeError, NotImplementedError):
        return False
    wanted = x.double() @ weight.double()
    return all(
        torch.allclose(found.double(), times * wanted, rtol=1e-5)
        for found, times in ((once, 1), (twice, 2))
    )


def order(weight: Tensor, rows: int) -> Tensor:
    """A weight (in, out) for products of about so many rows; opaque."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous(), rows)


def product(x: Tensor, ordered: Tensor, base: Tensor | None = None) -> Tensor:
    """``x W``, (rows, in) by (in, out), plus a base (rows, out)."""
    linear: Any = torch.ops.mkldnn._linear_pointwise
    if base is None:
        return linear(x, ordered, None, "none", [], "")
    return linear.binary(x, base, ordered, None, "add")
