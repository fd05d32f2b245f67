# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
"""What the rod kernel reads, writes and keeps per link: vectors and structures.

A length is in mm, a time in ms, a mass in mg; structures are made per floating-point type.
"""

from functools import cache
from types import SimpleNamespace
from typing import Any

import warp as wp

NEAR = 1
PRESSING = 2
"""States of a contact; 0 is none. Who is near is watched while a step is solved, who presses is
pushed back."""


@cache
def make_types(real: Any) -> SimpleNamespace:
    """Vectors and structures for ``wp.float32`` or ``wp.float64``."""
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
        offset: real  # objects are felt this far outside their surface
        friction: real
        creep_speed: real  # friction falls off linearly below this slip speed
        friction_error: real  # share by which friction may miss before a step is solved again
        skip: wp.int32  # leave out what cannot change anything
        rest_moment: real  # joint load below which a free whisker is put to rest
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
        average: wp.int32  # mean over the frame, or value at its end
        world: wp.int32  # whether to write force and moment in world axes
        nodes: wp.int32  # whether to write the nodes

    @wp.struct
    class Link:
        """One link and the joint at its start; an array of them is the state of a whisker.

        Vectors are in world axes, positions from the base. The joint turns about two axes.
        """

        angles: V2  # from rest
        rates: V2
        accelerations: V2
        axis1: V3
        axis2: V3
        tangent: V3
        start: V3
        velocity: V3  # of the start
        spin: V3
        bias_angular: V3  # acceleration that the joint before adds at the present rates
        bias_linear: V3
        u1n: V3  # articulated inertia times the joint axes, moments and forces
        u1f: V3
        u2n: V3
        u2f: V3
        inverse: V3  # of the 2 x 2 joint inertia: 11, 12, 22
        drive: V2  # what is left to accelerate the joint

    @wp.struct
    class Touch:
        """The one contact that a link may have, and what is remembered of it."""

        state: wp.int32  # 0, NEAR or PRESSING
        held: wp.int32  # the state after the last step
        lever: V3  # from the start of the link
        gap: real
        normal: V3
        surface: V3  # velocity of the object there
        drag: real  # friction over slip speed in the present solution
        drag_next: real  # what Coulomb's law makes of that solution
        drag_before: real  # of the solution before, for the secant
        slowness_before: real  # 1 / slip speed there; negative: no solution before
        kept: real  # drag after the last step
        clearance: real  # the link is farther than this from any object
        arc: real  # where the last contact was along the link; not positive: nowhere

    return SimpleNamespace(
        V2=V2, V3=V3, V4=V4, S6=S6, M33=M33,
        Rods=Rods, Scene=Scene, Output=Output, Link=Link, Touch=Touch,
    )  # fmt: skip
