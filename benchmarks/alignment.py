"""Alignment: speed, memory, parity with the public metric library, known truth.

    python benchmarks/alignment.py speed                        # two cores, about a minute
    python benchmarks/alignment.py peer --peer CHECKOUT         # of brainmodel_utils
    python benchmarks/alignment.py truth --worlds 20            # coverage, p-values, layer found

Each prints a JSON document; ``--out FILE`` writes it as well. In ``speed`` the straightforward
implementation (loops over draws, as one would write the formulas down) runs in the same process on
a few draws, and its time is taken per draw; of both the process time is used, so that other work
on the machine counts little.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import versions
from vibrissa.neural.aligning import AlignConfig, align
from vibrissa.neural.conditions import CONDITIONS
from vibrissa.neural.inference import condition_orders
from vibrissa.neural.measures import RSA, value
from vibrissa.neural.published import (
    draw_statistics,
    source_statistics,
    target_side,
)
from vibrissa.neural.published_regression import PENALTY, half_splits, regression_statistics
from vibrissa.neural.session import Session
from vibrissa.neural.synth import SynthConfig, synth_sessions, synth_world

ANIMALS, UNITS, TRIALS, DRAWS, LAYERS, LAYER_UNITS = 11, 999, 800, 1000, 640, 5000


class ManyLayers:
    """A network of many layers, whose patterns are made when asked for."""

    model = "random"
    stimuli = CONDITIONS
    layer_names = tuple(f"layer{k}" for k in range(LAYERS))

    def mean_over_time(self, layer: str) -> np.ndarray:
        seed = int(layer.removeprefix("layer"))
        return np.random.default_rng(seed).standard_normal((len(CONDITIONS), LAYER_UNITS))


def units_of_animals() -> list[int]:
    base, more = divmod(UNITS, ANIMALS)
    return [base + (a < more) for a in range(ANIMALS)]


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, process seconds, wall seconds."""
    process, wall = time.process_time(), time.perf_counter()
    result = work()
    return result, time.process_time() - process, time.perf_counter() - wall


# --- straightforward implementations -------------------------------------------------------------


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def entries(patterns: np.ndarray) -> np.ndarray:
    return (1 - np.corrcoef(patterns))[np.triu_indices(len(patterns), 1)]


def plain_published(
    source: np.ndarray, target: np.ndarray, seeds: range
) -> tuple[list[float], list[float]]:
    """Score and reliability of each draw, every draw from scratch as the public code does it."""
    scores, reliabilities = [], []
    for seed in seeds:
        full = pearson(entries(source), entries(np.nanmean(target, axis=0)))
        order = list(range(len(target)))
        np.random.RandomState(seed).shuffle(order)
        half = len(target) // 2
        one = np.nanmean(target[order[:half]], axis=0)
        two = np.nanmean(target[order[half:]], axis=0)
        r = pearson(entries(one), entries(two))
        corrected = 2 * r / (1 + r)
        bad = corrected < 0 or np.isclose(corrected, 0)
        scores.append(np.nan if bad else full / np.sqrt(corrected))
        reliabilities.append(r)
    return scores, reliabilities


def plain_default(sessions: list[Session], draws: int) -> float:
    """Mean reliability of halves stratified by condition, as one would write it."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        one, two = [], []
        for session in sessions:
            rates = session.counts / session.duration_s[:, None]
            first, second = [], []
            for name in CONDITIONS:
                rows = rng.permutation(np.flatnonzero(session.condition == name))
                half = len(rows) // 2
                first.append(rates[rows[:half]].mean(axis=0))
                second.append(rates[rows[half:]].mean(axis=0))
            one.append(np.array(first))
            two.append(np.array(second))
        halves = (np.concatenate(one, 1), np.concatenate(two, 1))
        found.append(pearson(entries(halves[0]), entries(halves[1])))
    return float(np.mean(found))


# --- speed -----------------------------------------------------------------------------------


def make_sessions() -> list[Session]:
    """44 sessions with 800 trials each and 999 units in all."""
    rng = np.random.default_rng(0)
    found = []
    for a, units in enumerate(units_of_animals()):
        parts = np.array_split(np.arange(units), 4)
        for s, part in enumerate(parts):
            n = len(part)
            level = rng.gamma(2.0, 3.0, n)
            tuning = np.exp(0.2 * rng.standard_normal((6, n)))
            rows = rng.integers(0, 6, TRIALS)
            found.append(
                Session(
                    name=f"a{a:02d}s{s}", animal=f"a{a:02d}", unit_ids=part,
                    condition=np.array(CONDITIONS)[rows],
                    counts=rng.poisson(3.0 * (level * tuning)[rows]),
                    duration_s=np.full(TRIALS, 3.0),
                )
            )  # fmt: skip
    return found


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    network, sessions = ManyLayers(), make_sessions()
    _, making, _ = timed(lambda: [network.mean_over_time(n) for n in network.layer_names])
    config = AlignConfig(draws=DRAWS)
    bare = AlignConfig(draws=DRAWS, folds=0)
    _, process, wall = timed(lambda: align(network, sessions, config))
    _, process_bare, wall_bare = timed(lambda: align(network, sessions, bare))
    one_layer = {"layer": network.mean_over_time("layer0")}
    pooled = AlignConfig(draws=DRAWS, folds=0, by=("pooled",), permutations=1)
    plain_draws, ratios = 10, []
    for _ in range(3):
        _, ours, _ = timed(lambda: align(one_layer, sessions, pooled, stimuli=CONDITIONS))
        _, plain, _ = timed(lambda: plain_default(sessions, plain_draws))
        ratios.append(plain / plain_draws * DRAWS / ours)
    # The published layout: every trial has all six conditions, as dense as it can be.
    rng = np.random.default_rng(1)
    arrays = [rng.gamma(2.0, 3.0, (TRIALS, 6, n)) for n in units_of_animals()]
    joined = np.concatenate(arrays, axis=2)
    source = network.mean_over_time("layer0")

    def published() -> None:
        sides = [target_side(array, draws=DRAWS) for array in [*arrays, joined]]
        for name in network.layer_names:
            patterns = network.mean_over_time(name)
            for side in sides:
                source_statistics(patterns, side, draws=DRAWS)

    _, process_published, wall_published = timed(published)
    published_ratios, worst = [], 0.0
    for _ in range(3):
        ours, seconds, _ = timed(lambda: draw_statistics(source, joined, draws=DRAWS))
        seeds = range(1234, 1234 + 5)
        (scores, r), plain, _ = timed(lambda s=seeds: plain_published(source, joined, s))
        published_ratios.append(plain / len(seeds) * DRAWS / seconds)
        worst = max(
            worst, float(np.nanmax(np.abs(ours["r_yy"][:5] - r))),
            float(np.nanmax(np.abs(np.nan_to_num(ours["r_xy_n_sb"][:5] - scores)))),
        )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "layers": LAYERS, "targets": ANIMALS + 1, "draws": DRAWS, "units": UNITS, "trials": TRIALS,
        "align_wall_s": wall, "align_process_s": process,
        "align_without_intervals_wall_s": wall_bare,
        "align_without_intervals_process_s": process_bare, "of_which_making_layers_s": making,
        "align_pooled_one_layer_ratios": ratios, "published_wall_s": wall_published,
        "published_process_s": process_published, "published_pooled_one_layer_ratios":
        published_ratios, "published_largest_difference": worst, "peak_memory_mb": peak,
    }  # fmt: skip


# --- the public metric library -------------------------------------------------------------------


def peer(arguments: argparse.Namespace) -> dict[str, Any]:
    """Draw for draw against the public functions; its entry for RSA refuses, its parts do not."""
    if arguments.peer is None:
        raise SystemExit("give --peer, a checkout of neuroagents-lab/brainmodel_utils")
    sys.path.insert(0, str(arguments.peer))
    consistency = importlib.import_module("brainmodel_utils.metrics.consistency")
    utils = importlib.import_module("brainmodel_utils.metrics.utils")
    rng = np.random.default_rng(3)
    shapes = {"clean": (0.5, 120, 0), "noisy": (3.0, 40, 0), "ragged": (1.5, 60, 25)}
    found: dict[str, Any] = {}
    for name, (noise, trials, missing) in shapes.items():
        signal = rng.standard_normal((1, 6, 30))
        target = signal + noise * rng.standard_normal((trials, 6, 30))
        if missing:
            target[-missing:, :, 20:] = np.nan
        for kind in ("model", "animal"):
            source = rng.standard_normal((6, 80)) + np.pad(signal[0], ((0, 0), (0, 50)))
            if kind == "animal":
                source = signal + noise * rng.standard_normal((trials + 11, 6, 30))
            ours = draw_statistics(source, target, draws=arguments.draws)
            theirs: dict[str, list[float]] = {key: [] for key in ours}
            for seed in range(1234, 1234 + arguments.draws):
                full = utils.generic_trial_avg(source) if kind == "animal" else source
                x1, x2 = utils.get_splithalves(source, seed)
                y1, y2 = utils.get_splithalves(target, seed)
                if not all(np.isfinite(a).all() for a in (x1, x2, y1, y2)):
                    continue
                one = consistency.get_consistency_per_neuron(
                    full, utils.generic_trial_avg(target), x1, x2, y1, y2, metric="rsa_pearsonr"
                )
                for key in theirs:
                    theirs[key].append(float(one[key]))
            same = all(np.array_equal(np.isnan(ours[key]), np.isnan(theirs[key])) for key in theirs)
            # where a score is large its difference is taken relative to it
            worst = max(
                float(np.nanmax(np.abs(ours[k] - theirs[k]) / np.maximum(1, np.abs(theirs[k]))))
                for k in theirs
            )
            found[f"{name} {kind}"] = {
                "largest_difference": worst, "same_nan": bool(same),
                "draws": len(ours["r_yy"]), "nan": int(np.isnan(ours["r_xy_n_sb"]).sum()),
            }  # fmt: skip
    found["ridge"] = peer_ridge(consistency)
    found["speed"] = peer_speed(consistency, utils)
    return found


def peer_ridge(consistency: Any) -> dict[str, Any]:
    """The published regression through the public entry, which takes it."""
    rng = np.random.default_rng(5)
    latent = rng.standard_normal((6, 4))
    source = latent @ rng.standard_normal((4, 5000)) + 0.3 * rng.standard_normal((6, 5000))
    target = 6.0 + latent @ rng.standard_normal((4, 12)) + rng.standard_normal((40, 6, 12))
    ours = regression_statistics(source, target, draws=4)
    theirs = consistency.get_linregress_consistency(
        source=source, target=target, num_bootstrap_iters=4, metric="pearsonr",
        splits=[{"train": a, "test": b} for a, b in half_splits(6)],
        map_kwargs={
            "map_type": "sklinear",
            "map_kwargs": {"regression_type": "Ridge", "regression_kwargs": {"alpha": PENALTY}},
        },
    )["test"]  # fmt: skip
    return {
        key: {
            "largest_difference": float(np.nanmax(np.abs(ours[key] - theirs[key]))),
            "same_nan": bool(np.array_equal(np.isnan(ours[key]), np.isnan(theirs[key]))),
        }
        for key in ("r_xy", "r_xx", "r_yy", "r_xy_n_sb")
    }


def peer_speed(consistency: Any, utils: Any) -> dict[str, Any]:
    """Pooled target, one layer, draw by draw as the public function for one draw computes it."""
    rng = np.random.default_rng(1)
    target = rng.gamma(2.0, 3.0, (TRIALS, 6, UNITS))
    source = rng.standard_normal((6, LAYER_UNITS))

    def theirs(seeds: range) -> None:
        for seed in seeds:
            y1, y2 = utils.get_splithalves(target, seed)
            consistency.get_consistency_per_neuron(
                source, utils.generic_trial_avg(target), source, source, y1, y2,
                metric="rsa_pearsonr",
            )  # fmt: skip

    pairs = []
    for _ in range(3):
        _, ours, _ = timed(lambda: draw_statistics(source, target, draws=DRAWS))
        _, peer_s, _ = timed(lambda: theirs(range(1234, 1239)))
        pairs.append((peer_s / 5 * DRAWS, ours))
    return {
        "peer_s": [p for p, _ in pairs], "ours_s": [o for _, o in pairs],
        "ratios": [p / o for p, o in pairs],
    }  # fmt: skip


# --- known truth ---------------------------------------------------------------------------------


def truth(arguments: argparse.Namespace) -> dict[str, Any]:
    """Worlds with known truth: coverage of intervals, p-values of shuffled models, layer found."""
    from scipy.stats import kstest

    inside: dict[str, list[bool]] = {}
    p_values, found_layer, best_of_shuffled, animals_p = [], [], [], []
    for world_seed in range(arguments.worlds):
        config = SynthConfig(
            animals=8, sessions=2, units=18, trials=170, tuning=(0.1, 0.2, 0.4)[world_seed % 3]
        )
        sessions = synth_sessions(config, world_seed)
        world = synth_world(config, world_seed)
        rates = np.concatenate([u.rate_hz for u in world.sessions], axis=1)
        rng = np.random.default_rng(world_seed)
        half_right = rates + rates.std() * rng.standard_normal(rates.shape)
        layers = {f"random{k}": rng.standard_normal((6, 60)) for k in range(8)}
        orders, _ = condition_orders(6)
        # one relabelling per world: p-values of different animals and layers are not independent
        shuffled = rates[orders[rng.integers(len(orders))]]
        layers |= {"perfect": rates, "half": half_right, "shuffled": shuffled}
        result = align(
            layers, sessions, AlignConfig(seed=world_seed, draws=300), stimuli=CONDITIONS
        )
        rsa = RSA()

        for layer in ("perfect", "half"):
            row = result.value("model", layer, "pooled")
            true = value(rsa, layers[layer], rates)
            inside.setdefault(f"pooled {layer}", []).append(row["low"] <= true <= row["high"])
        for animal in sorted({s.animal for s in sessions}):
            own = np.concatenate([u.rate_hz for u in world.sessions if u.animal == animal], axis=1)
            mine = [s for s in sessions if s.animal == animal]
            one = align(
                {"perfect": own}, mine, AlignConfig(seed=world_seed, draws=300, by=("animal",)),
                stimuli=CONDITIONS,
            ).value("model", "perfect", animal)  # fmt: skip
            if one["status"] == "ok":
                inside.setdefault("animal perfect", []).append(one["low"] <= 1.0 <= one["high"])
            row = result.value("model", "half", animal)
            true = value(rsa, half_right, own)
            if row["status"] == "ok":
                inside.setdefault("animal half", []).append(row["low"] <= true <= row["high"])
        p_values.append(float(result.value("model", "shuffled", "pooled")["p"]))
        animals_p.append(float(result.value("model", "shuffled", "animals")["p"]))
        only = {k: v for k, v in layers.items() if k.startswith("random")} | {"true": rates}
        chosen = align(only, sessions, AlignConfig(seed=world_seed, draws=20, folds=0),
                       stimuli=CONDITIONS).models.iloc[0]  # fmt: skip
        found_layer.append(chosen["best_layer"] == "true" and chosen["chosen"] == "true")
        best_of_shuffled.append(float(chosen["p"]))
    return {
        "worlds": arguments.worlds,
        "coverage": {k: [float(np.mean(v)), len(v)] for k, v in inside.items()},
        "shuffled_ks_p_pooled": float(kstest(p_values, "uniform").pvalue),
        "shuffled_ks_p_animals": float(kstest(animals_p, "uniform").pvalue),
        "true_layer_found": float(np.mean(found_layer)),
        "p_of_the_true_layer_at_most": max(best_of_shuffled),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("speed", "peer", "truth"))
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    part = {"speed": speed, "peer": peer, "truth": truth}[arguments.part]
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "versions": versions()}
    text = json.dumps({arguments.part: part(arguments), "on": machine}, indent=1)
    print(text)
    if arguments.out is not None:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
