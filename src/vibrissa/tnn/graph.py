"""A temporal graph with its parameters: built from a specification, saved, loaded, called."""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from vibrissa.core.errors import InputError, refuse_unknown
from vibrissa.tnn.cells import Context
from vibrissa.tnn.files import read_tensors, write_tensors
from vibrissa.tnn.harbor import Shape, combine
from vibrissa.tnn.job import GraphState
from vibrissa.tnn.shapes import NodeShapes, feedforward_inputs, infer_shapes
from vibrissa.tnn.spec import GraphSpec, Node
from vibrissa.tnn.unrolling import unroll
from vibrissa.tnn.validation import shapes_by_stimulus

FORMAT: Final = "vibrissa temporal graph 1"


class GraphNode(nn.Module):
    """One node with its parameters.

    Submodules: ``pre``, ``cell``, ``post``. The step is parted so that a schedule may compute
    :meth:`enter` and the cell's ``drive`` for many steps at once.

    Args:
        spec: the node.
        shapes: its shapes.
        feedforward: which of its inputs are feedforward, one truth value each; read only if its
            cell parts the two.
    """

    def __init__(self, spec: Node, shapes: NodeShapes, feedforward: Sequence[bool]) -> None:
        super().__init__()
        self.spec = spec
        self.shapes = shapes
        self.size = shapes.harbor[1:]
        self.feedforward = tuple(feedforward)
        self.parts_context = spec.cell.uses_context
        entered = shapes.context.feedforward if shapes.context else shapes.harbor
        residual = entered if spec.residual else None
        self.pre = spec.pre.build(entered, residual=residual)
        self.cell = spec.cell.build(shapes.pre, context=shapes.context)
        self.post = spec.post.build(shapes.cell, residual=residual)

    def enter(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Context | None]:
        """The harbor: what enters the pre-memory, and the context of cells that read it.

        Args:
            inputs: in the order of ``spec.inputs``, each (n, \\*shape).
        """
        if not self.parts_context:
            return combine(inputs, self.size), None
        chosen = list(zip(inputs, self.feedforward, strict=True))
        forward = combine([x for x, forward in chosen if forward], self.size)
        back = [x for x, forward in chosen if not forward]
        return forward, Context(forward, combine(back, self.size) if back else None)

    def forward(self, inputs: Sequence[Tensor], state: Any, *, t: int) -> tuple[Tensor, Any]:
        """One step.

        Args:
            inputs: in the order of ``spec.inputs``, each (batch, \\*shape).
            state: of the cell.
            t: step of the sequence.

        Returns:
            What the node hands on (batch, \\*shapes.out), and the cell's new state.
        """
        harbor, context = self.enter(inputs)
        residual = harbor if self.spec.residual else None
        entered = self.pre(harbor, residual=residual, t=t)
        out, state = self.cell.step(entered, state, context)
        return self.post(out, residual=residual, t=t), state

    @property
    def multiply_adds(self) -> int:
        """Multiply-add pairs of convolutions and matrix products, per sample and step."""
        return self.pre.multiply_adds + self.cell.multiply_adds + self.post.multiply_adds


class Nodes(nn.Module):
    """The nodes of a graph by name, sorted. Any text may be a name."""

    def __init__(self, nodes: Mapping[str, GraphNode]) -> None:
        super().__init__()
        self._by_name = dict(nodes)
        for name, node in nodes.items():
            self.add_module(module_key(name), node)

    def __getitem__(self, name: str) -> GraphNode:
        if name not in self._by_name:
            raise refuse_unknown("node", name, self._by_name)
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._by_name.keys()

    def items(self) -> ItemsView[str, GraphNode]:
        """Names and nodes."""
        return self._by_name.items()


def module_key(name: str) -> str:
    """The name of a node in keys of the state dict: itself, where torch can have it so.

    A dot, with which torch parts the levels of a key, becomes ``%2E``, a per cent sign ``%25``; a
    name that torch's modules need for themselves (such as ``forward``) gets a ``%`` before it.
    """
    key = name.replace("%", "%25").replace(".", "%2E")
    return f"%{key}" if hasattr(nn.Module, key) or key in _TAKEN else key


_TAKEN: Final = frozenset({*vars(nn.Module()), "keys", "items", "_by_name"})


class TemporalGraph(nn.Module):
    """A temporal graph: nodes with a recurrent cell each, edges that take one step.

    Parameters are drawn node by node in the order of the names (pre, cell, post), and nothing else
    is: the same seed gives the same weights however the nodes stand in the file. Keys of the state
    dict begin with ``nodes.<name>.pre``, ``.cell`` or ``.post`` (see :func:`module_key`).

    Args:
        spec: the graph; left unchanged.
        input_shape: of one frame, (channel, row, column) or (channel,), if the specification does
            not say it or to take its place; a mapping from stimulus with several.

    Raises:
        InputError: shapes do not fit; the node is named.

    Reference: Nayebi et al. 2018, arXiv 1807.00053, and Kubilius et al. 2019, arXiv 1909.06161, for
    biological unrolling.
    """

    def __init__(
        self, spec: GraphSpec, input_shape: Shape | Mapping[str, Shape] | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        given = spec.input_shape if input_shape is None else input_shape
        self.shapes = infer_shapes(spec, given)
        self.input_shapes = shapes_by_stimulus(spec, given)
        nodes = {}
        for node in spec.nodes:
            shapes = self.shapes[node.name]
            forward = (
                feedforward_inputs(spec, node, shapes.size_from) if node.cell.uses_context else ()
            )
            nodes[node.name] = GraphNode(node, shapes, [p in forward for p in node.inputs])
        self.nodes = Nodes(nodes)

    @property
    def output_shape(self) -> Shape:
        """Shape of the first read-out node's output at one step."""
        return self.shapes[self.spec.outputs[0]].out

    def init_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> GraphState:
        """The state before the first step: all outputs zero, all cells at their start.

        Args:
            batch: samples.
            device: that of the parameters if omitted.
            dtype: that of the parameters if omitted.
        """
        like = next(self.parameters(), torch.empty(0))
        device = like.device if device is None else device
        dtype = like.dtype if dtype is None else dtype
        return GraphState(
            step=0,
            outputs={
                name: torch.zeros(batch, *self.shapes[name].out, device=device, dtype=dtype)
                for name in self.nodes
            },
            cells={
                name: node.cell.init_state(batch, device=device, dtype=dtype)
                for name, node in self.nodes.items()
            },
        )

    def reset(self) -> None:
        """Begin a new sequence: masks of dropout that are shared over time are drawn anew."""
        for _, node in self.nodes.items():
            node.pre.reset()
            node.post.reset()

    def forward(self, inputs: Tensor | Mapping[str, Tensor], **options: Any) -> Tensor:
        """The output of the first read-out node; options as :func:`vibrissa.tnn.unroll`."""
        return unroll(self, inputs, **options).output

    # --- description and files ---------------------------------------------------------------

    def describe(self) -> str:
        """A table of the nodes; see :func:`vibrissa.tnn.describe.describe`."""
        from vibrissa.tnn.describe import describe

        return describe(self)

    def plot(self, **options: Any) -> Any:
        """Draw the graph; see :func:`vibrissa.tnn.drawing.plot`."""
        from vibrissa.tnn.drawing import plot

        return plot(self, **options)

    def config_dict(self) -> dict[str, Any]:
        """The graph as a plain JSON tree, from which ``GraphSpec.from_tree`` makes it again."""
        tree = self.spec.to_tree()
        shapes = {name: list(shape) for name, shape in self.input_shapes.items()}
        tree["input_shape"] = shapes if len(shapes) > 1 else next(iter(shapes.values()))
        return tree

    def save(self, path: Path | str) -> None:
        """Write configuration (as JSON) and parameters to one file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        content = {
            "format": FORMAT,
            "config": json.dumps(self.config_dict(), sort_keys=True),
            "state": self.state_dict(),
        }
        write_tensors(path, content)

    @classmethod
    def load(cls, path: Path | str, *, map_location: Any = None) -> TemporalGraph:
        """Read what :meth:`save` wrote; only tensors, numbers and text are read, never code.

        Args:
            path: the file.
            map_location: where to put the tensors, as for ``torch.load``.

        Raises:
            InputError: no such file, not one of a temporal graph, or a damaged one.
        """
        content = read_tensors(path, FORMAT, "temporal graph", map_location)
        config, state = content.get("config"), content.get("state")
        if not isinstance(config, str) or not isinstance(state, dict):
            raise InputError(f"{path}: the configuration or the parameters are missing; save anew.")
        try:
            tree = json.loads(config)
        except ValueError as error:
            raise InputError(f"{path}: its configuration is not JSON ({error}).") from error
        spec = GraphSpec.from_tree(tree, origin=str(path))
        with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten
            graph = cls(spec)
        try:
            graph.load_state_dict(state, assign=True)
        except RuntimeError as error:
            why = " ".join(str(error).split())
            raise InputError(f"{path}: parameters do not fit the graph ({why}).") from error
        return graph
