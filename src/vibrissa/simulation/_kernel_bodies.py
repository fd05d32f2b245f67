# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
"""Articulated bodies: the part of a whisker from a joint to the tip, as that joint feels it."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from vibrissa.simulation._kernel_motion import make_motion
from vibrissa.simulation._kernel_types import make_types


@cache
def make_bodies(real: Any) -> SimpleNamespace:
    """Structures and functions for ``wp.float32`` or ``wp.float64``."""
    Real = real
    types = make_types(real)
    V3 = types.V3
    V4 = types.V4
    S6 = types.S6
    Rods = types.Rods
    Link = types.Link
    Touch = types.Touch
    Base = make_motion(real).Base

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

    @wp.struct
    class Body:
        """Articulated inertia about a joint, and the bias that comes with it."""

        ii: S6  # moment per angular acceleration
        mm: S6  # force per acceleration
        h0: V3  # rows of moment per acceleration; transposed, of force per angular acceleration
        h1: V3
        h2: V3
        pn: V3  # moment without acceleration
        pf: V3  # force without acceleration

    @wp.func(inline=True)
    def with_bias(body: Body, link: Link, inertia: V4):
        """With what a slender symmetric link, whose start is the joint, resists by turning."""
        t = link.tangent
        w = link.spin
        moment = inertia[1]
        roll = wp.dot(w, t)
        body.pn = body.pn - (inertia[3] * roll) * wp.cross(w, t)
        body.pf = body.pf + moment * (roll * w - wp.dot(w, w) * t)
        return body

    @wp.func(inline=True)
    def with_mass(body: Body, link: Link, inertia: V4):
        """With the inertia of that link."""
        t = link.tangent
        body.ii = body.ii + sym_unit(inertia[2]) - inertia[3] * sym_outer(t, t)
        body.mm = body.mm + sym_unit(inertia[0])
        c = inertia[1] * t
        body.h0 = body.h0 + V3(Real(0.0), -c[2], c[1])
        body.h1 = body.h1 + V3(c[2], Real(0.0), -c[0])
        body.h2 = body.h2 + V3(-c[1], c[0], Real(0.0))
        return body

    @wp.func(inline=True)
    def with_contact(body: Body, link: Link, touch: Touch, stiffness: real, h: real):
        """With a contact, as it will press and rub at the end of the step."""
        lever = touch.lever
        normal = touch.normal
        own = link.velocity + wp.cross(link.spin, lever)
        penalty = -stiffness * (touch.gap + h * wp.dot(normal, own))
        slip = own - touch.surface
        slip = slip - wp.dot(slip, normal) * normal
        pull = penalty * normal - touch.drag * slip
        body.pn = body.pn - wp.cross(lever, pull)
        body.pf = body.pf - pull
        arm = wp.cross(lever, normal)
        net = h * h * stiffness - h * touch.drag
        body.ii = body.ii + net * sym_outer(arm, arm)
        body.mm = body.mm + net * sym_outer(normal, normal)
        body.h0 = body.h0 + (net * arm[0]) * normal
        body.h1 = body.h1 + (net * arm[1]) * normal
        body.h2 = body.h2 + (net * arm[2]) * normal
        # Drag without direction, from which the normal's part is gone.
        drag = h * touch.drag
        c = drag * lever
        body.ii = body.ii + sym_unit(wp.dot(c, lever)) - sym_outer(c, lever)
        body.mm = body.mm + sym_unit(drag)
        body.h0 = body.h0 + V3(Real(0.0), -c[2], c[1])
        body.h1 = body.h1 + V3(c[2], Real(0.0), -c[0])
        body.h2 = body.h2 + V3(-c[1], c[0], Real(0.0))
        return body

    @wp.func(inline=True)
    def carried(body: Body, reach: V3):
        """The same about a point from which its joint is ``reach`` away."""
        mm = body.mm
        m0 = V3(mm[0], mm[1], mm[2])
        m1 = V3(mm[1], mm[3], mm[4])
        m2 = V3(mm[2], mm[4], mm[5])
        k0 = reach[1] * m2 - reach[2] * m1
        k1 = reach[2] * m0 - reach[0] * m2
        k2 = reach[0] * m1 - reach[1] * m0
        z0 = wp.cross(reach, body.h0 + Real(0.5) * k0)
        z1 = wp.cross(reach, body.h1 + Real(0.5) * k1)
        z2 = wp.cross(reach, body.h2 + Real(0.5) * k2)
        body.ii = body.ii + S6(
            z0[0] + z0[0], z0[1] + z1[0], z0[2] + z2[0],
            z1[1] + z1[1], z1[2] + z2[1], z2[2] + z2[2],
        )  # fmt: skip
        body.h0 = body.h0 + k0
        body.h1 = body.h1 + k1
        body.h2 = body.h2 + k2
        body.pn = body.pn + wp.cross(reach, body.pf)
        return body

    @wp.struct
    class Push:
        """Moment about the base and force."""

        moment: V3
        force: V3

    @wp.func(inline=True)
    def push_of(body: Body, base: Base):
        """What the base must push with; the reaction is what the follicle feels."""
        alpha = base.spin_rate
        linear = base.acceleration
        push = Push()
        push.moment = (
            body.pn
            + sym_times(body.ii, alpha)
            + V3(wp.dot(body.h0, linear), wp.dot(body.h1, linear), wp.dot(body.h2, linear))
        )
        push.force = (
            body.pf
            + alpha[0] * body.h0
            + alpha[1] * body.h1
            + alpha[2] * body.h2
            + sym_times(body.mm, linear)
        )
        return push

    @wp.func(inline=True)
    def with_stub(push: Push, rods: Rods, whisker: wp.int32, base: Base, stub_vector: V3):
        """The push with what the clamped stub takes, which rides on the base."""
        stub = rods.stub[whisker]
        along = stub_vector / wp.max(stub[0], Real(1.0e-9))
        sway = wp.cross(base.spin_rate, along) + wp.cross(base.spin, wp.cross(base.spin, along))
        total = Push()
        total.force = push.force + stub[3] * base.acceleration + stub[1] * sway
        total.moment = (
            push.moment
            + stub[1] * wp.cross(along, base.acceleration)
            + stub[2] * wp.cross(along, sway)
        )
        return total

    return SimpleNamespace(
        sym_times=sym_times, sym_outer=sym_outer, Body=Body, Push=Push,
        with_bias=with_bias, with_contact=with_contact, with_mass=with_mass, carried=carried,
        push_of=push_of, with_stub=with_stub,
    )  # fmt: skip
