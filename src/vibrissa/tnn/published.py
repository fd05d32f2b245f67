"""Published graphs, shipped with the package."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from importlib.resources import as_file, files
from typing import Any

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import refuse_unknown
from vibrissa.tnn.cells import CellConfig, Identity, cells
from vibrissa.tnn.spec import FAMILIES, GraphSpec
from vibrissa.tnn.trees import MEMBER, read_member


@dataclass(frozen=True, kw_only=True)
class _CellChoice:
    """Where the chosen cell goes.

    Attributes:
        nodes: the nodes that take it; others lose theirs.
        kernel: its kernel, if it has one.
    """

    nodes: tuple[str, ...]
    kernel: int


@dataclass(frozen=True, kw_only=True)
class _File:
    about: str
    cell: _CellChoice
    graph: Any


def published_graphs() -> tuple[str, ...]:
    """Names of the published graphs."""
    found = (entry.name for entry in files("vibrissa.tnn").joinpath("graphs").iterdir())
    return tuple(sorted(name[:-5] for name in found if name.endswith(".yaml")))


def published_graph(name: str, *, cell: str | None = None, **options: Any) -> GraphSpec:
    """A published graph.

    ``zhuang`` has these parameters: 23,460,072 as it is (time decay in all nodes); with the cell in
    its six convolutions and none above, 30,688,416 (``ugrnn``), 34,302,592 (``gru``), 37,916,768
    (``lstm``), and 37,928,800 (``intersection`` with ``layer_norm=True``).

    Args:
        name: one of :func:`published_graphs`.
        cell: registered name of the cell for the nodes that have one; as published if omitted.
        options: of that cell, for instance ``layer_norm=True``; the kernel is that of the graph
            unless it is given.

    Raises:
        InputError: unknown graph, cell or option.
    """
    if name not in published_graphs():
        raise refuse_unknown("graph", name, published_graphs())
    with as_file(files("vibrissa.tnn").joinpath("graphs", f"{name}.yaml")) as path:
        content = from_tree(_File, read_yaml(path), origin=path.name)
    spec = GraphSpec.from_tree(content.graph, origin=f"{name}.yaml")
    if cell is None:
        if options:
            raise refuse_unknown("option without cell", next(iter(options)), ["cell"])
        return spec
    kind = cells.get(cell)
    if any(f.name == "kernel" for f in fields(kind)):
        options = {"kernel": content.cell.kernel, **options}
    chosen: CellConfig = read_member(CellConfig, {MEMBER: cell, **options}, FAMILIES, "cell")  # type: ignore[type-abstract]
    nodes = []
    for node in spec.nodes:
        takes = node.name in content.cell.nodes or type(node.cell) is kind
        nodes.append(replace(node, cell=chosen if takes else Identity()))
    return replace(spec, nodes=tuple(nodes))
