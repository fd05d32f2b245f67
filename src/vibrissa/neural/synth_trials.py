"""The behaviour of a synthetic session: its trial table, with the columns of DANDI 000231."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vibrissa.core.seeds import generator
from vibrissa.neural.conditions import CONDITIONS, NOTHING

if TYPE_CHECKING:
    from vibrissa.neural.synth import SynthConfig

FIRST_TRIAL_S: Final = 5.91
WINDOW_OPENS_S: Final = 3.02
"""The response window opens so long after the start of a trial."""
SPOIL_S: Final = 45.0
"""After so long without a lick a trial is spoilt."""
FRAME_S: Final = 0.005
"""Frames of the video, by which starts and contacts are timed."""
FIRST_ID: Final = 4


def synth_trials(
    config: SynthConfig, seed: int, session: str, task: str, geometry: np.ndarray
) -> dict[str, np.ndarray]:
    """The trial table of a session.

    Args:
        config: what it is to be like.
        seed: root seed.
        session: its name.
        task: ``discrimination`` (left for concave, right for convex) or ``detection`` (right for
            either shape, left for ``nothing``).
        geometry: (condition, dimension); its first dimension moves the number of contacts by
            ``config.contact_effect``.

    Returns:
        Column -> (trial,): those of the dataset, and besides ``condition`` and ``contact_count``.
    """
    draw = generator(seed, "synth", "trials", session)
    n = config.trials
    weight = np.exp(config.imbalance * draw.standard_normal(len(CONDITIONS)))
    row = draw.choice(len(CONDITIONS), size=n, p=weight / weight.sum())
    condition = np.array(CONDITIONS)[row]
    stimulus = np.array([name.split()[0] for name in condition])
    position = np.array([name.split()[1] for name in condition])
    if task == "detection":
        absent = draw.random(n) < 0.5
        stimulus = np.where(absent, NOTHING, stimulus)
        condition = np.where(absent, NOTHING, condition)
        rewarded = np.where(absent, "left", "right")
    else:
        rewarded = np.where(stimulus == "concave", "left", "right")
    shaping = np.arange(n) < config.shaping_trials
    fate = draw.random(n)
    error = fate < config.error_fraction
    spoil = ~error & (fate < config.error_fraction + config.spoil_fraction)
    opto = ~error & ~spoil
    opto &= fate < config.error_fraction + config.spoil_fraction + config.opto_fraction
    outcome = np.where(spoil, "spoil", np.where(error, "error", "correct"))
    other = np.where(rewarded == "left", "right", "left")
    choice = np.where(spoil, "nogo", np.where(error, other, rewarded))
    reaction = 0.15 + draw.gamma(2.0, 0.25, n)
    # A spoilt trial lasts 45 s in the real task; here the mouse is called off after 5 s more, so
    # that short sessions stay short; choice_time still says window + 45 s, as in the files.
    pause = np.where(spoil, 8.0, reaction + draw.uniform(2.0, 4.5, n))
    length = np.round((WINDOW_OPENS_S + pause) / FRAME_S) * FRAME_S
    start = FIRST_TRIAL_S + np.concatenate([[0.0], np.cumsum(length)[:-1]])
    start = np.round(start / FRAME_S) * FRAME_S
    stop = np.append(start[1:], np.round((start[-1] + length[-1]) / FRAME_S) * FRAME_S)
    opens = np.round(start + WINDOW_OPENS_S + draw.uniform(-0.002, 0.002, n), 3)
    effect = np.where(condition == NOTHING, 0.0, config.contact_effect * geometry[row, 0])
    expected = np.where(stimulus == NOTHING, 0.2, config.contacts * np.exp(effect))
    return {
        "start_time": start,
        "stop_time": stop,
        "direct_delivery": shaping,
        "stim_is_random": ~shaping,
        "optogenetic": opto,
        "ignore_trial": shaping | spoil | opto,
        "outcome": outcome,
        "choice": choice,
        "rewarded_side": rewarded,
        "servo_position": position,
        "stimulus": stimulus,
        "choice_time": np.where(spoil, opens + SPOIL_S, opens + reaction),
        "response_window_open_time": opens,
        "trial": FIRST_ID + np.arange(n),
        "condition": condition,
        "contact_count": draw.poisson(expected).astype(np.float64),
    }


def trial_table_rules(table: dict[str, np.ndarray]) -> np.ndarray:
    """(trial,) whether a trial is correct, not to be ignored, and shows a shape."""
    shown = table["stimulus"] != NOTHING
    return ~table["ignore_trial"] & (table["outcome"] == "correct") & shown
