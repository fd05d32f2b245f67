"""A table of a graph: what each node reads, its shapes, its cell, its parameters and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vibrissa.tnn.cells import Identity, cells

if TYPE_CHECKING:
    from vibrissa.tnn.graph import TemporalGraph
    from vibrissa.tnn.harbor import Shape

_HEADS: Final = (
    "node", "first step", "inputs", "harbor", "cell", "out", "parameters", "MFLOP per step",
)  # fmt: skip
_NUMBERS: Final = ("first step", "parameters", "MFLOP per step")


@dataclass(frozen=True)
class NodeRow:
    """One node in numbers.

    Attributes:
        name: of the node.
        first_input_step: first step at which its value depends on the stimulus, in biological
            unrolling.
        inputs: what it reads, in the order of concatenation; feedback in brackets.
        harbor: shape of the concatenated inputs.
        cell: registered name of its cell.
        state: shapes of the cell's state.
        out: shape of what it hands on.
        parameters: how many numbers are trained or kept as parameters.
        flop: floating-point operations of its convolutions and matrix products per sample and
            step, two for each multiply-add; element-wise work is not counted.
    """

    name: str
    first_input_step: int
    inputs: tuple[str, ...]
    harbor: Shape
    cell: str
    state: tuple[Shape, ...]
    out: Shape
    parameters: int
    flop: int


def node_rows(graph: TemporalGraph) -> tuple[NodeRow, ...]:
    """The rows of the table, in the order of a full pass."""
    timing = graph.spec.timing("full")
    first = graph.spec.timing("biological").first_input_step
    rows = []
    for name in timing.order:
        node, shapes = graph.nodes[name], graph.shapes[name]
        later = [
            p for p in node.spec.inputs
            if p not in graph.spec.stimuli and (p, name) not in timing.same_step
        ]  # fmt: skip
        rows.append(
            NodeRow(
                name=name,
                first_input_step=first[name],
                inputs=tuple(f"({p})" if p in later else p for p in node.spec.inputs),
                harbor=shapes.harbor,
                cell=cells.name_of(node.spec.cell),
                state=tuple(node.cell.state_shapes),
                out=shapes.out,
                parameters=sum(p.numel() for p in node.parameters()),
                flop=2 * node.multiply_adds,
            )
        )
    return tuple(rows)


def describe(graph: TemporalGraph) -> str:
    """A table of the nodes as text, with totals below.

    Inputs in brackets are feedback: they come later in the order of a full pass.
    """
    rows = node_rows(graph)
    lines = [
        (
            row.name,
            str(row.first_input_step),
            " ".join(row.inputs),
            shape_text(row.harbor),
            row.cell,
            shape_text(row.out),
            f"{row.parameters:,}",
            f"{row.flop / 1e6:,.2f}",
        )
        for row in rows
    ]
    parameters = sum(row.parameters for row in rows)
    flop = sum(row.flop for row in rows)
    total = ("all", "", "", "", "", "", f"{parameters:,}", f"{flop / 1e6:,.2f}")
    widths = [max(map(len, column)) for column in zip(_HEADS, *lines, total, strict=True)]
    rule = tuple("-" * width for width in widths)
    shapes = ", ".join(f"{s} {shape_text(x)}" for s, x in graph.input_shapes.items())
    stateful = sum(not isinstance(node.spec.cell, Identity) for _, node in graph.nodes.items())
    head = (
        f"{len(rows)} nodes ({stateful} with memory), "
        f"{sum(len(read) for read in graph.spec.sources.values())} edges; {shapes} -> "
        + ", ".join(f"{name} {shape_text(graph.shapes[name].out)}" for name in graph.spec.outputs)
    )
    body = [_line(line, widths) for line in (_HEADS, rule, *lines, rule, total)]
    return "\n".join([head, "", *body])


def shape_text(shape: Shape) -> str:
    """``96 @ 4x6`` for maps, ``512`` for vectors."""
    return str(shape[0]) if len(shape) == 1 else f"{shape[0]} @ {shape[1]}x{shape[2]}"


def _line(cells_: Sequence[str], widths: Sequence[int]) -> str:
    parts = [
        text.rjust(width) if head in _NUMBERS else text.ljust(width)
        for text, width, head in zip(cells_, widths, _HEADS, strict=True)
    ]
    return "  ".join(parts).rstrip()
