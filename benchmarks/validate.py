# pyright: reportMissingImports=false, reportArgumentType=false
"""The simulation against theory and against the published simulator: figures and a table.

    python benchmarks/validate.py [--out docs/images] [--reference DIR]

``DIR`` holds the recorded traces of the published simulator (``sphere.obj`` and
``sphere_hz1000_h0_d5_t0_s40_v30_y31_fix.npz``); without it those figures are left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "simulation"))

import experiments as ex
import theory

from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.engine import RodEngine
from vibrissa.simulation.motion import UniformMotion
from vibrissa.simulation.passive import PassiveSweep
from vibrissa.simulation.rod import discretise
from vibrissa.simulation.scene import SolverConfig

mpl.use("Agg")
import matplotlib.pyplot as plt

CASE = "sphere_hz1000_h0_d5_t0_s40_v30_y31_fix"
AXES = "xyz"
INK, BLUE, RED, GREEN, GREY = "#222222", "#0072b2", "#d55e00", "#009e73", "#999999"
ROWS: list[tuple[str, str, str]] = []

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.8,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.3,
        "axes.prop_cycle": cycler(color=[BLUE, RED, GREEN, "#cc79a7", "#e69f00", GREY]),
    }
)


def note(what: str, measured: str, bound: str) -> None:
    """One line of the table."""
    ROWS.append((what, measured, bound))


def save(figure: Any, out: Path, name: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.png"
    figure.savefig(path, bbox_inches="tight", pil_kwargs={"optimize": True})
    plt.close(figure)
    size = path.stat().st_size // 1024
    print(f"  {path} ({size} kB)", flush=True)
    if size > 150:
        raise SystemExit(f"{path} is larger than 150 kB")


def percent(value: float) -> str:
    return f"{100.0 * value:.2f} %"


# --- the chain -----------------------------------------------------------------------------------


def chain(out: Path) -> None:
    names = ex.mouse().names
    tips, modes = [], []
    for whisker in ex.mouse():
        tip, omega = theory.hermite_beam(whisker)
        rod = discretise(whisker)
        tips.append(rod.tip_compliance_mm_per_uN() / tip - 1.0)
        modes.append(rod.angular_frequencies_rad_per_s(3) / omega - 1.0)
    errors = 100.0 * np.array(modes)
    figure, (above, below) = plt.subplots(2, 1, figsize=(7.2, 4.0), sharex=True)
    place = np.arange(len(names))
    above.bar(place, 1e6 * np.array(tips), color=BLUE, width=0.65)
    above.set_ylabel("error / ppm")
    above.set_title("Tip compliance, chain against finite elements (bound 1 %)")
    for mode, marker in enumerate("osD"):
        below.plot(place, errors[:, mode], marker, ms=4, label=f"mode {mode + 1}")
    below.axhline(1.0, color=GREY, ls="--", lw=0.8)
    below.set_ylim(0.0, 1.15)
    below.set_ylabel("error / %")
    below.set_title("Natural frequencies (dashed: bound)")
    below.legend(ncols=3, loc="upper left", bbox_to_anchor=(0.0, 0.93))
    below.set_xticks(place, [n[1:] for n in names], rotation=90)
    below.set_xlabel("whisker (right side)")
    figure.align_ylabels()
    figure.tight_layout()
    save(figure, out, "validation_chain")
    note("tip compliance, 30 whiskers, largest error", percent(np.abs(tips).max()), "1 %")
    note("first three frequencies, 30 whiskers", percent(np.abs(modes).max()), "1 %")


def elastica(out: Path) -> None:
    figure, (shapes, errors) = plt.subplots(
        1, 2, figsize=(7.2, 3.0), gridspec_kw={"width_ratios": [1.0, 1.15]}
    )
    worst = np.zeros(2)
    labels = []
    for k, name in enumerate(("RC1", "RC4", "RB0")):
        whisker = ex.straight(name)
        for j, at in enumerate((0.6, 0.75, 0.9)):
            for i, friction in enumerate((0.0, 0.2, 0.4)):
                push = ex.push_with_peg(whisker, at=at, friction=friction)
                exact = ex.elastica_of(whisker, push, friction)
                size = np.linalg.norm(push.force_moment[:3]) / np.linalg.norm(exact.force_uN) - 1.0
                moment = push.force_moment[5] / exact.moment_uN_mm - 1.0
                worst = np.maximum(worst, np.abs([moment, size]))
                x = 5.2 * k + 1.5 * j + 0.28 * (i - 1)
                first = k == j == i == 0
                errors.plot(x, 100 * moment, "o", ms=4, color=BLUE, label="M" if first else None)
                errors.plot(x, 100 * size, "x", ms=4, color=RED, label="|F|" if first else None)
                if friction == 0.0 and name == "RC1":
                    curve = theory.elastica_shape(whisker, exact)
                    label = "elastica" if j == 0 else None
                    shapes.plot(*curve.T, color=INK, lw=1.0, label=label)
                    chain_label = "chain" if j == 0 else None
                    shapes.plot(
                        *push.nodes_mm[:, :2].T, "o", ms=3.2, color=BLUE, mfc="w", label=chain_label
                    )
                    shapes.add_patch(Circle(tuple(push.peg_mm), 1.0, color=GREY, alpha=0.5))
            labels.append((5.2 * k + 1.5 * j, f"{at:g}"))
        errors.text(5.2 * k + 1.5, -1.9, name, ha="center")
    shapes.set_aspect("equal")
    shapes.set_xlabel("x / mm")
    shapes.set_ylabel("y / mm")
    shapes.set_title("RC1 over a peg, no friction")
    shapes.legend(loc="upper left")
    shapes.set_ylim(-0.8, 9.5)
    errors.axhspan(-1.5, 1.5, color=GREY, alpha=0.15, lw=0)
    errors.axhline(0.0, color=INK, lw=0.6)
    errors.set_ylim(-2.0, 2.0)
    errors.set_xticks([x for x, _ in labels], [t for _, t in labels], fontsize=7)
    errors.set_ylabel("error / %")
    errors.set_title(r"Base load; $\mu$ = 0, 0.2, 0.4 side by side")
    errors.legend(ncols=2, loc="upper right", borderaxespad=0.0)
    errors.set_xlabel("place of the peg / length")
    figure.tight_layout()
    save(figure, out, "validation_elastica")
    note("peg elastica, 27 cases, base moment", percent(worst[0]), "1.5 %")
    note("peg elastica, 27 cases, force magnitude", percent(worst[1]), "1.5 %")


# --- vibration -----------------------------------------------------------------------------------


def ringdown(out: Path) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7))
    for axis, name in zip(axes, ("RC1", "RE5"), strict=False):
        whisker = ex.straight(name)
        omega = theory.hermite_beam(whisker)[1][0]
        period = 2.0 * np.pi / omega
        times, moment = ex.release(whisker, after_s=5.0 * period)
        fitted = (times > period) & (times < 3.5 * period)
        found_omega, ratio = ex.first_mode(times[fitted], moment[fitted], omega)
        scale = 1.02 * np.abs(moment).max()
        fine_times, fine = ex.release(
            whisker, after_s=5.0 * period, rate_hz=1e5 if name == "RE5" else 1e4
        )
        axis.plot(1e3 * fine_times, fine, color=GREY, lw=0.8, label="finer steps")
        axis.plot(1e3 * times, moment, ".", ms=4, label="simulation")
        anchor = np.argmax(np.abs(fine) * (fine_times > 0.4 * period))
        envelope = np.abs(fine[anchor]) * np.exp(
            -whisker.damping_ratio * omega * (fine_times - fine_times[anchor])
        )
        for sign in (1.0, -1.0):
            label = "set envelope" if sign > 0 else None
            axis.plot(1e3 * fine_times, sign * envelope, color=RED, lw=0.8, ls="--", label=label)
        axis.set_ylim(-1.2 * scale, 1.25 * scale)
        axis.set_xlabel("time after release / ms")
        axis.set_title(f"{name}: $\\zeta$ = {ratio:.4f} (set {whisker.damping_ratio:g})")
        note(f"damping ratio of {name}, set 0.14", f"{ratio:.4f}", "5 %")
        note(f"first frequency of {name} at default steps", percent(found_omega / omega - 1.0), "")
    axes[0].set_ylabel("base moment / uN mm")
    axes[0].legend(loc="lower right", borderaxespad=0.0)
    whisker = ex.straight("RC1")
    first = theory.hermite_beam(whisker)[1][0]
    shares = np.linspace(0.3, 1.7, 57)
    exact = [theory.shaken_beam(whisker, s * first, 0.14)[1] for s in shares]
    axes[2].plot(shares, np.abs(exact) / 1e3, color=INK, lw=1.0, label="beam")
    worst = 0.0
    for share in (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6):
        load, _ = ex.shake(
            whisker, frequency_hz=share * first / (2.0 * np.pi), height_mm=0.05, cycles=14,
            step_s=1e-5, calm_speed_mm_per_s=0.0,
        )  # fmt: skip
        value = abs(load[1]) / 0.05
        reference = abs(theory.shaken_beam(whisker, share * first, 0.14)[1])
        worst = max(worst, abs(value / reference - 1.0))
        axes[2].plot(share, value / 1e3, "o", ms=4, color=BLUE)
    axes[2].set_xlabel("frequency / first natural one")
    axes[2].set_ylabel("base moment / mN mm per mm")
    axes[2].set_title("RC1, shaken base")
    axes[2].legend(loc="upper left")
    figure.tight_layout(w_pad=1.4)
    save(figure, out, "validation_ringdown")
    note("shaken base through resonance, moment amplitude", percent(worst), "3 %")
    for name, after in (("RC1", 0.15), ("RE5", 0.02)):
        light = ex.straight(name, damping_ratio=0.003)
        omega = theory.hermite_beam(light)[1]
        times, moment = ex.knock(
            light, after_s=after, bump_s=0.5 / omega[0], step_s=3e-6, calm_speed_mm_per_s=0.0,
            rate_hz=2e4 if name == "RC1" else 1e5, precision="float64",
        )  # fmt: skip
        peaks = np.array(ex.spectral_peaks(times, moment, omega)) / omega - 1.0
        note(f"spectral peaks of {name}, modes 1 to 3", percent(np.abs(peaks).max()), "1 %")


def convergence(out: Path) -> None:
    from test_convergence import pushed, ringing, slope

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))
    steps = np.array([1e-4, 5e-5, 2.5e-5, 1.25e-5])
    for experiment, label, marker in (
        (ringing, "ring-down", "o"),
        (pushed, "pushed by a peg, $\\mu$ = 0.2", "s"),
    ):
        exact = experiment(1e-6)
        errors = [np.sqrt(np.mean((experiment(h) - exact) ** 2)) for h in steps]
        errors = np.array(errors) / np.abs(exact).max()
        order = slope(steps, errors)
        left.loglog(1e6 * steps, 100 * errors, marker + "-", ms=4, label=f"{label}: {order:.2f}")
        note(f"order in the step, {label.split(',')[0]}", f"{order:.2f}", "0.85 to 1.3")
    left.loglog(1e6 * steps[[0, -1]], [6.0, 0.75], color=GREY, ls="--", label="first order")
    left.set_xticks([12.5, 25, 50, 100], ["12.5", "25", "50", "100"])
    left.minorticks_off()
    left.set_ylim(0.005, 12.0)
    left.set_xlabel("step / us")
    left.set_ylabel("rms error / peak / %")
    left.set_title("Time step")
    left.legend(loc="lower right")
    whisker = ex.straight("RC1")
    _, omega = theory.hermite_beam(whisker, 300)
    counts = np.array([6, 8, 12, 16, 24, 32])
    modes = np.array(
        [discretise(whisker, links=int(n)).angular_frequencies_rad_per_s(3) for n in counts]
    )
    errors = np.abs(modes / omega - 1.0)
    for mode, marker in enumerate("osD"):
        order = slope(1.0 / counts, errors[:, mode])
        right.loglog(
            counts, 100 * errors[:, mode], marker + "-", ms=4, label=f"mode {mode + 1}: {order:.2f}"
        )
        note(f"order in the links, frequency {mode + 1} of RC1", f"{order:.2f}", "1.5 to 2.6")
    few = np.array([4, 8, 16])
    forces = []
    for n in few:
        push = ex.push_with_peg(whisker, at=0.75, friction=0.0, links=int(n), cell_mm=0.05)
        exact = ex.elastica_of(whisker, push, 0.0).force_uN
        forces.append(np.linalg.norm(push.force_moment[:2] - exact) / np.linalg.norm(exact))
    order = slope(1.0 / few, np.array(forces))
    right.loglog(few, 100 * np.array(forces), "^-", ms=4, label=f"elastica force: {order:.2f}")
    note("order in the links, force over a peg, RC1", f"{order:.2f}", "1.2 to 2.8")
    right.loglog([4, 32], [4.5, 4.5 / 64], color=GREY, ls="--", label="second order")
    right.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"])
    right.minorticks_off()
    right.set_ylim(0.0015, 8.0)
    right.set_xlabel("moving links")
    right.set_ylabel("error / %")
    right.set_title("Links")
    right.legend(loc="lower left")
    figure.tight_layout()
    save(figure, out, "validation_convergence")


# --- the published simulator, noise, parameter sets ----------------------------------------------


def published(out: Path, folder: Path) -> None:
    reference = ex.read_reference(folder, CASE)
    raw = ex.repeat_reference(folder, reference, "published_as_written")
    assert raw.force_moment_world is not None
    mine = ex.smoothed(raw.force_moment_world[0, 1:].astype(np.float64))
    theirs = ex.smoothed(np.concatenate([reference.force_uN, reference.moment_uN_mm], axis=-1))
    peak = np.where(reference.contact, np.linalg.norm(theirs[..., 3:], axis=-1), 0.0).max(axis=0)
    top = np.argsort(peak)[::-1][:10]
    scores, forces = {}, {}
    for w in top:
        during = reference.contact[:, w]
        name = reference.names[w]
        scores[name] = ex.agreement(mine[during, w, 3:], theirs[during, w, 3:])
        forces[name] = ex.agreement(mine[during, w, :3], theirs[during, w, :3])
    pooled = ex.agreement(
        np.concatenate([mine[reference.contact[:, w], w, 3:] for w in top]),
        np.concatenate([theirs[reference.contact[:, w], w, 3:] for w in top]),
    )
    figure, axes = plt.subplots(2, 3, figsize=(7.2, 3.9), sharex=True)
    shown = list(top[:5]) + [w for w in top if reference.names[w] == "RC4"]
    shown = list(dict.fromkeys(shown))[:6]
    for axis, w in zip(axes.ravel(), shown, strict=False):
        name = reference.names[w]
        for c in range(3):
            axis.plot(reference.times_s, theirs[:, w, 3 + c], color=f"C{c}", lw=2.6, alpha=0.35)
            axis.plot(reference.times_s, mine[:, w, 3 + c], color=f"C{c}", lw=0.9)
        correlation, ratio = scores[name]
        axis.set_title(f"{name}: r = {correlation:.4f}, ratio {ratio:.2f}", fontsize=8.5)
    for axis in axes[-1]:
        axis.set_xlabel("time / s")
    for axis in axes[:, 0]:
        axis.set_ylabel("moment / uN mm")
    handles = [Line2D([], [], color=f"C{c}", label=f"M{AXES[c]}") for c in range(3)]
    handles += [
        Line2D([], [], color=GREY, lw=2.6, alpha=0.6, label="published"),
        Line2D([], [], color=INK, lw=0.9, label="vibrissa"),
    ]
    figure.legend(handles=handles, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.03))
    figure.tight_layout()
    save(figure, out, "validation_published")
    note("published simulator, torque, pooled correlation", f"{pooled[0]:.4f}", ">= 0.95")
    note("published simulator, torque, pooled ratio", f"{pooled[1]:.3f}", "0.85 to 1.15")
    for name, (correlation, ratio) in scores.items():
        force = f"force {forces[name][0]:.3f}, {forces[name][1]:.2f}"
        note(f"  {name}", f"{correlation:.4f}, {ratio:.3f} ({force})", "")


def ball() -> TactileObject:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=3)
    return TactileObject("ball", "ball", np.asarray(mesh.vertices), np.asarray(mesh.faces))


def noise(out: Path) -> None:
    array = ex.mouse()
    scene = PassiveSweep().scene(ball(), array)
    placed = scene.objects[0]
    assert isinstance(placed.motion, UniformMotion)
    scenes = [scene]
    for axis in range(3):
        motion = replace(
            placed.motion, position_mm=placed.motion.position_mm + 1e-4 * np.eye(3)[axis]
        )
        scenes.append(replace(scene, objects=(replace(placed, motion=motion),)))
    raw = RodEngine(array, SolverConfig(threads=1)).run(scenes)
    loads = raw.force_moment.astype(np.float64)
    correlations = np.stack([ex.channel_correlations(loads[0], other) for other in loads[1:]])
    figure, (trace, spread) = plt.subplots(
        1, 2, figsize=(7.2, 2.7), gridspec_kw={"width_ratios": [1.3, 1.0]}
    )
    w = array.names.index("RC2")
    times = np.arange(loads.shape[1]) / 1e3
    for c in range(3):
        trace.plot(times, loads[0, :, w, c], color=f"C{c}", lw=2.6, alpha=0.35)
        trace.plot(times, loads[1, :, w, c], color=f"C{c}", lw=0.9, label=f"F{AXES[c]}")
    trace.set_xlabel("time / s")
    trace.set_ylabel("force / uN")
    trace.set_title("RC2, twice, the ball 0.1 um apart")
    trace.legend(ncols=3)
    for k, (part, label) in enumerate(((slice(0, 3), "force"), (slice(3, 6), "moment"))):
        values = correlations[..., part]
        values = np.sort(1.0 - values[np.isfinite(values)])
        values = np.clip(values, 1e-8, None)
        spread.semilogy(np.linspace(0.0, 100.0, len(values)), values, color=f"C{k}", label=label)
        note(f"repeat with 0.1 um shift, {label}, median", f"{1 - np.median(values):.6f}", "")
        note(f"repeat with 0.1 um shift, {label}, lowest", f"{1 - values.max():.5f}", ">= 0.999")
    for k, (low, high, label) in enumerate(
        ((0.10, 0.17, "published, force"), (0.81, 0.86, "published, moment"))
    ):
        spread.axhspan(1 - high, 1 - low, color=f"C{k}", alpha=0.25, lw=0)
        spread.text(1.0, (2.1, 0.055)[k], label, va="center", fontsize=7.5, color=f"C{k}")
    spread.axhline(1e-3, color=GREY, ls="--", lw=0.8)
    spread.set_ylim(1e-8, 8.0)
    spread.set_xlabel("loaded channels / %")
    spread.set_ylabel("1 - correlation")
    spread.set_title("All loaded channels (dashed: bound)")
    spread.legend(loc="lower right")
    figure.tight_layout()
    save(figure, out, "validation_noise")


def parameter_sets(out: Path) -> None:
    names = ("physical", "published_as_written", "published_as_shipped")
    figure, axes = plt.subplots(2, 3, figsize=(7.2, 3.8), sharex=True)
    shape = ball()
    for column, name in zip(axes.T, names, strict=True):
        array = ex.mouse(name)
        scene = PassiveSweep().scene(shape, array)
        raw = RodEngine(array, SolverConfig(threads=1, contact_offset_mm=0.5)).run([scene])
        loads = raw.force_moment[0, :, array.names.index("RC1")]
        times = np.arange(len(loads)) / 1e3
        for k, axis in enumerate(column):
            for c in range(3):
                axis.plot(times, loads[:, 3 * k + c], lw=0.9, label=f"{'FM'[k]}{AXES[c]}")
        column[0].set_title(name)
        column[1].set_xlabel("time / s")
        peak = np.linalg.norm(loads[:, 3:], axis=1).max()
        note(f"RC1 past a ball, peak moment, {name}", f"{peak:.0f} uN mm", "")
    axes[0, 0].set_ylabel("force / uN")
    axes[1, 0].set_ylabel("moment / uN mm")
    axes[0, 0].legend(loc="upper left", ncols=1)
    axes[1, 0].legend(loc="lower left", ncols=1)
    figure.tight_layout()
    save(figure, out, "validation_parameters")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of figures")
    parser.add_argument("--reference", type=Path, help="folder of published traces")
    chosen = parser.parse_args()
    if chosen.reference is not None:
        os.environ["VIBRISSA_REFERENCE_DATA"] = str(chosen.reference)
    start = time.time()
    for part in (chain, elastica, ringdown, convergence, noise, parameter_sets):
        part(chosen.out)
    folder = ex.reference_folder()
    if folder is not None and (folder / f"{CASE}.npz").is_file():
        published(chosen.out, folder)
    else:
        print("  no traces of the published simulator: left out (give --reference)")
    width = max(len(what) for what, _, _ in ROWS)
    print(f"\n{'quantity':{width}}  {'measured':34}  bound")
    for what, measured, bound in ROWS:
        print(f"{what:{width}}  {measured:34}  {bound}")
    print(f"\n{time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
