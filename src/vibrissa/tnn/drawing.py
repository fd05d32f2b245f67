"""Drawings of a graph: its nodes and edges, and the same unrolled over a few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vibrissa.core.errors import refuse
from vibrissa.tnn.cells import cells
from vibrissa.tnn.describe import shape_text
from vibrissa.tnn.spec import Mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vibrissa.tnn.graph import TemporalGraph

_INK: Final = "#333333"
_KINDS: Final = {  # kind -> (colour, label); told apart by colour-blind readers
    "forward": ("#4d4d4d", "feedforward"),
    "skip": ("#0072b2", "skip"),
    "feedback": ("#d55e00", "feedback"),
    "memory": ("#009e73", "memory of the cell"),
}
_LIVE: Final = "#fff3d6"
_DARK: Final = "#ffffff"
_MOST_STEPS: Final = 12


def plot(
    graph: TemporalGraph, *, steps: int = 5, mode: Mode = "biological", path: Any = None
) -> Figure:
    """Draw a graph and its unrolling.

    Left, the nodes from the stimulus (bottom) to the read-outs (top) with their shapes and cells;
    feedforward, skip and feedback edges in colours of their own. Right, every node at every step:
    each edge from the step at which a value was made to the one at which it is read. Nodes that the
    stimulus has reached are filled.

    Args:
        graph: the graph.
        steps: how many to draw, from 2 to 12.
        mode: of the unrolling, ``biological`` or ``full``.
        path: also write the figure there (png, pdf, svg).

    Returns:
        The figure.

    Raises:
        InputError: another number of steps, or an unknown mode.
    """
    from matplotlib.figure import Figure

    if not isinstance(steps, int) or not 2 <= steps <= _MOST_STEPS:
        raise refuse("steps", steps, f"not from 2 to {_MOST_STEPS}", "give such a number")
    rows = len(graph.nodes) + len(graph.spec.stimuli)
    figure = Figure(figsize=(6.6 + 1.25 * steps, 1.4 + 0.72 * rows), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(5.6, 1.2 * steps))
    places = _places(graph)
    draw_graph(graph, left, places)
    draw_unrolling(graph, right, places, steps=steps, mode=mode)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _places(graph: TemporalGraph) -> dict[str, int]:
    """Height of stimuli and nodes: the order of a full pass, from the bottom."""
    return {n: k for k, n in enumerate((*graph.spec.stimuli, *graph.spec.timing("full").order))}


def _kind(source: str, target: str, places: dict[str, int]) -> str:
    if places[source] >= places[target]:
        return "feedback"
    return "forward" if places[target] - places[source] == 1 else "skip"


def draw_graph(graph: TemporalGraph, axes: Axes, places: dict[str, int] | None = None) -> None:
    """Draw nodes and edges, the stimulus at the bottom.

    Args:
        graph: the graph.
        axes: where.
        places: height of each stimulus and node; the order of a full pass if omitted.
    """
    places = _places(graph) if places is None else places
    reach = 2.2
    for node in graph.spec.nodes:
        for source in node.inputs:
            kind = _kind(source, node.name, places)
            apart = abs(places[node.name] - places[source])
            side = 1 if kind == "feedback" else -1
            bulge = 0.0 if kind == "forward" else side * (0.55 + 0.28 * min(apart, 6))
            reach = max(reach, 1.0 + abs(bulge))
            _edge(axes, places[source], places[node.name], bulge, kind)
    for name, height in places.items():
        if name in graph.spec.stimuli:
            title, note = name, f"stimulus, {shape_text(graph.input_shapes[name])}"
        else:
            cell = cells.name_of(graph.spec[name].cell)
            title = name + (" (read out)" if name in graph.spec.outputs else "")
            note = shape_text(graph.shapes[name].out) + ("" if cell == "identity" else f", {cell}")
        _box(axes, height, title, note, stimulus=name in graph.spec.stimuli)
    axes.set_xlim(-reach - 0.35, reach + 0.35)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.set_axis_off()
    axes.set_title("Graph", loc="left", fontsize=11, color=_INK)
    kinds = [k for k in ("forward", "skip", "feedback") if _has(graph, places, k)]
    memory = any(not node.cell.stateless for _, node in graph.nodes.items())
    _legend(axes, kinds + ["memory"] * memory)


def draw_unrolling(
    graph: TemporalGraph,
    axes: Axes,
    places: dict[str, int] | None = None,
    *,
    steps: int = 5,
    mode: Mode = "biological",
) -> None:
    """Draw every node at every step, and which value each reads.

    Args:
        graph: the graph.
        axes: where.
        places: height of each stimulus and node; the order of a full pass if omitted.
        steps: how many.
        mode: ``biological`` or ``full``.
    """
    places = _places(graph) if places is None else places
    timing = graph.spec.timing(mode)
    for node in graph.spec.nodes:
        y = places[node.name]
        for t in range(steps):
            for source in node.inputs:
                now = source in graph.spec.stimuli or (source, node.name) in timing.same_step
                if now or t > 0:
                    colour = _KINDS[_kind(source, node.name, places)][0]
                    _arrow(axes, (t if now else t - 1, places[source]), (t, y), colour)
            if t > 0 and not graph.nodes[node.name].cell.stateless:
                _arrow(axes, (t - 1, y), (t, y), _KINDS["memory"][0])
    for name, y in places.items():
        first = timing.first_input_step.get(name, 0)
        for t in range(steps):
            square = name in graph.spec.stimuli
            axes.plot(
                t, y, marker="s" if square else "o", markersize=11, zorder=3,
                markerfacecolor=_LIVE if t >= first else _DARK, markeredgecolor=_INK,
                markeredgewidth=1.0 if t >= first else 0.6,
            )  # fmt: skip
    axes.set_xlim(-0.5, steps - 0.5)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.set_xticks(range(steps), [str(t) for t in range(steps)], fontsize=9, color=_INK)
    axes.set_yticks(list(places.values()), list(places), fontsize=9, color=_INK)
    axes.tick_params(length=0)
    axes.set_xlabel("step", fontsize=9, color=_INK)
    for side in axes.spines.values():
        side.set_visible(False)
    what = "one step per edge" if mode == "biological" else "one full pass per step"
    axes.set_title(f"Unrolled, {what}; filled: reached by the stimulus", loc="left", fontsize=11,
                   color=_INK)  # fmt: skip


def _has(graph: TemporalGraph, places: dict[str, int], kind: str) -> bool:
    return any(_kind(p, n.name, places) == kind for n in graph.spec.nodes for p in n.inputs)


def _box(axes: Axes, height: float, title: str, note: str, *, stimulus: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "square,pad=0" if stimulus else "round,pad=0,rounding_size=0.1"
    box = FancyBboxPatch(
        (-1.0, height - 0.27), 2.0, 0.54, boxstyle=style, facecolor=_LIVE if stimulus else _DARK,
        edgecolor=_INK, linewidth=1.0, zorder=3,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(0, height + 0.1, title, ha="center", va="center", fontsize=9, color=_INK, zorder=4)
    axes.text(0, height - 0.12, note, ha="center", va="center", fontsize=7, color=_INK, zorder=4)


def _edge(axes: Axes, start: float, end: float, bulge: float, kind: str) -> None:
    """An arrow between two boxes: straight up between neighbours, else round the side."""
    from matplotlib.patches import FancyArrowPatch, PathPatch
    from matplotlib.path import Path

    colour = _KINDS[kind][0]
    head = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
    if bulge == 0.0:
        tip = FancyArrowPatch(
            (0, start + 0.27), (0, end - 0.27), color=colour, linewidth=1.2, zorder=2, **head
        )
        axes.add_patch(tip)
        return
    side = 1.0 if bulge > 0 else -1.0
    lift = 0.1 if end > start else -0.1  # leaves and arrives at different heights of a box
    a, b = start + lift, end - lift
    if start == end:
        a, b = start + 0.14, start - 0.14
    far = side + bulge
    curve = Path(
        [(side, a), (far, a), (far, b), (side + side * 0.06, b)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=colour, linewidth=1.1, zorder=2))
    tip = FancyArrowPatch(
        (side + side * 0.12, b), (side, b), color=colour, linewidth=0, zorder=2, **head
    )
    axes.add_patch(tip)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.annotate(
        "", xy=end, xytext=start, zorder=2,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.16,head_length=0.32", "color": colour, "linewidth": 0.8,
            "shrinkA": 6.5, "shrinkB": 6.5, "alpha": 0.85,
        },
    )  # fmt: skip


def _legend(axes: Axes, kinds: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=_KINDS[k][0], linewidth=1.5, label=_KINDS[k][1]) for k in kinds]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=4, frameon=False,
        fontsize=8, labelcolor=_INK, borderaxespad=0.4,
    )  # fmt: skip
