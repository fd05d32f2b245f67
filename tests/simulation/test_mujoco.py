# pyright: reportAttributeAccessIssue=false
"""MuJoCo against closed forms, and the rod engine against MuJoCo."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import ConvexHull

import vibrissa
from vibrissa.core.errors import InputError
from vibrissa.morphology.placement import HeadPose
from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.motion import UniformMotion, quaternions, turn
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig

mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed")
if not hasattr(mujoco.mjtIntegrator, "mjINT_DISCRETE"):
    pytest.skip("mujoco is older than 3.13", allow_module_level=True)

from vibrissa.simulation._mujoco_model import (  # noqa: E402
    add_whisker,
    set_options,
    surface_velocity,
)
from vibrissa.simulation._mujoco_pieces import decompose  # noqa: E402
from vibrissa.simulation.engine import RodEngine  # noqa: E402
from vibrissa.simulation.mujoco_engine import MujocoEngine, MujocoOptions  # noqa: E402

ARRAY = vibrissa.mouse_array()
LEAST_PEAK_UN_MM = 20.0


def hull(points):
    return points, ConvexHull(points).simplices.astype(np.int64)


def grid_faces(index):
    """Triangles of a grid of vertex numbers, closed along its first axis."""
    ahead = np.roll(index, -1, axis=0)
    a, b, c, d = (x.reshape(-1) for x in (index[:, :-1], ahead[:, :-1], ahead[:, 1:], index[:, 1:]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def rings(profile, count):
    """(count, n, 3): a profile (radius, height) turned about z."""
    angle = 2.0 * np.pi * np.arange(count)[:, None] / count
    radius, height = profile[:, 0], profile[:, 1]
    flat = np.broadcast_to(height, (count, len(profile)))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), flat], axis=-1)


def torus(count=64, around=40):
    """A faceted torus and the wedges that it is the exact union of."""
    b = 2.0 * np.pi * np.arange(around) / around
    points = rings(np.stack([8.0 + 3.0 * np.cos(b), 3.0 * np.sin(b)], axis=1), count)
    index = np.arange(count * around).reshape(count, around)
    faces = grid_faces(np.concatenate([index, index[:, :1]], axis=1))
    pieces = [hull(np.concatenate([points[k - 1], points[k]])) for k in range(count)]
    return TactileObject("torus", "torus", points.reshape(-1, 3), faces), pieces


def cup(count=48):
    """A faceted cup, 18 mm wide and 16 mm tall; wall segments and the bottom unite to it."""
    outer, inner, height, floor = 9.0, 7.5, 16.0, 1.5
    profile = np.array([[outer, 0.0], [outer, height], [inner, height], [inner, floor]])
    profile[:, 1] -= 0.5 * height
    points = rings(profile, count)
    low, high = -0.5 * height, floor - 0.5 * height
    vertices = np.concatenate([points.reshape(-1, 3), [[0.0, 0.0, low], [0.0, 0.0, high]]])
    index = np.arange(4 * count).reshape(count, 4)
    ahead = np.roll(index, -1, axis=0)
    centre = np.full(count, 4 * count)
    under = np.stack([ahead[:, 0], index[:, 0], centre], 1)
    within = np.stack([index[:, 3], ahead[:, 3], centre + 1], 1)
    pieces = [hull(points[[k - 1, k]].reshape(-1, 3)) for k in range(count)]
    pieces.append(hull(np.concatenate([points[:, 0], points[:, 0] + [0.0, 0.0, floor]])))
    faces = np.concatenate([grid_faces(index), under, within])
    return TactileObject("cup", "cup", vertices, faces), pieces


SHAPES = {"torus": torus, "cup": cup}


def sweeps(array, shape, seed, count, duration_s=0.15, spin=None):
    """Objects that pass the whiskers at 60 mm/s, forth and back, turned at random."""
    rng = np.random.default_rng(seed)
    head = HeadPose.published_passive()
    points = np.concatenate(
        [w.centreline_in_head_mm(np.linspace(0.0, w.length_mm, 60)) for w in array]
    )
    points = head.points_to_world_mm(points)
    aim = np.mean([w.centreline_in_head_mm(0.85 * w.length_mm) for w in array], axis=0)
    aim = head.points_to_world_mm(aim) + np.array([0.5 * shape.radius_mm, 0.0, 0.0])
    field = shape.distance_field()
    scenes = []
    for k in range(count):
        rotation = turn(rng.normal(size=3)) if k or spin is None else np.eye(3)
        way = np.array([0.0, -1.0 if k % 2 == 0 else 1.0, 0.0])
        place = aim + rng.uniform(-3.0, 3.0, 3) * [1.0, 0.0, 1.0]
        while field.sample((points - place) @ rotation).min() < 1.0:
            place = place - 0.25 * way
        motion = UniformMotion(
            position_mm=place,
            velocity_mm_per_s=60.0 * way,
            rotation=rotation,
            spin_rad_per_s=np.zeros(3) if spin is None else spin,
        )
        scene = Scene(objects=(PlacedObject(shape=shape, motion=motion),), duration_s=duration_s)
        scenes.append(scene)
    return scenes


def differences(one, other):
    """|dM| / peak |M| of the whisker, at all frames of contact of whiskers that feel something."""
    a, b = one.force_moment[..., 3:], other.force_moment[..., 3:]
    peak = np.linalg.norm(a, axis=-1).max(axis=1, keepdims=True)
    shown = (one.contact | other.contact) & (peak > LEAST_PEAK_UN_MM)
    return (np.linalg.norm(a - b, axis=-1) / np.maximum(peak, 1e-9))[shown]


def straight_chain(name="RC1", **config):
    """MuJoCo model, data and Rod of one straight whisker."""
    array = ARRAY.with_whiskers([replace(ARRAY[name], curvature_per_mm=0.0)])
    engine = MujocoEngine(array, SolverConfig(**config))
    compiled = engine.compiled(Scene(objects=(), duration_s=0.001))
    return compiled, mujoco.MjData(compiled.model), engine.rods[0]


def test_static_tip_load_bends_as_the_beam_and_loads_the_base():
    compiled, data, rod = straight_chain(step_s=1e-3)
    model = compiled.model
    model.dof_damping[:] *= 20.0
    tip = compiled.link_body[0][-1]
    length = rod.stub_length_mm + rod.link_length_mm.sum()
    load_mN = 1e-4 / rod.tip_compliance_mm_per_uN()  # 0.1 mm of deflection
    for axis in (1, 2):
        mujoco.mj_resetData(model, data)
        force = np.eye(3)[axis] * load_mN
        for _ in range(400):
            end = data.xpos[tip] + data.xmat[tip].reshape(3, 3)[:, 0] * rod.link_length_mm[-1]
            data.xfrc_applied[tip] = [*force, *np.cross(end - data.xipos[tip], force)]
            mujoco.mj_step(model, data)
        end = data.xpos[tip] + data.xmat[tip].reshape(3, 3)[:, 0] * rod.link_length_mm[-1]
        assert end[axis] == pytest.approx(0.1, rel=0.01)
        # The sensor is what holds the whisker: the engine turns its sign.
        assert -data.sensordata[:3] == pytest.approx(force, abs=1e-3 * load_mN)
        moment = np.cross([length, 0.0, 0.0], force)
        assert -data.sensordata[3:] == pytest.approx(moment, abs=2e-3 * length * load_mN)


def test_ring_down_has_the_frequency_and_damping_of_the_chain():
    compiled, data, rod = straight_chain(step_s=2e-5)
    model = compiled.model
    mass, stiffness = rod.matrices()
    scale = np.diag(stiffness) ** -0.5
    _, vectors = np.linalg.eigh(scale[:, None] * mass * scale[None, :])
    mode = scale * vectors[:, -1]
    omega = rod.angular_frequencies_rad_per_s(1)[0]
    h = 1e-3 * model.opt.timestep
    for first in (0, 1):  # about z and about y
        mujoco.mj_resetData(model, data)
        data.qpos[first::2] = 1e-4 * mode / np.abs(mode).max()
        trace = []
        for _ in range(round(2.0 * np.pi / omega / h)):
            mujoco.mj_step(model, data)
            trace.append(mode @ mass @ data.qpos[first::2])
        x = np.array(trace)
        fit = np.linalg.lstsq(np.stack([x[1:-1], x[:-2]], axis=1), x[2:], rcond=None)[0]
        found = np.log(np.roots([1.0, -fit[0], -fit[1]]).astype(complex)[0]) / h
        damped = 2.0 * rod.damping_ratio * omega * h
        # One step implicit in stiffness and damping: z^2 s - z (1 + s - (omega h)^2) + 1 = 0.
        s = 1.0 + damped + (omega * h) ** 2
        stepped = np.log(np.roots([s, -(2.0 + damped), 1.0]).astype(complex)[0]) / h
        assert found == pytest.approx(stepped, rel=1e-3)
        # What is left of the step is small.
        assert abs(found.imag) == pytest.approx(omega * (1 - rod.damping_ratio**2) ** 0.5, rel=0.01)
        extra = 0.5 * omega**2 * h
        assert -found.real == pytest.approx(rod.damping_ratio * omega + extra, rel=0.02)


def test_rest_shape_is_the_rod_engines():
    array = ARRAY.select(["RA2", "RC1", "RE3"])
    config = SolverConfig(step_s=1e-4, record_nodes=True)
    scene = Scene(objects=(), duration_s=0.002)
    one, other = MujocoEngine(array, config).run([scene]), RodEngine(array, config).run([scene])
    assert one.nodes_mm is not None
    assert other.nodes_mm is not None
    assert one.nodes_mm.shape == other.nodes_mm.shape
    there = ~np.isnan(one.nodes_mm)
    assert there.any()
    assert np.allclose(one.nodes_mm[there], other.nodes_mm[there], atol=1e-4)
    assert not one.contact.any()
    assert np.abs(one.force_moment).max() < 1e-6


@pytest.mark.parametrize("kind", SHAPES)
def test_rod_engine_agrees(kind):
    array = ARRAY.select(["RB1", "RC2", "RD3"])
    shape, pieces = SHAPES[kind]()
    scenes = sweeps(array, shape, seed=8, count=4)
    config = SolverConfig(step_s=5e-5, record_world=True)
    one = MujocoEngine(array, config, pieces={shape.digest: pieces}).run(scenes)
    other = RodEngine(array, config).run(scenes)
    found = differences(one, other)
    assert len(found) > 300
    assert np.median(found) < 0.03
    assert np.quantile(found, 0.8) < 0.06
    assert (one.contact == other.contact).mean() > 0.95
    # World axes, from each engine's own base frames.
    assert one.force_moment_world is not None
    assert other.force_moment_world is not None
    world = [
        SimpleNamespace(force_moment=x.force_moment_world, contact=x.contact) for x in (one, other)
    ]
    assert np.median(differences(*world)) == pytest.approx(np.median(found), rel=0.01)
    # The object pushes the follicle the way it goes.
    push = one.force_moment_world[..., 1].sum(axis=(1, 2))
    assert np.all(push * np.array([-1.0, 1.0, -1.0, 1.0]) > 0.0)


def test_rod_engine_agrees_on_a_spinning_object():
    array = ARRAY.select(["RC1", "RC2"])
    shape, pieces = torus(48, 32)
    config = SolverConfig(step_s=5e-5, friction=0.4)
    moments = []
    for spin in (20.0, -20.0):
        scenes = sweeps(array, shape, 3, 1, 0.1, spin=np.array([0.0, 0.0, spin]))
        one = MujocoEngine(array, config, pieces={shape.digest: pieces}).run(scenes)
        other = RodEngine(array, config).run(scenes)
        found = differences(one, other)
        assert len(found) > 40
        assert np.median(found) < 0.03
        moments.append(one.force_moment[0])
    # Friction follows the surface, not the object's path alone.
    assert np.abs(moments[0] - moments[1]).max() > 0.1 * np.abs(moments[0]).max()


class NoddingHead:
    """A head that shakes about z while it moves to and fro."""

    knots_needed = True

    def angle_rad(self, times_s):
        return 0.4 * (1.0 - np.cos(2.0 * np.pi * 12.0 * np.asarray(times_s)))

    def poses(self, times_s):
        times = np.asarray(times_s)
        sway = np.sin(2.0 * np.pi * 15.0 * times)[:, None] ** 2 * np.array([0.5, -0.8, 0.3])
        return sway, turn(self.angle_rad(times)[:, None] * np.array([0.0, 0.0, 1.0]))

    def state(self, time_s):
        """Coordinates (x, y, z, angle) and their rates per ms."""
        span = time_s + np.array([-1e-5, 0.0, 1e-5])
        all_three = np.concatenate([self.poses(span)[0], self.angle_rad(span)[:, None]], axis=1)
        return all_three[1], 1e-3 * (all_three[2] - all_three[0]) / 2e-5


def test_rod_engine_agrees_on_inertial_loads_of_a_moving_head():
    array = ARRAY.select(["RC1"])
    head, frames, huge = NoddingHead(), 30, 1e9
    config = SolverConfig(step_s=4e-5)
    ours = RodEngine(array, config).run([Scene(objects=(), duration_s=1e-3 * frames, head=head)])
    rod = MujocoEngine(array, config).rods[0]
    # The head is too heavy to feel the whisker and is driven by the force that its motion takes.
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    set_options(mujoco, spec, config, MujocoOptions())
    body = spec.worldbody.add_body(mass=1e-3, inertia=[1e-3] * 3, explicitinertial=True)
    for axis in np.eye(3):
        body.add_joint(type=mujoco.mjtJoint.mjJNT_SLIDE, axis=axis, armature=huge)
    body.add_joint(type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 0.0, 1.0], armature=huge)
    add_whisker(
        mujoco, SimpleNamespace(worldbody=body, add_sensor=spec.add_sensor), 0, rod, 0.3, {}
    )
    stub = spec.body("stub0")
    stub.pos, stub.quat = rod.base_position_mm, quaternions(rod.base_rotation[None])[0]
    centre = rod.stub_moment_g_mm / rod.stub_mass_g
    across = 1e3 * (rod.stub_inertia_g_mm2 - rod.stub_mass_g * centre**2)
    stub.mass, stub.ipos = 1e3 * rod.stub_mass_g, [centre, 0.0, 0.0]
    stub.inertia, stub.explicitinertial = [0.01 * across, across, across], True
    model = spec.compile()
    data = mujoco.MjData(model)
    steps = round(1.0 / model.opt.timestep)
    step_s = 1e-3 / steps
    total = np.zeros((frames, 6))
    data.qpos[:4], data.qvel[:4] = head.state(0.0)
    for k in range(frames * steps):
        place, rate = head.state((k + 1) * step_s)
        data.qfrc_applied[:4] = huge * (rate - data.qvel[:4]) / model.opt.timestep
        mujoco.mj_step(model, data)
        total[k // steps] -= 1e3 * data.sensordata / steps
        data.qpos[:4], data.qvel[:4] = place, rate
    for part in (slice(0, 3), slice(3, 6)):
        miss = np.linalg.norm(ours.force_moment[0, :, 0, part] - total[:, part], axis=1)
        assert miss.max() < 0.02 * np.linalg.norm(total[:, part], axis=1).max()
    assert np.abs(total[:, 3:]).max() > 5.0


def test_several_objects_and_point_samples():
    array = ARRAY.select(["RC2"])
    shape, pieces = cup(24)
    near = sweeps(array, shape, seed=4, count=1, duration_s=0.05)[0]
    far = PlacedObject(shape=shape, motion=UniformMotion(position_mm=np.array([0.0, 0.0, 90.0])))
    engine = MujocoEngine(array, SolverConfig(sampling="point"), pieces={shape.digest: pieces})
    alone = engine.run([near])
    both = engine.run([replace(near, objects=(far, *near.objects))])
    assert alone.contact.any()
    assert np.allclose(alone.force_moment, both.force_moment, atol=1e-3)
    slept = MujocoEngine(
        array, engine.config, pieces={shape.digest: pieces}, options=MujocoOptions.fastest()
    ).run([near])
    assert np.median(differences(slept, alone)) < 1e-3


def test_surface_velocity_is_that_of_the_rigid_body():
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(mocap=True)
    for k in range(2):
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[1.0, 0.0, 0.0], pos=[k, 2.0, 3.0],
                      quat=[0.5, -0.5, 0.5, 0.5] if k else [0.8, 0.6, 0.0, 0.0])  # fmt: skip
    model = spec.compile()
    velocity, spin = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.2, -0.7])
    found = surface_velocity(model, np.arange(2), velocity, spin)
    for geom in range(2):
        matrix = np.zeros(9)
        mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
        turned = matrix.reshape(3, 3)
        point = np.array([0.4, -0.1, 0.6])  # in the geom's frame
        place = model.geom_pos[geom] + turned @ point
        local = found[geom, :3] + np.cross(found[geom, 3:], point)
        assert turned @ local == pytest.approx(velocity + np.cross(spin, place))


def test_refusals():
    array = ARRAY.select(["RC2"])
    config = SolverConfig()
    engine = MujocoEngine(array, config)
    still = Scene(objects=(), duration_s=0.01)
    with pytest.raises(InputError, match="nothing to simulate"):
        engine.run([])
    with pytest.raises(InputError, match="equally long"):
        engine.run([still, replace(still, duration_s=0.02)])
    moving = UniformMotion(velocity_mm_per_s=np.array([1.0, 0.0, 0.0]))
    with pytest.raises(InputError, match="inertial loads"):
        engine.run([replace(still, head=moving)])
    with pytest.raises(InputError, match="contact_time_s"):
        MujocoOptions(contact_time_s=0.0)
    shape, pieces = torus(8, 6)
    scene = sweeps(array, shape, 5, 1, 0.002)
    for bad, what in (([], "no piece"), ([(pieces[0][0][:3], pieces[0][1])], "four or more")):
        with pytest.raises(InputError, match=what):
            MujocoEngine(array, config, pieces={shape.digest: bad}).run(scene)
    blank = SimpleNamespace(digest="x", label="thing")
    with pytest.raises(InputError, match="carries no mesh"):
        engine.compiled(replace(still, objects=(SimpleNamespace(shape=blank),)))


def test_a_convex_mesh_stays_whole():
    vertices, faces = cup()[1][-1]
    mesh = ConvexHull(vertices)
    outward = np.einsum("ij,ij->i", np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]],
        vertices[faces[:, 2]] - vertices[faces[:, 0]],
    ), mesh.equations[:, :3]) > 0  # fmt: skip
    faces = np.where(outward[:, None], faces, faces[:, ::-1])
    found = decompose(vertices, faces, 0.05)
    assert len(found) == 1
    assert np.array_equal(found[0][0], vertices)


def test_a_hollow_mesh_is_split():
    pytest.importorskip("coacd", reason="coacd is not installed")
    shape, _ = torus(16, 8)
    first = decompose(shape.vertices_mm, shape.faces.astype(np.int64), 0.2)
    assert len(first) > 2
    again = decompose(shape.vertices_mm, shape.faces.astype(np.int64), 0.2)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    with pytest.raises(InputError, match="convex_threshold"):
        decompose(shape.vertices_mm, shape.faces.astype(np.int64), 2.0)
