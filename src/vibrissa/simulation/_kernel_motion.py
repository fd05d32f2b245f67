# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
"""Where the moving bases and objects are: cubics through knots, evaluated in float64.

Time and place are float64 here, because small differences of large numbers are taken; what is seen
from the base of a whisker is small enough for the floating-point type of the kernel.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from vibrissa.simulation._kernel_types import make_types


@cache
def make_motion(real: Any) -> SimpleNamespace:
    """Structures and functions for ``wp.float32`` or ``wp.float64``."""
    Real = real
    types = make_types(real)
    V3 = types.V3
    M33 = types.M33
    Scene = types.Scene

    @wp.func
    def hermite(
        a: wp.vec3d, b: wp.vec3d, da: wp.vec3d, db: wp.vec3d, x: wp.float64, dt: wp.float64
    ):
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
    def hermite4(
        a: wp.vec4d, b: wp.vec4d, da: wp.vec4d, db: wp.vec4d, x: wp.float64, dt: wp.float64
    ):
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
            Real(one - two * (y * y + z * z)),
            Real(two * (x * y - w * z)),
            Real(two * (x * z + w * y)),
            Real(two * (x * y + w * z)),
            Real(one - two * (x * x + z * z)),
            Real(two * (y * z - w * x)),
            Real(two * (x * z - w * y)),
            Real(two * (y * z + w * x)),
            Real(one - two * (x * x + y * y)),
        )

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
    class Pose:
        """Where an object is, as seen from the base of the whisker."""

        turn: M33
        position: V3
        velocity: V3
        spin: V3

    @wp.func
    def pose_of(scene: Scene, sweep: wp.int32, slot: wp.int32, time: wp.float64, base: wp.vec3d):
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

    @wp.struct
    class Base:
        """Where the base of a whisker is and how it moves, in world axes."""

        position: wp.vec3d
        rotation: M33
        velocity: V3
        spin: V3
        spin_rate: V3  # mean over the coming step
        acceleration: V3  # likewise

    @wp.func
    def fixed_base(scene: Scene, motion: wp.int32, whisker: wp.int32):
        base = Base()
        base.position = scene.base_position[motion, whisker, 0]
        base.rotation = rotation_of(scene.base_turn[motion, whisker, 0])
        return base

    @wp.func
    def base_of(
        scene: Scene, motion: wp.int32, whisker: wp.int32, time: wp.float64, dt: wp.float64
    ):
        """A moving base at a time, before a step of ``dt``."""
        span = scene.knot_ms
        knot = wp.min(wp.int32(time / span), scene.base_position.shape[2] - 2)
        x = time / span - wp.float64(knot)
        p0 = scene.base_position[motion, whisker, knot]
        p1 = scene.base_position[motion, whisker, knot + 1]
        v0 = scene.base_velocity[motion, whisker, knot]
        v1 = scene.base_velocity[motion, whisker, knot + 1]
        q0 = scene.base_turn[motion, whisker, knot]
        q1 = scene.base_turn[motion, whisker, knot + 1]
        r0 = scene.base_turn_rate[motion, whisker, knot]
        r1 = scene.base_turn_rate[motion, whisker, knot + 1]
        turn = hermite4(q0, q1, r0, r1, x, span)
        now_v = hermite_slope(p0, p1, v0, v1, x, span)
        # Mean acceleration over the step, so that the velocity at the end fits.
        x2 = x + dt / span
        next_v = hermite_slope(p0, p1, v0, v1, x2, span)
        next_turn = hermite4(q0, q1, r0, r1, x2, span)
        next_rate = hermite4_slope(q0, q1, r0, r1, x2, span)
        base = Base()
        base.position = hermite(p0, p1, v0, v1, x, span)
        base.rotation = rotation_of(turn)
        base.velocity = to_real(now_v)
        base.spin = spin_of(turn, hermite4_slope(q0, q1, r0, r1, x, span))
        base.spin_rate = (spin_of(next_turn, next_rate) - base.spin) / Real(dt)
        base.acceleration = to_real((next_v - now_v) / dt)
        return base

    return SimpleNamespace(
        Pose=Pose, pose_of=pose_of, Base=Base, fixed_base=fixed_base, base_of=base_of
    )
