"""Noise ceilings over subjects, and how alike the animals are among themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.neural.compare import compare_rdms, pool_rdms
from vibrissa.neural.measures import RSA, Measure
from vibrissa.neural.rdm_moments import add
from vibrissa.neural.reliability import SessionMoments, spearman_brown

Consistency = Literal["pairwise", "leave_one_out", "pooled"]


def noise_ceilings(entries: np.ndarray, comparison: str) -> tuple[float, float]:
    """Lower and upper bound of what a model of the group can reach (Nili et al. 2014).

    Lower: each subject with the pooled RDM of the others. Upper: with that of all, itself
    included.

    Args:
        entries: (subject, pair) RDMs.
        comparison: see :func:`~vibrissa.neural.compare.embed`.

    Returns:
        Lower (NaN for one subject) and upper.
    """
    entries = np.asarray(entries, dtype=np.float64)
    n = len(entries)
    upper = compare_rdms(pool_rdms(entries, comparison), entries, comparison).mean()
    if n < 2:
        return float("nan"), float(upper)
    lower = [
        compare_rdms(pool_rdms(np.delete(entries, s, 0), comparison), entries[s], comparison)[0, 0]
        for s in range(n)
    ]
    return float(np.mean(lower)), float(upper)


def split_half_reliability(measure: Measure, moments: SessionMoments) -> tuple[float, float]:
    """Reliability at full length, from the average over draws, and the share of draws it rests on.

    NaN where no draw is defined; never clipped.
    """
    r = measure.between_halves(moments.halves)
    good = np.isfinite(r)
    return (spearman_brown(float(r[good].mean())) if good.any() else float("nan")), good.mean()


def animal_consistency(
    measure: Measure,
    animals: Mapping[str, SessionMoments],
    how: Consistency = "pairwise",
    *,
    floor: float = 0.2,
) -> Any:
    """How alike the animals are.

    Args:
        measure: symmetric, or RSA for ``leave_one_out``.
        animals: name -> moments.
        how: ``pairwise``, each pair once; ``leave_one_out``, the pooled RDM of the others against
            each; ``pooled``, the joint units of the others against each.
        floor: reliability below which no score is given.

    Returns:
        A table (pandas) with ``source``, ``target``, ``raw``, ``reliability_source``,
        ``reliability_target``, ``score`` and ``status`` (``ok``, ``undefined``,
        ``low_reliability``). The mean of ``raw`` over pairs is the consistency of the group.

    Raises:
        InputError: fewer than two animals, or a measure that cannot do it.
    """
    import pandas as pd

    if len(animals) < 2:
        raise refuse("animals", list(animals), "one animal has no other", "use two or more")
    if not measure.symmetric or measure.on_patterns:
        name = type(measure).__name__
        raise refuse("measure", name, "animals cannot be compared by it", "use rsa or cka")
    names = sorted(animals)
    features = {n: measure.features(animals[n].full) for n in names}
    reliability = {n: split_half_reliability(measure, animals[n])[0] for n in names}
    rows = []

    def row(source: str, target: str, one: np.ndarray, r_one: float) -> None:
        raw = float(measure.compare(one[None], features[target][None])[0, 0])
        r_two = reliability[target]
        score, status = float("nan"), "ok"
        if not np.isfinite(raw):
            status = "undefined"
        elif not (r_one >= floor and r_two >= floor):
            status = "low_reliability"
        else:
            score = raw / np.sqrt(r_one * r_two)
        rows.append((source, target, raw, r_one, r_two, score, status))

    if how == "pairwise":
        for i, one in enumerate(names):
            for two in names[i + 1 :]:
                row(one, two, features[one], reliability[one])
    elif how == "leave_one_out":
        if not isinstance(measure, RSA):
            raise refuse("measure", type(measure).__name__, "no RDMs to pool", "use rsa")
        for name in names:
            rest = [animals[n].full for n in names if n != name]
            row("others", name, measure.pooled(rest), 1.0)
    elif how == "pooled":
        for name in names:
            rest = [animals[n] for n in names if n != name]
            joint = SessionMoments.joined(rest)
            r_one = split_half_reliability(measure, joint)[0]
            row("others", name, measure.features(add([r.full for r in rest])), r_one)
    else:
        raise refuse_unknown("how", how, ("pairwise", "leave_one_out", "pooled"))
    columns = [
        "source", "target", "raw", "reliability_source", "reliability_target", "score", "status",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def group_score(
    raw: np.ndarray, pair: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Score of models on animals as a group: mean likeness over root of the animals' own.

    If the RDM of each animal is a common one plus what is its own (noise and individuality), the
    likeness of the common one with an animal is the root of that of two animals; so a model that is
    the common one scores 1. Pairs of an animal with itself, which resampling makes, are left out.

    Args:
        raw: (model, animal) values.
        pair: (animal, animal) values between animals; the diagonal is not looked at.
        weights: (draw, animal) how often each animal counts; None counts each once.

    Returns:
        Scores (model,) or (draw, model), and the mean over pairs () or (draw,). NaN where the mean
        over pairs is not above 0.
    """
    off = np.where(np.eye(len(pair), dtype=bool), 0.0, pair)
    one = weights is None
    w = np.ones((1, len(pair))) if weights is None else weights
    total = w.sum(axis=1)
    mean = (w @ raw.T) / total[:, None]
    count = total**2 - (w**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        consistency = np.einsum("da,ab,db->d", w, off, w) / np.where(count > 0, count, np.nan)
        score = mean / np.sqrt(np.where(consistency > 0, consistency, np.nan))[:, None]
    return (score[0], consistency[0]) if one else (score, consistency)


def mean_pairwise(features: Sequence[np.ndarray], measure: Measure) -> np.ndarray:
    """(animal, animal) values of all animals with one another."""
    stacked = np.array(features)
    return measure.compare(stacked, stacked)
