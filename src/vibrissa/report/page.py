"""One self-contained HTML page: text, tables and figures in sections; no script, no network.

Light and dark follow the reader's system; figures are drawn once for each. Everything is reachable
by keyboard, tables have headers and captions, figures have a text that stands for them.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from vibrissa.core.errors import refuse
from vibrissa.core.files import atomic_path
from vibrissa.report.themes import Theme, drawn

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Kind = Literal["note", "warning", "good", "bad"]

_MIME: Final = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml"}
# How a text is set off: what a screen reader says, and a sign, since colour alone tells too little.
_KINDS: Final[dict[Kind, tuple[str, str]]] = {
    "note": ("Note", "i"),
    "warning": ("Warning", "!"),
    "good": ("Supported", "\N{CHECK MARK}"),
    "bad": ("Problem", "\N{MULTIPLICATION SIGN}"),
}
# Drawings are shown so many times their natural size, and never below the second number: on a
# narrow screen they are moved sideways instead, as their text would be too small to read.
_ENLARGED: Final = 1.15
_SMALLEST: Final = 0.85


@dataclass(frozen=True, kw_only=True)
class Text:
    """Paragraphs, parted by empty lines; ``**bold**`` and ```code``` are understood.

    Attributes:
        text: plain text.
        kind: how it is set off; None for running text.
    """

    text: str
    kind: Kind | None = None

    def to_html(self) -> str:
        """The paragraphs."""
        inner = "\n".join(f"<p>{marked(p)}</p>" for p in re.split(r"\n\s*\n", self.text.strip()))
        if self.kind is None:
            return inner
        label, sign = _KINDS[self.kind]
        return (
            f'<div class="{self.kind}" role="note" aria-label="{label}">'
            f'<span class="sign" aria-hidden="true">{sign}</span>{inner}</div>'
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table of text and numbers.

    Attributes:
        frame: a pandas table; its index is not shown.
        caption: one sentence.
        name: of the CSV file that is written beside the page; none is if empty.
        digits: significant digits of floating-point columns.
        row_header: the column whose cells head their rows; the first if omitted.
    """

    frame: pd.DataFrame
    caption: str
    name: str = ""
    digits: int = 3
    row_header: str | None = None

    def to_html(self) -> str:
        """The table, in a box that scrolls by itself where the window is narrow."""
        columns = [str(c) for c in self.frame.columns]
        head = self.row_header or (columns[0] if columns else "")
        numeric = [str(c) for c in self.frame.select_dtypes("number").columns]
        parts = ["<thead><tr>"]
        for column in columns:
            kind = ' class="number"' if column in numeric else ""
            parts.append(f'<th scope="col"{kind}>{html.escape(column)}</th>')
        parts.append("</tr></thead><tbody>")
        for row in self.frame.itertuples(index=False, name=None):
            parts.append("<tr>")
            for column, value in zip(columns, row, strict=True):
                text = html.escape(shown(value, self.digits))
                kind = ' class="number"' if column in numeric else ""
                if column == head:
                    parts.append(f'<th scope="row"{kind}>{text}</th>')
                else:
                    parts.append(f"<td{kind}>{text}</td>")
            parts.append("</tr>")
        caption = marked(self.caption)
        return (
            f'<div class="scroll" role="region" {_focusable(self.caption)}><table>'
            f"<caption>{caption}</caption>{''.join(parts)}</tbody></table></div>"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A figure drawn for each theme, or a file that is taken as it is.

    Attributes:
        draw: makes a matplotlib figure under the theme in force; or None.
        file: a PNG, GIF or SVG file; or None.
        still: a PNG shown instead of a moving ``file`` to readers who want less motion.
        caption: what is seen, one or two sentences.
        alt: what a reader who cannot see it should know.
        name: of the PDF and SVG files that are written beside the page; none are if empty.
        width: widest it is shown, CSS pixels; as wide as suits its text if omitted.
    """

    caption: str
    alt: str
    draw: Callable[[], Figure] | None = None
    file: Path | None = None
    still: Path | None = None
    name: str = ""
    width: int | None = None

    def __post_init__(self) -> None:
        if (self.draw is None) == (self.file is None):
            raise refuse("picture", self.caption, "neither or both of draw and file", "give one")
        if not self.alt.strip():
            raise refuse("alt", self.alt, "empty", "say what is seen")

    def to_html(self) -> str:
        """The figure with its caption, in a box that scrolls by itself where it must."""
        if self.draw is not None:
            light, dark = (drawn(self.draw, theme, ".svg") for theme in ("light", "dark"))
            wide, high = (_ENLARGED * side for side in _size(light, ".svg"))
            other = ("screen and (prefers-color-scheme: dark)", _uri(dark, ".svg"))
            inner = self._image(_uri(light, ".svg"), wide, high, other)
        else:
            assert self.file is not None
            content, suffix = self.file.read_bytes(), self.file.suffix
            uri = _uri(content, suffix)
            wide, high = _size(content, suffix)
            if self.still is None:
                inner = self._image(uri, wide, high, kind="plate")
            else:
                # Whoever is disturbed by motion can end it: by the system's setting, or by folding.
                still = _uri(self.still.read_bytes(), self.still.suffix)
                other = ("(prefers-reduced-motion: reduce), print", still)
                moving = self._image(uri, wide, high, other, kind="plate")
                inner = (
                    "<details open><summary>Moving picture (fold to stop it)</summary>"
                    f"{moving}</details>"
                )
        return (
            f'<figure><div class="scroll" role="group" {_focusable(self.caption)}>{inner}</div>'
            f"<figcaption>{marked(self.caption)}</figcaption></figure>"
        )

    def _image(
        self,
        uri: str,
        wide: float,
        high: float,
        other: tuple[str, str] | None = None,
        kind: str = "",
    ) -> str:
        """An image and, under a media query, another in its place; sizes in CSS pixels."""
        shown_wide = min(wide, self.width or wide)
        smallest = min(shown_wide, _SMALLEST / _ENLARGED * wide)
        source = f'<source media="{other[0]}" srcset="{other[1]}">' if other else ""
        named = f' class="{kind}"' if kind else ""
        return (
            f'<picture>{source}<img{named} alt="{html.escape(self.alt, quote=True)}" '
            f'width="{wide:.0f}" height="{high:.0f}" '
            f'style="width:{shown_wide:.0f}px;min-width:{smallest:.0f}px" src="{uri}"></picture>'
        )


Part = Text | Table | Picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """A headed part of the page.

    Attributes:
        title: the heading.
        parts: in order.
        folded: shown only when it is opened; for long lists.
    """

    title: str
    parts: Sequence[Part] = ()
    folded: bool = False

    @property
    def anchor(self) -> str:
        """What a link to it names."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"

    def to_html(self) -> str:
        """The section."""
        inner = "\n".join(part.to_html() for part in self.parts)
        if self.folded:
            inner = f"<details><summary>Show</summary>\n{inner}\n</details>"
        return (
            f'<section id="{self.anchor}" aria-labelledby="h-{self.anchor}">'
            f'<h2 id="h-{self.anchor}">{html.escape(self.title)}</h2>\n{inner}\n</section>'
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """A report.

    Attributes:
        title: of the page.
        lead: one paragraph that says what it shows.
        sections: in order; titles differ.
        banner: a line that stays in view above everything, for what must not be overlooked.
        facts: short facts shown as a row of tiles, name -> value.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    banner: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        anchors = [section.anchor for section in self.sections]
        for anchor in anchors:
            if anchors.count(anchor) > 1:
                raise refuse("sections", anchor, "two have this anchor", "rename one")

    def to_html(self) -> str:
        """The whole page."""
        style = files("vibrissa.report").joinpath("page.css").read_text(encoding="utf-8")
        links = "".join(
            f'<li><a href="#{s.anchor}">{html.escape(s.title)}</a></li>' for s in self.sections
        )
        tiles = "".join(
            f"<div><dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd></div>"
            for k, v in self.facts.items()
        )
        banner = (
            f'<aside class="banner" aria-label="Mind"><p>{marked(self.banner)}</p></aside>'
            if self.banner
            else ""
        )
        title = html.escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            '<link rel="icon" href="data:,">'
            f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body>"
            f'<a class="skip" href="#main">Skip to the results</a>{banner}'
            f'<header><h1>{title}</h1><p class="lead">{marked(self.lead)}</p>'
            + (f'<dl class="facts">{tiles}</dl>' if tiles else "")
            + f'</header>\n<nav aria-label="Contents"><ul>{links}</ul></nav>\n'
            '<main id="main" tabindex="-1">\n'
            + "\n".join(section.to_html() for section in self.sections)
            + "\n</main></body></html>\n"
        )

    def write(self, path: Path | str) -> list[Path]:
        """Write the page, and beside it the tables as CSV and the figures as PDF and SVG.

        Args:
            path: of the HTML file; the others go to the folders ``tables`` and ``figures``.

        Returns:
            All files written, the page first.

        Raises:
            OutputError: one cannot be written.
        """
        page = Path(path)
        found = [page]
        for part in (part for section in self.sections for part in section.parts):
            if isinstance(part, Table) and part.name:
                file = page.parent / "tables" / f"{part.name}.csv"
                with atomic_path(file) as partial:
                    part.frame.to_csv(partial, index=False)
                found.append(file)
            if isinstance(part, Picture) and part.name and part.draw is not None:
                for suffix in (".pdf", ".svg"):
                    file = page.parent / "figures" / f"{part.name}{suffix}"
                    with atomic_path(file) as partial:
                        partial.write_bytes(drawn(part.draw, "light", suffix))
                    found.append(file)
        with atomic_path(page) as partial:
            partial.write_text(self.to_html(), encoding="utf-8")
        return found


def marked(text: str) -> str:
    """Plain text as HTML: ``**bold**`` and ```code``` become elements, all else is escaped."""
    safe = html.escape(" ".join(text.split()), quote=False)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)


def shown(value: Any, digits: int = 3) -> str:
    """A cell: numbers to so many significant digits, absent values as a dash."""
    if value is None or value != value or str(value) in ("<NA>", "NaT"):
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if hasattr(value, "dtype"):
        value = value.item()
        return shown(value, digits)
    if isinstance(value, float):
        text = f"{value:.{digits}g}"
        return f"{value:,.0f}" if "e+" in text else text
    return str(value)


def _focusable(caption: str) -> str:
    """A box that scrolls must take the keyboard's focus, and so needs a name."""
    label = html.escape(re.sub(r"[*`]", "", caption), quote=True)
    return f'aria-label="{label}" tabindex="0"'


def _size(content: bytes, suffix: str) -> tuple[float, float]:
    """Width and height of a picture in CSS pixels, so that the page need not move as it loads."""
    if suffix == ".svg":
        head = content[: content.index(b">", content.index(b"<svg"))].decode("utf-8")
        sides = [re.search(rf'\b{side}="([\d.]+)(pt|px)?"', head) for side in ("width", "height")]
        wide, high = (
            float(found[1]) * (96 / 72 if found[2] == "pt" else 1.0) if found else 640.0
            for found in sides
        )
        return wide, high
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return float(picture.width), float(picture.height)


def _uri(content: bytes, suffix: str) -> str:
    if suffix not in _MIME:
        raise refuse("picture", suffix, "no kind of picture a page can hold", "give PNG or SVG")
    return f"data:{_MIME[suffix]};base64,{base64.b64encode(content).decode('ascii')}"


__all__ = ["Page", "Part", "Picture", "Section", "Table", "Text", "Theme", "marked", "shown"]
