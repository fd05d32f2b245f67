"""What a temporal graph is: nodes, what each reads, and which are read out. Plain, frozen data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from vibrissa.core.config import from_tree, read_yaml
from vibrissa.core.errors import InputError, refuse
from vibrissa.tnn.cells import CellConfig, cells
from vibrissa.tnn.cells import Identity as IdentityCell
from vibrissa.tnn.harbor import HarborName, Shape
from vibrissa.tnn.modules import Identity, MemoryConfig, memory_modules
from vibrissa.tnn.order import Timing, distances, feedforward_order, readers
from vibrissa.tnn.trees import read_config, write_config
from vibrissa.tnn.validation import check_graph, check_names, check_node

STIMULUS: Final = "input"
"""Name of the stimulus where a graph has one."""

Mode: TypeAlias = Literal["biological", "full"]

FAMILIES: Final = {CellConfig: cells, MemoryConfig: memory_modules}


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node: harbor -> pre-memory -> cell -> post-memory.

    At each step the harbor brings the inputs to one spatial size and concatenates them on channels;
    the pre-memory (for instance a convolution) turns that into the cell's input, the cell updates
    its state, and the post-memory (an activation, a pooling) makes of the cell's output what the
    node hands on. Where ``residual`` is set, the post-memory also gets the harbor's output.

    Attributes:
        name: unique in the graph; any text.
        inputs: nodes or stimuli read, in the order in which their channels are concatenated.
        pre: the pre-memory.
        cell: the recurrent cell.
        post: the post-memory.
        residual: hand the harbor's output to the post-memory (see ``residual_add``).
        size_from: node or stimulus whose output gives the harbor's spatial size. None: the
            stimulus, if it is read, else the input that the stimulus reaches first.
        harbor: ``resize_concat``, or ``concat`` where all inputs must have that size already.
        feedforward: those of ``inputs`` that are feedforward, for cells that part the two
            (``reciprocal_gated``); the others are feedback. Empty: the input of ``size_from``.
        same_step: those of ``inputs`` that deliver their value of the same step, not that of the
            step before, even in biological unrolling: several nodes then form one stage.
        out_channels: channels handed on. Found from the rest; needed only where it depends on
            itself around a cycle. Refused if it is not what is found.
    """

    name: str
    inputs: tuple[str, ...]
    pre: MemoryConfig = field(default_factory=Identity)
    cell: CellConfig = field(default_factory=IdentityCell)
    post: MemoryConfig = field(default_factory=Identity)
    residual: bool = False
    size_from: str | None = None
    harbor: HarborName = "resize_concat"
    feedforward: tuple[str, ...] = ()
    same_step: tuple[str, ...] = ()
    out_channels: int | None = None

    def __post_init__(self) -> None:
        check_node(self)


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """A temporal graph before anything is built.

    The order of ``nodes`` has no meaning: they are kept sorted by name.

    Attributes:
        nodes: the nodes.
        outputs: names of the read-out nodes; the first is *the* output.
        stimuli: names under which nodes read the stimuli.
        input_shape: of one frame, (channel, row, column) or (channel,); with several stimuli a
            mapping from stimulus to shape. May be left to the moment of building.
        order: the order of a full pass, if not the one that
            :func:`~vibrissa.tnn.order.feedforward_order` finds. Without cycles all valid orders
            give the same numbers.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    stimuli: tuple[str, ...] = (STIMULUS,)
    input_shape: Shape | Mapping[str, Shape] | None = field(default=None, hash=False)
    order: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_names(self)
        object.__setattr__(self, "nodes", tuple(sorted(self.nodes, key=lambda n: n.name)))
        check_graph(self)

    # --- looking at it -----------------------------------------------------------------------

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """Node -> the nodes (not stimuli) that it reads."""
        return {
            node.name: tuple(p for p in node.inputs if p in self._by_name) for node in self.nodes
        }

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """Nodes that read a stimulus."""
        return tuple(n.name for n in self.nodes if any(p in self.stimuli for p in n.inputs))

    @cached_property
    def depth(self) -> dict[str, int]:
        """Node -> fewest edges from a node that reads a stimulus."""
        return distances(readers(self.sources), self.entries)

    def timing(self, mode: Mode = "biological") -> Timing:
        """Which edges deliver within a step, and the order that this asks for.

        Args:
            mode: ``biological``: every edge takes one step, but for those in ``same_step``.
                ``full``: an edge from a node earlier in the order delivers within the step, so
                that one step is a whole feedforward pass.

        Raises:
            InputError: unknown mode.
        """
        if mode not in ("biological", "full"):
            raise refuse("mode", mode, "unknown", "choose one of biological, full")
        found = {name: set(self[name].same_step) for name in self.sources}
        order = self.order or feedforward_order(
            self.sources, self.entries, self.outputs,
            {(source, name) for name, within in found.items() for source in within},
        )  # fmt: skip
        if mode == "full":
            place = {name: k for k, name in enumerate(order)}
            for name, read in self.sources.items():
                found[name].update(p for p in read if place[p] < place[name])
        same_step = frozenset((p, name) for name, within in found.items() for p in within)
        first = distances(readers(self.sources), self.entries, same_step)
        return Timing(order, same_step, first)

    # --- trees and files ---------------------------------------------------------------------

    @classmethod
    def from_tree(cls, tree: object, origin: str = "graph") -> GraphSpec:
        """Read a plain tree, as YAML and JSON give it.

        ``nodes`` is a mapping from name to the node's options; cells and memory modules go by
        their registered name. The rest is as in the attributes above::

            input_shape: [30, 5, 7]
            outputs: [fc]
            nodes:
              conv1:
                inputs: [input, fc]
                pre: {type: conv, channels: 96, kernel: 2}
                cell: {type: ugrnn, kernel: 2, layer_norm: true}
                post: {type: activation, name: relu}
              fc:
                inputs: [conv1]
                pre: {type: full, units: 512}

        Args:
            tree: the tree; left unchanged.
            origin: what to call it in an error, for instance the file.

        Raises:
            InputError: an entry is unknown, missing or wrong, named by its place.
        """
        raw = from_tree(_Raw, tree, origin)
        nodes = []
        for name, entries in raw.nodes.items():
            where = f"{origin}: nodes.{name}"
            if not isinstance(entries, Mapping):
                raise refuse(where, entries, "not a mapping of options", "give option: value")
            if "name" in entries:
                raise refuse(f"{where}.name", entries["name"], "it stands twice", "leave it out")
            nodes.append(read_config(Node, {"name": name, **entries}, FAMILIES, where))
        try:
            return cls(
                nodes=tuple(nodes), outputs=raw.outputs, stimuli=raw.stimuli,
                input_shape=raw.input_shape, order=raw.order,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{origin}: {error}") from error

    @classmethod
    def from_file(cls, path: Path | str) -> GraphSpec:
        """Read a YAML or JSON file; the tree is that of :meth:`from_tree`."""
        return cls.from_tree(read_yaml(path), origin=str(path))

    def to_tree(self) -> dict[str, Any]:
        """The tree that :meth:`from_tree` reads, in plain JSON types, all options written out."""
        nodes = {}
        for node in self.nodes:
            entries = write_config(node, FAMILIES)
            nodes[entries.pop("name")] = entries
        tree: dict[str, Any] = {"stimuli": list(self.stimuli), "outputs": list(self.outputs)}
        if isinstance(self.input_shape, Mapping):
            tree["input_shape"] = {name: list(shape) for name, shape in self.input_shape.items()}
        elif self.input_shape is not None:
            tree["input_shape"] = list(self.input_shape)
        if self.order is not None:
            tree["order"] = list(self.order)
        return tree | {"nodes": nodes}

    def to_json(self) -> str:
        """:meth:`to_tree` as text, ending in a newline; equal graphs give equal text."""
        return json.dumps(self.to_tree(), indent=1, sort_keys=True, allow_nan=False) + "\n"


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """The outermost entries of a tree; the nodes are read one by one, to be named in errors."""

    nodes: Mapping[str, Any]
    outputs: tuple[str, ...]
    stimuli: tuple[str, ...] = (STIMULUS,)
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]] | None = None
    order: tuple[str, ...] | None = None
