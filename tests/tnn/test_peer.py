import copy
import itertools
import json
from dataclasses import replace

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
        ({"nodes": []}, ["edges is missing"]),
        ({"nodes": 3, "edges": []}, ["nodes", "not a list"]),
        (pair() | {"nodes": [{"pre_memory": {}}]}, ["nodes[0]", "with name"]),
        (pair() | {"edges": [{"from": "conv1"}]}, ["edges[0]", "with from, to"]),
        ({k: v for k, v in pair().items() if k != "output_node"}, ["output_node is missing"]),
        (changed(("pre_memory",), None), ["conv1: pre_memory", "not a mapping with a name"]),
        (changed(("recurrent_cell",), {"ksize": 2}), ["conv1: recurrent_cell", "with a name"]),
        (changed(("pre_memory",), {"name": "Conv2dCell"}), ["conv1: pre_memory", "missing"]),
        (pair() | {"edges": []}, ["node fc: inputs"]),
        ([], ["not a mapping"]),
    ],
)
def test_mistakes_are_named(given, words):
    with pytest.raises(InputError) as caught:
        TemporalGraph(from_peer(given))
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text


# --- the TensorFlow original --------------------------------------------------------------------


def ancestor_node(name, source=None, **changes):
    above = {"shape": [5, 4, 2]} if source is None else {"shape_from": source}
    entries = {
        "name": name, **above, "dtype": "float32", "input_init": {"function": "zeros"},
        "state_init": {"function": "zeros"}, "harbor": {"function": "harbor"},
        "pre_memory": [{
            "function": "conv", "out_depth": 3, "ksize": 2, "strides": [1, 1, 1, 1],
            "padding": "SAME", "kernel_init": "xavier", "kernel_init_kwargs": {"seed": 0},
            "bias": 0, "activation": None, "batch_norm": False,
        }],
        "memory": {"function": "memory", "memory_decay": 0.5, "trainable": False},
        "post_memory": [{"function": "relu"}],
    }  # fmt: skip
    return entries | changes


def ancestor(**changes):
    """Two convolutions with feedback and a fully connected layer, built like the published file."""
    fc = [{
        "function": "fc", "out_depth": 4, "kernel_init": "truncated_normal",
        "kernel_init_kwargs": {"stddev": 0.01, "seed": 0}, "bias": 0.1, "activation": None,
        "batch_norm": False, "dropout": None, "dropout_seed": 0,
    }]  # fmt: skip
    edges = [("a", "b"), ("b", "a"), ("b", "c"), ("a", "c")]
    return {
        "sep_num": 22, "layernum_add": 3, "addnet": {}, "retres": [11, -1],
        "nodes": [ancestor_node("a"), ancestor_node("b", "a"), ancestor_node("c", "b",
                  pre_memory=fc)],
        "edges": [{"from": x, "to": y} for x, y in edges],
    } | changes  # fmt: skip


def test_the_same_graph_in_the_form_of_the_original():
    """As it stands in PyTorchTNN's form, written by hand."""
    conv = {
        "name": "Conv2dCell", "out_channels": 3, "ksize": [2, 2], "padding": "same", "bias": 0.0,
        "init_dict": {"method": "xavier_normal_"},
    }  # fmt: skip
    full = {
        "name": "FullyConnected", "out_channels": 4, "bias": 0.1, "activation": None,
        "init_dict": {"method": "trunc_normal_", "std": 0.01},
    }  # fmt: skip
    rest = {
        "recurrent_cell": {"name": "TimeDecayRecurrentCell", "tau": 0.5, "trainable": False},
        "post_memory": {"name": "ActivationLayer", "activation": "ReLU"}, "out_channels": None,
    }  # fmt: skip
    wanted = tree(
        node("a", pre_memory=conv, **rest), node("b", "a", pre_memory=conv, **rest),
        node("c", "b", pre_memory=full, **rest),
        edges=[("a", "b"), ("b", "a"), ("b", "c"), ("a", "c")],
    )  # fmt: skip
    given = ancestor()
    before = copy.deepcopy(given)
    assert from_peer(given) == from_peer(wanted)
    assert given == before
    assert from_peer(given).input_shape == (2, 5, 4)
    assert from_peer(given, input_shape=(7, 6, 5)).input_shape == (7, 6, 5)
    assert unroll(TemporalGraph(from_peer(given)), torch.rand(2, 3, 2, 5, 4)).output.shape == (2, 4)


def replaced(k, **changes):
    given = ancestor()
    given["nodes"][k] = given["nodes"][k] | changes
    return given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (replaced(1, harbor={"function": "sum"}), ["node b: harbor"]),
        (replaced(1, state_init={"function": "ones"}), ["node b: state_init"]),
        (replaced(1, memory={"function": "gru"}), ["node b: memory", "time decay"]),
        (replaced(1, memory={"function": "memory", "decay": 1}), ["node b: memory", "'decay'"]),
        (replaced(1, pre_memory=[{"function": "lrn"}]), ["node b: pre_memory[0]", "'lrn'"]),
        (replaced(1, pre_memory=[{"function": "fc"}]), ["node b: pre_memory[0]", "out_depth"]),
        (replaced(1, pre_memory=["relu"]), ["node b: pre_memory[0]", "not a mapping"]),
        (replaced(1, shape_form="a"), ["node b", "'shape_form'", "'shape_from'"]),
        (replaced(0, shape=[5, 4]), ["shape", "give input_shape"]),
        (ancestor(edges=[{"from": "a", "to": "d"}]), ["edges", "'d'"]),
        (ancestor(edges=[{"from": "a", "to": "b"}]), ["edges", "no other reads"]),
    ],
)
def test_mistakes_in_the_form_of_the_original_are_named(given, words):
    with pytest.raises(InputError) as caught:
        TemporalGraph(from_peer(given))
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text


# --- published numbers of parameters ------------------------------------------------------------

# node, parameters without its cell, channels: worked out from kernels and widths.
PUBLISHED = {
    "conv1": (11_616, 96), "conv2": (376_960, 128), "conv3": (917_760, 256),
    "conv4": (1_376_640, 384), "conv5": (983_424, 384), "conv6": (393_472, 256),
    "fc7": (18_875_392, 1024), "fc8": (524_800, 512),
}  # fmt: skip


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(
    ("cell", "maps", "biases", "norms"),
    # A 2 x 2 kernel on C channels: 4 maps C^2 + biases C, and norms C with layer norm.
    [("ugrnn", 4, 2, 4), ("gru", 6, 3, 6), ("lstm", 8, 4, 10), ("intersection", 8, 4, 8)],
)
def test_every_node_has_the_published_number_of_parameters(cell, maps, biases, norms, norm):
    with torch.device("meta"):
        graph = TemporalGraph(published_graph("zhuang", cell=cell, layer_norm=norm))
    for name, (own, c_) in PUBLISHED.items():
        inner = maps * 4 * c_**2 + (biases + norms * norm) * c_ if name.startswith("conv") else 0
        assert sum(p.numel() for p in graph.nodes[name].parameters()) == own + inner


TOTALS = {  # cell -> the published total of encoder, addnet and classifier over 117 classes
    "time_decay": 24_570_205, "ugrnn": 31_798_549, "gru": 35_412_725, "lstm": 39_026_901,
    "intersection": 39_038_933,
}  # fmt: skip


@pytest.mark.parametrize("cell", TOTALS)
def test_with_their_readout_the_graphs_have_the_published_totals(cell):
    options = {"layer_norm": True} if cell == "intersection" else {}
    with torch.device("meta"):
        graph = TemporalGraph(published_graph("zhuang", cell=cell, **options))
    widths = (512, 1024, 512, 117)
    readout = sum(a * b + b for a, b in itertools.pairwise(widths))
    linear = 512 * 117 + 117
    own = sum(p.numel() for p in graph.parameters())
    assert own + readout == TOTALS[cell]
    assert own + linear == TOTALS[cell] - 1_050_112  # the published ones with a linear read-out


def test_resnet_18_of_the_tactile_models():
    spec = published_graph("resnet18")
    readout = m.Sequence(modules=(m.AdaptiveAvgPool(size=1), m.Full(units=512)))
    spec = replace(
        spec,
        nodes=tuple(replace(n, post=readout) if n.name == "readout" else n for n in spec.nodes),
    )
    with torch.device("meta"):
        graph = TemporalGraph(spec, (30, 5, 7))
    assert sum(p.numel() for p in graph.parameters()) == 11_523_840
