"""Figures of an inspection: the contact-triggered rate of every session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.errors import InputError
from vibrissa.neural.clock import RESPONSE_S
from vibrissa.neural.inspecting import Inspection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST: Final = 48
_GOOD: Final = "#2F6B8F"
_BAD: Final = "#C0392B"
_UNSURE: Final = "#888888"
_COLOURS: Final = {"ok": _GOOD, "shifted": _BAD, "no rise": _UNSURE, "cannot tell": _UNSURE}


def draw_inspections(found: Sequence[Inspection]) -> Figure:
    """One panel for each session with contacts and units: rate around contacts, ms.

    The shaded band is where the response belongs. A session whose response is elsewhere is red,
    and its panel says where.

    Raises:
        InputError: no session has contacts and units.
    """
    from matplotlib.figure import Figure

    shown = [
        one for one in found
        if one.clock is not None and one.raw is not None and one.clock.n_contacts
        and one.raw.n_units
    ]  # fmt: skip
    if not shown:
        raise InputError("figure: no session has contacts and units; there is nothing to draw.")
    left_out = len(shown) - _MOST
    shown = shown[:_MOST]
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(2.4 * columns + 0.6, 1.9 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for panel, one in zip(axes, shown, strict=False):
        _panel(panel, one)
    for k, panel in enumerate(axes):
        if k >= len(shown):
            panel.set_axis_off()
        elif k + columns >= len(shown):
            panel.set_xlabel("Time from contact (ms)")
            panel.tick_params(labelbottom=True)
        if k % columns == 0:
            panel.set_ylabel("Rate per unit (Hz)")
    title = "Population rate around whisker contacts; the response belongs in the shaded band"
    if left_out > 0:
        title += f" ({left_out} more sessions are not shown)"
    figure.suptitle(title, fontsize=9 if columns > 2 else 7, x=0.01, ha="left")
    return figure


def _panel(axes: Any, one: Inspection) -> None:
    assert one.clock is not None
    assert one.raw is not None
    clock = one.clock
    axes.axvspan(1e3 * RESPONSE_S[0], 1e3 * RESPONSE_S[1], color="#F3E3B3", lw=0, zorder=0)
    axes.axvline(0, color="#BBBBBB", lw=0.8, zorder=1)
    width = float(np.diff(clock.lag_s[:2])[0])
    edges = 1e3 * np.append(clock.lag_s - width / 2, clock.lag_s[-1] + width / 2)
    axes.stairs(clock.rate_hz, edges, baseline=None, color=_COLOURS[clock.status], lw=1.4)
    axes.set_ylim(bottom=0, top=1.22 * max(clock.rate_hz.max(), 1e-9))
    axes.set_xlim(edges[0], edges[-1])
    axes.set_title(f"{one.raw.name}", fontsize=8, loc="left")
    note = f"{one.raw.n_units} units, {clock.n_contacts} contacts"
    if clock.status == "shifted":
        note += f"\nshifted by {clock.shift_s:+.2f} s"
    elif clock.status != "ok":
        note += f"\n{clock.status}"
    axes.text(
        0.03, 0.95, note, transform=axes.transAxes, fontsize=6.5, va="top",
        color=_COLOURS[clock.status],
    )  # fmt: skip
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
