"""Figures and films of arrays and sweeps; all return matplotlib figures or write whole files.

No global state of matplotlib is read or changed: figures look the same whatever its settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.files import atomic_path
from vibrissa.morphology.array import WhiskerArray
from vibrissa.morphology.grid import GRID_COLUMNS, GRID_ROWS
from vibrissa.morphology.names import Side
from vibrissa.morphology.placement import HeadPose
from vibrissa.simulation import drawing_3d as three
from vibrissa.simulation.scene import PlacedObject, Scene
from vibrissa.simulation.sweep import Frame, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Quantity = Literal["moment", "force"]

CHANNEL_COLOURS: Final = ("#004488", "#BB5566", "#DDAA33")
"""Colours of the x, y and z channels (P. Tol's high-contrast set, safe also in grey)."""
CONTACT: Final = "#E9E9E9"
THICKNESS_FACTOR: Final = 3.0
"""Whiskers are drawn this many times thicker than they are."""

_SUFFIXES: Final = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_HEAD_AXES: Final = (", right", ", rostral", ", dorsal")
_QUANTITIES: Final[dict[str, tuple[slice, float, str, str]]] = {
    "moment": (slice(3, 6), 1.0, "µN·mm", "M"),
    "force": (slice(0, 3), 1e-3, "mN", "F"),
}


# --- files -----------------------------------------------------------------------------------


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Write a figure as PNG (150 dots per inch), SVG or PDF, whole or not at all.

    The same figure gives the same bytes; text stays text in SVG and PDF.

    Args:
        figure: the figure.
        path: its suffix chooses the format.

    Raises:
        InputError: another suffix, or the folder cannot be written to.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _SUFFIXES:
        raise refuse("path", str(path), "no such figure format", "end it in .png, .svg or .pdf")
    with three.style(), atomic_path(target) as temporary:
        figure.savefig(
            temporary, format=suffix[1:], dpi=150, facecolor="white", metadata=_SUFFIXES[suffix]
        )
    return target


# --- the array -------------------------------------------------------------------------------


def draw_array(
    array: WhiskerArray,
    *,
    head: HeadPose | None = None,
    objects: Sequence[PlacedObject] = (),
    time_s: float = 0.0,
) -> Figure:
    """The whiskers at rest from the side and from above, at one scale, axes in mm.

    The side is the right one unless all whiskers are on the left. Whiskers are drawn three times
    thicker than they are; where an object hides them they are faint.

    Args:
        array: the whiskers.
        head: where the head stands in the world; None draws head coordinates.
        objects: what else to show, in the world.
        time_s: when, for objects that move.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MultipleLocator

    pose = head or HeadPose.identity()
    ribbons = []
    for whisker in array:
        s = np.linspace(0.0, whisker.length_mm, 40)
        ribbons.append(
            three.Ribbon(
                points_mm=pose.points_to_world_mm(whisker.centreline_in_head_mm(s)),
                widths_mm=2.0 * THICKNESS_FACTOR * whisker.radius_mm(s),
                colour=three.row_colour(whisker.name),
            )
        )
    meshes = [three.DrawnMesh(placed) for placed in objects]
    bases = np.stack([ribbon.points_mm[0] for ribbon in ribbons])
    plane = three.plane_corners_mm(pose, bases)
    points = [ribbon.points_mm for ribbon in ribbons] + [mesh.world_mm(time_s) for mesh in meshes]
    low, high = three.bounds([*points, plane], 2.0)
    sides = {whisker.parsed_name.side for whisker in array}
    near: Side = "R" if "R" in sides else "L"
    title = "From the right" if near == "R" else "From the left"
    title += "" if len(sides) == 1 else ", right side only"
    y_from_behind = [[0, 1, 0], [0, 0, 1], [1 if near == "R" else -1, 0, 0]]
    views = [(title, "yz", np.array(y_from_behind)), ("From above", "xy", np.eye(3))]
    # Both panels at one scale: sizes in inches follow from the extents in mm.
    across, up = high[[1, 0]] - low[[1, 0]], high[[2, 1]] - low[[2, 1]]
    inch = min(10.2 / across.sum(), 6.0 / up.max())
    width, height = max(inch * across.sum() + 1.8, 7.0), inch * up.max() + 1.35
    at = 0.5 * (width - inch * across.sum() - 0.4)
    with three.style():
        figure = Figure(figsize=(width, height))
        for k, (title, names, camera) in enumerate(views):
            size = inch * across[k], inch * up[k]
            box = (at / width, 0.55 / height, size[0] / width, size[1] / height)
            at += size[0] + 0.8
            ax = figure.add_axes(box, title=title, aspect="equal")
            shown = [w.parsed_name.side == near or k == 1 for w in array]
            visible = [ribbon for ribbon, yes in zip(ribbons, shown, strict=True) if yes]
            three.Painter(ax, camera).show(visible, meshes, time_s)
            three.draw_plane(ax, camera, plane)
            dots = bases[shown] @ camera.T
            ax.plot(dots[:, 0], dots[:, 1], "o", color=three.INK, markersize=2.2, zorder=4)
            for axis, limits, name in (
                (ax.xaxis, ax.set_xlim, names[0]),
                (ax.yaxis, ax.set_ylim, names[1]),
            ):
                j = "xyz".index(name)
                limits(low[j], high[j])
                axis.set_major_locator(MultipleLocator(5 if inch > 0.15 else 10))
                axis.set_label_text(f"{name}{_HEAD_AXES[j] if head is None else ''} (mm)")
            if near == "L" and k == 0:
                ax.invert_xaxis()
        plane_key = Patch(fc=three.PLANE, ec=three.PLANE_EDGE, ls="--", label="sagittal plane")
        base_key = Line2D([], [], color=three.INK, marker="o", ms=3, ls="", label="base")
        keys = [*three.row_keys(array.names), base_key, plane_key]
        three.header(figure, f"{array.species.capitalize()}, {len(array)} whiskers", keys)
    return figure


# --- traces ----------------------------------------------------------------------------------


def draw_traces(
    sweep: Sweep, index: int = 0, *, quantity: Quantity = "moment", frame: Frame = "base"
) -> Figure:
    """Three channels of every whisker over time, each in its place of the 5 x 7 grid.

    All panels share one scale, given by a bar. Contact is shaded; whiskers whose values are not
    to be trusted say "flagged". Both sides are shown as blocks, each as seen from its own side.

    Args:
        sweep: the loads.
        index: which sweep.
        quantity: ``moment`` (uN*mm) or ``force`` (drawn in mN).
        frame: axes of the channels, see :meth:`Sweep.loads`.

    Raises:
        InputError: no such sweep, quantity or frame, or a whisker off the grid.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    if not 0 <= index < len(sweep):
        raise refuse("index", index, f"there are {len(sweep)} sweeps", "count them from 0")
    if quantity not in _QUANTITIES:
        raise refuse_unknown("quantity", quantity, _QUANTITIES)
    part, factor, unit, letter = _QUANTITIES[quantity]
    values = factor * sweep.loads(frame)[index, :, :, part].astype(np.float64)
    blocks = three.grid_blocks(sweep.whiskers)
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:
        low, high = -1.0, 1.0
    room = 0.06 * (high - low)
    with three.style():
        figure = Figure(figsize=(12.0 if len(blocks) == 1 else 18.0, 8.0))
        outer = figure.add_gridspec(
            1, len(blocks), left=0.075 if len(blocks) == 1 else 0.05, right=0.985, top=0.91,
            bottom=0.075, wspace=0.1,
        )  # fmt: skip
        for block, (side, places) in enumerate(blocks.items()):
            inner = outer[block].subgridspec(len(GRID_ROWS), GRID_COLUMNS, hspace=0.14, wspace=0.08)
            lowest: dict[int, Axes] = {}
            panels: dict[tuple[int, int], Axes] = {}
            for (row, column), which in sorted(places.items()):
                at = GRID_COLUMNS - 1 - column if side == "L" else column
                ax = figure.add_subplot(inner[row, at])
                panels[row, at] = lowest[at] = ax
                _trace_panel(ax, sweep, index, which, values[:, which])
                ax.set_ylim(low - room, high + room)
            corner = panels[max(panels, key=lambda place: (place[0], -place[1]))]
            for ax in lowest.values():
                prune = None if ax is corner else "lower"
                ax.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10], prune=prune))
                ax.spines["bottom"].set_visible(True)
            if block == 0:
                _value_bar(corner, high - low, unit)
        figure.supxlabel("Time (s)", fontsize=10, y=0.012)
        figure.text(
            0.18 / figure.get_figwidth(), 1.0 - 0.4 / figure.get_figheight(),
            f"{quantity.capitalize()} at the whisker base, {frame} frame", va="top",
        )  # fmt: skip
        keys = [
            Line2D([], [], color=colour, lw=1.8, label=f"${letter}_{axis}$")
            for colour, axis in zip(CHANNEL_COLOURS, "xyz", strict=True)
        ]
        contact = Patch(facecolor=CONTACT, label="contact")
        three.header(figure, sweep.names[index], [*keys, contact])
    return figure


def _trace_panel(ax: Axes, sweep: Sweep, index: int, which: int, values: Array) -> None:
    name = sweep.whiskers[which]
    period = 1.0 / sweep.rate_hz
    touching = np.flatnonzero(
        np.diff(sweep.contact[index, :, which].astype(int), prepend=0, append=0)
    )
    spans = [(a * period, (b - a) * period) for a, b in touching.reshape(-1, 2).tolist()]
    if spans:
        ax.broken_barh(spans, (0, 1), transform=ax.get_xaxis_transform(), color=CONTACT, lw=0)
    ax.axhline(0.0, color="#BBBBBB", lw=0.5, zorder=1)
    for channel, colour in enumerate(CHANNEL_COLOURS):
        ax.plot(sweep.times_s, values[:, channel], color=colour, lw=0.9, zorder=2)
    flagged = bool(sweep.flagged[index, which])
    ax.text(
        0.02, 0.98, f"{name} flagged" if flagged else name, transform=ax.transAxes, va="top",
        fontsize=8, color=three.INK, fontweight="bold" if flagged else "normal", zorder=3,
    )  # fmt: skip
    ax.set_label(name)
    ax.set_gid(name)
    ax.set_xlim(0.0, values.shape[0] * period)
    ax.set_yticks([])
    ax.set_xticks([])
    for edge in ("left", "bottom"):
        ax.spines[edge].set(visible=flagged, color="#CC3311" if flagged else three.INK)


def _value_bar(ax: Axes, span: float, unit: str) -> None:
    """A vertical scale bar left of a panel, in the panel's own scale."""
    length = three.round_length(0.5 * span)
    low, high = ax.get_ylim()
    start = low + 0.06 * (high - low)
    mixed = ax.get_yaxis_transform()
    ax.plot(
        [-0.06, -0.06], [start, start + length], color=three.INK, lw=2.0, transform=mixed,
        clip_on=False, solid_capstyle="butt", label="scale bar",
    )  # fmt: skip
    ax.text(
        -0.1, start + 0.5 * length, f"{length:g} {unit}", transform=mixed, rotation=90,
        ha="right", va="center", fontsize=9,
    )  # fmt: skip


# --- snapshots and films ---------------------------------------------------------------------


def contact_sheet(
    sweep: Sweep,
    scene: Scene,
    index: int = 0,
    *,
    times_s: Sequence[float] | None = None,
    n: int = 8,
) -> Figure:
    """Snapshots of whiskers and objects in one view and at one scale.

    Args:
        sweep: simulated with ``record_nodes``.
        scene: what the sweep was made from.
        index: which sweep.
        times_s: when, each shown at the nearest recorded frame; None spreads ``n`` over the
            contact, or over the whole sweep where nothing touched.
        n: number of snapshots, 1 or more, if no times are given.

    Raises:
        InputError: the sweep holds no whisker shapes, there is no such sweep, or a time is outside.
    """
    from matplotlib.figure import Figure

    if not 0 <= index < len(sweep):
        raise refuse("index", index, f"there are {len(sweep)} sweeps", "count them from 0")
    which = _frames_at(sweep, index, times_s, n)
    with three.style():
        stage = three.Stage(sweep, scene, index, which)
        columns = min(4, len(which))
        rows = -(-len(which) // columns)
        across, up, _ = stage.high - stage.low
        width = max(3.0 * columns, 6.0)
        height = 0.6 + rows * (0.3 + width / columns * up / across)
        figure = Figure(figsize=(width, height))
        grid = figure.add_gridspec(
            rows, columns, left=0.01, right=0.99, bottom=0.01, top=1 - 0.6 / height, wspace=0.04
        )
        for k, frame in enumerate(which):
            ax = figure.add_subplot(grid[k // columns, k % columns])
            stamp = stage.show(stage.dress(ax, scale_bar=k == 0), int(frame))
            ax.set_title(stamp, loc="left", fontsize=9, pad=3)
        three.header(figure, sweep.names[index], three.row_keys(sweep.whiskers))
    return figure


def _frames_at(sweep: Sweep, index: int, times_s: Sequence[float] | None, n: int) -> Indices:
    ends = sweep.times_s
    if times_s is not None:
        times = np.atleast_1d(np.asarray(times_s, dtype=np.float64))
        if not (len(times) and np.all((times >= 0.0) & (times <= ends[-1] + 1e-9))):
            reason = f"the sweep lasts from 0 to {ends[-1]:g} s"
            raise refuse("times_s", times.tolist(), reason, "give one or more times within it")
    elif n < 1:
        raise refuse("n", n, "no snapshots", "ask for 1 or more")
    else:
        touched = np.flatnonzero(sweep.contact[index].any(axis=1))
        first, last = (touched[0], touched[-1]) if len(touched) else (0, len(ends) - 1)
        margin = 0.04 * (ends[last] - ends[first])
        times = np.linspace(ends[first] - margin, ends[last] + margin, n)
    return np.abs(ends - times[:, None]).argmin(axis=1)


def animate(
    sweep: Sweep,
    scene: Scene,
    index: int = 0,
    *,
    path: Path | str,
    frames: int = 60,
    fps: float = 15.0,
) -> Path:
    """A film of whiskers and objects beside a map of the moment at each whisker's base.

    Args:
        sweep: simulated with ``record_nodes``.
        scene: what the sweep was made from.
        index: which sweep.
        path: ``.gif``, or ``.mp4`` where ffmpeg is installed.
        frames: pictures, spread evenly over the sweep; no more than were recorded.
        fps: pictures per second of the film, above 0 and at most 50.

    Raises:
        InputError: the sweep holds no whisker shapes, there is no such sweep, another suffix, no
            ffmpeg for ``.mp4``, no frames, or no such speed.
    """
    from matplotlib.animation import FFMpegWriter

    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise refuse("path", str(path), "no such film format", "end it in .gif or .mp4")
    if suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise refuse("path", str(path), "ffmpeg is not installed", "install it or write a .gif")
    if frames < 1:
        raise refuse("frames", frames, "no pictures", "ask for 1 or more")
    if not 0.0 < fps <= 50.0:
        raise refuse("fps", fps, "not a speed that films play at", "choose above 0, at most 50")
    if not 0 <= index < len(sweep):
        raise refuse("index", index, f"there are {len(sweep)} sweeps", "count them from 0")
    count = sweep.force_moment.shape[1]
    which = np.linspace(0, count - 1, min(frames, count)).round().astype(int)
    with three.style():
        film = _Film(sweep, three.Stage(sweep, scene, index, which), index)
        with atomic_path(target) as temporary:
            (film.write_gif if suffix == ".gif" else film.write_mp4)(temporary, which, fps)
    return target


class _Film:
    """A picture of which only few artists are redrawn from frame to frame."""

    def __init__(self, sweep: Sweep, stage: three.Stage, index: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._stage = stage
        self._moments = np.linalg.norm(sweep.force_moment[index, :, :, 3:], axis=-1)
        self._contact = sweep.contact[index]
        self._figure = Figure(figsize=(9.0, 4.8), dpi=100)
        self._canvas = FigureCanvasAgg(self._figure)
        self._painter = stage.dress(self._figure.add_axes((0.01, 0.02, 0.58, 0.8)), scale_bar=True)
        self._time = self._figure.text(0.03, 0.86, "", va="top", fontsize=11)
        self._maps = self._draw_maps(sweep)
        three.header(self._figure, sweep.names[index], three.row_keys(sweep.whiskers))
        self._moving = [*self._painter.artists, self._time]
        self._moving += [artist for part in self._maps for artist in part[1:]]
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(self._figure.bbox)

    def _draw_maps(self, sweep: Sweep) -> list[tuple[Indices, PolyCollection, Line2D]]:
        from matplotlib.collections import PolyCollection

        blocks = three.grid_blocks(sweep.whiskers)
        cells = PolyCollection([])
        found = []
        for k, (side, places) in enumerate(blocks.items()):
            low, high = (0.26, 0.54) if len(blocks) == 1 else (0.57 - 0.36 * k, 0.27)
            ax = self._figure.add_axes((0.655, low, 0.32, high), label=side, aspect="equal")
            table = np.array([(row, column, which) for (row, column), which in places.items()])
            corners = table[:, None, 1::-1] + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - 0.5
            cells = PolyCollection(list(corners), cmap="OrRd", edgecolors="#AAAAAA", lw=0.6)
            cells.set_clim(0.0, self._moments.max() or 1.0)
            ax.add_collection(cells)
            (dots,) = ax.plot([], [], "o", color=three.INK, mec="white", mew=0.6, ms=4.5)
            ax.set(xlim=(-0.52, GRID_COLUMNS - 0.48), ylim=(len(GRID_ROWS) - 0.48, -0.52))
            ax.set_xticks(range(GRID_COLUMNS))
            ax.set_yticks(range(len(GRID_ROWS)), GRID_ROWS)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            ax.set_title({"L": "Left", "R": "Right"}[side], loc="left", fontsize=9, pad=2)
            if side == "L":
                ax.invert_xaxis()
            found.append((table, cells, dots))
        bar = self._figure.colorbar(
            cells, cax=self._figure.add_axes((0.655, 0.13, 0.32, 0.025)), orientation="horizontal",
            label="Moment (µN·mm)",
        )  # fmt: skip
        bar.outline.set_visible(False)
        return found

    def update(self, frame: int) -> None:
        """Show one recorded frame."""
        self._time.set_text(self._stage.show(self._painter, frame))
        for table, cells, dots in self._maps:
            cells.set_array(self._moments[frame, table[:, 2]])
            rows, columns, _ = table[self._contact[frame, table[:, 2]]].T
            dots.set_data(columns, rows)

    def write_gif(self, path: Path, frames: Indices, fps: float) -> None:
        """Render each frame onto the still background and write all with one palette."""
        from matplotlib import colormaps
        from PIL import Image

        pictures = []
        for frame in frames:
            self.update(int(frame))
            self._canvas.restore_region(self._still)
            for artist in self._moving:
                self._figure.draw_artist(artist)
            pixels = np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
            pictures.append(Image.fromarray(pixels))
        # One palette for all, from a few frames, keeps still parts still and the file small.
        some = [np.asarray(pictures[k]) for k in np.linspace(0, len(pictures) - 1, 5).astype(int)]
        colours = Image.fromarray(np.concatenate(some)).quantize(192).getpalette() or []
        scale = (255 * colormaps["OrRd"](np.linspace(0, 1, 62))[:, :3]).round().astype(int)
        palette = Image.new("P", (1, 1))
        palette.putpalette([*colours[: 3 * 192], *scale.ravel().tolist(), *[255] * 3, *[34] * 3])
        flat = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
        flat[0].save(
            path, format="GIF", save_all=True, append_images=flat[1:], loop=0,
            duration=round(1000.0 / fps), optimize=False,
        )  # fmt: skip

    def write_mp4(self, path: Path, frames: Indices, fps: float) -> None:
        from matplotlib.animation import FFMpegWriter

        writer = FFMpegWriter(fps=round(fps))
        with writer.saving(self._figure, str(path), dpi=200):
            for frame in frames:
                self.update(int(frame))
                writer.grab_frame()
