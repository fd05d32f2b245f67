"""Claims as checks: effect, interval over seeds, verdict; none is decided by one seed.

The claims are those of arXiv 2505.18361. A run is one row: what was trained (``encoder``,
``attender``, ``objective``, ``augmentation``), its ``seed``, and what came out (``accuracy``,
``alignment``). The seed is the unit of replication: every effect is computed within each seed and
then averaged, with Student's interval over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from vibrissa.core.errors import InputError, refuse

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = Any
"""Some rows of the table of runs; types of pandas' selections are not exact enough to help."""

Verdict = Literal["supported", "not supported", "undecided at this scale"]

COLUMNS: Final = (
    "encoder", "attender", "objective", "augmentation", "seed", "accuracy", "alignment",
)  # fmt: skip
CONVRNN: Final = (
    "zhuang", "ugrnn", "ugrnn_ln", "inter", "inter_ln", "gru", "gru_ln", "lstm", "lstm_ln",
)  # fmt: skip
FEEDFORWARD: Final = ("resnet", "flatten")
STATE_SPACE: Final = ("s4", "s4d", "mamba")
SSL: Final = ("simclr", "simsiam", "autoencoder")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the runs say of one claim.

    Attributes:
        claim: one sentence.
        effect: in the unit named; NaN where it cannot be computed.
        unit: of the effect.
        low: lower end of the 95 % interval; NaN with fewer than two seeds.
        high: upper end.
        seeds: how many went in.
        runs: how many went in.
        verdict: ``supported`` if the interval lies above ``least``, ``not supported`` if it lies
            below, else undecided.
        least: the effect that the claim must exceed.
        remark: what should be known, for instance what is missing.
    """

    claim: str
    effect: float
    unit: str
    low: float
    high: float
    seeds: int
    runs: int
    verdict: Verdict
    least: float = 0.0
    remark: str = ""


def findings(
    runs: Rows,
    *,
    ceiling: Mapping[int, float] | float | None = None,
    published_units: Sequence[str] = ("zhuang", "inter_ln", "lstm", "ugrnn", "gru"),
) -> tuple[Finding, ...]:
    """Check the claims on a table of runs.

    Args:
        runs: a pandas table, one row per trained model and seed, with the columns of
            :data:`COLUMNS`, and ``label`` where these do not tell models apart. Runs without a
            finite value of what a claim reads are left out of it.
        ceiling: how alike animals are to one another on the scale of ``alignment``, one for all or
            one per seed; the claim of saturation is undecided without it.
        published_units: recurrent units (encoders) from best to worst; by default by published
            top-5 accuracy with the GPT attender (69.53, 68.08, 64.56, 63.54, 63.41 %).

    Raises:
        InputError: columns miss, or a run stands twice.
    """
    missing = [c for c in COLUMNS if c not in runs.columns]
    if missing:
        raise InputError(f"runs: columns {', '.join(missing)} missing; add them.")
    keys = [*_model_columns(runs), "seed"]
    if runs.duplicated(keys).any():
        odd = runs[runs.duplicated(keys)].iloc[0][keys].to_dict()
        raise refuse("runs", odd, "it stands twice", "keep one row per model and seed")
    supervised = runs[runs["objective"] == "supervised"]
    tactile = runs[~runs["augmentation"].isin(["image"])]
    has_attender = supervised["attender"] != "none"
    return (
        _difference(
            "Convolutional recurrent encoders classify better than feed-forward ones.",
            supervised, "accuracy",
            lambda t: t["encoder"].isin(CONVRNN), lambda t: t["encoder"].isin(FEEDFORWARD),
            pair=("attender",),
        ),
        _difference(
            "Convolutional recurrent encoders classify better than state-space ones.",
            supervised, "accuracy",
            lambda t: t["encoder"].isin(CONVRNN), lambda t: t["encoder"].isin(STATE_SPACE),
            pair=("attender",),
        ),
        _difference(
            "Convolutional recurrent encoders align better than feed-forward and state-space ones.",
            tactile, "alignment",
            lambda t: t["encoder"].isin(CONVRNN),
            lambda t: t["encoder"].isin((*FEEDFORWARD, *STATE_SPACE)),
            pair=("attender", "objective"),
        ),
        _unit_order(supervised[has_attender] if has_attender.any() else supervised,
                    published_units),
        _difference(
            "An attender after the encoder raises accuracy.",
            supervised, "accuracy",
            lambda t: t["attender"] != "none", lambda t: t["attender"] == "none",
            pair=("encoder",),
        ),
        _difference(
            "Tactile augmentation aligns better than image augmentation.",
            runs[runs["objective"].isin(SSL)], "alignment",
            lambda t: t["augmentation"] == "tactile", lambda t: t["augmentation"] == "image",
            pair=("encoder", "attender", "objective"),
        ),
        _difference(
            "Self-supervised networks align better than supervised ones.",
            tactile, "alignment",
            lambda t: t["objective"].isin(SSL), lambda t: t["objective"] == "supervised",
            pair=("encoder", "attender"),
        ),
        _line(tactile),
        _saturation(tactile, ceiling),
    )  # fmt: skip


def _model_columns(runs: Rows) -> list[str]:
    """The columns that tell models apart."""
    names = ["encoder", "attender", "objective", "augmentation"]
    return [*names, "label"] if "label" in runs.columns else names


def as_table(found: Sequence[Finding]) -> pd.DataFrame:
    """One row per claim."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "claim": f.claim, "verdict": f.verdict, "effect": f.effect, "low": f.low,
                "high": f.high, "unit": f.unit, "seeds": f.seeds, "runs": f.runs,
                "remark": f.remark,
            }
            for f in found
        ]
    )  # fmt: skip


def interval(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval (Student) of independent values; NaN ends for fewer than two.

    Args:
        values: one per seed.

    Returns:
        Mean, lower end, upper end.
    """
    from scipy.stats import t

    found = np.asarray(values, dtype=float)
    found = found[np.isfinite(found)]
    if not len(found):
        return float("nan"), float("nan"), float("nan")
    mean = float(found.mean())
    if len(found) < 2:
        return mean, float("nan"), float("nan")
    half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return mean, mean - half, mean + half


def _decide(low: float, high: float, least: float) -> Verdict:
    if low > least:
        return "supported"
    if high < least:
        return "not supported"
    return "undecided at this scale"


def _finding(
    claim: str, values: Sequence[float], unit: str, runs: int, remark: str = "", least: float = 0.0
) -> Finding:
    seeds = int(np.isfinite(np.asarray(values, dtype=float)).sum())
    effect, low, high = interval(values)
    if not seeds:
        remark = remark or "No runs to compare."
    elif seeds == 1:
        remark = " ".join(part for part in (remark, "One seed decides nothing.") if part)
    return Finding(
        claim=claim, effect=effect, unit=unit, low=low, high=high, seeds=seeds, runs=runs,
        verdict=_decide(low, high, least), least=least, remark=remark,
    )  # fmt: skip


def _difference(
    claim: str,
    runs: Rows,
    value: str,
    first: Callable[[Any], Any],
    second: Callable[[Any], Any],
    *,
    pair: tuple[str, ...],
) -> Finding:
    """Mean of the first group less that of the second, within each seed.

    Groups are compared within each setting of the ``pair`` columns that both have, so that a group
    is not better for having more of the good settings; the differences of a seed are averaged.
    """
    known = runs[np.isfinite(runs[value].astype(float))]
    values, used = [], 0
    for _, seed_runs in known.groupby("seed"):
        differences = []
        for _, setting in seed_runs.groupby(list(pair)):
            a, b = setting[first(setting)], setting[second(setting)]
            if len(a) and len(b):
                differences.append(float(a[value].mean()) - float(b[value].mean()))
                used += len(a) + len(b)
        if differences:
            values.append(float(np.mean(differences)))
    unit = "points of accuracy" if value == "accuracy" else "alignment"
    scale = 100.0 if value == "accuracy" else 1.0
    remark = "" if values else "One of the groups has no runs in a common setting."
    return _finding(claim, [scale * v for v in values], unit, used, remark)


def _unit_order(runs: Rows, order: Sequence[str]) -> Finding:
    """Kendall's tau-b of our order of recurrent units with the published one, within each seed."""
    from scipy.stats import kendalltau

    claim = "Recurrent units rank as published by accuracy."
    known = runs[np.isfinite(runs["accuracy"].astype(float)) & runs["encoder"].isin(list(order))]
    values, used = [], 0
    for _, seed_runs in known.groupby("seed"):
        by_unit = seed_runs.groupby("encoder")["accuracy"].mean()
        present = [unit for unit in order if unit in by_unit.index]
        if len(present) >= 3:
            ours = [float(by_unit[unit]) for unit in present]
            tau: Any = kendalltau(-np.arange(len(present)), ours)
            values.append(float(tau.statistic))
            used += len(seed_runs)
    remark = f"Published order: {', '.join(order)}." if values else "Fewer than three units."
    return _finding(claim, values, "Kendall tau", used, remark)


def _line(runs: Rows) -> Finding:
    """Correlation of accuracy with alignment over models, within each seed."""
    claim = "Networks that classify better align better."
    both = np.isfinite(runs["accuracy"].astype(float)) & np.isfinite(
        runs["alignment"].astype(float)
    )
    values, used = [], 0
    for _, seed_runs in runs[both].groupby("seed"):
        x, y = (np.asarray(seed_runs[c], dtype=float) for c in ("accuracy", "alignment"))
        if len(x) >= 4 and x.std() > 0 and y.std() > 0:
            values.append(float(np.corrcoef(x, y)[0, 1]))
            used += len(x)
    remark = "" if values else "Fewer than four models with both numbers."
    return _finding(claim, values, "Pearson r over models", used, remark)


def _saturation(runs: Rows, ceiling: Mapping[int, float] | float | None) -> Finding:
    """Best mean alignment less the animals' likeness to one another."""
    claim = "The best network reaches the likeness of animals to one another."
    unit = "alignment less ceiling"
    known = runs[np.isfinite(runs["alignment"].astype(float))]
    if ceiling is None or known.empty:
        remark = "No ceiling was given." if ceiling is None else "No run has an alignment."
        return _finding(claim, [], unit, 0, remark)
    model = _model_columns(known)
    # The model is chosen on the other seeds, so that its own luck does not count for it.
    values, used = [], 0
    for seed in sorted(known["seed"].unique()):
        others, own = known[known["seed"] != seed], known[known["seed"] == seed]
        if others.empty:
            continue
        best = others.groupby(model)["alignment"].mean().idxmax()
        row = own[(own[model] == list(best)).all(axis=1)]
        top = ceiling[int(seed)] if isinstance(ceiling, Mapping) else ceiling
        if len(row) and np.isfinite(top):
            values.append(float(row["alignment"].iloc[0]) - float(top))
            used += 1
    remark = "" if values else "One seed decides nothing: the model is chosen on the others."
    return _finding(claim, values, unit, used, remark)
