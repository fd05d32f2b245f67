"""Light and dark: one drawing, two sets of colours, with text that stays text."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Theme = Literal["light", "dark"]

# Okabe and Ito's colours, told apart by readers with any colour vision; the dark set is lighter.
CYCLE: Final[dict[Theme, tuple[str, ...]]] = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#B8860B", "#3A7CA5", "#555555"),
    "dark": ("#56B4E9", "#F5A35C", "#3ECF9F", "#DD8FCB", "#F0D24C", "#9ACBE6", "#BBBBBB"),
}
INK: Final[dict[Theme, str]] = {"light": "#1A1D21", "dark": "#E8EAED"}
PAPER: Final[dict[Theme, str]] = {"light": "#FFFFFF", "dark": "#15181C"}
FAINT: Final[dict[Theme, str]] = {"light": "#C9CED6", "dark": "#4A515B"}

_now: Theme = "light"


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Draw in these colours; text in SVG and PDF remains text, equal figures are equal bytes."""
    global _now
    import matplotlib as mpl
    from cycler import cycler

    ink, faint = INK[theme], FAINT[theme]
    settings: dict[str, Any] = {
        "axes.prop_cycle": cycler(color=CYCLE[theme]),
        "axes.edgecolor": ink, "axes.labelcolor": ink, "axes.titlecolor": ink,
        "axes.facecolor": "none", "figure.facecolor": "none", "savefig.facecolor": "none",
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False,
        "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 9,
        "font.family": "sans-serif", "font.size": 9, "text.color": ink,
        "grid.color": faint, "legend.frameon": False, "legend.fontsize": 8,
        "lines.linewidth": 1.5, "xtick.color": ink, "ytick.color": ink,
        "xtick.labelsize": 8, "ytick.labelsize": 8,
        "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "vibrissa",
    }  # fmt: skip
    before = _now
    with mpl.rc_context(settings):  # pyright: ignore[reportArgumentType]
        _now = theme
        try:
            yield
        finally:
            _now = before


def colour(index: int) -> str:
    """A colour of the theme in force, counted from 0."""
    return CYCLE[_now][index % len(CYCLE[_now])]


def ink() -> str:
    """The colour of text in the theme in force."""
    return INK[_now]


def faint() -> str:
    """The colour of guides and of what is not to catch the eye."""
    return FAINT[_now]


def drawn(draw: Callable[[], Figure], theme: Theme, suffix: str) -> bytes:
    """Draw a figure and return its file: ``.svg``, ``.pdf`` or ``.png``."""
    stream = io.BytesIO()
    plain: dict[str, dict[str, Any]] = {
        ".svg": {"Date": None, "Creator": "vibrissa"},
        ".pdf": {"CreationDate": None, "Creator": "vibrissa", "Producer": None},
        ".png": {"Software": "vibrissa"},
    }
    with themed(theme):
        figure = draw()
        # Drawings of other rooms bring their own colours, which are made for white paper.
        own = theme == "dark" and not _readable(figure, PAPER[theme])
        figure.savefig(
            stream, format=suffix[1:], metadata=plain[suffix], bbox_inches="tight", dpi=150,
            facecolor=PAPER["light"] if own else "none",
        )  # fmt: skip
        figure.clear()
    return stream.getvalue()


def _readable(figure: Figure, paper: str) -> bool:
    """Whether most of a drawing's text can be read on this paper."""
    from matplotlib.colors import to_rgb
    from matplotlib.text import Text

    figure.draw_without_rendering()  # makes the labels of ticks
    texts: list[Any] = figure.findobj(Text)
    shown = [text for text in texts if text.get_visible() and text.get_text().strip()]
    lost = [t for t in shown if contrast(to_rgb(t.get_color()), to_rgb(paper)) < 4.5]
    return 2 * len(lost) <= len(shown)


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of sRGB channels from 0 to 1 (WCAG 2.1)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in rgb[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """Contrast of two colours, from 1 to 21 (WCAG 2.1)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
