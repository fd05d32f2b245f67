# pyright: reportAttributeAccessIssue=false
"""The rod engine: packs arrays, scenes and fields for the kernel and runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.warp_runtime import warp_module
from vibrissa.morphology.array import WhiskerArray
from vibrissa.simulation.bases import base_knots
from vibrissa.simulation.fields import distance_fields
from vibrissa.simulation.motion import Array, Knots, knots_of, speed_bound_mm_per_s
from vibrissa.simulation.rod import Rod, discretise
from vibrissa.simulation.scene import Scene, SolverConfig

if TYPE_CHECKING:
    from vibrissa.objects.distance_field import DistanceField

# Kernel units are mm, mg, ms: mN = 1000 uN.
UN_PER_KERNEL_FORCE = 1000.0
UNITS_MASS = 1000.0  # mg per g
SLOWEST_KNOT_S = 1e-3
MAX_BATCH_GB = 16.0
FRICTION_ERROR = 0.05
"""Friction may differ from Coulomb's law by this share before a step is solved again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RawSweeps:
    """What the engine hands to the room: house units, float32, no meaning attached yet.

    Attributes:
        force_moment: (sweep, time, whisker, 6) base frame, uN and uN*mm.
        force_moment_world: the same in world axes, or None.
        contact: (sweep, time, whisker) bool.
        nodes_mm: (sweep, time, whisker, node, 3) world, NaN beyond a whisker's tip, or None.
        flags: (sweep, whisker) bit field of ``FLAG_ANGLE_CAPPED`` and ``FLAG_RESET``.
    """

    force_moment: np.ndarray
    force_moment_world: np.ndarray | None
    contact: np.ndarray
    nodes_mm: np.ndarray | None
    flags: np.ndarray


def _kernel(precision: str, links: int, slots: int) -> dict[str, Any]:
    from vibrissa.simulation._kernels import make_kernel

    wp = warp_module()
    # Few sizes, so that few kernels are ever compiled.
    links = -(-links // 8) * 8
    return make_kernel(wp.float32 if precision == "float32" else wp.float64, links, slots)


def check_device(device: str) -> None:
    """Refuse a device that is not there."""
    wp = warp_module()
    names = [d.alias for d in wp.get_devices()]
    if device != "cuda" and device not in names:
        raise refuse("device", device, "no such device here", f"choose one of {', '.join(names)}")
    if device == "cuda" and not wp.is_cuda_available():
        raise refuse("device", device, "no CUDA device is available", "choose cpu")


class RodEngine:
    """Simulates batches of scenes past one whisker array with one configuration.

    Args:
        array: the whiskers.
        config: how to simulate.
        cache_fields: whether distance fields may be read from and written to the disk cache.
    """

    def __init__(
        self, array: WhiskerArray, config: SolverConfig, *, cache_fields: bool = True
    ) -> None:
        check_device(config.device)
        self.array = array
        self.config = config
        self.cache_fields = cache_fields
        self.rods: tuple[Rod, ...] = tuple(discretise(w, links=config.links) for w in array)
        wp = warp_module()
        self._real = np.float32 if config.precision == "float32" else np.float64
        self._wp_real = wp.float32 if config.precision == "float32" else wp.float64
        self._on_cpu = wp.get_device(config.device).is_cpu
        self.max_links = max(rod.n_links for rod in self.rods)
        self._packed: dict[int, tuple[Any, Any]] = {}
        self._fields: dict[str, DistanceField] = {}  # of the last batch

    # --- packing -----------------------------------------------------------------------------

    def _array(self, values: Any, dtype: Any) -> Any:
        wp = warp_module()
        return wp.array(np.ascontiguousarray(values), dtype=dtype, device=self.config.device)

    def _built(self, slots: int) -> tuple[dict[str, Any], Any]:
        """The kernel with its structures for this many objects, and the rods packed for it."""
        build = _kernel(self.config.precision, self.max_links, slots)
        key = id(build)
        if key not in self._packed:
            self._packed[key] = (build, self._pack_rods(build))
        return self._packed[key]

    def _pack_rods(self, build: dict[str, Any]) -> Any:
        wp = warp_module()
        config = self.config
        count, width = len(self.rods), self.max_links
        geometry = np.ones((count, width, 4), self._real)
        inertia = np.ones((count, width, 4), self._real)
        spring = np.ones((count, width, 4), self._real)
        stub = np.zeros((count, 4), self._real)
        steps = np.zeros(count, np.int32)
        coarse = np.ones(count, np.int32)
        damping_s = np.zeros(count)
        for w, rod in enumerate(self.rods):
            n = rod.n_links
            omega = float(rod.angular_frequencies_rad_per_s(1)[0])
            steps[w], coarse[w] = config.steps_per_frame(omega, rod.damping_ratio)
            step_s = config.frame_s / steps[w]
            stiffness = rod.stiffness_uN_mm
            damping_s[w] = _damping_time_s(rod, omega, step_s)
            damping = damping_s[w] * stiffness
            # The step treats spring forces explicitly where damping alone keeps it stable, and
            # implicitly by as much as stability wants and no more (docs/physics.md).
            share = np.maximum(0.0, 0.5 - damping / (stiffness * step_s))
            effective = damping + share * step_s * stiffness
            contact = config.contact_stiffness * rod.beam_stiffness_uN_per_mm
            geometry[w, :n] = np.stack(
                [
                    rod.link_length_mm,
                    rod.radius_start_mm,
                    rod.radius_end_mm,
                    contact / UN_PER_KERNEL_FORCE,
                ],
                axis=1,
            )
            inertia[w, :n] = UNITS_MASS * np.stack(
                [
                    rod.mass_g,
                    rod.moment_g_mm,
                    rod.inertia_g_mm2,
                    rod.inertia_g_mm2 - rod.axial_inertia_g_mm2,
                ],
                axis=1,
            )
            # uN mm = 1e-3 mN mm; uN mm s = 1 mN mm ms.
            spring[w, :n] = np.stack(
                [stiffness * 1e-3, effective, rod.rest_angle_rad, _rounding_mm(rod)], axis=1
            )
            stub[w] = (
                rod.stub_length_mm,
                UNITS_MASS * rod.stub_moment_g_mm,
                UNITS_MASS * rod.stub_inertia_g_mm2,
                UNITS_MASS * rod.stub_mass_g,
            )
        packed = build["Rods"]()
        packed.n_links = self._array([rod.n_links for rod in self.rods], wp.int32)
        packed.n_steps = self._array(steps, wp.int32)
        packed.n_coarse = self._array(coarse, wp.int32)
        packed.damping_ms = self._array((1e3 * damping_s).astype(self._real), self._wp_real)
        packed.step_ms = self._array(1e3 * config.frame_s / steps, wp.float64)
        packed.stub = self._array(stub, build["V4"])
        packed.geometry = self._array(geometry, build["V4"])
        packed.inertia = self._array(inertia, build["V4"])
        packed.spring = self._array(spring, build["V4"])
        return packed

    def _pack_scenes(
        self,
        build: dict[str, Any],
        scenes: Sequence[Scene],
        fields: Mapping[str, DistanceField],
        frames: int,
        slots: int,
    ) -> Any:
        wp = warp_module()
        config = self.config
        packed = build["Scene"]()
        span_s = frames * config.frame_s

        packed.frame_ms = 1e3 * config.frame_s
        # Base motions are shared by the sweeps that have the same one.
        motions: dict[object, int] = {}
        which = np.zeros(len(scenes), np.int32)
        firsts: list[Scene] = []
        for b, scene in enumerate(scenes):
            key = _motion_key(scene)
            if key not in motions:
                motions[key] = len(firsts)
                firsts.append(scene)
            which[b] = motions[key]
        fixed = not _bases_move(firsts[0])
        knot_s = min(config.frame_s, SLOWEST_KNOT_S)
        times = _regular(1 if fixed else int(np.ceil(span_s / knot_s)) + 2, knot_s)
        bases = Knots.stack([base_knots(self.array, s.head, s.whisking, times) for s in firsts])
        packed.knot_ms = 1e3 * knot_s
        packed.motion = self._array(which, wp.int32)
        self._pack_knots(packed, "base", bases)

        turning = any(p.motion.knots_needed for scene in scenes for p in scene.objects)
        object_knot_s = knot_s if turning else span_s + config.frame_s
        count = int(np.ceil(span_s / object_knot_s)) + 2 if turning else 2
        times = _regular(count, object_knot_s)
        index = np.full((len(scenes), slots), -1, np.int32)
        bound = np.zeros(len(scenes))
        order = {key: k for k, key in enumerate(fields)}
        empty = Knots(
            position_mm=np.zeros((count, 3)),
            velocity_mm_per_s=np.zeros((count, 3)),
            quaternion=np.tile([1.0, 0.0, 0.0, 0.0], (count, 1)),
            quaternion_rate_per_s=np.zeros((count, 4)),
        )
        rows = []
        for b, scene in enumerate(scenes):
            row = []
            for slot in range(slots):
                if slot >= len(scene.objects):
                    row.append(empty)
                    continue
                placed = scene.objects[slot]
                index[b, slot] = order[placed.shape.field_key]
                row.append(knots_of(placed.motion, times))
                speed = speed_bound_mm_per_s(placed.motion, times, placed.shape.radius_mm)
                bound[b] = max(bound[b], speed)
            rows.append(Knots.stack(row))
        self._pack_knots(packed, "object", Knots.stack(rows))
        packed.object_knot_ms = 1e3 * object_knot_s
        packed.field = self._array(index, wp.int32)
        packed.speed_bound = self._array((1e-3 * bound).astype(self._real), self._wp_real)
        packed.offset = config.contact_offset_mm
        packed.friction = config.friction
        packed.creep_speed = 1e-3 * config.creep_speed_mm_per_s
        packed.friction_error = FRICTION_ERROR
        packed.skip = int(config.skip)
        packed.rest_moment = config.rest_moment_uN_mm / UN_PER_KERNEL_FORCE
        packed.calm_speed = 1e-3 * config.calm_speed_mm_per_s
        self._pack_fields(build, packed, list(fields.values()))
        return packed

    def _pack_knots(self, packed: Any, prefix: str, knots: Knots) -> None:
        wp = warp_module()
        setattr(packed, f"{prefix}_position", self._array(knots.position_mm, wp.vec3d))
        setattr(packed, f"{prefix}_velocity", self._array(1e-3 * knots.velocity_mm_per_s, wp.vec3d))
        setattr(packed, f"{prefix}_turn", self._array(knots.quaternion, wp.vec4d))
        rate = self._array(1e-3 * knots.quaternion_rate_per_s, wp.vec4d)
        setattr(packed, f"{prefix}_turn_rate", rate)

    def _pack_fields(
        self, build: dict[str, Any], packed: Any, fields: Sequence[DistanceField]
    ) -> None:
        wp = warp_module()
        sizes = [field.values_mm.size for field in fields]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if fields else np.zeros(0)
        shapes = np.array([f.values_mm.shape for f in fields], np.int32).reshape(-1, 3)
        origins = np.array([f.origin_mm for f in fields], self._real).reshape(-1, 3)
        spacing = np.array([f.spacing_mm for f in fields], self._real)
        # What a point at the border of the grid is away at least from what is felt of the surface.
        padding = np.array([f.padding_mm - f.shell_offset_mm for f in fields], self._real)
        values = [np.asarray(f.values_mm, np.float32).ravel() for f in fields]
        packed.field_start = self._array(starts.astype(np.int64), wp.int64)
        packed.field_shape = self._array(shapes, wp.vec3i)
        packed.field_origin = self._array(origins, build["V3"])
        packed.field_spacing = self._array(spacing, self._wp_real)
        packed.field_padding = self._array(padding, self._wp_real)
        flat = np.concatenate(values) if values else np.zeros(1, np.float32)
        packed.distance = self._array(flat, wp.float32)

    # --- running -----------------------------------------------------------------------------

    def run(self, scenes: Sequence[Scene]) -> RawSweeps:
        """Simulate scenes of one duration as one batch.

        Raises:
            InputError: no scenes, or scenes of different durations.
        """
        if not scenes:
            raise refuse("scenes", [], "nothing to simulate", "give one scene or more")
        durations = {scene.duration_s for scene in scenes}
        if len(durations) > 1:
            raise refuse(
                "duration_s", sorted(durations), "scenes of one batch must last equally long",
                "run them in batches of one duration",
            )  # fmt: skip
        # Scenes that need another kernel, or other kinds of motion, go in batches of their own, so
        # that no result depends on its company.
        groups: dict[tuple[int, bool], list[int]] = {}
        for b, scene in enumerate(scenes):
            key = (_rounded_slots(len(scene.objects)), _bases_move(scene))
            groups.setdefault(key, []).append(b)
        # Where bases move, loads in world axes cannot be had from those in base axes later on.
        world = self.config.record_world or any(_bases_move(scene) for scene in scenes)
        if len(groups) == 1:
            return self._run_alike(scenes, world)
        parts = [self._run_alike([scenes[b] for b in group], world) for group in groups.values()]
        return _merged(parts, list(groups.values()))

    def _run_alike(self, scenes: Sequence[Scene], world: bool) -> RawSweeps:
        wp = warp_module()
        config = self.config
        frames = config.frames(scenes[0].duration_s)
        self._check_size(len(scenes) * frames)
        self._fields = fields = distance_fields(
            scenes, config, known=self._fields, cache=self.cache_fields
        )
        slots = _rounded_slots(max(len(scene.objects) for scene in scenes))
        build, rods = self._built(slots)
        packed = self._pack_scenes(build, scenes, fields, frames, slots)
        output, loads = self._new_output(build, len(scenes), frames, world)
        whiskers = len(self.rods)
        kernel = build["advance"]

        def launch(first: int, threads: int) -> None:
            inputs = [rods, packed, output, frames, first]
            wp.launch(kernel, dim=threads, inputs=inputs, device=config.device)

        workers = min(config.threads or os.cpu_count() or 1, len(scenes))
        if not self._on_cpu or workers == 1:
            launch(0, len(scenes) * whiskers)
        else:
            # One launch runs on one thread; several at a time, a sweep each, keep all cores busy.
            wp.load_module(device=config.device, module=kernel.module)
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(lambda b: launch(b * whiskers, whiskers), range(len(scenes))))
        return self._collect(output, loads)

    def _check_size(self, frames: int) -> None:
        """Refuse a batch whose results alone would fill the memory."""
        values = 13 + (3 * (self.max_links + 2) if self.config.record_nodes else 0)
        size_gb = 4e-9 * frames * len(self.rods) * values
        if size_gb > MAX_BATCH_GB:
            raise refuse(
                "frames", frames, f"a batch of {size_gb:.0f} GB, above {MAX_BATCH_GB:g}",
                "lower rate_hz or duration_s, or give fewer scenes at a time",
            )  # fmt: skip

    def stream(self, scenes: Sequence[Scene], batch: int) -> Iterator[tuple[slice, RawSweeps]]:
        """Simulate any number of scenes ``batch`` at a time; yields which ones and the result."""
        for start in range(0, len(scenes), batch):
            part = slice(start, min(start + batch, len(scenes)))
            yield part, self.run(scenes[part])

    def _new_output(
        self, build: dict[str, Any], sweeps: int, frames: int, record_world: bool
    ) -> tuple[Any, dict[str, Any]]:
        wp = warp_module()
        config = self.config
        output = build["Output"]()
        whiskers = len(self.rods)
        shape = (sweeps, frames, whiskers)
        none = (1, 1, 1)
        output_loads: dict[str, Any] = {}

        def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
            return wp.zeros(shape, dtype=dtype, device=config.device)

        # Force and moment are two views of one array, which is also what is handed on.
        for frame, wanted in (("base", True), ("world", record_world)):
            loads = zeros((*(shape if wanted else none), 6), wp.float32)
            setattr(output, f"force_{frame}", self._half(loads, 0))
            setattr(output, f"moment_{frame}", self._half(loads, 12))
            output_loads[frame] = loads if wanted else None
        output.contact = zeros(shape, wp.uint8)
        output.flags = zeros((sweeps, whiskers), wp.int32)
        nodes = (*shape, self.max_links + 2) if config.record_nodes else (1, 1, 1, 1)
        output.node = wp.full(nodes, wp.vec3(np.nan, np.nan, np.nan), device=config.device)
        output.average = int(config.sampling == "average")
        output.world = int(record_world)
        output.nodes = int(config.record_nodes)
        return output, output_loads

    def _half(self, loads: Any, offset_bytes: int) -> Any:
        """Force or moment of an array (sweep, time, whisker, 6) as an array of vectors."""
        wp = warp_module()
        return wp.array(
            ptr=loads.ptr + offset_bytes,
            dtype=wp.vec3,
            shape=loads.shape[:3],
            strides=loads.strides[:3],
            device=self.config.device,
        )

    def _collect(self, output: Any, loads: dict[str, Any]) -> RawSweeps:
        def house_units(array: Any) -> np.ndarray | None:
            if array is None:
                return None
            values = array.numpy()
            values *= UN_PER_KERNEL_FORCE
            return values

        base = house_units(loads["base"])
        assert base is not None
        return RawSweeps(
            force_moment=base,
            force_moment_world=house_units(loads["world"]),
            contact=output.contact.numpy().view(np.bool_),
            nodes_mm=output.node.numpy() if self.config.record_nodes else None,
            flags=output.flags.numpy(),
        )


def _rounded_slots(objects: int) -> int:
    """Object slots of the kernel for so many objects: powers of two, so that few are compiled."""
    return 1 << (max(1, objects) - 1).bit_length()


def _merged(parts: Sequence[RawSweeps], groups: Sequence[Sequence[int]]) -> RawSweeps:
    """Put the sweeps of several batches into one, each at its own place."""
    order = np.argsort(np.concatenate(groups))

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    names = ("force_moment", "force_moment_world", "contact", "nodes_mm", "flags")
    return RawSweeps(**{name: joined(name) for name in names})


def _motion_key(scene: Scene) -> object:
    """Equal for scenes whose bases are known to move alike."""
    if scene.head.knots_needed or scene.whisking is not None:
        return id(scene.head), id(scene.whisking)
    positions, rotations = scene.head.poses(np.array([0.0, scene.duration_s]))
    return positions.tobytes(), np.asarray(rotations).tobytes()


def _bases_move(scene: Scene) -> bool:
    return scene.whisking is not None or _moves(scene)


def _regular(count: int, interval_s: float) -> Array:
    """Times ``(count,)`` from 0."""
    return np.asarray(interval_s * np.arange(count), dtype=np.float64)


def _moves(scene: Scene) -> bool:
    head = scene.head
    if head.knots_needed:
        return True
    positions, _ = head.poses(np.array([0.0, scene.duration_s]))
    return bool(np.any(positions[0] != positions[1]))


def _damping_time_s(rod: Rod, omega: float, step_s: float) -> float:
    """Damping over stiffness such that the stepped, not the ideal, mode 1 decays as it should.

    One step multiplies the amplitude by 1 / sqrt(1 + 2 zeta' omega h) where the exact factor is
    exp(-zeta omega h); the two are set equal.
    """
    angle = omega * step_s
    return float(np.expm1(2.0 * rod.damping_ratio * angle) / (angle * omega))


def _rounding_mm(rod: Rod) -> np.ndarray:
    """How far from each joint its corner is rounded for contact: half of the shorter neighbour."""
    before = np.concatenate([[2.0 * rod.stub_length_mm], rod.link_length_mm[:-1]])
    return 0.5 * np.minimum(before, rod.link_length_mm)
