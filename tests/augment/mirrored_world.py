# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Whole scenes, whiskers and head mirrored, or played backward: what augmentations must equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.resampling import Recording
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.whisker import Whisker
from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.engine import RodEngine
from vibrissa.simulation.motion import SampledMotion, UniformMotion
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig
from vibrissa.simulation.sweep import rotate_loads

AXES = "xyz"  # of the world: right, rostral, dorsal


def reflection(axis: str) -> np.ndarray:
    """The matrix that turns one coordinate's sign."""
    flip = np.ones(3)
    flip[AXES.index(axis)] = -1.0
    return np.diag(flip)


def mirrored_name(name: str, axis: str) -> str:
    """Left-right changes the side, up-down the row, front-back the column."""
    side, row, column = name[0], name[1], int(name[2:])
    if axis == "x":
        side = "RL"["LR".index(side)]
    elif axis == "z":
        row = "EDCBA"["ABCDE".index(row)]
    else:
        column = 6 - column
    return f"{side}{row}{column}"


def mirrored_array(array: WhiskerArray, axis: str) -> WhiskerArray:
    """The mirror image of every whisker: x and y of its frame mirrored, z = x cross y."""
    flip = reflection(axis)

    def image(whisker: Whisker) -> Whisker:
        x, y = flip @ whisker.base_rotation[:, 0], flip @ whisker.base_rotation[:, 1]
        return replace(
            whisker,
            name=mirrored_name(whisker.name, axis),
            base_position_mm=flip @ whisker.base_position_mm,
            base_rotation=np.stack([x, y, np.cross(x, y)], axis=1),
        )

    return array.with_whiskers([image(whisker) for whisker in array])


def mirrored_scene(scene: Scene, axis: str) -> Scene:
    """Head, objects and their motions mirrored about a plane of the world."""
    flip = reflection(axis)

    def motion(given: UniformMotion) -> UniformMotion:
        return UniformMotion(
            position_mm=flip @ given.position_mm,
            velocity_mm_per_s=flip @ given.velocity_mm_per_s,
            rotation=flip @ given.rotation @ flip,
            spin_rad_per_s=-flip @ given.spin_rad_per_s,  # a pseudo-vector
        )

    def shape(given: TactileObject) -> TactileObject:
        return TactileObject(
            f"{given.name} {axis}", given.label, given.vertices_mm @ flip, given.faces[:, ::-1]
        )

    objects = tuple(
        PlacedObject(shape=shape(placed.shape), motion=motion(placed.motion))
        for placed in scene.objects
    )
    return replace(scene, objects=objects, head=motion(scene.head))


def backward(scene: Scene) -> Scene:
    """The same motion from its end to its beginning, without spin."""
    objects = []
    for placed in scene.objects:
        motion = placed.motion
        assert not motion.spin_rad_per_s.any()
        end = motion.position_mm + scene.duration_s * motion.velocity_mm_per_s
        back = replace(motion, position_mm=end, velocity_mm_per_s=-motion.velocity_mm_per_s)
        objects.append(replace(placed, motion=back))
    return replace(scene, objects=tuple(objects))


def model_input(
    array: WhiskerArray, scenes: Sequence[Scene], solver: SolverConfig, frame: str = "base"
) -> torch.Tensor:
    """Simulate, record at 110 Hz and bring on the grid: (scene, 22, 30, 5, 7), uN and uN*mm."""
    raw = RodEngine(array, solver).run(list(scenes))
    loads, _ = Recording().record(raw.force_moment, solver.rate_hz)
    if frame == "world":
        heads = [scene.head.rotation for scene in scenes]
        bases = np.stack([[head @ w.base_rotation for w in array] for head in heads])
        loads = rotate_loads(loads, bases[:, None])
    preprocessing = Preprocessing(frame=frame, normalise="none")
    return torch.from_numpy(preprocessing.apply(loads, array.names))


def backward_and_forward(scene: Scene, depth_mm: float) -> Scene:
    """The objects of a scene go ``depth_mm`` along their way and back, in one second, smoothly."""
    times = np.linspace(0.0, 1.0, 41)
    way = depth_mm / 2.0 * (1.0 - np.cos(2.0 * np.pi * times))
    objects = []
    for placed in scene.objects:
        velocity = placed.motion.velocity_mm_per_s
        along = velocity / np.linalg.norm(velocity)
        motion = SampledMotion(
            times_s=times,
            positions_mm=placed.motion.position_mm + way[:, None] * along,
            rotations=np.broadcast_to(placed.motion.rotation, (len(times), 3, 3)),
        )
        objects.append(replace(placed, motion=motion))
    return replace(scene, objects=tuple(objects), duration_s=1.0, window_s=None)


def deviations(one: torch.Tensor, two: torch.Tensor) -> np.ndarray:
    """Largest deviation of each touched (sweep, place, force or moment), relative to the peak.

    Args:
        one: (sweep, 22, 30, 5, 7), the truth.
        two: the same shape.
    """
    shape = (len(one), 110, 2, 3, 35)
    a, b = one.double().reshape(shape), two.double().reshape(shape)
    peak = a.norm(dim=3).amax(dim=1)
    off = (a - b).norm(dim=3).amax(dim=1)
    largest = peak.amax(dim=2, keepdim=True)
    touched = peak > 1e-3 * largest
    return (off[touched] / peak[touched]).numpy()


def off_by(truth: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """Largest deviation of every channel of every whisker in a sweep, relative to the largest
    force, or moment, that any whisker feels in that sweep: (sweep, channel, place)."""
    shape = (len(truth), 110, 2, 3, 35)
    a, b = truth.double().reshape(shape), other.double().reshape(shape)
    peak = a.norm(dim=3).amax(dim=(1, 3))  # (sweep, force or moment)
    return ((a - b).abs().amax(dim=1) / peak[:, :, None, None]).flatten(1, 2).numpy()


def samples_off(truth: torch.Tensor, other: torch.Tensor, share: float) -> float:
    """Share of the samples (time, touched place, force or moment) that deviate by more than this
    share of the place's peak."""
    shape = (len(truth), 110, 2, 3, 35)
    a, b = truth.double().reshape(shape), other.double().reshape(shape)
    peak = a.norm(dim=3).amax(dim=1, keepdim=True)
    off = (a - b).norm(dim=3)
    touched = (peak > 1e-3 * peak.amax(dim=3, keepdim=True)).expand(off.shape)
    return float((off > share * peak)[touched].double().mean())
