# pyright: reportArgumentType=false, reportCallIssue=false
"""A sweep repeated with the object shifted by a ten-thousandth of a millimetre."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from experiments import channel_correlations, mouse

from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.engine import RodEngine
from vibrissa.simulation.motion import UniformMotion
from vibrissa.simulation.passive import PassiveSweep
from vibrissa.simulation.scene import Scene, SolverConfig

SHIFT_MM = 1e-4


def shifted(scene: Scene, by_mm: np.ndarray) -> Scene:
    placed = scene.objects[0]
    assert isinstance(placed.motion, UniformMotion)
    motion = replace(placed.motion, position_mm=placed.motion.position_mm + by_mm)
    return replace(scene, objects=(replace(placed, motion=motion),))


@pytest.fixture(scope="module")
def ball() -> TactileObject:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=3)
    return TactileObject("ball", "ball", np.asarray(mesh.vertices), np.asarray(mesh.faces))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tiny_shift_changes_no_loaded_channel(ball: TactileObject, axis: int):
    """Published simulator: force 0.10 to 0.17, torque 0.81 to 0.86 (medians over channels)."""
    array = mouse()
    scene = PassiveSweep().scene(ball, array)
    engine = RodEngine(array, SolverConfig(threads=1))
    raw = engine.run([scene, shifted(scene, SHIFT_MM * np.eye(3)[axis])])
    one, two = raw.force_moment.astype(np.float64)
    correlation = channel_correlations(one, two)
    assert np.isfinite(correlation).sum() > 60
    assert np.nanmedian(correlation) > 0.9999
    worst = np.unravel_index(np.nanargmin(correlation), correlation.shape)
    assert np.nanmin(correlation) >= 0.999, (array.names[worst[0]], worst[1])
