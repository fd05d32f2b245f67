# pyright: reportArgumentType=false, reportCallIssue=false
"""Bad input is refused in one sentence that names the field."""

from __future__ import annotations

import math

import numpy as np
import pytest
from experiments import mouse, sphere

from vibrissa.core.errors import InputError
from vibrissa.simulation.engine import RodEngine
from vibrissa.simulation.motion import SampledMotion, UniformMotion
from vibrissa.simulation.passive import PassiveSweep
from vibrissa.simulation.run import make_engine, simulate
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig
from vibrissa.simulation.whisking import SinusoidalWhisking


def refusal(build) -> str:
    with pytest.raises(InputError) as caught:
        build()
    return str(caught.value)


def one_sentence(text: str, field: str) -> bool:
    return "\n" not in text and text.endswith(".") and text.startswith(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate_hz", 0.0),
        ("rate_hz", math.nan),
        ("step_s", -1e-4),
        ("step_s", math.inf),
        ("steps_per_radian", 0),
        ("calm_step_s", 0.0),
        ("calm_speed_mm_per_s", -1.0),
        ("contact_stiffness", 0.0),
        ("contact_stiffness", 5000.0),
        ("contact_offset_mm", -0.1),
        ("friction", -0.1),
        ("friction", "rough"),
        ("creep_speed_mm_per_s", 0.0),
        ("grid_spacing_mm", math.nan),
        ("rest_moment_uN_mm", -1.0),
        ("sampling", "mean"),
        ("precision", "float16"),
        ("threads", 0),
    ],
)
def test_solver_config(field: str, value: object):
    assert one_sentence(refusal(lambda: SolverConfig(**{field: value})), field)


@pytest.mark.parametrize("duration", [0.0, -1.0, math.inf, math.nan])
def test_scene_duration(duration: float):
    assert one_sentence(refusal(lambda: Scene(objects=(), duration_s=duration)), "duration_s")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position_mm", [0.0, 1.0]),
        ("position_mm", "here"),
        ("velocity_mm_per_s", [0.0, math.nan, 0.0]),
        ("spin_rad_per_s", [math.inf, 0.0, 0.0]),
        ("rotation", np.diag([1.0, 1.0, -1.0])),
        ("rotation", 2.0 * np.eye(3)),
    ],
)
def test_uniform_motion(field: str, value: object):
    assert one_sentence(refusal(lambda: UniformMotion(**{field: value})), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("times_s", [0.0]),
        ("times_s", [0.0, 0.0]),
        ("positions_mm", np.zeros((3, 3))),
        ("positions_mm", np.full((2, 3), np.nan)),
        ("rotations", np.zeros((2, 3))),
        ("rotations", np.zeros((2, 3, 3))),
    ],
)
def test_sampled_motion(field: str, value: object):
    good = {
        "times_s": np.array([0.0, 1.0]),
        "positions_mm": np.zeros((2, 3)),
        "rotations": np.tile(np.eye(3), (2, 1, 1)),
    }
    assert one_sentence(refusal(lambda: SampledMotion(**{**good, field: value})), field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("theta_deg", math.nan),
        ("speed_mm_per_s", 0.0),
        ("duration_s", -1.0),
        ("start", "middle"),
        ("side", "both"),
    ],
)
def test_passive_sweep(field: str, value: object):
    assert one_sentence(refusal(lambda: PassiveSweep(**{field: value})), field)


@pytest.mark.parametrize(
    ("field", "value"), [("rate_hz", 0.0), ("protraction_deg", 120.0), ("ramp_s", 0.0)]
)
def test_whisking(field: str, value: float):
    assert one_sentence(refusal(lambda: SinusoidalWhisking(**{field: value})), field)


def test_no_scenes():
    engine = RodEngine(mouse().select(["RC1"]), SolverConfig())
    assert one_sentence(refusal(lambda: engine.run([])), "scenes")


def test_scenes_of_different_durations():
    engine = RodEngine(mouse().select(["RC1"]), SolverConfig())
    scenes = [Scene(objects=(), duration_s=t) for t in (0.1, 0.2)]
    assert one_sentence(refusal(lambda: engine.run(scenes)), "duration_s")


def test_unknown_engine():
    build = lambda: make_engine(mouse(), engine="bullet")  # type: ignore[arg-type]  # noqa: E731
    assert one_sentence(refusal(build), "engine")


def test_a_device_that_is_not_there():
    build = lambda: RodEngine(mouse(), SolverConfig(device="cuda:99"))  # noqa: E731
    assert one_sentence(refusal(build), "device")


def placed(at_mm: list[float]) -> Scene:
    ball = PlacedObject(
        shape=sphere(2.0),  # type: ignore[arg-type]
        motion=UniformMotion(position_mm=np.array(at_mm)),
    )
    return Scene(objects=(ball,), duration_s=0.1, name="badly placed")


def test_an_object_over_the_bases():
    text = refusal(lambda: simulate(mouse(), placed([1.0, 0.0, -2.0])))
    assert text.startswith("badly placed")
    assert "base" in text


def test_an_object_among_the_whiskers():
    text = refusal(lambda: simulate(mouse(), placed([10.0, -4.0, -2.0])))
    assert text.startswith("badly placed")
    assert "inside the object" in text
