import copy
import json
from dataclasses import replace

import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.tnn.cells import GRU, LSTM, UGRNN, Intersection, ReciprocalGated, TimeDecay
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.modules import Activation, AdaptiveAvgPool, Conv, Full, ResidualAdd, Sequence
from vibrissa.tnn.published import published_graph, published_graphs
from vibrissa.tnn.shapes import infer_shapes
from vibrissa.tnn.spec import GraphSpec, Node

TREE = {
    "input_shape": [3, 5, 7],
    "outputs": ["top"],
    "nodes": {
        "low": {
            "inputs": ["input", "mid"],
            "pre": {
                "type": "conv", "channels": 4, "kernel": 2, "dropout": {"rate": 0.1},
                "init": {"name": "xavier_normal"},
            },
            "cell": {"type": "ugrnn", "kernel": 2, "layer_norm": True},
            "post": "activation",
        },
        "mid": {"inputs": ["low"], "pre": {"type": "conv", "channels": 5, "padding": 1}},
        "top": {
            "inputs": ["low", "mid"],
            "pre": {
                "type": "sequence",
                "modules": [
                    {"type": "adaptive_avg_pool", "size": [2, 3]}, {"type": "full", "units": 6},
                ],
            },
            "cell": "time_decay",
        },
    },
}  # fmt: skip


def one_sentence(error, words):
    """The text of a refusal: a sentence, without the words of a traceback, with these words."""
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text


def nodes(*more, **changes):
    """low (sees the input) -> top, with changes to top."""
    top = {"name": "top", "inputs": ("low",), **changes}
    low = Node(name="low", inputs=("input",), pre=Conv(channels=4, padding=1))
    return GraphSpec(
        nodes=(low, Node(**top), *more), outputs=("top",), input_shape=(3, 6, 6)
    )  # fmt: skip


# --- trees ------------------------------------------------------------------------------------


def test_a_tree_is_read_and_left_as_it_was():
    before = copy.deepcopy(TREE)
    spec = GraphSpec.from_tree(TREE)
    assert before == TREE
    assert spec["low"].cell == UGRNN(kernel=2, layer_norm=True)
    assert spec["low"].post == Activation()
    assert isinstance(spec["low"].pre, Conv)
    assert spec["low"].pre.dropout is not None
    assert spec["low"].pre.dropout.rate == 0.1
    assert isinstance(spec["top"].pre, Sequence)
    assert spec["top"].pre.modules == (AdaptiveAvgPool(size=(2, 3)), Full(units=6))
    assert spec.input_shape == (3, 5, 7)


def test_trees_go_round():
    spec = GraphSpec.from_tree(TREE)
    assert GraphSpec.from_tree(spec.to_tree()) == spec
    assert GraphSpec.from_tree(json.loads(spec.to_json())).to_json() == spec.to_json()


def test_files_of_both_kinds(tmp_path):
    import yaml

    (tmp_path / "a.yaml").write_text(yaml.safe_dump(TREE))
    (tmp_path / "a.json").write_text(json.dumps(TREE))
    read = [GraphSpec.from_file(tmp_path / name) for name in ("a.yaml", "a.json")]
    assert read[0] == read[1] == GraphSpec.from_tree(TREE)


def test_the_order_in_the_file_changes_nothing():
    turned = TREE | {"nodes": dict(reversed(TREE["nodes"].items()))}
    one, two = GraphSpec.from_tree(TREE), GraphSpec.from_tree(turned)
    assert one == two
    assert one.timing("full") == two.timing("full")
    weights = []
    for spec in (one, two):
        torch.manual_seed(3)
        weights.append(TemporalGraph(spec).state_dict())
    assert list(weights[0]) == list(weights[1])
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def broken(path, value):
    tree = copy.deepcopy(TREE)
    at = tree
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("nodes", "low", "cel"), "gru", ["nodes.low", "'cel'", "did you mean 'cell'"]),
        (("nodes", "low", "cell"), "ugrn", ["nodes.low.cell", "did you mean 'ugrnn'"]),
        (("nodes", "low", "cell"), {"type": "ugrnn", "layernorm": 1}, ["low.cell", "'layer_norm'"]),
        (("nodes", "low", "cell"), {"type": "ugrnn", "kernel": -1}, ["low.cell", "kernel"]),
        (("nodes", "low", "pre"), {"channels": 4}, ["nodes.low.pre", "type: name"]),
        (("nodes", "low", "pre"), {"type": "conv"}, ["nodes.low.pre", "channels missing"]),
        (("nodes", "low", "pre", "dropout"), {"rate": 2}, ["low.pre.dropout", "rate"]),
        (("nodes", "top", "pre", "modules"), ["convv"], ["top.pre.modules[0]", "'conv'"]),
        (("nodes", "low"), 3, ["nodes.low", "mapping"]),
        (("nodes", "low", "name"), "low", ["nodes.low.name", "leave it out"]),
        (("output",), "top", ["'output'", "did you mean 'outputs'"]),
        (("input_shape",), [3, 5], ["input_shape", "(channel, row, column)"]),
        (("nodes", "low", "harbor"), "none", ["harbor", "resize_concat"]),
    ],
)
def test_mistakes_in_trees_are_named(path, value, words):
    with pytest.raises(InputError) as caught:
        GraphSpec.from_tree(broken(path, value), origin="g.yaml")
    assert str(caught.value).startswith("g.yaml: ")
    one_sentence(caught, words)


# --- validation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: nodes(inputs=("lov",)), ["node top: inputs", "'lov'", "did you mean 'low'"]),
        (lambda: nodes(size_from="lov"), ["node top: size_from", "did you mean 'low'"]),
        (lambda: nodes(inputs=()), ["node top: inputs", "reads nothing"]),
        (lambda: nodes(inputs=("low", "low")), ["node top: inputs", "twice"]),
        (lambda: nodes(inputs="low"), ["node top: inputs", "tuple"]),
        (lambda: nodes(feedforward=("input",)), ["node top: feedforward", "low"]),
        (lambda: nodes(same_step=("input",)), ["node top: same_step", "not among"]),
        (lambda: nodes(out_channels=0), ["node top: out_channels"]),
        (lambda: nodes(cell={"type": "gru"}), ["node top: cell", "CellConfig"]),
        (lambda: nodes(Node(name="top", inputs=("low",))), ["'top'", "rename"]),
        (lambda: nodes(Node(name="input", inputs=("low",))), ["'input'", "stimulus"]),
        (
            lambda: nodes(Node(name="a", inputs=("b",)), Node(name="b", inputs=("a",))),
            ["node a: inputs", "no path leads from input to a, b"],
        ),
        (lambda: replace(nodes(), outputs=("tip",)), ["outputs", "did you mean 'top'"]),
        (lambda: replace(nodes(), order=("low",)), ["order", "top"]),
        (lambda: replace(nodes(), stimuli=("input", "odour")), ["odour", "no node reads it"]),
        (lambda: replace(nodes(), input_shape=(3, 0, 6)), ["input_shape"]),
        (lambda: GraphSpec(nodes=(), outputs=("top",)), ["nodes"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(build, words):
    with pytest.raises(InputError) as caught:
        build()
    one_sentence(caught, words)


def test_a_cycle_without_delay_is_refused():
    more = Node(name="more", inputs=("top",), same_step=("top",))
    assert nodes(more, inputs=("low", "more")).timing().same_step == {("top", "more")}
    with pytest.raises(InputError, match=r"node more: same_step.*cycle without a delay"):
        nodes(more, inputs=("low", "more"), same_step=("more",))


def test_an_order_must_let_same_step_edges_point_forwards():
    more = Node(name="more", inputs=("top",), same_step=("top",))
    with pytest.raises(InputError, match="move top before more"):
        replace(nodes(more), order=("low", "more", "top"))
    assert replace(nodes(more), order=("low", "top", "more")).timing("full").order[1] == "top"


def waiting(**changes):
    """top needs five channels, of which x gives one as soon as top is known."""
    x = Node(name="x", inputs=("top",), pre=Conv(channels=1, padding=1), **changes)
    return nodes(x, inputs=("low", "x"), pre=Conv(channels=5, groups=5, padding=1))


def test_channels_that_wait_for_themselves_may_be_declared():
    assert infer_shapes(waiting(out_channels=1))["top"].harbor == (5, 6, 6)


# --- shapes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (nodes(pre=Conv(channels=2, kernel=9)), ["node top: pre", "kernel (9, 9)"]),
        (nodes(cell=TimeDecay(), out_channels=5), ["node top: out_channels", "give 4"]),
        (nodes(pre=Full(units=3), cell=GRU()), ["node top: cell", "kernel"]),
        (
            nodes(residual=True, post=ResidualAdd(forward=Conv(channels=7, padding=1))),
            ["node top: post", "(7, 6, 6)", "(4, 6, 6)"],
        ),
        (
            nodes(Node(name="v", inputs=("low",), pre=Full(units=3)), inputs=("low", "v")),
            ["node top: inputs", "'v'", "a vector (3,)", "flatten"],
        ),
        (
            nodes(
                Node(name="s", inputs=("low",), pre=Conv(channels=2)), inputs=("low", "s"),
                harbor="concat",
            ),
            ["node top: inputs", "'s'", "(4, 4)", "resize_concat"],
        ),
        (
            nodes(Node(name="x", inputs=("top",)), inputs=("low", "x"), size_from="x"),
            ["size_from", "feedforward source"],
        ),
        (nodes(Node(name="x", inputs=("top",)), inputs=("low", "x")), ["grow around a cycle"]),
        (waiting(), ["node top: pre", "groups", "channels of x", "set out_channels there"]),
        (nodes(pre=Conv(channels=3, groups=3)), ["node top: pre", "groups"]),
        (
            nodes(
                cell=ReciprocalGated(), pre=Conv(channels=4, kernel=3, stride=2, padding=1),
            ),
            ["node top: cell", "agree in height and width"],
        ),
        (nodes(cell=ReciprocalGated(channels=3)), ["node top: cell", "input_to_out"]),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused_with_the_node(spec, words):
    with pytest.raises(InputError) as caught:
        infer_shapes(spec)
    one_sentence(caught, words)


def test_shapes_are_what_torch_makes_of_them():
    spec = nodes(
        Node(name="s", inputs=("low", "top"), pre=Conv(channels=2, kernel=3, stride=2)),
        inputs=("low", "s"), cell=LSTM(kernel=2, channels=7), post=AdaptiveAvgPool(size=3),
    )  # fmt: skip
    shapes = infer_shapes(spec)
    assert shapes["s"].harbor == (4 + 7, 6, 6)
    assert shapes["s"].out == (2, 2, 2)
    assert shapes["top"].harbor == (4 + 2, 6, 6)
    assert shapes["top"].cell == (7, 6, 6)
    assert shapes["top"].out == (7, 3, 3)
    assert infer_shapes(spec, (5, 8, 10))["s"].out == (2, 3, 4)


def test_building_draws_parameters_and_nothing_else():
    spec = nodes(cell=Intersection(kernel=2))
    start = torch.get_rng_state()
    infer_shapes(spec)
    assert torch.equal(torch.get_rng_state(), start)
    torch.manual_seed(5)
    first = TemporalGraph(spec)
    end = torch.get_rng_state()
    torch.manual_seed(5)
    second = TemporalGraph(spec)
    assert torch.equal(torch.get_rng_state(), end)
    torch.manual_seed(5)
    spec["low"].pre.build((3, 6, 6))  # by the order of names: low (pre, cell, post), then top
    spec["top"].cell.build((4, 6, 6))
    assert torch.equal(torch.get_rng_state(), end)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


# --- published graphs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("zhuang", {}, 23_460_072),
        ("zhuang", {"cell": "ugrnn"}, 30_688_416),
        ("zhuang", {"cell": "gru"}, 34_302_592),
        ("zhuang", {"cell": "lstm"}, 37_916_768),
        ("zhuang", {"cell": "intersection", "layer_norm": True}, 37_928_800),
        ("resnet18", {}, 11_689_512),  # that of the ordinary ResNet-18
    ],
)
def test_published_graphs_have_the_published_parameters(name, options, parameters):
    with torch.device("meta"):
        graph = TemporalGraph(published_graph(name, **options))
    assert sum(p.numel() for p in graph.parameters()) == parameters


@pytest.mark.parametrize("name", published_graphs())
def test_published_graphs_build(name):
    with torch.device("meta"):
        for cell in (None, "time_decay", "gru"):
            spec = published_graph(name, cell=cell)
            TemporalGraph(spec)
            assert GraphSpec.from_tree(spec.to_tree()) == spec


def test_published_graphs_refuse_what_they_do_not_know():
    with pytest.raises(InputError, match="did you mean 'zhuang'"):
        published_graph("zhunag")
    with pytest.raises(InputError, match="did you mean 'layer_norm'"):
        published_graph("zhuang", cell="gru", layernorm=True)
    with pytest.raises(InputError, match="did you mean 'gru'"):
        published_graph("zhuang", cell="grru")
    with pytest.raises(InputError, match="cell"):
        published_graph("zhuang", layer_norm=True)
