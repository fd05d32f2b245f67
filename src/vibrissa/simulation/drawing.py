"""Figures and films of arrays and sweeps; all return matplotlib figures or write whole files.

The settings of matplotlib are neither heeded nor left changed: figures look the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

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

Quantity = Literal["moment", "force"]

_SUFFIXES: Final = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_MOMENT_MAP: Final = "OrRd"
_HEAD_AXES: Final = (", right", ", rostral", ", dorsal")
_QUANTITIES: Final[dict[str, tuple[slice, float, str, str]]] = {
    "moment": (slice(3, 6), 1.0, "µN·mm", "M"),
    "force": (slice(0, 3), 1e-3, "mN", "F"),
}


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


def draw_array(
    array: WhiskerArray, *, head: HeadPose | None = None,
    objects: Sequence[PlacedObject] = (), time_s: float = 0.0,
) -> Figure:  # fmt: skip
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
        points = pose.points_to_world_mm(whisker.centreline_in_head_mm(s))
        widths = 2.0 * three.THICKNESS_FACTOR * whisker.radius_mm(s)
        ribbons.append(three.Ribbon(points, widths, three.row_colour(whisker.name)))
    meshes = [three.DrawnMesh(placed) for placed in objects]
    bases = np.stack([ribbon.points_mm[0] for ribbon in ribbons])
    plane = three.plane_corners_mm(pose, bases)
    points = [ribbon.points_mm for ribbon in ribbons] + [mesh.world_mm(time_s) for mesh in meshes]
    low, high = three.bounds([*points, plane], 2.0)
    sides = {whisker.parsed_name.side for whisker in array}
    near: Side = "R" if "R" in sides else "L"
    title = "From the right" if near == "R" else "From the left"
    title += "" if len(sides) == 1 else ", right side only"
    behind = [[0, 1, 0], [0, 0, 1], [1 if near == "R" else -1, 0, 0]]
    views = [(title, np.array(behind)), ("From above", np.eye(3))]
    # Both panels at one scale: sizes in inches follow from the extents in mm.
    across, up = high[[1, 0]] - low[[1, 0]], high[[2, 1]] - low[[2, 1]]
    inch = min(10.2 / across.sum(), 6.0 / up.max())
    width, height = max(inch * across.sum() + 1.8, 7.0), inch * up.max() + 1.5
    at = 0.5 * (width - inch * across.sum() - 0.4)
    with three.style():
        figure = Figure(figsize=(width, height))
        for k, (title, camera) in enumerate(views):
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
            ax.set(xlim=(low[1 - k], high[1 - k]), ylim=(low[2 - k], high[2 - k]))
            for axis, j in ((ax.xaxis, 1 - k), (ax.yaxis, 2 - k)):
                axis.set_major_locator(MultipleLocator(5 if inch > 0.15 else 10))
                axis.set_label_text(f"{'xyz'[j]}{_HEAD_AXES[j] if head is None else ''} (mm)")
            if near == "L" and k == 0:
                ax.invert_xaxis()
        plane_key = Patch(fc=three.PLANE, ec=three.PLANE_EDGE, ls="--", label="sagittal plane")
        base_key = Line2D([], [], color=three.INK, marker="o", ms=3, ls="", label="base")
        keys = [*three.row_keys(array.names), base_key, plane_key]
        count = "1 whisker" if len(array) == 1 else f"{len(array)} whiskers"
        three.header(figure, f"{array.species.capitalize()}, {count}", keys)
    return figure


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

    three.check_index(sweep, index)
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
            panels: dict[tuple[int, int], Axes] = {}
            for (row, column), which in sorted(places.items()):
                at = GRID_COLUMNS - 1 - column if side == "L" else column
                ax = panels[row, at] = figure.add_subplot(inner[row, at])
                _trace_panel(ax, sweep, index, which, values[:, which])
                ax.set_ylim(low - room, high + room)
            # The time of one tick is enough and meets no neighbour.
            tick_s = three.round_length(0.6 * len(values) / sweep.rate_hz)
            corner = panels[max(panels, key=lambda place: (place[0], -place[1]))]
            for ax in {at: ax for (_, at), ax in panels.items()}.values():
                ax.set_xticks([0.0, tick_s] if ax is corner else [tick_s])
                ax.spines["bottom"].set_visible(True)
            if block == 0:
                three.value_bar(corner, high - low, unit)
        figure.supxlabel("Time (s)", fontsize=10, y=0.012)
        keys = [
            Line2D([], [], color=colour, lw=1.8, label=f"${letter}_{axis}$")
            for colour, axis in zip(three.CHANNEL_COLOURS, "xyz", strict=True)
        ]
        contact = Patch(facecolor=three.CONTACT, label="contact")
        below = f"{quantity.capitalize()} at the whisker base, {frame} frame"
        three.header(figure, sweep.names[index], [*keys, contact], below)
    return figure


def _trace_panel(ax: Axes, sweep: Sweep, index: int, which: int, values: three.Array) -> None:
    name = sweep.whiskers[which]
    period = 1.0 / sweep.rate_hz
    edges = np.flatnonzero(np.diff(sweep.contact[index, :, which], prepend=False, append=False))
    spans = [(a * period, (b - a) * period) for a, b in edges.reshape(-1, 2).tolist()]
    if spans:
        ax.broken_barh(spans, (0, 1), transform=ax.get_xaxis_transform(), color=three.CONTACT, lw=0)
    ax.axhline(0.0, color="#BBBBBB", lw=0.5, zorder=1)
    for channel, colour in enumerate(three.CHANNEL_COLOURS):
        ax.plot(sweep.times_s, values[:, channel], color=colour, lw=0.9, zorder=2)
    flagged = bool(sweep.flagged[index, which])
    ax.text(
        0.02, 0.98, f"{name} flagged" if flagged else name, transform=ax.transAxes, va="top",
        fontsize=8, color=three.INK, fontweight="bold" if flagged else "normal", zorder=3,
    )  # fmt: skip
    ax.set(label=name, gid=name, xlim=(0.0, len(values) * period), xticks=[], yticks=[])
    for edge in ("left", "bottom"):
        ax.spines[edge].set(visible=flagged, color="#CC3311" if flagged else three.INK)


def contact_sheet(
    sweep: Sweep, scene: Scene, index: int = 0, *,
    times_s: Sequence[float] | None = None, n: int = 8,
) -> Figure:  # fmt: skip
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

    three.check_index(sweep, index)
    which = three.frames_at(sweep, index, times_s, n)
    with three.style():
        stage = three.Stage(sweep, scene, index, which)
        columns = min(4, len(which))
        rows = -(-len(which) // columns)
        across, up, _ = stage.high - stage.low
        width = max(3.0 * columns, 6.0)
        height = 0.85 + rows * (0.3 + width / columns * up / across)
        figure = Figure(figsize=(width, height))
        grid = figure.add_gridspec(
            rows, columns, left=0.01, right=0.99, bottom=0.01, top=1 - 0.85 / height,
            wspace=0.04, hspace=0.13,
        )  # fmt: skip
        for k, frame in enumerate(which):
            ax = figure.add_subplot(grid[k // columns, k % columns])
            ax.set_title(stage.show(stage.dress(ax, scale_bar=k == 0), int(frame)), fontsize=9)
        three.header(figure, sweep.names[index], three.row_keys(sweep.whiskers))
    return figure


def animate(
    sweep: Sweep, scene: Scene, index: int = 0, *,
    path: Path | str, frames: int = 60, fps: float = 15.0,
) -> Path:  # fmt: skip
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
    three.check_index(sweep, index)
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
        from matplotlib.lines import Line2D

        self._stage = stage
        self._moments = np.linalg.norm(sweep.force_moment[index, :, :, 3:], axis=-1)
        self._contact = sweep.contact[index]
        # In inches: the view fills its frame and the maps stand to its right.
        across, up, _ = stage.high - stage.low
        self._right = min(5.2, 3.84 * across / up) + 0.8
        self._size = np.array([self._right + 3.1, 4.8])
        self._figure = Figure(figsize=tuple(self._size.round(2)), dpi=100)
        self._canvas = FigureCanvasAgg(self._figure)
        view = self._axes(0.18, 0.1, self._right - 0.8, 3.84)
        self._painter = stage.dress(view, scale_bar=True)
        self._time = self._figure.text(0.18 / self._size[0], 0.885, "", va="top", fontsize=11)
        self._maps = self._draw_maps(sweep)
        dot = Line2D([], [], color=three.INK, marker="o", ms=4.5, ls="", label="contact")
        keys = [*three.row_keys(sweep.whiskers), dot]
        three.header(self._figure, sweep.names[index], keys)
        self._moving = [*self._painter.artists, self._time]
        self._moving += [artist for part in self._maps for artist in part[1:]]
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(self._figure.bbox)

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        across, up = self._size
        return self._figure.add_axes((left / across, bottom / up, width / across, height / up))

    def _draw_maps(self, sweep: Sweep) -> list[tuple[three.Indices, PolyCollection, Line2D]]:
        from matplotlib.collections import PolyCollection

        blocks = three.grid_blocks(sweep.whiskers)
        cells = PolyCollection([])
        found = []
        for k, (side, places) in enumerate(blocks.items()):
            low, high = (1.25, 2.6) if len(blocks) == 1 else (2.72 - 1.6 * k, 1.15)
            ax = self._axes(self._right, low, 2.9, high)
            table = np.array([(row, column, which) for (row, column), which in places.items()])
            corners = table[:, None, 1::-1] + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - 0.5
            cells = PolyCollection(list(corners), cmap=_MOMENT_MAP, ec="#AAAAAA", lw=0.6)
            cells.set(clim=(0.0, self._moments.max() or 1.0), clip_on=False)
            ax.add_collection(cells)
            (dots,) = ax.plot([], [], "o", color=three.INK, mec="white", mew=0.6, ms=4.5)
            ax.set(xlim=(-0.5, GRID_COLUMNS - 0.5), ylim=(len(GRID_ROWS) - 0.5, -0.5))
            ax.set(xticks=range(GRID_COLUMNS), yticks=range(len(GRID_ROWS)), aspect="equal")
            ax.set(yticklabels=list(GRID_ROWS), title={"L": "Left", "R": "Right"}[side], label=side)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            if side == "L":
                ax.invert_xaxis()
            found.append((table, cells, dots))
        scale = self._axes(self._right, 0.6, 2.9, 0.12)
        bar = self._figure.colorbar(cells, cax=scale, orientation="horizontal")
        bar.set_label("Moment (µN·mm)")
        bar.outline.set_visible(False)
        return found

    def update(self, frame: int) -> None:
        """Show one recorded frame."""
        self._time.set_text(self._stage.show(self._painter, frame))
        for table, cells, dots in self._maps:
            cells.set_array(self._moments[frame, table[:, 2]])
            rows, columns, _ = table[self._contact[frame, table[:, 2]]].T
            dots.set_data(columns, rows)

    def write_gif(self, path: Path, frames: three.Indices, fps: float) -> None:
        """Render each frame onto the still background and write all with one palette."""
        pictures = []
        for frame in frames:
            self.update(int(frame))
            self._canvas.restore_region(self._still)
            for artist in self._moving:
                self._figure.draw_artist(artist)
            pictures.append(np.asarray(self._canvas.buffer_rgba())[..., :3].copy())
        flat = three.with_one_palette(pictures, _MOMENT_MAP)
        flat[0].save(
            path, format="GIF", save_all=True, append_images=flat[1:], loop=0,
            duration=round(1000.0 / fps), optimize=False,
        )  # fmt: skip

    def write_mp4(self, path: Path, frames: three.Indices, fps: float) -> None:
        from matplotlib.animation import FFMpegWriter

        for artist in self._moving:
            artist.set_animated(False)
        writer = FFMpegWriter(fps=round(fps))
        with writer.saving(self._figure, str(path), dpi=200):
            for frame in frames:
                self.update(int(frame))
                writer.grab_frame()
