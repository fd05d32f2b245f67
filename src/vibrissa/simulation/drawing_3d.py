"""Orthographic pictures of whiskers and objects: one depth-sorted set of shaded polygons.

Everything seen is turned into quadrilaterals, sorted by depth and painted from back to front, so
that whiskers pass before and behind objects as they should, in bitmaps and in vector files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vibrissa.core.errors import refuse
from vibrissa.morphology.grid import grid_place
from vibrissa.morphology.names import Side, parse_name
from vibrissa.morphology.placement import HeadPose

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from vibrissa.simulation.scene import PlacedObject, Scene
    from vibrissa.simulation.sweep import Sweep

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

ROW_COLOURS: Final = {
    "A": "#D55E00", "B": "#E69F00", "C": "#009E73", "D": "#56B4E9", "E": "#0072B2",
}  # fmt: skip
"""Colours of the whisker rows in all figures (Okabe and Ito, safe for colour-blind readers)."""
CHANNEL_COLOURS: Final = ("#004488", "#BB5566", "#DDAA33")
"""Colours of the x, y and z channels (P. Tol's high-contrast set, safe also in grey)."""
CONTACT: Final = "#E9E9E9"
THICKNESS_FACTOR: Final = 3.0
"""Whiskers are drawn this many times thicker than they are."""
OTHER_ROW_COLOUR: Final = "#7F7F7F"
INK: Final = "#222222"
PLANE: Final = "#F1F1F1"
PLANE_EDGE: Final = "#9A9A9A"
OBJECT: Final = (0.80, 0.81, 0.84)

_STYLE: Final = {
    "font.family": ["DejaVu Sans"], "font.size": 9.0, "text.color": INK,
    "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlelocation": "left", "axes.titlesize": 10.0, "axes.titlepad": 4.0,
    "xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "legend.frameon": False,
    "svg.fonttype": "none", "svg.hashsalt": "vibrissa", "pdf.fonttype": 42,
}  # fmt: skip

MOST_FACES: Final = 4000
_PIECES_ALONG: Final = 12
_LIGHT = np.array([-0.5, 0.35, 0.79])
_LIGHT = _LIGHT / np.linalg.norm(_LIGHT)


def row_colour(name: str) -> str:
    """Colour of a whisker by its row."""
    return ROW_COLOURS.get(parse_name(name).row, OTHER_ROW_COLOUR)


@contextmanager
def style() -> Iterator[None]:
    """Draw with the settings of this package alone; the user's own come back afterwards."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE]):
        yield


def camera_axes(toward: npt.ArrayLike, up: npt.ArrayLike) -> Array:
    """Rows (3, 3): right, up and toward the viewer; points (..., 3) @ axes.T are as seen."""
    front = np.asarray(toward, dtype=np.float64) / np.linalg.norm(toward)
    right = np.cross(np.asarray(up, dtype=np.float64), front)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(front, right), front])


class Ribbon(NamedTuple):
    """One whisker as it is drawn: nodes (n, 3) in the world, drawn widths (n,), its colour."""

    points_mm: Array
    widths_mm: Array
    colour: str


# --- objects ---------------------------------------------------------------------------------


class DrawnMesh:
    """An object's triangles, few enough to be quick and small enough to be sorted by depth."""

    def __init__(self, placed: PlacedObject) -> None:
        from trimesh import Trimesh

        shape = placed.shape
        vertices, faces = shape.vertices_mm, shape.faces.astype(np.int64)
        mesh = Trimesh(vertices, faces, process=False)
        self._closed = mesh.is_watertight and mesh.is_winding_consistent
        cells = 64.0
        while len(faces) > MOST_FACES and cells >= 4.0:
            vertices, faces = _merged(shape.vertices_mm, shape.faces, shape.diagonal_mm / cells)
            cells /= 1.2
        triangles = _cut_up(vertices[faces], shape.diagonal_mm / _PIECES_ALONG)
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        size = np.linalg.norm(normals, axis=1)
        kept = size > 1e-12 * shape.diagonal_mm**2
        self._triangles_mm, self._normals = triangles[kept], normals[kept] / size[kept, None]
        self._motion = placed.motion

    def world_mm(self, time_s: float) -> Array:
        """Corners (m, 3, 3) in the world."""
        return self._posed(time_s)[0]

    def seen(self, camera: Array, time_s: float) -> tuple[Array, Array]:
        """Projected corners (m, 3, 3) of the faces toward the camera and their RGBA (m, 4)."""
        world, turned = self._posed(time_s)
        normals = turned @ camera.T
        # An open surface, or one not oriented throughout, shows both of its sides.
        kept = (normals[:, 2] > 0) | (not self._closed)
        normals = normals[kept] * np.where(normals[kept, 2:] < 0, -1.0, 1.0)
        shade = 0.70 + 0.40 * (normals @ _LIGHT)
        colours = np.ones((len(shade), 4))
        colours[:, :3] = np.clip(shade[:, None] * np.array(OBJECT), 0.0, 1.0)
        return world[kept] @ camera.T, colours

    def _posed(self, time_s: float) -> tuple[Array, Array]:
        positions, rotations = self._motion.poses(np.array([time_s]))
        turn = np.asarray(rotations)[0].T
        return self._triangles_mm @ turn + positions[0], self._normals @ turn


def _merged(
    vertices: Array, faces: npt.NDArray[np.integer], cell_mm: float
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Merge the vertices in each cell of a grid; faces that collapse go."""
    cells = np.floor((vertices - vertices.min(axis=0)) / cell_mm).astype(np.int64)
    _, which, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()
    merged = np.stack([np.bincount(which, vertices[:, k]) for k in range(3)], axis=1)
    new = which[faces]
    differ = (new[:, 0] != new[:, 1]) & (new[:, 1] != new[:, 2]) & (new[:, 2] != new[:, 0])
    return merged / counts[:, None], new[differ]


def _cut_up(triangles: Array, longest_mm: float) -> Array:
    """Halve longest edges until all are short or there are ``MOST_FACES``."""
    while len(triangles) < MOST_FACES:
        edges = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2)
        long = np.flatnonzero(edges.max(axis=1) > longest_mm)[: MOST_FACES - len(triangles)]
        if not len(long):
            break
        order = (edges[long].argmax(axis=1)[:, None] + np.arange(3)) % 3
        a, b, c = np.moveaxis(triangles[long[:, None], order], 1, 0)
        middle = 0.5 * (a + b)
        halves = [np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)]
        triangles = np.concatenate([np.delete(triangles, long, axis=0), *halves])
    return triangles


# --- painting --------------------------------------------------------------------------------


class Painter:
    """Shows ribbons and objects on axes; what is shown can be exchanged.

    Attributes:
        artists: the polygons, and over them faint centre lines of what objects hide.
    """

    def __init__(self, ax: Axes, camera: Array) -> None:
        from matplotlib.collections import LineCollection, PolyCollection

        self._camera = camera
        self._quads = PolyCollection([], linewidths=0.4, joinstyle="round", zorder=2)
        self._hints = LineCollection([], linewidths=0.7, alpha=0.45, zorder=3)
        self.artists = (self._quads, self._hints)
        for artist in self.artists:
            ax.add_collection(artist, autolim=False)

    def show(self, ribbons: Sequence[Ribbon], meshes: Sequence[DrawnMesh], time_s: float) -> None:
        """Project, shade, sort and exchange."""
        from matplotlib.colors import to_rgba

        quads, depths, colours, lines = [], [], [], []
        for mesh in meshes:
            corners, shades = mesh.seen(self._camera, time_s)
            quads.append(corners[:, [0, 1, 2, 2], :2])
            depths.append(corners[:, :, 2].mean(axis=1))
            colours.append(shades)
        for ribbon in ribbons:
            points = ribbon.points_mm @ self._camera.T
            quads.append(_ribbon_quads(points[:, :2], ribbon.widths_mm))
            depths.append(0.5 * (points[1:, 2] + points[:-1, 2]))
            colours.append(np.tile(to_rgba(ribbon.colour), (len(points) - 1, 1)))
            lines.append(points[:, :2])
        order = np.argsort(np.concatenate(depths), kind="stable")
        self._quads.set_verts(np.concatenate(quads)[order])  # pyright: ignore[reportArgumentType]
        rgba = np.concatenate(colours)[order].tolist()
        self._quads.set(facecolor=rgba, edgecolor=rgba)
        if meshes:
            self._hints.set(segments=lines, color=[ribbon.colour for ribbon in ribbons])


def _ribbon_quads(points: Array, widths: Array) -> Array:
    """Quadrilaterals (n - 1, 4, 2) along a line (n, 2) of widths (n,)."""
    tangent = np.gradient(points, axis=0)
    size = np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    across = 0.5 * widths[:, None] * np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / size
    left, right = points + across, points - across
    return np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1)


class Stage:
    """One view of a sweep: shapes of the whiskers as recorded, objects where the scene has them.

    Args:
        sweep: with ``nodes_mm``.
        scene: what it was made from.
        index: which sweep.
        shown: frames that will be shown; the view holds the whiskers of all of them.

    Raises:
        InputError: the sweep holds no shapes.
    """

    def __init__(
        self, sweep: Sweep, scene: Scene, index: int, shown: npt.NDArray[np.integer]
    ) -> None:
        if sweep.nodes_mm is None:
            raise refuse(
                "nodes_mm", None, "the sweep holds no shapes of whiskers",
                "simulate with record_nodes=True",
            )  # fmt: skip
        self.times_s = sweep.times_s
        self._start_s = sweep.start_s(index)
        self._nodes = sweep.nodes_mm[index].astype(np.float64)
        self._colours = [row_colour(name) for name in sweep.whiskers]
        self._meshes = [DrawnMesh(placed) for placed in scene.objects]
        positions, rotations = scene.head.poses(self._start_s + self.times_s[shown])
        head = HeadPose(position_mm=positions[0], rotation=rotations[0])
        self._still = max(np.ptp(positions, axis=0).max(), np.ptp(rotations, axis=0).max()) < 1e-6
        sides = {parse_name(name).side for name in sweep.whiskers}
        lateral = 0.2 * (("R" in sides) - ("L" in sides))
        toward = head.directions_to_world([lateral, -0.35, 0.92])
        self._camera = camera_axes(toward, head.directions_to_world([0.0, 1.0, 0.0]))
        self._plane = plane_corners_mm(head, self._nodes[shown[0], :, 0])
        points = [p @ self._camera.T for p in (self._nodes[shown], self._plane)]
        self.low, self.high = bounds(points, 2.0)

    def dress(self, ax: Axes, *, scale_bar: bool) -> Painter:
        """Limits, sagittal plane and, if wanted, a scale bar; returns what paints the rest."""
        ax.spines[:].set(visible=True, color="#DDDDDD")
        ax.set(xticks=[], yticks=[], anchor="NW")
        ax.set(xlim=(self.low[0], self.high[0]), ylim=(self.low[1], self.high[1]), aspect="equal")
        if self._still:
            draw_plane(ax, self._camera, self._plane)
        if scale_bar:
            length = round_length(0.25 * (self.high[0] - self.low[0]))
            x, y, _ = self.low + 0.03 * (self.high - self.low)
            ax.plot([x, x + length], [y, y], color=INK, lw=2, solid_capstyle="butt", zorder=5)
            ax.text(x + 0.5 * length, y, f"{length:g} mm\n", ha="center", va="baseline", zorder=5)
        return Painter(ax, self._camera)

    def show(self, painter: Painter, frame: int) -> str:
        """Show one recorded frame; returns its time as text."""
        ribbons = []
        for nodes, colour in zip(self._nodes[frame], self._colours, strict=True):
            points = nodes[np.isfinite(nodes).all(axis=1)]
            widths = np.linspace(0.36, 0.06, len(points))
            ribbons.append(Ribbon(points_mm=points, widths_mm=widths, colour=colour))
        time_s = float(self.times_s[frame])
        painter.show(ribbons, self._meshes, self._start_s + time_s)
        return f"{1e3 * time_s:.{0 if self.times_s[0] >= 1e-3 else 1}f} ms"


def plane_corners_mm(head: HeadPose, bases_mm: Array) -> Array:
    """Corners (4, 3) in the world of the part of the sagittal plane beside the bases (n, 3)."""
    local = (bases_mm - head.position_mm) @ head.rotation
    (_, back, down), (_, front, top) = local.min(axis=0) - 3.0, local.max(axis=0) + 3.0
    corners = [(0.0, back, down), (0.0, front, down), (0.0, front, top), (0.0, back, top)]
    return head.points_to_world_mm(corners)


def draw_plane(ax: Axes, camera: Array, corners_mm: Array) -> None:
    """The sagittal plane behind everything; a dashed line where it is seen edge-on."""
    x, y, _ = camera @ corners_mm.T
    ax.fill(x, y, facecolor=PLANE, edgecolor=PLANE_EDGE, lw=0.8, ls=(0, (4, 3)), zorder=0.5)


def bounds(points: Iterable[Array], margin_mm: float) -> tuple[Array, Array]:
    """Lowest and highest corner (3,) of points (..., 3), with a margin."""
    flat = np.concatenate([p.reshape(-1, 3) for p in points])
    return np.nanmin(flat, axis=0) - margin_mm, np.nanmax(flat, axis=0) + margin_mm


def round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above ``longest``, which is > 0."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(m * power for m in (1.0, 2.0, 5.0) if m * power <= longest * (1 + 1e-9)))


def header(figure: Figure, text: str, keys: Sequence[Artist], below: str = "") -> None:
    """A bold first line, shortened where too long; below it another and the keys on its right."""
    width, height = figure.get_size_inches()
    most = int((width - 0.4) / 0.115)
    shown = (
        text
        if len(text) <= most
        else f"{text[: most // 2]}\N{HORIZONTAL ELLIPSIS}{text[-most // 2 + 2 :]}"
    )
    figure.text(
        0.18 / width, 1.0 - 0.14 / height, shown, va="top", fontsize=11, fontweight="bold",
        parse_math=False,
    )  # fmt: skip
    figure.text(0.18 / width, 1.0 - 0.4 / height, below, va="top")
    figure.legend(
        handles=list(keys), loc="upper right", ncols=len(keys), handlelength=1.4,
        columnspacing=1.2, bbox_to_anchor=(1.0, 1.0 - 0.3 / height),
    )  # fmt: skip


def row_keys(names: Iterable[str]) -> list[Artist]:
    """Legend keys of the whisker rows."""
    from matplotlib.lines import Line2D

    rows = sorted({parse_name(name).row: row_colour(name) for name in names}.items())
    return [Line2D([], [], color=colour, lw=2.5, label=row) for row, colour in rows]


def grid_blocks(names: Sequence[str]) -> dict[Side, dict[tuple[int, int], int]]:
    """By side, left first: the grid place of each whisker, and its number among ``names``."""
    found: dict[Side, dict[tuple[int, int], int]] = {"L": {}, "R": {}}
    for which, name in enumerate(names):
        found[parse_name(name).side][grid_place(name)] = which
    return {side: places for side, places in found.items() if places}


def check_index(sweep: Sweep, index: int) -> None:
    """Refuse a sweep that is not there."""
    if not 0 <= index < len(sweep):
        raise refuse("index", index, f"there are {len(sweep)} sweeps", "count them from 0")


def value_bar(ax: Axes, span: float, unit: str) -> None:
    """A vertical scale bar left of a panel, in the panel's own scale."""
    length = round_length(0.5 * span)
    low, high = ax.get_ylim()
    start = low + 0.06 * (high - low)
    mixed = ax.get_yaxis_transform()
    ax.plot(
        [-0.06, -0.06], [start, start + length], color=INK, lw=2.0, transform=mixed,
        clip_on=False, solid_capstyle="butt", label="scale bar",
    )  # fmt: skip
    ax.text(
        -0.1, start + 0.5 * length, f"{length:g} {unit}", transform=mixed, rotation=90,
        ha="right", va="center", fontsize=9,
    )  # fmt: skip


def frames_at(sweep: Sweep, index: int, times_s: Sequence[float] | None, n: int) -> Indices:
    """Frames nearest to the times; without any, ``n`` over the contact or the whole sweep."""
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


def with_one_palette(pictures: Sequence[np.ndarray], colour_map: str) -> list[Image]:
    """Pictures (row, column, 3) uint8 with one palette: what is still stays so, white is white."""
    from matplotlib import colormaps
    from PIL import Image

    some = [pictures[k] for k in np.linspace(0, len(pictures) - 1, 5).astype(int)]
    common = Image.fromarray(np.concatenate(some)).quantize(192).getpalette() or []
    extra = (255 * colormaps[colour_map](np.linspace(0, 1, 62))[:, :3]).round().astype(int)
    palette = Image.new("P", (1, 1))
    palette.putpalette(([255] * 3 + extra.ravel().tolist() + common)[: 3 * 256])
    flat = []
    for pixels in pictures:
        picture = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)
        white = Image.fromarray((pixels == 255).all(axis=-1))
        picture.paste(0, mask=white)
        flat.append(picture)
    return flat
