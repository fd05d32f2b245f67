"""Every cell against its equations in plain numpy, its limits, its gradients and its refusals."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vibrissa.core.config import from_tree
from vibrissa.core.errors import InputError
from vibrissa.tnn.cells import (
    GRU,
    LSTM,
    UGRNN,
    Context,
    ContextShape,
    ConvBasic,
    ConvCellConfig,
    Identity,
    Intersection,
    ReciprocalGated,
    TimeDecay,
    Vanilla,
    cells,
)
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.modules import Init
from vibrissa.tnn.spec import GraphSpec, Node

BATCH, INPUT, ROWS, COLUMNS, STEPS = 2, 3, 2, 3, 3


# --- the equations, written again with loops ---------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


FUNCTIONS = {
    None: lambda x: x,
    "elu": elu,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}


def times(weight, x, bias=None, groups=1):
    """``W * x + b``; zeros outside; the middle of an even kernel lies left of and above centre."""
    outputs = len(weight)
    if weight.ndim == 2:
        y = np.array([[(row * one).sum() for row in weight] for one in x])
    else:
        _, each, kernel_rows, kernel_columns = weight.shape
        _, _, rows, columns = x.shape
        y = np.zeros((len(x), outputs, rows, columns))
        per_group = outputs // groups
        for row, column, i, j in np.ndindex(rows, columns, kernel_rows, kernel_columns):
            a = row + i - (kernel_rows - 1) // 2
            b = column + j - (kernel_columns - 1) // 2
            if not (0 <= a < rows and 0 <= b < columns):
                continue
            for g in range(groups):
                outs = slice(g * per_group, (g + 1) * per_group)
                ins = slice(g * each, (g + 1) * each)
                y[:, outs, row, column] += x[:, ins, a, b] @ weight[outs, :, i, j].T
    if bias is not None:
        y = y + bias.reshape(1, outputs, *(1,) * (y.ndim - 2))
    return y


def layer_norm(x, scale, shift, over_all, eps):
    y = np.zeros_like(x)
    for n in range(len(x)):
        places = [()] if over_all else list(np.ndindex(x.shape[2:]))
        for place in places:
            part = x[(n, slice(None), *place)]
            mean = part.sum() / part.size
            variance = ((part - mean) ** 2).sum() / part.size
            y[(n, slice(None), *place)] = (part - mean) / math.sqrt(variance + eps)
    per_channel = (1, -1, *(1,) * (x.ndim - 2))
    return y * scale.reshape(per_channel) + shift.reshape(per_channel)


class Parameters:
    """A cell's parameters in numpy, and the operations that need them."""

    def __init__(self, cell):
        self.values = {name: p.numpy() for name, p in cell.state_dict().items()}
        self.config = cell.config

    def __getitem__(self, name):
        return self.values[name]

    def norm(self, gate, x):
        if not self.config.layer_norm:
            return x
        over_all = self.config.norm_axes == "all"
        eps = self.config.norm_eps or (1e-12 if over_all else 1e-5)
        scale, shift = self[f"norm.{gate}.weight"], self[f"norm.{gate}.bias"]
        return layer_norm(x, scale, shift, over_all, eps)

    def joint(self, x, s, rows=slice(None)):
        """W * [x, s] + b, as it is published."""
        weight = np.concatenate([self["input.weight"][rows], self["state.weight"]], axis=1)
        return times(weight, np.concatenate([x, s], axis=1), self["input.bias"][rows])

    def map(self, name, x):
        if f"{name}.weight" in self.values:
            return times(self[f"{name}.weight"], x, self[f"{name}.bias"])
        deep, across = f"{name}.depthwise", f"{name}.pointwise"
        y = times(self[f"{deep}.weight"], x, self[f"{deep}.bias"], groups=x.shape[1])
        return times(self[f"{across}.weight"], y, self[f"{across}.bias"])


def parts(x, widths):
    return np.split(x, np.cumsum(widths)[:-1], axis=1)


def identity_step(p, x, state, r, f):
    return x, ()


def time_decay_step(p, x, state, r, f):
    tau = p.values.get("tau")
    if tau is None:
        low, high = p.config.bounds
        tau = low + (high - low) * sigmoid(p["tau_logit"])
    s = x + tau * state[0]
    if not p.config.layer_norm:
        return s, (s,)
    return layer_norm(s, p["norm.weight"], p["norm.bias"], False, 1e-5), (s,)


def plain_step(p, x, state, r, f):
    s = FUNCTIONS[p.config.activation](p.norm("s", p.map("input", x) + p.map("state", state[0])))
    return s, (s,)


def ugrnn_step(p, x, state, r, f):
    (s,) = state
    g, c = parts(p.joint(x, s), [s.shape[1]] * 2)
    g = sigmoid(p.norm("g", g) + p.config.forget_bias)
    s = g * s + (1 - g) * np.tanh(p.norm("c", c))
    return s, (s,)


def intersection_step(p, x, state, r, f):
    (s,) = state
    gh, h, gy, y = parts(p.joint(x, s), [s.shape[1]] * 2 + [x.shape[1]] * 2)
    gh = sigmoid(p.norm("gh", gh) + p.config.forget_bias)
    gy = sigmoid(p.norm("gy", gy) + p.config.forget_bias)
    s = gh * s + (1 - gh) * np.tanh(p.norm("h", h))
    return gy * x + (1 - gy) * np.maximum(p.norm("y", y), 0), (s,)


def gru_step(p, x, state, r, f):
    (s,) = state
    width = s.shape[1]
    r, u = parts(p.joint(x, s, slice(0, 2 * width)), [width] * 2)
    r = sigmoid(p.norm("r", r) + p.config.forget_bias)
    u = sigmoid(p.norm("u", u))
    weight = np.concatenate([p["input.weight"][2 * width :], p["candidate.weight"]], axis=1)
    c = times(weight, np.concatenate([x, r * s], axis=1), p["input.bias"][2 * width :])
    s = u * s + (1 - u) * FUNCTIONS[p.config.activation](p.norm("c", c))
    return s, (s,)


def lstm_step(p, x, state, r, f):
    c, h = state
    i, j, f, o = map(p.norm, "ijfo", parts(p.joint(x, h), [c.shape[1]] * 4))
    squash = FUNCTIONS[p.config.activation]
    c = p.norm("c", c * sigmoid(f + p.config.forget_bias) + sigmoid(i) * squash(j))
    h = squash(c) * sigmoid(o)
    return h, (c, h)


def reciprocal_step(p, x, state, r, f):
    k = p.config
    c, o = state
    back = None if f is None else FUNCTIONS[k.feedback_activation](p.map("feedback", f))

    def entering(place):
        return back if back is not None and k.feedback_entry == place else 0

    u = FUNCTIONS[k.input_activation](x + entering("input"))
    ci = entering("cell") + (p.map("input_to_cell", u) if k.input_to_cell else 0)
    ci = ci + (p.map("residual_to_cell", r) if k.cell_residual else 0)
    oi = entering("out") + (p.map("input_to_out", u) if k.input_to_out else u)
    oi = oi + (p.map("residual_to_out", r) if k.out_residual else 0)
    gate = p.map("residual_to_gate", r) if k.residual_to_out_gate else 0
    if k.cell_to_out:
        oi = oi + p.map("cell_to_out", c)
    else:
        gate = gate + p.map("cell_to_out", c)

    def kept(pre):
        return k.tau_offset + k.tau_multiplier * FUNCTIONS[k.tau](pre + k.tau_bias)

    def let_in(pre):
        return k.gate_offset + k.gate_multiplier * FUNCTIONS[k.gate](pre + k.gate_bias)

    new_c = kept(p.map("cell_tau", c)) * c + let_in(p.map("cell_gate", o)) * ci
    new_o = kept(p.map("out_tau", o)) * o + let_in(gate) * oi
    new_c = FUNCTIONS[k.cell_activation](p.norm("c", new_c))
    new_o = FUNCTIONS[k.out_activation](p.norm("o", new_o))
    return new_o, (new_c, new_o)


REFERENCES = {
    "conv_basic": plain_step,
    "gru": gru_step,
    "identity": identity_step,
    "intersection": intersection_step,
    "lstm": lstm_step,
    "reciprocal_gated": reciprocal_step,
    "time_decay": time_decay_step,
    "ugrnn": ugrnn_step,
    "vanilla": plain_step,
}
GATED = ("conv_basic", "gru", "intersection", "lstm", "ugrnn", "vanilla")
NAMES = tuple(REFERENCES)


# --- helpers -----------------------------------------------------------------------------------


def options(name, **given) -> Any:
    """A configuration by the cell's name."""
    kind: Any = cells.get(name)
    return kind(**given)


def made(config, *args, **kwargs) -> Any:
    return config.build(*args, **kwargs)


def shapes(vector, width=INPUT) -> Any:
    """in_shape and the shapes of the harbor's parts."""
    place = () if vector else (ROWS, COLUMNS)
    return (width, *place), ContextShape((2, *place), (4, *place))


def build(config, vector=False, feedback=True, width=INPUT, **kwargs) -> Any:
    """A cell in float64 whose parameters are all perturbed, so that none is trivial."""
    in_shape, context = shapes(vector, width)
    if not feedback:
        context = context._replace(feedback=None)
    cell = config.build(in_shape, context=context, **kwargs).double()
    with torch.no_grad():
        for p in cell.parameters():
            p += 0.3 * torch.randn_like(p)
    return cell


def default(name, vector=False, **given):
    config = options(name, **given)
    linear = vector and isinstance(config, ConvCellConfig)
    return replace(config, kernel=None) if linear else config


def some_input(cell, batch=BATCH, dtype=torch.float64, feedback=True) -> Any:
    """x and the harbor's parts."""
    x = torch.randn(batch, *cell.in_shape, dtype=dtype)
    _, context = shapes(len(cell.in_shape) == 1)
    r = torch.randn(batch, *context.feedforward, dtype=dtype)
    f = torch.randn(batch, *context.feedback, dtype=dtype) if feedback else None
    return x, Context(r, f)


def some_state(cell, batch=BATCH) -> Any:
    zeros = cell.init_state(batch)
    return cell.state_type(*(torch.randn_like(part) for part in zeros))


def agree(cell, feedback=True):
    """Follow the equations over some steps; the state too must agree at each of them."""
    reference = REFERENCES[cells.name_of(cell.config)] if hasattr(cell, "config") else identity_step
    p = Parameters(cell) if hasattr(cell, "config") else None
    state = cell.init_state(BATCH)
    expected = tuple(np.zeros((BATCH, *shape)) for shape in cell.state_shapes)
    with torch.no_grad():
        for _ in range(STEPS):
            x, context = some_input(cell, feedback=feedback)
            y, state = cell.step(x, state, context)
            r = context.feedforward.numpy()
            f = None if context.feedback is None else context.feedback.numpy()
            wanted, expected = reference(p, x.numpy(), expected, r, f)
            assert y.shape == (BATCH, *cell.out_shape)
            for found, right in zip((y, *state), (wanted, *expected), strict=True):
                np.testing.assert_allclose(found.numpy(), right, rtol=0, atol=1e-10)


# --- equations ---------------------------------------------------------------------------------


def test_every_registered_cell_is_derived_here():
    assert set(REFERENCES) == set(cells.names())


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("norm", ["none", "channel", "all"])
@pytest.mark.parametrize("kernel", [None, 1, 2, 3, (3, 2)])
@pytest.mark.parametrize("name", GATED)
def test_equations(name, kernel, norm, channels):
    config = options(
        name,
        kernel=kernel,
        layer_norm=norm != "none",
        norm_axes="channel" if norm == "none" else norm,
        channels=channels,
    )
    agree(build(config, vector=kernel is None))


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        Identity(),
        TimeDecay(tau=0.6),
        TimeDecay(tau=0.6, layer_norm=True),
        TimeDecay(tau=0.6, bounds=(-0.5, 1.0)),
    ],
)
def test_equations_without_maps(config, vector):
    agree(build(config, vector))


RECIPROCAL = {
    "published": {},
    "norm": {"layer_norm": True},
    "norm_all": {"layer_norm": True, "norm_axes": "all"},
    "widths": {"cell_channels": 5},
    "free_width": {"channels": 2, "input_to_out": True},
    "cell_entry": {"feedback_entry": "cell", "cell_channels": 2, "feedback_activation": "elu"},
    "input_entry": {"feedback_entry": "input", "input_activation": "elu"},
    "residuals": {"cell_residual": True, "out_residual": True, "input_to_cell": False},
    "cell_to_out": {"cell_to_out": True},
    "cell_to_out_alone": {"cell_to_out": True, "residual_to_out_gate": False},
    "no_residual": {"residual_to_out_gate": False},
    "constants": {
        "tau": "tanh", "gate": "tanh", "tau_bias": 0.7, "gate_bias": -0.4, "tau_offset": 0.9,
        "tau_multiplier": -0.8, "gate_offset": 0.6, "gate_multiplier": 0.5,
        "cell_activation": "tanh", "out_activation": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("kernel", [None, 1, 2, 3])
@pytest.mark.parametrize("case", RECIPROCAL)
def test_equations_of_the_reciprocal_gated_cell(case, kernel, feedback):
    config = ReciprocalGated(kernel=kernel, **RECIPROCAL[case])
    agree(build(config, vector=kernel is None, feedback=feedback), feedback=feedback)


def test_equations_of_the_reciprocal_gated_cell_with_kernels_of_its_own():
    separable = dict.fromkeys(
        ("tau_separable", "gate_separable", "in_out_separable", "input_separable",
         "feedback_separable"), True,
    )  # fmt: skip
    config = ReciprocalGated(
        tau_kernel=1, gate_kernel=2, input_kernel=3, in_out_kernel=(2, 3), feedback_kernel=(1, 2),
        input_to_out=True, cell_residual=True, out_residual=True, cell_channels=2, **separable,
    )  # fmt: skip
    agree(build(config))


@pytest.mark.parametrize(
    "config",
    [
        UGRNN(forget_bias=-0.5, kernel=2),
        Intersection(forget_bias=0.3, kernel=2),
        GRU(forget_bias=0.0, activation="elu", kernel=2),
        LSTM(forget_bias=2.0, activation="relu", kernel=2),
        Vanilla(activation="tanh", kernel=2, layer_norm=True, norm_eps=0.1),
        ConvBasic(activation="sigmoid", kernel=2),
    ],
)
def test_options_of_the_equations(config):
    agree(build(config))


def test_linear_lstm_is_torchs():
    """torch orders i, f, j, o and has no forget bias."""
    cell = build(LSTM(kernel=None, channels=5), vector=True)
    peer = nn.LSTMCell(INPUT, 5).double()
    order = [0, 2, 1, 3]
    with torch.no_grad():
        for own, other in (("input.weight", peer.weight_ih), ("state.weight", peer.weight_hh)):
            other.copy_(cell.state_dict()[own].view(4, 5, -1)[order].reshape(20, -1))
        peer.bias_ih.copy_(cell.input.bias.view(4, 5)[order].reshape(20))
        peer.bias_ih[5:10] += 1.0
        peer.bias_hh.zero_()
        c, h = state = some_state(cell)
        for _ in range(4):
            x, _context = some_input(cell)
            y, state = cell.step(x, state)
            h, c = peer(x, (h, c))
            torch.testing.assert_close(y, h, rtol=0, atol=1e-12)
            torch.testing.assert_close(state, (c, h), rtol=0, atol=1e-12)


def test_linear_gru_is_torchs_where_the_two_agree():
    """r multiplies the state before Vs, in torch after it: the same for a diagonal Vs."""
    cell = build(GRU(kernel=None, channels=5), vector=True)
    peer = nn.GRUCell(INPUT, 5).double()
    with torch.no_grad():
        cell.candidate.weight.copy_(torch.diag(torch.randn(5).double()))
        peer.weight_ih.copy_(cell.input.weight)
        peer.weight_hh.copy_(torch.cat([cell.state.weight, cell.candidate.weight]))
        peer.bias_ih.copy_(cell.input.bias)
        peer.bias_ih[:5] += 1.0
        peer.bias_hh.zero_()
        (h,) = state = some_state(cell)
        for _ in range(4):
            x, _context = some_input(cell)
            y, state = cell.step(x, state)
            h = peer(x, h)
            torch.testing.assert_close(y, h, rtol=0, atol=1e-12)
        cell.candidate.weight.copy_(torch.randn(5, 5).double())  # and not for another
        peer.weight_hh[10:] = cell.candidate.weight
        x, _context = some_input(cell)
        assert (cell.step(x, state)[0] - peer(x, h)).abs().max() > 1e-3


def a_movie(graph, batch=2, steps=6) -> Any:
    return torch.randn(batch, steps, *graph.input_shapes["input"], dtype=torch.float64)


def one_cell(config) -> Any:
    """A graph of one node that is nothing but the cell, its parameters perturbed."""
    node = Node(name="a", inputs=("input",), cell=config)
    graph = TemporalGraph(GraphSpec(nodes=(node,), outputs=("a",), input_shape=(3, 2, 3))).double()
    with torch.no_grad():
        for p in graph.parameters():
            p += 0.3 * torch.randn_like(p)
    return graph, graph.nodes["a"].cell


def through_torch(peer, graph) -> None:
    """Every position through torch's layer, over all steps; gradients of the input as well."""
    x = a_movie(graph).requires_grad_()
    apart = x.detach().permute(1, 0, 3, 4, 2).flatten(1, 3).requires_grad_()
    found = graph(x, read="all", schedule="stepwise")
    wanted, _ = peer(apart)
    wanted = wanted.view(x.shape[1], len(x), 2, 3, -1)
    torch.testing.assert_close(found, wanted.permute(1, 0, 4, 2, 3), rtol=0, atol=1e-12)
    weights = torch.randn_like(wanted)
    (found * weights.permute(1, 0, 4, 2, 3)).sum().backward()
    (wanted * weights).sum().backward()
    assert x.grad is not None
    assert apart.grad is not None
    wanted_grad = apart.grad.view(x.shape[1], len(x), 2, 3, -1).permute(1, 0, 4, 2, 3)
    torch.testing.assert_close(x.grad, wanted_grad, rtol=0, atol=1e-12)


def test_a_1x1_conv_lstm_is_torchs_lstm_at_each_position():
    graph, cell = one_cell(LSTM(kernel=1, channels=5))
    peer: Any = nn.LSTM(3, 5).double()
    order = [0, 2, 1, 3]
    with torch.no_grad():
        for own, other in (
            (cell.input.weight, peer.weight_ih_l0), (cell.state.weight, peer.weight_hh_l0),
        ):  # fmt: skip
            other.copy_(own.view(4, 5, -1)[order].reshape(20, -1))
        peer.bias_ih_l0.copy_(cell.input.bias.view(4, 5)[order].reshape(20))
        peer.bias_ih_l0[5:10] += 1.0
        peer.bias_hh_l0.zero_()
    through_torch(peer, graph)


def test_a_1x1_conv_gru_is_torchs_gru_at_each_position():
    """Where the two agree: r multiplies the state before Vs, in torch after it."""
    graph, cell = one_cell(GRU(kernel=1, channels=5))
    peer: Any = nn.GRU(3, 5).double()
    with torch.no_grad():
        cell.candidate.weight.copy_(torch.diag(torch.randn(5).double())[:, :, None, None])
        peer.weight_ih_l0.copy_(cell.input.weight.flatten(1))
        peer.weight_hh_l0.copy_(torch.cat([cell.state.weight, cell.candidate.weight]).flatten(1))
        peer.bias_ih_l0.copy_(cell.input.bias)
        peer.bias_ih_l0[:5] += 1.0
        peer.bias_hh_l0.zero_()
    through_torch(peer, graph)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", [*GATED, "reciprocal_gated"])
def test_a_1x1_convolution_is_the_linear_form_at_each_position(name, norm):
    conv = build(options(name, kernel=1, layer_norm=norm))
    linear = build(options(name, kernel=None, layer_norm=norm), vector=True)
    linear.load_state_dict(
        {k: v.flatten(1) if v.ndim == 4 else v for k, v in conv.state_dict().items()}
    )

    def apart(x):
        return x.permute(0, 2, 3, 1).flatten(0, 2)

    x, context = some_input(conv)
    state = some_state(conv)
    y, new = conv.step(x, state, context)
    y_apart, new_apart = linear.step(
        apart(x), tuple(map(apart, state)), Context(*(apart(part) for part in context))
    )
    for maps, vectors in zip((y, *new), (y_apart, *new_apart), strict=True):
        torch.testing.assert_close(apart(maps), vectors, rtol=0, atol=1e-12)


# --- limits ------------------------------------------------------------------------------------


def with_bias(cell, gate, value, gates):
    """Push one gate of a joint map open (1000) or shut (-1000)."""
    with torch.no_grad():
        width = len(cell.input.bias) // len(gates)
        start = gates.index(gate) * width
        cell.input.bias[start : start + width] = value
    return cell


def one_step(cell) -> Any:
    x, context = some_input(cell)
    state = some_state(cell)
    with torch.no_grad():
        y, new = cell.step(x, state, context)
    return x, state, y, new


def test_ugrnn_gate_open_keeps_the_state_and_shut_replaces_it():
    _, state, y, _ = one_step(with_bias(build(UGRNN()), "g", 1000.0, "gc"))
    assert torch.equal(y, state.s)
    cell = with_bias(build(UGRNN()), "g", -1000.0, "gc")
    with_bias(cell, "c", 1000.0, "gc")
    assert torch.equal(one_step(cell)[2], torch.ones(BATCH, *cell.out_shape).double())


def test_gru_update_gate_open_keeps_the_state_and_all_shut_forgets_it():
    _, state, y, _ = one_step(with_bias(build(GRU()), "u", 1000.0, "ruc"))
    assert torch.equal(y, state.s)
    cell = with_bias(with_bias(build(GRU()), "u", -1000.0, "ruc"), "r", -1000.0, "ruc")
    x, _ = some_input(cell)
    first = cell.step(x, some_state(cell))[0]
    assert torch.equal(first, cell.step(x, some_state(cell))[0])
    assert torch.equal(first, torch.tanh(cell.drive(x)[:, -INPUT:]))


def test_lstm_forget_gate_open_and_input_gate_shut_keep_the_memory():
    cell = with_bias(with_bias(build(LSTM()), "f", 1000.0, "ijfo"), "i", -1000.0, "ijfo")
    _, state, y, new = one_step(cell)
    assert torch.equal(new.c, state.c)
    assert torch.equal(y, new.h)
    y = one_step(with_bias(cell, "o", -1000.0, "ijfo"))[2]
    assert torch.equal(y, torch.zeros_like(y))


def test_intersection_gates_open_pass_input_and_state():
    gates = ["gh", "h", "gy", "y"]
    cell = with_bias(with_bias(build(Intersection()), "gh", 1000.0, gates), "gy", 1000.0, gates)
    x, state, y, new = one_step(cell)
    assert torch.equal(y, x)
    assert torch.equal(new.s, state.s)
    cell = with_bias(with_bias(cell, "gy", -1000.0, gates), "y", -1000.0, gates)
    y = one_step(cell)[2]
    assert torch.equal(y, torch.zeros_like(y))


def test_tau_0_is_no_memory_and_tau_1_a_sum():
    forgetful, lasting = TimeDecay().build((INPUT,)), TimeDecay(tau=1.0).build((INPUT,))
    x = torch.randn(6, BATCH, INPUT, dtype=torch.float64)
    state, sums = forgetful.init_state(BATCH), lasting.init_state(BATCH, dtype=x.dtype)
    for t in range(6):
        y, state = forgetful.step(x[t], state)
        assert torch.equal(y, x[t])
        y, sums = lasting.step(x[t], sums)
        torch.testing.assert_close(y, x[: t + 1].sum(0), rtol=0, atol=1e-12)


def test_time_decay_is_a_geometric_sum():
    cell = TimeDecay(tau=0.5).build((1,))
    state = cell.init_state(1, dtype=torch.float64)
    for t in range(8):
        y, state = cell.step(torch.ones(1, 1, dtype=torch.float64), state)
        assert float(y.detach()) == 2 - 0.5**t


def test_bounded_tau_starts_as_given_and_stays_within():
    cell = TimeDecay(tau=0.25, bounds=(0.0, 1.0)).build((1,)).double()
    assert float(cell.decay().detach()) == pytest.approx(0.25, abs=1e-7)
    for logit in (-1e3, 1e3):
        nn.init.constant_(cell.tau_logit, logit)
        assert 0 <= float(cell.decay().detach()) <= 1


def test_reciprocal_gates():
    """Shut taus keep everything, open ones nothing; the gates let everything or nothing in."""
    cell = build(ReciprocalGated(cell_activation=None, out_activation=None))
    biases = [cell.cell_tau.bias, cell.out_tau.bias, cell.cell_gate.bias, cell.cell_to_out.bias]
    for tau in (-1000.0, 1000.0):
        for gate in (-1000.0, 1000.0):
            for bias, value in zip(biases, (tau, tau, gate, gate), strict=True):
                nn.init.constant_(bias, value)
            x, context = some_input(cell)
            state = some_state(cell)
            with torch.no_grad():
                _, new = cell.step(x, state, context)
                ci, oi, _ = cell.drive(x, context)
            kept, entered = float(tau < 0), float(gate < 0)
            torch.testing.assert_close(new.c, kept * state.c + entered * ci, rtol=0, atol=1e-12)
            torch.testing.assert_close(new.o, kept * state.o + entered * oi, rtol=0, atol=1e-12)


def test_layer_norm_makes_gates_blind_to_scale():
    """Without biases, gates after layer norm do not change when the drive and the state grow."""
    cell = UGRNN(kernel=1, layer_norm=True, norm_eps=0.0, bias=0.0).build((4, 2, 2)).double()
    x, s = torch.randn(2, BATCH, 4, 2, 2, dtype=torch.float64)
    (small,) = cell.step(x, (s,))[1]
    (large,) = cell.step(7 * x, (7 * s,))[1]
    gate_small = cell.norm(cell.input(x) + cell.state(s))[0]
    gate_large = cell.norm(cell.input(7 * x) + cell.state(7 * s))[0]
    torch.testing.assert_close(gate_small, gate_large, rtol=0, atol=1e-10)
    assert not torch.allclose(small, large)


# --- gradients, halves, batches, types -----------------------------------------------------------


GRADIENTS = [(name, vector, norm) for name in NAMES for vector in (0, 1) for norm in (0, 1)]


@pytest.mark.parametrize(("name", "vector", "norm"), GRADIENTS)
def test_gradients(name, vector, norm):
    """Along random directions, through one step."""
    check_gradients(name, vector, norm, steps=1, fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "vector", "norm"), GRADIENTS)
def test_gradients_entry_by_entry(name, vector, norm):
    check_gradients(name, vector, norm, steps=2, fast_mode=False)


@pytest.mark.parametrize(
    "config",
    [
        *(kind(kernel=2, layer_norm=True, norm_axes="all") for kind in (
            ConvBasic, GRU, Intersection, LSTM, ReciprocalGated, UGRNN, Vanilla)),
        *(kind(kernel=1, channels=3) for kind in (
            ConvBasic, GRU, Intersection, LSTM, UGRNN, Vanilla)),
        TimeDecay(tau=0.3, bounds=(0.0, 1.0)),
        *(ReciprocalGated(kernel=1, **given) for given in RECIPROCAL.values()),
        ReciprocalGated(tau_separable=True, gate_separable=True, feedback_separable=True),
    ],
)  # fmt: skip
def test_gradients_of_options(config):
    """Norms over everything, free widths, bounds, entries of feedback and residual."""
    gradients_of(config, place=(2, 2), steps=1, fast_mode=True)


def check_gradients(name, vector, norm, steps, fast_mode):
    config = options(name, **({} if name == "identity" else {"layer_norm": bool(norm)}))
    if isinstance(config, ConvCellConfig):
        config = replace(config, kernel=None if vector else 2)
    gradients_of(config, () if vector else (2, 2), steps, fast_mode)


def gradients_of(config, place, steps, fast_mode):
    context = ContextShape((1, *place), (1, *place))
    cell = config.build((2, *place), context=context).double()
    names = [name for name, _ in cell.named_parameters()]

    def run(x, r, f, *rest):
        values = dict(zip(names, rest[: len(names)], strict=True))
        y, state = x, rest[len(names) :]
        for _ in range(steps):
            y, state = torch.func.functional_call(cell, values, (x, state, Context(r, f)))
        return (y, *state)

    def draw(*shape):
        return torch.randn(1, *shape, dtype=torch.float64).requires_grad_()

    parameters = [
        (p + 0.3 * torch.randn_like(p)).detach().requires_grad_() for p in cell.parameters()
    ]
    inputs = [draw(2, *place), draw(1, *place), draw(1, *place), *parameters]
    inputs += [draw(*shape) for shape in cell.state_shapes]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=fast_mode)


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_its_two_halves_and_drives_fold(name, vector):
    cell = build(default(name, vector), vector)
    frames = [some_input(cell) for _ in range(4)]
    x = torch.cat([frame for frame, _ in frames])
    r = torch.cat([context.feedforward for _, context in frames])
    f = torch.cat([context.feedback for _, context in frames])
    folded = cell.drive(x, Context(r, f))
    folded = folded if isinstance(folded, tuple) else (folded,)
    state = some_state(cell)
    for t, (frame, context) in enumerate(frames):
        drive = cell.drive(frame, context)
        y, new = cell.step(frame, state, context)
        again, same = cell.advance(drive, frame, state)
        for a, b in zip((y, *new), (again, *same), strict=True):
            assert torch.equal(a, b)
        part = tuple(d[t * BATCH : (t + 1) * BATCH] for d in folded)
        drive = drive if isinstance(drive, tuple) else (drive,)
        for a, b in zip(drive, part, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
        state = new


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_samples(name):
    cell = build(default(name))
    x, context = some_input(cell, batch=5)
    state = some_state(cell, batch=5)
    y, new = cell.step(x, state, context)
    for n in range(5):
        one = slice(n, n + 1)
        alone, its_state = cell.step(
            x[one], tuple(part[one] for part in state), Context(*(part[one] for part in context))
        )
        for whole, single in zip((y, *new), (alone, *its_state), strict=True):
            torch.testing.assert_close(whole[one], single, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["none", "channel", "all"])
@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_types_are_kept(name, vector, norm, dtype):
    given = {} if name == "identity" else {"layer_norm": norm != "none"}
    if norm == "all" and name in (*GATED, "reciprocal_gated"):
        given["norm_axes"] = "all"
    config = default(name, vector, **given)
    in_shape, context_shape = shapes(vector)
    cell = made(config, in_shape, context=context_shape).to(dtype)
    x, context = some_input(cell, dtype=dtype)
    y, state = x, cell.init_state(BATCH)
    for _ in range(2):
        y, state = cell.step(x, state, context)
    assert {part.dtype for part in (y, *state)} == {dtype}
    assert all(bool(part.isfinite().all()) for part in (y, *state))


def test_the_state_is_zeros_of_the_asked_type():
    cell = made(LSTM(channels=4), (INPUT, 2, 5))
    state = cell.init_state(7, dtype=torch.float64)
    assert all(torch.equal(part, torch.zeros(7, 4, 2, 5, dtype=torch.float64)) for part in state)
    assert state._fields == ("c", "h")
    assert cell.init_state(1, device="meta").c.device.type == "meta"
    assert Identity().build((3,)).init_state(2) == ()
    stateless = {n for n in NAMES if not build(default(n)).state_shapes}
    assert stateless == {"identity"}
    assert Identity().build((3,)).stateless
    assert not cell.stateless


# --- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(
    ("name", "maps", "biases", "norms"),
    [
        ("ugrnn", 4, 2, 4),
        ("intersection", 8, 4, 8),
        ("gru", 6, 3, 6),
        ("lstm", 8, 4, 10),
        ("vanilla", 2, 2, 2),
        ("conv_basic", 2, 2, 2),
    ],
)
def test_parameter_counts_are_the_published_ones(name, maps, biases, norms, layer_norm):
    """For C channels and k x k kernels: maps k^2 C^2 + biases C, and norms C with layer norm."""
    cell = made(options(name, kernel=2, layer_norm=layer_norm), (6, 4, 6))
    expected = maps * 4 * 36 + biases * 6 + norms * 6 * layer_norm
    assert sum(p.numel() for p in cell.parameters()) == expected
    assert cell.multiply_adds == maps * 4 * 36 * 24


def joint(cell):
    return torch.cat([cell.input.weight, cell.state.weight], dim=1)


@pytest.mark.parametrize(("config", "gates"), [(UGRNN(), 2), (Intersection(), 4), (LSTM(), 4)])
def test_the_start_is_torchs_own_for_the_joint_map(config, gates):
    torch.manual_seed(5)
    cell = made(config, (4, 5, 5))
    torch.manual_seed(5)
    peer: Any = nn.Conv2d(8, 4 * gates, 3)
    assert torch.equal(joint(cell), peer.weight)
    assert torch.equal(cell.input.bias, peer.bias)


def test_the_start_of_linear_maps_is_torchs_own():
    torch.manual_seed(5)
    cell = made(LSTM(kernel=0, channels=3), (4,))
    torch.manual_seed(5)
    peer = nn.Linear(7, 12)
    assert torch.equal(joint(cell), peer.weight)
    assert torch.equal(cell.input.bias, peer.bias)


def test_the_start_of_the_gru_is_that_of_two_maps():
    torch.manual_seed(5)
    cell = made(GRU(channels=2), (4, 5, 5))
    torch.manual_seed(5)
    peers: Any = nn.Conv2d(6, 4, 3), nn.Conv2d(6, 2, 3)
    gates, new = peers
    assert torch.equal(cell.input.weight, torch.cat([gates.weight[:, :4], new.weight[:, :4]]))
    assert torch.equal(cell.state.weight, gates.weight[:, 4:])
    assert torch.equal(cell.candidate.weight, new.weight[:, 4:])
    assert torch.equal(cell.input.bias, torch.cat([gates.bias, new.bias]))


def test_the_start_is_uniform_within_the_joint_bound():
    cell = made(UGRNN(kernel=2), (40, 3, 3))
    bound = 1 / math.sqrt(80 * 4)
    weights = [p.detach() for p in (cell.input.weight, cell.state.weight, cell.input.bias)]
    for weight in weights:
        assert float(weight.abs().max()) <= bound
    for weight in weights[:2]:  # 12800 draws each
        assert float(weight.abs().max()) > 0.99 * bound
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_published_starts():
    """Biases of the TensorFlow original; an initialiser sees the joint map."""
    cell = made(GRU(bias=0.0, gate_bias=1.0, init=Init(name="xavier_uniform")), (30, 3, 3))
    assert torch.equal(cell.input.bias, torch.cat([torch.ones(60), torch.zeros(30)]))
    gates_bound = math.sqrt(6 / (9 * (60 + 60)))  # fan in 60, fan out 60 channels, 9 places
    assert 0.99 * gates_bound < float(cell.state.weight.detach().abs().max()) <= gates_bound
    new_bound = math.sqrt(6 / (9 * (60 + 30)))
    assert 0.99 * new_bound < float(cell.candidate.weight.detach().abs().max()) <= new_bound
    cell = made(LSTM(layer_norm=True, init=Init(name="constant", options={"val": 0.2})), (2, 3, 3))
    assert torch.equal(joint(cell), torch.full((8, 4, 3, 3), 0.2))
    for name, p in cell.norm.named_parameters():
        assert torch.equal(p, torch.full_like(p, float(name.endswith("weight"))))
    tau = made(TimeDecay(trainable=False), (2,)).tau
    assert float(tau.detach()) == 0
    assert not tau.requires_grad
    assert TimeDecay().build((2,)).tau.requires_grad


def test_building_draws_parameters_and_nothing_else():
    config = ReciprocalGated()
    before = replace(config)
    TimeDecay().build((3,))
    Identity().build((3,))
    state = torch.get_rng_state()
    torch.manual_seed(0)
    assert torch.equal(state, torch.get_rng_state())
    config.build((3, 4, 4), context=ContextShape((2, 4, 4)))
    assert config == before


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_travel(name, tmp_path):
    cell, other = build(default(name)), build(default(name))
    torch.save(cell.state_dict(), tmp_path / "cell.pt")
    other.load_state_dict(torch.load(tmp_path / "cell.pt", weights_only=True))
    x, context = some_input(cell)
    state = some_state(cell)
    assert torch.equal(cell.step(x, state, context)[0], other.step(x, state, context)[0])


def test_gates_are_named():
    keys = set(LSTM(layer_norm=True).build((2, 3, 3)).state_dict())
    assert keys == {"input.weight", "input.bias", "state.weight"} | {
        f"norm.{gate}.{part}" for gate in "ijfoc" for part in ("weight", "bias")
    }


# --- refusals ------------------------------------------------------------------------------------


def refused(text, call, *args, **kwargs):
    with pytest.raises(InputError, match=text) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("ugrnn", {"kernel": -1}, "kernel = -1"),
        ("lstm", {"kernel": (2, 2, 2)}, "kernel = (2, 2, 2)"),
        ("gru", {"kernel": 2.5}, "kernel = 2.5"),
        ("gru", {"channels": 0}, "channels = 0"),
        ("intersection", {"norm_axes": "rows"}, "choose channel or all"),
        ("ugrnn", {"norm_eps": -1.0}, "norm_eps"),
        ("vanilla", {"activation": "ReLU"}, "did you mean 'relu'"),
        ("gru", {"activation": "tahn"}, "did you mean 'tanh'"),
        ("time_decay", {"tau": math.nan}, "tau"),
        ("time_decay", {"bounds": (0.0, 1.0)}, "strictly between"),
        ("time_decay", {"bounds": (1.0, 0.0)}, "not an interval"),
        ("reciprocal_gated", {"feedback_entry": "top"}, "choose out, cell or input"),
        ("reciprocal_gated", {"gate": "sigmod"}, "did you mean 'sigmoid'"),
        ("reciprocal_gated", {"input_to_cell": False}, "nothing would enter the memory"),
        ("reciprocal_gated", {"kernel": None, "tau_kernel": 3}, "linear form has no kernels"),
        ("reciprocal_gated", {"kernel": None, "tau_separable": True}, "has no kernels"),
    ],
)
def test_bad_options_are_refused(name, given, text):
    with pytest.raises(InputError) as caught:
        options(name, **given)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_misspelt_options_are_refused(name):
    refused("'layernorm' is no entry here", from_tree, cells.get(name), {"layernorm": True})
    refused("cells = 'LTSM': no such name; did you mean 'lstm'", cells.get, "LTSM")


@pytest.mark.parametrize("name", NAMES)
def test_bad_shapes_are_refused(name):
    config = options(name)
    for shape in ((2, 3), (2, 3, 4, 5), (0, 3, 3), (2.0, 3, 3), 3):
        refused("not a shape without the batch", config.build, shape)
    cell = build(config)
    x, context = some_input(cell)
    state = cell.init_state(BATCH)
    refused("the input has shape", cell.step, x[:, :2], state, context)
    refused("the input has shape", cell.step, x[0], state, context)
    refused("the input has shape", cell.drive, x[:, :, 1:], context)
    if not cell.stateless:
        refused("the state has shapes", cell.step, x, cell.init_state(3), context)
        refused("the state has shapes", cell.step, x, (), context)


@pytest.mark.parametrize("name", GATED)
def test_forms_and_shapes_go_together(name):
    refused("a vector .3,. has no positions", options(name).build, (3,))
    refused("kernel = 0: none and 0 mean the linear form", options(name, kernel=0).build, (3, 4, 4))


def test_widths_that_cannot_be():
    for config in (Identity(), TimeDecay()):
        refused("as wide as its input, 3", config.build, (3, 4, 4), 5)
        assert config.build((3, 4, 4), 3).out_shape == (3, 4, 4)
    _, context = shapes(False)
    shape = (INPUT, ROWS, COLUMNS)
    refused("input_to_out", ReciprocalGated().build, shape, 5, context=context)
    cell = Intersection().build((3, 4, 4), 5)
    assert cell.out_shape == (3, 4, 4)
    assert cell.state_shapes == ((5, 4, 4),)
    assert LSTM(channels=7).build((3, 4, 4), 5).out_shape == (5, 4, 4)


def test_context_that_cannot_be():
    config, (shape, context) = ReciprocalGated(), shapes(False)
    refused("whose shape was not given", config.build, shape)
    refused("height and width", config.build, shape, context=ContextShape((2, 9, 9)))
    cell = config.build(shape, context=context)
    x, given = some_input(cell, dtype=torch.float32)
    state = cell.init_state(BATCH)
    refused("give context", cell.step, x, state)
    refused("was not given", cell.step, x, state, given._replace(feedback=None))
    refused("context.feedback: the input", cell.step, x, state, given._replace(feedback=x))
    refused("context.feedforward: the input", cell.step, x, state, given._replace(feedforward=x))
    cell = config.build(shape, context=context._replace(feedback=None))
    refused("built without", cell.step, x, state, given)
