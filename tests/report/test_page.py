import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from vibrissa.core.errors import InputError
from vibrissa.report import Page, Picture, Section, Table, Text, themes
from vibrissa.report.page import marked, shown
from vibrissa.report.themes import CYCLE, FAINT, INK, PAPER, colour, drawn, themed

VOID = {"meta", "link", "img", "source", "br", "hr", "input"}


class Balance(HTMLParser):
    """Every element that opens closes, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def a_line():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([0, 1], [1, 0], label="falling")
    figure.axes[0].set_title("A title that stays text")
    return figure


def a_page():
    frame = pd.DataFrame({"model": ["a<b", "c"], "score": [0.12345, np.nan], "n": [12345, 2]})
    return Page(
        title="Title & more",
        lead="What it **shows** by `code`.",
        banner="Synthetic.",
        facts={"models": "2"},
        sections=[
            Section(title="Scores", parts=[Table(frame=frame, caption="Scores.", name="scores")]),
            Section(
                title="A figure",
                parts=[
                    Picture(draw=a_line, caption="A line.", alt="It falls.", name="line"),
                    Text(text="One.\n\nTwo.", kind="warning"),
                ],
                folded=True,
            ),
        ],
    )


def test_page_is_whole_and_needs_nothing_from_outside(tmp_path):
    paths = a_page().write(tmp_path / "report.html")
    text = paths[0].read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert not re.findall(r"(?:src|href|srcset)=\"(?!data:|#)", text)
    assert "url(" not in text
    assert "<script" not in text
    assert "Title &amp; more" in text
    assert "a&lt;b" in text
    assert {p.name for p in paths} == {"report.html", "scores.csv", "line.pdf", "line.svg"}
    assert pd.read_csv(tmp_path / "tables" / "scores.csv")["n"].tolist() == [12345, 2]


def test_page_can_be_used_without_eyes_or_mouse():
    parser = Balance()
    parser.feed(a_page().to_html())
    ids = [a["id"] for _, a in parser.seen if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in parser.seen:
        if tag == "img":
            assert attributes["alt"].strip()
        if tag == "a" and attributes["href"] != "#main":
            assert attributes["href"][1:] in ids
        if tag == "section":
            assert attributes["aria-labelledby"] in ids
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        if "scroll" in attributes.get("class", ""):
            assert attributes["tabindex"] == "0"
            assert attributes["aria-label"]
            assert attributes["role"] in ("region", "group")
    tags = [tag for tag, _ in parser.seen]
    for landmark in ("main", "header", "nav", "aside"):
        assert tags.count(landmark) == 1
    assert tags.count("caption") == tags.count("table") == 1
    assert tags.count("figcaption") == tags.count("figure") == 1
    assert [tag for tag, _ in parser.seen if tag in ("h1", "h2")] == ["h1", "h2", "h2"]
    assert dict(parser.seen)["html"]["lang"] == "en"


def test_equal_pages_are_equal_bytes_and_text_stays_text(tmp_path):
    one, two = (a_page().write(tmp_path / name / "r.html") for name in ("1", "2"))
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes()
    svg = (tmp_path / "1" / "figures" / "line.svg").read_text(encoding="utf-8")
    words = ["".join(e.itertext()) for e in ET.fromstring(svg).iter() if e.tag.endswith("text")]
    assert any("A title that stays text" in word for word in words)


def test_figures_are_drawn_in_both_themes():
    text = a_page().to_html()
    dark, light = (
        base64.b64decode(found).decode()
        for found in re.findall(r'src(?:set)?="data:image/svg\+xml;base64,([^"]+)"', text)
    )
    assert CYCLE["dark"][0].lower() in dark.lower()
    assert CYCLE["light"][0].lower() in light.lower()
    with themed("dark"):
        assert colour(0) == CYCLE["dark"][0]
    assert colour(0) == CYCLE["light"][0]
    assert drawn(a_line, "light", ".pdf").startswith(b"%PDF")


def test_drawings_with_colours_of_their_own_stand_on_white():
    from matplotlib.figure import Figure

    def black():
        figure = Figure(figsize=(3, 2))
        figure.subplots()
        figure.axes[0].tick_params(labelcolor="#000000")
        return figure

    def ground(draw, theme):
        svg = drawn(draw, theme, ".svg").decode()
        found = re.search(r'<g id="patch_1">\s*<path [^>]*style="fill: ([^;"]+)', svg)
        return found[1] if found else None

    assert ground(black, "dark") == "#ffffff"
    assert ground(black, "light") == "none"
    assert ground(a_line, "dark") == "none"


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_pictures_keep_their_place_while_they_load(tmp_path, suffix):
    from PIL import Image

    Image.new("RGB", (300, 200)).save(tmp_path / f"a{suffix}")
    parser = Balance()
    parser.feed(Picture(file=tmp_path / f"a{suffix}", caption="c", alt="a").to_html())
    parser.feed(Picture(draw=a_line, caption="c", alt="a", width=200).to_html())
    file, drawing = (attributes for tag, attributes in parser.seen if tag == "img")
    assert (file["width"], file["height"]) == ("300", "200")
    svg = ET.fromstring(drawn(a_line, "light", ".svg"))
    shape = [float(v) for v in svg.attrib["viewBox"].split()]
    wide, high = float(drawing["width"]), float(drawing["height"])
    assert wide / high == pytest.approx(shape[2] / shape[3], rel=0.01)
    assert "width:200px" in drawing["style"]


def test_motion_can_be_ended(tmp_path):
    from PIL import Image

    first = Image.new("RGB", (30, 20))
    first.save(tmp_path / "a.png")
    first.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (30, 20), "red")])
    text = Picture(
        file=tmp_path / "a.gif", still=tmp_path / "a.png", caption="c", alt="a"
    ).to_html()
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    tags = [tag for tag, _ in parser.seen]
    assert tags.index("details") < tags.index("summary") < tags.index("img")
    (source,) = (attributes for tag, attributes in parser.seen if tag == "source")
    assert "prefers-reduced-motion: reduce" in source["media"]
    assert source["srcset"].startswith("data:image/png")


def luminance(code):
    values = [int(code[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """WCAG 2.1, relative luminance and contrast ratio."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_colours_agrees_with_the_definition():
    from matplotlib.colors import to_rgb

    for one, other in (("#000000", "#ffffff"), ("#777777", "#ffffff"), ("#0b5394", "#15181c")):
        found = themes.contrast(to_rgb(one), to_rgb(other))
        assert found == pytest.approx(contrast(other, one), rel=1e-3)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme):
    from importlib.resources import files

    style = files("vibrissa.report").joinpath("page.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    roots = [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks]
    colours = roots[0] if theme == "light" else roots[0] | roots[1]
    assert len(roots[0]) == len(roots[1])
    for ground in ("paper", "raised", "note", "warning", "good", "bad"):
        for text in ("ink", "quiet", "link"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for kind in ("note", "warning", "good", "bad"):
        assert contrast(colours["paper"], colours[f"edge-{kind}"]) >= 4.5  # the sign
        assert contrast(colours[kind], colours[f"edge-{kind}"]) >= 3
    assert PAPER[theme].lower() == colours["paper"]
    for line in CYCLE[theme]:
        assert contrast(line, colours["paper"]) >= 3.0, line
    assert contrast(INK[theme], colours["paper"]) >= 7
    assert contrast(FAINT[theme], colours["paper"]) > 1.3


def test_cells():
    dash = "\N{EN DASH}"
    cells = (None, float("nan"), True, 12345, 0.123456, np.float64(2e6), "x")
    found = [dash, dash, "yes", "12,345", "0.123", "2,000,000", "x"]
    assert [shown(value) for value in cells] == found
    assert marked("a **b** `c<d`") == "a <strong>b</strong> <code>c&lt;d</code>"


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match="neither or both"):
        Picture(caption="c", alt="a")
    with pytest.raises(InputError, match="say what is seen"):
        Picture(caption="c", alt=" ", draw=a_line)
    with pytest.raises(InputError, match="rename one"):
        Page(title="t", lead="l", sections=[Section(title="A b"), Section(title="a B")])
    (tmp_path / "film.mov").write_bytes(b"")
    with pytest.raises(InputError, match="no kind of picture"):
        Picture(caption="c", alt="a", file=tmp_path / "film.mov").to_html()
