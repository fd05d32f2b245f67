import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vibrissa.core.errors import InputError
from vibrissa.tnn.cells import GRU, LSTM, UGRNN, Identity, Intersection, TimeDecay
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.job import InputGate
from vibrissa.tnn.modules import Activation, BatchNorm, Conv, Dropout, Full, MaxPool, ResidualAdd
from vibrissa.tnn.published import published_graph
from vibrissa.tnn.spec import GraphSpec, Mode, Node
from vibrissa.tnn.unrolling import unroll

F64 = torch.float64
CELLS = (
    Identity(), TimeDecay(tau=0.6), UGRNN(kernel=2), GRU(kernel=1), Intersection(kernel=3),
    LSTM(kernel=3),
)  # fmt: skip


# --- the equations, once more -----------------------------------------------------------------


def same(x, weight, bias=None):
    """'same' convolution: even kernels have the odd zero at the bottom and right."""
    rows, columns = weight.shape[2:]
    x = F.pad(x, ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2))
    return F.conv2d(x, weight, bias)


def cell_by_hand(cell, p, u, s):
    """Output and state of one step, from the equations; p are the cell's parameters."""
    sg = torch.sigmoid
    if isinstance(cell, Identity):
        return u, None
    if isinstance(cell, TimeDecay):
        new = u + p["tau"] * (0 if s is None else s)
        return new, new
    s = (torch.zeros_like(u),) * 2 if s is None else s
    state = s[-1]
    if isinstance(cell, GRU):
        n = 2 * u.shape[1]
        w, b = p["input.weight"], p["input.bias"]
        r, z = (same(u, w[:n], b[:n]) + same(state, p["state.weight"])).chunk(2, dim=1)
        r, z = sg(r + 1), sg(z)
        new = same(u, w[n:], b[n:]) + same(r * state, p["candidate.weight"])
        new = z * state + (1 - z) * torch.tanh(new)
        return new, (new,)
    joint = torch.cat([p["input.weight"], p["state.weight"]], dim=1)
    pre = same(torch.cat([u, state], dim=1), joint, p["input.bias"])
    if isinstance(cell, UGRNN):
        g, c = pre.chunk(2, dim=1)
        new = sg(g + 1) * state + (1 - sg(g + 1)) * torch.tanh(c)
        return new, (new,)
    if isinstance(cell, Intersection):
        gh, h, gy, y = pre.chunk(4, dim=1)
        new = sg(gh + 1) * state + (1 - sg(gh + 1)) * torch.tanh(h)
        return sg(gy + 1) * u + (1 - sg(gy + 1)) * torch.relu(y), (new,)
    i, j, f, o = pre.chunk(4, dim=1)
    memory = s[0] * sg(f + 1) + sg(i) * torch.tanh(j)
    new = torch.tanh(memory) * sg(o)
    return new, (memory, new)


def by_hand(graph, x, order):
    """All outputs (batch, time, ...) of all nodes; ``order`` None is biological unrolling."""
    spec = graph.spec
    weights = {key.removeprefix("nodes."): value for key, value in graph.state_dict().items()}
    y = {name: torch.zeros(len(x), *graph.shapes[name].out, dtype=x.dtype) for name in graph.nodes}
    state = dict.fromkeys(graph.nodes)
    steps = []
    for t in range(x.shape[1]):
        before, y = y, dict(y)
        for name in order or sorted(graph.nodes):
            node = spec[name]
            size = None
            parts = []
            for source in node.inputs:
                if source == "input":
                    parts.append(x[:, t])
                elif order and order.index(source) < order.index(name):
                    parts.append(y[source])
                else:
                    parts.append(before[source])
            size = (x[:, t] if node.size_from == "input" else before[node.size_from]).shape[2:]
            parts = [
                v
                if v.shape[2:] == size
                else F.interpolate(v, size=size, mode="bilinear", antialias=True)
                for v in parts
            ]
            u = F.conv2d(
                torch.cat(parts, dim=1), weights[f"{name}.pre.weight"],
                weights[f"{name}.pre.bias"], stride=node.pre.stride, padding=1,
            )  # fmt: skip
            own = {
                key.removeprefix(f"{name}.cell."): value
                for key, value in weights.items()
                if key.startswith(f"{name}.cell.")
            }
            o, state[name] = cell_by_hand(node.cell, own, u, state[name])
            y[name] = torch.relu(o) if isinstance(node.post, Activation) else o
        steps.append(y)
    return {name: torch.stack([y[name] for y in steps], dim=1) for name in graph.nodes}


@st.composite
def graphs(draw):
    """Connected random graphs with feedback, skips, mixed cells and sizes."""
    count = draw(st.integers(1, 4))
    names = [f"n{k}" for k in draw(st.permutations(range(count)))]
    made = []
    for k, name in enumerate(names):
        forward = "input" if k == 0 else names[draw(st.integers(0, k - 1))]
        others = draw(st.lists(st.sampled_from([*names, "input"]), unique=True, max_size=3))
        inputs = list(dict.fromkeys([*others, forward]))
        made.append(
            Node(
                name=name, inputs=tuple(draw(st.permutations(inputs))), size_from=forward,
                pre=Conv(channels=draw(st.integers(1, 3)), stride=draw(st.sampled_from([1, 1, 2])),
                         padding=1),
                cell=draw(st.sampled_from(CELLS)),
                post=draw(st.sampled_from([Activation(), MaxPool(kernel=1)])),
            )
        )  # fmt: skip
    spec = GraphSpec(nodes=tuple(made), outputs=(names[-1],), input_shape=(2, 5, 4))
    torch.manual_seed(draw(st.integers(0, 999)))
    graph = TemporalGraph(spec).double()
    return graph, torch.randn(2, draw(st.integers(1, 5)), 2, 5, 4, dtype=F64)


@given(graphs())
@settings(max_examples=30, deadline=None)
def test_random_graphs_against_the_equations(drawn):
    graph, x = drawn
    orders: dict[Mode, Any] = {"biological": None, "full": graph.spec.timing("full").order}
    for mode, order in orders.items():
        with torch.no_grad():
            found = unroll(graph, x, record="all", read="all", mode=mode)
            wanted = by_hand(graph, x, order)
        for name, values in wanted.items():
            torch.testing.assert_close(found.activations[name], values, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.output, found.activations[graph.spec.outputs[0]])


@given(graphs(), st.integers(0, 4), st.sampled_from(["biological", "full"]))
@settings(max_examples=25, deadline=None)
def test_random_graphs_are_causal_and_go_on_from_their_state(drawn, cut, mode):
    graph, x = drawn
    cut = min(cut, x.shape[1] - 1)
    with torch.no_grad():
        whole = unroll(graph, x, record="all", mode=mode, keep_state=True)
        changed = x.clone()
        changed[:, cut + 1 :] += 1
        other = unroll(graph, changed, record="all", mode=mode)
        for name, values in whole.activations.items():
            assert torch.equal(values[:, : cut + 1], other.activations[name][:, : cut + 1])
        if cut == 0:
            return
        first = unroll(graph, x[:, :cut], record="all", mode=mode, keep_state=True)
        second = unroll(
            graph, x[:, cut:], record="all", mode=mode, state=first.state, keep_state=True
        )
    assert first.steps + second.steps == whole.steps
    for name, values in whole.activations.items():
        joined = torch.cat([first.activations[name], second.activations[name]], dim=1)
        torch.testing.assert_close(joined, values, rtol=0, atol=1e-14)
    assert whole.state is not None
    assert second.state is not None
    assert whole.state.step == second.state.step == x.shape[1]
    for name, states in whole.state.cells.items():
        for a, b in zip(states, second.state.cells[name], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@given(graphs())
@settings(max_examples=20, deadline=None)
def test_latency_is_the_distance_in_the_graph(drawn):
    graph, x = drawn
    x = torch.cat([x, x, x], dim=1)[:, :6]
    for mode in ("biological", "full"):
        free = graph.spec.timing(mode).same_step
        near = {"input": 0}  # Bellman-Ford over the edges, each with its delay
        for _ in graph.nodes:
            for node in graph.spec.nodes:
                for source in node.inputs:
                    if source in near:
                        delay = 0 if source == "input" or (source, node.name) in free else 1
                        best = near.get(node.name, 99)
                        near[node.name] = min(best, near[source] + delay)
        with torch.no_grad():
            one = unroll(graph, x, record="all", mode=mode)
            two = unroll(graph, x + 1, record="all", mode=mode)
        for name in graph.nodes:
            assert one.first_input_step[name] == near[name]
            before = slice(0, near[name])
            assert torch.equal(one.activations[name][:, before], two.activations[name][:, before])


# --- one graph, many ways to unroll it --------------------------------------------------------


def small(cell=None, **changes):
    cell = UGRNN(kernel=2) if cell is None else cell
    nodes = (
        Node(name="a", inputs=("input", "b"), pre=Conv(channels=3, padding=1), cell=cell),
        Node(name="b", inputs=("a",), pre=Conv(channels=2, padding=1), cell=TimeDecay(tau=0.5)),
        Node(name="c", inputs=("a", "b"), pre=Full(units=4), post=Activation(name="tanh")),
    )
    spec = GraphSpec(nodes=nodes, outputs=("c",), input_shape=(2, 4, 5))
    torch.manual_seed(1)
    return TemporalGraph(replace(spec, **changes)).double()


@pytest.fixture
def graph():
    with torch.no_grad():
        yield small()


@pytest.fixture
def movie():
    return torch.randn(3, 6, 2, 4, 5, dtype=F64)


def test_a_stimulus_changes_a_node_at_its_first_step(graph, movie):
    found = unroll(graph, movie, record="all")
    other = unroll(graph, movie + 0.1, record="all")
    assert found.first_input_step == {"a": 0, "b": 1, "c": 1}
    for name, first in found.first_input_step.items():
        assert not torch.equal(found.activations[name][:, first], other.activations[name][:, first])
    assert unroll(graph, movie, mode="full").first_input_step == {"a": 0, "b": 0, "c": 0}


def test_axes_are_named(graph, movie):
    found = unroll(graph, movie, record=("a", "c"))
    assert found.axes == {
        "a": ("batch", "time", "channel", "row", "column"), "c": ("batch", "time", "unit"),
    }  # fmt: skip
    assert found.activations["a"].shape == (3, 6, 3, 4, 5)
    assert found.steps == (0, 1, 2, 3, 4, 5)
    assert found.state is None


def assert_same(found, wanted):
    """To the rounding of sums, whose order may follow how many steps are computed at once."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-13)


def test_an_image_is_a_movie_of_equal_frames(graph, movie):
    image = movie[:, 0]
    repeated = image[:, None].expand(-1, 5, -1, -1, -1)
    one = unroll(graph, image, steps=5, read="all")
    assert_same(one.output, unroll(graph, repeated, read="all").output)


def test_read_last_all_and_some(graph, movie):
    everything = unroll(graph, movie, read="all").output
    assert everything.shape == (3, 6, 4)
    assert_same(unroll(graph, movie).output, everything[:, -1])
    assert_same(graph(movie), everything[:, -1])
    assert_same(unroll(graph, movie, read=(1, 4)).output, everything[:, [1, 4]])
    assert_same(unroll(graph, movie, read=(1,), record="c").output, everything[:, [1]])


def test_a_batch_of_one_is_one_of_the_batch(graph, movie):
    together = unroll(graph, movie, record="all")
    for k in range(len(movie)):
        alone = unroll(graph, movie[k : k + 1], record="all")
        for name, values in together.activations.items():
            torch.testing.assert_close(
                alone.activations[name], values[k : k + 1], rtol=0, atol=1e-13
            )


@pytest.mark.parametrize("mode", ["biological", "full"])
def test_lengths_are_each_sample_alone(graph, movie, mode):
    lengths = torch.tensor([2, 6, 3])
    options = {"record": "all", "mode": mode, "keep_state": True}
    for given_ in (lengths, lengths.tolist()):
        together = unroll(graph, movie, lengths=given_, **options)
        everything = unroll(graph, movie, lengths=given_, read="all", mode=mode).output
        for k, end in enumerate(lengths.tolist()):
            alone = unroll(graph, movie[k : k + 1, :end], **options)
            close = {"rtol": 0, "atol": 1e-13}
            torch.testing.assert_close(together.output[k : k + 1], alone.output, **close)
            torch.testing.assert_close(everything[k, end - 1], alone.output[0], **close)
            assert not everything[k, end:].any()
            for name, values in together.activations.items():
                torch.testing.assert_close(
                    values[k : k + 1, :end], alone.activations[name], **close
                )
                assert not values[k, end:].any()
                assert together.state is not None
                assert alone.state is not None
                torch.testing.assert_close(
                    together.state.outputs[name][k], alone.state.outputs[name][0], **close
                )
                pairs = zip(
                    together.state.cells[name], alone.state.cells[name], strict=True
                )  # fmt: skip
                for a, b in pairs:
                    torch.testing.assert_close(a[k], b[0], **close)


def test_what_lies_beyond_the_length_has_no_effect(graph, movie):
    padded = movie.clone()
    padded[0, 2:] = 1e6
    one = unroll(graph, movie, lengths=[2, 6, 6]).output
    assert torch.equal(unroll(graph, padded, lengths=[2, 6, 6]).output, one)


@pytest.mark.parametrize("kind", ["movie", "image"])
def test_input_gates_show_then_blank_and_leave_the_input(graph, movie, kind):
    stimulus = movie if kind == "movie" else movie[:, 0]
    wanted = (movie if kind == "movie" else movie[:, :1].expand_as(movie)).clone()
    wanted[:, 2:] = 0.5
    before = stimulus.clone()
    gate = InputGate(shown=2)
    steps = None if kind == "movie" else 6
    found = unroll(graph, stimulus, steps=steps, gate=gate, read="all").output
    assert torch.equal(found, unroll(graph, wanted, read="all").output)
    assert torch.equal(stimulus, before)
    first = unroll(graph, movie[:, :1], gate=gate, keep_state=True)
    rest = unroll(graph, movie[:, 1:], gate=gate, state=first.state, read="all").output
    if kind == "movie":
        torch.testing.assert_close(rest, found[:, 1:], rtol=0, atol=1e-14)


def test_several_stimuli():
    nodes = (
        Node(name="a", inputs=("left", "right"), pre=Conv(channels=3, padding=1)),
        Node(name="b", inputs=("a",), pre=Full(units=2)),
    )
    spec = GraphSpec(
        nodes=nodes, outputs=("b", "a"), stimuli=("left", "right"),
        input_shape={"left": (1, 4, 4), "right": (2, 8, 8)},
    )  # fmt: skip
    assert GraphSpec.from_tree(spec.to_tree()) == spec
    graph = TemporalGraph(spec)
    left, right = torch.randn(2, 3, 1, 4, 4), torch.randn(2, 2, 8, 8)
    found = unroll(graph, {"left": left, "right": right})
    assert found.outputs["a"].shape == (2, 3, 4, 4)
    assert found.output.shape == (2, 2)
    only = unroll(graph, {"left": left, "right": right}, gate={"right": InputGate(shown=0)})
    blank = torch.full_like(right, 0.5)
    assert torch.equal(only.output, unroll(graph, {"left": left, "right": blank}).output)
    with pytest.raises(InputError, match="mapping from stimulus"):
        unroll(graph, left)
    with pytest.raises(InputError, match="no tensor for the stimulus right"):
        unroll(graph, {"left": left})


def test_edges_within_a_step_join_nodes_into_a_stage(movie):
    apart, joined = small(), small()
    nodes = [
        replace(node, same_step=("a", "b") if node.name == "c" else ("a",) * (node.name == "b"))
        for node in joined.spec.nodes
    ]
    joined = TemporalGraph(replace(joined.spec, nodes=tuple(nodes))).double()
    joined.load_state_dict(apart.state_dict())
    assert joined.spec.timing().first_input_step == {"a": 0, "b": 0, "c": 0}
    # All its forward edges within the step: then one step is a full pass.
    found = unroll(joined, movie, read="all").output
    assert torch.equal(found, unroll(apart, movie, read="all", mode="full").output)


def test_gradients_flow_through_time_and_stop_where_detached(movie):
    graph = small()
    x = movie.requires_grad_()
    first = unroll(graph, x[:, :3], keep_state=True)
    assert first.state is not None
    unroll(graph, x[:, 3:], state=first.state).output.sum().backward()
    assert x.grad is not None
    assert x.grad[:, 2].abs().sum() > 0
    assert x.grad[:, 5].abs().sum() == 0  # the last frame has not arrived yet
    assert x.grad[:, 4].abs().sum() > 0
    x.grad = None
    first = unroll(graph, x[:, :3], keep_state=True)
    assert first.state is not None
    unroll(graph, x[:, 3:], state=first.state.detach()).output.sum().backward()
    assert x.grad is not None
    assert x.grad[:, :3].abs().sum() == 0


def test_the_last_three_frames_never_reach_the_published_decision():
    # Shortest path conv1, conv2, fc7, fc8: three edges.
    spec = published_graph("zhuang")
    thin = tuple(
        replace(
            node,
            pre=replace(node.pre, channels=4) if isinstance(node.pre, Conv) else Full(units=5),
        )
        for node in spec.nodes
    )
    graph = TemporalGraph(replace(spec, nodes=thin)).double()
    x = torch.randn(1, 22, 30, 5, 7, dtype=F64, requires_grad=True)
    graph(x).sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().sum(dim=(0, 2, 3, 4))
    assert not seen[19:].any()
    assert seen[18] > 0
    distance = {"conv1": 0, "conv2": 1, "conv3": 2, "conv4": 3, "conv5": 4, "conv6": 5,
                "fc7": 2, "fc8": 3}  # fmt: skip
    assert spec.timing().first_input_step == distance


def test_time_varying_batch_norm_and_shared_dropout_in_chunks():
    nodes = (
        Node(
            name="a", inputs=("input",),
            pre=Conv(
                channels=3, padding=1, batch_norm=BatchNorm(per_step=True),
                dropout=Dropout(rate=0.5, shared_over_time=True),
            ),
        ),
        Node(
            name="b", inputs=("a",), residual=True, pre=Conv(channels=3, padding=1),
            post=ResidualAdd(forward=Conv(channels=3, padding=1)),
        ),
    )  # fmt: skip
    graph = TemporalGraph(GraphSpec(nodes=nodes, outputs=("b",), input_shape=(2, 4, 4)))
    x = torch.randn(4, 5, 2, 4, 4)
    again = copy.deepcopy(graph)
    torch.manual_seed(2)
    whole = unroll(graph, x, read="all").output
    assert len(graph.state_dict()["nodes.a.pre.batch_norm.running_mean"]) == 5
    torch.manual_seed(2)
    first = unroll(again, x[:, :2], read="all", keep_state=True)
    second = unroll(again, x[:, 2:], read="all", state=first.state)  # same mask, steps 2, 3, 4
    torch.testing.assert_close(torch.cat([first.output, second.output], dim=1), whole)
    for key, value in graph.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value)
    graph.eval()
    assert unroll(graph, x[:, 0], steps=9).output.shape == (4, 3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: type(cell).__name__)
def test_dtypes(dtype, cell, movie):
    graph = small(cell)
    wanted = unroll(graph, movie, record="all")
    found = unroll(graph.to(dtype), movie.to(dtype), record="all", keep_state=True)
    assert found.output.dtype == dtype
    assert found.state is not None
    assert all(y.dtype == dtype for y in found.state.outputs.values())
    assert all(s.dtype == dtype for states in found.state.cells.values() for s in states)
    tolerance = 0.1 if dtype == torch.bfloat16 else 0.02
    torch.testing.assert_close(found.output.double(), wanted.output, rtol=tolerance, atol=tolerance)


def test_autocast(movie):
    graph = small().float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = unroll(graph, movie.float()).output
    wanted = unroll(graph, movie.float()).output
    torch.testing.assert_close(found.float(), wanted, rtol=0.1, atol=0.1)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"x": torch.zeros(3, 6, 2, 4, 4)}, ["shape of input", "(batch, time, 2, 4, 5)"]),
        ({"x": torch.zeros(3, 2, 4, 5)}, ["steps", "how many steps"]),
        ({"x": torch.zeros(3, 6, 2, 4, 5)}, ["dtype of input", "graph.to(torch.float32)"]),
        ({"x": torch.zeros(3, 6, 2, 4, 5).int()}, ["dtype of input", "floating point"]),
        ({"x": [1.0]}, ["inputs", "not a tensor"]),
        ({"x": torch.zeros(0, 6, 2, 4, 5)}, ["shape of input", "(0, 6, 2, 4, 5)"]),
        ({"x": torch.zeros(3, 0, 2, 4, 5)}, ["shape of input", "(3, 0, 2, 4, 5)"]),
        ({"x": torch.zeros(4, 5)}, ["shape of input", "or the same without time"]),
        ({"x": torch.zeros(3, 6, 2, 4, 5, dtype=F64, device="meta")}, ["device", "meta", ".to()"]),
        ({"x": {"inptu": torch.zeros(3, 6, 2, 4, 5)}}, ["stimulus", "'inptu'", "'input'"]),
        ({"lengths": [1.0, 2.0, 3.0]}, ["lengths", "whole numbers"]),
        ({"lengths": [0, 2, 3]}, ["lengths", "1 to 6"]),
        ({"steps": 5}, ["steps", "6 frames"]),
        ({"steps": 0}, ["steps", "1 or more"]),
        ({"schedule": "stepwize"}, ["schedule", "'stepwise'"]),
        ({"mode": "ful"}, ["mode", "biological, full"]),
        ({"record": ("d",)}, ["record", "Known: a, b, c"]),
        ({"read": "first"}, ["read", "last, all"]),
        ({"read": (5, 4)}, ["read", "ascending steps from 0 to 5"]),
        ({"read": (6,)}, ["read", "ascending steps from 0 to 5"]),
        ({"lengths": [1, 2]}, ["lengths", "one per sample"]),
        ({"lengths": [1, 2, 7]}, ["lengths", "1 to 6"]),
        ({"gate": {"in": InputGate(shown=1)}}, ["gate", "Known: input"]),
        ({"state": "st.pt"}, ["state = 'st.pt'", "GraphState.load"]),
        ({"state": {"a": torch.zeros(3)}}, ["state = 'dict'", "not a state of a graph"]),
    ],
)
def test_bad_input_is_refused_in_one_sentence(graph, movie, options, words):
    options = dict(options)
    x = options.pop("x", movie)
    with pytest.raises(InputError) as caught:
        unroll(graph, x, **options)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_states_of_another_batch_or_graph_are_refused(graph, movie):
    state = unroll(graph, movie, keep_state=True).state
    with pytest.raises(InputError, match="state: shape of outputs.a"):
        unroll(graph, movie[:2], state=state)
    assert state is not None
    thin = replace(
        state, cells={**state.cells, "a": type(state.cells["a"])(torch.zeros(3, 2, 4, 5))}
    )
    with pytest.raises(InputError, match=r"state: shape of cells\.a\.0.*\(3, 3, 4, 5\)"):
        unroll(graph, movie, state=thin)
    with pytest.raises(InputError, match=r"state: device.*meta.*state\.to"):
        unroll(graph, movie, state=state.to("meta"))
    other = TemporalGraph(
        GraphSpec(nodes=(Node(name="a", inputs=("input",)),), outputs=("a",),
                  input_shape=(2, 4, 5))
    )  # fmt: skip
    with pytest.raises(InputError, match="another graph"):
        unroll(other, movie, state=state)


def test_what_is_not_finite_is_refused_on_demand(graph, movie):
    movie[0, 1, 0, 2, 2] = float("nan")
    unroll(graph, movie)
    with pytest.raises(InputError, match="input holds 1 values that are NaN"):
        unroll(graph, movie, check_finite=True)


def test_gates_refuse_what_is_no_number_of_steps():
    with pytest.raises(InputError, match="shown"):
        InputGate(shown=-1)
