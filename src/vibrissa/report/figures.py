"""Figures of a report; each is drawn in the colours of the theme in force and returns a matplotlib
figure. They take plain tables and arrays, so that any run can be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError, refuse
from vibrissa.report.themes import colour, faint, ink, luminance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_NAME: Final = 42


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_accuracy(
    rows: Sequence[tuple[str, float, float, float]],
    *,
    chance: float,
    baseline: float | None = None,
    baseline_name: str = "linear baseline",
) -> Figure:
    """Accuracy by model as points with intervals.

    Args:
        rows: (model, accuracy, low, high), from 0 to 1, drawn from top to bottom.
        chance: accuracy of the best constant answer.
        baseline: of a simpler classifier, drawn as a line.
        baseline_name: what to call it.

    Raises:
        InputError: no rows.
    """
    if not rows:
        raise InputError("rows: no models to draw; give at least one.")
    figure = _figure(6.6, 0.9 + 0.34 * len(rows))
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    for place, (_, value, low, high) in zip(places, rows, strict=True):
        axes.plot([100 * low, 100 * high], [place, place], color=colour(0), lw=2.2)
        axes.plot(100 * value, place, "o", color=colour(0), ms=6)
    axes.axvline(100 * chance, color=ink(), lw=1, ls=":")
    beside = baseline is not None and abs(baseline - chance) < 0.2
    first = "center" if baseline is None or not beside else _away(chance, baseline)
    axes.text(100 * chance, 1.01, "chance", transform=_mixed(axes), ha=first, va="bottom",
              fontsize=8)  # fmt: skip
    if baseline is not None:
        axes.axvline(100 * baseline, color=colour(1), lw=1.2, ls="--")
        second = _away(baseline, chance) if beside else "center"
        axes.text(100 * baseline, 1.01, baseline_name, transform=_mixed(axes), ha=second,
                  va="bottom", fontsize=8)  # fmt: skip
    axes.set_yticks(places, [_short(name) for name, *_ in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlim(0, min(100.0, 1.08 * 100 * max(chance, *(r[3] for r in rows), baseline or 0.0)))
    axes.set_xlabel("Accuracy on new objects (%), with 95 % interval")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=faint(), lw=0.6)
    axes.set_axisbelow(True)
    return figure


def draw_confusion(matrix: np.ndarray, labels: Sequence[str]) -> Figure:
    """Confusion matrix as shares of each true class.

    Args:
        matrix: (true class, answered class) counts.
        labels: of both.

    Raises:
        InputError: shapes that do not fit.
    """
    counts = np.asarray(matrix, dtype=float)
    n = len(labels)
    if counts.shape != (n, n):
        raise refuse("matrix", counts.shape, f"not ({n}, {n})", "give one row per label")
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    side = 1.8 + (0.34 if n <= 12 else 0.2) * n
    figure = _figure(side + 0.7, side)
    axes = figure.subplots()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="cividis")
    axes.set_xticks(range(n), labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), labels)
    axes.set_xlabel("Answered")
    axes.set_ylabel("True class")
    if n <= 12:
        for i, j in np.ndindex(n, n):
            if counts[i, j]:
                # Black and white stand equally well against a luminance of 0.18.
                light = luminance([float(v) for v in image.to_rgba(shares[i, j])]) < 0.18
                axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=7.5,
                          color="#FFFFFF" if light else "#000000")  # fmt: skip
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("Share of the true class")
    return figure


def draw_curves(curves: Mapping[str, Mapping[str, Sequence[float]]], quantity: str) -> Figure:
    """Learning curves: one line per run and part.

    Args:
        curves: run -> part (``train``, ``validate``) -> value at the end of each epoch, from 1.
        quantity: label of the vertical axis.
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(9.0, 3.4)
    axes = figure.subplots()
    styles = {"train": "--", "validate": "-"}
    for k, (name, parts) in enumerate(curves.items()):
        for part, values in parts.items():
            epochs = np.arange(1, len(values) + 1)
            label = f"{_short(name)}, {part}"
            axes.plot(epochs, values, styles.get(part, ":"), color=colour(k), label=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Epoch")
    axes.set_ylabel(quantity)
    axes.grid(axis="y", color=faint(), lw=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_alignment(
    layers: Sequence[str],
    score: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    ceiling: tuple[float, float] | None = None,
    null: tuple[float, float] | None = None,
    label: str = "Alignment (noise-corrected)",
    highlight: str | None = None,
) -> Figure:
    """Alignment by layer with its interval, the ceiling and the range of the null.

    Args:
        layers: in order of computation.
        score: of each; NaN leaves a gap.
        low: lower ends of the intervals.
        high: upper ends.
        ceiling: lower and upper noise ceiling on the same scale.
        null: 2.5 % and 97.5 % quantiles of the null distribution.
        label: of the vertical axis.
        highlight: a layer chosen beforehand or on held-out animals.
    """
    figure = _figure(max(5.0, 1.6 + 0.32 * len(layers)), 3.3)
    axes = figure.subplots()
    x = np.arange(len(layers))
    if null is not None:
        axes.axhspan(*null, color=faint(), alpha=0.55, lw=0, label="95 % of the null")
    if ceiling is not None:
        axes.axhspan(*ceiling, color=colour(2), alpha=0.30, lw=0, label="noise ceiling")
    axes.axhline(0, color=ink(), lw=0.8)
    value, below, above = (np.asarray(v, dtype=float) for v in (score, low, high))
    for k in range(len(x)):
        chosen = layers[k] == highlight
        tint = colour(1) if chosen else colour(0)
        if np.isfinite(below[k]) and np.isfinite(above[k]):
            axes.plot([x[k], x[k]], [below[k], above[k]], color=tint, lw=2)
        axes.plot(x[k], value[k], "s" if chosen else "o", color=tint, ms=6 if chosen else 5)
    axes.set_xticks(x, [_short(name) for name in layers], rotation=60, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_ylabel(label)
    axes.set_xlim(-0.6, len(x) - 0.4)
    if null is not None or ceiling is not None:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_accuracy_alignment(
    points: Sequence[tuple[str, float, float, str]], *, ceiling: float | None = None
) -> Figure:
    """Accuracy against alignment, one point per model, with the least-squares line.

    Args:
        points: (model, accuracy 0 to 1, alignment, group); groups share a colour.
        ceiling: of the alignment.
    """
    found = [p for p in points if np.isfinite(p[1]) and np.isfinite(p[2])]
    figure = _figure(6.4, 3.8)
    axes = figure.subplots()
    groups = list(dict.fromkeys(p[3] for p in found))
    for k, group in enumerate(groups):
        mine = [p for p in found if p[3] == group]
        marker = "osD^vPX"[k % 7]
        axes.plot([100 * p[1] for p in mine], [p[2] for p in mine], marker, color=colour(k),
                  ms=6, label=group)  # fmt: skip
    x, y = (np.array([p[k] for p in found], dtype=float) for k in (1, 2))
    if len(found) >= 3 and x.std() > 0:
        slope, start = np.polyfit(100 * x, y, 1)
        ends = 100 * np.array([x.min(), x.max()])
        r = np.corrcoef(x, y)[0, 1] if y.std() > 0 else float("nan")
        axes.plot(ends, start + slope * ends, color=ink(), lw=1, label=f"line, r = {r:.2f}")
    if ceiling is not None:
        axes.axhline(ceiling, color=colour(2), lw=1.2, ls="--", label="noise ceiling")
    axes.set_xlabel("Accuracy on new objects (%)")
    axes.set_ylabel("Alignment")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_rdms(rdms: Mapping[str, np.ndarray], conditions: Sequence[str]) -> Figure:
    """Dissimilarity matrices side by side, each on its own scale.

    Args:
        rdms: title -> (condition, condition), symmetric.
        conditions: names.

    Raises:
        InputError: a matrix of another shape.
    """
    n, count = len(conditions), len(rdms)
    for title, rdm in rdms.items():
        if np.shape(rdm) != (n, n):
            raise refuse(f"rdm {title}", np.shape(rdm), f"not ({n}, {n})", "name each condition")
    across = min(count, 3)
    down = -(-count // across)
    figure = _figure(0.9 + 2.3 * across, 0.7 + 2.4 * down)
    panels = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for k, (axes, (title, rdm)) in enumerate(zip(panels, rdms.items(), strict=False)):
        shown = np.array(rdm, dtype=float)
        np.fill_diagonal(shown, np.nan)
        image = axes.imshow(shown, cmap="cividis")
        axes.set_title(_short(title, 24), fontsize=8)
        first, last = k % across == 0, k + across >= count
        axes.set_yticks(range(n), conditions if first else [""] * n)
        axes.set_xticks(range(n), conditions if last else [""] * n, rotation=60, ha="right",
                        rotation_mode="anchor")  # fmt: skip
        figure.colorbar(image, ax=axes, shrink=0.8)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure


def draw_findings(table: Any) -> Figure:
    """Effects with intervals, each over its own half-width, so that claims share one axis.

    Args:
        table: as :func:`vibrissa.report.findings.as_table` gives it.
    """
    known = table[np.isfinite(table["low"].astype(float))]
    figure = _figure(7.4, 1.3 + 0.46 * max(1, len(known)))
    axes = figure.subplots()
    looks = {
        "supported": (colour(2), "o", colour(2)),
        "not supported": (colour(1), "s", colour(1)),
        "undecided at this scale": (ink(), "o", "none"),
    }
    places = np.arange(len(known))[::-1]
    named = set()
    for place, (_, row) in zip(places, known.iterrows(), strict=True):
        # Equal values in all seeds have no width; such a point goes to the edge.
        half = max((row["high"] - row["low"]) / 2, abs(row["effect"]) / 11, 1e-12)
        middle = row["effect"] / half
        verdict = str(row["verdict"])
        tint, marker, filling = looks[verdict]
        # The line leaves the mark free, so that a hollow one looks hollow.
        for a, b in ((-1, -0.22), (0.22, 1)):
            axes.plot([middle + a, middle + b], [place, place], color=tint, lw=2.2)
        axes.plot(middle, place, marker, color=tint, mfc=filling, mew=1.6, ms=6,
                  label=None if verdict in named else verdict)  # fmt: skip
        named.add(verdict)
    axes.axvline(0, color=ink(), lw=1, ls=":")
    # Far effects would squeeze the others; beyond ten half-widths nothing more is learnt.
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -12), min(right, 12.2))
    axes.set_yticks(places, [_broken(str(claim)) for claim in known["claim"]])
    axes.set_ylim(-0.7, max(1, len(known)) - 0.3)
    axes.set_xlabel("Effect over the half-width of its 95 % interval")
    axes.tick_params(axis="y", length=0)
    if named:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def _away(here: float, other: float) -> str:
    """How to set a label at ``here`` so that it leaves room for one at ``other``."""
    return "left" if here > other else "right"


def _broken(text: str, width: int = 44) -> str:
    """A sentence in lines of so many letters."""
    from textwrap import fill

    return fill(text, width)


def _mixed(axes: Axes) -> Any:
    """Across in data, up in shares of the axes."""
    from matplotlib.transforms import blended_transform_factory

    return blended_transform_factory(axes.transData, axes.transAxes)


def _short(name: str, longest: int = _LONGEST_NAME) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
