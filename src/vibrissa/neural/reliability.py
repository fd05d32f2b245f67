"""Reliability of a target: split halves stratified by condition within each session.

Each draw halves the trials of every condition of every session at random; the halves are averaged
and compared. All draws of a session are one matrix product per condition, W @ D, where W (draw,
trial) says which trials are in the first half. The average over draws is brought to full length by
the Spearman-Brown formula, 2 r / (1 + r) (Spearman 1910, Brown 1910).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vibrissa.core.seeds import generator
from vibrissa.neural.rdm import noise_precision
from vibrissa.neural.rdm_moments import Moments, add
from vibrissa.neural.session import Session

Scale = Literal["rate", "sqrt", "zscore", "whitened"]


def spearman_brown(r: Any) -> Any:
    """Reliability of the whole from the correlation of its halves, 2 r / (1 + r).

    Negative values are kept as they are, never clipped; at r = -1 it is minus infinity.
    """
    r = np.asarray(r, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 2.0 * r / (1.0 + r)
    return found if found.ndim else float(found)


@dataclass(frozen=True, kw_only=True, eq=False)
class HalfMoments:
    """Moments of two halves of the same trials, for many draws.

    Attributes:
        first: of shape (draw,) or (draw, fold).
        second: likewise.
        cross: (..., condition, condition) sum over units of first times second.
    """

    first: Moments
    second: Moments
    cross: np.ndarray

    def __getitem__(self, key: Any) -> HalfMoments:
        return HalfMoments(first=self.first[key], second=self.second[key], cross=self.cross[key])

    @staticmethod
    def joined(parts: Sequence[HalfMoments]) -> HalfMoments:
        """Of several sessions, draw by draw."""
        return HalfMoments(
            first=add([p.first for p in parts]),
            second=add([p.second for p in parts]),
            cross=np.sum([p.cross for p in parts], axis=0),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SessionMoments:
    """What the comparisons need to know of one session.

    Attributes:
        full: of the averages over all trials.
        halves: of shape (draw,).
        folds: of the averages with one fold of trials left out, shape (fold,); None if not asked.
        fold_halves: halves with one fold left out, shape (draw, fold); None if not asked.
    """

    full: Moments
    halves: HalfMoments
    folds: Moments | None = None
    fold_halves: HalfMoments | None = None

    @staticmethod
    def joined(parts: Sequence[SessionMoments]) -> SessionMoments:
        """Of several sessions together."""
        if len(parts) == 1:
            return parts[0]
        folds = [p.folds for p in parts if p.folds is not None]
        fold_halves = [p.fold_halves for p in parts if p.fold_halves is not None]
        return SessionMoments(
            full=add([p.full for p in parts]),
            halves=HalfMoments.joined([p.halves for p in parts]),
            folds=add(folds) if len(folds) == len(parts) else None,
            fold_halves=HalfMoments.joined(fold_halves) if len(fold_halves) == len(parts) else None,
        )


def scaled_trials(session: Session, conditions: Sequence[str], scale: Scale) -> np.ndarray:
    """(trial, unit) responses in the scale in which patterns are compared.

    Args:
        session: trials in file order.
        conditions: the ones that count for noise estimates.
        scale: ``rate``, spikes per second; ``sqrt``, its square root, which makes the variance of
            Poisson counts equal; ``zscore``, rate over its standard deviation within conditions;
            ``whitened``, square root times the inverse root of the shrunk noise covariance
            (Walther et al. 2016).
    """
    rate = session.rates()
    if scale == "rate":
        return rate
    used = np.isin(session.condition, list(conditions))
    if scale == "zscore":
        total = np.zeros(session.n_units)
        dof = 0
        for name in conditions:
            shown = rate[session.condition == name]
            total += ((shown - shown.mean(axis=0)) ** 2).sum(axis=0)
            dof += len(shown) - 1
        deviation = np.sqrt(total / max(dof, 1))
        return rate / np.where(deviation > 0, deviation, np.inf)  # a silent unit says nothing
    root = np.sqrt(rate)
    if scale == "sqrt":
        return root
    precision = noise_precision(root[used], session.condition[used])
    return root @ np.linalg.cholesky(precision)


def half_weights(n_trials: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draw, trial) 1 where a trial is in the first half, 0 where in the second.

    With an odd number the first half has one trial more or less than the second, by a coin.
    """
    keys = rng.random((draws, n_trials))
    half = n_trials // 2
    sorted_around = np.partition(keys, (half - 1, half) if n_trials % 2 else half - 1, axis=1)
    last = sorted_around[:, half - 1]
    if n_trials % 2:
        last = np.where(rng.integers(0, 2, draws) == 1, sorted_around[:, half], last)
    return (keys <= last[:, None]).astype(np.float64)


def session_moments(
    session: Session,
    conditions: Sequence[str],
    *,
    draws: int,
    seed: int,
    scale: Scale = "rate",
    folds: int = 0,
    fold_draws: int = 0,
    offset: float = 0.0,
) -> SessionMoments:
    """Moments of one session: all trials, random halves, and both with folds left out.

    The random stream depends on the seed, the session's name and the condition alone; so the
    order of sessions, units and trials (which are taken in file order) is of no account.

    Args:
        session: at least two trials of each condition.
        conditions: their order is that of the condition axis.
        draws: number of random halvings.
        seed: root seed.
        scale: of the responses.
        folds: number of groups of trials for the jackknife; 0 for none.
        fold_draws: how many of the draws are repeated for each fold.
        offset: number taken off all responses, for the sake of rounding.
    """
    session = session.select(np.argsort(session.file_order, kind="stable"))
    values = scaled_trials(session, conditions, scale) - offset
    power = np.einsum("tu,tu->t", values, values)
    c, u = len(conditions), session.n_units
    full, full_bias = np.empty((c, u)), np.empty(c)
    first, second = np.empty((draws, c, u)), np.empty((draws, c, u))
    first_bias, second_bias = np.empty((draws, c)), np.empty((draws, c))
    fold_full, fold_bias = np.empty((folds, c, u)), np.empty((folds, c))
    ones, twos = np.empty((fold_draws, folds, c, u)), np.empty((fold_draws, folds, c, u))
    ones_bias, twos_bias = (np.empty((fold_draws, folds, c)) for _ in range(2))
    for k, name in enumerate(conditions):
        rows = np.flatnonzero(session.condition == name)
        n, shown, energy = len(rows), values[rows], power[rows]
        sum_all, energy_all = shown.sum(axis=0), float(energy.sum())
        weights = half_weights(n, draws, generator(seed, "halves", session.name, name))
        size, sums, energies = weights.sum(axis=1), weights @ shown, weights @ energy
        full[k], full_bias[k] = _mean(sum_all, np.float64(n), np.float64(energy_all))
        first[:, k], first_bias[:, k] = _mean(sums, size, energies)
        second[:, k], second_bias[:, k] = _mean(sum_all - sums, n - size, energy_all - energies)
        if not folds:
            continue
        group = generator(seed, "folds", session.name, name).permutation(n) % folds
        inside = (group[None, :] == np.arange(folds)[:, None]).astype(np.float64)
        n_in, sum_in, energy_in = inside.sum(axis=1), inside @ shown, inside @ energy
        fold_full[:, k], fold_bias[:, k] = _mean(sum_all - sum_in, n - n_in, energy_all - energy_in)
        few = weights[:fold_draws]
        # (draw, fold, trial) would be large: one product per fold keeps memory small
        for f in range(folds):
            members = np.flatnonzero(group == f)
            part = few[:, members]
            n1 = size[:fold_draws] - part.sum(axis=1)
            s1 = sums[:fold_draws] - part @ shown[members]
            e1 = energies[:fold_draws] - part @ energy[members]
            n2, s2, e2 = n - n_in[f] - n1, sum_all - sum_in[f] - s1, energy_all - energy_in[f] - e1
            ones[:, f, k], ones_bias[:, f, k] = _mean(s1, n1, e1)
            twos[:, f, k], twos_bias[:, f, k] = _mean(s2, n2, e2)
    return SessionMoments(
        full=_moments(full, full_bias, offset),
        halves=_half_moments(first, first_bias, second, second_bias, offset),
        folds=_moments(fold_full, fold_bias, offset) if folds else None,
        fold_halves=_half_moments(ones, ones_bias, twos, twos_bias, offset) if folds else None,
    )


def _mean(sums: np.ndarray, n: Any, energy: Any) -> tuple[np.ndarray, Any]:
    """Means over n trials and the expected noise in their squared length, summed over units."""
    n = np.asarray(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums / np.where(n > 0, n, np.nan)[..., None]
        square = np.einsum("...u,...u->...", mean, mean)
        noise = (energy - n * square) / np.where(n > 1, n * (n - 1.0), np.nan)
    return mean, noise


def _moments(patterns: np.ndarray, bias: np.ndarray, offset: float) -> Moments:
    return Moments(
        gram=patterns @ np.swapaxes(patterns, -1, -2), total=patterns.sum(axis=-1), bias=bias,
        n_units=patterns.shape[-1], offset=offset,
    )  # fmt: skip


def _half_moments(
    first: np.ndarray, first_bias: np.ndarray, second: np.ndarray, second_bias: np.ndarray,
    offset: float,
) -> HalfMoments:  # fmt: skip
    return HalfMoments(
        first=_moments(first, first_bias, offset),
        second=_moments(second, second_bias, offset),
        cross=first @ np.swapaxes(second, -1, -2),
    )


def mean_offset(sessions: Sequence[Session], scale: Scale) -> float:
    """A number near all responses; taking it off costs nothing and saves digits."""
    if scale == "whitened":
        return 0.0
    rates: Mapping[str, float] = {
        s.name: float(s.rates().mean()) for s in sessions if s.counts.size
    }
    if not rates:
        return 0.0
    level = sum(rates[name] for name in sorted(rates)) / len(rates)
    return {"rate": level, "sqrt": float(np.sqrt(level))}.get(scale, 0.0)
