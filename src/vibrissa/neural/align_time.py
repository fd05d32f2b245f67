"""Time-resolved RSA: every step of a layer against every time bin of the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.neural.inference import condition_orders, max_statistic_p, permutation_p
from vibrissa.neural.measures import RSA, Measure
from vibrissa.neural.rdm_moments import moments_of
from vibrissa.neural.reliability import SessionMoments, session_moments, spearman_brown
from vibrissa.neural.session import Session
from vibrissa.neural.targets import conditions_of, why_unusable


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeAlignment:
    """A layer over its steps against recordings over their time bins.

    Attributes:
        raw: (step, bin) values of the measure; NaN where it is not defined.
        score: (step, bin) raw over the root of the reliability of the bin.
        reliability: (bin,) of the recordings.
        p: (step, bin) by relabelling the conditions.
        p_max: (step, bin) the same for all steps and bins at once.
        bin_edges_s: (bin + 1,) relative to the event that trials are aligned to, s.
        conditions: those compared.
        best_step: (bin,) the step with the largest value, -1 where there is none.
        remarks: sentences on what was left out.
    """

    raw: np.ndarray
    score: np.ndarray
    reliability: np.ndarray
    p: np.ndarray
    p_max: np.ndarray
    bin_edges_s: np.ndarray
    conditions: tuple[str, ...]
    best_step: np.ndarray
    remarks: tuple[str, ...] = ()


def align_over_time(
    layer: Any,
    stimuli: Sequence[str],
    sessions: Sequence[Session],
    *,
    measure: Measure | None = None,
    draws: int = 200,
    permutations: int = 2000,
    min_reliability: float = 0.2,
    seed: int = 0,
) -> TimeAlignment:
    """Compare all steps with all bins; the sessions' units are pooled.

    Args:
        layer: (stimulus, step, unit).
        stimuli: names along the first axis.
        sessions: read with bins, of the same edges. A bin counts for a trial where it lies in the
            trial's window.
        measure: on moments and without confounds; RSA by default.
        draws: split halves for the reliability.
        permutations: all orders if there are no more, else so many at random.
        min_reliability: below it a bin has no score.
        seed: of halves and permutations.

    Raises:
        InputError: no bins, bins of different edges, other stimuli, or no session that can be used
            in any bin.
    """
    measure = measure or RSA()
    values = np.asarray(layer, dtype=np.float64)
    if values.ndim != 3 or len(values) != len(stimuli) or not np.isfinite(values).all():
        raise refuse(
            "layer", f"shape {values.shape}", f"not finite ({len(stimuli)}, step, unit)", "mend it"
        )
    if measure.on_patterns or measure.confounded:
        raise refuse("measure", type(measure).__name__, "not resolved in time", "use rsa or cka")
    edges = _edges(sessions)
    conditions = conditions_of(sessions)
    missing = [name for name in conditions if name not in stimuli]
    if missing:
        raise InputError(f"layer: no stimulus {missing[0]!r}, which was recorded; name it so.")
    rows = [list(stimuli).index(name) for name in conditions]
    steps = np.array(
        [measure.source_features(moments_of(values[rows, k])) for k in range(values.shape[1])]
    )
    orders, _ = condition_orders(len(conditions), limit=permutations, seed=seed)
    shape = (len(steps), len(edges) - 1)
    raw, score = np.full(shape, np.nan), np.full(shape, np.nan)
    reliability = np.full(shape[1], np.nan)
    null = np.full((len(orders), *shape), np.nan)
    remarks: list[str] = []
    for b in range(shape[1]):
        parts = []
        for session in sorted(sessions, key=lambda s: s.name):
            one = _bin(session, b)
            why = why_unusable(one, conditions, 2)
            if why:
                remarks.append(f"session {session.name}, bin {b}: left out: {why}.")
            else:
                parts.append(
                    session_moments(one, conditions, draws=draws, seed=seed, scale=measure.scale)
                )
        if not parts:
            continue
        target = SessionMoments.joined(parts)
        features = measure.features(target.full)
        raw[:, b] = measure.compare(steps, features[None])[:, 0]
        null[..., b] = measure.compare(steps, measure.features(target.full.permuted(orders))).T
        halves = measure.between_halves(target.halves)
        good = np.isfinite(halves)
        if good.any():
            reliability[b] = spearman_brown(float(halves[good].mean()))
        if reliability[b] >= min_reliability:
            score[:, b] = raw[:, b] / np.sqrt(reliability[b])
    if not np.isfinite(raw).any():
        raise InputError("sessions: no bin has enough trials of each condition; use longer bins.")
    p_max = max_statistic_p(raw.ravel(), null.reshape(len(orders), -1)).reshape(shape)
    known = np.where(np.isfinite(raw), raw, -np.inf)
    best = np.where(np.isfinite(raw).any(axis=0), np.argmax(known, axis=0), -1)
    return TimeAlignment(
        raw=raw, score=score, reliability=reliability, p=permutation_p(raw, null), p_max=p_max,
        bin_edges_s=edges, conditions=conditions, best_step=best, remarks=tuple(remarks),
    )  # fmt: skip


def _edges(sessions: Sequence[Session]) -> np.ndarray:
    if not len(sessions):
        raise refuse("sessions", (), "there are none", "give one or more")
    edges = None
    for session in sessions:
        if session.bin_edges_s is None:
            raise refuse(
                f"session {session.name}: bins", None, "there are none", "read it with bins"
            )
        if edges is not None and not np.array_equal(edges, session.bin_edges_s):
            raise refuse(
                f"session {session.name}: bin_edges_s", session.bin_edges_s,
                "other edges than the others have", "read all alike",
            )  # fmt: skip
        edges = session.bin_edges_s
    assert edges is not None
    return edges


def _bin(session: Session, b: int) -> Session:
    """One bin as a session of its own, of the trials whose window holds it."""
    assert session.binned_counts is not None
    assert session.bin_edges_s is not None
    counts = session.binned_counts[:, b]
    whole = np.isfinite(counts).all(axis=1)
    width = float(session.bin_edges_s[b + 1] - session.bin_edges_s[b])
    return Session(
        name=session.name, animal=session.animal, unit_ids=session.unit_ids,
        condition=session.condition[whole], counts=counts[whole],
        duration_s=np.full(int(whole.sum()), width), file_order=session.file_order[whole],
    )  # fmt: skip
