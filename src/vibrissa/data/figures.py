"""Figures of a store; all return matplotlib figures, to be written with ``save_figure``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.data.describing import (
    LoadStatistics,
    contact_known,
    describe,
    describe_text,
    load_statistics,
)
from vibrissa.morphology.grid import GRID_COLUMNS, GRID_ROWS
from vibrissa.morphology.names import parse_name
from vibrissa.simulation import drawing_3d as three
from vibrissa.simulation.sweep import WINDOW_START

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from vibrissa.data.store import SweepStore

__all__ = ["describe", "describe_text", "draw_info", "draw_sweeps"]

Quantity = Literal["moment", "force"]
MOST_SWEEPS: Final = 12
_LISTED_CLASSES: Final = 24
_EXAMPLES: Final = 4
_NAMES_DOWN: Final = 32  # as many names of whiskers fit beside an example
_BAR: Final = "#8FA9C4"
_QUIET: Final = "#888888"
_QUANTITIES: Final[dict[str, tuple[slice, float, str, str]]] = {
    "moment": (slice(3, 6), 1.0, "Moment at the base (µN·mm)", "OrRd"),
    "force": (slice(0, 3), 1e-3, "Force at the base (mN)", "Blues"),
}


# --- sweeps ----------------------------------------------------------------------------------


def draw_sweeps(
    store: SweepStore,
    indices: Sequence[int] | np.ndarray,
    *,
    quantities: Sequence[Quantity] = ("moment",),
) -> Figure:
    """Each sweep as an image, whisker by time, of the magnitude of the moment at the base.

    All images share one scale, which is that of the square root, so that light touch is seen
    beside hard. Whiskers stand in their order; thin lines part the rows of the array.

    Args:
        store: the sweeps.
        indices: up to twelve of them.
        quantities: ``moment``, ``force`` or both, which then stand side by side.

    Raises:
        InputError: no or too many sweeps, no such sweep, or unknown quantities.
    """
    from matplotlib.figure import Figure

    chosen = np.atleast_1d(np.asarray(indices)).tolist()
    if not 1 <= len(chosen) <= MOST_SWEEPS:
        raise refuse(
            "indices", len(chosen), f"not 1 to {MOST_SWEEPS} sweeps", "choose fewer, or one"
        )
    for name in quantities:
        if name not in _QUANTITIES:
            raise refuse_unknown("quantity", name, _QUANTITIES)
    if not quantities or len(set(quantities)) < len(quantities):
        raise refuse("quantities", tuple(quantities), "none or one twice", "name each once")
    loads = store.loads(chosen, _axes_of(store)).astype(np.float64)
    titles = _titles(store, chosen)
    across = min(len(chosen), 4 // len(quantities))
    down = -(-len(chosen) // across)
    columns = across * len(quantities)
    tall = max(1.5, 0.098 * len(store.whiskers))  # inches of an image
    lines = max(text.count("\n") for _, text in titles) + 1
    above = 0.24 + 0.15 * lines
    width, height = 1.3 + 2.75 * columns, 0.95 + down * (tall + above + 0.42) + 0.1
    if columns == 1:
        width += 1.4
    with three.style():
        figure = Figure(figsize=(width, height))
        left, right = 0.58 / width, 1.0 - 0.15 / width
        grid = figure.add_gridspec(
            down, columns, left=left, right=right, top=1.0 - (0.62 + above) / height,
            bottom=0.5 / height, wspace=0.08, hspace=(above + 0.32) / tall,
        )  # fmt: skip
        images: dict[str, AxesImage] = {}
        for which, name in enumerate(quantities):
            part, factor, _, colours = _QUANTITIES[name]
            size = factor * np.linalg.norm(loads[..., part], axis=-1)
            scale = _root_scale(size)
            for k in range(len(chosen)):
                at = (k % across) * len(quantities) + which
                ax = figure.add_subplot(grid[k // across, at])
                images[name] = _sweep_image(ax, size[k], store, colours, scale)
                lowest = k + across >= len(chosen)
                _name_axes(ax, store, names=at == 0, times=lowest)
                if which == 0:
                    _title(ax, *titles[k])
        for which, name in enumerate(quantities):
            behind = len(quantities) - which  # bars of this and those to its right
            box = (right + (0.15 - 2.7 * behind) / width, 1.0 - 0.2 / height)
            _colour_bar(figure, images[name], _QUANTITIES[name][2], box, 2.4 / width)
        head = "1 sweep" if len(chosen) == 1 else f"{len(chosen)} sweeps"
        figure.text(0.18 / width, 1.0 - 0.14 / height, head, va="top", fontsize=11,
                    fontweight="bold")  # fmt: skip
    return figure


def _sweep_image(
    ax: Axes, size: np.ndarray, store: SweepStore, colours: str, scale: Normalize
) -> AxesImage:
    """An image of (time, whisker); the first whisker on top."""
    count = len(store.whiskers)
    image = ax.imshow(
        size.T, cmap=colours, norm=scale, aspect="auto", interpolation="nearest",
        extent=(0.0, len(size) / store.rate_hz, count - 0.5, -0.5),
    )  # fmt: skip
    rows = [_row(name) for name in store.whiskers]
    for k in range(1, count):
        if rows[k] != rows[k - 1]:
            ax.axhline(k - 0.5, color=_QUIET, lw=0.5)
    ax.spines[:].set(visible=True, color=_QUIET, lw=0.5)
    return image


def _name_axes(ax: Axes, store: SweepStore, *, names: bool, times: bool, every: int = 1) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.tick_params(length=2.0)
    # The last tick of a panel would meet the first of the next.
    ax.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if times:
        ax.set_xlabel("Time (s)")
    else:
        ax.tick_params(labelbottom=False)
    if not names:
        ax.set_yticks([])
        return
    ax.set_yticks(range(0, len(store.whiskers), every), store.whiskers[::every], fontsize=6.0)
    ax.tick_params(axis="y", length=0.0, pad=2.0)


def _title(ax: Axes, name: str, parameters: str) -> None:
    lines = parameters.count("\n") + 1 if parameters else 0
    ax.annotate(
        parameters, (0.0, 1.0), (0.0, 3.0), xycoords="axes fraction", textcoords="offset points",
        fontsize=7.5, va="bottom", color="#555555", parse_math=False, linespacing=1.2,
    )  # fmt: skip
    ax.annotate(
        name, (0.0, 1.0), (0.0, 4.0 + 10.8 * lines), xycoords="axes fraction",
        textcoords="offset points", fontsize=9.0, va="bottom", parse_math=False,
    )  # fmt: skip


def _titles(store: SweepStore, chosen: Sequence[int]) -> list[tuple[str, str]]:
    """The object of each sweep, and below it the parameters in which the store's sweeps differ."""
    table = store.table
    first = list(table.columns).index("overlapping") + 1
    differing = [
        name
        for name in table.columns[first:]
        if name != WINDOW_START and len(set(table[name].tolist())) > 1
    ]
    found = []
    for index in chosen:
        row = table.iloc[index]
        words = [_spoken(name, row[name]) for name in differing]
        found.append((_shortened(str(row["object"]), 34), _wrapped(words or [row["sweep"]], 42)))
    return found


def _spoken(name: str, value: Any) -> str:
    """``theta_deg`` 30.0 -> ``theta 30 deg``."""
    for ending, unit in (("_mm_per_s", "mm/s"), ("_deg_per_s", "deg/s"), ("_deg", "°"),
                         ("_mm", "mm"), ("_s", "s")):  # fmt: skip
        if name.endswith(ending) and isinstance(value, float | np.floating):
            space = "" if unit == "°" else " "
            return f"{name.removesuffix(ending).replace('_', ' ')} {value:g}{space}{unit}"
    shown = f"{value:g}" if isinstance(value, float | np.floating) else str(value)
    return f"{name.replace('_', ' ')} {shown}"


def _wrapped(words: Sequence[str], wide: int) -> str:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines[-1] else word
        if len(longer) <= wide or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(word)
    return "\n".join(_shortened(line, wide + 4) for line in lines)


def _shortened(text: str, most: int) -> str:
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}\N{HORIZONTAL ELLIPSIS}{text[-half:]}"


def _root_scale(size: np.ndarray) -> Normalize:
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0.0, float(size.max()) or 1.0)


def _colour_bar(
    figure: Figure, image: AxesImage, label: str, at: tuple[float, float], across: float
) -> None:
    """A flat colour bar whose upper left corner stands at a place of the figure."""
    from matplotlib.ticker import FuncFormatter

    height = figure.get_size_inches()[1]
    ax = figure.add_axes((at[0], at[1] - 0.1 / height, across, 0.1 / height))
    bar = figure.colorbar(image, cax=ax, orientation="horizontal")
    top = float(np.max(image.norm.vmax or 1.0))
    ticks = sorted({0.0, *(three.round_length(top * share) for share in (0.06, 0.3, 1.0))})
    bar.set_ticks(ticks)
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.minorticks_off()
    bar.ax.tick_params(length=2.0, labelsize=7.5, pad=1.5)
    bar.set_label(label, fontsize=8.0, labelpad=1.0)
    bar.outline.set_visible(False)


def _axes_of(store: SweepStore) -> str:
    """Magnitudes are the same in all axes; take what is stored."""
    return "base" if "base" in store.frames else "world"


def _row(name: str) -> tuple[str, str]:
    parsed = parse_name(name)
    return parsed.side, parsed.row


# --- the store -------------------------------------------------------------------------------


def draw_info(
    store: SweepStore, *, statistics: LoadStatistics | None = None, quiet: bool = True
) -> Figure:
    """A store at a glance: classes, loads, contact, and a sweep of each of a few classes.

    Args:
        store: the sweeps.
        statistics: of its loads, if at hand (:func:`~vibrissa.data.describing.load_statistics`).
        quiet: no progress bar while they are measured.

    Raises:
        InputError: the store has no sweeps.
    """
    from matplotlib.figure import Figure

    if not len(store):
        raise refuse("store", str(store.path), "it has no sweeps", "build it first")
    found = statistics or load_statistics(store, quiet=quiet)
    width, height = 12.0, 9.4
    with three.style():
        figure = Figure(figsize=(width, height))
        upper = figure.add_gridspec(
            2, 3, left=0.115, right=0.985, top=0.9, bottom=0.495, wspace=0.27, hspace=0.48,
            width_ratios=(0.8, 1.0, 1.0),
        )  # fmt: skip
        _classes_panel(figure.add_subplot(upper[:, 0]), store)
        _loads_panel(figure.add_subplot(upper[0, 1]), found, "F", 1e-3, "Force (mN)")
        _loads_panel(figure.add_subplot(upper[0, 2]), found, "M", 1.0, "Moment (µN·mm)")
        _contact_panel(figure.add_subplot(upper[1, 1]), store)
        _whiskers_panel(figure.add_subplot(upper[1, 2]), store, found)
        _examples(figure, store)
        sweeps, objects, classes = len(store), len(store.objects), len(store.labels)
        three.header(
            figure, store.path.resolve().name, [],
            f"{sweeps:,} sweeps of {objects:,} objects in {classes} classes, "
            f"{store.time} frames at {store.rate_hz:.6g} Hz, {len(store.whiskers)} whiskers",
        )  # fmt: skip
    return figure


def _classes_panel(ax: Axes, store: SweepStore) -> None:
    sweeps = store.table["label"].value_counts().to_dict()
    objects = store.objects["label"].value_counts().to_dict()
    names = sorted(sweeps, key=lambda name: (-sweeps[name], name))
    shown, others = names[:_LISTED_CLASSES], names[_LISTED_CLASSES:]
    rows = [(_shortened(n, 15), sweeps[n], objects[n]) for n in shown]
    if others:
        mean = [round(sum(c[n] for n in others) / len(others)) for c in (sweeps, objects)]
        rows.append((f"{len(others)} more, mean", mean[0], mean[1]))
    colours = [_BAR] * len(shown) + ["#D0D0D0"] * bool(others)
    ax.barh(range(len(rows)), [row[1] for row in rows], color=colours, height=0.72)
    most = max(row[1] for row in rows)
    for k, (_, count, things) in enumerate(rows):
        text = f" {count:,} ({things:,})"
        ax.text(count, k, text, va="center", fontsize=7.5, parse_math=False)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set(xlim=(0, 1.45 * most), ylim=(max(len(rows), 6) - 0.4, -0.6))
    ax.set_title("Sweeps per class (objects)")
    ax.set_xlabel("Sweeps")
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)


def _loads_panel(ax: Axes, found: LoadStatistics, letter: str, factor: float, label: str) -> None:
    """Histograms of absolute values on a logarithmic axis, a twentieth of a decade per bin."""
    edges = factor * found.edges[::5]
    total = max(found.values, 1)
    binned = {
        name: found.counts[name].reshape(-1, 5).sum(axis=1) / total
        for name in (letter, *(letter + axis for axis in "xyz"))
    }
    ax.stairs(100 * binned[letter], edges, fill=True, color="#DDDDDD", label="magnitude")
    for axis, colour in zip("xyz", three.CHANNEL_COLOURS, strict=True):
        ax.stairs(100 * binned[letter + axis], edges, color=colour, lw=1.2,
                  label=f"$|{letter}_{axis}|$")  # fmt: skip
    top = max(found.largest[letter] * factor, 1e-6)
    for percent, side in ((50.0, "right"), (99.0, "left")):
        value = found.percentile(letter, percent)
        if value:
            ax.axvline(value * factor, color=three.INK, lw=0.8, ls=(0, (4, 2)))
            ax.annotate(
                f"{percent:g} %", (value * factor, 1.0), (0, 1), fontsize=7.5, ha=side,
                xycoords=("data", "axes fraction"), textcoords="offset points", va="bottom",
            )  # fmt: skip
    ax.set_xscale("log")
    ax.set(xlim=(top * 10**-4.5, top * 3.0), xlabel=label, ylabel="Frames (%)")
    ax.set_title(f"{label.split(' ')[0]}, {found.frame} frame", pad=13.0)
    ax.legend(loc="upper left", fontsize=8, handlelength=1.0, borderaxespad=0.2)


def _contact_panel(ax: Axes, store: SweepStore) -> None:
    ax.set_title("Contact per sweep", pad=13.0)
    if not contact_known(store):
        _unknown(ax)
        return
    share = 100 * store.table["contact_share"].to_numpy(np.float64)
    ax.hist(share, bins=np.linspace(0, 100, 41).tolist(), color=_BAR, edgecolor="white", lw=0.4)
    ax.axvline(share.mean(), color=three.INK, lw=0.8, ls=(0, (4, 2)))
    ax.annotate(
        f"mean {share.mean():.0f} %", (share.mean(), 1.0), (0, 1), va="bottom", ha="center",
        fontsize=7.5, xycoords=("data", "axes fraction"), textcoords="offset points",
    )  # fmt: skip
    ax.set(xlabel="Whisker frames in contact (%)", ylabel="Sweeps", xlim=(0, 100))


def _whiskers_panel(ax: Axes, store: SweepStore, found: LoadStatistics) -> None:
    """Share of contact of each whisker in its place of the grid; of two sides the left one."""
    title = "Frames in contact (%) per whisker"
    ax.set_title(title, pad=6.0)
    if not found.contact_share:
        _unknown(ax)
        return
    try:
        blocks = three.grid_blocks(store.whiskers)
    except InputError:  # an array that is larger than the grid
        shares = [100 * share for share in found.contact_share.values()]
        ax.bar(range(len(shares)), shares, color=_BAR, width=0.8)
        ax.set_xlabel("Whisker, in the order of the store")
        return
    side, places = next(iter(blocks.items()))
    if len(blocks) > 1:
        ax.set_title(f"{title}, left side", pad=6.0)
    share = np.full((len(GRID_ROWS), GRID_COLUMNS), np.nan)
    for (row, column), which in places.items():
        share[row, column] = 100 * found.contact_share[store.whiskers[which]]
    top = float(np.nanmax(share)) or 1.0
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=top, aspect="auto")
    for (row, column), which in places.items():
        value = share[row, column]
        ax.text(
            column, row, f"{store.whiskers[which]}\n{value:.0f}", ha="center", va="center",
            fontsize=7, color="white" if value > 0.6 * top else three.INK, linespacing=1.1,
        )  # fmt: skip
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if side == "L":
        ax.invert_xaxis()


def _unknown(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.text(0.5, 0.5, "not known\n(imported)", ha="center", va="center", color=_QUIET)


def _examples(figure: Figure, store: SweepStore) -> None:
    """A middling sweep of each of a few classes, those with most sweeps."""
    table = store.table
    counts = table["label"].value_counts().to_dict()
    names = sorted(counts, key=lambda name: (-counts[name], name))[:_EXAMPLES]
    chosen = []
    for name in sorted(names):
        mine = np.flatnonzero((table["label"] == name).to_numpy())
        peaks = table["peak_moment_uN_mm"].to_numpy()[mine]
        chosen.append(int(mine[np.argsort(peaks, kind="stable")[len(mine) // 2]]))
    size = np.linalg.norm(store.loads(chosen, _axes_of(store))[..., 3:].astype(float), axis=-1)
    grid = figure.add_gridspec(
        1, len(chosen), left=0.05, right=0.985, top=0.345, bottom=0.055, wspace=0.06
    )
    scale = _root_scale(size)
    titles = _titles(store, chosen)
    image = None
    for k, (name, parameters) in enumerate(titles):
        ax = figure.add_subplot(grid[0, k])
        image = _sweep_image(ax, size[k], store, "OrRd", scale)
        every = -(-len(store.whiskers) // _NAMES_DOWN)
        _name_axes(ax, store, names=k == 0, times=True, every=every)
        _title(ax, name, parameters)
    assert image is not None
    _colour_bar(figure, image, "Moment at the base (µN·mm)", (0.785, 0.452), 0.2)
