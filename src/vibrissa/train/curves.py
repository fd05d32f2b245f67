"""Learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vibrissa.simulation import drawing_3d as three
from vibrissa.simulation.drawing import save_figure
from vibrissa.train.recording import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS: Final = {"train": "#0072B2", "validate": "#D55E00", "probe": "#009E73"}
_NAMES: Final = {"train": "training", "validate": "validation", "probe": "probe"}
_QUIET: Final = "#666666"
_FEW: Final = 40  # points are marked where there are no more


def draw_curves(rows: Sequence[Row], *, title: str = "", chance: float | None = None) -> Figure:
    """Loss, accuracy where there is one, and learning rate over epochs.

    Args:
        rows: one per epoch, as in ``metrics.csv``.
        title: what was trained.
        chance: accuracy of the commonest class, drawn as a line.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    accuracy = any(row.get(f"{part}_top1") is not None for row in rows for part in _COLOURS)
    panels = 3 if accuracy else 2
    with three.style():
        figure = Figure(figsize=(3.4 * panels, 3.1), layout="constrained")
        axes: list[Any] = list(figure.subplots(1, panels))
        _panel(axes[0], rows, "loss", 1.0)
        axes[0].set_ylabel("Loss")
        if accuracy:
            _panel(axes[1], rows, "top1", 100.0)
            axes[1].set_ylabel("Top-1 accuracy (%)")
            axes[1].set_ylim(0.0, 100.0)
            if chance is not None:
                axes[1].axhline(100 * chance, color=_QUIET, lw=1.0, ls=":")
                axes[1].annotate(
                    "chance", (1.0, 100 * chance), xycoords=("axes fraction", "data"),
                    xytext=(-2, 2), textcoords="offset points", ha="right", color=_QUIET,
                    fontsize=8,
                )  # fmt: skip
        epochs = [row["epoch"] for row in rows]
        axes[-1].plot(epochs, [row["lr"] for row in rows], color=_QUIET, **_marks(len(rows)))
        axes[-1].set_ylabel("Learning rate")
        axes[-1].set_ylim(bottom=0.0)
        axes[-1].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        for axis in axes:
            axis.set_xlabel("Epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.spines[["top", "right"]].set_visible(False)
        known = {
            line.get_label(): line
            for axis in axes[:-1]
            for line in axis.lines
            if line.get_label() in _NAMES.values()
        }
        figure.legend(
            known.values(), known.keys(), loc="outside upper right", ncols=len(known),
            frameon=False, fontsize=8,
        )  # fmt: skip
        if title:
            figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def save_curves(
    rows: Sequence[Row], folder: Path, *, title: str = "", chance: float | None = None
) -> None:
    """Write ``curves.png`` and ``curves.svg``."""
    figure = draw_curves(rows, title=title, chance=chance)
    for suffix in ("png", "svg"):
        save_figure(figure, folder / f"curves.{suffix}")


def _panel(axis: Axes, rows: Sequence[Row], metric: str, scale: float) -> None:
    for part, colour in _COLOURS.items():
        points = [(row["epoch"], row.get(f"{part}_{metric}")) for row in rows]
        known = [(e, scale * v) for e, v in points if e is not None and v is not None]
        if known:
            x, y = zip(*known, strict=True)
            axis.plot(x, y, color=colour, label=_NAMES[part], **_marks(len(known)))


def _marks(count: int) -> dict[str, Any]:
    return {"lw": 1.5} | ({"marker": "o", "ms": 3} if count <= _FEW else {})
