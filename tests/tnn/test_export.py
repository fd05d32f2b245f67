"""Exported graphs beside the graphs themselves."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vibrissa.core.errors import InputError, MissingExtraError, OutputError
from vibrissa.tnn import GraphSpec, GraphState, InputGate, Node, Stepwise, TemporalGraph, unroll
from vibrissa.tnn.cells import (
    GRU,
    LSTM,
    UGRNN,
    CellConfig,
    ConvCellConfig,
    Identity,
    Intersection,
    ReciprocalGated,
    TimeDecay,
    cells,
)
from vibrissa.tnn.export import export_onnx, export_program
from vibrissa.tnn.modules import (
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Full,
    MaxPool,
    ResidualAdd,
)


def graph_of(cell: CellConfig, *, per_step=False, seed=0) -> TemporalGraph:
    """Feedback through a smaller map, a residual, pooling, norms, two read-outs."""
    norm = BatchNorm(per_step=per_step, steps=8 if per_step else None)
    nodes = (
        Node(name="a", inputs=("input",), pre=Conv(channels=3, padding=1, batch_norm=norm)),
        Node(
            name="b", inputs=("a", "c"), size_from="a", cell=cell,
            pre=Conv(channels=3, padding="same", kernel=2, dropout=Dropout(rate=0.5)),
            post=Activation(name="relu"),
        ),
        Node(
            name="c", inputs=("b",), residual=True, pre=Conv(channels=3, padding=1),
            cell=TimeDecay(tau=0.4),
            post=ResidualAdd(forward=MaxPool(kernel=2), residual=MaxPool(kernel=2)),
        ),
        Node(
            name="d", inputs=("c",), pre=AdaptiveAvgPool(size=(1, 2), flatten=True),
            cell=UGRNN(kernel=None, layer_norm=True),
        ),
        Node(name="e", inputs=("d",), pre=Full(units=4, activation="tanh")),
    )  # fmt: skip
    spec = GraphSpec(nodes=nodes, outputs=("e", "c"), input_shape=(2, 6, 4))
    torch.manual_seed(seed)
    graph = TemporalGraph(spec)
    with torch.no_grad():
        for p in graph.parameters():
            p += 0.1 * torch.randn_like(p)
    graph(torch.randn(4, 5, 2, 6, 4))  # averages of batch norm, and a mode that must be kept
    return graph


def every_cell(vector: bool) -> TemporalGraph:
    """A chain of all registered cells, with and without layer norm, each fed back one down."""
    shape, below = ((3,) if vector else (3, 4, 4)), ["input"]
    made: list[Node] = []
    for name in cells.names():
        for norm in (False, True):
            if name == "identity" and norm:
                continue
            options = {"layer_norm": norm} if name != "identity" else {}
            cell = cells.get(name)(**options)
            if vector and isinstance(cell, ConvCellConfig):
                cell = replace(cell, kernel=None)
            own = f"{name}.{norm}"
            pre = Full(units=3) if vector else Conv(channels=3, padding=1)
            made.append(Node(name=own, inputs=(below[-1],), pre=pre, cell=cell))
            below.append(own)
    for k, up in enumerate(made[1:]):
        made[k] = replace(made[k], inputs=(below[k], up.name), size_from=below[k])
    return TemporalGraph(GraphSpec(nodes=tuple(made), outputs=(below[-1],), input_shape=shape))


def expected(graph, x, **options) -> Any:
    """In evaluation mode, and the graph as it was."""
    modes = [m.training for m in graph.modules()]
    graph.eval()
    with torch.no_grad():
        found = unroll(graph, x, schedule=Stepwise(), **options)
    for module, mode in zip(graph.modules(), modes, strict=True):
        module.training = mode
    return found


def close(found, wanted, atol=1e-5):
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), b, rtol=0, atol=atol)


# --- programs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_cell_gives_what_it_gives_in_the_graph(vector):
    torch.manual_seed(4)
    graph = every_cell(vector).double()
    program = export_program(graph, steps=2, mode="full").module()
    x = torch.randn(5, 2, *graph.input_shapes["input"], dtype=torch.float64)
    close([program(x)], [expected(graph, x, mode="full").output], atol=1e-12)


def test_a_program_takes_any_batch_and_leaves_the_graph_as_it_is():
    graph = graph_of(Intersection(kernel=2)).double()
    graph.nodes["b"].eval()  # a mixture of modes
    modes = [m.training for m in graph.modules()]
    program = export_program(graph, steps=4).module()
    assert [m.training for m in graph.modules()] == modes
    for batch in (1, 2, 5):
        x = torch.randn(batch, 4, 2, 6, 4, dtype=torch.float64)
        close(program(x), expected(graph, x).outputs.values(), atol=1e-12)


def test_a_program_of_images_gates_and_chosen_steps():
    graph = graph_of(GRU(kernel=1), per_step=True)
    gate = InputGate(shown=2, blank=0.25)
    options = {"read": (1, 4), "mode": "full", "gate": gate}
    program = export_program(graph, steps=5, image=True, batch=3, **options).module()
    x = torch.randn(3, 2, 6, 4)
    close(program(x), expected(graph, x, steps=5, **options).outputs.values())


def test_only_what_is_read_is_in_the_program():
    graph = graph_of(Identity())

    def products(**options):
        program = export_program(graph, steps=7, **options)
        names = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
        return tuple(sum(n.startswith(f"aten.{op}.") for n in names) for op in ("conv2d", "linear"))

    # e(6) reads d(5), which decays from d(0) on; c, read out itself, from c(0) to c(6); b, without
    # memory, from b(0) to b(5), and a to a(4). A step of d is two products, one of e another.
    assert products() == (7 + 6 + 5, 2 * 6 + 1)
    assert products(read="all") == (7 + 6 + 5, 2 * 6 + 7)


def test_pruning_changes_nothing_that_is_handed_back():
    graph = graph_of(LSTM(kernel=2)).double().eval()
    x = torch.randn(3, 6, 2, 6, 4, dtype=torch.float64)
    choices: tuple[dict[str, Any], ...] = (
        {}, {"read": "all"}, {"record": ("b",)}, {"mode": "full"}, {"lengths": [2, 6, 3]},
        {"keep_state": True}, {"keep_state": True, "lengths": [2, 6, 3]}, {"read": (0, 3)},
    )  # fmt: skip
    for options in choices:
        wanted = unroll(graph, x, schedule=Stepwise(), **options)
        found = unroll(graph, x, schedule=Stepwise(prune=True), **options)
        close(found.outputs.values(), wanted.outputs.values(), atol=0)
        close(found.activations.values(), wanted.activations.values(), atol=0)
        if wanted.state is not None:
            assert found.state is not None
            close(found.state.tensors().values(), wanted.state.tensors().values(), atol=0)


def test_a_program_goes_on_from_its_state():
    graph = graph_of(ReciprocalGated())
    x = torch.randn(3, 6, 2, 6, 4)
    program = export_program(graph, steps=2, carry_state=True).module()
    state = list(graph.init_state(3).tensors().values())
    for k in range(3):
        e, c, *state = program(x[:, 2 * k : 2 * k + 2], *state)
        wanted = expected(graph, x[:, : 2 * k + 2], keep_state=True)
        close((e, c), wanted.outputs.values())
        close(state, wanted.state.tensors().values())
    names = graph.init_state(3).tensors()
    again = GraphState.from_tensors(graph, dict(zip(names, state, strict=True)), step=6)
    more = expected(graph, x[:, :2], state=again).output
    close([more], [expected(graph, torch.cat([x, x[:, :2]], dim=1)).output])


def test_a_program_is_written_by_torch_and_read_again(tmp_path):
    graph = graph_of(UGRNN(kernel=3))
    torch.export.save(export_program(graph, steps=3), tmp_path / "graph.pt2")
    program = torch.export.load(tmp_path / "graph.pt2").module()
    x = torch.randn(4, 3, 2, 6, 4)
    close(program(x), expected(graph, x).outputs.values())


# --- ONNX ---------------------------------------------------------------------------------------


def session(path: Path):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_an_onnx_file_gives_what_the_graph_gives(tmp_path):
    graph = graph_of(Intersection(kernel=2, layer_norm=True))
    path = export_onnx(graph, tmp_path / "sub" / "graph.onnx", steps=3, read="all")
    run = session(path)
    assert [(i.name, i.shape) for i in run.get_inputs()] == [("input", ["batch", 3, 2, 6, 4])]
    assert [(o.name, o.shape) for o in run.get_outputs()] == [
        ("e", ["batch", 3, 4]), ("c", ["batch", 3, 3, 3, 2]),
    ]  # fmt: skip
    for batch in (1, 4):
        x = torch.randn(batch, 3, 2, 6, 4)
        found = run.run(None, {"input": x.numpy()})
        close(found, expected(graph, x, read="all").outputs.values())
    notes = run.get_modelmeta().custom_metadata_map
    assert json.loads(notes["vibrissa.unrolling"]) == {"read": "all", "steps": 3}
    again = TemporalGraph(GraphSpec.from_tree(json.loads(notes["vibrissa.graph"])))
    assert again.spec == graph.spec


@pytest.mark.slow  # the documentation's own code does the like
def test_an_onnx_file_of_one_step_serves_sequences_of_any_length(tmp_path):
    graph = graph_of(ReciprocalGated(layer_norm=True))
    run = session(export_onnx(graph, tmp_path / "step.onnx", steps=1, carry_state=True))
    names = [i.name for i in run.get_inputs()]
    assert names == ["input", *graph.init_state(1).tensors()]
    assert [o.name for o in run.get_outputs()] == ["e", "c", *(f"{n}.next" for n in names[1:])]
    x = torch.randn(2, 6, 2, 6, 4)
    state = [y.numpy() for y in graph.init_state(2).tensors().values()]
    for t in range(6):
        given = dict(zip(names, [x[:, t : t + 1].numpy(), *state], strict=True))
        e, c, *state = run.run(None, given)
        close((e, c), expected(graph, x[:, : t + 1]).outputs.values())


@pytest.mark.parametrize("module", ["onnx", "onnxscript"])
def test_without_the_extra_one_sentence_says_what_to_install(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'needs {module}.*"vibrissa\[export\]"'):
        export_onnx(graph_of(Identity()), tmp_path / "graph.onnx", steps=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    pytest.importorskip("onnxscript")
    (tmp_path / "file").write_text("")
    node = Node(name="a", inputs=("input",), pre=Full(units=2))
    graph = TemporalGraph(GraphSpec(nodes=(node,), outputs=("a",), input_shape=(3,)))
    with pytest.raises(OutputError):
        export_onnx(graph, tmp_path / "file" / "graph.onnx", steps=1)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"steps": 2, "batch": 0}, "batch = 0"),
        ({"steps": 2, "mode": "ful"}, "mode"),
        ({"steps": 2, "read": (7,)}, "read"),
        ({"steps": 2, "carry_state": True, "gate": InputGate(shown=1)}, "gate.*leave carry_state"),
        ({"steps": 2, "carry_state": True}, "carry_state.*node a.*export all steps at once"),
    ],
)
def test_what_cannot_be_exported_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        export_program(graph_of(Identity(), per_step=True), **options)


def test_graphs_too_large_for_one_file_are_refused(tmp_path):
    node = Node(name="a", inputs=("input",), pre=Full(units=60_000))
    with torch.device("meta"):
        graph = TemporalGraph(GraphSpec(nodes=(node,), outputs=("a",), input_shape=(20_000,)))
    with pytest.raises(InputError, match=r"4\.8 GB.*export_program"):
        export_onnx(graph, tmp_path / "graph.onnx", steps=1)
