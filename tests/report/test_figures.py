from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from vibrissa.core.errors import InputError
from vibrissa.report import figures
from vibrissa.report.findings import as_table, findings
from vibrissa.report.themes import CYCLE, PAPER, contrast, drawn, themed

CONDITIONS = [f"{shape} {place}" for shape in ("concave", "convex") for place in ("close", "far")]


def texts(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.findobj(lambda a: hasattr(a, "get_text"))]


def test_accuracy_shows_values_where_they_are():
    figure = figures.draw_accuracy(
        [("first", 0.5, 0.4, 0.6), ("second", 0.2, 0.1, 0.3)], chance=0.125, baseline=0.35
    )
    axes: Any = figure.axes[0]
    points = [
        (x.item(), y.item()) for x, y in (line.get_data() for line in axes.lines) if len(x) == 1
    ]
    assert points == [(50.0, 1.0), (20.0, 0.0)]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["first", "second"]
    verticals = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert {12.5, 35.0} <= set(np.round(verticals, 6))
    with pytest.raises(InputError, match="no models"):
        figures.draw_accuracy([], chance=0.1)


def test_confusion_shares_sum_to_one_per_true_class():
    matrix = np.array([[8, 2, 0], [0, 0, 0], [1, 1, 2]])
    figure = figures.draw_confusion(matrix, ["a", "b", "c"])
    shown = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(shown.sum(axis=1), [1, 0, 1])
    assert {"8", "2", "1"} <= set(texts(figure))
    with pytest.raises(InputError, match="name|label"):
        figures.draw_confusion(matrix, ["a", "b"])


def test_curves_begin_at_epoch_one():
    figure = figures.draw_curves({"run": {"train": [3, 2, 1], "validate": [3, 2.5, 2]}}, "Loss")
    lines: Any = figure.axes[0].lines
    for line in lines:
        np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    assert "run, validate" in texts(figure)


def test_alignment_highlights_the_chosen_layer_and_bears_gaps():
    with themed("light"):
        figure = figures.draw_alignment(
            ["input", "conv1", "fc8"], [0.1, np.nan, 0.8], [0.0, np.nan, 0.7], [0.2, np.nan, 0.9],
            ceiling=(0.9, 1.0), null=(-0.2, 0.2), highlight="fc8",
        )  # fmt: skip
    lines: Any = figure.axes[0].lines
    colours = {line.get_color() for line in lines if len(line.get_xdata()) == 1}
    assert colours == {CYCLE["light"][0], CYCLE["light"][1]}
    assert {"noise ceiling", "95 % of the null"} <= set(texts(figure))


def test_line_has_the_slope_of_least_squares():
    x = np.array([0.2, 0.4, 0.6, 0.9])
    points = [(f"m{k}", v, 2.0 * 100 * v + 1.0, "g") for k, v in enumerate(x)]
    points.append(("lost", float("nan"), 1.0, "g"))
    figure = figures.draw_accuracy_alignment(points)
    lines: Any = figure.axes[0].lines
    (line,) = [e for e in lines if str(e.get_label()).startswith("line")]
    (x0, x1), (y0, y1) = line.get_data()
    assert (y1 - y0) / (x1 - x0) == pytest.approx(2.0)
    assert line.get_label() == "line, r = 1.00"


def test_rdms_of_any_number_and_their_shapes():
    rdm = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    figure = figures.draw_rdms({f"r{k}": rdm for k in range(4)}, CONDITIONS)
    assert sum(bool(axes.images) and axes.get_visible() for axes in figure.axes) >= 4
    assert rdm[0, 0] == 0.0  # left as it was
    with pytest.raises(InputError, match="r ="):
        figures.draw_rdms({"r": rdm[:3]}, CONDITIONS)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_findings_are_drawn(theme, world):
    table = as_table(findings(world(3, noise=2.0), ceiling=7.0))
    svg = drawn(lambda: figures.draw_findings(table), theme, ".svg").decode()
    for text in ("An attender after the encoder raises", "undecided at this scale"):
        assert text in svg


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_in_figures_can_be_read(theme, world):
    """Contrast of WCAG 2.1: 4.5 against the paper, or the cell that it stands in."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (6, 6)) + np.diag([0, 2, 5, 9, 20, 80])
    table = as_table(findings(world(3, noise=2.0), ceiling=7.0))
    with themed(theme):
        drawings: list[Any] = [
            figures.draw_accuracy([("m", 0.5, 0.4, 0.6)], chance=0.1, baseline=0.15),
            figures.draw_curves({"a": {"train": [2, 1]}, "b": {"validate": [3, 2]}}, "Loss"),
            figures.draw_alignment(["x"], [0.1], [0.0], [0.2], ceiling=(0.9, 1), null=(-0.1, 0.1)),
            figures.draw_accuracy_alignment([(k, 0.1 * i, i, k) for i, k in enumerate("abcd")]),
            figures.draw_rdms({"r": np.ones((4, 4))}, CONDITIONS),
            figures.draw_findings(table),
        ]
        matrix: Any = figures.draw_confusion(counts, list("abcdef"))
    image = matrix.axes[0].images[0]
    seen = 0
    for text in matrix.axes[0].texts:
        j, i = map(round, text.get_position())
        cell = image.to_rgba(np.asarray(image.get_array())[i, j])
        assert contrast(to_rgb(text.get_color()), cell[:3]) >= 4.5
        text.remove()
        seen += 1
    assert seen == np.count_nonzero(counts)
    for drawing in (*drawings, matrix):
        for text in drawing.findobj(Text):
            if text.get_visible() and text.get_text().strip():
                assert contrast(to_rgb(text.get_color()), to_rgb(PAPER[theme])) >= 4.5


def test_labels_of_near_lines_stand_apart():
    for chance, baseline in ((0.10, 0.15), (0.30, 0.20)):
        figure = figures.draw_accuracy([("m", 0.5, 0.4, 0.6)], chance=chance, baseline=baseline)
        figure.draw_without_rendering()
        first, second = (text.get_window_extent() for text in figure.axes[0].texts)
        assert not first.overlaps(second)
