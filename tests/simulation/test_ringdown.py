# pyright: reportArgumentType=false, reportCallIssue=false
"""Free vibration: damping, frequencies and energy; and bases that move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from experiments import (
    Course,
    along,
    first_mode,
    knock,
    mouse,
    release,
    run,
    shake,
    spectral_peaks,
    straight,
)
from theory import hermite_beam, mass_integrals, shaken_beam

from vibrissa.morphology.placement import axis_rotation
from vibrissa.simulation.motion import UniformMotion, turn
from vibrissa.simulation.rod import discretise

# --- free vibration ------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.05, 0.14])
@pytest.mark.parametrize("name", ["RC1", "RE5"])
def test_damping_ratio(name: str, ratio: float):
    """The first mode of the base moment after a release, at the default steps."""
    whisker = straight(name, damping_ratio=ratio)
    omega = hermite_beam(whisker)[1][0]
    period = 2.0 * np.pi / omega
    # At steps of omega h > 4 zeta the scheme damps more than it should (docs/physics.md).
    finer = {"steps_per_radian": max(2.5, 0.25 / ratio)}
    times, moment = release(whisker, after_s=max(4e-3, min(8.0, 0.6 / ratio) * period), **finer)
    window = (times > period) & (times < min(6.0, 0.5 / ratio) * period)
    found_omega, found = first_mode(times[window], moment[window], omega)
    assert found == pytest.approx(ratio, rel=0.05)
    assert found_omega == pytest.approx(omega, rel=0.02)


@pytest.mark.parametrize(("name", "after_s"), [("RC1", 0.15), ("RE5", 0.02)])
def test_first_three_frequencies_in_time(name: str, after_s: float):
    """Peaks of the spectrum of a free, almost undamped ring-down, fine steps."""
    whisker = straight(name, damping_ratio=0.003)
    omega = hermite_beam(whisker)[1]
    times, moment = knock(
        whisker,
        after_s=after_s,
        bump_s=0.5 / omega[0],
        step_s=3e-6,
        rate_hz=2e4 if name == "RC1" else 1e5,
        calm_speed_mm_per_s=0.0,
        precision="float64",
    )
    np.testing.assert_allclose(spectral_peaks(times, moment, omega), omega, rtol=0.01)


def test_energy_never_grows():
    """Kinetic and elastic energy of a ring-down, from the shapes at single steps."""
    whisker = straight("RC1")
    rod = discretise(whisker)
    mass, stiffness = rod.matrices()
    step, bump = 2e-5, 2e-3

    def place(times: np.ndarray) -> np.ndarray:
        return along(1, 0.2 * np.sin(np.pi * np.clip(times / bump, 0.0, 1.0)) ** 4)

    raw = run(
        whisker,
        [],
        0.025,
        head=Course(position=place),
        rate_hz=1.0 / step,
        step_s=step,
        calm_speed_mm_per_s=0.0,
        precision="float64",
        sampling="point",
        record_nodes=True,
    )
    assert raw.nodes_mm is not None
    nodes = raw.nodes_mm[0, :, 0, : rod.n_links + 2, :2].astype(np.float64)
    chords = np.diff(nodes, axis=1)
    heading = np.arctan2(chords[..., 1], chords[..., 0])
    angle = np.diff(heading, axis=1)
    rate = np.diff(angle, axis=0) / step
    angle = 0.5 * (angle[1:] + angle[:-1])
    energy = 0.5 * np.einsum("ti,ij,tj->t", rate, mass, rate)
    energy += 0.5 * np.einsum("ti,ij,tj->t", angle, stiffness, angle)
    free = energy[int(bump / step) + 3 :]
    assert free[0] > 0.0
    # Shapes are recorded in single precision, which a difference over one step magnifies.
    noise = 1e-3 * free[0]
    assert np.all(np.diff(free) < noise)
    assert np.all(np.diff(free[::25]) < 0.1 * noise)
    decay = np.exp(-4.0 * np.pi * whisker.damping_ratio)  # of energy in one period
    period = 2.0 * np.pi / hermite_beam(whisker)[1][0] / step
    assert free[int(2 * period)] < 1.5 * decay**2 * free[0]


def test_undamped_vibration_of_all_whiskers_never_grows():
    whiskers = [replace(w, damping_ratio=0.0) for w in mouse()]

    def place(times: np.ndarray) -> np.ndarray:
        return along(1, 0.2 * np.sin(np.pi * np.clip(times / 0.003, 0.0, 1.0)) ** 2)

    raw = run(whiskers, [], 0.4, head=Course(position=place), sampling="point")
    moment = np.linalg.norm(raw.force_moment[0, 10:, :, 3:], axis=-1)
    peaks = np.stack([part.max(axis=0) for part in np.array_split(moment, 3)])
    assert np.all(peaks[1] <= 1.02 * peaks[0])
    assert np.all(peaks[2] <= 1.02 * peaks[1])
    assert not raw.flags.any()


def test_at_rest_nothing_is_felt():
    raw = run(mouse(), [], 0.05)
    np.testing.assert_array_equal(raw.force_moment, 0.0)
    assert not raw.contact.any()


# --- moving bases --------------------------------------------------------------------------------


def spun(whisker, spin_rad_per_s: float, duration_s: float = 0.4):
    """The settled load (6,) in the base frame of a whisker that the head carries round z."""
    head = UniformMotion(spin_rad_per_s=np.array([0.0, 0.0, spin_rad_per_s]))
    raw = run(whisker, [], duration_s, head=head)
    return raw.force_moment[0, -20:, 0].astype(np.float64).mean(axis=0)


def test_centrifugal_load_of_a_radial_whisker():
    whisker = replace(straight("RC1"), base_position_mm=np.array([5.0, 0.0, 0.0]))
    mass, first, _ = mass_integrals(whisker)
    spin = 2.0 * np.pi * 4.0
    load = spun(whisker, spin)
    # The whisker pulls its base outward, along itself.
    assert load[0] == pytest.approx(spin**2 * (5.0 * mass + first), rel=0.005)
    np.testing.assert_allclose(load[1:], 0.0, atol=0.02 * load[0])


def test_centrifugal_load_of_a_tangential_whisker():
    quarter = axis_rotation("z", 90.0)
    whisker = replace(
        straight("RC1"), base_position_mm=np.array([5.0, 0.0, 0.0]), base_rotation=quarter
    )
    mass, first, _ = mass_integrals(whisker)
    spin = 2.0 * np.pi * 2.0
    load = spun(whisker, spin)
    # In the base frame outward is -y for the offset of the base, +x for the whisker's own length.
    assert load[0] == pytest.approx(spin**2 * first, rel=0.01)
    assert load[1] == pytest.approx(-(spin**2) * 5.0 * mass, rel=0.01)
    assert load[5] == pytest.approx(-(spin**2) * 5.0 * first, rel=0.01)
    np.testing.assert_allclose(load[2:5], 0.0, atol=0.01 * load[0])


def test_uniform_motion_of_the_head_is_not_felt():
    head = UniformMotion(velocity_mm_per_s=np.array([30.0, -20.0, 10.0]))
    raw = run(mouse().select(["RC1", "RE5"]), [], 0.1, head=head)
    np.testing.assert_allclose(raw.force_moment, 0.0, atol=1e-3)


def test_slow_shaking_is_the_inertia_of_a_rigid_rod():
    """Well below resonance the base feels minus mass times acceleration."""
    whisker = straight("RC1")
    mass, first, _ = mass_integrals(whisker)
    omega, height = 2.0 * np.pi * 8.0, 1.0
    (force, moment), loads = shake(whisker, frequency_hz=8.0, height_mm=height, cycles=6)
    # The acceleration is -omega^2 times the displacement: load and displacement are in phase.
    assert force.real == pytest.approx(omega**2 * mass * height, rel=0.02)
    assert moment.real == pytest.approx(omega**2 * first * height, rel=0.02)
    assert abs(force.imag) < 0.02 * force.real
    assert loads.shape[1] == 2


def test_slow_turning_is_the_inertia_of_a_rigid_rod():
    """Whisking in miniature: the moment is minus the moment of inertia times the acceleration."""
    whisker = straight("RC1")
    _, first, second = mass_integrals(whisker)
    omega, swing = 2.0 * np.pi * 8.0, np.deg2rad(2.0)

    def rotation(times: np.ndarray) -> np.ndarray:
        angle = swing * np.sin(omega * times) * np.minimum(times * 8.0, 1.0) ** 3
        return turn(angle[:, None] * np.array([0.0, 0.0, 1.0]))

    head = Course(position=lambda t: np.zeros((len(t), 3)), rotation=rotation)
    raw = run(whisker, [], 0.5, head=head, sampling="point")
    times = (np.arange(500) + 1.0) / 1000.0
    late = times > 0.25
    basis = np.stack([np.sin(omega * times), np.cos(omega * times), np.ones(500)], axis=1)[late]
    loads = raw.force_moment[0, late, 0].astype(np.float64)
    sine, cosine, _ = np.linalg.lstsq(basis, loads, rcond=None)[0]
    assert sine[5] == pytest.approx(omega**2 * second * swing, rel=0.02)
    assert sine[1] == pytest.approx(omega**2 * first * swing, rel=0.02)
    assert abs(cosine[5]) < 0.03 * sine[5]


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0, 1.1, 1.5])
def test_shaking_through_resonance_follows_the_beam(share: float):
    whisker = straight("RC1")
    omega = hermite_beam(whisker)[1][0]
    height = 0.05
    frequency = share * omega / (2.0 * np.pi)
    found, _ = shake(
        whisker, frequency_hz=frequency, height_mm=height, cycles=14, step_s=1e-5,
        calm_speed_mm_per_s=0.0,
    )  # fmt: skip
    exact = height * shaken_beam(whisker, share * omega, whisker.damping_ratio)
    np.testing.assert_allclose(np.abs(found), np.abs(exact), rtol=0.03)
    assert np.max(np.abs(np.angle(found / exact))) < 0.05
