# pyright: reportAttributeAccessIssue=false
"""The MuJoCo engine: the same whiskers under another solver, to check the rod engine against.

It takes the chain of :mod:`vibrissa.simulation.rod` (lengths, masses, stiffness, rest angles,
damping) and nothing else of the rod engine: equations of motion, contact geometry (capsules on
convex pieces) and friction are MuJoCo's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation._mujoco_model import (
    Compiled,
    MujocoOptions,
    build_model,
    mujoco_module,
    surface_velocity,
)
from vibrissa.simulation._mujoco_pieces import Piece, pieces_of
from vibrissa.simulation.bases import base_knots
from vibrissa.simulation.engine import RawSweeps
from vibrissa.simulation.motion import Array, knots_of, quaternions
from vibrissa.simulation.rod import Rod, discretise
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig

__all__ = ["MujocoEngine", "MujocoOptions"]

UN_PER_MN = 1000.0


class MujocoEngine:
    """Simulates scenes past one whisker array with MuJoCo, one after the other on one core.

    All whiskers take the same step, ``config.step_s`` or the next shorter one that divides the
    frame. MuJoCo's integrator adds about (step * angular frequency) / 2 to the damping ratio of a
    mode, so 0.02 to 0.05 ms is advisable where ringing matters. Heads and whisker bases stand
    still: a body of prescribed motion has no velocity in MuJoCo, hence no inertial loads. The
    contact offset is a contact margin, and MuJoCo lets the force act in the middle of it, half an
    offset away from the whisker; friction so has a lever that it has not in the rod engine (about
    1 % of the moment at the default offset and friction).

    Args:
        array: the whiskers.
        config: how to simulate; ``contact_stiffness``, ``creep_speed_mm_per_s``,
            ``grid_spacing_mm``, ``steps_per_radian``, ``rest_moment_uN_mm``, ``skip``,
            ``precision``, ``device`` and ``threads`` have no meaning here.
        pieces: convex pieces of objects by the digest of the object, each a pair of vertices
            ``(n, 3)`` in mm in the object's frame and faces ``(m, 3)``. An object without an entry
            is used whole where it is convex and else split with CoACD, which changes its shape.
        options: settings of MuJoCo itself.

    Attributes:
        rods: the chains, one per whisker.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        InputError: MuJoCo is too old.
    """

    def __init__(
        self,
        array: WhiskerArray,
        config: SolverConfig,
        *,
        pieces: Mapping[str, Sequence[Piece]] | None = None,
        options: MujocoOptions | None = None,
    ) -> None:
        self._mujoco = mujoco_module()
        self.array = array
        self.config = config
        self.options = options or MujocoOptions()
        self.rods: tuple[Rod, ...] = tuple(discretise(w, links=config.links) for w in array)
        self.max_links = max(rod.n_links for rod in self.rods)
        self._given = dict(pieces or {})
        self._pieces: dict[str, tuple[Piece, ...]] = {}
        self._compiled: dict[tuple[str, ...], Compiled] = {}

    def run(self, scenes: Sequence[Scene]) -> RawSweeps:
        """Simulate scenes of one duration.

        Returns:
            As :meth:`vibrissa.simulation.engine.RodEngine.run`; ``flags`` are all 0.

        Raises:
            InputError: no scenes, scenes of different durations, a moving head or whisking, or an
                object without convex pieces and without a mesh.
            MissingExtraError: an object must be split and CoACD is not installed.
        """
        if not scenes:
            raise refuse("scenes", [], "nothing to simulate", "give one scene or more")
        durations = {scene.duration_s for scene in scenes}
        if len(durations) > 1:
            raise refuse(
                "duration_s", sorted(durations), "scenes of one batch must last equally long",
                "run them in batches of one duration",
            )  # fmt: skip
        parts = [self._one(scene) for scene in scenes]
        config = self.config
        return RawSweeps(
            force_moment=np.stack([part["base"] for part in parts]),
            force_moment_world=np.stack([part["world"] for part in parts])
            if config.record_world
            else None,
            contact=np.stack([part["contact"] for part in parts]),
            nodes_mm=np.stack([part["nodes"] for part in parts]) if config.record_nodes else None,
            flags=np.zeros((len(scenes), len(self.rods)), np.int32),
        )

    def compiled(self, scene: Scene) -> Compiled:
        """The MuJoCo model for the objects of a scene, made once per set of objects.

        The bases in it stand where the scene that was run last had them.
        """
        key = tuple(placed.shape.digest for placed in scene.objects)
        if key not in self._compiled:
            slots = [self._pieces_of(placed) for placed in scene.objects]
            self._compiled[key] = build_model(self.rods, slots, self.config, self.options)
        return self._compiled[key]

    def _pieces_of(self, placed: PlacedObject) -> tuple[Piece, ...]:
        digest = placed.shape.digest
        if digest not in self._pieces:
            threshold = self.options.convex_threshold
            self._pieces[digest] = pieces_of(placed.shape, self._given, threshold)
        return self._pieces[digest]

    def _place_bases(self, scene: Scene, compiled: Compiled) -> Array:
        """Put the stubs where the scene has them; returns base frames (whisker, 3, 3)."""
        ends = np.array([0.0, scene.duration_s])
        positions, rotations = scene.head.poses(ends)
        still = np.array_equal(positions[0], positions[1]) and not scene.head.knots_needed
        if scene.whisking is not None or not still:
            raise refuse(
                f"{scene.name}: whisking" if scene.whisking is not None else f"{scene.name}: head",
                "moving",
                "the MuJoCo engine has no inertial loads of moving bases",
                "use the rod engine",
            )
        knots = base_knots(self.array, scene.head, None, np.zeros(1))
        compiled.model.body_pos[compiled.stub_body] = knots.position_mm[:, 0]
        compiled.model.body_quat[compiled.stub_body] = knots.quaternion[:, 0]
        local = np.stack([w.base_rotation for w in self.array])
        return np.asarray(rotations[0]) @ local

    def _one(self, scene: Scene) -> dict[str, np.ndarray]:
        mujoco, config = self._mujoco, self.config
        compiled = self.compiled(scene)
        frames_of_bases = self._place_bases(scene, compiled)
        model = compiled.model
        data = mujoco.MjData(model)
        whiskers = len(self.rods)
        frames = config.frames(scene.duration_s)
        steps = round(1e3 * config.frame_s / model.opt.timestep)
        ends = (np.arange(frames * steps) + 1.0) * (config.frame_s / steps)
        drive = _ObjectDrive(scene, compiled, ends)
        loads = np.zeros((frames, whiskers, 6))
        contact = np.zeros((frames, whiskers), bool)
        nodes = np.full((frames, whiskers, self.max_links + 2, 3), np.nan, np.float32)
        for frame in range(frames):
            total = np.zeros(6 * whiskers)
            for step in range(steps):
                drive.place(data, frame * steps + step)
                mujoco.mj_step(model, data)
                if config.sampling == "average":
                    total += data.sensordata
                if data.ncon:
                    contact[frame, self._touched(compiled, data)] = True
            if config.sampling == "average":
                total /= steps
            else:
                total += data.sensordata
            # The sensors say what the world does to the whisker.
            loads[frame] = -UN_PER_MN * total.reshape(whiskers, 6)
            if not np.isfinite(loads[frame]).all():
                raise refuse(
                    f"{scene.name}: time_s", frame * config.frame_s, "MuJoCo became unstable",
                    "choose a shorter step_s or another placement",
                )  # fmt: skip
            if config.record_nodes:
                self._note_nodes(compiled, data, nodes[frame])
        both = loads.reshape(frames, whiskers, 2, 3)
        world = np.einsum("wij,twkj->twki", frames_of_bases, both).reshape(loads.shape)
        return {
            "base": loads.astype(np.float32),
            "world": world.astype(np.float32),
            "contact": contact,
            "nodes": nodes,
        }

    def _touched(self, compiled: Compiled, data: Any) -> np.ndarray:
        """Numbers of the whiskers that are pressed by something."""
        address = data.contact.efc_address
        pressing = address >= 0
        pressing[pressing] = data.efc_force[address[pressing]] > 0.0
        return compiled.whisker_of_geom[data.contact.geom[pressing]].max(axis=1)

    def _note_nodes(self, compiled: Compiled, data: Any, out: np.ndarray) -> None:
        """Write base, joints and tip in world mm to out (whisker, node, 3)."""
        for w, (rod, bodies) in enumerate(zip(self.rods, compiled.link_body, strict=True)):
            out[w, 0] = data.xpos[compiled.stub_body[w]]
            out[w, 1 : rod.n_links + 1] = data.xpos[bodies]
            along = data.xmat[bodies[-1]].reshape(3, 3)[:, 0]
            out[w, rod.n_links + 1] = data.xpos[bodies[-1]] + rod.link_length_mm[-1] * along


class _ObjectDrive:
    """Poses and velocities of a scene's objects at the end of every step."""

    def __init__(self, scene: Scene, compiled: Compiled, times: Array) -> None:
        self._compiled = compiled
        self._position: list[Array] = []
        self._turn: list[Array] = []
        self._velocity: list[Array] = []
        self._spin: list[Array] = []
        self._steady: list[bool] = []
        for placed in scene.objects:
            knots = knots_of(placed.motion, times)
            _, rotations = placed.motion.poses(times)
            rotations = np.asarray(rotations)
            self._position.append(knots.position_mm)
            self._turn.append(quaternions(rotations))
            # Along the object's own axes, per ms.
            velocity = 1e-3 * knots.velocity_mm_per_s
            self._velocity.append(np.einsum("tij,ti->tj", rotations, velocity))
            self._spin.append(1e-3 * _body_spin(knots.quaternion, knots.quaternion_rate_per_s))
            self._steady.append(not placed.motion.knots_needed)

    def place(self, data: Any, step: int) -> None:
        """Put the objects where they are when this step ends."""
        model = self._compiled.model
        for slot, geoms in enumerate(self._compiled.slot_geoms):
            data.mocap_pos[slot] = self._position[slot][step]
            data.mocap_quat[slot] = self._turn[slot][step]
            if step == 0 or not self._steady[slot]:
                model.geom_surfacevel[geoms] = surface_velocity(
                    model, geoms, self._velocity[slot][step], self._spin[slot][step]
                )


def _body_spin(quaternion: Array, rate_per_s: Array) -> Array:
    """Angular velocity (n, 3) along the body's own axes: twice the vector part of q* dq/dt."""
    w, v = quaternion[:, :1], quaternion[:, 1:]
    dw, dv = rate_per_s[:, :1], rate_per_s[:, 1:]
    return 2.0 * (w * dv - dw * v - np.cross(v, dv))
