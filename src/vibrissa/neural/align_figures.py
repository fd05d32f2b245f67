"""Figures of alignment: scores by layer with ceilings and chance, and RDMs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vibrissa.neural.inference import ALPHA
from vibrissa.neural.targets import ANIMALS, POOLED

if TYPE_CHECKING:
    from vibrissa.neural.alignment import Alignment

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which colour-blind readers can tell apart."""


def main_target(alignment: Alignment) -> str:
    """The target to look at first: the animals as a group, else the pooled one, else the first."""
    names = list(dict.fromkeys(alignment.table["target"]))
    status = alignment.table.groupby("target")["status"].agg(set)
    for name in (ANIMALS, POOLED):
        if name in names and not status[name] & {"one_animal", "low_consistency"}:
            return name
    return POOLED if POOLED in names else names[0]


def draw_alignment(alignment: Alignment, *, target: str | None = None) -> Any:
    """One figure (matplotlib): values by layer, and the RDMs of the target and the best layers.

    A dash at each layer is its ``threshold``: values above it have ``p_max`` of 0.05 or less and
    a ring.

    Args:
        alignment: of at most six models.
        target: which; by default :func:`main_target`.

    Raises:
        InputError: no such target.
    """
    from matplotlib.figure import Figure

    target = target or main_target(alignment)
    rows = alignment.rows(target=target)
    models = list(dict.fromkeys(rows["model"]))[: len(_COLOURS)]
    panels = _rdm_panels(alignment, target, models)
    width = max(6.4, min(16.0, 2.5 + 0.45 * rows["layer"].nunique()))
    figure = Figure(figsize=(max(width, 2.6 * len(panels)), 6.6 if panels else 3.8))
    grid = figure.add_gridspec(2 if panels else 1, 1, height_ratios=[3, 2.2] if panels else [1])
    axes = figure.add_subplot(grid[0])
    layers = list(dict.fromkeys(rows["layer"]))
    for colour, model in zip(_COLOURS, models, strict=False):
        mine = rows[rows["model"] == model]
        x = np.array([layers.index(layer) for layer in mine["layer"]])
        raw, ceiling = mine["raw"].to_numpy(float), mine["ceiling"].to_numpy(float)
        axes.plot(x, raw, "o-", color=colour, label=model, markersize=4)
        low, high = (mine[k].to_numpy(float) * ceiling for k in ("low", "high"))
        axes.vlines(x, low, high, color=colour, alpha=0.5)
        strong = mine["p_max"].to_numpy(float) <= ALPHA
        level = mine["threshold"].to_numpy(float)
        axes.hlines(level, x - 0.35, x + 0.35, color=colour, linestyle=(0, (2, 1)), linewidth=1.2,
                    label=f"{model}: p_max = {ALPHA:g}")  # fmt: skip
        axes.plot(x[strong], raw[strong], "o", color=colour, markersize=9, fillstyle="none")
    _ceilings(axes, rows, len(layers))
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.set_xticks(range(len(layers)), layers, rotation=60 if len(layers) > 5 else 0,
                    ha="right" if len(layers) > 5 else "center", fontsize=8)  # fmt: skip
    axes.set_ylabel(f"{alignment.measure}, raw value")
    axes.set_title(f"target: {target}   (ring: p_max <= 0.05; bars: interval)", fontsize=10)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    if panels:
        _draw_rdms(figure, grid[1], panels, alignment.conditions)
    figure.set_layout_engine("constrained")
    return figure


def _ceilings(axes: Any, rows: Any, n: int) -> None:
    first = rows.iloc[0]
    lower, upper = float(first["ceiling_lower"]), float(first["ceiling_upper"])
    if np.isfinite(lower) and np.isfinite(upper):
        axes.fill_between([-0.4, n - 0.6], lower, upper, color="#f0e442", alpha=0.5, zorder=0,
                          label="noise ceiling, lower to upper")  # fmt: skip
    elif np.isfinite(first["ceiling"]):
        axes.axhline(float(first["ceiling"]), color="0.3", linestyle="--", label="ceiling")


def _rdm_panels(
    alignment: Alignment, target: str, models: list[str]
) -> list[tuple[str, np.ndarray]]:
    """RDMs to show: that of the target (pooled for the group), and of each model's best layer."""
    if not alignment.target_rdms or not alignment.layer_rdms:
        return []
    name = target if target in alignment.target_rdms else POOLED
    if name not in alignment.target_rdms:
        name = next(iter(alignment.target_rdms))
    panels = [(f"recordings: {name}", alignment.rdm(name))]
    for _, row in alignment.best_rows(target).iterrows():
        if row["model"] in models[:4]:
            key = f"{row['model']}/{row['layer']}"
            panels.append((f"{row['model']}\n{row['layer']}", alignment.rdm(key)))
    return panels


def _draw_rdms(figure: Any, place: Any, panels: list[tuple[str, np.ndarray]], names: Any) -> None:
    grid = place.subgridspec(1, len(panels))
    for k, (title, matrix) in enumerate(panels):
        axes = figure.add_subplot(grid[k])
        axes.imshow(matrix, cmap="viridis")
        axes.set_title(title, fontsize=8)
        short = names if k == 0 else [""] * len(names)
        axes.set_yticks(range(len(names)), short, fontsize=6)
        axes.set_xticks([])
