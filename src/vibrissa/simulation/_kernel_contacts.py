# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
# ruff: noqa: RUF046, SIM102, UP018
# In Warp int(0) is a variable where 0 is a constant, and "and" evaluates both of its sides.
"""Which links touch: one contact per local minimum of the distance along the whisker."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from vibrissa.simulation._kernel_fields import make_fields
from vibrissa.simulation._kernel_motion import make_motion
from vibrissa.simulation._kernel_types import NEAR, PRESSING, make_types


@cache
def make_contacts(real: Any) -> SimpleNamespace:
    """Functions for ``wp.float32`` or ``wp.float64``."""
    Real = real
    types = make_types(real)
    motion = make_motion(real)
    fields = make_fields(real)
    V3 = types.V3
    Rods = types.Rods
    Scene = types.Scene
    Link = types.Link
    Touch = types.Touch
    Pose = motion.Pose
    pose_of = motion.pose_of
    grid_of = fields.grid_of
    sample = fields.sample
    normal_at = fields.normal_at
    Curve = fields.Curve
    felt_point = fields.felt_point
    followed = fields.followed
    searched = fields.searched

    @wp.func(inline=True)
    def curve_of(
        rods: Rods,
        offset: real,
        links: wp.array(dtype=Link),
        whisker: wp.int32,
        i: wp.int32,
        root: V3,
    ):
        """Link ``i`` as it is felt, in world axes."""
        geometry = rods.geometry[whisker, i]
        curve = Curve()
        curve.start = links[i].start
        curve.tangent = links[i].tangent
        curve.length = geometry[0]
        curve.shrink = offset + geometry[1]
        curve.taper = (geometry[2] - geometry[1]) / geometry[0]
        curve.reach0 = rods.spring[whisker, i][3]
        curve.reach1 = Real(0.5) * geometry[0]
        if i > 0:
            curve.bend0 = links[i].tangent - links[i - 1].tangent
        else:
            curve.bend0 = links[i].tangent - root
        if i < rods.n_links[whisker] - 1:
            curve.reach1 = rods.spring[whisker, i + 1][3]
            curve.bend1 = links[i + 1].tangent - links[i].tangent
        return curve

    @wp.func(inline=True)
    def touched_at(
        scene: Scene, grid_field: wp.int32, curve: Curve, arc: real, pose: Pose, link: Link,
        touch: Touch, h: real,
    ):  # fmt: skip
        """The touch with its contact at a place along the link, if that is near the object."""
        lever = felt_point(curve, arc)
        away = curve.start + lever - pose.position
        y = wp.transpose(pose.turn) * away
        grid = grid_of(scene, grid_field)
        gap = sample(scene.distance, grid, y) - curve.shrink - curve.taper * arc
        # The object already stands where it will be when the step ends, so only the whisker's own
        # velocity closes the gap.
        own = link.velocity + wp.cross(link.spin, lever)
        found = touch
        if gap < Real(0.02) + h * wp.length(own):
            found.normal = pose.turn * normal_at(scene.distance, grid, y)
            found.state = NEAR
            if gap + h * wp.dot(found.normal, own) < Real(0.0):
                found.state = PRESSING
            if arc < curve.length:
                found.arc = arc
            found.lever = lever
            found.gap = gap
            found.surface = pose.velocity + wp.cross(pose.spin, away)
        return found

    @wp.func(inline=True)
    def find_contacts(
        rods: Rods,
        scene: Scene,
        links: wp.array(dtype=Link),
        touches: wp.array(dtype=Touch),
        poses: wp.array(dtype=Pose),
        sweep: wp.int32,
        whisker: wp.int32,
        step: wp.int32,
        h: real,
        end: wp.float64,
        base: wp.vec3d,
        root: V3,
    ):
        """Set the touches for a step that ends at ``end``; whether any link is near an object.

        A link is looked at again only when its clearance may have been used up.
        """
        n = rods.n_links[whisker]
        n_slots = scene.field.shape[1]
        near = int(0)
        placed = int(0)
        end_is_lowest = int(0)
        end_taken = int(0)
        speed = wp.length(links[0].velocity)
        for i in range(n):
            speed_end = wp.length(links[i + 1].velocity)
            clearance = touches[i].clearance - h * (
                Real(1.02) * wp.max(speed, speed_end) + scene.speed_bound[sweep]
            )
            speed = speed_end
            touches[i].state = 0
            if clearance > Real(0.0) and scene.skip == 1:
                touches[i].clearance = clearance
                end_is_lowest = 0
                end_taken = 0
                continue
            if placed == 0:
                for slot in range(n_slots):
                    if scene.field[sweep, slot] >= 0:
                        poses[slot] = pose_of(scene, sweep, slot, end, base)
                placed = 1
            curve = curve_of(rods, scene.offset, links, whisker, i, root)
            length = curve.length
            bow = Real(0.125) * length * (wp.length(curve.bend0) + wp.length(curve.bend1))
            best = Real(1.0e6)
            bound = Real(1.0e6)
            slot_hit = int(-1)
            arc_hit = Real(0.0)
            first_slot = int(0)
            # Look where the contact was, but afresh at least once per frame.
            old_arc = touches[i].arc
            if old_arc > Real(0.0) and step > 0 and n_slots == 1:
                grid = grid_of(scene, scene.field[sweep, 0])
                same = followed(scene.distance, grid, curve, poses[0], old_arc)
                if same.found == 1:
                    slot_hit = 0
                    arc_hit = same.arc
                    bound = same.bound
                    first_slot = 1
            touches[i].arc = Real(-1.0)
            for slot in range(first_slot, n_slots):
                field = scene.field[sweep, slot]
                if field >= 0:
                    grid = grid_of(scene, field)
                    lowest = searched(scene.distance, grid, curve, poses[slot], bow, best)
                    bound = wp.min(bound, lowest.bound)
                    if lowest.found == 1:
                        best = lowest.gap
                        slot_hit = slot
                        arc_hit = lowest.arc
            touches[i].clearance = wp.max(bound - Real(0.02), Real(0.0))
            # A joint is a minimum only if the links on both of its sides fall to it; the link
            # behind it then has the contact.
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
            # A link that presses keeps its contact while it has a point to offer: near a tangent
            # touch the lowest point would else leap between links.
            if slot_hit >= 0 and touches[i].held == PRESSING:
                minimum = 1
            if end_taken == 1 and arc_hit <= Real(0.0):
                minimum = 0
            end_taken = 0
            if minimum == 1 and arc_hit >= length:
                end_taken = 1
            if minimum == 1:
                touches[i] = touched_at(
                    scene, scene.field[sweep, slot_hit], curve, arc_hit, poses[slot_hit],
                    links[i], touches[i], h,
                )  # fmt: skip
                if touches[i].state > 0:
                    near = 1
        return near

    @wp.func(inline=True)
    def is_pressed(touches: wp.array(dtype=Touch), n: wp.int32):
        """1 if any link presses."""
        pressed = int(0)
        for i in range(n):
            if touches[i].state == PRESSING:
                pressed = 1
        return pressed

    @wp.func(inline=True)
    def contact_begins(touches: wp.array(dtype=Touch), n: wp.int32):
        """1 if a link presses that did not, nor a neighbour from which the contact has moved."""
        begins = int(0)
        for i in range(n):
            if touches[i].state == PRESSING and touches[i].held != PRESSING:
                known = int(0)
                if i > 0:
                    if touches[i - 1].held == PRESSING:
                        known = 1
                if i < n - 1:
                    if touches[i + 1].held == PRESSING:
                        known = 1
                if known == 0:
                    begins = 1
        return begins

    @wp.func(inline=True)
    def start_friction(touches: wp.array(dtype=Touch), n: wp.int32):
        """Friction starts from the drag that the contact had, or that a neighbour had from which it
        has just moved over a joint."""
        for i in range(n):
            if touches[i].state > 0:
                drag = touches[i].kept
                if touches[i].held == 0:
                    drag = Real(0.0)
                    if i > 0:
                        if touches[i - 1].state == 0:
                            drag = touches[i - 1].kept
                    if i < n - 1:
                        if touches[i + 1].state == 0:
                            drag = wp.max(drag, touches[i + 1].kept)
                touches[i].drag = drag
                touches[i].slowness_before = Real(-1.0)

    @wp.func(inline=True)
    def frames_out_of_reach(
        touches: wp.array(dtype=Touch), n: wp.int32, travel: real, frame_count: wp.int32
    ):
        """Frames for which nothing can reach a resting whisker, if objects ``travel`` this far in
        a frame; what they may come nearer meanwhile is taken off the clearances."""
        least = Real(1.0e6)
        for i in range(n):
            least = wp.min(least, touches[i].clearance)
        frames = int(0)
        if travel <= Real(0.0):
            if least > Real(0.0):
                frames = frame_count
        elif least > travel:
            frames = wp.min(wp.int32(least / travel), 1000000)
            for i in range(n):
                touches[i].clearance = touches[i].clearance - Real(frames) * travel
        return frames

    return SimpleNamespace(
        find_contacts=find_contacts, is_pressed=is_pressed,
        contact_begins=contact_begins, start_friction=start_friction,
        frames_out_of_reach=frames_out_of_reach,
    )  # fmt: skip
