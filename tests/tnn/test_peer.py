import copy
import json

import pytest
import torch
import torch.nn.functional as F

from vibrissa.core.errors import InputError
from vibrissa.tnn import cells as c
from vibrissa.tnn import modules as m
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.peer import from_peer
from vibrissa.tnn.peer_weights import state_from_peer, state_to_peer
from vibrissa.tnn.published import published_graph
from vibrissa.tnn.spec import GraphSpec
from vibrissa.tnn.unrolling import unroll

F64 = torch.float64


def node(name, shape_from=None, **changes):
    entries = {
        "name": name, "shape_from": shape_from, "harbor_policy": {"name": "ResizeConcat"},
        "pre_memory": {"name": "Conv2dCell", "out_channels": 3, "ksize": [3, 3], "padding": 1},
        "recurrent_cell": {"name": "IdentityCell"}, "post_memory": {"name": "Identity"},
        "out_channels": 3,
    }  # fmt: skip
    return entries | changes


def tree(*nodes, edges=(), output=None, **more):
    return {
        "nodes": list(nodes), "edges": [{"from": a, "to": b} for a, b in edges],
        "input_nodes": [nodes[0]["name"]], "output_node": output or nodes[-1]["name"],
        "input_shape": [2, 5, 4], "num_timesteps": 4,
    } | more  # fmt: skip


def pair(cell=None, **more):
    """conv1 with the cell -> fc."""
    cell = {"name": "IdentityCell"} if cell is None else cell
    fc = node(
        "fc", "conv1", pre_memory={"name": "FullyConnected", "out_channels": 4, "activation": None},
        out_channels=4,
    )  # fmt: skip
    return tree(node("conv1", recurrent_cell=cell, **more), fc, edges=[("conv1", "fc")])


def test_the_tree_is_left_as_it_was_and_files_are_read(tmp_path):
    given = pair({"name": "UGRNNCell", "ksize": [2, 2], "out_channels": 3, "layernorm": True})
    before = copy.deepcopy(given)
    one, two = from_peer(given), from_peer(given)
    assert given == before
    assert one == two
    (tmp_path / "a.json").write_text(json.dumps(given))
    assert from_peer(tmp_path / "a.json") == one
    assert one["conv1"].cell == c.UGRNN(kernel=2, layer_norm=True)
    assert one["fc"].pre == m.Full(units=4)
    assert one.input_shape == (2, 5, 4)
    assert from_peer(given, input_shape=(7, 5, 4)).input_shape == (7, 5, 4)


def test_channels_are_concatenated_by_name_as_text():
    given = tree(
        node("conv2"), node("conv10", "conv2"), node("conv1", "conv2"),
        edges=[("conv2", "conv10"), ("conv1", "conv2"), ("conv10", "conv2"), ("conv2", "conv1"),
               ("conv10", "conv1")],
        ff_order=["conv2", "conv1", "conv10"],
    )  # fmt: skip
    spec = from_peer(given)
    assert spec["conv2"].inputs == ("input", "conv1", "conv10")
    assert spec["conv1"].inputs == ("conv10", "conv2")
    assert spec["conv1"].size_from == "conv2"
    assert spec.timing("full").order == ("conv2", "conv1", "conv10")


def test_modules():
    conv = {
        "name": "Conv2dCell", "out_channels": 3, "ksize": 3, "stride": [1, 1], "padding": "same",
        "use_bias": False, "batchnorm": 3, "batchnorm_timevary": True, "activation": "ELU",
        "dropout": 0.5, "init_dict": {"method": "trunc_normal_", "std": 0.01}, "bias": None,
    }  # fmt: skip
    post = {
        "name": "Sequential",
        "list_of_func_kwargs": [
            {
                "name": "ResidualAdd", "activation": "ReLU",
                "feedforward_func_kwargs": {"name": "Identity"},
                "residual_func_kwargs": {"name": "Conv2dCell", "out_channels": 3, "ksize": 1},
            },
            {"name": "MaxPool", "ksize": 2, "stride": [2, 2], "ceil_mode": True},
            {"name": "AdaptiveAvgPool", "output_size": [1, 1], "flatten": True},
            {"name": "FullyConnected", "out_channels": 4, "bias": 0.1},
            {"name": "ActivationLayer", "activation": "Tanh"},
        ],
    }  # fmt: skip
    spec = from_peer(pair(pre_memory=conv, post_memory=post, residual=True, out_channels=4))
    assert spec["conv1"].residual
    assert spec["conv1"].pre == m.Conv(
        channels=3, padding="same", use_bias=False, batch_norm=m.BatchNorm(per_step=True, steps=4),
        activation="elu", dropout=m.Dropout(rate=0.5),
        init=m.Init(name="trunc_normal", options={"std": 0.01}),
    )  # fmt: skip
    assert spec["conv1"].post == m.Sequence(modules=(
        m.ResidualAdd(
            forward=m.Identity(), residual=m.Conv(channels=3, kernel=1), activation="relu"
        ),
        m.MaxPool(kernel=2, stride=2, ceil=True), m.AdaptiveAvgPool(size=1, flatten=True),
        m.Full(units=4, bias=0.1, activation="relu"), m.Activation(name="tanh"),
    ))  # fmt: skip


# --- numbers: the equations on weights under PyTorchTNN's names -----------------------------------


def same(x, w, b=None):
    rows, columns = w.shape[2:]
    return F.conv2d(F.pad(x, ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)), w, b)


def norm(w, name, x):
    """Over channels, or not at all where there are no weights for it."""
    if f"{name}.weight" not in w:
        return x
    x = x.movedim(1, -1)
    scaled = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    return (scaled * w[f"{name}.weight"] + w[f"{name}.bias"]).movedim(-1, 1)


def joint(w, name, x, s):
    return same(torch.cat([x, s], dim=1), w[f"{name}.weight"], w[f"{name}.bias"])


def ugrnn(w, x, s):
    g, new = joint(w, "conv", x, s).chunk(2, dim=1)
    g = torch.sigmoid(norm(w, "ln_g_act", g) + 1)
    s = g * s + (1 - g) * torch.tanh(norm(w, "ln_c_act", new))
    return s, s


def intersection(w, x, s):
    parts = joint(w, "conv", x, s).chunk(4, dim=1)
    names = ("ln_gh_act", "ln_h_act", "ln_gy_act", "ln_y_act")
    gh, h, gy, y = (norm(w, n, p) for n, p in zip(names, parts, strict=True))
    gh, gy = torch.sigmoid(gh + 1), torch.sigmoid(gy + 1)
    return gy * x + (1 - gy) * torch.relu(y), gh * s + (1 - gh) * torch.tanh(h)


def gru(w, x, s):
    r, u = joint(w, "conv_ru", x, s).chunk(2, dim=1)
    r, u = torch.sigmoid(norm(w, "ln_r_pre", r) + 1), torch.sigmoid(norm(w, "ln_u_pre", u))
    new = torch.tanh(norm(w, "ln_c_pre", joint(w, "conv_c", x, r * s)))
    s = u * s + (1 - u) * new
    return s, s


def lstm(w, x, s):
    memory, h = (s, s) if isinstance(s, torch.Tensor) else s
    parts = joint(w, "conv", x, h).chunk(4, dim=1)
    names = ("ln_input", "ln_transform", "ln_forget", "ln_output")
    i, j, f, o = (norm(w, n, p) for n, p in zip(names, parts, strict=True))
    memory = memory * torch.sigmoid(f + 1) + torch.sigmoid(i) * torch.tanh(j)
    memory = norm(w, "ln_state", memory)
    h = torch.tanh(memory) * torch.sigmoid(o)
    return h, (memory, h)


def vanilla(w, x, s):
    pre = same(x, w["conv_input.weight"], w["conv_input.bias"])
    pre = pre + same(s, w["conv_state.weight"], w["conv_state.bias"])
    s = F.elu(norm(w, "ln", pre))
    return s, s


def basic(w, x, s):
    pre = same(x, w["conv_input.weight"], w["conv_input.bias"])
    s = torch.relu(pre + same(s, w["conv_state.weight"], w["conv_state.bias"]))
    return s, s


def decay(w, x, s):
    s = x + w["tau"] * s
    return s, s


def reciprocal(w, x, s, forward, back):
    memory, o = (s, s) if isinstance(s, torch.Tensor) else s

    def conv(name, y):
        return same(y, w[f"{name}.conv.weight"], w[f"{name}.conv.bias"])

    sg = torch.sigmoid
    new_memory = (1 - sg(conv("cell_tau_conv", memory))) * memory
    new_memory = new_memory + (1 - sg(conv("cell_gate_conv", o))) * conv("inp2cell_conv", x)
    gate = sg(conv("cell2out_conv", memory) + conv("out_gate_conv", forward))
    new = (1 - sg(conv("out_tau_conv", o))) * o + (1 - gate) * (x + conv("feedback_conv", back))
    return F.elu(new), (F.elu(new_memory), F.elu(new))


CELLS = {
    "TimeDecayRecurrentCell": (decay, {"tau": 0.5}, {"tau": ()}),
    "UGRNNCell": (ugrnn, {"ksize": 2}, {"conv": (6, 6, 2, 2), "ln_g_act": 3, "ln_c_act": 3}),
    "IntersectionRNNCell": (
        intersection, {"ksize": [3, 3]},
        {"conv": (12, 6, 3, 3), "ln_gh_act": 3, "ln_h_act": 3, "ln_gy_act": 3, "ln_y_act": 3},
    ),
    "GRUCell": (
        gru, {"ksize": 2},
        {"conv_ru": (6, 6, 2, 2), "conv_c": (3, 6, 2, 2), "ln_r_pre": 3, "ln_u_pre": 3,
         "ln_c_pre": 3},
    ),
    "LSTMCell": (
        lstm, {"ksize": 3},
        {"conv": (12, 6, 3, 3), "ln_input": 3, "ln_transform": 3, "ln_forget": 3, "ln_output": 3,
         "ln_state": 3},
    ),
    "VanillaRNNCell": (
        vanilla, {"ksize": 3},
        {"conv_input": (3, 3, 3, 3), "conv_state": (3, 3, 3, 3), "ln": 3},
    ),
    "ConvRNNBasicCell": (
        basic, {"ksize": [3, 3], "padding": 1, "state_shape": [5, 4]},
        {"conv_input": (3, 3, 3, 3), "conv_state": (3, 3, 3, 3)},
    ),
}  # fmt: skip


def weights_of(prefix, shapes, norms):
    found = {}
    for name, shape in shapes.items():
        if name == "tau":
            found[f"{prefix}tau"] = torch.rand((), dtype=F64)
        elif not name.startswith("ln"):
            found[f"{prefix}{name}.weight"] = 0.5 * torch.randn(shape, dtype=F64)
            found[f"{prefix}{name}.bias"] = torch.randn(shape[0], dtype=F64)
        elif norms:
            found[f"{prefix}{name}.weight"] = torch.rand(shape, dtype=F64) + 0.5
            found[f"{prefix}{name}.bias"] = torch.randn(shape, dtype=F64)
    return found


def under(prefix, weights):
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


@pytest.mark.parametrize(
    ("name", "norms"),
    [(name, norms) for name in CELLS for norms in (False, True)
     if not norms or any(key.startswith("ln") for key in CELLS[name][2])],
)  # fmt: skip
def test_cells_compute_the_same_with_weights_from_there(name, norms):
    step, options, shapes = CELLS[name]
    cell = {"name": name, "out_channels": 3, **options}
    if any(key.startswith("ln") for key in shapes):
        cell["layernorm"] = norms
    if name == "TimeDecayRecurrentCell":
        cell.pop("out_channels")
    graph = TemporalGraph(from_peer(pair(cell))).double()
    there = {
        "conv1._pre_memory.conv.weight": torch.randn(3, 2, 3, 3, dtype=F64),
        "conv1._pre_memory.conv.bias": torch.randn(3, dtype=F64),
        "fc._pre_memory.lin.weight": torch.randn(4, 60, dtype=F64),
        "fc._pre_memory.lin.bias": torch.randn(4, dtype=F64),
        **weights_of("conv1._recurrent_cell.", shapes, norms),
    }
    graph.load_state_dict(state_from_peer(graph, there))
    back = state_to_peer(graph)
    assert back.keys() == there.keys()
    assert all(torch.equal(back[key], there[key]) for key in there)

    x = torch.randn(2, 4, 2, 5, 4, dtype=F64)
    own = under("conv1._recurrent_cell.", there)
    s = torch.zeros(2, 3, 5, 4, dtype=F64)
    y = torch.zeros(2, 3, 5, 4, dtype=F64)
    wanted = []
    for t in range(4):
        wanted.append(
            F.linear(
                y.flatten(1), there["fc._pre_memory.lin.weight"], there["fc._pre_memory.lin.bias"]
            )
        )
        u = same(
            x[:, t], there["conv1._pre_memory.conv.weight"], there["conv1._pre_memory.conv.bias"]
        )
        y, s = step(own, u, s)
    found = unroll(graph, x, read="all").output
    torch.testing.assert_close(found, torch.stack(wanted, dim=1), rtol=1e-12, atol=1e-12)


def reciprocal_tree(upper="b"):
    cell = {
        "name": "ReciprocalGatedCell", "input_in_channels": 3, "out_channels": 3, "cell_depth": 3,
        "tau_bias": 5.0,  # without effect there
    }  # fmt: skip
    return tree(
        node("a"), node("aa", "a", recurrent_cell=cell), node(upper, "aa"),
        edges=[("a", "aa"), ("aa", upper), (upper, "aa")],
    )  # fmt: skip


def test_reciprocal_cells_part_feedforward_and_feedback():
    spec = from_peer(reciprocal_tree())
    assert spec["aa"].inputs == ("a", "b")
    assert spec["aa"].feedforward == ("a",)
    graph = TemporalGraph(spec).double()
    there = state_to_peer(graph)
    there = {key: torch.randn_like(value) * 0.5 for key, value in there.items()}
    maps = {key.split(".")[2] for key in there if key.startswith("aa._recurrent_cell")}
    assert maps == {
        "cell_tau_conv", "cell_gate_conv", "inp2cell_conv", "out_tau_conv", "cell2out_conv",
        "out_gate_conv", "feedback_conv",
    }  # fmt: skip
    graph.load_state_dict(state_from_peer(graph, there))
    x = torch.randn(2, 5, 2, 5, 4, dtype=F64)

    def pre(name, y):
        p = under(f"{name}._pre_memory.conv.", there)
        return same(y, p["weight"], p["bias"])

    zero = torch.zeros(2, 3, 5, 4, dtype=F64)
    y = dict.fromkeys(("a", "aa", "b"), zero)
    s = zero
    for t in range(5):
        own = under("aa._recurrent_cell.", there)
        middle, s = reciprocal(own, pre("aa", y["a"]), s, y["a"], y["b"])
        y = {"a": pre("a", x[:, t]), "aa": middle, "b": pre("b", y["aa"])}
        found = unroll(graph, x[:, : t + 1]).output
        torch.testing.assert_close(found, y["b"], rtol=1e-12, atol=1e-12)


def test_the_first_channels_count_as_feedforward_as_they_do_there():
    # "Z" sorts before "a", so that its channels are the first, although "a" is the source.
    spec = from_peer(reciprocal_tree(upper="Z"))
    assert spec["aa"].inputs == ("Z", "a")
    assert spec["aa"].feedforward == ("Z",)
    wide = reciprocal_tree(upper="Z")
    wide["nodes"][2]["pre_memory"]["out_channels"] = wide["nodes"][2]["out_channels"] = 2
    with pytest.raises(InputError, match="node aa: inputs.*between two inputs"):
        from_peer(wide)


def test_batch_norm_goes_both_ways():
    for per_step in (False, True):
        conv = {
            "name": "Conv2dCell", "out_channels": 3, "ksize": 3, "padding": 1, "use_bias": False,
            "batchnorm": 3, "batchnorm_timevary": per_step,
        }  # fmt: skip
        graph = TemporalGraph(from_peer(pair(pre_memory=conv)))
        graph(torch.randn(6, 4, 2, 5, 4))
        there = state_to_peer(graph)
        prefix = "conv1._pre_memory."
        for t in range(4):
            norm_ = torch.nn.BatchNorm2d(3)
            norm_.load_state_dict(under(f"{prefix}bns.{t}." if per_step else f"{prefix}bn.", there))
            assert norm_.num_batches_tracked == (1 if per_step else 4)
        again = TemporalGraph(from_peer(pair(pre_memory=conv)))
        again.load_state_dict(state_from_peer(again, there))
        x = torch.randn(2, 4, 2, 5, 4)
        assert torch.equal(again.eval()(x), graph.eval()(x))


def test_the_published_graph_has_the_names_of_its_weights_there():
    with torch.device("meta"):
        graph = TemporalGraph(published_graph("zhuang", cell="intersection", layer_norm=True))
        there = state_to_peer(graph)
    assert len(there) == 8 * 2 + 6 * 2 + 6 * 8
    assert there["conv4._recurrent_cell.conv.weight"].shape == (4 * 384, 768, 2, 2)
    assert there["fc7._pre_memory.lin.weight"].shape == (1024, 18432)
    assert sum(value.numel() for value in there.values()) == 37_928_800


def test_what_has_no_equal_is_refused():
    bad = TemporalGraph(from_peer(pair()))
    with pytest.raises(InputError, match="keys are missing"):
        state_from_peer(bad, {})
    extra = state_to_peer(bad) | {"addnet.weight": torch.zeros(1)}
    with pytest.raises(InputError, match="addnet.weight.*left over"):
        state_from_peer(bad, extra)
    turned = {
        "input_shape": [2, 5, 4], "outputs": ["a"],
        "nodes": {"a": {"inputs": ["b", "input"], "pre": {"type": "conv", "channels": 2}},
                  "b": {"inputs": ["a"]}},
    }  # fmt: skip
    with pytest.raises(InputError, match="node a: inputs.*stimulus, then the nodes sorted"):
        state_to_peer(TemporalGraph(GraphSpec.from_tree(turned)))


def changed(where, value):
    given = pair({"name": "GRUCell", "ksize": 2, "out_channels": 3})
    at = given["nodes"][0]
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    return given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (changed(("recurrent_cell", "layer_norm"), True), ["conv1: recurrent_cell", "'layernorm'"]),
        (changed(("recurrent_cell", "name"), "GRU"), ["conv1: recurrent_cell", "'GRUCell'"]),
        (changed(("recurrent_cell", "stride"), 2), ["conv1: recurrent_cell: stride", "1"]),
        (changed(("pre_memory", "activation"), "relu"), ["conv1: pre_memory", "'ReLU'"]),
        (
            changed(("pre_memory", "init_dict"), {"method": "magic_"}),
            ["conv1: pre_memory", "magic"],
        ),
        (changed(("pre_memory", "padding_mode"), "circular"), ["conv1: pre_memory: padding_mode"]),
        (changed(("harbor_policy",), {"name": "Resize"}), ["conv1: harbor_policy", "ResizeConcat"]),
        (changed(("out_channels",), 9), ["conv1: out_channels", "give 3"]),
        (pair() | {"output_node": "fx"}, ["outputs", "'fc'"]),
        (pair() | {"edges": [{"from": "conv1", "to": "fx"}]}, ["edges", "'fc'"]),
        ({"nodes": []}, ["edges is missing", "TensorFlow"]),
        (pair() | {"edges": []}, ["node fc: inputs"]),
        ([], ["not a mapping"]),
    ],
)
def test_mistakes_are_named(given, words):
    with pytest.raises(InputError) as caught:
        TemporalGraph(from_peer(given))
    for word in words:
        assert word in str(caught.value)
