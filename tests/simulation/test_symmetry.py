# pyright: reportArgumentType=false, reportCallIssue=false
"""What must not matter: side, batch, threads, skipped steps, precision, repetition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from experiments import mouse, run, sphere, straight

from vibrissa.morphology.placement import HeadPose
from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.engine import RawSweeps, RodEngine
from vibrissa.simulation.motion import UniformMotion
from vibrissa.simulation.passive import PassiveSweep
from vibrissa.simulation.run import simulate
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig, still

ARRAY = mouse()


@pytest.fixture(scope="module")
def ball() -> TactileObject:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=3)
    return TactileObject("ball", "ball", np.asarray(mesh.vertices), np.asarray(mesh.faces))


def batch(scenes: list[Scene], **config) -> RawSweeps:
    return RodEngine(ARRAY, SolverConfig(**{"threads": 1, **config})).run(scenes)


def sweeps(shape: TactileObject, duration_s: float = 0.6) -> list[Scene]:
    places = [(0.0, 5.0, 0.0), (30.0, 8.0, -5.0), (90.0, 5.0, -5.0)]
    return [
        PassiveSweep(theta_deg=t, distance_mm=d, height_mm=h, duration_s=duration_s).scene(
            shape, ARRAY
        )
        for t, d, h in places
    ]


def deviation(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Largest deviation per whisker, relative to its peaks of force and of moment."""
    shape = (-1, one.shape[-2], 2, 3)
    a, b = one.astype(np.float64).reshape(shape), two.astype(np.float64).reshape(shape)
    peak = np.linalg.norm(a, axis=-1).max(axis=0)
    off = np.linalg.norm(a - b, axis=-1).max(axis=0)
    return np.max(off / np.maximum(peak, 1e-6), axis=-1)


# --- sides ---------------------------------------------------------------------------------------


def test_left_is_the_mirror_image_of_right(ball: TactileObject):
    """Loads of the mirrored scene: Fz, Mx and My change their sign in base axes, the rest stays."""
    tilted = ball.rotated(HeadPose.published_passive().rotation)
    squeezed = replace(tilted, vertices_mm=tilted.vertices_mm * np.array([1.0, 1.4, 0.7]))
    left_array = ARRAY.mirrored()
    right = PassiveSweep(theta_deg=20.0).scene(squeezed, ARRAY)
    left = PassiveSweep(theta_deg=20.0, side="L").scene(squeezed, left_array)
    config = SolverConfig(precision="float64", threads=1, friction=0.0, calm_speed_mm_per_s=0.0)
    one = RodEngine(ARRAY, config).run([right])
    two = RodEngine(left_array, config).run([left])
    signs = np.array([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])
    order = [left_array.names.index("L" + name[1:]) for name in ARRAY.names]
    mirrored = two.force_moment[:, :, order] * signs
    assert one.contact.any()
    # The two distance grids agree to rounding, which a slipping contact may magnify.
    off = deviation(one.force_moment, mirrored)
    assert np.median(off[off > 0.0]) < 1e-3
    assert off.max() < 2e-2
    assert (one.contact != two.contact[:, :, order]).mean() < 1e-3


def test_planar_load_turns_with_the_base():
    """The same push on a whisker that stands elsewhere, turned: the same loads in base axes."""
    from vibrissa.morphology.placement import axis_rotation

    whisker = straight("RC2")
    radius, depth = 2.0, 1.2
    rotation = axis_rotation("z", 37.0) @ axis_rotation("y", -25.0) @ axis_rotation("x", 110.0)
    offset = np.array([3.0, -7.0, 2.0])
    way = np.array([0.0, 10.0, 0.0])
    start = np.array([0.65 * whisker.length_mm, -radius - 0.3, 0.0])

    def load(turned: np.ndarray, at: np.ndarray) -> np.ndarray:
        placed = replace(whisker, base_rotation=turned, base_position_mm=at)
        motion = UniformMotion(position_mm=turned @ start + at, velocity_mm_per_s=turned @ way)
        raw = run(placed, [(sphere(radius, 0.1), motion)], depth / 10.0, contact_offset_mm=0.0)
        return raw.force_moment[0, -5:, 0].mean(axis=0)

    one, two = load(np.eye(3), np.zeros(3)), load(rotation, offset)
    np.testing.assert_allclose(two[:3], one[:3], atol=0.01 * np.linalg.norm(one[:3]))
    np.testing.assert_allclose(two[3:], one[3:], atol=0.01 * np.linalg.norm(one[3:]))


# --- batches, threads, repetition ----------------------------------------------------------------


def test_same_input_same_bytes(ball: TactileObject):
    scene = sweeps(ball)[:1]
    one, two = batch(scene), batch(scene)
    assert one.force_moment.tobytes() == two.force_moment.tobytes()
    assert one.contact.tobytes() == two.contact.tobytes()


def test_a_batch_is_its_sweeps_one_by_one(ball: TactileObject):
    scenes = sweeps(ball)
    together = batch(scenes)
    for k, scene in enumerate(scenes):
        alone = batch([scene])
        assert alone.force_moment[0].tobytes() == together.force_moment[k].tobytes()
        assert alone.contact[0].tobytes() == together.contact[k].tobytes()


@pytest.mark.parametrize("company", ["turning object", "moving head", "two objects"])
def test_company_in_a_batch_does_not_matter(ball: TactileObject, company: str):
    scene = sweeps(ball, 0.4)[0]
    if company == "turning object":
        other = PassiveSweep(spin_deg_per_s=90.0, duration_s=0.4).scene(ball, ARRAY)
    elif company == "moving head":
        pose = HeadPose.published_passive()
        head = UniformMotion(
            position_mm=pose.position_mm,
            rotation=pose.rotation,
            velocity_mm_per_s=np.array([0.0, 1.0, 0.0]),
        )
        other = replace(scene, head=head)
    else:
        far = UniformMotion(position_mm=np.array([90.0, 0.0, 0.0]))
        second = PlacedObject(shape=scene.objects[0].shape, motion=far)
        other = replace(scene, objects=(*scene.objects, second))
    alone, together = batch([scene]), batch([scene, other])
    assert alone.force_moment[0].tobytes() == together.force_moment[0].tobytes()


def test_threads_do_not_matter(ball: TactileObject):
    scenes = sweeps(ball)
    one, two = batch(scenes, threads=1), batch(scenes, threads=2)
    assert one.force_moment.tobytes() == two.force_moment.tobytes()


def test_whiskers_do_not_feel_one_another(ball: TactileObject):
    scene = sweeps(ball)[0]
    some = ARRAY.select(["RB0", "RC2", "RD3"])
    alone = RodEngine(some, SolverConfig(threads=1)).run([scene])
    index = [ARRAY.names.index(name) for name in some.names]
    np.testing.assert_array_equal(alone.force_moment, batch([scene]).force_moment[:, :, index])


# --- what saves time -----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{"calm_speed_mm_per_s": 0.0}, {}], ids=["fine", "default"])
def test_skipped_steps_change_nothing(ball: TactileObject, config: dict[str, float]):
    scenes = sweeps(ball)
    skipped, all_steps = batch(scenes, **config), batch(scenes, skip=False, **config)
    for k in range(len(scenes)):
        which = loaded(all_steps, k)
        off = deviation(all_steps.force_moment[k], skipped.force_moment[k])
        if config:
            assert off[which].max() <= 1e-4
        # A whisker put to rest loses its last hundredth of a uN mm, which may sway which steps are
        # taken coarse when it is touched again.
        assert np.median(off[which]) <= 1e-4
        assert off[which].max() <= 1e-2
        agree = skipped.contact[k][:, which] == all_steps.contact[k][:, which]
        assert agree.mean() > 0.999


def loaded(raw: RawSweeps, sweep: int) -> np.ndarray:
    """Whiskers with a moment worth the name."""
    return np.abs(raw.force_moment[sweep, :, :, 3:]).max(axis=(0, 2)) > 5.0


def test_single_precision_is_enough(ball: TactileObject):
    """Before slip sets in, frame by frame; afterwards its timing may differ."""
    scenes = sweeps(ball)
    single, double = batch(scenes), batch(scenes, precision="float64")
    for k in range(len(scenes)):
        a, b = single.force_moment[k, ..., 3:], double.force_moment[k, ..., 3:]
        peak = np.linalg.norm(b, axis=-1).max(axis=0)
        off = _median_in_contact(a - b, double.contact[k])
        which = loaded(double, k)
        assert np.median(off[which] / peak[which]) <= 1e-3


def _median_in_contact(difference: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Median over contact frames of the length of a difference (time, whisker, 3)."""
    length = np.linalg.norm(difference, axis=-1)
    return np.array([np.median(length[c, w]) if c.any() else 0.0 for w, c in enumerate(contact.T)])


def test_calm_steps_cost_little_accuracy(ball: TactileObject):
    scenes = sweeps(ball)
    calm, fine = batch(scenes), batch(scenes, calm_speed_mm_per_s=0.0)
    ratios = []
    for k in range(len(scenes)):
        difference = calm.force_moment[k, ..., 3:] - fine.force_moment[k, ..., 3:]
        peak = np.linalg.norm(fine.force_moment[k, ..., 3:], axis=-1).max(axis=0)
        which = loaded(fine, k)
        ratios.extend(_median_in_contact(difference, fine.contact[k])[which] / peak[which])
    assert np.median(ratios) <= 0.01


def test_nothing_before_contact(ball: TactileObject):
    raw = batch(sweeps(ball))
    touched = np.cumsum(raw.contact, axis=1) > 0
    assert touched.any()
    np.testing.assert_array_equal(raw.force_moment[~touched], 0.0)


def test_without_skipping_nothing_before_contact_either(ball: TactileObject):
    raw = batch(sweeps(ball), skip=False)
    touched = np.cumsum(raw.contact, axis=1) > 0
    limit = SolverConfig().rest_moment_uN_mm
    assert np.abs(raw.force_moment[~touched]).max() <= limit


def test_the_doorway_hands_on_what_the_engine_made(ball: TactileObject):
    scene = sweeps(ball, 0.3)[0]
    sweep = simulate(ARRAY, scene, SolverConfig(threads=1, record_world=True))
    raw = batch([scene], record_world=True)
    np.testing.assert_array_equal(sweep.force_moment, raw.force_moment)
    # World axes from the base frames agree with those that the kernel wrote.
    turned = replace(sweep, force_moment_world=None).loads("world")
    np.testing.assert_allclose(turned, sweep.loads("world"), rtol=1e-4, atol=1e-2)


def test_an_empty_scene_and_a_still_head_make_zeros():
    scene = Scene(objects=(), duration_s=0.05, head=still(HeadPose.identity()))
    raw = batch([scene])
    np.testing.assert_array_equal(raw.force_moment, 0.0)
