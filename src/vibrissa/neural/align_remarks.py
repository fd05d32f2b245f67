"""Sentences that belong to the numbers of an alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from vibrissa.neural.align_group import LEAST_ANIMALS
from vibrissa.neural.inference import FIXED_STIMULI
from vibrissa.neural.measures import RSA
from vibrissa.neural.targets import ANIMALS

UNBIASED_FROM: Final = 0.8
"""Reliability below which scores by RDMs come out too high (docs/alignment.md)."""


def remarks_on(
    table: Any, config: Any, *, orders: int, exact: bool, n_conditions: int,
    excluded: Mapping[str, str],
) -> tuple[str, ...]:  # fmt: skip
    """What a reader of the table must know.

    Args:
        table: of the alignment.
        config: :class:`~vibrissa.neural.aligning.AlignConfig`.
        orders: permutations of the conditions.
        exact: whether these are all there are.
        n_conditions: how many are compared.
        excluded: session -> why it is left out.
    """
    kind = f"all {orders}" if exact else f"{orders} random"
    remarks = [
        FIXED_STIMULI,
        f"p-values: {kind} orders of the {n_conditions} conditions, one-sided.",
    ]
    remarks += [f"session {name} is left out: {why}." for name, why in excluded.items()]
    remarks += _on_bias(table, config)
    remarks += _on_intervals(table, config)
    return tuple(remarks)


def _on_bias(table: Any, config: Any) -> list[str]:
    measure = config.measure
    if not isinstance(measure, RSA):
        return []
    if measure.rdm == "crossnobis" and measure.scale == "whitened":
        return []  # within 3 % in the same worlds
    scored = table[(table["kind"] != "group") & np.isfinite(table["score"].to_numpy(float))]
    low = scored[scored["reliability"].to_numpy(float) < UNBIASED_FROM]
    if not len(low):
        return []
    found = low.drop_duplicates("target")
    named = [f"{n} {r:.2f}" for n, r in zip(found["target"], found["reliability"], strict=True)]
    more = f" and {len(named) - 4} more" if len(named) > 4 else ""
    return [
        f"scores tend to be too high where the reliability is below {UNBIASED_FROM}, a perfect "
        f"model's 1.03 to 1.2 ({', '.join(named[:4])}{more}); see the measure crossnobis beside "
        "them."
    ]


def _on_intervals(table: Any, config: Any) -> list[str]:
    said = []
    group = table[table["target"] == ANIMALS]
    if len(group) and (few := int(group["animals"].iloc[0])) < LEAST_ANIMALS:
        said.append(f"no interval over animals: there are {few}, and it takes {LEAST_ANIMALS}.")
    if config.measure.on_patterns:
        said.append("no interval over trials: this measure gives none.")
    elif not config.folds:
        said.append("no interval over trials: folds is 0.")
    return said
