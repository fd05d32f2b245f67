# pyright: reportArgumentType=false, reportCallIssue=false
"""Experiments on the rod solver whose answers are known: the tests assert on them, and
``benchmarks/validate.py`` draws them.

Every function builds its scene, runs the solver and returns plain numbers in house units (mm, g,
s, uN, uN*mm). What is expected comes from :mod:`theory` or from the caller, never from here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.optimize import least_squares
from theory import peg_elastica

import vibrissa
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.placement import HeadPose
from vibrissa.morphology.whisker import Whisker
from vibrissa.objects.distance_field import DistanceField
from vibrissa.simulation.engine import RawSweeps, RodEngine
from vibrissa.simulation.motion import Motion, UniformMotion
from vibrissa.simulation.scene import PlacedObject, Scene, SolverConfig, still

Array = np.ndarray


# --- things that a scene is made of --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class IdealShape:
    """A shape given by its exact distance function, sampled on a grid like any mesh.

    Attributes:
        name: also stands for the digest.
        distance: exact signed distance of points ``(..., 3)``.
        half_mm: (3,) the grid reaches this far, and 2 mm more, from the origin.
        cell_mm: cell of the grid whatever the solver asks for; None to do as asked.
    """

    name: str
    distance: Callable[[Array], Array]
    half_mm: tuple[float, float, float]
    cell_mm: float | None = None
    label: str = "ideal"

    @cached_property
    def radius_mm(self) -> float:
        return float(np.linalg.norm(self.half_mm))

    @property
    def digest(self) -> str:
        return f"{self.name} {self.half_mm}"

    @property
    def field_key(self) -> str:
        return self.digest

    def distance_field(self, spacing_mm: float = 0.25, **_: object) -> DistanceField:
        padding = 2.0
        spacing = self.cell_mm or spacing_mm
        half = np.asarray(self.half_mm) + padding
        counts = np.ceil(2.0 * half / spacing).astype(int) + 1
        axes = [-h + spacing * np.arange(n) for h, n in zip(half, counts, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        return DistanceField(
            values_mm=self.distance(grid).astype(np.float32),
            origin_mm=-half,
            spacing_mm=spacing,
            padding_mm=padding,
            sign_rule="winding",
            shell_offset_mm=0.0,
            digest=self.digest,
        )


def peg(radius_mm: float = 1.0, cell_mm: float | None = 0.125) -> IdealShape:
    """A round peg along z."""
    return IdealShape(
        name=f"peg {radius_mm} {cell_mm}",
        distance=lambda g: np.hypot(g[..., 0], g[..., 1]) - radius_mm,
        half_mm=(radius_mm, radius_mm, 2.0),
        cell_mm=cell_mm,
    )


def sphere(radius_mm: float, cell_mm: float | None = None) -> IdealShape:
    """A ball about the origin."""
    return IdealShape(
        name=f"sphere {radius_mm} {cell_mm}",
        distance=lambda g: np.linalg.norm(g, axis=-1) - radius_mm,
        half_mm=(radius_mm, radius_mm, radius_mm),
        cell_mm=cell_mm,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """A motion given by functions of time ``(n,) -> (n, 3)`` and ``(n,) -> (n, 3, 3)``."""

    position: Callable[[Array], Array]
    rotation: Callable[[Array], Array] | None = None
    knots_needed: bool = True

    def poses(self, times_s: Array) -> tuple[Array, Array]:
        times = np.asarray(times_s, dtype=np.float64)
        if self.rotation is None:
            return self.position(times), np.tile(np.eye(3), (len(times), 1, 1))
        return self.position(times), self.rotation(times)


def along(axis: int, value: Array, start: Iterable[float] = (0.0, 0.0, 0.0)) -> Array:
    """Points ``(n, 3)`` that leave ``start`` by ``value`` along one axis."""
    points = np.tile(np.asarray(list(start), dtype=np.float64), (len(value), 1))
    points[:, axis] += value
    return points


def smooth_step(x: Array) -> Array:
    """0 to 1 between 0 and 1, with two derivatives that vanish at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


@cache
def mouse(parameters: str = "physical") -> WhiskerArray:
    return vibrissa.mouse_array(parameters=parameters)


def straight(name: str, parameters: str = "physical", **changes: Any) -> Whisker:
    """A whisker without natural curvature, its base frame in the world's axes at the origin."""
    return replace(
        mouse(parameters)[name],
        curvature_per_mm=0.0,
        base_position_mm=np.zeros(3),
        base_rotation=np.eye(3),
        **changes,
    )


def run(
    whiskers: Whisker | Iterable[Whisker] | WhiskerArray,
    objects: Iterable[tuple[Any, Motion]],
    duration_s: float,
    head: Motion | None = None,
    **config: Any,
) -> RawSweeps:
    """Simulate one scene, by default with the head frame on the world's axes."""
    listed = [whiskers] if isinstance(whiskers, Whisker) else list(whiskers)
    scene = Scene(
        objects=tuple(PlacedObject(shape=s, motion=m) for s, m in objects),
        duration_s=duration_s,
        head=head or still(HeadPose.identity()),
    )
    settings = SolverConfig(**{"threads": 1, **config})
    return RodEngine(mouse().with_whiskers(listed), settings).run([scene])


# --- a peg against a straight whisker ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PegPush:
    """The settled state after a slow push, and where the peg then stood."""

    force_moment: Array  # (6,) base frame
    nodes_mm: Array  # (node, 3)
    peg_mm: Array  # (2,)


def push_with_peg(
    whisker: Whisker,
    *,
    at: float,
    friction: float,
    depth: float = 0.15,
    radius_mm: float = 1.0,
    push_s: float = 0.3,
    cell_mm: float = 0.0625,
    **config: Any,
) -> PegPush:
    """Push a straight whisker slowly towards +y at a share ``at`` of its length.

    The peg stops moving at ``depth`` (share of the length) and the whisker settles a little; the
    peg comes from -y, straight, so that the whisker slides outward over it and friction is fully
    mobilised.
    """
    length = whisker.length_mm
    start = -radius_mm - whisker.radius_base_mm - 0.05
    end = depth * length - radius_mm

    def place(times: Array) -> Array:
        return along(1, start + (end - start) * times / push_s, (at * length, 0.0, 0.0))

    raw = run(
        whisker,
        [(peg(radius_mm, cell_mm), Course(position=place))],
        push_s,
        **{"contact_offset_mm": 0.0, "friction": friction, "record_nodes": True, **config},
    )
    assert raw.nodes_mm is not None
    nodes = raw.nodes_mm[0, -1, 0]
    return PegPush(
        force_moment=raw.force_moment[0, -3:, 0].astype(np.float64).mean(axis=0),
        nodes_mm=nodes[np.isfinite(nodes).all(axis=1)],
        # Loads are the mean of three frames, so the peg's place is that of the middle one.
        peg_mm=place(np.array([push_s - 1.5e-3]))[0, :2],
    )


def elastica_of(whisker: Whisker, push: PegPush, friction: float, radius_mm: float = 1.0) -> Any:
    """The elastica for a push; the whisker's material moves outward over the peg."""
    return peg_elastica(whisker, push.peg_mm, radius_mm, friction, 1.0 if friction else 0.0)


# --- free vibration ------------------------------------------------------------------------------


def release(
    whisker: Whisker, *, at: float = 0.8, depth: float = 0.02, after_s: float, **config: Any
) -> tuple[Array, Array]:
    """Static push by a frictionless peg that is snatched away; times and base moments after that.

    The peg leaves with so large an acceleration that the whisker never meets it again.
    """
    length = whisker.length_mm
    radius = 1.0
    push_s = 0.1
    start, end = -radius - whisker.radius_base_mm - 0.02, depth * length - radius

    def place(times: Array) -> Array:
        pushed = start + (end - start) * smooth_step(times / (0.8 * push_s))
        away = np.clip(times - push_s, 0.0, None)
        return along(1, pushed - np.minimum(0.5e7 * away**2, 1e4 * away), (at * length, 0, 0))

    settings = {
        "contact_offset_mm": 0.0, "friction": 0.0, "sampling": "point", "rate_hz": 1e4, **config,
    }  # fmt: skip
    raw = run(whisker, [(peg(radius), Course(position=place))], push_s + after_s, **settings)
    times = (np.arange(raw.force_moment.shape[1]) + 1.0) / settings["rate_hz"]
    free = times > push_s + 1e-9
    assert not raw.contact[0, free, 0][5:].any()
    return times[free] - push_s, raw.force_moment[0, free, 0, 5].astype(np.float64)


def knock(
    whisker: Whisker,
    *,
    after_s: float,
    bump_s: float = 5e-4,
    height_mm: float = 0.1,
    **config: Any,
) -> tuple[Array, Array]:
    """Nudge the base up and back again; times and base moments when it stands still again."""

    def place(times: Array) -> Array:
        x = np.clip(times / bump_s, 0.0, 1.0)
        return along(1, height_mm * np.sin(np.pi * x) ** 4)

    settings = {"sampling": "point", "rate_hz": 1e5, **config}
    raw = run(whisker, [], bump_s + after_s, head=Course(position=place), **settings)
    times = (np.arange(raw.force_moment.shape[1]) + 1.0) / settings["rate_hz"]
    free = times > bump_s + 2.0 / settings["rate_hz"]
    return times[free], raw.force_moment[0, free, 0, 5].astype(np.float64)


def first_mode(times_s: Array, signal: Array, omega_guess: float) -> tuple[float, float]:
    """Angular frequency and damping ratio of the damped sinusoid that fits a signal best."""

    def misfit(p: Array) -> Array:
        t = times_s - times_s[0]
        wave = p[2] * np.cos(p[0] * t) + p[3] * np.sin(p[0] * t)
        return (np.exp(-p[1] * t) * wave - signal / scale) * weight

    scale = np.abs(signal).max()
    weight = np.exp(0.02 * omega_guess * (times_s - times_s[0]))
    guess = np.array([omega_guess, 0.05 * omega_guess, signal[0] / scale, 0.0])
    found = least_squares(misfit, guess, x_scale=np.array([omega_guess, omega_guess, 1.0, 1.0]))
    damped, decay = found.x[:2]
    omega = float(np.hypot(damped, decay))
    return omega, float(decay / omega)


def spectral_peaks(
    times_s: Array, signal: Array, near_rad_per_s: Iterable[float], width: float = 0.08
) -> list[float]:
    """Angular frequencies of the spectral peaks next to some values, by parabola through three."""
    step = float(times_s[1] - times_s[0])
    window = np.hanning(len(signal))
    padded = 8 * len(signal)
    spectrum = np.log(np.abs(np.fft.rfft((signal - signal.mean()) * window, padded)) + 1e-300)
    omega = 2.0 * np.pi * np.fft.rfftfreq(padded, step)
    peaks = []
    for centre in near_rad_per_s:
        inside = np.flatnonzero(np.abs(omega / centre - 1.0) < width)
        k = inside[np.argmax(spectrum[inside])]
        assert inside[0] < k < inside[-1], "no peak in the band"
        a, b, c = spectrum[k - 1 : k + 2]
        peaks.append(float(omega[k] + 0.5 * (a - c) / (a - 2.0 * b + c) * (omega[1] - omega[0])))
    return peaks


# --- moving bases --------------------------------------------------------------------------------


def shake(
    whisker: Whisker, *, frequency_hz: float, height_mm: float, cycles: int, **config: Any
) -> tuple[Array, Array]:
    """Shake the base along y; complex amplitudes of Fy and Mz over the last two cycles.

    The displacement is ``height * sin(2 pi f t)`` once a smooth start is over; amplitudes are
    relative to it, so that a load in phase with the displacement is real and positive.
    """
    omega = 2.0 * np.pi * frequency_hz
    settled = (cycles - 2) / frequency_hz

    def place(times: Array) -> Array:
        envelope = smooth_step(times * frequency_hz / 3.0)
        return along(1, height_mm * envelope * np.sin(omega * times))

    rate = max(2000.0, 200.0 * frequency_hz)
    settings = {"sampling": "point", "rate_hz": rate, **config}
    raw = run(whisker, [], cycles / frequency_hz, head=Course(position=place), **settings)
    times = (np.arange(raw.force_moment.shape[1]) + 1.0) / settings["rate_hz"]
    late = times > settled
    basis = np.stack([np.sin(omega * times), np.cos(omega * times), np.ones_like(times)], axis=1)
    loads = raw.force_moment[0, :, 0][:, [1, 5]].astype(np.float64)
    fitted = np.linalg.lstsq(basis[late], loads[late], rcond=None)[0]
    return fitted[0] + 1j * fitted[1], loads


# --- the published simulator ---------------------------------------------------------------------


def reference_folder() -> Path | None:
    """Folder with traces of the published simulator, if it is there."""
    given = os.environ.get("VIBRISSA_REFERENCE_DATA")
    root = Path(given) if given else Path(__file__).parents[3] / "shared" / "data"
    for folder in (root / "whiskit_reference", root):
        if (folder / "sphere.obj").is_file():
            return folder
    return None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One recorded sweep of the published simulator, row 0 (invalid there) dropped."""

    names: tuple[str, ...]
    times_s: Array  # (time,) relative to the first row's object place
    force_uN: Array  # (time, whisker, 3) world axes
    moment_uN_mm: Array
    contact: Array  # (time, whisker)
    object_mm: Array  # (time, 3)
    metadata: dict[str, Any]


def read_reference(folder: Path, case: str) -> Reference:
    with np.load(folder / f"{case}.npz", allow_pickle=False) as file:
        metadata = json.loads(str(file["metadata"]))
        return Reference(
            names=tuple(str(n) for n in file["names"]),
            times_s=np.arange(1, len(file["force"])) / float(metadata["hz"]),
            force_uN=1e3 * file["force"][1:].astype(np.float64),
            moment_uN_mm=1e3 * file["torque"][1:].astype(np.float64),
            contact=file["contact"][1:],
            object_mm=file["object_position"].astype(np.float64),
            metadata=metadata,
        )


def repeat_reference(
    folder: Path, reference: Reference, parameters: str, **config: Any
) -> RawSweeps:
    """The same sweep by this solver; frames 1 on belong to the rows of the reference."""
    from vibrissa.objects import read_object

    shape = read_object(folder / "sphere.obj").scaled_to_diagonal(
        float(reference.metadata["scale_mm_bbox_diagonal"])
    )
    speed = float(reference.metadata["speed_mm_s"])
    motion = UniformMotion(
        position_mm=reference.object_mm[0], velocity_mm_per_s=np.array([0.0, -speed, 0.0])
    )
    settings = {"contact_offset_mm": 0.5, "record_world": True, "sampling": "point", **config}
    return run(
        mouse(parameters).select(reference.names),
        [(shape, motion)],
        1.0,
        head=still(HeadPose.published_passive()),
        **settings,
    )


def smoothed(signal: Array, frames: int = 21) -> Array:
    """Moving mean along time."""
    return uniform_filter1d(signal, frames, axis=0)


def agreement(ours: Array, theirs: Array) -> tuple[float, float]:
    """Correlation of all components together, and ratio of root mean squares."""
    correlation = float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
    return correlation, float(np.sqrt((ours**2).sum() / (theirs**2).sum()))


# --- noise ---------------------------------------------------------------------------------------


def channel_correlations(one: Array, two: Array, loaded: float = 0.02) -> Array:
    """Correlation of each channel ``(whisker, 6)`` of two sweeps ``(time, whisker, 6)``.

    NaN where a channel's peak is below ``loaded`` of the largest force, or moment, of its whisker,
    or where the whisker was not touched.
    """
    peak = np.abs(one).max(axis=0).reshape(-1, 2, 3)
    largest = np.linalg.norm(one.reshape(*one.shape[:2], 2, 3), axis=-1).max(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        is_loaded = (peak > loaded * largest[..., None]) & (largest > 0.0)[..., None]
        a, b = one - one.mean(axis=0), two - two.mean(axis=0)
        correlation = (a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.where(is_loaded.reshape(-1, 6), correlation, np.nan)
