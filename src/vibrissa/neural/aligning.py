"""Alignment of models with recordings: scores with ceilings, intervals and p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import track
from vibrissa.neural.align_cells import (
    Cells,
    cells_of_moments,
    cells_of_patterns,
    empty_cells,
)
from vibrissa.neural.align_sources import layers_of, match_conditions, sources_of
from vibrissa.neural.align_tables import build
from vibrissa.neural.alignment import Alignment
from vibrissa.neural.inference import condition_orders
from vibrissa.neural.measures import RSA, Measure, measures
from vibrissa.neural.measures_partial import PartialRSA, confound_rdms
from vibrissa.neural.rdm_moments import Moments, moments_of
from vibrissa.neural.reliability import SessionMoments, mean_offset, session_moments
from vibrissa.neural.session import Session
from vibrissa.neural.targets import Grouping, Target, conditions_of, targets, why_unusable


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """How alignment is computed.

    Attributes:
        measure: one of the registry ``measures``.
        by: targets, ``animal``, ``session``, ``pooled`` or several of them; with animals there is
            a row ``animals`` for them as a group.
        conditions: to compare, by name; None takes all that were recorded.
        draws: random split halves for the reliability.
        pattern_draws: the same for measures on patterns (``pls``, ``best_unit``), which are slow.
        folds: groups of trials for the jackknife interval; 0 for no interval.
        fold_draws: split halves in each of them.
        permutations: all orders of the conditions if there are no more than this (six have 720),
            else so many at random.
        min_trials: of each condition that a session must have, 2 or more; others are left out.
        min_reliability: from 0 to below 1; below it no score is given (status ``low_reliability``),
            nor where the animals are less alike than that (``low_consistency``).
        level: of confidence of the intervals.
        seed: of halves, folds and random permutations.

    Raises:
        InputError: a value that makes no sense.
    """

    measure: Measure = field(default_factory=RSA)
    by: tuple[Grouping, ...] = ("animal", "pooled")
    conditions: tuple[str, ...] | None = None
    draws: int = 1000
    pattern_draws: int = 20
    folds: int = 20
    fold_draws: int = 100
    permutations: int = 2000
    min_trials: int = 2
    min_reliability: float = 0.2
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.measure, Measure):
            raise _no_measure(self.measure)
        least = {"draws": 1, "pattern_draws": 1, "folds": 0, "fold_draws": 1, "permutations": 1,
                 "min_trials": 2, "seed": 0}  # fmt: skip
        for name, smallest in least.items():
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or isinstance(value, bool):
                raise refuse(name, value, "no whole number", f"give {smallest} or more")
            if value < smallest:
                raise refuse(name, value, f"below {smallest}", f"give {smallest} or more")
        if self.folds in (1, 2):
            raise refuse("folds", self.folds, "too few for an interval", "give 0, or 3 or more")
        if not _is_number(self.level) or not 0 < self.level < 1:
            raise refuse("level", self.level, "no share", "give for instance 0.95")
        if not _is_number(self.min_reliability) or not 0 <= self.min_reliability < 1:
            raise refuse(
                "min_reliability", self.min_reliability, "not from 0 to below 1",
                "give for instance 0.2",
            )  # fmt: skip
        for name in ("by", "conditions"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise refuse(name, value, "one text, not several", f"give ({value!r},)")
        if self.fold_draws > self.draws:
            object.__setattr__(self, "fold_draws", self.draws)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _no_measure(given: object) -> InputError:
    """Say how a measure is given; the registry holds classes, which are made first."""
    if isinstance(given, str):
        kind = measures.get(given)  # an unknown name is refused with those that there are
        return refuse(
            "measure", given, "a name, not a measure",
            f"give {kind.__name__}(), or measures.get({given!r})() from vibrissa.neural.measures",
        )  # fmt: skip
    return refuse("measure", given, "no measure", "give one of the registry measures, as RSA()")


def align(
    activations: Any,
    recordings: Sequence[Session] | Sequence[Target],
    config: AlignConfig | None = None,
    *,
    stimuli: Sequence[str] | None = None,
    model: str = "model",
    quiet: bool = True,
) -> Alignment:
    """Score models against recordings.

    Everything goes by name: conditions, sessions, animals; the order in which anything is given is
    of no account. Stimuli are fixed: nothing here generalises to other stimuli.

    Args:
        activations: :class:`~vibrissa.activations.Activations`; or layer -> array (stimulus, unit)
            or (stimulus, time, unit), with ``stimuli``; or model -> either; or a list of
            ``Activations``.
        recordings: sessions, or targets made from them.
        config: how.
        stimuli: names along the stimulus axis of plain arrays.
        model: name of the model where none is given.
        quiet: show no progress.

    Returns:
        A table with one row per (model, layer, target), one per model, and what they rest on.

    Raises:
        InputError: activations of other stimuli, unknown conditions, no session that can be used,
            values that are not finite.
    """
    config = config or AlignConfig()
    groups = _targets(recordings, config)
    sessions = {s.name: s for target in groups for s in target.sessions}
    conditions, given = _conditions(config, list(sessions.values()))
    sources = sources_of(activations, stimuli=stimuli, model=model)
    for source in sources:
        match_conditions(source, conditions, given, recorded_in=sorted(sessions))
    measure = config.measure
    odd = {n: why_unusable(s, conditions, config.min_trials) for n, s in sessions.items()}
    usable = {n: s for n, s in sessions.items() if not odd[n]}
    excluded = {n: why for n, why in sorted(odd.items()) if why}
    if not usable:
        name, why = next(iter(excluded.items()))
        raise InputError(f"session {name}: {why}, and no other session can be used; add sessions.")
    orders, exact = condition_orders(len(conditions), limit=config.permutations, seed=config.seed)
    keys = list(layers_of(sources))
    layers: list[Any] = []
    for source, layer in track(keys, "layers", quiet=quiet):
        patterns = source.patterns(layer, conditions)
        layers.append(patterns if measure.on_patterns else moments_of(patterns))
    cells = _all_cells(config, groups, usable, conditions, layers, orders, quiet)
    settings = {"conditions": conditions, "config": config}
    return build(
        config=config, sources=sources, keys=[(s.model, layer) for s, layer in keys],
        targets=groups, usable=usable, cells={n: c for n, (c, _) in cells.items()},
        moments={n: m for n, (_, m) in cells.items() if m is not None}, conditions=conditions,
        layer_moments=[x for x in layers if isinstance(x, Moments)], excluded=excluded,
        exact=exact,
        manifest=Manifest.of(
            "alignment", settings, seed=config.seed,
            inputs={f"activations {s.model}": s.digest for s in sources if s.digest},
        ),
    )  # fmt: skip


def _targets(recordings: Sequence[Any], config: AlignConfig) -> tuple[Target, ...]:
    if not len(recordings):
        raise refuse("recordings", (), "there are none", "give sessions or targets")
    if all(isinstance(item, Target) for item in recordings):
        return tuple(recordings)
    if not all(isinstance(item, Session) for item in recordings):
        kinds = sorted({type(item).__name__ for item in recordings})
        raise refuse("recordings", kinds, "neither sessions nor targets", "give sessions")
    return targets(recordings, config.by)


def _conditions(config: AlignConfig, sessions: Sequence[Session]) -> tuple[tuple[str, ...], bool]:
    recorded = conditions_of(sessions)
    names = config.conditions or recorded
    for name in names:
        if name not in recorded:
            raise InputError(
                f"condition {name!r} was not recorded; these were: {', '.join(recorded)}."
            )
        if names.count(name) > 1:
            raise refuse("conditions", name, "it stands twice", "name each once")
    least = config.measure.least_conditions
    if len(names) < least:
        kind = type(config.measure).__name__
        raise refuse("conditions", list(names), f"{kind} needs {least} or more", "compare more")
    return tuple(sorted(names, key=recorded.index)), config.conditions is not None


def _all_cells(
    config: AlignConfig, groups: Sequence[Target], usable: dict[str, Session],
    conditions: tuple[str, ...], layers: list[Any], orders: np.ndarray, quiet: bool,
) -> dict[str, tuple[Cells, SessionMoments | None]]:  # fmt: skip
    """Target -> cells and moments."""
    measure = config.measure
    found: dict[str, tuple[Cells, SessionMoments | None]] = {}
    cache: dict[str, SessionMoments] = {}
    if not measure.on_patterns:
        offset = mean_offset(list(usable.values()), measure.scale)
        for name in track(sorted(usable), "sessions", quiet=quiet):
            cache[name] = session_moments(
                usable[name], conditions, draws=config.draws, seed=config.seed,
                scale=measure.scale, folds=config.folds,
                fold_draws=config.fold_draws if config.folds else 0, offset=offset,
            )  # fmt: skip
    shared = None
    if not measure.on_patterns and not measure.confounded:
        shared = np.array([measure.source_features(m) for m in layers])
    for target in track(groups, "targets", quiet=quiet):
        inside = [usable[s.name] for s in target.sessions if s.name in usable]
        if not inside:
            found[target.name] = (empty_cells(len(layers), len(orders), "no_usable_session"), None)
            continue
        if measure.on_patterns:
            cells = cells_of_patterns(
                measure, layers, inside, conditions, orders, draws=config.pattern_draws,
                seed=config.seed, floor=config.min_reliability, level=config.level,
            )  # fmt: skip
            found[target.name] = (cells, None)
            continue
        bound = measure
        if isinstance(measure, PartialRSA):
            bound = measure.bind(confound_rdms(inside, conditions, measure.confounds))
        joined = SessionMoments.joined([cache[s.name] for s in inside])
        cells = cells_of_moments(
            bound, layers, joined, orders, floor=config.min_reliability, level=config.level,
            source_features=shared,
        )  # fmt: skip
        found[target.name] = (cells, joined)
    return found
