from dataclasses import replace

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, mouse_array
from vibrissa.morphology.placement import axis_rotation
from vibrissa.objects import procedural_object
from vibrissa.simulation import (
    PassiveSweep,
    PlacedObject,
    SampledMotion,
    Scene,
    SinusoidalWhisking,
    SolverConfig,
    Sweep,
    TabledWhisking,
    UniformMotion,
    make_engine,
    simulate,
    simulate_batches,
    still,
)

COARSE = SolverConfig(grid_spacing_mm=1.0, threads=1)
ARRAY = mouse_array().select(["RB2", "RC1", "RC2", "RD1"])
BALL = procedural_object("ellipsoid", 0)
PASS = PassiveSweep(speed_mm_per_s=60.0, duration_s=0.4, height_mm=-2.0)
RIGHT_TO_LEFT = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def touched():
    sweep = simulate(ARRAY, PASS.scene(BALL, ARRAY), COARSE)
    assert sweep.contact.any(axis=1).all()
    return sweep


def test_what_a_sweep_tells(touched):
    assert touched.force_moment.shape == (1, 400, 4, 6)
    assert touched.whiskers == ARRAY.names
    assert touched.labels == ("ellipsoid",)
    assert touched.parameters[0]["theta_deg"] == 0.0
    assert touched.parameters[0]["object"] == "ellipsoid/00000"
    config = touched.manifest.config
    assert config["engine"] == "rod"
    assert config["solver"]["grid_spacing_mm"] == 1.0
    assert config["array"]["species"] == "mouse"
    assert list(touched.manifest.inputs) == ["ellipsoid/00000"]


def test_same_seed_same_bytes(tmp_path, touched):
    again = simulate(ARRAY, PASS.scene(BALL, ARRAY), COARSE)
    assert (
        again.save(tmp_path / "a.h5").read_bytes() == touched.save(tmp_path / "b.h5").read_bytes()
    )


def test_no_load_before_contact(touched):
    for w in range(4):
        first = int(np.argmax(touched.contact[0, :, w]))
        assert first > 10
        before = touched.force_moment[0, : first - 1, w]
        assert np.abs(before[:, :3]).max() < 0.1
        assert np.abs(before[:, 3:]).max() < 0.1


def test_batches_do_not_matter(touched):
    scenes = [
        replace(PASS, theta_deg=theta).scene(BALL, ARRAY, name=f"{theta}")
        for theta in (0.0, 50.0, 90.0)
    ]
    together = simulate(ARRAY, scenes, COARSE)
    parts = list(simulate_batches(ARRAY, scenes, COARSE, batch=2))
    assert [len(part) for part in parts] == [2, 1]
    joined = np.concatenate([part.force_moment for part in parts])
    np.testing.assert_array_equal(joined, together.force_moment)
    np.testing.assert_array_equal(together.force_moment[0], touched.force_moment[0])


def test_the_left_side_feels_the_mirror_image():
    config = replace(COARSE, precision="float64", grid_spacing_mm=0.5)
    turning = replace(PASS, spin_deg_per_s=40.0, theta_deg=20.0)
    right = simulate(ARRAY, turning.scene(BALL, ARRAY), config)
    mirrored = ARRAY.mirrored()
    left = simulate(mirrored, replace(turning, side="L").scene(BALL, mirrored), config)
    for w, name in enumerate(ARRAY.names):
        mirror = left.whiskers.index("L" + name[1:])
        expected = right.force_moment[0, :, w] * RIGHT_TO_LEFT
        for part in (slice(0, 3), slice(3, 6)):
            peak = np.abs(expected[:, part]).max()
            assert peak > 1.0
            difference = np.abs(left.force_moment[0, :, mirror, part] - expected[:, part])
            # Where contact comes or goes, rounding may shift it by one step of a frame.
            assert np.quantile(difference.max(axis=1), 0.97) < 1e-3 * peak, name
            assert difference.max() < 2e-2 * peak, name


def test_recorded_world_loads_are_the_turned_base_loads():
    config = replace(COARSE, record_world=True)
    sweep = simulate(ARRAY, PASS.scene(BALL, ARRAY), config)
    assert sweep.force_moment_world is not None
    turned = replace(sweep, force_moment_world=None)
    scale = np.abs(sweep.force_moment_world).max(axis=(0, 1, 2))
    for frame in ("world", "head"):
        difference = np.abs(turned.loads(frame) - sweep.loads(frame)).max(axis=(0, 1, 2))
        assert (difference < 1e-4 * scale.max()).all()


def test_a_moving_head_meets_a_still_object():
    """Head towards the object is object towards the head, when neither accelerates."""
    pose = HeadPose.published_passive()
    scene = PASS.scene(BALL, ARRAY)
    speed = np.array([0.0, PASS.speed_mm_per_s, 0.0])
    at, turned = scene.objects[0].motion.poses(np.zeros(1))
    stands = UniformMotion(position_mm=at[0], rotation=turned[0])
    moves = UniformMotion(
        position_mm=pose.position_mm, rotation=pose.rotation, velocity_mm_per_s=speed
    )
    other = replace(
        scene,
        head=moves,
        objects=(PlacedObject(shape=BALL.scaled_to_diagonal(40.0), motion=stands),),
    )
    config = replace(COARSE, precision="float64", record_world=True, calm_speed_mm_per_s=0.0)
    one, two = simulate(ARRAY, scene, config), simulate(ARRAY, other, config)
    peak = np.abs(one.force_moment[..., 3:]).max()
    difference = np.abs(one.force_moment - two.force_moment)[0, ..., 3:].max(axis=(1, 2))
    assert np.quantile(difference, 0.95) < 0.005 * peak
    assert difference.max() < 0.03 * peak
    assert two.base_rotation is None
    assert two.loads("head").shape == one.loads("head").shape


def test_a_head_at_constant_velocity_feels_nothing():
    """Nor at its first and last sample, where a careless difference would see half the speed."""
    pose = HeadPose.published_passive()
    times = np.linspace(0.0, 0.1, 6)
    head = SampledMotion(
        times_s=times,
        positions_mm=pose.position_mm + times[:, None] * np.array([0.0, 60.0, 0.0]),
        rotations=np.tile(pose.rotation, (6, 1, 1)),
    )
    sweep = simulate(ARRAY, Scene(objects=(), duration_s=0.1, head=head), COARSE)
    assert np.abs(sweep.force_moment).max() < 0.05


def test_a_nodding_head_and_two_objects():
    pose = HeadPose.published_passive()
    times = np.linspace(0.0, 0.4, 9)
    nod = np.deg2rad(6.0) * np.sin(2.0 * np.pi * times / 0.4) ** 2
    head = SampledMotion(
        times_s=times,
        positions_mm=np.tile(pose.position_mm, (9, 1)),
        rotations=np.stack([axis_rotation("x", float(np.rad2deg(a))) @ pose.rotation for a in nod]),
    )
    first = PASS.scene(BALL, ARRAY).objects[0]
    cup = procedural_object("cup", 0, diagonal_mm=20.0)
    second = PlacedObject(
        shape=cup, motion=UniformMotion(position_mm=np.array([14.0, -14.0, -4.0]))
    )
    loads = {}
    for name, objects in {"none": (), "one": (first,), "both": (first, second)}.items():
        scene = Scene(objects=objects, duration_s=0.4, head=head, name=name)
        sweep = simulate(ARRAY, scene, COARSE, allow_overlap=True)
        assert sweep.head_rotation.shape == (1, 400, 3, 3)
        loads[name] = sweep
    assert not loads["none"].contact.any()
    # A nodding head is felt: whiskers have mass.
    assert np.abs(loads["none"].force_moment[..., 3:]).max() > 0.05
    assert loads["both"].contact.sum() > loads["one"].contact.sum() > 0
    assert set(loads["both"].manifest.inputs) == {"ellipsoid/00000", "cup/00000"}
    # Where bases move, world loads are recorded unasked, so that the head's frame can be had.
    assert loads["both"].base_rotation is None
    head_loads = loads["both"].loads("head")
    assert head_loads.shape == loads["both"].force_moment.shape
    size = np.linalg.norm(loads["both"].force_moment[..., :3], axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(head_loads[..., :3], axis=-1), size, atol=0.02 * size.max()
    )


def test_tabled_whisking_repeats_the_sinusoid(tmp_path):
    from vibrissa.morphology.placement import emergence_angles_deg

    whisking = SinusoidalWhisking(rate_hz=8.0)
    times = np.linspace(0.0, 0.2, 201)
    frames = whisking.base_rotations(ARRAY, times)
    lines = ["time_s,whisker,theta_deg,phi_deg,zeta_deg"]
    for w, whisker in enumerate(ARRAY):
        for k, time_s in enumerate(times):
            theta, phi, zeta = emergence_angles_deg(frames[w, k])
            lines.append(f"{time_s!r},{whisker.name[1:]},{theta!r},{phi!r},{zeta!r}")
    path = tmp_path / "angles.csv"
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", ""))
    scene = Scene(objects=(), duration_s=0.15, head=still(HeadPose.identity()), whisking=whisking)
    one = simulate(ARRAY, scene, COARSE)
    two = simulate(ARRAY, replace(scene, whisking=TabledWhisking.from_csv(path)), COARSE)
    peak = np.abs(one.force_moment[..., 3:]).max()
    assert peak > 1.0
    assert np.abs(one.force_moment - two.force_moment)[..., 3:].max() < 0.02 * peak


def test_bad_calls_are_refused():
    with pytest.raises(InputError, match="nothing to simulate"):
        simulate(ARRAY, [], COARSE)
    scenes = [Scene(objects=(), duration_s=t) for t in (0.1, 0.2)]
    with pytest.raises(InputError, match="must last equally long"):
        simulate(ARRAY, scenes, COARSE)
    with pytest.raises(InputError, match="choose rod or mujoco"):
        make_engine(ARRAY, COARSE, "bullet")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="no such device"):
        make_engine(ARRAY, replace(COARSE, device="tpu"))
    with pytest.raises(InputError, match="batch = 0"):
        list(simulate_batches(ARRAY, scenes[:1], COARSE, batch=0))


def test_mujoco_gives_the_same_axes():
    pytest.importorskip("mujoco")
    array = ARRAY.select(["RC1"])
    shape = procedural_object("box", 0)
    scene = replace(PASS, duration_s=0.2).scene(shape, array)
    config = replace(COARSE, step_s=5e-5)
    sweeps: list[Sweep] = [simulate(array, scene, config, engine=e) for e in ("rod", "mujoco")]
    assert [s.manifest.config["engine"] for s in sweeps] == ["rod", "mujoco"]
    assert sweeps[0].force_moment.shape == sweeps[1].force_moment.shape
    assert sweeps[1].contact.any()


def test_an_object_is_no_scene():
    cup = procedural_object("cup", 0)
    with pytest.raises(InputError, match=r"scenes = 'TactileObject'.*PassiveSweep"):
        simulate(mouse_array().select(["RC1"]), cup)  # type: ignore[arg-type]


def test_what_is_shown_of_arrays_is_short():
    assert repr(mouse_array()) == (
        "<WhiskerArray of mouse: 30 whiskers, RA0 to RE5, parameters physical>"
    )
