# pyright: reportArgumentType=false, reportCallIssue=false
"""Against recorded traces of the published simulator, its spring limit corrected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiments import (
    Reference,
    agreement,
    read_reference,
    reference_folder,
    repeat_reference,
    smoothed,
)

CASE = "sphere_hz1000_h0_d5_t0_s40_v30_y31_fix"


@pytest.fixture(scope="module")
def folder() -> Path:
    found = reference_folder()
    if found is None or not (found / f"{CASE}.npz").is_file():
        pytest.skip("traces of the published simulator are absent; set VIBRISSA_REFERENCE_DATA")
    return found


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    return read_reference(folder, CASE)


@pytest.fixture(scope="module")
def ours(folder: Path, reference: Reference):
    raw = repeat_reference(folder, reference, "published_as_written")
    assert raw.force_moment_world is not None
    return raw.force_moment_world[0, 1:].astype(np.float64), raw.contact[0, 1:]


def most_loaded(reference: Reference, count: int = 10) -> np.ndarray:
    moment = np.linalg.norm(smoothed(reference.moment_uN_mm), axis=-1)
    peak = np.where(reference.contact, moment, 0.0).max(axis=0)
    return np.argsort(peak)[::-1][:count]


def test_torque_of_the_most_loaded_whiskers(reference: Reference, ours):
    loads, _ = ours
    mine, theirs = smoothed(loads[..., 3:]), smoothed(reference.moment_uN_mm)
    pooled = []
    for w in most_loaded(reference):
        during = reference.contact[:, w]
        pair = mine[during, w], theirs[during, w]
        pooled.append(pair)
        correlation, ratio = agreement(*pair)
        assert correlation > 0.9, reference.names[w]
        assert 0.85 < ratio < 1.15, reference.names[w]
    correlation, ratio = agreement(*(np.concatenate(part) for part in zip(*pooled, strict=True)))
    assert correlation >= 0.95
    assert 0.85 <= ratio <= 1.15


def test_force_of_the_most_loaded_whiskers(reference: Reference, ours):
    """The published force is noisy even smoothed; its size still agrees."""
    loads, _ = ours
    mine, theirs = smoothed(loads[..., :3]), smoothed(reference.force_uN)
    during = reference.contact
    pairs = [(mine[during[:, w], w], theirs[during[:, w], w]) for w in most_loaded(reference)]
    correlation, ratio = agreement(*(np.concatenate(part) for part in zip(*pairs, strict=True)))
    assert correlation > 0.85
    assert 0.85 <= ratio <= 1.15


def test_contact_begins_and_ends_in_the_same_frames(reference: Reference, ours):
    _, contact = ours
    for w in most_loaded(reference):
        mine, theirs = np.flatnonzero(contact[:, w]), np.flatnonzero(reference.contact[:, w])
        assert abs(int(mine[0]) - int(theirs[0])) <= 3, reference.names[w]
        assert abs(int(mine[-1]) - int(theirs[-1])) <= 10, reference.names[w]
