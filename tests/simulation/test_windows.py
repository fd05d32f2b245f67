"""Windows: the frames that are kept, and sweeps of different durations in one file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, mouse_array
from vibrissa.objects import procedural_object
from vibrissa.simulation import (
    PassiveSweep,
    Plan,
    SampledMotion,
    Scene,
    SinusoidalWhisking,
    SolverConfig,
    TabledWhisking,
    best_window,
    make_engine,
    simulate,
    simulate_batches,
)
from vibrissa.simulation.drawing_3d import Stage

COARSE = SolverConfig(grid_spacing_mm=1.0, threads=1)
ARRAY = mouse_array().select(["RC1", "RC2", "RD1"])
BALL = procedural_object("ellipsoid", 0)
PASS = PassiveSweep(speed_mm_per_s=120.0, duration_s=0.2, height_mm=-2.0, through=True)


@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30),
    st.integers(1, 35),
)
def test_the_window_holds_most_contact_and_is_the_middle_one(rows, frames):
    contact = np.array(rows)
    start = best_window(contact, frames)
    if frames >= len(contact):
        assert start == 0
        return
    held = [
        sum(contact[s + k].sum() for k in range(frames)) for s in range(len(contact) - frames + 1)
    ]
    best = [s for s, n in enumerate(held) if n == max(held)]
    assert start in best
    before, after = best.index(start), len(best) - 1 - best.index(start)
    assert after - before in (0, 1)


def test_short_contact_is_centred_and_none_gives_the_middle():
    contact = np.zeros((100, 2), bool)
    assert best_window(contact, 40) == 30
    assert best_window(contact, 41) == 29
    contact[50:60, 1] = True
    start = best_window(contact, 30)
    assert 50 - start == start + 30 - 60
    for bad in (np.zeros(5, bool), np.zeros((2, 2, 2), bool)):
        with pytest.raises(InputError, match="contact"):
            best_window(bad, 2)
    with pytest.raises(InputError, match="frames = 0"):
        best_window(contact, 0)


@pytest.mark.parametrize("window", [0.0, -1.0, 1.1, float("nan"), True, "long"])
def test_a_window_is_a_part_of_the_scene(window):
    with pytest.raises(InputError, match="window_s"):
        Scene(objects=(), duration_s=1.0, window_s=window)


def scenes():
    """Three durations, out of order, one window."""
    speeds = {"a": 120.0, "b": 240.0, "c": 120.0, "d": 80.0}
    found = [
        replace(PASS, speed_mm_per_s=v, duration_s=0.15).scene(BALL, ARRAY, name=name)
        for name, v in speeds.items()
    ]
    assert len({s.duration_s for s in found}) == 3
    assert {s.window_s for s in found} == {0.15}
    return found


def test_the_kept_frames_are_those_of_the_whole_recording():
    config = replace(COARSE, record_nodes=True, record_world=True)
    for scene in scenes()[:2]:
        whole = simulate(ARRAY, replace(scene, window_s=None), config)
        cut = simulate(ARRAY, scene, config)
        assert whole.start_s(0) == 0.0
        assert "window_start_s" not in whole.parameters[0]
        assert cut.parameters[0] == whole.parameters[0] | {"window_start_s": cut.start_s(0)}
        start = best_window(whole.contact[0], 150)
        assert start > 0
        assert cut.start_s(0) == pytest.approx(start / 1000.0, abs=1e-12)
        for name in ("force_moment", "force_moment_world", "contact", "nodes_mm"):
            kept = getattr(whole, name)[:, start : start + 150]
            np.testing.assert_array_equal(getattr(cut, name), kept)
        assert cut.contact.sum() > 0.5 * whole.contact.sum()


def test_sweeps_of_different_durations_do_not_depend_on_their_company(tmp_path):
    mixed = scenes()
    together = simulate(ARRAY, mixed, COARSE)
    assert together.names == ("a", "b", "c", "d")
    assert together.force_moment.shape[:2] == (4, 150)
    alone = [simulate(ARRAY, scene, COARSE) for scene in mixed]
    backward = Plan(scenes=tuple(mixed[::-1])).simulate(ARRAY, COARSE)
    batches = list(simulate_batches(ARRAY, mixed, COARSE, batch=3))
    assert [len(part) for part in batches] == [3, 1]
    for k, one in enumerate(alone):
        for name in ("force_moment", "contact", "flagged", "base_rotation"):
            expected = getattr(one, name)[0]
            np.testing.assert_array_equal(getattr(together, name)[k], expected)
            np.testing.assert_array_equal(getattr(backward, name)[3 - k], expected)
            np.testing.assert_array_equal(getattr(batches[k // 3], name)[k % 3], expected)
        assert together.parameters[k] == one.parameters[0] == backward.parameters[3 - k]


def test_different_lengths_do_not_fit_into_one_file():
    pair = scenes()[:2]
    with pytest.raises(InputError, match="must last equally long"):
        simulate(ARRAY, [pair[0], replace(pair[1], window_s=0.1)], COARSE)
    with pytest.raises(InputError, match="must last equally long"):
        Plan(scenes=(pair[0], replace(pair[1], window_s=None))).simulate(ARRAY, COARSE)


def test_moving_heads_are_cut_and_world_loads_filled_in():
    pose = HeadPose.published_passive()
    times = np.linspace(0.0, 2.0, 5)
    away = pose.position_mm + times[:, None] ** 2 * np.array([-3.0, 0.0, 0.0])
    head = SampledMotion(
        times_s=times, positions_mm=away, rotations=np.tile(pose.rotation, (5, 1, 1))
    )
    still, moving = scenes()[0], replace(scenes()[1], head=head)
    sweep = simulate(ARRAY, [still, moving], COARSE)
    assert sweep.head_rotation.shape == (2, 150, 3, 3)
    assert sweep.base_rotation is None
    expected = simulate(ARRAY, still, COARSE).loads("world")
    np.testing.assert_allclose(sweep.loads("world")[:1], expected, atol=1e-3)
    turning = replace(still, whisking=SinusoidalWhisking())
    assert simulate(ARRAY, [turning, moving], COARSE).force_moment_world is not None


def test_pictures_show_objects_where_they_were():
    config = replace(COARSE, record_nodes=True)
    scene = scenes()[0]
    cut = simulate(ARRAY, scene, config)
    whole = simulate(ARRAY, replace(scene, window_s=None), config)
    first = round(1000.0 * cut.start_s(0))

    class Witness:
        def show(self, ribbons, meshes, time_s):
            self.seen = meshes[0].world_mm(time_s), ribbons[0].points_mm

    seen = []
    for sweep, frame in ((cut, 20), (whole, first + 20)):
        stage = Stage(sweep, scene, 0, np.array([frame]))
        witness = Witness()
        stage.show(witness, frame)  # pyright: ignore[reportArgumentType]
        seen.append(witness.seen)
    for one, other in zip(*seen, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)


def test_mujoco_is_cut_as_well():
    pytest.importorskip("mujoco")
    array = ARRAY.select(["RC1"])
    shape = procedural_object("box", 0)
    scene = replace(PASS, speed_mm_per_s=300.0, duration_s=0.1).scene(shape, array)
    assert scene.duration_s > 0.1
    sweep = simulate(array, scene, COARSE, engine="mujoco")
    assert sweep.force_moment.shape[1] == 100
    assert sweep.contact.any()


def test_tables_of_angles_must_cover_the_sweep():
    times = np.linspace(0.0, 0.999, 1000)
    angles = {name: np.zeros((1000, 3)) for name in ARRAY.names}
    table = TabledWhisking(times_s=times, angles_deg=angles)
    Scene(objects=(), duration_s=1.0, whisking=table)
    with pytest.raises(InputError, match="does not cover the sweep, which lasts from 0 to 1.1 s"):
        Scene(objects=(), duration_s=1.1, whisking=table)
    late = TabledWhisking(times_s=times + 0.1, angles_deg=angles)
    with pytest.raises(InputError, match="whisking = 'a table from 0.1"):
        Scene(objects=(), duration_s=0.5, whisking=late)


def test_the_disk_cache_can_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("VIBRISSA_CACHE", str(tmp_path / "cache"))
    from vibrissa.objects.distance_cache import no_cache

    shape = procedural_object("ellipsoid", 3)
    with no_cache():
        scene = PASS.scene(shape, ARRAY)
        plan = Plan.of(ARRAY, [scene], COARSE)
        one = plan.simulate(ARRAY, COARSE)
    make_engine(ARRAY, COARSE, cache_fields=False).run([PASS.scene(shape, ARRAY)])
    assert not (tmp_path / "cache").exists()
    two = simulate(ARRAY, PASS.scene(shape, ARRAY), COARSE)
    assert list((tmp_path / "cache" / "distance").iterdir())
    np.testing.assert_array_equal(one.force_moment, two.force_moment)
