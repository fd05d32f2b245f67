import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.simulation.sweep import Sweep, concatenate

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"


def turned(angle, axis):
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    m = np.eye(3)
    m[i, i] = m[j, j] = c
    m[i, j], m[j, i] = -s, s
    return m.astype(np.float32)


def make(sweeps=2, frames=5, **changes):
    rng = np.random.default_rng(0)
    whiskers = ("RC1", "LC1", "RD2")
    shape = (sweeps, frames, len(whiskers))
    fields = {
        "force_moment": rng.normal(size=(*shape, 6)).astype(np.float32),
        "contact": rng.random(shape) > 0.5,
        "whiskers": whiskers,
        "rate_hz": 100.0,
        "names": tuple(f"sweep {k} \u00b5" for k in range(sweeps)),
        "labels": ("cup",) * sweeps,
        "parameters": tuple({"k": k, "theta_deg": 0.5} for k in range(sweeps)),
        "flagged": rng.random((sweeps, len(whiskers))) > 0.5,
        "sampling": "average",
        "head_rotation": np.stack([turned(0.3, 2)] * sweeps)[:, None],
        "base_rotation": np.stack([[turned(0.1 * w, w) for w in range(3)]] * sweeps),
    }
    return Sweep(**(fields | changes))


def nodes():
    return np.where(np.arange(4)[:, None] < 3, 1.0, np.nan) * np.ones((2, 5, 3, 4, 3), np.float32)


@pytest.mark.parametrize("full", [False, True])
def test_round_trip(tmp_path, full):
    extra = {"nodes_mm": nodes(), "force_moment_world": np.ones((2, 5, 3, 6), np.float32)}
    sweep = make(**extra) if full else make(base_rotation=None)
    back = Sweep.load(sweep.save(tmp_path / "deep" / "a.sweep.h5"))
    for name, value in vars(sweep).items():
        found = getattr(back, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
            assert found.dtype == (bool if value.dtype == bool else np.float32)
        else:
            assert found == value, name


def test_equal_sweeps_equal_bytes(tmp_path):
    one = make().save(tmp_path / "one.h5").read_bytes()
    two = make().save(tmp_path / "two.h5").read_bytes()
    assert one == two


def test_saving_replaces_and_leaves_nothing_else(tmp_path):
    make(frames=9).save(tmp_path / "a.h5")
    make(frames=3).save(tmp_path / "a.h5")
    assert Sweep.load(tmp_path / "a.h5").force_moment.shape[1] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def set_attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def set_dataset(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value

    return change


def without(name):
    def change(file):
        del file.attrs[name]

    return change


def whole(value):
    return np.full((2, 5, 3, 6), value, np.float32)


DAMAGE = {
    "format": (set_attribute("format", "other"), "format = 'other'"),
    "no format": (without("format"), "format = None"),
    "version": (set_attribute("version", 2), "version = .*2.*must be 1"),
    "unit": (set_attribute("units", "N N N Nm Nm Nm"), "units = .*must be 'uN"),
    "frame": (set_attribute("frame", "world"), "frame = 'world'"),
    "no frame": (without("frame"), "frame = None"),
    "channels": (set_attribute("channels", "Mx My Mz Fx Fy Fz"), "channels"),
    "no rate": (without("rate_hz"), "rate_hz"),
    "rate": (set_attribute("rate_hz", -1.0), "rate_hz = -1.0"),
    "rate is text": (set_attribute("rate_hz", "fast"), "not a readable sweep file"),
    "sampling": (set_attribute("sampling", "sometimes"), "sampling"),
    "no manifest": (without("manifest"), "manifest"),
    "manifest": (set_attribute("manifest", "{"), "not JSON"),
    "no contact": (set_dataset("contact", None), "contact"),
    "loads are text": (set_dataset("force_moment", ["a"]), "no array of numbers"),
    "a loads scalar": (set_dataset("force_moment", 1.0), "no array of numbers"),
    "not finite": (set_dataset("force_moment", whole(np.nan)), "'sweep': 0, .*not finite"),
    "shape": (set_dataset("contact", np.zeros((2, 5, 2), np.uint8)), "does not fit"),
    "heads": (set_dataset("head_rotation", np.eye(3)), "does not fit"),
    "whiskers": (set_dataset("whiskers", ["RC1", "RC1", "RD2"]), "stands twice"),
    "a whisker": (set_dataset("whiskers", ["first", "RC1", "RD2"]), "not a whisker's name"),
    "names are numbers": (set_dataset("names", [1.0, 2.0]), "not a readable sweep file"),
    "too few names": (set_dataset("names", ["a"]), "there are 2 sweeps"),
    "parameters": (set_dataset("parameters", ["{", "{}"]), "not a readable sweep file"),
    "parameters' kind": (set_dataset("parameters", ["1", "{}"]), "not a mapping"),
}


@pytest.mark.parametrize(("change", "complaint"), DAMAGE.values(), ids=DAMAGE)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, change, complaint):
    path = make().save(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=complaint) as caught:
        Sweep.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_files_that_are_none(tmp_path):
    path = make().save(tmp_path / "a.h5")
    data = path.read_bytes()
    with pytest.raises(InputError, match="there is no such file"):
        Sweep.load(tmp_path / "b.h5")
    with pytest.raises(InputError, match="there is no such file"):
        Sweep.load(tmp_path)
    for part in (b"", b"no HDF5", data[:200], data[: len(data) // 2], data[:-1]):
        path.write_bytes(part)
        with pytest.raises(InputError, match="not a readable sweep file"):
            Sweep.load(path)


def test_a_flipped_byte_in_the_loads_is_found(tmp_path):
    sweep = make(frames=200)
    path = sweep.save(tmp_path / "a.h5")
    with h5py.File(path, "r") as file:
        loads = file["force_moment"]
        assert isinstance(loads, h5py.Dataset)
        place = loads.id.get_chunk_info(0).byte_offset + 100
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="not a readable sweep file"):
        Sweep.load(path)


def test_written_by_hand_after_the_documentation(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [found for found in blocks if "by_hand.sweep.h5" in found]
    script = tmp_path / "by_hand.py"
    script.write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    sweep = Sweep.load("by_hand.sweep.h5")
    assert sweep.whiskers == ("RC1", "RC2")
    assert sweep.parameters == ({"speed_mm_per_s": 30.0},)
    assert sweep.manifest.config == {"simulator": "mine"}
    assert not sweep.force_moment.any()


def test_the_documentation_names_what_is_written(tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    world = np.ones((2, 5, 3, 6), np.float32)
    path = make(nodes_mm=nodes(), force_moment_world=world).save(tmp_path / "a.h5")
    with h5py.File(path, "r") as file:
        for name in (*file.attrs, *file):
            assert f"\n| `{name}` |" in text, name
        for name in ("format", "version", "axes", "channels", "units", "frame"):
            assert f"`{file.attrs[name]}`" in text, name
        for field in json.loads(str(file.attrs["manifest"])):
            assert f"\n| `{field}` |" in text, field


def test_frames_of_loads():
    sweep = make()
    world = sweep.loads("world")
    assert sweep.base_rotation is not None
    for w in range(3):
        base = sweep.base_rotation[1, w]
        np.testing.assert_allclose(
            world[1, 2, w, :3], base @ sweep.force_moment[1, 2, w, :3], rtol=0, atol=1e-6
        )
        np.testing.assert_allclose(
            world[1, 2, w, 3:], base @ sweep.force_moment[1, 2, w, 3:], rtol=0, atol=1e-6
        )
    head = sweep.loads("head")
    np.testing.assert_allclose(
        head[0, 4, 1, 3:], sweep.head_rotation[0, 0].T @ world[0, 4, 1, 3:], rtol=0, atol=1e-6
    )
    assert sweep.loads() is sweep.force_moment
    with pytest.raises(InputError, match="choose base, head or world"):
        sweep.loads("tip")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="record_world=True"):
        make(base_rotation=None).loads("world")


def test_views():
    sweep = make()
    assert len(sweep) == 2
    assert sweep.times_s[0] == pytest.approx(0.01)
    np.testing.assert_array_equal(sweep.whisker("RD2"), sweep.force_moment[:, :, 2])
    with pytest.raises(InputError, match="did you mean 'RC1'"):
        sweep.whisker("RC3")
    large = make(force_moment=np.full((2, 5, 3, 6), 4000.0, np.float32))
    assert large.large_force_share() == 1.0


def test_concatenate():
    one, two = (
        make(),
        make(sweeps=1, names=("last",), head_rotation=np.eye(3)[None, None].repeat(5, 1)),
    )
    both = concatenate([one, two])
    assert both.names == (*one.names, "last")
    assert both.head_rotation.shape == (3, 5, 3, 3)
    np.testing.assert_array_equal(both.force_moment[2], two.force_moment[0])
    assert concatenate([one, replace(two, base_rotation=None)]).base_rotation is None
    for odd in (make(frames=4), make(rate_hz=50.0), make(sampling="point")):
        with pytest.raises(InputError, match="differs between parts"):
            concatenate([one, odd])
    with pytest.raises(InputError, match="nothing to join"):
        concatenate([])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"force_moment": np.zeros((2, 5, 3))}, "not \\(sweep, time, whisker, 6\\)"),
        ({"flagged": np.zeros((2, 2), bool)}, "does not fit"),
        ({"nodes_mm": np.zeros((2, 5, 3, 4))}, "does not fit"),
        ({"labels": ("one",)}, "there are 2 sweeps"),
        ({"whiskers": ("RC1",)}, "there are 3 whiskers"),
        ({"rate_hz": float("nan")}, "must be positive"),
    ],
)
def test_what_does_not_fit_is_refused(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        make(**changes)
