"""Synthetic sessions with known truth: a geometry of conditions, units tuned to it, noise.

Everything comes from the seed. A *world* is what is true (tuning of every unit, the geometry);
:func:`synth_sessions` draws spike counts from it, and :mod:`vibrissa.neural.synth_recording` spike
trains and behaviour for files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.manifest import Manifest
from vibrissa.core.seeds import generator
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.session import Session
from vibrissa.neural.synth_trials import synth_trials, trial_table_rules

if TYPE_CHECKING:
    from vibrissa.neural.synth_truths import SynthTruth

Population = Literal["drawn", "exact"]
_LAYERS: Final = (("2/3", 128.0), ("4", 419.0), ("5", 626.0), ("6", 1006.0))
"""Layer of barrel cortex and the depth in um at which it begins."""


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """What a synthetic data set is like.

    Attributes:
        animals: number of animals.
        sessions: sessions per animal.
        units: units per session on average; sessions differ by up to a quarter.
        trials: trials per session that are planned, bad ones included.
        task: which task; ``both`` alternates between animals.
        population: ``drawn`` draws base rates and tuning of each unit; ``exact`` gives equal base
            rates and tuning such that the noise-free correlation RDM of *each session* is exactly
            that of the geometry.
        dimensions: of the latent geometry, where no features are given.
        tuning: depth of tuning; standard deviation over conditions of the log rate (``drawn``) or
            of the rate relative to its mean (``exact``).
        tuned_fraction: share of the units that are tuned; the others do not tell conditions apart.
        own_geometry: from 0 (all animals share one geometry) to 1 (each has its own).
        rate_hz: mean base rate of excitatory units; inhibitory ones fire twice as much.
        rate_spread: standard deviation of the log base rate over units.
        shared_noise: standard deviation of the log gain that all units of a trial share.
        imbalance: standard deviation of the log probability of conditions, drawn per session.
        inhibitory_fraction: share of inhibitory units.
        error_fraction: share of trials with the wrong choice.
        spoil_fraction: share of trials without a choice.
        opto_fraction: share of trials with light on, to be ignored.
        shaping_trials: direct-delivery trials at the start of each session.
        contacts: mean number of whisker contacts per trial.
        contact_effect: how much the log number of contacts follows the first latent dimension of
            the condition; 0 leaves contact counts free of the condition.
        contact_share: share of the spikes of a trial that are locked to contacts, +5..+30 ms.
        recording_start_s: when the recording starts on the session clock.
        clock_shift_s: a fault: spike times are stored so much too late.
        gaps: gaps in the recording of each session, 12 s each.
        declared_gaps: the file tells of its gaps in invalid_times; --no-declared-gaps writes
            files that do not.
        missing_whisker: every second session lacks whisker C0.
        sessions_without_units: sessions with behaviour alone that the first animal has besides.

    Raises:
        InputError: a value that makes no sense.
    """

    animals: int = 3
    sessions: int = 2
    units: int = 12
    trials: int = 90
    task: Literal["discrimination", "detection", "both"] = "discrimination"
    population: Population = "drawn"
    dimensions: int = 3
    tuning: float = 0.5
    tuned_fraction: float = 1.0
    own_geometry: float = 0.0
    rate_hz: float = 8.0
    rate_spread: float = 0.6
    shared_noise: float = 0.1
    imbalance: float = 0.2
    inhibitory_fraction: float = 0.2
    error_fraction: float = 0.15
    spoil_fraction: float = 0.05
    opto_fraction: float = 0.0
    shaping_trials: int = 3
    contacts: float = 8.0
    contact_effect: float = 0.0
    contact_share: float = 0.05
    recording_start_s: float = 10.0
    clock_shift_s: float = 0.0
    gaps: int = 0
    declared_gaps: bool = True
    missing_whisker: bool = False
    sessions_without_units: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise refuse(
                    name, getattr(self, name), f"less than {least}", f"give {least} or more"
                )
        for name in ("rate_hz", "contacts"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise refuse(name, value, "not above 0", "give a positive number")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise refuse(name, getattr(self, name), "not a share", "give 0 to 1")
        for name in ("tuning", "rate_spread", "shared_noise", "imbalance", "recording_start_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise refuse(name, value, "negative or not finite", "give 0 or more")
        if self.error_fraction + self.spoil_fraction + self.opto_fraction > 1:
            raise refuse(
                "error_fraction", self.error_fraction, "with spoil and opto it is above 1",
                "give less",
            )  # fmt: skip


_LEAST: Final = {
    "animals": 1, "sessions": 1, "units": 1, "trials": 1, "dimensions": 1, "shaping_trials": 0,
    "gaps": 0, "sessions_without_units": 0,
}  # fmt: skip
_SHARES: Final = (
    "tuned_fraction", "own_geometry", "inhibitory_fraction", "error_fraction", "spoil_fraction",
    "opto_fraction", "contact_share",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class SynthUnits:
    """The units of one session as they truly are.

    Attributes:
        session: its name.
        animal: its animal.
        task: its task.
        ids: (unit,) cluster ids.
        base_hz: (unit,) rate between trials.
        rate_hz: (condition, unit) expected rate inside trials, in the order of ``CONDITIONS``.
        tuned: (unit,) whether the unit tells conditions apart.
        info: ``depth_um``, ``inhibitory``, ``layer``, each (unit,).
    """

    session: str
    animal: str
    task: str
    ids: np.ndarray
    base_hz: np.ndarray
    rate_hz: np.ndarray
    tuned: np.ndarray
    info: dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class SynthWorld:
    """What is true: the geometry and all units.

    Attributes:
        config: what was asked for.
        seed: root seed.
        geometry: (condition, dimension) latent positions; the mean square of a row is 1.
        sessions: the units of each session.
    """

    config: SynthConfig
    seed: int
    geometry: np.ndarray
    sessions: tuple[SynthUnits, ...]


def synth_world(
    config: SynthConfig, seed: int, *, features: Any = None, rdm: Any = None
) -> SynthWorld:
    """Draw the truth.

    Args:
        config: what it is to be like.
        seed: root seed.
        features: (condition, feature) numbers in the order of ``CONDITIONS``, for instance the
            activations of a layer: the geometry then has their correlation RDM.
        rdm: (condition, condition) correlation distances to be had instead.

    Raises:
        InputError: features or distances of another shape, or distances that no patterns have.
    """
    shared = _geometry(config, seed, features, rdm)
    sessions: list[SynthUnits] = []
    for a in range(config.animals):
        animal = f"{219 + a}CR"
        task = config.task
        if task == "both":
            task = "discrimination" if a % 2 == 0 else "detection"
        own = generator(seed, "synth", "geometry", animal).standard_normal(shared.shape)
        part = config.own_geometry
        geometry = _rows(math.sqrt(1 - part) * shared + math.sqrt(part) * _rows(own))
        for s in range(config.sessions):
            name = f"{190901 + s}_{animal}"
            sessions.append(_units(config, seed, name, animal, task, geometry))
    return SynthWorld(config=config, seed=seed, geometry=shared, sessions=tuple(sessions))


def synth_sessions(
    config: SynthConfig | None = None, seed: int = 0, *, features: Any = None, rdm: Any = None
) -> tuple[Session, ...]:
    """Sessions drawn from a world, in memory: correct trials, from their start to the choice.

    Counts are Poisson given the gain of the trial, with the expected rates of the truth. Arguments
    and errors as for :func:`synth_world`; :func:`synth_truth` with the same arguments tells what is
    true of them.
    """
    config = config or SynthConfig()
    world = synth_world(config, seed, features=features, rdm=rdm)
    return tuple(_session(world, units) for units in world.sessions)


def synth_truth(
    config: SynthConfig | None = None, seed: int = 0, *, features: Any = None, rdm: Any = None
) -> SynthTruth:
    """What is true of the sessions that the same arguments give."""
    from vibrissa.neural.synth_truths import SynthTruth

    return SynthTruth.of(synth_world(config or SynthConfig(), seed, features=features, rdm=rdm))


# --- the truth -------------------------------------------------------------------------------


def _rows(array: np.ndarray) -> np.ndarray:
    """Rows with mean square 1."""
    return array / np.sqrt((array**2).mean(axis=1, keepdims=True))


def _geometry(config: SynthConfig, seed: int, features: Any, rdm: Any) -> np.ndarray:
    if features is not None and rdm is not None:
        raise refuse("rdm", "...", "features are given as well", "give one of them")
    n = len(CONDITIONS)
    if features is None and rdm is None:
        drawn = generator(seed, "synth", "geometry").standard_normal((n, config.dimensions))
        return _rows(drawn)
    if features is not None:
        values = np.asarray(features, dtype=np.float64)
        if values.ndim != 2 or len(values) != n or values.shape[1] < 2:
            raise refuse("features", f"shape {values.shape}", f"not ({n}, feature)", "mend them")
        values = values - values.mean(axis=1, keepdims=True)
        length = np.linalg.norm(values, axis=1, keepdims=True)
        if not (np.isfinite(length) & (length > 0)).all():
            raise refuse("features", "...", "a row is constant or not finite", "give others")
        similarity = (values / length) @ (values / length).T
    else:
        distances = np.asarray(rdm, dtype=np.float64)
        good = distances.shape == (n, n) and np.isfinite(distances).all()
        if (
            not good
            or max(abs(distances - distances.T).max(), abs(np.diag(distances)).max()) > 1e-9
        ):
            raise refuse(
                "rdm", f"shape {distances.shape}",
                f"not a symmetric ({n}, {n}) matrix with a zero diagonal", "mend it",
            )  # fmt: skip
        similarity = 1.0 - distances
    values, vectors = np.linalg.eigh((similarity + similarity.T) / 2)
    if values.min() < -1e-8:
        raise refuse(
            "rdm", float(values.min()), "1 - rdm has a negative eigenvalue, so no patterns have it",
            "give the correlation distances of some patterns",
        )  # fmt: skip
    keep = values > 1e-10
    return _rows(vectors[:, keep] * np.sqrt(values[keep]))


def _units(
    config: SynthConfig, seed: int, name: str, animal: str, task: str, geometry: np.ndarray
) -> SynthUnits:
    draw = generator(seed, "synth", "units", name)
    spread = config.units // 4
    n = config.units + int(draw.integers(-spread, spread + 1))
    ids = np.sort(draw.choice(np.arange(12, 12 + 20 * n), size=n, replace=False))
    inhibitory = draw.random(n) < config.inhibitory_fraction
    depth = np.round(draw.uniform(130.0, 1200.0, n) / 20.0) * 20.0 + 5.0
    layer = np.select(
        [depth >= top for _, top in _LAYERS[::-1]], [k for k, _ in _LAYERS[::-1]], "1"
    )
    scatter = np.exp(config.rate_spread * draw.standard_normal(n))
    base = config.rate_hz * np.where(inhibitory, 2.0, 1.0) * scatter
    tuned = draw.random(n) < config.tuned_fraction
    weights = draw.standard_normal((geometry.shape[1], n)) / math.sqrt(geometry.shape[1])
    if config.population == "exact":
        rate, base = _exact(config, geometry, weights, name)
        tuned = np.ones(n, dtype=bool)
    else:
        signal = (geometry @ weights) * tuned * config.tuning
        # Untuned units keep the mean of tuned ones, so that rates do not tell them apart.
        rate = base * np.where(tuned, np.exp(signal), math.exp(config.tuning**2 / 2))
    info = {"depth_um": depth, "inhibitory": inhibitory, "layer": layer}
    return SynthUnits(
        session=name, animal=animal, task=task, ids=ids, base_hz=base, rate_hz=rate, tuned=tuned,
        info=info,
    )  # fmt: skip


def _exact(
    config: SynthConfig, geometry: np.ndarray, weights: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Equal base rates and whitened weights: the correlation across units is that of the rows."""
    dimensions, n = weights.shape
    if n <= dimensions or config.tuned_fraction < 1:
        raise refuse(
            "population", "exact",
            f"session {name} has {n} units, all of which must be tuned to {dimensions} dimensions",
            f"give units = {2 * dimensions + 4} or more and tuned_fraction = 1",
        )  # fmt: skip
    centred = weights - weights.mean(axis=1, keepdims=True)
    white = np.linalg.svd(centred, full_matrices=False)[2] * math.sqrt(n / dimensions)
    relative = 1.0 + config.tuning * (geometry @ white)
    if relative.min() <= 0:
        raise refuse(
            "tuning", config.tuning, f"rates of session {name} would fall below 0",
            f"give less than {config.tuning / (1 - relative.min()):.3g}",
        )  # fmt: skip
    return config.rate_hz * relative, np.full(n, config.rate_hz)


# --- counts ----------------------------------------------------------------------------------


def trial_gain(config: SynthConfig, seed: int, session: str, n_trials: int) -> np.ndarray:
    """(trial,) gain that the units of a session share, with mean 1."""
    sigma = config.shared_noise
    draw = generator(seed, "synth", "gain", session).standard_normal(n_trials)
    return np.exp(sigma * draw - sigma**2 / 2)


def _session(world: SynthWorld, units: SynthUnits) -> Session:
    config, seed = world.config, world.seed
    table = synth_trials(config, seed, units.session, units.task, world.geometry)
    keep = np.flatnonzero(trial_table_rules(table))
    condition = table["condition"][keep]
    duration = (table["choice_time"] - table["start_time"])[keep]
    gain = trial_gain(config, seed, units.session, len(table["condition"]))[keep]
    order = {name: k for k, name in enumerate(CONDITIONS)}
    rows = np.array([order[name] for name in condition], dtype=np.int64)
    expected = units.rate_hz[rows] * (gain * duration)[:, None]
    counts = generator(seed, "synth", "counts", units.session).poisson(expected)
    return Session(
        name=units.session,
        animal=units.animal,
        unit_ids=units.ids,
        condition=condition,
        counts=counts,
        duration_s=duration,
        choice=table["choice"][keep],
        outcome=table["outcome"][keep],
        task=units.task,
        file_order=keep,
        trial_ids=table["trial"][keep],
        event_s=table["start_time"][keep],
        covariates={"contact_count": table["contact_count"][keep]},
        unit_info=units.info,
        window="published",
        manifest=Manifest.of("synthetic session", config, seed=seed),
    )
