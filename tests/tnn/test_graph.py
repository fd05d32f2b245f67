import pickletools
import zipfile

import pytest
import torch
import torch.nn.functional as F

from vibrissa.core.errors import InputError
from vibrissa.tnn.cells import GRU, ReciprocalGated, TimeDecay
from vibrissa.tnn.graph import TemporalGraph, module_key
from vibrissa.tnn.harbor import combine, resize
from vibrissa.tnn.modules import BatchNorm, Conv, Full
from vibrissa.tnn.spec import GraphSpec, Node
from vibrissa.tnn.unrolling import unroll


def chain(*names, cell=None, dtype=torch.float64):
    nodes = [
        Node(
            name=name, inputs=(names[k - 1] if k else "input",), pre=Conv(channels=3, padding=1),
            cell=cell or GRU(kernel=2),
        )
        for k, name in enumerate(names)
    ]  # fmt: skip
    spec = GraphSpec(nodes=tuple(nodes), outputs=(names[-1],), input_shape=(2, 4, 5))
    torch.manual_seed(0)
    return TemporalGraph(spec).to(dtype)


# --- harbor -----------------------------------------------------------------------------------


def test_resizing_a_ramp_keeps_it_and_the_mean():
    # Half-pixel centres: doubling a ramp gives the ramp at quarter points, clamped at the ends.
    ramp = torch.arange(4, dtype=torch.float64).view(1, 1, 1, 4).expand(1, 1, 2, 4)
    wide = resize(ramp, (2, 8))
    wanted = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], dtype=torch.float64)
    torch.testing.assert_close(wide[0, 0, 0], wanted)
    # Antialiased halving weighs with a triangle of twice the width, not with two neighbours.
    dot = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    dot[..., 3] = 1
    small = resize(dot, (1, 4))[0, 0, 0]
    weights = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64) / 2  # triangle at 1/4
    assert small[1] == pytest.approx(weights[2])
    assert small[2] == pytest.approx(weights[0])


def test_resizing_to_the_same_size_is_the_same_tensor():
    x = torch.randn(2, 3, 4, 5)
    assert resize(x, (4, 5)) is x
    v = torch.randn(2, 3)
    assert resize(v, ()) is v
    assert combine([v], ()) is v


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_resizing_in_low_precision(dtype):
    x = torch.randn(1, 2, 5, 7)
    small = resize(x.to(dtype), (3, 4))
    assert small.dtype == dtype
    wide = F.interpolate(x, size=(3, 4), mode="bilinear", antialias=True)
    torch.testing.assert_close(small.float(), wide, rtol=0.02, atol=0.02)


def test_channels_stand_in_the_declared_order():
    a, b = torch.zeros(1, 2, 3, 3), torch.ones(1, 1, 6, 6)
    assert combine([a, b], (3, 3))[0, :, 0, 0].tolist() == [0, 0, 1]
    assert combine([b, a], (3, 3))[0, :, 0, 0].tolist() == [1, 0, 0]


def test_context_parts_feedforward_and_feedback():
    nodes = (
        Node(name="a", inputs=("input",), pre=Conv(channels=3, padding=1)),
        Node(
            name="b", inputs=("c", "a"), size_from="a", pre=Conv(channels=4, padding=1),
            cell=ReciprocalGated(),
        ),
        Node(name="c", inputs=("b",), pre=Conv(channels=2, padding=1, stride=2)),
    )  # fmt: skip
    graph = TemporalGraph(GraphSpec(nodes=nodes, outputs=("c",), input_shape=(1, 6, 6)))
    b = graph.nodes["b"]
    assert b.shapes.context is not None
    assert b.shapes.context.feedforward == (3, 6, 6)
    assert b.shapes.context.feedback == (2, 6, 6)
    back, forward = torch.randn(1, 2, 3, 3), torch.randn(1, 3, 6, 6)
    entered, context = b.enter([back, forward])
    assert context is not None
    assert torch.equal(entered, forward)
    assert torch.equal(context.feedforward, forward)
    assert context.feedback is not None
    assert torch.equal(context.feedback, resize(back, (6, 6)))
    assert unroll(graph, torch.randn(2, 4, 1, 6, 6)).output.shape == (2, 2, 3, 3)


# --- names ------------------------------------------------------------------------------------

ODD = ("graph", "V1.L4", "a%b", "forward", "training", "keys", "_modules", "12", "weiß 2", "%2E")


def test_any_name_will_do():
    graph = chain(*ODD)
    assert tuple(graph.nodes) == tuple(sorted(ODD))
    assert len({module_key(name) for name in ODD}) == len(ODD)
    assert module_key("V1.L4") == "V1%2EL4"
    assert "nodes.graph.pre.weight" in graph.state_dict()
    assert graph.get_submodule("nodes.V1%2EL4.pre") is graph.nodes["V1.L4"].pre
    again = chain(*ODD)
    again.load_state_dict(graph.state_dict())
    x = torch.randn(2, 12, 2, 4, 5, dtype=torch.float64)
    assert torch.equal(graph(x), again(x))
    with pytest.raises(InputError, match="did you mean 'graph'"):
        graph.nodes["grapf"]


def test_two_graphs_from_one_specification_share_nothing():
    spec = chain("a", "b").spec
    one, two = TemporalGraph(spec), TemporalGraph(spec)
    with torch.no_grad():
        next(iter(one.parameters())).add_(1)
    assert not torch.equal(next(iter(one.parameters())), next(iter(two.parameters())))
    assert one.spec == two.spec


def test_the_shape_may_be_given_when_building():
    spec = chain("a").spec
    graph = TemporalGraph(spec, (5, 6, 7))
    assert graph.input_shapes == {"input": (5, 6, 7)}
    assert graph.output_shape == (3, 6, 7)
    assert graph.config_dict()["input_shape"] == [5, 6, 7]
    assert spec.input_shape == (2, 4, 5)
    bare = GraphSpec(nodes=spec.nodes, outputs=spec.outputs)
    with pytest.raises(InputError, match="input_shape"):
        TemporalGraph(bare)


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_saving_and_loading(tmp_path, dtype):
    graph = chain("a", "V1.L4", dtype=dtype)
    graph.save(tmp_path / "sub" / "graph.pt")
    state = torch.get_rng_state()
    again = TemporalGraph.load(tmp_path / "sub" / "graph.pt")
    assert torch.equal(torch.get_rng_state(), state)
    assert again.spec == graph.spec
    assert all(p.requires_grad for p in again.parameters())
    x = torch.randn(2, 4, 2, 4, 5).to(dtype)
    assert torch.equal(again(x), graph(x))


def test_files_hold_no_code(tmp_path):
    graph = chain("a", cell=TimeDecay(trainable=False))
    graph.save(tmp_path / "graph.pt")
    with zipfile.ZipFile(tmp_path / "graph.pt") as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        pickled = archive.read(name)
    operations = [(op.name, argument) for op, argument, _ in pickletools.genops(pickled)]
    assert "STACK_GLOBAL" not in dict(operations)
    found = {argument for name, argument in operations if name == "GLOBAL"}
    assert found
    wanted = ("torch ", "torch._utils ", "collections ")
    assert all(str(name).startswith(wanted) for name in found)
    assert not next(iter(TemporalGraph.load(tmp_path / "graph.pt").parameters())).isnan().any()
    assert not TemporalGraph.load(tmp_path / "graph.pt").nodes["a"].cell.tau.requires_grad


def test_tables_of_batch_norm_come_back_as_long_as_they_were(tmp_path):
    node = Node(
        name="a", inputs=("input",), pre=Conv(channels=2, batch_norm=BatchNorm(per_step=True))
    )
    graph = TemporalGraph(GraphSpec(nodes=(node,), outputs=("a",), input_shape=(1, 4, 4)))
    graph(torch.randn(3, 7, 1, 4, 4))
    graph.save(tmp_path / "graph.pt")
    again = TemporalGraph.load(tmp_path / "graph.pt").eval()
    x = torch.randn(3, 9, 1, 4, 4)
    assert torch.equal(again(x), graph.eval()(x))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        TemporalGraph.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no graph")
    with pytest.raises(InputError, match="not a saved temporal graph"):
        TemporalGraph.load(tmp_path / "text.pt")
    torch.save({"state": {}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="not a saved temporal graph"):
        TemporalGraph.load(tmp_path / "other.pt")
    torch.save(Full(units=3), tmp_path / "code.pt")
    with pytest.raises(InputError, match="not a saved temporal graph"):
        TemporalGraph.load(tmp_path / "code.pt")
