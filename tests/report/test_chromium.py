"""The page in headless Chromium, where there is one: at four widths, in light and dark."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vibrissa.report import Page, Picture, Section, Table, Text

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (360, 768, 1280, 1920)

# Frames take the colour scheme of the element that holds them, so that one start shows all.
HARNESS = """<!doctype html><title>harness</title><body><script>
const page = %s, found = [];
const channels = code => code.match(/[\\d.]+/g).map(Number);
const luminance = rgb => rgb.slice(0, 3).map(v => v / 255)
  .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
function ground(element) {
  for (; element; element = element.parentElement) {
    const seen = channels(getComputedStyle(element).backgroundColor);
    if (seen.length < 4 || seen[3] > 0) return seen;
  }
  return null;
}
function examine(frame, scheme, width) {
  const view = frame.contentWindow, root = frame.contentDocument, top = root.documentElement;
  root.querySelectorAll("details").forEach(each => { each.open = true; });
  const texts = [...root.body.querySelectorAll("*")].filter(e => [...e.childNodes].some(
    n => n.nodeType === 3 && n.data.trim()));
  const ratios = texts.map(e => {
    const [a, b] = [channels(view.getComputedStyle(e).color), ground(e)].map(luminance);
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + "." + e.className];
  }).sort((a, b) => a[0] - b[0]);
  const outside = [...root.body.querySelectorAll("*")].filter(
    e => !e.closest(".scroll, .skip") && e.getBoundingClientRect().right > view.innerWidth + 1);
  const unseen = [...root.querySelectorAll("a, summary, .scroll")].filter(e => {
    e.focus({focusVisible: true, preventScroll: true});
    const style = view.getComputedStyle(e);
    return root.activeElement !== e || style.outlineStyle === "none"
      || parseFloat(style.outlineWidth) < 2;
  });
  root.getElementById("pictures").scrollIntoView({behavior: "instant"});
  const covered = root.querySelector(".banner").getBoundingClientRect().bottom
    - root.getElementById("h-pictures").getBoundingClientRect().top;
  return {
    scheme, width, covered, inner: view.innerWidth,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    paper: channels(view.getComputedStyle(root.body).backgroundColor),
    over: top.scrollWidth - top.clientWidth, outside: outside.map(e => e.tagName),
    lost: [...root.images].filter(i => !i.complete || !i.naturalWidth).length,
    pictures: [...root.images].map(i => i.currentSrc),
    narrowest: Math.min(...[...root.images].map(i => i.getBoundingClientRect().width)),
    texts: texts.length, worst: ratios[0], unseen: unseen.map(e => e.outerHTML.slice(0, 60)),
  };
}
function show(scheme, width) {
  return new Promise(done => {
    const frame = document.createElement("iframe");
    frame.style = `width: ${width}px; height: 900px; border: 0; color-scheme: ${scheme}`;
    frame.onload = () => setTimeout(() => done(examine(frame, scheme, width)), 300);
    frame.srcdoc = page;
    document.body.append(frame);
  });
}
(async () => {
  for (const scheme of ["light", "dark"])
    for (const width of %s) found.push(await show(scheme, width));
  const told = document.createElement("pre");
  told.id = "found";
  told.textContent = JSON.stringify(found);
  document.body.replaceChildren(told);
})();
</script>"""


def a_line():
    figure = Figure(figsize=(7, 3))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with a part of every kind, as HTML."""
    folder = tmp_path_factory.mktemp("page")
    frames = [Image.fromarray(np.full((200, 600, 3), k, np.uint8)) for k in (40, 90, 140)]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    frames[0].save(folder / "a.png")
    wide = pd.DataFrame({f"a column of some width {k}": np.arange(3) / 7 for k in range(14)})
    kinds = ("note", "warning", "good", "bad")
    return Page(
        title="A page",
        lead="With `code` and **bold**.",
        banner="**Synthetic recordings.** " + "What must not be overlooked. " * 6,
        facts={"networks": "5", "sweeps": "1,024"},
        sections=[
            Section(title="Texts", parts=[Text(text="Plain `code`.", kind=k) for k in kinds]),
            Section(title="Tables", parts=[Table(frame=wide, caption="Wide.")]),
            Section(
                title="Pictures",
                parts=[
                    Picture(draw=a_line, caption="Drawn.", alt="A line that falls."),
                    Picture(
                        file=folder / "a.gif",
                        still=folder / "a.png",
                        caption="Moving.",
                        alt="Grey.",
                    ),
                ],
            ),
            Section(title="Folded", folded=True, parts=[Text(text=f"`{'word ' * 200}`")]),
        ],
    ).to_html()


def shown(folder: Path, text: str, *options: str) -> tuple[str, str]:
    """The document as Chromium has it in the end, and what it logged."""
    assert CHROMIUM is not None
    file = folder / "harness.html"
    file.write_text(text, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom",
        "--enable-logging=stderr", "--virtual-time-budget=20000",
        f"--user-data-dir={folder / 'user'}", *options, file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def result(dom: str):
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found is not None, dom[-500:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_at_every_width_and_in_both_schemes(page, tmp_path):
    literal = json.dumps(page).replace("</", "<\\/")
    dom, log = shown(tmp_path, HARNESS % (literal, list(WIDTHS)))
    assert "CONSOLE" not in log
    looks = result(dom)
    assert [(look["dark"], look["inner"]) for look in looks] == [
        (dark, width) for dark in (False, True) for width in WIDTHS
    ]
    for look in looks:
        assert look["over"] == 0, look
        assert look["outside"] == []
        assert look["lost"] == 0
        assert look["texts"] > 60
        assert look["worst"][0] >= 4.5, look
        assert look["unseen"] == []
        assert look["covered"] <= 0  # a heading that is jumped to stands below the banner
        # Never much below the natural size, 600 pixels: the box scrolls instead.
        assert look["narrowest"] >= 0.7 * 600
    light, dark = looks[0], looks[len(WIDTHS)]
    assert light["paper"] != dark["paper"]
    assert light["pictures"][0] != dark["pictures"][0]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_motion_ends_where_less_is_wanted(page, tmp_path):
    script = (
        '<script>addEventListener("load", () => { const told = document.createElement("pre");'
        'told.id = "found"; told.textContent = JSON.stringify(['
        "[...document.images].map(i => i.currentSrc.slice(0, 15)),"
        "getComputedStyle(document.documentElement).scrollBehavior]);"
        "document.body.append(told); });</script>"
    )
    text = page.replace("</body>", script + "</body>")
    dom, _ = shown(tmp_path, text, "--force-prefers-reduced-motion")
    sources, scrolling = result(dom)
    assert sources == ["data:image/svg+", "data:image/png;"]
    assert scrolling == "auto"
    dom, _ = shown(tmp_path, text)
    assert result(dom)[0] == ["data:image/svg+", "data:image/gif;"]
