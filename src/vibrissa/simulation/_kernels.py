# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
# ruff: noqa: RUF046, SIM102, UP018
# In Warp int(0) is a variable where 0 is a constant, and "and" evaluates both of its sides.
"""The rod solver: one thread advances one whisker of one sweep through a run of frames.

Units inside are mm, mg, ms (force mN, moment mN mm), which keeps every magnitude near one and so
float32 safe. Vectors are in world axes; the origin is the moving base of the whisker, so that
positions are exact where the whisker is stiff.

``make_kernel`` builds the kernel for a floating-point type and a size of whisker. Its parts are in
``_kernel_types`` (what is read, written and kept), ``_kernel_motion`` (bases and objects),
``_kernel_fields`` (distance of a link from an object), ``_kernel_contacts`` (which links touch),
``_kernel_bodies`` and ``_kernel_dynamics`` (how the links move). The arrays of links on the
thread's own stack are passed as views, which a compiler sees through only where it sees both sides:
the functions that take them are inlined.
"""

from functools import cache
from typing import Any

import warp as wp

from vibrissa.simulation._kernel_bodies import make_bodies
from vibrissa.simulation._kernel_contacts import make_contacts
from vibrissa.simulation._kernel_dynamics import make_dynamics
from vibrissa.simulation._kernel_motion import make_motion
from vibrissa.simulation._kernel_types import make_types

FLAG_ANGLE_CAPPED = 1
FLAG_RESET = 2
CONTACT_PASSES = 4
"""First solve and at most three corrections of the active set and of friction."""


@cache
def make_kernel(real: Any, links: int, slots: int) -> dict[str, Any]:
    """The kernel ``advance`` and the types that its arguments are made of.

    Args:
        real: ``wp.float32`` or ``wp.float64``.
        links: moving links per whisker, at most.
        slots: objects per scene, at most.
    """
    Real = real
    NODES = wp.constant(links + 1)
    SLOTS = wp.constant(slots)
    types = make_types(real)
    motions = make_motion(real)
    touching = make_contacts(real)
    bodies = make_bodies(real)
    dynamics = make_dynamics(real)
    V3 = types.V3
    Rods = types.Rods
    Scene = types.Scene
    Output = types.Output
    Link = types.Link
    Touch = types.Touch
    Pose = motions.Pose
    fixed_base = motions.fixed_base
    base_of = motions.base_of
    find_contacts = touching.find_contacts
    is_pressed = touching.is_pressed
    contact_begins = touching.contact_begins
    start_friction = touching.start_friction
    frames_out_of_reach = touching.frames_out_of_reach
    Push = bodies.Push
    with_stub = bodies.with_stub
    place_links = dynamics.place_links
    gather = dynamics.gather
    accelerate = dynamics.accelerate
    turn_joints = dynamics.turn_joints
    is_quiet = dynamics.is_quiet
    put_to_rest = dynamics.put_to_rest

    @wp.func
    def single(v: V3):
        return wp.vec3(wp.float32(v[0]), wp.float32(v[1]), wp.float32(v[2]))

    @wp.kernel(module="unique", enable_backward=False)
    def advance(
        rods: Rods, scene: Scene, output: Output, frame_count: wp.int32, first_thread: wp.int32
    ):
        n_whiskers = output.contact.shape[2]
        thread = first_thread + wp.tid()
        sweep = thread // n_whiskers
        whisker = thread - sweep * n_whiskers
        n = rods.n_links[whisker]
        n_steps = rods.n_steps[whisker]
        n_coarse = rods.n_coarse[whisker]
        fine = rods.step_ms[whisker]
        motion = scene.motion[sweep]
        moving = scene.base_position.shape[2] > 1
        # Everything that a link carries lives on the thread's own stack.
        links = wp.zeros(shape=NODES, dtype=Link)
        touches = wp.zeros(shape=NODES, dtype=Touch)
        poses = wp.zeros(shape=SLOTS, dtype=Pose)
        zero = V3(Real(0.0), Real(0.0), Real(0.0))

        base = fixed_base(scene, motion, whisker)
        resting_now = scene.skip
        calm = int(0)
        stale = int(1)  # the places of a resting whisker are computed once
        sleep_frames = int(0)

        for frame in range(frame_count):
            force_sum = zero
            moment_sum = zero
            force_world = zero
            moment_world = zero
            touched = int(0)
            step = int(0)
            if sleep_frames > 0:
                sleep_frames = sleep_frames - 1
                step = n_steps
            while step < n_steps:
                # A pressing whisker that hardly accelerates takes one coarse, fully implicit step.
                stride = int(1)
                if calm == 1 and step % n_coarse == 0:
                    stride = n_coarse
                dt = fine * wp.float64(stride)
                h = Real(dt)
                time = wp.float64(frame) * scene.frame_ms + fine * wp.float64(step)
                resting = resting_now
                if moving:
                    base = base_of(scene, motion, whisker, time, dt)
                    resting = 0

                # --- where it is and what it touches ----------------------------------------------
                turn = base.rotation
                root = V3(turn[0, 0], turn[1, 0], turn[2, 0])
                stub_vector = rods.stub[whisker][0] * root
                if resting == 0 or stale == 1:
                    place_links(rods, links, whisker, base, stub_vector)
                    stale = 1 - resting
                near = find_contacts(
                    rods, scene, links, touches, poses, sweep, whisker, step, h, time + dt,
                    base.position, root,
                )  # fmt: skip
                if resting == 1:
                    if near == 0 or is_pressed(touches, n) == 0:
                        step = step + stride
                        continue
                    stale = 1
                    resting_now = 0
                if near == 1:
                    start_friction(touches, n)

                # --- solve, correct the active set and friction, solve again ----------------------
                push = Push()
                hasty = Real(0.0)
                swaps = int(0)
                for attempt in range(wp.static(CONTACT_PASSES)):
                    last = int(0)
                    if attempt == wp.static(CONTACT_PASSES) - 1:
                        last = 1
                    push = gather(rods, links, touches, whisker, base, stub_vector, h, stride)
                    verdict = accelerate(
                        rods, scene, links, touches, whisker, base, stub_vector, h, last
                    )
                    hasty = verdict.hasty
                    swaps = swaps + verdict.changed
                    if verdict.changed + verdict.rough == 0:
                        break

                span = Real(fine) * Real(n_coarse)
                calm = int(0)
                pressed = is_pressed(touches, n)
                # A free whisker rings, and its inertia is all that it feels: fine steps.
                if pressed == 1 and swaps == 0 and n_coarse > 1 and contact_begins(touches, n) == 0:
                    if hasty * span * span < scene.calm_speed * scene.calm_speed:
                        calm = 1
                if stride > 1 and calm == 0:
                    continue  # not calm after all: the same time again, in fine steps

                # --- advance ----------------------------------------------------------------------
                done = turn_joints(links, touches, n, h)
                if pressed == 1:
                    touched = 1
                if done.capped == 1:
                    output.flags[sweep, whisker] = output.flags[sweep, whisker] | wp.static(
                        FLAG_ANGLE_CAPPED
                    )
                if done.broken == 1:
                    output.flags[sweep, whisker] = output.flags[sweep, whisker] | wp.static(
                        FLAG_RESET
                    )
                    put_to_rest(links, touches, n)
                    push = Push()
                elif moving:
                    push = with_stub(push, rods, whisker, base, stub_vector)
                step = step + stride
                if output.average == 1 or step == n_steps:
                    weight = Real(1.0)
                    if output.average == 1:
                        weight = Real(stride)
                    # The follicle feels the reaction to what the base pushes with.
                    back = wp.transpose(base.rotation)
                    force_sum = force_sum - weight * (back * push.force)
                    moment_sum = moment_sum - weight * (back * push.moment)
                    force_world = force_world - weight * push.force
                    moment_world = moment_world - weight * push.moment

            # --- end of the frame: write, and rest if nothing moves -------------------------------
            share = Real(1.0)
            if output.average == 1:
                share = Real(1.0) / Real(n_steps)
            output.force_base[sweep, frame, whisker] = single(share * force_sum)
            output.moment_base[sweep, frame, whisker] = single(share * moment_sum)
            if output.world == 1:
                output.force_world[sweep, frame, whisker] = single(share * force_world)
                output.moment_world[sweep, frame, whisker] = single(share * moment_world)
            output.contact[sweep, frame, whisker] = wp.uint8(touched)
            if moving:
                stale = 1
            elif resting_now == 0:
                if touched == 0 and scene.skip == 1:
                    if is_quiet(rods, links, whisker, scene.rest_moment) == 1:
                        put_to_rest(links, touches, n)
                        resting_now = 1
                        stale = 1
            elif stale == 0 and scene.skip == 1 and sleep_frames == 0:
                travel = scene.speed_bound[sweep] * Real(scene.frame_ms)
                sleep_frames = frames_out_of_reach(touches, n, travel, frame_count)
            if output.nodes == 1:
                at = base.position
                origin = wp.vec3(wp.float32(at[0]), wp.float32(at[1]), wp.float32(at[2]))
                output.node[sweep, frame, whisker, 0] = origin
                for i in range(n + 1):
                    output.node[sweep, frame, whisker, i + 1] = origin + single(links[i].start)

    return {
        "Rods": Rods, "Scene": Scene, "Output": Output, "advance": advance,
        "V3": V3, "V4": types.V4,
    }  # fmt: skip
