from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from vibrissa.core.errors import InputError
from vibrissa.tnn import copied, gathered, onednn, packed, rows, tiled, tiles
from vibrissa.tnn.cells import Identity, TimeDecay, cells
from vibrissa.tnn.convolve import Source, convolve
from vibrissa.tnn.copying import copying
from vibrissa.tnn.fast import Fast
from vibrissa.tnn.gathered import gathering
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.job import InputGate
from vibrissa.tnn.modules import (
    Activation,
    BatchNorm,
    Conv,
    Dropout,
    Full,
    MaxPool,
    ResidualAdd,
    same_conv2d,
)
from vibrissa.tnn.packed import pack
from vibrissa.tnn.published import published_graph
from vibrissa.tnn.spec import GraphSpec, Node
from vibrissa.tnn.taps import tap_products
from vibrissa.tnn.tiles import choose, form
from vibrissa.tnn.unrolling import unroll

F64 = torch.float64
WITH_OPTIONS = {
    "time_decay": [{"tau": 0.6}, {"tau": 0.6, "layer_norm": True}, {"tau": 0.5, "bounds": (0, 1)}],
    "identity": [{}],
}
KERNELS = [{"kernel": 2}, {"kernel": 3, "layer_norm": True}, {"kernel": (1, 2)}]
SCHEDULES = [
    Fast(),
    Fast(rows=False),
    Fast(together=1, block=1),
    Fast(together=3, block=2),
    Fast(together=100, block=100, rows=True),
    Fast(convolutions="gather"),
    Fast(convolutions="gather", block=2, checkpoint=True),
    Fast(convolutions="copy", block=2),
]


def every_cell():
    """Each registered cell with some options; a cell registered tomorrow is among them."""
    return [
        (name, options)
        for name in cells.names()
        for options in WITH_OPTIONS.get(
            name, [*KERNELS, {"kernel": 2, "layer_norm": True, "norm_axes": "all"}]
        )
    ]


def made(name, **options) -> Any:
    return cells.get(name)(**options)


def moved(graph):
    """With parameters off their starting values, where norms are 1 and tau may be 0."""
    with torch.no_grad():
        for p in graph.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return graph


def results(
    graph,
    inputs,
    schedule,
    chunks=(),
    lengths=None,
    read: Any = "last",
    record: Any = "all",
    **options,
):
    """Outputs, activations, state and all gradients of one way to compute."""
    graph.zero_grad(set_to_none=True)
    x = inputs.clone().requires_grad_()
    state = None
    found: dict[str, Any] = {}
    edges = [0, *chunks, x.shape[1]]
    for start, stop in pairwise(edges):
        done = unroll(
            graph, x[:, start:stop], schedule=schedule, state=state, keep_state=True,
            lengths=lengths, read=read, record=record, **options,
        )  # fmt: skip
        state = done.state
        for name, values in done.activations.items():
            found[f"{name} from {start}"] = values
        found[f"output from {start}"] = done.output
    assert state is not None
    for name, y in state.outputs.items():
        found[f"state: output of {name}"] = y
        for k, part in enumerate(state.cells[name]):
            found[f"state: {k} of {name}"] = part
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros((), dtype=x.dtype)
    for _, values in sorted(found.items()):  # the same weights, in whatever order they come
        total = total + (values * torch.randn(values.shape, generator=generator).to(x.dtype)).sum()
    total.backward()
    found["gradient of input"] = x.grad
    for name, p in graph.named_parameters():
        found[f"gradient of {name}"] = p.grad
    return found


def assert_equal(found, wanted, tolerance):
    assert found.keys() == wanted.keys()
    largest = max(float(v.detach().abs().max()) for v in wanted.values() if v is not None)
    for name, value in wanted.items():
        other = found[name]
        if value is None or other is None:  # not reached, which may be said with zeros too
            assert all(v is None or not v.any() for v in (value, other)), name
            continue
        assert other.dtype == value.dtype
        assert other.shape == value.shape
        scale = value.detach().abs().max().clamp(min=1e-3 * largest)  # a zero is all rounding
        error = float((other.detach() - value.detach()).abs().max() / scale)
        assert error <= tolerance, f"{name}: {error}"


def two_nodes(cell, post=None, channels=3):
    """A loop of two nodes and a node behind it, with a skip."""
    conv = Conv(channels=channels, kernel=2, padding="same", activation="tanh")
    return GraphSpec(
        nodes=(
            Node(name="a", inputs=("input", "b"), pre=conv, cell=cell, post=Activation()),
            Node(name="b", inputs=("a",), pre=conv, cell=cell, post=post or Activation(name="elu")),
            Node(name="c", inputs=("a", "b"), size_from="a", pre=Full(units=4)),
        ),
        outputs=("c",), input_shape=(2, 3, 4),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "options"), every_cell())
def test_every_cell(name, options):
    torch.manual_seed(1)
    graph = moved(TemporalGraph(two_nodes(made(name, **options))).double())
    x = torch.randn(2, 5, 2, 3, 4, dtype=F64)
    wanted = results(graph, x, "stepwise")
    for schedule in (
        Fast(), Fast(rows=False, block=1), Fast(checkpoint=True),
        Fast(convolutions="gather", block=1), Fast(convolutions="gather", block=2),
        Fast(convolutions="copy", block=1), Fast(convolutions="copy", block=2),
    ):  # fmt: skip
        assert_equal(results(graph, x, schedule), wanted, 1e-10)
    assert_equal(
        results(graph, x, Fast(), record=(), chunks=(2,)),
        results(graph, x, "stepwise", record=(), chunks=(2,)), 1e-10,
    )  # fmt: skip
    last = {"record": (), "lengths": [2, 5]}
    assert_equal(results(graph, x, Fast(), **last), results(graph, x, "stepwise", **last), 1e-10)


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize(("name", "options"), every_cell())
def test_single_precision(name, options, few, monkeypatch):
    """Tap by tap and with fewer products: 1e-5 of the norm of each output and gradient.

    The maps are 16 channels wide: a layer norm over three channels may meet three nearly equal
    values and magnify rounding a thousand times, in whatever order one computes.
    """
    choose.cache_clear()
    monkeypatch.setattr(tiles, "_ROWS_PER_KIND", 0 if few else 1000)
    torch.manual_seed(0)
    graph = moved(TemporalGraph(two_nodes(made(name, **options), channels=16)))
    x = torch.randn(2, 5, 2, 3, 4)
    wanted, found = (results(graph, x, schedule) for schedule in ("stepwise", "fast"))
    choose.cache_clear()
    for key, value in wanted.items():
        if value is not None and value.norm():
            assert (found[key] - value).norm() <= 1e-5 * value.norm(), key


# A norm with eps 1e-12 over few values may magnify rounding a million times.
CONFIGS = [made(name, **options) for name, options in every_cell() if "norm_axes" not in options]


@st.composite
def graphs(draw, longest=30):
    """Random graphs with feedback, skips, mixed cells, sizes, pre- and post-memories."""
    names = [f"n{k}" for k in range(draw(st.integers(1, 5)))]
    drawn: list[Node] = []
    for k, name in enumerate(names):
        forward = "input" if k == 0 else names[draw(st.integers(0, k - 1))]
        others = draw(st.lists(st.sampled_from([*names, "input"]), unique=True, max_size=2))
        inputs = tuple(draw(st.permutations(list(dict.fromkeys([*others, forward])))))
        cell = draw(st.sampled_from(CONFIGS))
        kind = draw(st.sampled_from(["same", "same", "same", "stride", "residual"]))
        pre: Any = Conv(
            channels=draw(st.integers(1, 3)), kernel=draw(st.sampled_from([1, 2, 3, (1, 3)])),
            padding="same", activation=draw(st.sampled_from([None, "relu", "tanh"])),
        )  # fmt: skip
        post: Any = draw(
            st.sampled_from([Activation(), Activation(name="tanh"), MaxPool(kernel=1)])
        )
        if kind == "stride" and not cell.uses_context:
            pre = Conv(channels=2, stride=2, padding=1)
        if kind == "residual" and not cell.uses_context:
            residual = Conv(channels=2, kernel=1)
            post = ResidualAdd(forward=Conv(channels=2, kernel=1), residual=residual)
        drawn.append(
            Node(
                name=name, inputs=inputs, size_from=forward, pre=pre, cell=cell, post=post,
                residual=isinstance(post, ResidualAdd),
            )
        )  # fmt: skip
    drawn.append(
        Node(
            name="z", inputs=(names[-1],), pre=Full(units=3),
            cell=draw(st.sampled_from([Identity(), TimeDecay(tau=0.3)])),
        )
    )  # fmt: skip
    outputs = ("z",) if draw(st.booleans()) else ("z", names[0])
    spec = GraphSpec(nodes=tuple(drawn), outputs=outputs, input_shape=(2, 4, 3))
    torch.manual_seed(draw(st.integers(0, 999)))
    graph = moved(TemporalGraph(spec).double())
    batch, steps = draw(st.integers(1, 3)), draw(st.integers(1, longest))
    return graph, torch.randn(batch, steps, 2, 4, 3, dtype=F64)


@given(graphs(), st.data())
@settings(max_examples=15, deadline=None)
def test_random_graphs(drawn, data):
    graph, x = drawn
    batch, steps = x.shape[:2]
    options: dict[str, Any] = {
        "mode": data.draw(st.sampled_from(["biological", "full"])),
        "record": data.draw(st.sampled_from([(), "all", ("z",), ("n0",)])),
    }
    if data.draw(st.booleans()):
        ends = st.lists(st.integers(1, steps), min_size=batch, max_size=batch)
        options["lengths"] = data.draw(ends)
    elif data.draw(st.booleans()):
        chosen = data.draw(st.lists(st.integers(0, steps - 1), unique=True, min_size=1))
        options["read"] = sorted(chosen)
    elif steps > 1:
        options["chunks"] = (data.draw(st.integers(1, steps - 1)),)
    wanted = results(graph, x, "stepwise", **options)
    schedule = data.draw(st.sampled_from(SCHEDULES))
    found = results(graph, x, schedule, **options)
    # Random graphs may norm a single channel, whose gradient is nothing but rounding, magnified
    # step after step; values keep to 1e-10, and so do the gradients of test_every_cell.
    slopes = {name for name in wanted if name.startswith("gradient")}
    values = wanted.keys() - slopes
    assert_equal({k: found[k] for k in values}, {k: wanted[k] for k in values}, 1e-10)
    assert_equal({k: found[k] for k in slopes}, {k: wanted[k] for k in slopes}, 1e-8)


@pytest.mark.slow
@given(graphs(), st.data())
@settings(max_examples=400, deadline=None)
def test_many_random_graphs(drawn, data):
    inner: Any = test_random_graphs
    inner.hypothesis.inner_test(drawn, data)


@pytest.mark.parametrize(("cell", "record"), [("intersection", ()), ("gru", "all")])
def test_the_published_graph(cell, record):
    torch.manual_seed(0)
    spec = published_graph("zhuang", cell=cell, layer_norm=True)
    slim = tuple(
        replace(n, pre=replace(n.pre, channels=6) if isinstance(n.pre, Conv) else Full(units=7))
        for n in spec.nodes
    )
    graph = moved(TemporalGraph(replace(spec, nodes=slim)).double())
    x = torch.randn(2, 22, 30, 5, 7, dtype=F64)
    wanted = results(graph, x, "stepwise", record=record)
    assert_equal(results(graph, x, Fast(), record=record), wanted, 1e-10)
    image = torch.randn(2, 30, 5, 7, dtype=F64)
    shown = {"steps": 15, "gate": InputGate(shown=6), "read": "all"}
    found = [unroll(graph, image, schedule=s, **shown).output for s in ("stepwise", Fast())]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-10)


class Products(TorchDispatchMode):
    """Counts multiply-add pairs of matrix products and convolutions."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("addmm", "addmm_", "mm"):
            a, b = args[-2:]
            self.total += a.shape[0] * a.shape[1] * b.shape[1]
        elif name == "convolution":
            self.total += out.numel() * args[1][0].numel()
        return out


def products(run):
    with Products() as counter, torch.no_grad():
        run()
    return counter.total


def test_less_is_multiplied():
    """Full steps of each node, by the tables of the plan, times products that touch the map."""
    spec = published_graph("zhuang", cell="intersection", layer_norm=True)
    assert sum(n.multiply_adds for _, n in TemporalGraph(spec).nodes.items()) == pytest.approx(
        463.6e6, rel=1e-3
    )
    slim = tuple(
        replace(n, pre=replace(n.pre, channels=n.pre.channels // 16))
        if isinstance(n.pre, Conv)
        else n
        for n in spec.nodes
    )
    graph = TemporalGraph(replace(spec, nodes=slim))
    x = torch.randn(3, 22, 30, 5, 7)
    nominal = 22 * sum(n.multiply_adds for _, n in graph.nodes.items())
    assert products(lambda: graph(x[:1], schedule="stepwise")) == nominal
    one = products(lambda: graph(x[:1], schedule="fast"))
    two, three = (products(lambda b=b: graph(x[:b], schedule="fast")) for b in (2, 3))
    steps = {"conv1": 19, "conv2": 19, "conv3": 17, "conv4": 17, "conv5": 15, "conv6": 15}
    wanted = 0
    for name, node in graph.nodes.items():
        count = steps.get(name, 1)
        by_taps = node.cell.multiply_adds + (0 if name == "conv1" else node.pre.multiply_adds)
        if name in ("fc7", "fc8"):
            by_taps = 0
        rest = node.multiply_adds - by_taps
        wanted += count * (by_taps * 77 // 96 + rest)
    # conv2 reads conv1 alone at its first live steps, the others not yet being live.
    assert three - two <= wanted < one < nominal * 0.76
    assert three - two == pytest.approx(wanted, rel=0.06)


def test_static_images_run_once_through_what_has_no_memory():
    conv = Conv(channels=4, kernel=3, padding="same")
    spec = GraphSpec(
        nodes=tuple(
            Node(name=f"n{k}", inputs=(f"n{k - 1}" if k else "input",), pre=conv, post=Activation())
            for k in range(5)
        ),
        outputs=("n4",), input_shape=(4, 20, 20),
    )  # fmt: skip
    graph = TemporalGraph(spec)
    x = torch.randn(3, 4, 20, 20)
    one = products(lambda: graph(x, steps=5, mode="full", schedule="stepwise")) / 5
    many = products(lambda: graph(x, steps=12, schedule="fast"))
    assert one == many
    torch.testing.assert_close(
        graph(x, steps=12, schedule="fast"), graph(x, steps=12, schedule="stepwise")
    )


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_sees_the_same_batches(training):
    """In training every batch counts in the averages, also those whose result nobody reads."""
    graph = None
    found = []
    x = torch.randn(4, 6, 2, 3, 4, dtype=F64)
    for schedule in ("stepwise", "fast"):
        torch.manual_seed(0)
        spec = two_nodes(TimeDecay(tau=0.5))
        norm = Conv(channels=3, kernel=2, padding="same", batch_norm=BatchNorm())
        each = Conv(channels=3, kernel=2, padding="same", batch_norm=BatchNorm(per_step=True))
        nodes = (replace(spec["a"], pre=norm), replace(spec["b"], pre=each), spec["c"])
        graph = moved(TemporalGraph(replace(spec, nodes=nodes)).double())
        unroll(graph, x, schedule="stepwise")  # so that there are averages
        graph.train(training)
        values = results(graph, x, schedule, lengths=[6, 6, 3, 1])
        found.append(values | dict(graph.named_buffers()))
    assert_equal(found[1], found[0], 1e-10)


def test_dropout_differs_between_samples_and_may_be_shared_over_time():
    spec = two_nodes(TimeDecay(tau=0.5))
    shared = Conv(channels=3, kernel=2, dropout=Dropout(shared_over_time=True), padding="same")
    each = Conv(channels=3, kernel=2, dropout=Dropout(), padding="same")
    for pre in (shared, each):
        nodes = (replace(spec["a"], pre=pre), replace(spec["b"], pre=pre), spec["c"])
        graph = moved(TemporalGraph(replace(spec, nodes=nodes)))
        done = unroll(graph, torch.ones(2, 8, 2, 3, 4), record="all", schedule="fast")
        b = done.activations["b"]
        assert not torch.equal(b[0, 3], b[1, 3])
        graph.eval()
        done = unroll(graph, torch.ones(2, 8, 2, 3, 4), record="all", schedule="fast")
        torch.testing.assert_close(done.activations["b"][0], done.activations["b"][1])


def test_the_backward_pass_may_be_partial_or_repeated():
    graph = moved(TemporalGraph(two_nodes(made("ugrnn", kernel=2))).double())
    x = torch.randn(2, 5, 2, 3, 4, dtype=F64, requires_grad=True)
    cell: Any = graph.nodes["a"].cell
    weight = cell.state.weight
    y = graph(x, schedule="fast").square().sum()
    (of_input,) = torch.autograd.grad(y, x, retain_graph=True)
    first = torch.autograd.grad(y, [weight, x], retain_graph=True)
    again = torch.autograd.grad(y, [weight, x])
    reference = graph(x, schedule="stepwise").square().sum()
    wanted = torch.autograd.grad(reference, [weight, x])
    for found in (first, again):
        for g, w in zip(found, wanted, strict=True):
            torch.testing.assert_close(g, w, rtol=0, atol=1e-10)
    torch.testing.assert_close(of_input, wanted[1], rtol=0, atol=1e-10)
    for p in graph.parameters():
        p.requires_grad_(False)
    (frozen,) = torch.autograd.grad(graph(x, schedule="fast").square().sum(), x)
    torch.testing.assert_close(frozen, wanted[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("cell", ["intersection", "lstm", "gru", "time_decay"])
@pytest.mark.parametrize("few", [False, True])
def test_bfloat16_operands(cell, few, monkeypatch):
    """About as far from the exact numbers as eight bits are: 2^-8 per product, summed; also with
    fewer products."""
    choose.cache_clear()
    monkeypatch.setattr(tiles, "_ROWS_PER_KIND", 0 if few else 1000)
    options = {} if cell == "time_decay" else {"kernel": 2}
    monkeypatch.setattr(packed, "TOGETHER", 20)  # gradients are summed by five steps, and the rest
    graph = moved(TemporalGraph(two_nodes(made(cell, **options))))
    x = torch.randn(4, 6, 2, 3, 4)
    exact = results(graph, x, "stepwise")
    for schedule in (
        Fast(precision="bfloat16", convolutions="products"),
        Fast(precision="bfloat16", convolutions="copy"),
        Fast(precision="bfloat16", rows=False),
    ):
        found = results(graph, x, schedule)
        assert all(v is None or v.dtype == torch.float32 for v in found.values())
        for name, value in exact.items():
            if value is not None and found[name] is not None:
                error = (found[name] - value).norm() / value.norm().clamp(min=1e-6)
                assert error < (0.25 if "gradient" in name else 0.06), name
        off = (found["c from 0"] - exact["c from 0"]).abs().max()
        assert off > 1e-6  # it is used at all
    choose.cache_clear()


def test_bfloat16_graphs_and_autocast():
    graph = moved(TemporalGraph(two_nodes(made("ugrnn", kernel=2))))
    x = torch.randn(2, 4, 2, 3, 4)
    exact = graph(x, schedule="stepwise")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(graph(x, schedule="fast").float(), exact, rtol=0.1, atol=0.1)
    low = graph.bfloat16()(x.bfloat16(), schedule="fast")
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, rtol=0.1, atol=0.1)


def saved_bytes(run):
    kept = {}

    def keep(x):
        kept[x.untyped_storage().data_ptr()] = x  # held, so that no address is used twice
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        run()
    return sum(x.untyped_storage().nbytes() for x in kept.values())


def test_memory_of_a_train_step():
    """Kept for the backward pass per sample (the difference of two batches)."""
    spec = published_graph("zhuang", cell="intersection", layer_norm=True)
    slim = tuple(
        replace(n, pre=replace(n.pre, channels=12) if isinstance(n.pre, Conv) else Full(units=4))
        for n in spec.nodes
    )
    graph = TemporalGraph(replace(spec, nodes=slim))

    def per_sample(schedule):
        x = torch.randn(6, 22, 30, 5, 7)
        return saved_bytes(lambda: graph(x, schedule=schedule)) - saved_bytes(
            lambda: graph(x[:2], schedule=schedule)
        )

    assert per_sample(Fast()) < 0.5 * per_sample("stepwise")


def algorithms(size, kernel):
    """Tap by tap, with fewer products in tiles, gathered and copied."""
    largest = [1 if k == 1 else 5 - k for k in kernel]
    tiles = [(m, n) for m in range(1, largest[0] + 1) for n in range(1, largest[1] + 1)]
    forms = [form(size, kernel, (min(m, size[0]), min(n, size[1]))) for m, n in tiles]
    return [None, gathering(size, kernel, torch.device("cpu")), copying(size, kernel), *forms]


@pytest.mark.parametrize(
    ("size", "kernel"),
    [
        ((4, 6), (2, 2)), ((3, 3), (3, 3)), ((2, 5), (5, 4)), ((1, 1), (3, 2)), ((3, 2), (1, 1)),
        ((5, 7), (3, 2)),
    ],
)  # fmt: skip
def test_convolutions_of_small_maps(size, kernel):
    """Against the ordinary convolution of padded maps, with gradients by finite differences."""
    batch = 3

    def drawn(*shape):
        return torch.randn(*shape, dtype=F64, requires_grad=True)

    x, one = drawn(batch, 2, *size), drawn(1, 3, *size)
    w, v, b = drawn(4, 5, *kernel), drawn(4, 4, *kernel), drawn(4)

    def rows(maps):
        return maps.flatten(2).permute(2, 0, 1).contiguous()

    y = same_conv2d(torch.cat([x, one.expand(batch, -1, -1, -1)], 1), w, b)
    wanted = y + same_conv2d(y, v) + same_conv2d(x, w[:, :2])
    alone = same_conv2d(one, w[:, 2:], b)
    for how in algorithms(size, kernel):

        def ours(x, one, w, v, b, how=how):
            first, second = pack(w, form=how), pack(v, form=how)
            y = convolve([Source(rows(x), first), Source(rows(one), first, 2)], size, batch, b)
            y = convolve([Source(y, second), Source(rows(x), first)], size, batch, None, y)
            return y.permute(1, 2, 0).reshape(batch, 4, *size)

        torch.testing.assert_close(ours(x, one, w, v, b), wanted, rtol=0, atol=1e-12)
        assert torch.autograd.gradcheck(ours, (x, one, w, v, b), fast_mode=True)
        shared = convolve([Source(rows(one), pack(w, form=how), 2)], size, batch, b, rows(y) * 0)
        back = shared.permute(1, 2, 0).reshape(batch, 4, *size)
        torch.testing.assert_close(back, alone.expand(batch, -1, -1, -1), rtol=0, atol=1e-12)


def test_products_of_tiles():
    """m outputs of r taps take m + r - 1 products; those with zeros around the map drop out."""
    counts = {
        tile: form((4, 6), (2, 2), tile).products for tile in [(1, 1), (2, 2), (2, 3), (3, 3)]
    }
    assert counts == {(1, 1): 77, (2, 2): 54, (2, 3): 48, (3, 3): 40}
    assert form((8, 8), (3, 3), (2, 2)).products == 256
    for tile in [(2, 2), (3, 3)]:  # sums and differences alone: rounding cannot grow by much
        found = form((4, 6), (2, 2), tile)
        for matrix in (found.enter, found.leave):
            assert set(matrix.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert choose((4, 6), (2, 2), 1) is None
    assert choose((4, 6), (1, 1), 64) is None
    many = choose((4, 6), (2, 2), 64)
    assert many is not None
    assert many.products < 77


def test_weights_in_the_order_of_onednn():
    like = torch.zeros(1)
    x, weight, base = torch.randn(9, 40), torch.randn(40, 24), torch.randn(9, 24)
    assert not onednn.offered(like.double())
    if onednn.offered(like):
        ordered = onednn.order(weight, 9)
        torch.testing.assert_close(onednn.product(x, ordered), x @ weight)
        torch.testing.assert_close(onednn.product(x, ordered, base), base + x @ weight)


def test_copies_of_large_batches_come_in_parts(monkeypatch):
    """However many parts: the gradients of single and repeated uses too, by the tap-wise way."""
    torch.manual_seed(3)
    size, batch = (4, 6), 5
    x, y = (torch.randn(24, batch, n, dtype=F64, requires_grad=True) for n in (3, 2))
    w = torch.randn(4, 5, 2, 2, dtype=F64, requires_grad=True)
    bias, base = torch.randn(4, dtype=F64), torch.randn(24, batch, 4, dtype=F64)

    def both(how):
        packed = pack(w, form=how)
        out = convolve([Source(x, packed), Source(y, packed, 3)], size, batch, bias, base)
        out = out + convolve([Source(y, packed, 3)], size, batch)
        return [out, *torch.autograd.grad(out.square().sum(), [x, y, w])]

    wanted = both(None)
    for part in (1, 2000, 1 << 30):
        monkeypatch.setattr(copied, "_PART", part)
        for found, truth in zip(both(copying(size, (2, 2))), wanted, strict=True):
            torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)


def test_large_batches_come_in_parts(monkeypatch):
    """With weights in oneDNN's order and without, and whatever the parts of the batch."""
    monkeypatch.setattr(tiles, "_ROWS_PER_KIND", 0)
    choose.cache_clear()
    graph = moved(TemporalGraph(two_nodes(made("intersection", kernel=2, layer_norm=True))))
    x = torch.randn(7, 4, 2, 3, 4)
    wanted = results(graph, x, Fast(convolutions="gather"))
    for part, offered in [(1, True), (2000, False), (1 << 20, True)]:
        monkeypatch.setattr(tiled, "_PART", part)
        if not offered:
            monkeypatch.setattr(onednn, "offered", lambda like: False)
        assert_equal(results(graph, x, Fast()), wanted, 1e-4)
        assert_equal(results(graph, x, Fast(checkpoint=True)), wanted, 1e-4)
    choose.cache_clear()


def test_zeros_around_maps_are_not_multiplied():
    assert tap_products((4, 6), (2, 2)) == 77
    assert tap_products((4, 6), (3, 3)) == 160
    assert tap_products((1, 1), (3, 3)) == 1


class Launches(TorchDispatchMode):
    """Kernels, as a GPU would be asked for them: dispatched operators that are no views.

    A function handed to ``torch.compile`` counts as one.
    """

    def __init__(self):
        super().__init__()
        self.names: list[str] = []
        self.paused = False

    def fused(self, run):
        def one(*tensors):
            if not self.paused:
                self.names.append("fused")
            was, self.paused = self.paused, True
            try:
                return run(*tensors)
            finally:
                self.paused = was

        return one

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        free = func.is_view or func.name() in ("aten::_unsafe_view", "aten::empty.memory_format")
        if not self.paused and not free:
            self.names.append(func.name())
        return out


def test_few_launches_and_no_word_from_the_device(monkeypatch):
    """On the published graph: per step of a node gather, multiply, gather, multiply, gates."""
    spec = published_graph("zhuang", cell="intersection", layer_norm=True)
    slim = tuple(
        replace(n, pre=replace(n.pre, channels=8) if isinstance(n.pre, Conv) else Full(units=7))
        for n in spec.nodes
    )
    graph = TemporalGraph(replace(spec, nodes=slim)).eval()
    x = torch.randn(2, 22, 30, 5, 7)
    counter = Launches()
    monkeypatch.setattr(gathered, "fused", counter.fused)
    monkeypatch.setattr(rows, "fused", counter.fused)
    gathered.gathering.cache_clear()
    with torch.no_grad():
        options = {"convolutions": "gather", "together": 22, "block": 1}
        with counter:
            found = graph(x, schedule=Fast(compile=True, **options))
        with Launches() as eager:
            graph(x, schedule=Fast(**options))
        with Launches() as stepwise:
            wanted = graph(x, schedule="stepwise")
    gathered.gathering.cache_clear()
    torch.testing.assert_close(found, wanted)
    assert len(counter.names) <= 3456 // 5  # a fifth of what PyTorchTNN launches here
    assert len(counter.names) < len(eager.names) < len(stepwise.names)
    # Nothing waits for the device, and nothing comes from elsewhere: it can be recorded.
    read_back = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal"}
    assert not read_back & set(counter.names + eager.names)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_graphs_need_a_device():
    with pytest.raises(InputError, match="no CUDA device"):
        Fast(cuda_graph=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs():
    graph = moved(TemporalGraph(two_nodes(made("intersection", kernel=2)))).cuda().eval()
    with torch.no_grad():
        for _ in range(3):
            x = torch.randn(3, 5, 2, 3, 4, device="cuda")
            found = graph(x, schedule=Fast(cuda_graph=True))
            torch.testing.assert_close(found, graph(x, schedule="stepwise"), rtol=1e-3, atol=1e-3)
    with pytest.raises(InputError, match="gradients"):
        graph(torch.zeros(3, 5, 2, 3, 4, device="cuda"), schedule=Fast(cuda_graph=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own compiler warns of itself
def test_compiled_gates():
    graph = moved(TemporalGraph(two_nodes(made("intersection", kernel=2, layer_norm=True))))
    x = torch.randn(3, 5, 2, 3, 4)
    wanted = results(graph, x, "stepwise")
    for how in ("products", "gather"):
        assert_equal(results(graph, x, Fast(compile=True, convolutions=how)), wanted, 1e-4)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"precision": "half"}, "bfloat16"),
        ({"together": 0}, "together"),
        ({"block": 1.5}, "block"),
        ({"convolutions": "fft"}, "gather or copy"),
    ],
)
def test_bad_options_are_refused(options, word):
    with pytest.raises(InputError, match=word):
        Fast(**options)
