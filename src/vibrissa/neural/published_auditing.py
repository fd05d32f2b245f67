"""The whole published protocol on sessions, each deviation switchable on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.manifest import Manifest
from vibrissa.neural.align_sources import layers_of, match_conditions, sources_of
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.published import (
    CUTOFF,
    DRAWS,
    FIRST_SEED,
    TargetSide,
    filtered_mean,
    filtered_share,
    published_maximum,
    source_statistics,
    target_side,
)
from vibrissa.neural.published_arrays import session_array, stratified_halves
from vibrissa.neural.session import Session
from vibrissa.neural.targets import POOLED, check_sessions, why_unusable


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """Switches of the published protocol; every default is what was published.

    Attributes:
        first_appearance: conditions of each session numbered as they first appear in its trials;
            otherwise by name.
        published_clock: use the sessions whose spikes were shifted by the start of the recording;
            they must be given, for nothing else can make them.
        zeros: conditions that a trial does not show count as 0 spikes/s; otherwise as absent.
        row_halves: halves of the rows, whatever they show; otherwise of the trials of each
            condition of each session.
        cutoff: draws whose halves correlate below it are left out of the mean; None keeps all.
        maximum: a model scores its best value over layers and targets; otherwise the mean over
            animals of the layer that is best on the other animals.
        binned: durations rounded up to bins of 45 ms.
        comparison: ``pearson`` or ``spearman`` of the RDMs.
        draws: split halves.
        first_seed: of the first of them.
    """

    first_appearance: bool = True
    published_clock: bool = False
    zeros: bool = True
    row_halves: bool = True
    cutoff: float | None = CUTOFF
    maximum: bool = True
    binned: bool = True
    comparison: str = "pearson"
    draws: int = DRAWS
    first_seed: int = FIRST_SEED

    def __post_init__(self) -> None:
        if self.comparison not in ("pearson", "spearman"):
            raise refuse_unknown("comparison", self.comparison, ("pearson", "spearman"))
        if self.draws < 1:
            raise refuse("draws", self.draws, "below 1", "give 1 or more")
        if not 0 <= self.first_seed <= 2**32 - 1 - self.draws:
            raise refuse("first_seed", self.first_seed, "no seed of 32 bits", "give 1234")


SWITCHES: Final = (
    ("as published", {}),
    ("conditions by name", {"first_appearance": False}),
    ("clock as stored", {"published_clock": False}),
    ("absent conditions absent", {"zeros": False}),
    ("halves within conditions", {"row_halves": False}),
    ("all draws", {"cutoff": None}),
    ("held-out layer", {"maximum": False}),
)
"""One deviation after another set right; see :func:`deviations`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedResult:
    """What the published protocol gives.

    Attributes:
        table: (pandas) one row per (model, layer, target): ``score``, the mean over the draws kept;
            the ``median`` over all draws, which is how the bar of the model input was made;
            ``r_xy``; mean ``r_yy`` and ``r_yy_sb``; ``kept``, share of draws that pass the
            cutoff; ``nan``, share without a score.
        models: model -> score by the rule of the configuration.
        statistics: (model, layer, target) -> the quantities of every draw.
        remarks: sentences on what was left out.
        manifest: how it came about.
    """

    table: Any
    models: dict[str, float]
    statistics: dict[tuple[str, str, str], dict[str, np.ndarray]]
    remarks: tuple[str, ...]
    manifest: Manifest


def published_protocol(
    activations: Any,
    sessions: Sequence[Session],
    config: PublishedConfig | None = None,
    *,
    shifted: Sequence[Session] | None = None,
    stimuli: Sequence[str] | None = None,
    model: str = "model",
) -> PublishedResult:
    """Score models as published, for audit.

    Targets are each animal, and all animals joined in the order in which they first appear.

    Args:
        activations: as for :func:`~vibrissa.neural.aligning.align`.
        sessions: in the order in which the files were read.
        config: switches.
        shifted: the same sessions with the spikes shifted by the start of the recording.
        stimuli: names along the stimulus axis of plain arrays.
        model: name of the model where none is given.

    Raises:
        InputError: ``published_clock`` without ``shifted``, or activations of other stimuli.
    """
    config = config or PublishedConfig()
    if config.published_clock:
        if shifted is None:
            raise InputError(
                "published_clock = True: the sessions with shifted spikes are missing; read them "
                "with the published clock and give them as shifted."
            )
        sessions = shifted
    check_sessions(sessions)
    conditions = CONDITIONS if _shows_all(sessions) else _conditions(sessions)
    remarks, usable = [], []
    for session in sessions:
        why = why_unusable(session, conditions, 1)
        if why:
            remarks.append(f"session {session.name} is left out: {why}.")
        else:
            usable.append(session)
    if not usable:
        raise InputError(f"{remarks[0][:-1]}, and no other can be used; add sessions.")
    sources = sources_of(activations, stimuli=stimuli, model=model)
    for source in sources:
        match_conditions(source, conditions, False, recorded_in=[s.name for s in usable])
    sides = _sides(usable, conditions, config)
    statistics: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}
    for source, layer in layers_of(sources):
        patterns = source.patterns(layer, conditions)
        for name, side in sides.items():
            statistics[source.model, layer, name] = source_statistics(
                patterns, side, draws=config.draws, first_seed=config.first_seed,
                comparison=config.comparison,
            )  # fmt: skip
    table = _table(statistics, config.cutoff)
    models = {s.model: _model_score(table[table["model"] == s.model], config) for s in sources}
    return PublishedResult(
        table=table, models=models, statistics=statistics, remarks=tuple(remarks),
        manifest=Manifest.of("published protocol", config, seed=config.first_seed),
    )  # fmt: skip


def deviations(
    activations: Any,
    sessions: Sequence[Session],
    *,
    shifted: Sequence[Session] | None = None,
    cumulative: bool = True,
    config: PublishedConfig | None = None,
    stimuli: Sequence[str] | None = None,
) -> Any:
    """Set the deviations right one after another, or each alone, and watch the numbers.

    Args:
        activations: of one model, as for :func:`published_protocol`.
        sessions: with the clock as stored.
        shifted: with the published clock; without them that step is left out.
        cumulative: each step keeps those before it; otherwise one deviation is mended at a time.
        config: number of draws, comparison and seed.
        stimuli: names along the stimulus axis of plain arrays.

    Returns:
        Table with ``step``, ``model_score``, and of the pooled target, over all layers, the
        largest ``r_xy`` and the mean ``r_yy``, ``kept`` and ``nan``.
    """
    import pandas as pd

    start = replace(config or PublishedConfig(), published_clock=shifted is not None)
    rows, current = [], start
    for step, change in SWITCHES:
        if "published_clock" in change and shifted is None:
            continue
        now = replace(current if cumulative else start, **change)
        current = now if cumulative else start
        found = published_protocol(activations, sessions, now, shifted=shifted, stimuli=stimuli)
        pooled = found.table[found.table["target"] == POOLED]
        rows.append(
            {
                "step": step, "model_score": next(iter(found.models.values())),
                "r_xy": pooled["r_xy"].max(), "r_yy": pooled["r_yy"].mean(),
                "kept": pooled["kept"].mean(), "nan": pooled["nan"].mean(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _shows_all(sessions: Sequence[Session]) -> bool:
    shown = {name for session in sessions for name in session.conditions}
    return set(CONDITIONS) <= shown


def _conditions(sessions: Sequence[Session]) -> tuple[str, ...]:
    from vibrissa.neural.targets import conditions_of

    return conditions_of(sessions)


def _sides(
    sessions: Sequence[Session], conditions: Sequence[str], config: PublishedConfig
) -> dict[str, TargetSide]:
    arrays = {
        s.name: session_array(
            s, conditions, first_appearance=config.first_appearance, zeros=config.zeros,
            binned=config.binned,
        )
        for s in sessions
    }  # fmt: skip
    halves = None
    if not config.row_halves:
        halves = {
            s.name: stratified_halves(s, conditions, config.draws, config.first_seed)
            for s in sessions
        }
    animals = list(dict.fromkeys(s.animal for s in sessions))
    groups = {a: [s.name for s in sessions if s.animal == a] for a in animals}
    groups[POOLED] = [name for animal in animals for name in groups[animal]]
    return {
        target: target_side(
            [arrays[n] for n in names], draws=config.draws, first_seed=config.first_seed,
            comparison=config.comparison,
            weights=None if halves is None else [halves[n] for n in names],
        )
        for target, names in groups.items()
    }  # fmt: skip


def _table(statistics: dict[tuple[str, str, str], dict[str, np.ndarray]], cutoff: Any) -> Any:
    import pandas as pd

    rows = []
    for (model, layer, target), found in statistics.items():
        score = found["r_xy_n_sb"]
        good = score[np.isfinite(score)]
        some = len(found["r_xy"]) > 0
        rows.append(
            {
                "model": model, "layer": layer, "target": target,
                "score": filtered_mean(found, cutoff),
                "median": float(np.median(good)) if len(good) else np.nan,
                "r_xy": float(found["r_xy"][0]) if some else np.nan,
                "r_yy": float(found["r_yy"].mean()) if some else np.nan,
                "r_yy_sb": float(found["r_yy_sb"].mean()) if some else np.nan,
                "kept": filtered_share(found, CUTOFF if cutoff is None else cutoff)
                if some else np.nan,
                "nan": float(np.isnan(score).mean()) if some else np.nan,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _model_score(table: Any, config: PublishedConfig) -> float:
    if config.maximum:
        return float(published_maximum(table["score"].tolist()))
    animals = table[table["target"] != POOLED].pivot(
        index="layer", columns="target", values="score"
    )
    values = animals.to_numpy()
    if values.shape[1] < 2:
        return float("nan")
    chosen = []
    for k in range(values.shape[1]):
        rest = np.delete(values, k, axis=1)
        known = np.isfinite(rest)
        mean = np.where(known, rest, 0.0).sum(1) / np.maximum(known.sum(1), 1)
        mean = np.where(known.any(axis=1), mean, -np.inf)
        chosen.append(values[int(np.argmax(mean)), k])
    finite = [value for value in chosen if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
