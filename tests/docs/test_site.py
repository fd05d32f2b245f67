"""The site is built strictly: a broken link, or a name that the API pages cannot find, fails."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")
pytest.importorskip("mkdocs_jupyter")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", out],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "https_proxy": "nowhere", "NO_PROXY": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class _Fetched(HTMLParser):
    """What a page loads by itself, and its pictures without a text."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self.mute: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.places.append(found.get("src") or "")
        if tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.places.append(found.get("href") or "")
        if tag == "img" and not (found.get("src") or "").startswith("data:"):
            self.mute += [] if found.get("alt") else [found.get("src") or ""]


def test_pages_fetch_nothing(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 35
    for path in pages:
        page = _Fetched()
        page.feed(path.read_text("utf-8"))
        assert not [place for place in page.places if "//" in place[:8]], path.name
        assert not page.mute, path.name


def test_public_names_are_in_the_api(site: Path) -> None:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    for room in hook.ROOMS:
        text = (site / "api" / f"{room}.html").read_text("utf-8")
        wanted = re.findall(r"^::: (\S+)$", hook.page(room), re.MULTILINE)
        assert wanted, room
        for name in wanted:
            assert f'id="{name}"' in text, name
        assert not re.search(r":(func|class|meth|mod):", text), room
    simulation = (site / "api" / "simulation.html").read_text("utf-8")
    for name in ("PassiveSweep", "simulate", "Sweep", "SolverConfig"):
        assert re.search(rf'id="vibrissa\.simulation\.\w+\.{name}"', simulation)


def test_tutorials_come_with_their_outputs(site: Path) -> None:
    for path in (ROOT / "docs" / "tutorials").glob("*.ipynb"):
        text = (site / "tutorials" / f"{path.stem}.html").read_text("utf-8")
        assert "data:image/png;base64" in text, path.stem


def test_every_room_has_a_page() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "vibrissa").glob("*/__init__.py")}
    listed = (ROOT / "mkdocs.yml").read_text("utf-8")
    for room in rooms - {"cli"}:
        assert f"api/{room}.md" in listed, room
