import re
import time
from dataclasses import replace

import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.tnn.cells import GRU
from vibrissa.tnn.describe import node_rows
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.modules import Conv, Full
from vibrissa.tnn.published import published_graph
from vibrissa.tnn.spec import GraphSpec, Node


def zhuang(**options):
    with torch.device("meta"):
        return TemporalGraph(published_graph("zhuang", **options))


@pytest.mark.parametrize(
    ("cell", "mega_multiply_adds"),
    # Per step and sample, worked out from kernel, channels and positions.
    [("time_decay", 116.8), ("ugrnn", 290.2), ("gru", 376.9), ("lstm", 463.6),
     ("intersection", 463.6)],
)  # fmt: skip
def test_flop_of_the_published_graph(cell, mega_multiply_adds):
    rows = node_rows(zhuang(cell=cell))
    assert sum(row.flop for row in rows) / 2e6 == pytest.approx(mega_multiply_adds, abs=0.05)


def test_rows():
    rows = {row.name: row for row in node_rows(zhuang(cell="lstm"))}
    assert rows["conv2"].inputs == ("conv1", "(conv3)", "(conv4)")
    assert rows["conv2"].harbor == (736, 4, 6)
    assert rows["conv2"].state == ((128, 4, 6), (128, 4, 6))
    assert rows["conv2"].parameters == 376_960 + 8 * 4 * 128**2 + 4 * 128
    assert rows["conv1"].flop == 2 * (30 * 4 * 96 + 192 * 4 * 384) * 24
    assert rows["fc7"].harbor == (768, 4, 6)
    assert rows["fc7"].cell == "identity"
    assert rows["fc7"].first_input_step == 2
    assert rows["fc8"].out == (512,)


def test_the_table_holds_the_totals():
    text = zhuang(cell="intersection", layer_norm=True).describe()
    assert "37,928,800" in text
    assert "927.23" in text
    assert "8 nodes (6 with memory), 16 edges; input 30 @ 5x7 -> fc8 512" in text
    widths = {len(line) for line in text.splitlines() if re.match("-+ ", line)}
    assert len(widths) == 1


@pytest.mark.parametrize("mode", ["biological", "full"])
def test_plots(tmp_path, mode):
    from matplotlib.image import imread

    graph = zhuang(cell="gru")
    figure = graph.plot(steps=3, mode=mode, path=tmp_path / "graph.png")
    left, right = figure.axes
    texts = {text.get_text() for text in left.texts}
    assert {"conv4", "384 @ 4x6, gru", "fc8 (read out)", "stimulus, 30 @ 5x7"} <= texts
    arrows = sum(text.get_text() == "" for text in right.texts)
    forward, feedback, memory = 9 - 0, 7, 6  # the chain with its skips; back; cells with a state
    now = 3 * (forward if mode == "full" else 0) + 2 * (0 if mode == "full" else forward)
    assert arrows == 3 + now + 2 * feedback + 2 * memory
    live = [line for line in right.lines if line.get_markerfacecolor() == "#fff3d6"]
    assert len(live) == 3 + (24 if mode == "full" else 3 + 2 + 1 + 1)
    picture = imread(tmp_path / "graph.png")
    assert picture.min() < 0.3  # something was drawn


def test_plots_of_one_part():
    from matplotlib.colors import to_hex

    graph = zhuang(cell="gru")
    (left,) = graph.plot(what="graph").axes
    assert "conv4" in {text.get_text() for text in left.texts}
    framed = [p for p in left.patches if type(p).__name__ == "FancyBboxPatch"]
    green = [p for p in framed if to_hex(p.get_edgecolor()) == "#009e73"]
    assert len(green) == 6  # cells with memory
    (right,) = graph.plot(what="unrolled", steps=4).axes
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["0", "1", "2", "3"]
    for axes in (left, right):
        entries = [text.get_text() for text in axes.get_legend().get_texts()]
        assert entries == ["feedforward", "skip", "feedback", "memory of the cell"]


def test_text_stays_in_its_box_and_edges_off_the_nodes_between():
    """Long names, a self-loop, edges within a step that pass over a node."""
    long = "the left barrel cortex, layer 4"
    nodes = (
        Node(name=long, inputs=("input", long), pre=Conv(channels=2, padding=1), cell=GRU()),
        Node(name="b", inputs=(long,), pre=Conv(channels=2, padding=1)),
        Node(name="c", inputs=("b", long), pre=Full(units=2), same_step=("b", long)),
    )
    nodes = (*nodes[:1], replace(nodes[1], same_step=(long,)), *nodes[2:])
    graph = TemporalGraph(GraphSpec(nodes=nodes, outputs=("c",), input_shape=(2, 4, 4)))
    figure = graph.plot(steps=3)
    figure.canvas.draw()
    left, right = figure.axes
    boxes = [p.get_window_extent() for p in left.patches if type(p).__name__ == "FancyBboxPatch"]
    boxes = [box for box in boxes if box.height > 20]
    for text in left.texts:
        extent = text.get_window_extent()
        assert any(b.x0 <= extent.x0 and extent.x1 <= b.x1 for b in boxes), text.get_text()
    bent = [
        a for a in right.texts
        if a.get_text() == "" and "rad=0.22" in a.arrowprops["connectionstyle"]
    ]  # fmt: skip
    assert len(bent) == 3  # long -> c at three steps


@pytest.mark.parametrize("options", [{"steps": 40}, {"steps": True}, {"what": "grph"}])
def test_plots_refuse_what_they_cannot_draw(options):
    with pytest.raises(InputError, match=next(iter(options))):
        zhuang().plot(**options)


def test_many_nodes_are_built_and_described_soon():
    nodes = [
        Node(name=f"n{k}", inputs=(f"n{k - 1}" if k else "input",), pre=Conv(channels=1, padding=1))
        for k in range(100)
    ]
    nodes[50] = replace(nodes[50], inputs=("n49", "n90"))
    nodes.append(Node(name="top", inputs=("n99",), pre=Full(units=2)))
    start = time.process_time()
    spec = GraphSpec(nodes=tuple(nodes), outputs=("top",), input_shape=(1, 4, 4))
    graph = TemporalGraph(spec)
    assert "(n90)" in graph.describe()
    assert time.process_time() - start < 5
