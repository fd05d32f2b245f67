"""Sets of passive sweeps: through the whiskers, the published draws, grids, files."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, mouse_array
from vibrissa.objects import procedural_object
from vibrissa.simulation import (
    Passive110Hz,
    Passive1000Hz,
    PassiveGrid,
    PassiveSweep,
    RandomPassive,
    Rodgers6,
    SinusoidalWhisking,
    SolverConfig,
    protocol_from_yaml,
    simulate,
    sweep_protocols,
)
from vibrissa.simulation.passive import rest_points_mm, rounded_up_s

COARSE = SolverConfig(grid_spacing_mm=1.0, threads=1)
ARRAY = mouse_array().select(["RC1", "RC2", "RD1"])
CUP = procedural_object("cup", 0)


def corners_mm(scene, time_s):
    one = scene.objects[0]
    at, turned = one.motion.poses(np.array([time_s]))
    return one.shape.vertices_mm @ turned[0].T + at[0]


@pytest.mark.parametrize(("side", "spin"), [("R", 0.0), ("L", 0.0), ("R", 70.0)])
@pytest.mark.parametrize("speed", [20.0, 47.0])
def test_through_lasts_until_the_object_has_passed(side, spin, speed):
    array = mouse_array(side)
    sweep = PassiveSweep(side=side, speed_mm_per_s=speed, spin_deg_per_s=spin, theta_deg=25.0)
    plain, through = (replace(sweep, through=yes).scene(CUP, array) for yes in (False, True))
    np.testing.assert_array_equal(corners_mm(through, 0.0), corners_mm(plain, 0.0))
    assert plain.window_s is None
    assert through.window_s == plain.duration_s == 1.0
    pose = HeadPose.published_passive()
    if side == "L":
        flip = np.diag([-1.0, 1.0, 1.0])
        pose = HeadPose(position_mm=flip @ pose.position_mm, rotation=flip @ pose.rotation @ flip)
    hindmost = rest_points_mm(array, pose)[..., 1].min()
    tenths = through.duration_s * 10.0
    assert tenths == pytest.approx(round(tenths), abs=1e-9)
    assert corners_mm(through, through.duration_s)[:, 1].max() <= hindmost - 1.0 + 1e-9
    if spin == 0.0:  # a tenth earlier it had not passed
        assert corners_mm(through, through.duration_s - 0.1)[:, 1].max() > hindmost - 1.0


def test_what_passes_sooner_is_simulated_as_long_as_asked():
    scene = PassiveSweep(through=True, duration_s=3.0, speed_mm_per_s=60.0).scene(CUP, ARRAY)
    assert scene.duration_s == scene.window_s == 3.0
    with pytest.raises(InputError, match="through = True.*published start"):
        PassiveSweep(through=True, start="published")


@pytest.mark.parametrize(
    ("time_s", "rounded"), [(0.61, 0.7), (0.7, 0.7), (0.1 + 0.2, 0.3), (0.700001, 0.8), (0.0, 0.0)]
)
def test_durations_are_rounded_up(time_s, rounded):
    assert rounded_up_s(time_s) == rounded


def test_the_1000_hz_set_is_cut_around_the_contact():
    protocol = Passive1000Hz(sweep=PassiveSweep(speed_mm_per_s=100.0, duration_s=0.3))
    plan = protocol.plan(ARRAY, CUP, COARSE)
    assert len(plan.scenes) == 16
    assert all(scene.window_s == 0.3 < scene.duration_s for scene in plan.scenes)
    sweep = plan.simulate(ARRAY, COARSE)
    assert sweep.force_moment.shape[:2] == (16, 300)
    assert all(p["window_start_s"] >= 0.0 for p in sweep.parameters)
    published = Passive1000Hz(sweep=PassiveSweep(start="published")).plan(
        ARRAY, CUP, COARSE, allow_overlap=True
    )
    assert {(s.duration_s, s.window_s) for s in published.scenes} == {(1.0, None)}
    assert "window_start_s" not in published.scenes[0].parameters
    assert published.overlapping


def test_the_110_hz_set():
    protocol = Passive110Hz(sweep=PassiveSweep(start="published"))
    plan = protocol.plan(ARRAY, CUP, COARSE, seed=3, allow_overlap=True)
    told = [scene.parameters for scene in plan.scenes]
    assert len(told) + len(plan.refused) == 312
    assert not plan.refused
    assert len({scene.name for scene in plan.scenes}) == 312
    assert [p["part"] for p in told] == ["train"] * 288 + ["test"] * 24
    assert [p["draw"] for p in told] == [k // 12 for k in range(312)]
    for k in range(26):
        mine = told[12 * k : 12 * k + 12]
        speed, size, first = (mine[0][n] for n in ("speed_mm_per_s", "diagonal_mm", "theta_deg"))
        assert 30 <= speed <= 60
        assert 20 <= size <= 60
        assert 0 <= first <= 89
        assert speed % 1 == size % 1 == first % 1 == 0
        assert {(p["speed_mm_per_s"], p["diagonal_mm"]) for p in mine} == {(speed, size)}
        turns = {(p["height_mm"], p["theta_deg"] - first) for p in mine}
        assert turns == set(product((-3, 0, 3), (0, 90, 180, 270)))
    for scene in plan.scenes[::60]:
        corners = corners_mm(scene, 0.0)
        assert corners[:, 0].min() == pytest.approx(5.0)
        assert np.linalg.norm(np.ptp(scene.objects[0].shape.vertices_mm, axis=0)) == pytest.approx(
            scene.parameters["diagonal_mm"]
        )
        # The published program puts the mesh's origin at OBJ_Y + smallest y of the turned mesh.
        origin = scene.objects[0].motion.poses(np.zeros(1))[0][0]
        assert origin[1] == pytest.approx(20.0 + (corners[:, 1] - origin[1]).min())
        assert (scene.duration_s, scene.window_s) == (1.0, None)
    assert protocol.rate_hz == 110.0


def test_110_hz_draws_depend_on_seed_object_and_number_alone():
    def told(seed=0, shape=CUP, **changes):
        protocol = replace(Passive110Hz(train_draws=2, test_draws=1), **changes)
        return [s.parameters for s in protocol.plan(ARRAY, shape, COARSE, seed=seed).scenes]

    one = told()
    assert told() == one
    assert told(train_draws=1, test_draws=0) == one[:12]
    assert told(seed=1) != one
    assert told(shape=procedural_object("cup", 1)) != one
    assert len({(p["speed_mm_per_s"], p["diagonal_mm"], p["theta_deg"]) for p in one[::12]}) == 3


def test_110_hz_draws_reach_both_ends():
    narrow = Passive110Hz(
        train_draws=12, test_draws=0, heights_mm=(0.0,), turns_deg=(0.0,),
        speed_mm_per_s=(50, 51), diagonal_mm=(20, 21), theta_deg=(0, 1),
    )  # fmt: skip
    told = [s.parameters for s in narrow.plan(ARRAY, CUP, COARSE).scenes]
    assert {p["speed_mm_per_s"] for p in told} == {50, 51}
    assert {p["diagonal_mm"] for p in told} == {20, 21}
    assert {p["theta_deg"] for p in told} == {0, 1}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train_draws": -1}, "train_draws = -1"),
        ({"train_draws": 0, "test_draws": 0}, "nothing to draw"),
        ({"speed_mm_per_s": (0, 60)}, "above 0"),
        ({"diagonal_mm": (30, 20)}, "no range"),
        ({"theta_deg": (0.5, 2)}, "not whole numbers"),
        ({"heights_mm": ()}, "heights_mm"),
        ({"turns_deg": (0.0, 0.0)}, "list each once"),
        ({"start_y_mm": float("nan")}, "start_y_mm"),
    ],
)
def test_bad_draws_are_refused(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        Passive110Hz(**changes)


def test_a_grid_is_every_combination():
    grid = PassiveGrid(
        sweep=PassiveSweep(duration_s=0.5, through=True), theta_deg=(0.0, 45.0),
        diagonal_mm=(20.0, 30.0), height_mm=(-5.0, 0.0, 5.0), speed_mm_per_s=(80.0,),
    )  # fmt: skip
    plan = grid.plan(ARRAY, CUP, COARSE)
    told = [s.parameters for s in plan.scenes]
    found = {(p["theta_deg"], p["diagonal_mm"], p["height_mm"]) for p in told}
    assert found == set(product((0, 45), (20, 30), (-5, 0, 5)))
    assert len(told) == len({s.name for s in plan.scenes}) == 12
    assert {p["speed_mm_per_s"] for p in told} == {80.0}
    assert {s.window_s for s in plan.scenes} == {0.5}
    # The same scene as a pass by itself, to the bit.
    at = plan.scenes[-1].parameters
    alone = PassiveSweep(
        duration_s=0.5, through=True, speed_mm_per_s=80.0,
        theta_deg=at["theta_deg"], height_mm=at["height_mm"], diagonal_mm=at["diagonal_mm"],
    ).scene(CUP, ARRAY)  # fmt: skip
    one, other = (simulate(ARRAY, s, COARSE) for s in (alone, plan.scenes[-1]))
    np.testing.assert_array_equal(one.force_moment, other.force_moment)


def test_starts_of_a_grid_are_told_apart():
    late = PassiveGrid(sweep=PassiveSweep(start="published"), start_y_mm=(40.0, 50.0))
    plan = late.plan(ARRAY, CUP, COARSE, allow_overlap=True)
    assert [s.parameters["start_y_mm"] for s in plan.scenes] == [40.0, 50.0]
    assert [s.name for s in plan.scenes] == ["cup/00000 y40", "cup/00000 y50"]
    kept = PassiveGrid(sweep=PassiveSweep(speed_mm_per_s=90.0)).plan(ARRAY, CUP, COARSE)
    assert [s.parameters["speed_mm_per_s"] for s in kept.scenes] == [90.0]
    for bad in ({"height_mm": (1.0, 1.0)}, {"diagonal_mm": (-1.0,)}):
        with pytest.raises(InputError, match=next(iter(bad))):
            replace(PassiveGrid(), **bad)
    with pytest.raises(InputError, match="speed_mm_per_s = 0.0"):
        PassiveGrid(speed_mm_per_s=(0.0,))


def test_random_starts_go_through_where_they_are_clean():
    protocol = RandomPassive(
        sweeps=8, starts=("clean", "published"), sweep=PassiveSweep(through=True)
    )
    plan = protocol.plan(ARRAY, CUP, COARSE, allow_overlap=True)
    by_start = {p["start"]: s for s in plan.scenes for p in [s.parameters]}
    assert by_start["clean"].window_s == 1.0
    assert by_start["published"].window_s is None


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("passive-1000hz", {"theta_deg": 5.0}),
        ("passive-1000hz", {"through": True}),
        ("passive-110hz", {"start_y_mm": 30.0}),
        ("random-passive", {"speed_mm_per_s": 50.0}),
        ("rodgers6", {"height_mm": 1.0}),
    ],
)
def test_templates_do_not_set_what_the_protocol_chooses(name, template):
    with pytest.raises(InputError, match=f"sweep.{next(iter(template))} = .*sets this itself"):
        replace(sweep_protocols.get(name)(), sweep=PassiveSweep(**template))  # pyright: ignore


def test_every_protocol_says_its_rate():
    assert {sweep_protocols.get(name).rate_hz for name in sweep_protocols} == {110.0, 1000.0}


def test_protocols_from_files(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(
        "protocol: passive-grid\n"
        "sweep: {duration_s: 0.5, through: true}\n"
        "theta_deg: [0, 45.5]\n"
        "diagonal_mm: [30, null]\n"
    )
    assert protocol_from_yaml(path) == PassiveGrid(
        sweep=PassiveSweep(duration_s=0.5, through=True), theta_deg=(0.0, 45.5),
        diagonal_mm=(30.0, None),
    )  # fmt: skip
    path.write_text("protocol: rodgers6\nwhisking: {rate_hz: 8}\n")
    assert protocol_from_yaml(path) == Rodgers6(whisking=SinusoidalWhisking(rate_hz=8.0))
    path.write_text("protocol: passive\nwhisking: null\n")
    assert protocol_from_yaml(path) == sweep_protocols.get("passive")()
    for name in sweep_protocols:
        path.write_text(f"protocol: {name}\n")
        assert type(protocol_from_yaml(path)) is sweep_protocols.get(name)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "not a mapping"),
        ("theta_deg: [0]", "my.yaml: protocol = None: not a name; choose one of passive"),
        ("protocol: passive-grit", "did you mean 'passive-grid'"),
        ("protocol: passive-grid\ntheta: [1]", "'theta' is no entry here; did you mean 'theta_deg"),
        ("protocol: passive-grid\ntheta_deg: 1", "my.yaml: theta_deg = 1: not a list"),
        ("protocol: passive-grid\ntheta_deg: [a]", r"theta_deg\[0\] = 'a': not a number"),
        ("protocol: passive\nsweep: {speed_mm_per_s: fast}", "my.yaml: sweep.speed_mm_per_s = 'fa"),
        ("protocol: passive\nsweep: {speed_mm_per_s: -1}", "my.yaml: sweep.speed_mm_per_s = -1.0"),
        ("protocol: passive-110hz\ntrain_draws: 2.5", "train_draws = 2.5: not a whole number"),
    ],
)
def test_bad_files_are_refused_by_place(tmp_path, text, complaint):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=complaint):
        protocol_from_yaml(path)


@pytest.mark.parametrize("size", [20.0, 45.0])
def test_loads_do_not_care_whose_field_it_is(size):
    """Within the error of the coarser of the two grids."""
    config = SolverConfig(grid_spacing_mm=0.5, threads=1)
    ball = procedural_object("ellipsoid", 0)
    one = PassiveSweep(diagonal_mm=size, speed_mm_per_s=60.0, duration_s=0.5, height_mm=-2.0)
    shared = ball.scaled_to_diagonal(60.0).scaled_to_diagonal(size, share_field=True)
    pair = [one.scene(ball, ARRAY, name="direct"), one.scene(ball, ARRAY, sized=shared)]
    sweep = simulate(ARRAY, pair, config)
    assert sweep.contact[0].any()
    moments = sweep.force_moment[..., 3:].astype(np.float64)
    assert not np.array_equal(moments[0], moments[1])  # each has its own field
    assert np.sqrt(np.mean((moments[0] - moments[1]) ** 2)) < 0.04 * np.sqrt(
        np.mean(moments[0] ** 2)
    )
    alone = simulate(ARRAY, pair[1], config)
    np.testing.assert_array_equal(alone.force_moment[0], sweep.force_moment[1])
