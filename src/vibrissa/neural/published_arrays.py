"""Sessions as the public loader lays them out, each of its peculiarities behind a switch.

The public loader numbers the conditions of a session in the order in which they first appear among
its trials, stores the conditions that a trial does not show as 0, and joins sessions along units
without looking at names; trials of shorter sessions are filled with NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.seeds import generator
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.reliability import half_weights
from vibrissa.neural.session import Session

BIN_S = 0.045


def published_rates(session: Session, *, binned: bool = True) -> np.ndarray:
    """(trial, unit) rates in file order: counts over the duration rounded up to bins of 45 ms.

    The mean over bins divided by 0.045 s is the count over the total length of the bins.
    """
    ordered = session.select(np.argsort(session.file_order, kind="stable"))
    if not binned:
        return ordered.rates()
    # A duration that is a whole number of bins already stays as it is, whatever its last digit.
    bins = np.ceil(ordered.duration_s / BIN_S - 1e-9)
    return ordered.counts / (bins * BIN_S)[:, None]


def session_array(
    session: Session,
    conditions: Sequence[str] = CONDITIONS,
    *,
    first_appearance: bool = True,
    zeros: bool = True,
    binned: bool = True,
) -> np.ndarray:
    """One session as (trial, condition, unit).

    Args:
        session: trials are taken in file order.
        conditions: the names; trials of others are dropped.
        first_appearance: number conditions as they first appear (published), or by name.
        zeros: conditions that a trial does not show are 0 (published), or NaN.
        binned: durations are rounded up to 45 ms (published).

    Raises:
        InputError: a condition does not occur.
    """
    ordered = session.select(np.argsort(session.file_order, kind="stable"))
    used = np.isin(ordered.condition, list(conditions))
    names = ordered.condition[used]
    seen = list(dict.fromkeys(names.tolist()))
    missing = [name for name in conditions if name not in seen]
    if missing:
        raise InputError(
            f"session {session.name}: no trials of {missing[0]}, which the published layout needs; "
            "leave the session out."
        )
    place = {name: k for k, name in enumerate(seen if first_appearance else conditions)}
    rates = published_rates(ordered, binned=binned)[used]
    array = np.full((len(names), len(conditions), ordered.n_units), 0.0 if zeros else np.nan)
    array[np.arange(len(names)), [place[name] for name in names]] = rates
    return array


def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays (trial, condition, unit) side by side along units, trials filled up with NaN.

    Raises:
        InputError: none, or different numbers of conditions.
    """
    if not len(arrays):
        raise refuse("arrays", [], "there are none", "give one or more")
    conditions = {array.shape[1] for array in arrays}
    if len(conditions) > 1:
        raise refuse("conditions", sorted(conditions), "numbers differ", "give equal ones")
    trials = max(len(array) for array in arrays)
    padded = [
        np.pad(a, ((0, trials - len(a)), (0, 0), (0, 0)), constant_values=np.nan) for a in arrays
    ]
    return np.concatenate(padded, axis=2)


def stratified_halves(
    session: Session, conditions: Sequence[str], draws: int, seed: int
) -> np.ndarray:
    """(draw, trial) first halves that split the trials of each condition, in file order."""
    ordered = session.select(np.argsort(session.file_order, kind="stable"))
    names = ordered.condition[np.isin(ordered.condition, list(conditions))]
    weights = np.zeros((draws, len(names)))
    for name in conditions:
        rows = np.flatnonzero(names == name)
        rng = generator(seed, "published halves", session.name, name)
        weights[:, rows] = half_weights(len(rows), draws, rng)
    return weights
