from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.animation import FFMpegWriter
from PIL import Image
from trimesh.creation import box, icosphere

from vibrissa.core.errors import InputError
from vibrissa.morphology import HeadPose, mouse_array
from vibrissa.objects.tactile_object import TactileObject
from vibrissa.simulation.drawing import (
    animate,
    contact_sheet,
    draw_array,
    draw_traces,
    save_figure,
)
from vibrissa.simulation.drawing_3d import MOST_FACES, ROW_COLOURS, DrawnMesh, grid_blocks
from vibrissa.simulation.motion import UniformMotion
from vibrissa.simulation.scene import PlacedObject, Scene
from vibrissa.simulation.sweep import Sweep

NAMES = ("RE5", "RC1", "RA0", "RC6")
RATE_HZ = 100.0
TIMES = 20


def placed(mesh, motion=None):
    shape = TactileObject(mesh.__class__.__name__, "thing", mesh.vertices, mesh.faces)
    return PlacedObject(
        shape=shape, motion=motion or UniformMotion(position_mm=np.array([10.0, 0.0, 0.0]))
    )


@pytest.fixture
def scene():
    motion = UniformMotion(
        position_mm=np.array([12.0, 10.0, 0.0]), velocity_mm_per_s=np.array([0.0, -60.0, 0.0])
    )
    return Scene(objects=(placed(icosphere(1, 4.0), motion),), duration_s=TIMES / RATE_HZ)


def made_sweep(names=NAMES, sweeps=2):
    """Sweep k, whisker w: every channel c is a ramp of slope (w + 1)(c + 1) per frame."""
    ramp = np.arange(TIMES)[:, None, None] * 1.0
    slope = (np.arange(len(names))[:, None] + 1.0) * (np.arange(6) + 1.0)
    loads = np.broadcast_to(10.0 * ramp * slope, (sweeps, TIMES, len(names), 6))
    contact = np.zeros((sweeps, TIMES, len(names)), bool)
    contact[:, 5:8, 1:2] = contact[:, 12:, 1:2] = True
    base = np.array([[5.0 if n[0] == "R" else -5.0, i, 0.0] for i, n in enumerate(names)])
    reach = np.array([[10.0 if n[0] == "R" else -10.0, 0.0, 1.0] for n in names])
    along = np.linspace(0.0, 1.0, 6)[:, None]
    nodes = base[:, None] + reach[:, None] * along
    nodes[0, -1] = np.nan
    return Sweep(
        force_moment=loads.astype(np.float32),
        contact=contact,
        whiskers=tuple(names),
        rate_hz=RATE_HZ,
        names=tuple(f"sphere $x_{k}$ close" for k in range(sweeps)),
        labels=("",) * sweeps,
        parameters=({},) * sweeps,
        flagged=np.zeros((sweeps, len(names)), bool),
        sampling="average",
        head_rotation=np.broadcast_to(np.eye(3), (sweeps, 1, 3, 3)),
        nodes_mm=np.broadcast_to(nodes, (sweeps, TIMES, *nodes.shape)).astype(np.float32),
    )


def panels(figure):
    return {str(ax.get_label()): ax for ax in figure.axes}


def traces(ax):
    drawn = [np.asarray(line.get_ydata()) for line in ax.lines]
    return np.array([values for values in drawn if len(values) == TIMES]).T


def texts(figure):
    found = [t.get_text() for t in figure.texts]
    found += [t.get_text() for ax in figure.axes for t in ax.texts]
    return found + [t.get_text() for legend in figure.legends for t in legend.get_texts()]


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and text.endswith(".") and text.count(". ") == 0


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_same_figure_same_bytes(tmp_path, suffix):
    paths = [tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix.upper()}"]
    for path in paths:
        assert save_figure(draw_traces(made_sweep()), path) == path
    first, again = (path.read_bytes() for path in paths)
    assert first == again
    if suffix == "png":
        with Image.open(paths[0]) as picture:
            assert picture.size == (12 * 150, 8 * 150)
    elif suffix == "svg":
        assert ">RC1</text>" in first.decode()
        assert b"<dc:date>" not in first
    elif suffix == "pdf":
        assert b"CreationDate" not in first


def test_unknown_suffix_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf") as error:
        save_figure(draw_traces(made_sweep()), tmp_path / "a.jpg")
    assert one_sentence(error)
    assert not list(tmp_path.iterdir())


def test_settings_are_neither_heeded_nor_changed(tmp_path):
    save_figure(draw_traces(made_sweep()), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30.0, "savefig.bbox": "tight"}):
        save_figure(draw_traces(made_sweep()), tmp_path / "b.png")
        assert matplotlib.rcParams["font.size"] == 30.0
        assert matplotlib.rcParams["savefig.bbox"] == "tight"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


# --- the array -------------------------------------------------------------------------------


def test_array_from_the_side_and_from_above_at_one_scale():
    figure = draw_array(mouse_array("R"))
    side, above = figure.axes
    assert (side.get_xlabel(), side.get_ylabel()) == ("y, rostral (mm)", "z, dorsal (mm)")
    assert (above.get_xlabel(), above.get_ylabel()) == ("x, right (mm)", "y, rostral (mm)")
    assert [side.get_title("left"), above.get_title("left")] == ["From the right", "From above"]
    assert "Mouse, 30 whiskers" in texts(figure)
    assert {*ROW_COLOURS, "base", "sagittal plane"} <= set(texts(figure))
    scales = []
    for ax in (side, above):
        width, height = ax.get_position().size * figure.get_size_inches()
        scales += [width / np.ptp(ax.get_xlim()), height / np.ptp(ax.get_ylim())]
    np.testing.assert_allclose(scales, scales[0])
    array = mouse_array("R")
    tips = np.array([w.centreline_in_head_mm(w.length_mm) for w in array])
    low, high = np.sort(above.get_xlim()), np.sort(above.get_ylim())
    assert np.all((tips[:, 0] > low[0]) & (tips[:, 0] < low[1]))
    assert np.all((tips[:, 1] > high[0]) & (tips[:, 1] < high[1]))


def test_array_shows_base_points_at_the_given_pose():
    array, head = mouse_array("both"), HeadPose.published_passive()
    side, above = draw_array(array, head=head).axes
    assert above.get_xlabel() == "x (mm)"
    expected = head.points_to_world_mm(np.array([w.base_position_mm for w in array]))
    np.testing.assert_allclose(np.array(above.lines[0].get_data()).T, expected[:, :2])
    right = np.array([w.name[0] == "R" for w in array])
    np.testing.assert_allclose(np.array(side.lines[0].get_data()).T, expected[right, 1:])
    assert "right side only" in side.get_title("left")


def test_left_array_is_seen_from_the_left():
    side, _ = draw_array(mouse_array("L").select(["LC2"])).axes
    assert side.get_title("left") == "From the left"
    assert side.get_xlim()[0] > side.get_xlim()[1]


@pytest.mark.parametrize("mesh", [icosphere(5, 10.0), box((30.0, 20.0, 10.0))])
def test_meshes_are_drawn_from_few_small_faces(mesh):
    drawn = DrawnMesh(placed(mesh))
    world = drawn.world_mm(0.0)
    assert 12 < len(world) <= MOST_FACES
    size = np.ptp(mesh.vertices, axis=0)
    np.testing.assert_allclose(np.ptp(world.reshape(-1, 3), axis=0), size, rtol=0.03)
    edges = np.linalg.norm(np.roll(world, -1, axis=1) - world, axis=2)
    assert edges.max() < np.linalg.norm(size) / 8
    seen, colours = drawn.seen(np.eye(3), 0.0)
    assert 0.2 < len(seen) / len(world) < 0.6
    assert colours.shape == (len(seen), 4)
    assert np.all((colours >= 0.0) & (colours <= 1.0))


def test_objects_widen_the_view():
    array = mouse_array("R").select(["RC2"])
    _, alone = draw_array(array).axes
    _, beside = draw_array(array, objects=[placed(box((40.0, 4.0, 4.0)))], time_s=1.0).axes
    assert beside.get_xlim()[1] > alone.get_xlim()[1]
    assert len(beside.collections[0].get_paths()) > len(alone.collections[0].get_paths())


# --- traces ----------------------------------------------------------------------------------


def place_of(ax):
    spec = ax.get_subplotspec()
    return spec.rowspan.start, spec.colspan.start


def test_whiskers_stand_in_their_place_by_name():
    sweep = made_sweep()
    found = panels(draw_traces(sweep, 1))
    assert {name: place_of(ax) for name, ax in found.items()} == {
        "RE5": (4, 5), "RC1": (2, 1), "RA0": (0, 0), "RC6": (2, 6),
    }  # fmt: skip
    for name, ax in found.items():
        np.testing.assert_allclose(traces(ax), sweep.whisker(name)[1][:, 3:])
        assert ax.texts[0].get_text() == name
    assert len({ax.get_ylim() for ax in found.values()}) == 1


def test_sides_are_mirrored_blocks():
    found = panels(draw_traces(made_sweep(("LC1", "RC1", "LA0", "RA0"))))
    assert place_of(found["LC1"]) == (2, 5)
    assert place_of(found["RC1"]) == (2, 1)
    assert found["LC1"].get_position().x1 < found["RC1"].get_position().x0
    assert list(grid_blocks(("RC1", "LA0", "LC1")).items()) == [
        ("L", {(0, 0): 1, (2, 1): 2}),
        ("R", {(2, 1): 0}),
    ]


@pytest.mark.parametrize(
    ("quantity", "unit", "letter", "factor", "start"),
    [("moment", "µN·mm", "M", 1.0, 3), ("force", "mN", "F", 1e-3, 0)],
)
def test_quantity_unit_and_scale_bar(quantity, unit, letter, factor, start):
    sweep = made_sweep()
    figure = draw_traces(sweep, quantity=quantity)
    panel = panels(figure)["RE5"]
    (bar,) = [line for line in panel.lines if line.get_label() == "scale bar"]
    length = np.ptp(bar.get_ydata())
    assert f"{length:g} {unit}" in texts(figure)
    assert f"{quantity.capitalize()} at the whisker base, base frame" in texts(figure)
    assert {f"${letter}_{axis}$" for axis in "xyz"} | {"contact"} <= set(texts(figure))
    assert "sphere $x_0$ close" in texts(figure)
    assert figure.get_supxlabel() == "Time (s)"
    expected = factor * sweep.whisker("RE5")[0, :, start : start + 3]
    np.testing.assert_allclose(traces(panel), expected, rtol=1e-6)


def test_contact_is_shaded_and_flags_are_marked():
    sweep = made_sweep()
    sweep.flagged[0, 2] = True
    found = panels(draw_traces(sweep))
    (shade,) = found["RC1"].collections
    spans = [path.get_extents().intervalx for path in shade.get_paths()]
    np.testing.assert_allclose(spans, [[0.05, 0.08], [0.12, 0.20]])
    assert not found["RE5"].collections
    marked = [name for name, ax in found.items() if "flagged" in ax.texts[0].get_text()]
    assert marked == ["RA0"]


def test_one_whisker_that_feels_nothing_can_be_drawn(tmp_path):
    sweep = made_sweep(("RC1",), 1)
    sweep = replace(
        sweep,
        force_moment=0 * sweep.force_moment[:, :1],
        contact=sweep.contact[:, :1],
        nodes_mm=None if sweep.nodes_mm is None else sweep.nodes_mm[:, :1],
    )
    assert list(panels(draw_traces(sweep))) == ["RC1"]
    empty = Scene(objects=(), duration_s=0.01, head=UniformMotion(spin_rad_per_s=np.ones(3)))
    assert len(contact_sheet(sweep, empty, n=2).axes) == 2
    animate(sweep, empty, path=tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda s: draw_traces(s, 2), "there are 2 sweeps"),
        (
            lambda s: draw_traces(s, quantity="torque"),  # pyright: ignore[reportArgumentType]
            "no such name",
        ),
        (lambda s: draw_traces(s, frame="head"), "record_world=True"),
        (lambda s: draw_traces(replace(s, whiskers=("RE5", "RC1", "RA0", "RC9"))), "grid"),
    ],
)
def test_traces_refuse(draw, says):
    with pytest.raises(InputError, match=says):
        draw(made_sweep())


# --- snapshots and films ---------------------------------------------------------------------


def test_contact_sheet_spreads_over_the_contact(scene):
    figure = contact_sheet(made_sweep(), scene, n=3)
    assert [ax.get_title("left") for ax in figure.axes] == ["50 ms", "130 ms", "200 ms"]
    assert any(text.strip().endswith(" mm") for text in texts(figure))
    assert len({ax.get_xlim() for ax in figure.axes}) == 1


def test_contact_sheet_at_given_times(scene):
    sweep = made_sweep()
    figure = contact_sheet(sweep, scene, times_s=[0.021, 0.2])
    assert [ax.get_title("left") for ax in figure.axes] == ["20 ms", "200 ms"]
    still = replace(sweep, contact=np.zeros_like(sweep.contact))
    assert len(contact_sheet(still, scene, n=5).axes) == 5


def test_film_has_its_frames_and_the_same_bytes(tmp_path, scene):
    paths = [tmp_path / "a.gif", tmp_path / "b.gif"]
    for path in paths:
        assert animate(made_sweep(), scene, path=path, frames=5, fps=10.0) == path
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with Image.open(paths[0]) as film:
        assert film.n_frames == 5  # pyright: ignore[reportAttributeAccessIssue]
        assert film.info["duration"] == 100
        first = np.asarray(film.convert("RGB"))
        film.seek(4)
        last = np.asarray(film.convert("RGB"))
    assert np.all(first[0, 0] == 255)
    changed = np.flatnonzero((first != last).any(axis=(0, 2)))
    assert changed.min() < first.shape[1] // 2 < changed.max()  # the object and the map


def test_film_of_both_sides_has_no_more_frames_than_the_sweep(tmp_path, scene):
    sweep = made_sweep(("LC1", "RC1"), 1)
    path = animate(sweep, scene, path=tmp_path / "a.gif", frames=60)
    with Image.open(path) as film:
        assert film.n_frames == TIMES  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.skipif(not FFMpegWriter.isAvailable(), reason="ffmpeg is not installed")
def test_mp4(tmp_path, scene):
    path = animate(made_sweep(), scene, path=tmp_path / "a.mp4", frames=2)
    assert path.read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"path": "a.avi"}, r"\.gif or \.mp4"),
        ({"path": "a.mp4"}, "ffmpeg is not installed"),
        ({"frames": 0}, "1 or more"),
        ({"fps": 0.0}, "above 0"),
        ({"index": -1}, "there are 2 sweeps"),
    ],
)
def test_films_refuse(tmp_path, monkeypatch, scene, options, says):
    monkeypatch.setattr(FFMpegWriter, "isAvailable", lambda: False)
    options = {"path": "a.gif", **options}
    options["path"] = tmp_path / options["path"]
    with pytest.raises(InputError, match=says) as error:
        animate(made_sweep(), scene, **options)
    assert one_sentence(error)
    assert not list(tmp_path.iterdir())


def test_shapes_are_needed(tmp_path, scene):
    bare = replace(made_sweep(), nodes_mm=None)
    with pytest.raises(InputError, match="record_nodes=True") as error:
        animate(bare, scene, path=tmp_path / "a.gif")
    assert one_sentence(error)
    with pytest.raises(InputError, match="record_nodes=True"):
        contact_sheet(bare, scene)


@pytest.mark.parametrize("options", [{"n": 0}, {"times_s": [0.3]}, {"times_s": []}])
def test_snapshots_refuse(scene, options):
    with pytest.raises(InputError) as error:
        contact_sheet(made_sweep(), scene, **options)
    assert one_sentence(error)
