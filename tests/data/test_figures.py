"""Descriptions and figures of a store."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.data.describing import load_statistics, reason_kind
from vibrissa.data.figures import describe, describe_text, draw_info, draw_sweeps
from vibrissa.data.interchange import export_npz, import_npz
from vibrissa.data.store import SweepStore


@pytest.fixture(scope="module")
def store(make_store: Any, tmp_path_factory: pytest.TempPathFactory) -> SweepStore:
    return make_store(tmp_path_factory.mktemp("figures") / "store", objects=8, sweeps=3)


@pytest.fixture(scope="module")
def imported(store: SweepStore, tmp_path_factory: pytest.TempPathFactory) -> SweepStore:
    root = tmp_path_factory.mktemp("imported")
    export_npz(store, None, root / "npz")
    import_npz(root / "npz", root / "store")
    return SweepStore.open(root / "store")


def test_a_description_counts_what_is_there(store: SweepStore) -> None:
    tree = describe(store)
    json.dumps(tree, allow_nan=False)
    assert (tree["objects"], tree["sweeps"], tree["frames"], tree["rate_hz"]) == (8, 24, 110, 110.0)
    assert tree["classes"] == {
        "ball": {"sweeps": 9, "objects": 3},
        "cup": {"sweeps": 9, "objects": 3},
        "fork": {"sweeps": 6, "objects": 2},
    }
    files = list((store.path / "shards").rglob("*.h5"))
    assert tree["bytes"] == sum(f.stat().st_size for f in files)
    assert tree["bytes_per_sweep"] == tree["bytes"] / 24
    assert (tree["protocol"], tree["whiskers"][:2]) == ("passive-1000hz", ["RA0", "RA1"])
    assert (tree["refused_sweeps"], tree["refused_for"]) == (
        1, {"whiskers are inside the object": 1},
    )  # fmt: skip
    assert (tree["overlapping_sweeps"], tree["overlapping_share"]) == (0, 0.0)
    assert (tree["flagged_sweeps"], tree["large_force_sweeps"], tree["redrawn"]) == (0, 0, 0)
    assert set(tree["versions"]) >= {"python", "numpy", "vibrissa"}


def test_percentiles_are_those_of_numpy_over_touched_frames(store: SweepStore) -> None:
    tree = describe(store)
    touched = store.loads(slice(None))[store.contact(slice(None))].astype(np.float64)
    for name, part in (("F", slice(0, 3)), ("M", slice(3, 6))):
        size = np.linalg.norm(touched[:, part], axis=1)
        found = tree["touched"][name]
        for percent in (50, 90, 99, 99.9):
            assert found[f"p{percent:g}"] == pytest.approx(np.percentile(size, percent), rel=0.025)
        assert found["max"] == pytest.approx(size.max(), rel=1e-12)
    assert tree["contact_share"] == pytest.approx(store.contact(slice(None)).mean(), rel=1e-5)


def test_few_shards_are_drawn_by_the_seed(store: SweepStore) -> None:
    some = load_statistics(store, most_shards=3, seed=1)
    assert (some.shards, some.shards_total) == (3, 8)
    assert some.values < load_statistics(store).values
    again = load_statistics(store, most_shards=3, seed=1)
    assert (again.values, again.largest) == (some.values, some.largest)
    with pytest.raises(InputError, match="most_shards"):
        load_statistics(store, most_shards=0)


def test_what_an_import_does_not_know_is_not_said(imported: SweepStore, store: SweepStore) -> None:
    tree = describe(imported)
    json.dumps(tree, allow_nan=False)
    for name in ("contact_share", "overlapping_sweeps", "overlapping_share", "flagged_sweeps"):
        assert tree[name] is None
    assert tree["large_force_sweeps"] == 0
    assert (tree["protocol"], tree["touched_over"]["contact_known"]) == ("imported npz", False)
    assert tree["touched"]["M"]["max"] == pytest.approx(describe(store)["touched"]["M"]["max"])
    text = describe_text(tree)
    assert "flagged             not known" in text
    assert "frames with any load" in text
    assert len(draw_info(imported).axes) > 5


def test_a_description_reads_well(store: SweepStore) -> None:
    text = describe_text(describe(store))
    assert "8 in 3 classes" in text
    assert "110 frames at 110 Hz, 30 whiskers, axes base" in text
    assert "force (µN)" in text
    assert "1 x whiskers are inside the object" in text
    assert [line.split() for line in text.splitlines()[-3:]] == [
        ["ball", "3", "9"], ["cup", "3", "9"], ["fork", "2", "6"],
    ]  # fmt: skip
    assert max(map(len, text.splitlines()[1:])) < 160


def test_reasons_of_one_kind_are_one_kind() -> None:
    kinds = {
        reason_kind(text)
        for text in (
            "cup/1 t30: at the start RC1, RC2, RD1, RD2 and 7 more stand inside the object, up to "
            "3.41 mm deep; start it farther away, or allow overlap",
            "ball/2: at the start RA0 stand inside the object, up to 0.02 mm deep; start it",
        )
    }
    assert kinds == {"at the start whiskers stand inside the object, up to … mm deep"}


# --- figures ---------------------------------------------------------------------------------


def overlapping_texts(figure: Any) -> list[tuple[str, str]]:
    """Pairs of texts that meet on paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [
        t for t in figure.findobj(lambda artist: isinstance(artist, Text))
        if t.get_visible() and t.get_text().strip()
    ]  # fmt: skip
    boxes = []
    for text in texts:
        box = text.get_window_extent(canvas.get_renderer())
        if box.width > 1 and (text.axes is None or text.axes.get_visible()):
            boxes.append((text, box.x0 + 1, box.x1 - 1, box.y0 + 1, box.y1 - 1))
    shown = {id(label) for ax in figure.axes for label in shown_tick_labels(ax)}
    ticks = {id(t) for ax in figure.axes for t in all_tick_labels(ax)}
    boxes = [b for b in boxes if id(b[0]) not in ticks or id(b[0]) in shown]
    return [
        (a[0].get_text(), b[0].get_text())
        for a, b in combinations(boxes, 2)
        if a[1] < b[2] and b[1] < a[2] and a[3] < b[4] and b[3] < a[4]
    ]


def all_tick_labels(ax: Any) -> list[Any]:
    ticks = [t for axis in (ax.xaxis, ax.yaxis) for t in (*axis.majorTicks, *axis.minorTicks)]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def shown_tick_labels(ax: Any) -> list[Any]:
    found = []
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        wide = 1e-9 * (high - low)
        for tick in axis.get_major_ticks():
            if low - wide <= tick.get_loc() <= high + wide and tick.label1.get_visible():
                found.append(tick.label1)
    return found


def images_of(figure: Any) -> list[Any]:
    return [ax.images[0] for ax in figure.axes if ax.images]


def test_a_store_at_a_glance(store: SweepStore) -> None:
    figure = draw_info(store)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:5] == [
        "Sweeps per class (objects)", "Force, base frame", "Moment, base frame",
        "Contact per sweep", "Frames in contact (%) per whisker",
    ]  # fmt: skip
    assert overlapping_texts(figure) == []
    widths = [bar.get_width() for bar in figure.axes[0].patches]  # pyright: ignore
    assert widths == [9, 9, 6]
    bars = sum(bar.get_height() for bar in figure.axes[3].patches)  # pyright: ignore
    assert bars == len(store)


def test_many_classes_with_long_names_still_fit(make_store: Any, tmp_path: Path) -> None:
    labels = tuple(f"a_rather_long_name_{k:02d}" for k in range(30))
    store = make_store(tmp_path / "store", objects=31, sweeps=1, labels=labels)
    figure = draw_info(store)
    assert overlapping_texts(figure) == []
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 25
    assert names[-1] == "6 more, mean"


@pytest.mark.parametrize(("count", "quantities"), [
    (1, ("moment",)), (5, ("moment",)), (12, ("moment",)), (3, ("moment", "force")),
    (1, ("force",)),
])  # fmt: skip
def test_sweeps_are_drawn_to_one_scale_per_quantity(
    store: SweepStore, count: int, quantities: tuple[Any, ...]
) -> None:
    chosen = list(range(0, 2 * count, 2))
    figure = draw_sweeps(store, chosen, quantities=quantities)
    images = images_of(figure)
    assert len(images) == count * len(quantities)
    assert overlapping_texts(figure) == []
    loads = store.loads(chosen).astype(np.float64)
    of_sweep = 0
    for name in quantities:
        part, factor = (slice(3, 6), 1.0) if name == "moment" else (slice(0, 3), 1e-3)
        size = factor * np.linalg.norm(loads[..., part], axis=-1)
        for k in range(count):
            image = images[of_sweep + k]
            np.testing.assert_allclose(image.get_array(), size[k].T)  # whisker by time
            assert (image.norm.vmin, image.norm.vmax) == (0.0, pytest.approx(size.max()))
        of_sweep += count
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == list(store.whiskers)
    labels = {ax.get_xlabel() for ax in figure.axes}
    assert labels >= {{"moment": "Moment at the base (µN·mm)", "force": "Force at the base (mN)"}[q]
                      for q in quantities}  # fmt: skip
    words = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert {"ball/00000", "distance 5 mm, theta 0°"} <= words


def test_what_cannot_be_drawn_is_refused(store: SweepStore) -> None:
    for indices in ([], range(13)):
        with pytest.raises(InputError, match="not 1 to 12 sweeps"):
            draw_sweeps(store, list(indices))
    with pytest.raises(InputError, match="the store has 24 sweeps"):
        draw_sweeps(store, [24])
    with pytest.raises(InputError, match="'torque': no such name"):
        draw_sweeps(store, [0], quantities=("torque",))  # pyright: ignore
    with pytest.raises(InputError, match="none or one twice"):
        draw_sweeps(store, [0], quantities=("moment", "moment"))
