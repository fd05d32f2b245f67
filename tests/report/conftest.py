"""Runs with known effects."""

import itertools

import numpy as np
import pandas as pd
import pytest

from vibrissa.report.findings import COLUMNS

ENCODERS = {"zhuang": 3.0, "inter_ln": 2.5, "lstm": 2.0, "ugrnn": 1.5, "gru": 1.0, "resnet": -1.0,
            "s4": -2.0}  # fmt: skip


def make_world(seeds=5, *, effect=1.0, noise=0.1, seed=0):
    """Runs with known effects: scores add up from encoder, attender, objective, augmentation."""
    rng = np.random.default_rng(seed)
    rows = []
    for s, encoder, attender, objective in itertools.product(
        range(seeds), ENCODERS, ("none", "gpt"), ("supervised", "simclr")
    ):
        for augmentation in ("none",) if objective == "supervised" else ("tactile", "image"):
            true = ENCODERS[encoder] + 2.0 * (attender == "gpt")
            ssl = 3.0 * (objective == "simclr") - 1.5 * (augmentation == "image")
            accuracy, alignment = (effect * v + noise * rng.normal() for v in (true, true + ssl))
            rows.append((encoder, attender, objective, augmentation, s, accuracy, alignment))
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.fixture
def world():
    """Makes a table of runs."""
    return make_world
