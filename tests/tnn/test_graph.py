import json
import pickletools
import zipfile
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from vibrissa.core.errors import InputError
from vibrissa.tnn.cells import GRU, UGRNN, ReciprocalGated, TimeDecay, cells
from vibrissa.tnn.graph import TemporalGraph, module_key
from vibrissa.tnn.harbor import combine, resize
from vibrissa.tnn.job import GraphState
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


def saved(tmp_path):
    graph = chain("a", "V1.L4")
    graph.save(tmp_path / "graph.pt")
    content = torch.load(tmp_path / "graph.pt", weights_only=True)
    del content["sha256"]  # as in files of earlier versions
    return content, (tmp_path / "graph.pt").read_bytes()


def refused(call, *words):
    """In one sentence, which names the file."""
    with pytest.raises(InputError) as caught:
        call()
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    for word in words:
        assert word in text


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "bad.pt"
    refused(lambda: TemporalGraph.load(path), "bad.pt", "no such file")
    (tmp_path / "folder").mkdir()
    refused(lambda: TemporalGraph.load(tmp_path / "folder"), "folder", "not a saved")
    for content in (b"", b"no graph", b"\x80\x04N."):
        path.write_bytes(content)
        refused(lambda: TemporalGraph.load(path), "bad.pt", "not a saved temporal graph")
    for content in ({"state": {}}, [1, 2], torch.zeros(3), Full(units=3)):
        torch.save(content, path)
        refused(lambda: TemporalGraph.load(path), "bad.pt", "not a saved temporal graph")


class Trap:
    """What a pickle may do to whoever opens it."""

    def __reduce__(self):
        return (Path.touch, (Path("trap-sprung"),))


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, _ = saved(tmp_path)
    for trap in ({**content, "config": Trap()}, {**content, "more": Trap()}):
        torch.save(trap, tmp_path / "bad.pt")
        refused(lambda: TemporalGraph.load(tmp_path / "bad.pt"), "bad.pt", "not a saved")
    assert not (tmp_path / "trap-sprung").exists()


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_files_cut_short_are_refused(tmp_path, kept):
    _, whole = saved(tmp_path)
    path = tmp_path / "bad.pt"
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(lambda: TemporalGraph.load(path), "bad.pt", "damaged", "cut short")


def test_no_changed_byte_changes_what_is_read(tmp_path):
    graph = chain("a", "V1.L4")
    graph.save(tmp_path / "graph.pt")
    graph.init_state(2).save(tmp_path / "state.pt")
    texts: list[str] = []
    for name in ("graph.pt", "state.pt"):
        whole = (tmp_path / name).read_bytes()
        path = tmp_path / f"bad_{name}"
        for place in range(0, len(whole), len(whole) // 60):
            changed = bytearray(whole)
            changed[place] ^= 0x40
            path.write_bytes(changed)
            try:
                if name == "graph.pt":
                    found = TemporalGraph.load(path)
                    assert found.config_dict() == graph.config_dict()
                    got, want = found.state_dict(), graph.state_dict()
                else:
                    found = GraphState.load(path, graph)
                    assert found.step == 0
                    got, want = found.tensors(), graph.init_state(2).tensors()
            except InputError as error:
                texts.append(str(error))
            else:
                assert all(torch.equal(got[key], want[key]) for key in want)
    assert len(texts) > 40
    assert all(text.startswith(str(tmp_path)) and "Errno" not in text for text in texts)


def test_content_that_is_not_what_was_written_is_refused(tmp_path):
    """A file with sound checksums: only the digest can tell."""
    graph = chain("a", "V1.L4")
    path = tmp_path / "graph.pt"
    graph.save(path)
    content = torch.load(path, weights_only=True)
    first = next(iter(content["state"]))
    content["state"][first].view(-1)[0] += 1.0
    torch.save(content, path)
    refused(lambda: TemporalGraph.load(path), "graph.pt", "not what was written")
    del content["sha256"]  # earlier versions wrote none
    torch.save(content, path)
    assert torch.equal(TemporalGraph.load(path).state_dict()[first], content["state"][first])
    graph.save(path)
    assert all(p.is_meta for p in TemporalGraph.load(path, map_location="meta").parameters())


def test_files_with_the_wrong_content_are_refused(tmp_path):
    content, _ = saved(tmp_path)
    path = tmp_path / "bad.pt"
    tree = json.loads(content["config"])
    tree["nodes"]["a"]["cell"] = {"type": "ugrn"}
    less = dict(list(content["state"].items())[1:])
    wrong = {k: v[:1] for k, v in content["state"].items()}
    for changes, words in (
        ({"format": "vibrissa temporal graph 99"}, ["of this version"]),
        ({"config": "{"}, ["not JSON"]),
        ({"config": None}, ["missing"]),
        ({"state": None}, ["missing"]),
        ({"config": json.dumps(tree)}, ["nodes.a.cell", "'ugrnn'"]),
        ({"config": "[]"}, ["bad.pt"]),
        ({"state": less}, ["do not fit the graph", "nodes.V1%2EL4.pre"]),
        ({"state": wrong}, ["do not fit the graph", "size mismatch"]),
        ({"state": {**content["state"], "more": torch.zeros(1)}}, ["do not fit", "more"]),
        ({"state": dict.fromkeys(content["state"], 3)}, ["bad.pt"]),
    ):
        torch.save({**content, **changes}, path)
        refused(lambda: TemporalGraph.load(path), "bad.pt", *words)


# --- states ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cells.names())
@pytest.mark.parametrize("schedule", ["stepwise", "fast"])
def test_a_sequence_goes_on_from_a_saved_state(tmp_path, name, schedule):
    graph = chain("a", "V1.L4", "c", cell=cells.get(name)())
    x = torch.randn(2, 7, 2, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        whole = unroll(graph, x, read="all", schedule=schedule).output
        first = unroll(graph, x[:, :4], read="all", keep_state=True, schedule=schedule)
        assert first.state is not None
        first.state.save(tmp_path / "sub" / "state.pt")
        state = GraphState.load(tmp_path / "sub" / "state.pt", graph)
        assert state.step == 4
        assert {n: type(s) for n, s in state.cells.items()} == {
            n: type(s) for n, s in first.state.cells.items()
        }
        rest = unroll(graph, x[:, 4:], read="all", state=state, schedule=schedule).output
    torch.testing.assert_close(torch.cat([first.output, rest], dim=1), whole, rtol=0, atol=1e-13)


def test_states_of_other_graphs_and_other_files_are_refused(tmp_path):
    graph, other = chain("a", cell=UGRNN()), chain("a", "b")
    path = tmp_path / "state.pt"
    graph.init_state(2).save(path)
    refused(lambda: GraphState.load(path, other), "state.pt", "cells.b.0", "of another graph")
    refused(lambda: GraphState.load(tmp_path / "none.pt", graph), "none.pt", "no such file")
    graph.save(tmp_path / "graph.pt")
    refused(lambda: GraphState.load(tmp_path / "graph.pt", graph), "graph.pt", "not a saved state")
    content = torch.load(path, weights_only=True)
    del content["sha256"]
    torch.save({**content, "step": "four"}, path)
    refused(lambda: GraphState.load(path, graph), "state.pt", "step")
    path.write_bytes(path.read_bytes()[:300])
    refused(lambda: GraphState.load(path, graph), "state.pt", "damaged")
