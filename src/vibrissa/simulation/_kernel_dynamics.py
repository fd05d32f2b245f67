# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
# ruff: noqa: RUF046, UP018
# In Warp int(0) is a variable where 0 is a constant.
"""How a whisker moves: the articulated-body algorithm on a chain of links.

Featherstone 2008, Rigid Body Dynamics Algorithms, chapter 7, with the joint springs, dampers and
contacts taken implicitly into the articulated inertia; docs/physics.md derives it.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from vibrissa.simulation._kernel_bodies import make_bodies
from vibrissa.simulation._kernel_motion import make_motion
from vibrissa.simulation._kernel_types import NEAR, PRESSING, make_types

MAX_ANGLE_RAD = 1.5
MAX_RATE_RAD_PER_MS = 200.0


@cache
def make_dynamics(real: Any) -> SimpleNamespace:
    """Structures and functions for ``wp.float32`` or ``wp.float64``."""
    Real = real
    types = make_types(real)
    V2 = types.V2
    V3 = types.V3
    Rods = types.Rods
    Scene = types.Scene
    Link = types.Link
    Touch = types.Touch
    Base = make_motion(real).Base
    bodies = make_bodies(real)
    sym_times = bodies.sym_times
    sym_outer = bodies.sym_outer
    Body = bodies.Body
    with_bias = bodies.with_bias
    with_mass = bodies.with_mass
    with_contact = bodies.with_contact
    carried = bodies.carried
    push_of = bodies.push_of

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

    @wp.func(inline=True)
    def place_links(
        rods: Rods, links: wp.array(dtype=Link), whisker: wp.int32, base: Base, stub_vector: V3
    ):
        """Places and velocities from base to tip; the entry after the last link is the tip."""
        n = rods.n_links[whisker]
        turn = base.rotation
        tx = V3(turn[0, 0], turn[1, 0], turn[2, 0])
        ty = V3(turn[0, 1], turn[1, 1], turn[2, 1])
        tz = V3(turn[0, 2], turn[1, 2], turn[2, 2])
        spin = base.spin
        at = stub_vector
        swing = wp.cross(spin, stub_vector)  # velocity of the end of a link about its start
        velocity = base.velocity + swing
        for i in range(n):
            a = links[i].angles
            r = links[i].rates
            rest = rods.spring[whisker, i][2]
            c1 = small_cos(rest + a[0])
            s1 = small_sin(rest + a[0])
            c2 = small_cos(a[1])
            s2 = small_sin(a[1])
            links[i].axis1 = tz
            turn1 = r[0] * tz
            ux = c1 * tx + s1 * ty
            uy = c1 * ty - s1 * tx
            links[i].axis2 = uy
            tx = c2 * ux - s2 * tz
            tz = s2 * ux + c2 * tz
            ty = uy
            links[i].bias_linear = wp.cross(spin, swing)
            turn2 = r[1] * uy
            links[i].bias_angular = wp.cross(spin, turn1) + wp.cross(spin + turn1, turn2)
            spin = spin + turn1 + turn2
            links[i].spin = spin
            links[i].tangent = tx
            links[i].start = at
            links[i].velocity = velocity
            reach = rods.geometry[whisker, i][0] * tx
            swing = wp.cross(spin, reach)
            at = at + reach
            velocity = velocity + swing
        links[n].start = at
        links[n].velocity = velocity

    @wp.func(inline=True)
    def gather(
        rods: Rods,
        links: wp.array(dtype=Link),
        touches: wp.array(dtype=Touch),
        whisker: wp.int32,
        base: Base,
        stub_vector: V3,
        h: real,
        stride: wp.int32,
    ):
        """From tip to base, what each joint has to carry; what the base must push with."""
        n = rods.n_links[whisker]
        body = Body()
        for back in range(n):
            i = n - 1 - back
            body = with_bias(body, links[i], rods.inertia[whisker, i])
            if touches[i].state == PRESSING:
                body = with_contact(body, links[i], touches[i], rods.geometry[whisker, i][3], h)
            body = with_mass(body, links[i], rods.inertia[whisker, i])

            # Leave the joint free but for its spring and damper.
            spring = rods.spring[whisker, i]
            a = links[i].angles
            r = links[i].rates
            a1 = links[i].axis1
            a2 = links[i].axis2
            u1n = sym_times(body.ii, a1)
            u2n = sym_times(body.ii, a2)
            u1f = a1[0] * body.h0 + a1[1] * body.h1 + a1[2] * body.h2
            u2f = a2[0] * body.h0 + a2[1] * body.h1 + a2[2] * body.h2
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
            u1 = -spring[0] * a[0] - damping * r[0] - wp.dot(a1, body.pn)
            u2 = -spring[0] * a[1] - damping * r[1] - wp.dot(a2, body.pn)
            links[i].u1n = u1n
            links[i].u2n = u2n
            links[i].u1f = u1f
            links[i].u2f = u2f
            links[i].inverse = V3(i11, i12, i22)
            links[i].drive = V2(u1, u2)

            g1n = i11 * u1n + i12 * u2n
            g2n = i12 * u1n + i22 * u2n
            g1f = i11 * u1f + i12 * u2f
            g2f = i12 * u1f + i22 * u2f
            body.ii = body.ii - sym_outer(u1n, g1n) - sym_outer(u2n, g2n)
            body.mm = body.mm - sym_outer(u1f, g1f) - sym_outer(u2f, g2f)
            body.h0 = body.h0 - u1n[0] * g1f - u2n[0] * g2f
            body.h1 = body.h1 - u1n[1] * g1f - u2n[1] * g2f
            body.h2 = body.h2 - u1n[2] * g1f - u2n[2] * g2f
            ca3 = links[i].bias_angular
            cl3 = links[i].bias_linear
            body.pn = (
                body.pn
                + u1 * g1n
                + u2 * g2n
                + sym_times(body.ii, ca3)
                + V3(wp.dot(body.h0, cl3), wp.dot(body.h1, cl3), wp.dot(body.h2, cl3))
            )
            body.pf = (
                body.pf
                + u1 * g1f
                + u2 * g2f
                + ca3[0] * body.h0
                + ca3[1] * body.h1
                + ca3[2] * body.h2
                + sym_times(body.mm, cl3)
            )
            # Carry to the joint before, or to the base.
            if i > 0:
                before = links[i - 1].tangent
                body = carried(body, rods.geometry[whisker, i - 1][0] * before)
            else:
                body = carried(body, stub_vector)
        return push_of(body, base)

    @wp.func
    def revised_drag(touch: Touch, slowness: real, wanted: real, limit: real, creep_speed: real):
        """The drag to try next, such that drag times slip speed is the friction ``limit``.

        For a single contact 1 / speed is linear in drag, so that two solutions tell the third.

        Args:
            slowness: 1 / slip speed that came of ``touch.drag``.
            wanted: what Coulomb's law makes of this speed; the answer where there is no line yet.
        """
        drag = wanted
        if touch.slowness_before >= Real(0.0) and touch.drag != touch.drag_before:
            slope = (slowness - touch.slowness_before) / (touch.drag - touch.drag_before)
            rest = slowness - slope * touch.drag
            share = Real(1.0) - limit * slope
            most = limit / creep_speed
            if rest > Real(0.0) and slope > Real(0.0):
                drag = most
                if share * most > limit * rest:
                    drag = limit * rest / share
        return drag

    @wp.struct
    class Verdict:
        """What a solution makes of the contacts that it was made with."""

        changed: wp.int32  # a contact came or went
        rough: wp.int32  # friction is not yet Coulomb's
        hasty: real  # largest squared acceleration of a joint

    @wp.func(inline=True)
    def accelerate(
        rods: Rods,
        scene: Scene,
        links: wp.array(dtype=Link),
        touches: wp.array(dtype=Touch),
        whisker: wp.int32,
        base: Base,
        stub_vector: V3,
        h: real,
        last: wp.int32,
    ):
        """Accelerations from base to tip, and what the velocities after them make of contacts.

        The last solution is taken as it is: its contacts stay those that it was made with.
        """
        verdict = Verdict()
        alpha = base.spin_rate
        linear = base.acceleration + wp.cross(alpha, stub_vector)
        for i in range(rods.n_links[whisker]):
            linear = linear + links[i].bias_linear
            alpha = alpha + links[i].bias_angular
            u = links[i].drive
            u1 = u[0] - wp.dot(links[i].u1n, alpha) - wp.dot(links[i].u1f, linear)
            u2 = u[1] - wp.dot(links[i].u2n, alpha) - wp.dot(links[i].u2f, linear)
            inverse = links[i].inverse
            dd1 = inverse[0] * u1 + inverse[1] * u2
            dd2 = inverse[1] * u1 + inverse[2] * u2
            links[i].accelerations = V2(dd1, dd2)
            alpha = alpha + dd1 * links[i].axis1 + dd2 * links[i].axis2
            state = touches[i].state
            if state > 0:
                normal = touches[i].normal
                own = (
                    links[i].velocity
                    + h * linear
                    + wp.cross(links[i].spin + h * alpha, touches[i].lever)
                )
                gap = touches[i].gap + h * wp.dot(normal, own)
                load = wp.max(-rods.geometry[whisker, i][3] * gap, Real(0.0))
                touches[i].drag_next = Real(0.0)
                if state == PRESSING:
                    # Coulomb: drag times slip speed is friction times load.
                    limit = scene.friction * load
                    slip = own - touches[i].surface
                    slip = slip - wp.dot(slip, normal) * normal
                    speed = wp.length(slip)
                    wanted = limit / wp.max(speed, scene.creep_speed)
                    used = touches[i].drag
                    touches[i].drag_next = wanted
                    if gap > Real(0.0):
                        if last == 0:
                            touches[i].state = NEAR
                        verdict.changed = 1
                    elif wp.abs(wanted - used) > scene.friction_error * wanted:
                        verdict.rough = 1
                        slowness = Real(1.0) / wp.max(speed, Real(1.0e-9))
                        revised = revised_drag(
                            touches[i], slowness, wanted, limit, scene.creep_speed
                        )
                        touches[i].drag_before = used
                        touches[i].slowness_before = slowness
                        touches[i].drag = revised
                elif gap < Real(0.0):
                    if last == 0:
                        touches[i].state = PRESSING
                    verdict.changed = 1
            linear = linear + wp.cross(alpha, rods.geometry[whisker, i][0] * links[i].tangent)
            verdict.hasty = wp.max(verdict.hasty, wp.length_sq(linear))
        return verdict

    @wp.struct
    class Outcome:
        """What happened in a step."""

        capped: wp.int32  # a joint reached the largest angle
        broken: wp.int32  # a joint turned too fast, or is not a number

    @wp.func(inline=True)
    def look_afresh(touches: wp.array(dtype=Touch), n: wp.int32):
        """Forget how far off objects were: the whisker has leapt."""
        for i in range(n):
            touches[i].clearance = Real(0.0)
            touches[i].arc = Real(0.0)

    @wp.func(inline=True)
    def turn_joints(
        links: wp.array(dtype=Link), touches: wp.array(dtype=Touch), n: wp.int32, h: real
    ):
        """Move the joints through a step and remember its contacts."""
        done = Outcome()
        for i in range(n):
            r = links[i].rates + h * links[i].accelerations
            a = links[i].angles + h * r
            fast = wp.max(wp.abs(r[0]), wp.abs(r[1]))
            wide = wp.max(wp.abs(a[0]), wp.abs(a[1]))
            if not (fast < Real(MAX_RATE_RAD_PER_MS)):  # so that NaN counts
                done.broken = 1
            if wide > Real(MAX_ANGLE_RAD):
                limit = Real(MAX_ANGLE_RAD)
                a = V2(wp.clamp(a[0], -limit, limit), wp.clamp(a[1], -limit, limit))
                r = V2(Real(0.0), Real(0.0))
                done.capped = 1
            links[i].rates = r
            links[i].angles = a
            touches[i].kept = Real(0.0)
            if touches[i].state == PRESSING:
                touches[i].kept = touches[i].drag_next
            touches[i].held = touches[i].state
        if done.capped == 1:
            look_afresh(touches, n)
        return done

    @wp.func(inline=True)
    def is_quiet(rods: Rods, links: wp.array(dtype=Link), whisker: wp.int32, limit: real):
        """1 if no joint carries more than ``limit``."""
        quiet = int(1)
        for i in range(rods.n_links[whisker]):
            a = links[i].angles
            r = links[i].rates
            spring = rods.spring[whisker, i]
            strain = wp.max(wp.abs(a[0]), wp.abs(a[1])) * spring[0]
            flow = wp.max(wp.abs(r[0]), wp.abs(r[1])) * spring[1]
            if strain + flow > limit:
                quiet = 0
        return quiet

    @wp.func(inline=True)
    def put_to_rest(links: wp.array(dtype=Link), touches: wp.array(dtype=Touch), n: wp.int32):
        for i in range(n):
            links[i].angles = V2(Real(0.0), Real(0.0))
            links[i].rates = V2(Real(0.0), Real(0.0))
            touches[i].kept = Real(0.0)
            touches[i].held = 0
        look_afresh(touches, n)

    return SimpleNamespace(
        place_links=place_links, gather=gather, accelerate=accelerate,
        turn_joints=turn_joints, is_quiet=is_quiet, put_to_rest=put_to_rest,
    )  # fmt: skip
