"""Drawings of a graph: its nodes and edges, and the same unrolled over a few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

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
    graph: TemporalGraph,
    *,
    what: Literal["both", "graph", "unrolled"] = "both",
    steps: int = 5,
    mode: Mode = "biological",
    path: Any = None,
) -> Figure:
    """Draw a graph and its unrolling.

    Left, the nodes from the stimulus (bottom) to the read-outs (top) with their shapes and cells;
    feedforward, skip and feedback edges in colours of their own, and so the frames of nodes whose
    cell has memory. Right, every node at every step:
    each edge from the step at which a value was made to the one at which it is read. Nodes that the
    stimulus has reached are filled.

    Args:
        graph: the graph.
        what: ``both`` side by side, or one of them: ``graph``, ``unrolled``.
        steps: how many to draw, from 2 to 12.
        mode: of the unrolling, ``biological`` or ``full``.
        path: also write the figure there (png, pdf, svg).

    Returns:
        The figure.

    Raises:
        InputError: another number of steps, an unknown mode or part.
    """
    from matplotlib.figure import Figure

    if what not in ("both", "graph", "unrolled"):
        raise refuse("what", what, "unknown", "choose one of both, graph, unrolled")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= _MOST_STEPS:
        raise refuse("steps", steps, f"not from 2 to {_MOST_STEPS}", "give such a number")
    rows = len(graph.nodes) + len(graph.spec.stimuli)
    places = _places(graph)
    widths = {"graph": 5.2, "unrolled": 1.6 + 1.25 * steps}
    parts = ["graph", "unrolled"] if what == "both" else [what]
    size = (0.4 + sum(widths[part] for part in parts), 1.4 + 0.72 * rows)
    figure = Figure(figsize=size, layout="constrained")
    ratios = [widths[part] for part in parts]
    axes = figure.subplots(1, len(parts), width_ratios=ratios, squeeze=False)[0]
    for part, one in zip(parts, axes, strict=True):
        if part == "graph":
            draw_graph(graph, one, places)
        else:
            draw_unrolling(graph, one, places, steps=steps, mode=mode, legend=what == part)
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
    texts = {name: _texts(graph, name) for name in places}
    half = max(1.0, *(0.072 * len(title) for title, _ in texts.values()),
               *(0.053 * len(note) for _, note in texts.values()))  # fmt: skip
    reach = half + 1.2
    for node in graph.spec.nodes:
        for source in node.inputs:
            kind = _kind(source, node.name, places)
            apart = abs(places[node.name] - places[source])
            side = 1 if kind == "feedback" else -1
            bulge = 0.0 if kind == "forward" else side * (0.55 + 0.28 * min(apart, 6))
            reach = max(reach, half + abs(bulge))
            _edge(axes, places[source], places[node.name], half, bulge, kind)
    for name, height in places.items():
        memory = name in graph.nodes and not graph.nodes[name].cell.stateless
        stimulus = name in graph.spec.stimuli
        _box(axes, height, half, *texts[name], stimulus=stimulus, memory=memory)
    axes.set_xlim(-reach - 0.35, reach + 0.35)
    axes.set_ylim(-0.6, len(places) - 0.4)
    axes.set_axis_off()
    axes.set_title("Graph", loc="left", fontsize=11, color=_INK)
    _legend(graph, axes, places, at=0.0)


def draw_unrolling(
    graph: TemporalGraph,
    axes: Axes,
    places: dict[str, int] | None = None,
    *,
    steps: int = 5,
    mode: Mode = "biological",
    legend: bool = True,
) -> None:
    """Draw every node at every step, and which value each reads.

    Args:
        graph: the graph.
        axes: where.
        places: height of each stimulus and node; the order of a full pass if omitted.
        steps: how many.
        mode: ``biological`` or ``full``.
        legend: say what the colours mean.
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
                beside = 0.1 if node.name in node.inputs else 0.0  # of the edge from itself
                _arrow(axes, (t - 1, y + beside), (t, y + beside), _KINDS["memory"][0])
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
    if legend:
        _legend(graph, axes, places, at=-0.09)


def _has(graph: TemporalGraph, places: dict[str, int], kind: str) -> bool:
    return any(_kind(p, n.name, places) == kind for n in graph.spec.nodes for p in n.inputs)


def _texts(graph: TemporalGraph, name: str) -> tuple[str, str]:
    """Title and note of a box."""
    if name in graph.spec.stimuli:
        return name, f"stimulus, {shape_text(graph.input_shapes[name])}"
    cell = cells.name_of(graph.spec[name].cell)
    title = name + (" (read out)" if name in graph.spec.outputs else "")
    return title, shape_text(graph.shapes[name].out) + ("" if cell == "identity" else f", {cell}")


def _box(
    axes: Axes, height: float, half: float, title: str, note: str, *, stimulus: bool, memory: bool
) -> None:
    from matplotlib.patches import FancyBboxPatch

    style = "square,pad=0" if stimulus else "round,pad=0,rounding_size=0.1"
    box = FancyBboxPatch(
        (-half, height - 0.27), 2 * half, 0.54, boxstyle=style, zorder=3,
        facecolor=_LIVE if stimulus else _DARK, linewidth=1.6 if memory else 1.0,
        edgecolor=_KINDS["memory"][0] if memory else _INK,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(0, height + 0.1, title, ha="center", va="center", fontsize=9, color=_INK, zorder=4)
    axes.text(0, height - 0.12, note, ha="center", va="center", fontsize=7, color=_INK, zorder=4)


def _edge(axes: Axes, start: float, end: float, half: float, bulge: float, kind: str) -> None:
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
    side = half if bulge > 0 else -half
    out = 1.0 if bulge > 0 else -1.0
    lift = 0.1 if end > start else -0.1  # leaves and arrives at different heights of a box
    a, b = start + lift, end - lift
    if start == end:
        a, b = start + 0.14, start - 0.14
    far = side + bulge
    curve = Path(
        [(side, a), (far, a), (far, b), (side + out * 0.06, b)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    axes.add_patch(PathPatch(curve, facecolor="none", edgecolor=colour, linewidth=1.1, zorder=2))
    tip = FancyArrowPatch(
        (side + out * 0.12, b), (side, b), color=colour, linewidth=0, zorder=2, **head
    )
    axes.add_patch(tip)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Straight; bent where it would run through the nodes between."""
    bent = start[0] == end[0] and abs(start[1] - end[1]) > 1
    axes.annotate(
        "", xy=end, xytext=start, zorder=2,
        arrowprops={
            "arrowstyle": "-|>,head_width=0.16,head_length=0.32", "color": colour, "linewidth": 0.8,
            "shrinkA": 6.5, "shrinkB": 6.5, "alpha": 0.85,
            "connectionstyle": "arc3,rad=0.22" if bent else "arc3,rad=0",
        },
    )  # fmt: skip


def _legend(graph: TemporalGraph, axes: Axes, places: dict[str, int], *, at: float) -> None:
    from matplotlib.lines import Line2D

    kinds = [k for k in ("forward", "skip", "feedback") if _has(graph, places, k)]
    if any(not node.cell.stateless for _, node in graph.nodes.items()):
        kinds.append("memory")
    handles = [Line2D([], [], color=_KINDS[k][0], linewidth=1.5, label=_KINDS[k][1]) for k in kinds]
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, at), ncols=4, frameon=False,
        fontsize=8, labelcolor=_INK, borderaxespad=0.4,
    )  # fmt: skip
