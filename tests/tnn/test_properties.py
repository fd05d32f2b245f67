"""What must hold for a graph of any registered cell, whatever the numbers."""

import copy
import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from vibrissa.tnn import GraphSpec, GraphState, Node, TemporalGraph, from_peer, unroll
from vibrissa.tnn.cells import ConvCellConfig, Identity, cells
from vibrissa.tnn.modules import Activation, Conv, Full

F64 = torch.float64
CELLS = [
    pytest.param(name, norm, id=f"{name}{'+norm' * norm}")
    for name in cells.names()
    for norm in (False, True)
    if not (norm and name == "identity")
]
MODES = ["biological", "full"]


def tree_of(name: str, norm: bool) -> dict[str, Any]:
    """Feedback over one and two nodes, a skip, a smaller map, a vector node with a linear cell."""
    cell: dict[str, Any] = {"type": name, **({"layer_norm": True} if norm else {})}
    linear = dict(cell)
    if issubclass(cells.get(name), ConvCellConfig):
        linear["kernel"] = None
    conv = {"type": "conv", "channels": 3, "padding": 1}
    return {
        "input_shape": [2, 4, 5],
        "outputs": ["d"],
        "nodes": {
            "a": {
                "inputs": ["input", "b", "c"], "pre": conv, "cell": cell, "feedforward": ["input"],
            },
            "b": {
                "inputs": ["a", "c"], "size_from": "a", "pre": conv, "cell": cell,
                "feedforward": ["a"], "post": {"type": "max_pool", "kernel": 2},
            },
            "c": {"inputs": ["b"], "pre": conv, "cell": cell},
            "d": {"inputs": ["a", "c"], "size_from": "c", "pre": {"type": "full", "units": 4}},
            "e": {"inputs": ["d"], "cell": linear},
        },
    }  # fmt: skip


def built(tree) -> TemporalGraph:
    torch.manual_seed(7)
    graph = TemporalGraph(GraphSpec.from_tree(tree)).double()
    with torch.no_grad():
        for p in graph.parameters():
            p += 0.2 * torch.randn_like(p)
    return graph


def movie(batch=3, steps=7):
    return torch.randn(batch, steps, 2, 4, 5, dtype=F64)


def close(found, wanted, atol=1e-12):
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=atol)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "norm"), CELLS)
def test_batch_1_is_batch_n_and_the_future_has_no_effect(name, norm, mode):
    graph, x = built(tree_of(name, norm)), movie(steps=9)
    options: dict[str, Any] = {"record": "all", "read": "all", "mode": mode}
    with torch.no_grad():
        whole = unroll(graph, x, **options).activations
        for k in range(3):
            alone = unroll(graph, x[k : k + 1], **options).activations
            close(alone, {n: y[k : k + 1] for n, y in whole.items()})
        later = x.clone()
        later[:, 4:] = torch.randn_like(later[:, 4:])
        other = unroll(graph, later, **options).activations
    close({n: y[:, :4] for n, y in other.items()}, {n: y[:, :4] for n, y in whole.items()}, atol=0)
    assert not torch.equal(other["e"][:, -1], whole["e"][:, -1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "norm"), CELLS)
def test_0_to_t_is_0_to_k_and_k_to_t_also_through_a_file(name, norm, mode, tmp_path):
    graph, x = built(tree_of(name, norm)), movie()
    options: dict[str, Any] = {"record": "all", "mode": mode, "keep_state": True}
    with torch.no_grad():
        whole = unroll(graph, x, **options)
        state, parts = None, []
        for chunk in x.split([1, 4, 2], dim=1):
            found = unroll(graph, chunk, state=state, **options)
            parts.append(found.activations)
            assert found.state is not None
            found.state.save(tmp_path / "state.pt")
            state = GraphState.load(tmp_path / "state.pt", graph)
    assert whole.state is not None
    assert state is not None
    assert state.step == whole.state.step == 7
    joined = {n: torch.cat([part[n] for part in parts], dim=1) for n in graph.nodes}
    close(joined, whole.activations)
    close(state.tensors(), whole.state.tensors())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "norm"), CELLS)
def test_the_order_of_nodes_in_the_file_changes_nothing(name, norm, mode):
    given, x = tree_of(name, norm), movie(batch=1, steps=4)
    with torch.no_grad():
        wanted = unroll(built(given), x, record="all", mode=mode).activations
        for turn in (2, 3):
            names = list(given["nodes"])[turn:] + list(given["nodes"])[:turn]
            turned = given | {"nodes": {n: given["nodes"][n] for n in reversed(names)}}
            close(unroll(built(turned), x, record="all", mode=mode).activations, wanted, atol=0)


@pytest.mark.parametrize(("name", "norm"), CELLS)
def test_building_leaves_its_input_as_it_is(name, norm):
    given = tree_of(name, norm)
    before = copy.deepcopy(given)
    first = built(given)
    second = built(given)
    assert given == before
    assert first.spec == second.spec == GraphSpec.from_tree(before)
    close(dict(first.state_dict()), dict(second.state_dict()), atol=0)
    built_again = TemporalGraph(first.spec)
    assert first.spec == built_again.spec


def test_a_cycle_needs_no_cell_with_memory():
    """What was handed on a step before is memory enough: a ring of three carries a pulse round."""
    once = Full(units=1, use_bias=False)
    ring = (
        Node(name="a", inputs=("input", "c"), pre=once),
        Node(name="b", inputs=("a",), pre=once),
        Node(name="c", inputs=("b",), pre=once),
    )
    graph = TemporalGraph(GraphSpec(nodes=ring, outputs=("c",), input_shape=(1,)))
    assert all(isinstance(node.cell, Identity) for node in graph.spec.nodes)
    with torch.no_grad():
        for p in graph.parameters():
            p.fill_(1.0)
        pulse = torch.zeros(1, 9, 1)
        pulse[0, 0] = 1.0
        assert unroll(graph, pulse, read="all").output[0, :, 0].tolist() == [0, 0, 1] * 3


def dense(count):
    """Every node reads all before it: 2 ** (count - 2) paths."""
    names = [f"n{k:03d}" for k in range(count)]
    nodes = [
        Node(name=n, inputs=("input", *names[:k]), pre=Full(units=1), post=Activation(name="tanh"))
        for k, n in enumerate(names)
    ]
    return GraphSpec(nodes=tuple(nodes), outputs=(names[-1],), input_shape=(2,))


def test_a_dense_graph_of_220_nodes_is_built_and_run_soon():
    start = time.process_time()
    spec = dense(220)
    assert spec.timing("full").order == tuple(f"n{k:03d}" for k in range(220))
    graph = TemporalGraph(spec)
    x = torch.rand(2, 3, 2)
    for mode in ("biological", "full"):
        assert unroll(graph, x, mode=mode, schedule="stepwise").output.shape == (2, 1)
    assert time.process_time() - start < 10


def test_pytorchtnn_s_form_of_a_dense_graph_is_read_soon():
    names = [f"n{k:03d}" for k in range(200)]
    tree = {
        "nodes": [
            {
                "name": n, "shape_from": names[k - 1] if k else None,
                "harbor_policy": {"name": "ResizeConcat"},
                "pre_memory": {"name": "Conv2dCell", "out_channels": 1, "ksize": 1},
                "recurrent_cell": {"name": "IdentityCell"}, "post_memory": {"name": "Identity"},
                "out_channels": 1,
            }
            for k, n in enumerate(names)
        ],
        "edges": [{"from": a, "to": b} for k, b in enumerate(names) for a in names[:k]],
        "input_nodes": [names[0]], "output_node": names[-1], "input_shape": [2, 3, 3],
        "num_timesteps": 3,
    }  # fmt: skip
    start = time.process_time()
    graph = TemporalGraph(from_peer(tree))
    assert len(graph.nodes) == 200
    assert time.process_time() - start < 10


@pytest.mark.parametrize("changes", [{"stride": 2}, {"channels": 4}])
def test_pieces_of_a_specification_are_not_shared(changes):
    """Two nodes with one configuration object have parameters of their own."""
    conv = replace(Conv(channels=3, padding=1), **changes)
    nodes = (Node(name="a", inputs=("input",), pre=conv), Node(name="b", inputs=("a",), pre=conv))
    graph = TemporalGraph(GraphSpec(nodes=nodes, outputs=("b",), input_shape=(3, 8, 8)))
    assert len({id(p) for p in graph.parameters()}) == 4
