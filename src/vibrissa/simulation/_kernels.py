# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
"""The rod solver: one thread advances one whisker of one sweep through a run of frames.

Units inside are mm, mg, ms (force mN, moment mN mm), which keeps every magnitude near one and so
float32 safe. Vectors are in world axes; the origin is the moving base of the whisker, so that
positions are exact where the whisker is stiff. The algorithm is the articulated-body algorithm
(Featherstone 2008, Rigid Body Dynamics Algorithms, chapter 7) with the joint springs, dampers and
contacts taken implicitly into the articulated inertia; docs/physics.md derives it.

``make_kernel`` builds the kernel for a floating-point type and a size of whisker.
"""

from functools import cache
from typing import Any

import warp as wp

FLAG_ANGLE_CAPPED = 1
FLAG_RESET = 2
MAX_ANGLE_RAD = 1.5
MAX_RATE_RAD_PER_MS = 200.0
CONTACT_PASSES = 4
"""First solve and at most three corrections of the active set and of friction."""


@cache
def make_kernel(real: Any, links: int, slots: int) -> Any:
    """Build the structures and the kernel for ``wp.float32`` or ``wp.float64``, at most ``links``
    moving links per whisker and ``slots`` objects per scene."""
    Real = real
    LINKS = wp.constant(links)
    NODES = wp.constant(links + 1)
    SLOTS = wp.constant(slots)
    V2 = wp.types.vector(length=2, dtype=real)
    V3 = wp.types.vector(length=3, dtype=real)
    V4 = wp.types.vector(length=4, dtype=real)
    S6 = wp.types.vector(length=6, dtype=real)  # xx xy xz yy yz zz
    M33 = wp.types.matrix(shape=(3, 3), dtype=real)

    @wp.struct
    class Rods:
        """Per whisker, then per link."""

        n_links: wp.array(dtype=wp.int32)
        n_steps: wp.array(dtype=wp.int32)
        n_coarse: wp.array(dtype=wp.int32)  # fine steps in one coarse step
        step_ms: wp.array(dtype=wp.float64)
        damping_ms: wp.array(dtype=real)  # joint damping over joint stiffness
        stub: wp.array(dtype=V4)  # length, first moment, inertia, mass
        geometry: wp.array2d(dtype=V4)  # length, radius at start, radius at end, contact stiffness
        inertia: wp.array2d(dtype=V4)  # mass, first moment, transverse, transverse - axial
        spring: wp.array2d(dtype=V4)  # stiffness, effective damping, rest angle, rounding
        rest_force: wp.array(dtype=real)  # base load below which a whisker may be put to rest

    @wp.struct
    class Scene:
        """What moves, and the shapes; object slots run along the second axis."""

        frame_ms: wp.float64
        knot_ms: wp.float64
        base_position: wp.array3d(dtype=wp.vec3d)  # motion, whisker, knot
        base_velocity: wp.array3d(dtype=wp.vec3d)
        base_turn: wp.array3d(dtype=wp.vec4d)  # quaternion w x y z
        base_turn_rate: wp.array3d(dtype=wp.vec4d)
        motion: wp.array(dtype=wp.int32)  # which base motion a sweep has
        object_position: wp.array3d(dtype=wp.vec3d)  # sweep, slot, knot
        object_velocity: wp.array3d(dtype=wp.vec3d)
        object_turn: wp.array3d(dtype=wp.vec4d)
        object_turn_rate: wp.array3d(dtype=wp.vec4d)
        object_knot_ms: wp.float64
        field: wp.array2d(dtype=wp.int32)  # sweep, slot -> field, or -1
        speed_bound: wp.array(dtype=real)  # no point of any object is faster, mm per ms
        field_start: wp.array(dtype=wp.int64)
        field_shape: wp.array(dtype=wp.vec3i)
        field_origin: wp.array(dtype=V3)
        field_spacing: wp.array(dtype=real)
        field_padding: wp.array(dtype=real)
        distance: wp.array(dtype=wp.float32)
        offset: real
        friction: real
        creep_speed: real
        friction_error: real
        skip: wp.int32
        calm_speed: real  # largest change of velocity in a coarse step, mm per ms

    @wp.struct
    class Output:
        """By sweep, frame, whisker."""

        force_base: wp.array3d(dtype=wp.vec3)
        moment_base: wp.array3d(dtype=wp.vec3)
        force_world: wp.array3d(dtype=wp.vec3)
        moment_world: wp.array3d(dtype=wp.vec3)
        contact: wp.array3d(dtype=wp.uint8)
        flags: wp.array2d(dtype=wp.int32)  # sweep, whisker
        node: wp.array4d(dtype=wp.vec3)  # sweep, frame, whisker, node
        average: wp.int32
        world: wp.int32
        nodes: wp.int32

    @wp.func
    def sym_times(s: S6, v: V3):
        return V3(
            s[0] * v[0] + s[1] * v[1] + s[2] * v[2],
            s[1] * v[0] + s[3] * v[1] + s[4] * v[2],
            s[2] * v[0] + s[4] * v[1] + s[5] * v[2],
        )

    @wp.func
    def sym_outer(a: V3, b: V3):
        # Only called where a b^T, or the sum it belongs to, is symmetric.
        return S6(a[0] * b[0], a[0] * b[1], a[0] * b[2], a[1] * b[1], a[1] * b[2], a[2] * b[2])

    @wp.func
    def sym_unit(x: real):
        z = Real(0.0)
        return S6(x, z, z, x, z, x)

    @wp.func
    def small_sin(x: real):
        y = x * x
        if y > Real(1.0):
            return wp.sin(x)
        tail = Real(-1.0 / 5040.0) + y * (Real(1.0 / 362880.0) + y * Real(-1.0 / 39916800.0))
        return x * (Real(1.0) + y * (Real(-1.0 / 6.0) + y * (Real(1.0 / 120.0) + y * tail)))

    @wp.func
    def small_cos(x: real):
        y = x * x
        if y > Real(1.0):
            return wp.cos(x)
        tail = Real(1.0 / 40320.0) + y * (Real(-1.0 / 3628800.0) + y * Real(1.0 / 479001600.0))
        return Real(1.0) + y * (
            Real(-0.5) + y * (Real(1.0 / 24.0) + y * (Real(-1.0 / 720.0) + y * tail))
        )

    @wp.func
    def hermite(a: wp.vec3d, b: wp.vec3d, da: wp.vec3d, db: wp.vec3d, x: wp.float64, dt: wp.float64):
        one = wp.float64(1.0)
        two = wp.float64(2.0)
        three = wp.float64(3.0)
        # Written on differences, so that uniform motion stays uniform to the last digits.
        d = b - a - dt * da
        e = dt * (db - da)
        return a + (x * dt) * da + (x * x * (three - two * x)) * d + (x * x * (x - one)) * e

    @wp.func
    def hermite_slope(
        a: wp.vec3d, b: wp.vec3d, da: wp.vec3d, db: wp.vec3d, x: wp.float64, dt: wp.float64
    ):
        two = wp.float64(2.0)
        three = wp.float64(3.0)
        six = wp.float64(6.0)
        d = (b - a) / dt - da
        return da + (six * x * (wp.float64(1.0) - x)) * d + (x * (three * x - two)) * (db - da)

    @wp.func
    def hermite4(a: wp.vec4d, b: wp.vec4d, da: wp.vec4d, db: wp.vec4d, x: wp.float64, dt: wp.float64):
        d = b - a - dt * da
        e = dt * (db - da)
        return (
            a
            + (x * dt) * da
            + (x * x * (wp.float64(3.0) - wp.float64(2.0) * x)) * d
            + (x * x * (x - wp.float64(1.0))) * e
        )

    @wp.func
    def hermite4_slope(
        a: wp.vec4d, b: wp.vec4d, da: wp.vec4d, db: wp.vec4d, x: wp.float64, dt: wp.float64
    ):
        d = (b - a) / dt - da
        return (
            da
            + (wp.float64(6.0) * x * (wp.float64(1.0) - x)) * d
            + (x * (wp.float64(3.0) * x - wp.float64(2.0))) * (db - da)
        )

    @wp.func
    def rotation_of(q: wp.vec4d):
        n = wp.normalize(q)
        w = n[0]
        x = n[1]
        y = n[2]
        z = n[3]
        one = wp.float64(1.0)
        two = wp.float64(2.0)
        return M33(
            Real(one - two * (y * y + z * z)), Real(two * (x * y - w * z)), Real(two * (x * z + w * y)),
            Real(two * (x * y + w * z)), Real(one - two * (x * x + z * z)), Real(two * (y * z - w * x)),
            Real(two * (x * z - w * y)), Real(two * (y * z + w * x)), Real(one - two * (x * x + y * y)),
        )  # fmt: skip

    @wp.func
    def spin_of(q: wp.vec4d, dq: wp.vec4d):
        # Twice the vector part of dq q*, for a q that need not be of unit length.
        f = wp.float64(2.0) / wp.dot(q, q)
        return V3(
            Real(f * (-dq[0] * q[1] + dq[1] * q[0] - dq[2] * q[3] + dq[3] * q[2])),
            Real(f * (-dq[0] * q[2] + dq[1] * q[3] + dq[2] * q[0] - dq[3] * q[1])),
            Real(f * (-dq[0] * q[3] - dq[1] * q[2] + dq[2] * q[1] + dq[3] * q[0])),
        )

    @wp.func
    def to_real(v: wp.vec3d):
        return V3(Real(v[0]), Real(v[1]), Real(v[2]))

    @wp.struct
    class Grid:
        """One distance field, unpacked once for many samples."""

        start: wp.int64
        row: wp.int32
        plane: wp.int32
        top: V3
        origin: V3
        spacing: real
        per_mm: real
        padding: real

    @wp.func
    def grid_of(scene: Scene, field: wp.int32):
        grid = Grid()
        shape = scene.field_shape[field]
        grid.start = scene.field_start[field]
        grid.row = shape[2]
        grid.plane = shape[1] * shape[2]
        grid.top = V3(Real(shape[0] - 1), Real(shape[1] - 1), Real(shape[2] - 1))
        grid.origin = scene.field_origin[field]
        grid.spacing = scene.field_spacing[field]
        grid.per_mm = Real(1.0) / grid.spacing
        grid.padding = scene.field_padding[field]
        return grid

    @wp.func
    def sample(distance: wp.array(dtype=wp.float32), grid: Grid, point: V3):
        """Signed distance at a point of the object's frame; a lower bound outside the grid."""
        cell = grid.per_mm * (point - grid.origin)
        top = grid.top
        low = V3(
            wp.clamp(cell[0], Real(0.0), top[0]),
            wp.clamp(cell[1], Real(0.0), top[1]),
            wp.clamp(cell[2], Real(0.0), top[2]),
        )
        beyond = wp.length_sq(cell - low)
        if beyond > Real(0.0):
            return grid.padding + grid.spacing * wp.sqrt(beyond)
        i = wp.int32(wp.min(low[0], top[0] - Real(1.0)))
        j = wp.int32(wp.min(low[1], top[1] - Real(1.0)))
        k = wp.int32(wp.min(low[2], top[2] - Real(1.0)))
        x = low[0] - Real(i)
        y = low[1] - Real(j)
        z = low[2] - Real(k)
        row = grid.row
        plane = grid.plane
        at = grid.start + wp.int64(i * plane + j * row + k)
        d000 = Real(distance[at])
        d001 = Real(distance[at + wp.int64(1)])
        at2 = at + wp.int64(row)
        d010 = Real(distance[at2])
        d011 = Real(distance[at2 + wp.int64(1)])
        at3 = at + wp.int64(plane)
        d100 = Real(distance[at3])
        d101 = Real(distance[at3 + wp.int64(1)])
        at4 = at3 + wp.int64(row)
        d110 = Real(distance[at4])
        d111 = Real(distance[at4 + wp.int64(1)])
        d00 = d000 + z * (d001 - d000)
        d01 = d010 + z * (d011 - d010)
        d10 = d100 + z * (d101 - d100)
        d11 = d110 + z * (d111 - d110)
        d0 = d00 + y * (d01 - d00)
        d1 = d10 + y * (d11 - d10)
        return d0 + x * (d1 - d0)

    @wp.struct
    class Curve:
        """One link as it is felt: the corners at its joints are rounded off by parabolas.

        The chain is the control polygon of a quadratic B-spline, which is what the bent beam looks
        like: it touches each link and cuts the corners. All vectors are in the object's frame.
        """

        start: V3
        tangent: V3
        bend0: V3  # change of tangent at the joint where the link starts
        bend1: V3  # and where it ends
        reach0: real  # how far from the joint the rounding goes
        reach1: real
        length: real
        shrink: real  # whisker radius at the start, plus the contact offset
        taper: real

    @wp.func
    def felt_point(curve: Curve, arc: real):
        x0 = wp.max(Real(1.0) - arc / curve.reach0, Real(0.0))
        x1 = wp.max(Real(1.0) - (curve.length - arc) / curve.reach1, Real(0.0))
        return (
            arc * curve.tangent
            + (Real(0.25) * curve.reach0 * x0 * x0) * curve.bend0
            + (Real(0.25) * curve.reach1 * x1 * x1) * curve.bend1
        )

    @wp.func
    def gap_at(distance: wp.array(dtype=wp.float32), grid: Grid, curve: Curve, arc: real):
        return (
            sample(distance, grid, curve.start + felt_point(curve, arc))
            - curve.shrink
            - curve.taper * arc
        )

    @wp.func
    def lowest_of_parabola(a: real, b: real, c: real):
        """Abscissa in [-1, 1] of the lowest point of the parabola through -1, 0 and 1."""
        curve = a - Real(2.0) * b + c
        if curve > Real(1.0e-7):
            return wp.clamp(Real(0.5) * (a - c) / curve, Real(-1.0), Real(1.0))
        if a < c:
            return Real(-1.0)
        return Real(1.0)

    @wp.struct
    class Pose:
        """Where an object is, as seen from the base of the whisker."""

        turn: M33
        position: V3
        velocity: V3
        spin: V3

    @wp.func
    def pose_of(
        scene: Scene, sweep: wp.int32, slot: wp.int32, time: wp.float64, base: wp.vec3d
    ):
        dt = scene.object_knot_ms
        k = wp.min(wp.int32(time / dt), scene.object_position.shape[2] - 2)
        x = time / dt - wp.float64(k)
        p0 = scene.object_position[sweep, slot, k]
        p1 = scene.object_position[sweep, slot, k + 1]
        v0 = scene.object_velocity[sweep, slot, k]
        v1 = scene.object_velocity[sweep, slot, k + 1]
        q0 = scene.object_turn[sweep, slot, k]
        q1 = scene.object_turn[sweep, slot, k + 1]
        r0 = scene.object_turn_rate[sweep, slot, k]
        r1 = scene.object_turn_rate[sweep, slot, k + 1]
        turn = hermite4(q0, q1, r0, r1, x, dt)
        pose = Pose()
        pose.turn = rotation_of(turn)
        pose.position = to_real(hermite(p0, p1, v0, v1, x, dt) - base)
        pose.velocity = to_real(hermite_slope(p0, p1, v0, v1, x, dt))
        pose.spin = spin_of(turn, hermite4_slope(q0, q1, r0, r1, x, dt))
        return pose

    @wp.func
    def normal_at(distance: wp.array(dtype=wp.float32), grid: Grid, y: V3):
        # Differences over two cells: the slope inside one trilinear cell is only first order.
        s = grid.spacing
        z = Real(0.0)
        return wp.normalize(
            V3(
                sample(distance, grid, y + V3(s, z, z)) - sample(distance, grid, y - V3(s, z, z)),
                sample(distance, grid, y + V3(z, s, z)) - sample(distance, grid, y - V3(z, s, z)),
                sample(distance, grid, y + V3(z, z, s)) - sample(distance, grid, y - V3(z, z, s)),
            )
        )

    @wp.kernel(module="unique", enable_backward=False)
    def advance(
        rods: Rods,
        scene: Scene,
        output: Output,
        frame_count: wp.int32,
        first_thread: wp.int32,
    ):
        n_whiskers = output.contact.shape[2]
        thread = first_thread + wp.tid()
        sweep = thread // n_whiskers
        whisker = thread - sweep * n_whiskers
        n = rods.n_links[whisker]
        n_steps = rods.n_steps[whisker]
        fine = rods.step_ms[whisker]
        n_coarse = rods.n_coarse[whisker]
        calm = int(0)
        motion = scene.motion[sweep]
        n_knots = scene.base_position.shape[2]
        moving = n_knots > 1
        n_slots = scene.field.shape[1]
        stub = rods.stub[whisker]
        # Everything that a link carries lives on the thread's own stack.
        angles = wp.zeros(shape=LINKS, dtype=V2)
        rates = wp.zeros(shape=LINKS, dtype=V2)
        kept = wp.zeros(shape=LINKS, dtype=real)  # drag at the end of the last step
        drags_next = wp.zeros(shape=LINKS, dtype=real)
        drags_before = wp.zeros(shape=LINKS, dtype=real)
        slowness_before = wp.zeros(shape=LINKS, dtype=real)
        clearances = wp.zeros(shape=LINKS, dtype=real)
        arcs = wp.zeros(shape=LINKS, dtype=real)
        axes1 = wp.zeros(shape=LINKS, dtype=V3)
        axes2 = wp.zeros(shape=LINKS, dtype=V3)
        tangents = wp.zeros(shape=LINKS, dtype=V3)
        positions = wp.zeros(shape=NODES, dtype=V3)
        spins = wp.zeros(shape=LINKS, dtype=V3)
        velocities = wp.zeros(shape=NODES, dtype=V3)
        biases_angular = wp.zeros(shape=LINKS, dtype=V3)
        biases_linear = wp.zeros(shape=LINKS, dtype=V3)
        u1ns = wp.zeros(shape=LINKS, dtype=V3)
        u1fs = wp.zeros(shape=LINKS, dtype=V3)
        u2ns = wp.zeros(shape=LINKS, dtype=V3)
        u2fs = wp.zeros(shape=LINKS, dtype=V3)
        inverses = wp.zeros(shape=LINKS, dtype=V3)
        drives = wp.zeros(shape=LINKS, dtype=V2)
        accelerations = wp.zeros(shape=LINKS, dtype=V2)
        contacts = wp.zeros(shape=LINKS, dtype=wp.int32)
        held = wp.zeros(shape=LINKS, dtype=wp.int32)
        levers = wp.zeros(shape=LINKS, dtype=V3)
        gaps = wp.zeros(shape=LINKS, dtype=real)
        normals = wp.zeros(shape=LINKS, dtype=V3)
        surfaces = wp.zeros(shape=LINKS, dtype=V3)
        drags = wp.zeros(shape=LINKS, dtype=real)
        pose_turns = wp.zeros(shape=SLOTS, dtype=M33)
        pose_positions = wp.zeros(shape=SLOTS, dtype=V3)
        pose_velocities = wp.zeros(shape=SLOTS, dtype=V3)
        pose_spins = wp.zeros(shape=SLOTS, dtype=V3)
        resting_now = scene.skip
        zero3 = V3(Real(0.0), Real(0.0), Real(0.0))
        zero2 = V2(Real(0.0), Real(0.0))

        base64 = scene.base_position[motion, whisker, 0]
        turn64 = scene.base_turn[motion, whisker, 0]
        base_rotation = rotation_of(turn64)
        base_spin = zero3
        base_velocity = zero3
        base_spin_rate = zero3
        base_acceleration = zero3
        stale = int(1)  # the kinematics of a resting whisker are computed once
        sleep_frames = int(0)

        for frame in range(frame_count):
            force_sum = zero3
            moment_sum = zero3
            force_world = zero3
            moment_world = zero3
            touched = int(0)
            if sleep_frames > 0:
                sleep_frames = sleep_frames - 1
            else:
                step = int(0)
                while step < n_steps:
                    # A whisker that hardly accelerates takes one coarse, fully implicit step.
                    stride = int(1)
                    if calm == 1 and step % n_coarse == 0:
                        stride = n_coarse
                    dt = fine * wp.float64(stride)
                    h = Real(dt)
                    time = wp.float64(frame) * scene.frame_ms + fine * wp.float64(step)
                    resting = resting_now
                    if moving:
                        knot = wp.min(wp.int32(time / scene.knot_ms), n_knots - 2)
                        x = time / scene.knot_ms - wp.float64(knot)
                        p0 = scene.base_position[motion, whisker, knot]
                        p1 = scene.base_position[motion, whisker, knot + 1]
                        v0 = scene.base_velocity[motion, whisker, knot]
                        v1 = scene.base_velocity[motion, whisker, knot + 1]
                        q0 = scene.base_turn[motion, whisker, knot]
                        q1 = scene.base_turn[motion, whisker, knot + 1]
                        r0 = scene.base_turn_rate[motion, whisker, knot]
                        r1 = scene.base_turn_rate[motion, whisker, knot + 1]
                        base64 = hermite(p0, p1, v0, v1, x, scene.knot_ms)
                        turn64 = hermite4(q0, q1, r0, r1, x, scene.knot_ms)
                        rate64 = hermite4_slope(q0, q1, r0, r1, x, scene.knot_ms)
                        # Mean acceleration over the step, so that the velocity at the end fits.
                        x2 = x + dt / scene.knot_ms
                        next_v = hermite_slope(p0, p1, v0, v1, x2, scene.knot_ms)
                        next_q = hermite4(q0, q1, r0, r1, x2, scene.knot_ms)
                        next_r = hermite4_slope(q0, q1, r0, r1, x2, scene.knot_ms)
                        now_v = hermite_slope(p0, p1, v0, v1, x, scene.knot_ms)
                        base_velocity = to_real(now_v)
                        base_acceleration = to_real((next_v - now_v) / dt)
                        base_rotation = rotation_of(turn64)
                        base_spin = spin_of(turn64, rate64)
                        base_spin_rate = (spin_of(next_q, next_r) - base_spin) / h
                        resting = 0

                    # --- kinematics, base to tip -------------------------------------------------
                    tx = V3(base_rotation[0, 0], base_rotation[1, 0], base_rotation[2, 0])
                    root = tx
                    stub_vector = stub[0] * root
                    if resting == 0 or stale == 1:
                        ty = V3(base_rotation[0, 1], base_rotation[1, 1], base_rotation[2, 1])
                        tz = V3(base_rotation[0, 2], base_rotation[1, 2], base_rotation[2, 2])
                        spin = base_spin
                        reach = stub_vector
                        at = stub_vector
                        sweepspeed = wp.cross(spin, reach)
                        velocity = base_velocity + sweepspeed
                        for i in range(n):
                            a = angles[i]
                            r = rates[i]
                            rest = rods.spring[whisker, i][2]
                            c1 = small_cos(rest + a[0])
                            s1 = small_sin(rest + a[0])
                            c2 = small_cos(a[1])
                            s2 = small_sin(a[1])
                            axes1[i] = tz
                            ux = c1 * tx + s1 * ty
                            uy = c1 * ty - s1 * tx
                            axes2[i] = uy
                            tx = c2 * ux - s2 * tz
                            tz = s2 * ux + c2 * tz
                            ty = uy
                            biases_linear[i] = wp.cross(spin, sweepspeed)
                            turn1 = r[0] * axes1[i]
                            turn2 = r[1] * uy
                            biases_angular[i] = wp.cross(spin, turn1) + wp.cross(
                                spin + turn1, turn2
                            )
                            spin = spin + turn1 + turn2
                            spins[i] = spin
                            tangents[i] = tx
                            positions[i] = at
                            velocities[i] = velocity
                            reach = rods.geometry[whisker, i][0] * tx
                            sweepspeed = wp.cross(spin, reach)
                            at = at + reach
                            velocity = velocity + sweepspeed
                        positions[n] = at
                        velocities[n] = velocity
                        stale = 1
                        if resting == 1:
                            stale = 0

                    # --- contacts: one per local minimum of distance along the whisker ------------
                    near = int(0)
                    placed = int(0)
                    end_is_lowest = int(0)
                    end_taken = int(0)
                    speed = wp.length(velocities[0])
                    for i in range(n):
                        speed_end = wp.length(velocities[i + 1])
                        clearance = clearances[i] - h * (
                            Real(1.02) * wp.max(speed, speed_end) + scene.speed_bound[sweep]
                        )
                        speed = speed_end
                        contacts[i] = 0
                        if clearance > Real(0.0) and scene.skip == 1:
                            clearances[i] = clearance
                            end_is_lowest = 0
                            end_taken = 0
                            continue
                        if placed == 0:
                            for slot in range(n_slots):
                                if scene.field[sweep, slot] >= 0:
                                    pose = pose_of(scene, sweep, slot, time + dt, base64)
                                    pose_turns[slot] = pose.turn
                                    pose_positions[slot] = pose.position
                                    pose_velocities[slot] = pose.velocity
                                    pose_spins[slot] = pose.spin
                            placed = 1
                        geometry = rods.geometry[whisker, i]
                        length = geometry[0]
                        half = Real(0.5) * length
                        tangent = tangents[i]
                        bend0 = tangent - root
                        if i > 0:
                            bend0 = tangent - tangents[i - 1]
                        curve = Curve()
                        curve.length = length
                        curve.shrink = scene.offset + geometry[1]
                        curve.taper = (geometry[2] - geometry[1]) / length
                        curve.reach0 = rods.spring[whisker, i][3]
                        curve.reach1 = half
                        bend1 = zero3
                        if i < n - 1:
                            curve.reach1 = rods.spring[whisker, i + 1][3]
                            bend1 = tangents[i + 1] - tangent
                        bow = Real(0.125) * length * (
                            wp.length(bend0) + wp.length(bend1)
                        )
                        best = Real(1.0e6)
                        bound = Real(1.0e6)
                        slot_hit = int(-1)
                        arc_hit = Real(0.0)
                        first_slot = int(0)
                        # Where a contact was, it most likely still is: look there first, but
                        # afresh at least once per frame.
                        old_arc = arcs[i]
                        if old_arc > Real(0.0) and step > 0 and n_slots == 1:
                            grid = grid_of(scene, scene.field[sweep, 0])
                            back_turn = wp.transpose(pose_turns[0])
                            curve.start = back_turn * (
                                positions[i] - pose_positions[0]
                            )
                            curve.tangent = back_turn * tangent
                            curve.bend0 = back_turn * bend0
                            curve.bend1 = back_turn * bend1
                            width = Real(0.0625) * length
                            middle = wp.clamp(old_arc, width, length - width)
                            ga = gap_at(scene.distance, grid, curve, middle - width)
                            gb = gap_at(scene.distance, grid, curve, middle)
                            gc = gap_at(scene.distance, grid, curve, middle + width)
                            if gb <= wp.min(ga, gc):
                                arc_hit = middle + width * lowest_of_parabola(ga, gb, gc)
                                best = gb
                                slot_hit = 0
                                bound = Real(0.0)
                                first_slot = 1
                        arcs[i] = Real(-1.0)
                        for slot in range(first_slot, n_slots):
                            field = scene.field[sweep, slot]
                            if field < 0:
                                continue
                            grid = grid_of(scene, field)
                            back_turn = wp.transpose(pose_turns[slot])
                            curve.start = back_turn * (
                                positions[i] - pose_positions[slot]
                            )
                            curve.tangent = back_turn * tangent
                            g2 = (
                                sample(scene.distance, grid, curve.start + half * curve.tangent)
                                - curve.shrink
                                - curve.taper * half
                            )
                            if g2 > half + bow + Real(0.05):
                                bound = wp.min(bound, g2 - half - bow)
                                continue
                            curve.bend0 = back_turn * bend0
                            curve.bend1 = back_turn * bend1
                            quarter = Real(0.5) * half
                            g0 = gap_at(scene.distance, grid, curve, Real(0.0))
                            g1 = gap_at(scene.distance, grid, curve, quarter)
                            g3 = gap_at(scene.distance, grid, curve, half + quarter)
                            g4 = gap_at(scene.distance, grid, curve, length)
                            lowest = wp.min(wp.min(wp.min(g0, g1), wp.min(g2, g3)), g4)
                            safe = lowest - Real(0.5) * quarter - bow
                            if lowest < best and safe < Real(0.05):
                                best = lowest
                                slot_hit = slot
                                # The bracket around the lowest sample: middle, half width, values.
                                width = quarter
                                middle = half
                                ga = g1
                                gb = g2
                                gc = g3
                                inner = int(1)
                                if lowest == g1:
                                    middle = quarter
                                    ga = g0
                                    gb = g1
                                    gc = g2
                                elif lowest == g3:
                                    middle = half + quarter
                                    ga = g2
                                    gb = g3
                                    gc = g4
                                elif lowest == g0:
                                    inner = 0
                                    width = Real(0.5) * quarter
                                    middle = width
                                    ga = g0
                                    gb = gap_at(scene.distance, grid, curve, middle)
                                    gc = g1
                                    if gb < ga:
                                        inner = 1
                                elif lowest == g4:
                                    inner = 0
                                    width = Real(0.5) * quarter
                                    middle = length - width
                                    ga = g3
                                    gb = gap_at(scene.distance, grid, curve, middle)
                                    gc = g4
                                    if gb < gc:
                                        inner = 1
                                for _round in range(2 * inner):
                                    trial = middle + width * lowest_of_parabola(ga, gb, gc)
                                    width = Real(0.5) * width
                                    middle = wp.clamp(trial, width, length - width)
                                    ga = gap_at(scene.distance, grid, curve, middle - width)
                                    gb = gap_at(scene.distance, grid, curve, middle)
                                    gc = gap_at(scene.distance, grid, curve, middle + width)
                                arc_hit = wp.clamp(
                                    middle + width * lowest_of_parabola(ga, gb, gc),
                                    Real(0.0),
                                    length,
                                )
                                # Seen this closely, nothing of the link is nearer than this.
                                least = wp.min(wp.min(ga, gb), gc)
                                safe = wp.max(safe, wp.min(least, lowest) - Real(0.03))
                            bound = wp.min(bound, safe)
                        clearances[i] = wp.max(bound - Real(0.02), Real(0.0))
                        # A joint is a minimum only if the links on both of its sides fall to it;
                        # the link behind it then has the contact.
                        minimum = int(1)
                        if slot_hit < 0:
                            minimum = 0
                        elif arc_hit <= Real(0.0):
                            minimum = end_is_lowest
                        end_is_lowest = 0
                        if slot_hit >= 0 and arc_hit >= length:
                            end_is_lowest = 1
                            if i < n - 1:
                                minimum = 0
                        # A link that presses keeps its contact while it has a point to offer: near
                        # a tangent touch the lowest point would else leap between links.
                        if slot_hit >= 0 and held[i] == 2:
                            minimum = 1
                        if end_taken == 1 and arc_hit <= Real(0.0):
                            minimum = 0
                        end_taken = 0
                        if minimum == 1 and arc_hit >= length:
                            end_taken = 1
                        if minimum == 1:
                            curve.tangent = tangent
                            curve.bend0 = bend0
                            curve.bend1 = bend1
                            lever = felt_point(curve, arc_hit)
                            away = positions[i] + lever - pose_positions[slot_hit]
                            turn = pose_turns[slot_hit]
                            y = wp.transpose(turn) * away
                            grid = grid_of(scene, scene.field[sweep, slot_hit])
                            gap = sample(scene.distance, grid, y) - curve.shrink - curve.taper * arc_hit
                            # The object already stands where it will be when the step ends, so
                            # only the whisker's own velocity closes the gap.
                            own = velocities[i] + wp.cross(spins[i], lever)
                            if gap < Real(0.02) + h * wp.length(own):
                                normal = turn * normal_at(scene.distance, grid, y)
                                near = 1
                                contacts[i] = 1
                                if gap + h * wp.dot(normal, own) < Real(0.0):
                                    contacts[i] = 2
                                if arc_hit < length:
                                    arcs[i] = arc_hit
                                levers[i] = lever
                                gaps[i] = gap
                                normals[i] = normal
                                surfaces[i] = pose_velocities[slot_hit
                                ] + wp.cross(pose_spins[slot_hit], away)

                    if resting == 1:
                        pressing = int(0)
                        if near == 1:
                            for i in range(n):
                                if contacts[i] == 2:
                                    pressing = 1
                        if pressing == 0:
                            step = step + stride
                            continue
                        resting = 0
                        stale = 1
                        resting_now = 0

                    # Friction starts from the drag that the contact had, or that a neighbour had
                    # from which it has just moved over a joint.
                    if near == 1:
                        for i in range(n):
                            if contacts[i] > 0:
                                drag = kept[i]
                                if held[i] == 0:
                                    drag = Real(0.0)
                                    if i > 0:
                                        if contacts[i - 1] == 0:
                                            drag = kept[i - 1]
                                    if i < n - 1:
                                        if contacts[i + 1] == 0:
                                            drag = wp.max(drag, kept[i + 1])
                                drags[i] = drag
                                slowness_before[i] = Real(-1.0)

                    # --- dynamics: solve, correct the active set, solve again ---------------------
                    fn = zero3
                    ff = zero3
                    hasty = Real(0.0)  # largest squared acceleration of a joint
                    swaps = int(0)
                    for attempt in range(wp.static(CONTACT_PASSES)):
                        ii = sym_unit(Real(0.0))
                        mm = sym_unit(Real(0.0))
                        h0 = zero3
                        h1 = zero3
                        h2 = zero3
                        pn = zero3
                        pf = zero3
                        for back in range(n):
                            i = n - 1 - back
                            body = rods.inertia[whisker, i]
                            moment = body[1]
                            t = tangents[i]
                            w = spins[i]
                            roll = wp.dot(w, t)
                            # Bias of a slender symmetric link.
                            pn = pn - (body[3] * roll) * wp.cross(w, t)
                            pf = pf + moment * (roll * w - wp.dot(w, w) * t)
                            if contacts[i] > 0:
                                lever = levers[i]
                                drag = drags[i]
                                surface = surfaces[i]
                                own = velocities[i] + wp.cross(w, lever)
                                normal = normals[i]
                                coefficient = Real(0.0)
                                push = Real(0.0)
                                if contacts[i] == 2:
                                    stiffness = rods.geometry[whisker, i][3]
                                    coefficient = h * h * stiffness
                                    push = -stiffness * (
                                        gaps[i] + h * wp.dot(normal, own)
                                    )
                                else:
                                    drag = Real(0.0)
                                slip = own - surface
                                slip = slip - wp.dot(slip, normal) * normal
                                pull = push * normal - drag * slip
                                pn = pn - wp.cross(lever, pull)
                                pf = pf - pull
                                arm = wp.cross(lever, normal)
                                net = coefficient - h * drag
                                ii = ii + net * sym_outer(arm, arm)
                                mm = mm + net * sym_outer(normal, normal)
                                h0 = h0 + (net * arm[0]) * normal
                                h1 = h1 + (net * arm[1]) * normal
                                h2 = h2 + (net * arm[2]) * normal
                                # Drag without direction, from which the normal's part is gone.
                                drag = h * drag
                                c = drag * lever
                                ii = ii + sym_unit(wp.dot(c, lever)) - sym_outer(c, lever)
                                mm = mm + sym_unit(drag)
                                h0 = h0 + V3(Real(0.0), -c[2], c[1])
                                h1 = h1 + V3(c[2], Real(0.0), -c[0])
                                h2 = h2 + V3(-c[1], c[0], Real(0.0))
                            ii = ii + sym_unit(body[2]) - body[3] * sym_outer(t, t)
                            mm = mm + sym_unit(body[0])
                            c = moment * t
                            h0 = h0 + V3(Real(0.0), -c[2], c[1])
                            h1 = h1 + V3(c[2], Real(0.0), -c[0])
                            h2 = h2 + V3(-c[1], c[0], Real(0.0))

                            spring = rods.spring[whisker, i]
                            a = angles[i]
                            r = rates[i]
                            a1 = axes1[i]
                            a2 = axes2[i]
                            u1n = sym_times(ii, a1)
                            u2n = sym_times(ii, a2)
                            u1f = a1[0] * h0 + a1[1] * h1 + a1[2] * h2
                            u2f = a2[0] * h0 + a2[1] * h1 + a2[2] * h2
                            damping = spring[1]
                            if stride > 1:
                                damping = spring[0] * (rods.damping_ms[whisker] + h)
                            extra = h * damping
                            d11 = wp.dot(a1, u1n) + extra
                            d22 = wp.dot(a2, u2n) + extra
                            d12 = wp.dot(a1, u2n)
                            scale = Real(1.0) / (d11 * d22 - d12 * d12)
                            i11 = scale * d22
                            i12 = -scale * d12
                            i22 = scale * d11
                            u1 = -spring[0] * a[0] - damping * r[0] - wp.dot(a1, pn)
                            u2 = -spring[0] * a[1] - damping * r[1] - wp.dot(a2, pn)
                            u1ns[i] = u1n
                            u2ns[i] = u2n
                            u1fs[i] = u1f
                            u2fs[i] = u2f
                            inverses[i] = V3(i11, i12, i22)
                            drives[i] = V2(u1, u2)

                            g1n = i11 * u1n + i12 * u2n
                            g2n = i12 * u1n + i22 * u2n
                            g1f = i11 * u1f + i12 * u2f
                            g2f = i12 * u1f + i22 * u2f
                            ii = ii - sym_outer(u1n, g1n) - sym_outer(u2n, g2n)
                            mm = mm - sym_outer(u1f, g1f) - sym_outer(u2f, g2f)
                            h0 = h0 - u1n[0] * g1f - u2n[0] * g2f
                            h1 = h1 - u1n[1] * g1f - u2n[1] * g2f
                            h2 = h2 - u1n[2] * g1f - u2n[2] * g2f
                            ca3 = biases_angular[i]
                            cl3 = biases_linear[i]
                            pn = (
                                pn
                                + u1 * g1n
                                + u2 * g2n
                                + sym_times(ii, ca3)
                                + V3(wp.dot(h0, cl3), wp.dot(h1, cl3), wp.dot(h2, cl3))
                            )
                            pf = (
                                pf
                                + u1 * g1f
                                + u2 * g2f
                                + ca3[0] * h0
                                + ca3[1] * h1
                                + ca3[2] * h2
                                + sym_times(mm, cl3)
                            )
                            # Carry to the joint before, or to the base.
                            step_vector = stub_vector
                            if i > 0:
                                step_vector = (
                                    rods.geometry[whisker, i - 1][0] * tangents[i - 1]
                                )
                            m0 = V3(mm[0], mm[1], mm[2])
                            m1 = V3(mm[1], mm[3], mm[4])
                            m2 = V3(mm[2], mm[4], mm[5])
                            k0 = step_vector[1] * m2 - step_vector[2] * m1
                            k1 = step_vector[2] * m0 - step_vector[0] * m2
                            k2 = step_vector[0] * m1 - step_vector[1] * m0
                            z0 = wp.cross(step_vector, h0 + Real(0.5) * k0)
                            z1 = wp.cross(step_vector, h1 + Real(0.5) * k1)
                            z2 = wp.cross(step_vector, h2 + Real(0.5) * k2)
                            ii = ii + S6(
                                z0[0] + z0[0], z0[1] + z1[0], z0[2] + z2[0],
                                z1[1] + z1[1], z1[2] + z2[1], z2[2] + z2[2],
                            )  # fmt: skip
                            h0 = h0 + k0
                            h1 = h1 + k1
                            h2 = h2 + k2
                            pn = pn + wp.cross(step_vector, pf)

                        # What the base must push with; the reaction is what the follicle feels.
                        fn = pn
                        ff = pf
                        if moving:
                            fn = (
                                fn
                                + sym_times(ii, base_spin_rate)
                                + V3(
                                    wp.dot(h0, base_acceleration),
                                    wp.dot(h1, base_acceleration),
                                    wp.dot(h2, base_acceleration),
                                )
                            )
                            ff = (
                                ff
                                + base_spin_rate[0] * h0
                                + base_spin_rate[1] * h1
                                + base_spin_rate[2] * h2
                                + sym_times(mm, base_acceleration)
                            )

                        # Accelerations, base to tip.
                        alpha = base_spin_rate
                        linear = base_acceleration + wp.cross(alpha, stub_vector)
                        changed = int(0)
                        rough = int(0)
                        hasty = Real(0.0)
                        for i in range(n):
                            linear = linear + biases_linear[i]
                            alpha = alpha + biases_angular[i]
                            u = drives[i]
                            u1 = (
                                u[0]
                                - wp.dot(u1ns[i], alpha)
                                - wp.dot(u1fs[i], linear)
                            )
                            u2 = (
                                u[1]
                                - wp.dot(u2ns[i], alpha)
                                - wp.dot(u2fs[i], linear)
                            )
                            inverse = inverses[i]
                            dd1 = inverse[0] * u1 + inverse[1] * u2
                            dd2 = inverse[1] * u1 + inverse[2] * u2
                            accelerations[i] = V2(dd1, dd2)
                            alpha = alpha + dd1 * axes1[i] + dd2 * axes2[i]
                            t = tangents[i]
                            found = contacts[i]
                            if found > 0:
                                lever = levers[i]
                                normal = normals[i]
                                own = (
                                    velocities[i]
                                    + h * linear
                                    + wp.cross(spins[i] + h * alpha, lever)
                                )
                                gap = gaps[i] + h * wp.dot(normal, own)
                                load = wp.max(-rods.geometry[whisker, i][3] * gap, Real(0.0))
                                drags_next[i] = Real(0.0)
                                if found == 2:
                                    # Coulomb: drag times slip speed is friction times load.
                                    limit = scene.friction * load
                                    slip = own - surfaces[i]
                                    slip = slip - wp.dot(slip, normal) * normal
                                    speed = wp.length(slip)
                                    wanted = limit / wp.max(speed, scene.creep_speed)
                                    drags_next[i] = wanted
                                    if gap > Real(0.0):
                                        contacts[i] = 1
                                        changed = 1
                                    elif wp.abs(wanted - drags[i]) > scene.friction_error * wanted:
                                        rough = 1
                                        used = drags[i]
                                        slowness = Real(1.0) / wp.max(speed, Real(1.0e-9))
                                        if slowness_before[i] >= Real(0.0) and used != drags_before[i]:
                                            # 1 / speed is linear in drag for a single contact.
                                            slope = (slowness - slowness_before[i]) / (
                                                used - drags_before[i]
                                            )
                                            rest = slowness - slope * used
                                            share = Real(1.0) - limit * slope
                                            most = limit / scene.creep_speed
                                            if rest > Real(0.0) and slope > Real(0.0):
                                                wanted = most
                                                if share * most > limit * rest:
                                                    wanted = limit * rest / share
                                        drags_before[i] = used
                                        slowness_before[i] = slowness
                                        drags[i] = wanted
                                elif gap < Real(0.0):
                                    contacts[i] = 2
                                    changed = 1
                            linear = linear + wp.cross(alpha, rods.geometry[whisker, i][0] * t)
                            hasty = wp.max(hasty, wp.length_sq(linear))
                        swaps = swaps + changed
                        if changed + rough == 0:
                            break

                    span = Real(fine) * Real(n_coarse)
                    calm = int(0)
                    # A contact that begins, rather than moves over a joint, is met in fine steps.
                    for i in range(n):
                        if contacts[i] == 2 and held[i] != 2:
                            known = int(0)
                            if i > 0:
                                if held[i - 1] == 2:
                                    known = 1
                            if i < n - 1:
                                if held[i + 1] == 2:
                                    known = 1
                            if known == 0:
                                swaps = swaps + 1
                    if swaps == 0 and n_coarse > 1:
                        if hasty * span * span < scene.calm_speed * scene.calm_speed:
                            calm = 1
                    if stride > 1 and calm == 0:
                        continue  # not calm after all: the same time again, in fine steps

                    # --- advance -----------------------------------------------------------------
                    broken = int(0)
                    for i in range(n):
                        r = rates[i] + h * accelerations[i]
                        a = angles[i] + h * r
                        fast = wp.max(wp.abs(r[0]), wp.abs(r[1]))
                        wide = wp.max(wp.abs(a[0]), wp.abs(a[1]))
                        if not (fast < Real(MAX_RATE_RAD_PER_MS)):
                            broken = 1
                        if wide > Real(MAX_ANGLE_RAD):
                            limit = Real(MAX_ANGLE_RAD)
                            a = V2(wp.clamp(a[0], -limit, limit), wp.clamp(a[1], -limit, limit))
                            r = zero2
                            output.flags[sweep, whisker] = output.flags[sweep, whisker] | wp.static(FLAG_ANGLE_CAPPED)
                        rates[i] = r
                        angles[i] = a
                        kept[i] = Real(0.0)
                        if contacts[i] == 2:
                            kept[i] = drags_next[i]
                        held[i] = contacts[i]
                        if contacts[i] == 2:
                            touched = 1
                    if broken == 1:
                        output.flags[sweep, whisker] = output.flags[sweep, whisker] | wp.static(FLAG_RESET)
                        for i in range(n):
                            rates[i] = zero2
                            angles[i] = zero2
                            kept[i] = Real(0.0)
                        fn = zero3
                        ff = zero3
                    elif moving:
                        # The clamped stub rides on the base.
                        along = stub_vector / wp.max(stub[0], Real(1.0e-9))
                        sway = wp.cross(base_spin_rate, along) + wp.cross(
                            base_spin, wp.cross(base_spin, along)
                        )
                        ff = ff + stub[3] * base_acceleration + stub[1] * sway
                        fn = (
                            fn
                            + stub[1] * wp.cross(along, base_acceleration)
                            + stub[2] * wp.cross(along, sway)
                        )
                    step = step + stride
                    if output.average == 1 or step == n_steps:
                        weight = Real(1.0)
                        if output.average == 1:
                            weight = Real(stride)
                        force_sum = force_sum - weight * (wp.transpose(base_rotation) * ff)
                        moment_sum = moment_sum - weight * (wp.transpose(base_rotation) * fn)
                        force_world = force_world - weight * ff
                        moment_world = moment_world - weight * fn

            # --- end of the frame: write, and rest if nothing moves --------------------------------
            share = Real(1.0)
            if output.average == 1:
                share = Real(1.0) / Real(n_steps)
            out = frame
            f3 = share * force_sum
            m3 = share * moment_sum
            output.force_base[sweep, out, whisker] = wp.vec3(
                wp.float32(f3[0]), wp.float32(f3[1]), wp.float32(f3[2])
            )
            output.moment_base[sweep, out, whisker] = wp.vec3(
                wp.float32(m3[0]), wp.float32(m3[1]), wp.float32(m3[2])
            )
            if output.world == 1:
                f3 = share * force_world
                m3 = share * moment_world
                output.force_world[sweep, out, whisker] = wp.vec3(
                    wp.float32(f3[0]), wp.float32(f3[1]), wp.float32(f3[2])
                )
                output.moment_world[sweep, out, whisker] = wp.vec3(
                    wp.float32(m3[0]), wp.float32(m3[1]), wp.float32(m3[2])
                )
            output.contact[sweep, out, whisker] = wp.uint8(touched)
            if moving:
                stale = 1
            elif resting_now == 0:
                if touched == 0:
                    quiet = int(1)
                    limit = rods.rest_force[whisker]
                    for i in range(n):
                        a = angles[i]
                        r = rates[i]
                        spring = rods.spring[whisker, i]
                        strain = wp.max(wp.abs(a[0]), wp.abs(a[1])) * spring[0]
                        flow = wp.max(wp.abs(r[0]), wp.abs(r[1])) * spring[1]
                        if strain + flow > limit:
                            quiet = 0
                    if quiet == 1 and scene.skip == 1:
                        for i in range(n):
                            angles[i] = zero2
                            rates[i] = zero2
                            kept[i] = Real(0.0)
                        resting_now = 1
                        stale = 1
            elif stale == 0 and scene.skip == 1 and sleep_frames == 0:
                least = Real(1.0e6)
                for i in range(n):
                    least = wp.min(least, clearances[i])
                travel = scene.speed_bound[sweep] * Real(scene.frame_ms)
                if travel <= Real(0.0):
                    if least > Real(0.0):
                        sleep_frames = frame_count
                elif least > travel:
                    sleep_frames = wp.min(wp.int32(least / travel), 1000000)
                    for i in range(n):
                        clearances[i] = clearances[i] - Real(sleep_frames) * travel
            if output.nodes == 1:
                origin = base64
                b = wp.vec3(wp.float32(origin[0]), wp.float32(origin[1]), wp.float32(origin[2]))
                output.node[sweep, out, whisker, 0] = b
                for i in range(n + 1):
                    p = positions[i]
                    output.node[sweep, out, whisker, i + 1] = b + wp.vec3(
                        wp.float32(p[0]), wp.float32(p[1]), wp.float32(p[2])
                    )

    return {
        "Rods": Rods, "Scene": Scene, "Output": Output, "advance": advance,
        "V2": V2, "V3": V3, "V4": V4,
    }  # fmt: skip
