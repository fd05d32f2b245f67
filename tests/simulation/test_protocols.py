from dataclasses import fields, replace

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, mouse_array
from vibrissa.objects import procedural_object, rodgers_stimulus
from vibrissa.simulation import (
    PassiveSweep,
    RandomPassive,
    Rodgers6,
    RodgersStimuli,
    SinusoidalWhisking,
    SolverConfig,
    sweep_protocols,
)

COARSE = SolverConfig(grid_spacing_mm=1.0, threads=1)
ARRAY = mouse_array().select(["RC1", "RC2", "RD1"])
CUP = procedural_object("cup", 0)


def given(protocol):
    return CUP if protocol.needs_object else None


@pytest.mark.parametrize("name", sweep_protocols.names())
def test_every_protocol_plans_and_simulates(name):
    kind = sweep_protocols.get(name)
    few = {"sweep": PassiveSweep(duration_s=0.02), "train_draws": 1, "test_draws": 1}
    known = {f.name for f in fields(kind)}  # pyright: ignore[reportArgumentType]
    protocol = kind(**{name: value for name, value in few.items() if name in known})
    plan = protocol.plan(ARRAY, given(protocol), COARSE, seed=1)
    assert plan.scenes
    names = [scene.name for scene in plan.scenes]
    assert len(set(names)) == len(names)
    sweep = plan.simulate(ARRAY, COARSE, seed=1)
    assert sweep.names == tuple(names)
    assert sweep.manifest.seed == 1
    assert (kind.__doc__ or "").strip()


def test_an_object_is_asked_for_or_refused():
    with pytest.raises(InputError, match="passive-1000hz needs one"):
        sweep_protocols.get("passive-1000hz")().plan(ARRAY, None, COARSE)
    with pytest.raises(InputError, match="brings its own objects"):
        Rodgers6().plan(ARRAY, CUP, COARSE)


def test_published_set_is_planned():
    plan = sweep_protocols.get("passive-1000hz")().plan(ARRAY, CUP, COARSE)
    assert len(plan.scenes) + len(plan.refused) == 16
    assert plan.scenes[0].parameters["speed_mm_per_s"] == 30.0


def test_six_stimuli_stand_where_published():
    scenes = RodgersStimuli().scenes()
    assert [s.name for s in scenes] == [
        f"{face} {distance}"
        for face in ("convex", "concave")
        for distance in ("close", "medium", "far")
    ]
    xy = {"close": (-1.0, 21.0), "medium": (0.0, 22.0), "far": (1.0, 23.0)}
    for scene in scenes:
        face, distance = scene.name.split()
        placed = scene.objects[0]
        at = placed.motion.poses(np.zeros(1))[0][0]
        low = rodgers_stimulus("convex" if face == "convex" else "concave").vertices_mm.min(axis=0)
        x, y = xy[distance]
        assert at[0] + low[0] == pytest.approx(x + (face == "convex"))
        assert at[1] == pytest.approx(y + low[1])
        assert at[2] == 3.0
        assert scene.label == face
        head, rotation = scene.head.poses(np.zeros(1))
        np.testing.assert_array_equal(head[0], [-5.0, -10.0, 0.0])
        np.testing.assert_array_equal(rotation[0], HeadPose.published_rodgers().rotation)
        assert isinstance(scene.whisking, SinusoidalWhisking)


def test_other_places_can_be_given():
    stimuli = RodgersStimuli(xy_mm={"near": (-3.0, 20.0)}, whisking=None, height_mm=0.0)
    scenes = stimuli.scenes()
    assert [s.name for s in scenes] == ["convex near", "concave near"]
    plan = Rodgers6(stimuli=stimuli).plan(mouse_array(), None, COARSE)
    assert set(plan.overlapping) == {"convex near", "concave near"}
    with pytest.raises(InputError, match="give one or more"):
        RodgersStimuli(xy_mm={})
    with pytest.raises(InputError, match="not two finite numbers"):
        RodgersStimuli(xy_mm={"near": (0.0, float("nan"))})


def test_whiskers_feel_the_six_stimuli_apart():
    """All are touched; nearer ones by more; convex and concave feel different."""
    array = mouse_array()
    config = SolverConfig(grid_spacing_mm=0.5, threads=1)
    plan = Rodgers6(sweep=PassiveSweep(duration_s=0.2)).plan(array, None, config)
    assert plan.overlapping == {"convex close": ("RC2", "RC3")}
    assert not plan.refused
    sweep = plan.simulate(array, config)
    assert not sweep.flagged.any()
    touched = sweep.contact.any(axis=1).sum(axis=1)
    assert (touched > 0).all()
    moments = sweep.force_moment[..., 3:].astype(np.float64)
    for face in range(2):
        close, medium, far = touched[3 * face : 3 * face + 3]
        assert close > medium > far
    difference = moments[0] - moments[3]
    assert np.sqrt(np.mean(difference**2)) > 0.2 * np.sqrt(np.mean(moments[0] ** 2))


def test_random_draws_depend_on_seed_and_object_alone():
    protocol = RandomPassive(sweeps=3)
    one = protocol.plan(ARRAY, CUP, COARSE, seed=5)
    two = replace(protocol, sweeps=2).plan(ARRAY, CUP, COARSE, seed=5)
    told = [scene.parameters for scene in one.scenes]
    assert [scene.parameters for scene in two.scenes] == told[:2]
    assert [s.parameters for s in protocol.plan(ARRAY, CUP, COARSE, seed=6).scenes] != told
    other = procedural_object("cup", 1)
    assert [s.parameters for s in protocol.plan(ARRAY, other, COARSE, seed=5).scenes] != told
    assert len({entry["diagonal_mm"] for entry in told}) == 3
    assert len({entry["theta_deg"] for entry in told}) == 3
    for scene, entry in zip(one.scenes, told, strict=True):
        assert scene.objects[0].shape.diagonal_mm == pytest.approx(entry["diagonal_mm"])
        assert 20.0 <= entry["speed_mm_per_s"] <= 60.0


def test_bad_draws_are_drawn_again_and_counted():
    # About one draw in three runs over the bases.
    protocol = RandomPassive(sweeps=6, distance_mm=(0.0, 6.0), redraws=20)
    plan = protocol.plan(ARRAY, CUP, COARSE, seed=0)
    assert len(plan.scenes) == 6
    assert plan.redrawn > 0
    assert not plan.refused
    none = replace(protocol, redraws=0).plan(ARRAY, CUP, COARSE, seed=0)
    assert none.redrawn == 0
    assert len(none.scenes) + len(none.refused) == 6
    assert none.refused
    hopeless = replace(
        protocol, distance_mm=(-8.0, -7.0), height_mm=(0.0, 0.0), redraws=2, sweeps=2
    )
    plan = hopeless.plan(ARRAY, CUP, COARSE, seed=0)
    assert not plan.scenes
    assert plan.redrawn == 4
    assert all("whisker's base" in skipped.reason for skipped in plan.refused)
    with pytest.raises(InputError, match=r"whisker's base.*\(1 more scenes are refused\)"):
        plan.simulate(ARRAY, COARSE)


def test_overlapping_starts_are_drawn_again_or_kept():
    protocol = RandomPassive(sweeps=4, starts=("published",), diagonal_mm=(50.0, 50.0), redraws=3)
    array = mouse_array()
    plan = protocol.plan(array, CUP, COARSE, seed=0)
    assert plan.redrawn > 0
    kept = protocol.plan(array, CUP, COARSE, seed=0, allow_overlap=True)
    assert kept.overlapping
    assert len(kept.scenes) == 4


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sweeps": 0}, "sweeps = 0"),
        ({"redraws": -1}, "redraws = -1"),
        ({"starts": ()}, "nothing to draw from"),
        ({"distance_mm": (5.0, 1.0)}, "give lowest, highest"),
        ({"speed_mm_per_s": (0.0, 1.0)}, "above 0"),
        ({"height_mm": (0.0, float("inf"))}, "no range"),
    ],
)
def test_bad_ranges_are_refused(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        RandomPassive(**changes)


def test_unknown_protocols_name_the_nearest():
    with pytest.raises(InputError, match="did you mean 'rodgers6'"):
        sweep_protocols.get("rodgers")
