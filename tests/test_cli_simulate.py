import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vibrissa.cli import main
from vibrissa.cli.choosing import choose_array, choose_objects
from vibrissa.core.errors import InputError
from vibrissa.morphology import mouse_array
from vibrissa.simulation.sweep import Sweep

CUBE = """v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
f 4 3 2 1
f 5 6 7 8
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""
QUICK = ["--solver.grid-spacing-mm", "1.0", "--duration-s", "0.2", "--speed-mm-per-s", "60"]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIBRISSA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def table(tmp_path):
    """An array of two whiskers, so that runs are quick."""
    path = tmp_path / "two.csv"
    mouse_array().select(["RC1", "RC2"]).to_table(path)
    return str(path)


@pytest.fixture
def cube(tmp_path):
    path = tmp_path / "meshes" / "cube.obj"
    path.parent.mkdir()
    path.write_text(CUBE)
    return path


def run(*words, out):
    return main(["simulate", *QUICK, "--out", str(out), *map(str, words)])


def test_one_object(tmp_path, table, cube, capsys):
    out = tmp_path / "results"
    assert run("--object", cube, "--array", table, out=out) == 0
    printed, remarks = capsys.readouterr()
    assert printed.splitlines() == [str(out / "cube.sweep.h5"), str(out / "cube-traces.png")]
    assert "cube: 1 sweep, 2 of 2 whiskers touched, peak force" in remarks
    sweep = Sweep.load(out / "cube.sweep.h5")
    assert sweep.whiskers == ("RC1", "RC2")
    assert sweep.labels == ("meshes",)
    assert sweep.contact.any()
    assert sweep.manifest.seed == 0
    assert sorted(p.name for p in out.iterdir()) == ["cube-traces.png", "cube.sweep.h5"]
    with Image.open(out / "cube-traces.png") as picture:
        assert picture.width > 500


def test_again_gives_the_same_bytes(tmp_path, table, capsys):
    words = ["--object", "procedural:cup:2", "--array", table, "--no-figures", "--seed", "3"]
    data = []
    for _ in range(2):
        assert run(*words, out=tmp_path / "o") == 0
        data.append((tmp_path / "o" / "cup-00002.sweep.h5").read_bytes())
    assert data[0] == data[1]
    assert run(*words[:-1], "4", out=tmp_path / "o") == 0
    assert (tmp_path / "o" / "cup-00002.sweep.h5").read_bytes() != data[0]
    assert len(list((tmp_path / "o").iterdir())) == 1
    capsys.readouterr()


def test_json_is_all_there_is_on_stdout(tmp_path, table, cube, capfd):
    words = ["--object", cube, "--array", table, "--json", "--no-figures", "--quiet"]
    assert run(*words, out=tmp_path / "o") == 0
    document = json.loads(capfd.readouterr().out)
    (one,) = document["simulated"]
    assert document["refused"] == []
    assert Path(one["file"]).is_file()
    told = one["sweeps"][0]
    sweep = Sweep.load(one["file"])
    force = np.linalg.norm(sweep.force_moment[..., :3], axis=-1).max()
    assert told["peak_force_uN"] == pytest.approx(force, abs=1e-3)
    assert told["touched"] == ["RC1", "RC2"]
    assert told["contact_share"] == pytest.approx(sweep.contact.mean(), abs=1e-6)


def test_a_batch_goes_on_without_the_bad_ones(tmp_path, table, cube, capsys):
    (cube.parent / "broken.stl").write_text("not a mesh")
    (cube.parent / "readme.txt").write_text("no mesh either")
    words = ["--object", cube.parent, "--object", "procedural:torus", "--object", "gone.obj"]
    assert run(*words, "--array", table, "--no-figures", out=tmp_path / "o") == 1
    printed, remarks = capsys.readouterr()
    names = ["cube.sweep.h5", "torus-00000.sweep.h5"]
    assert printed.splitlines() == [str(tmp_path / "o" / name) for name in names]
    refused = [line for line in remarks.splitlines() if "refused" in line]
    assert len(refused) == 2
    assert "broken.stl" in refused[0]
    assert "gone.obj: there is no such file" in refused[1]


def test_a_folder_of_classes_and_doubled_names(tmp_path, table, cube, capsys):
    for label in ("one", "two"):
        (tmp_path / "tree" / label).mkdir(parents=True)
        (tmp_path / "tree" / label / "cube.obj").write_text(CUBE)
    words = ["--object", tmp_path / "tree", "--object", cube, "--object", cube]
    assert run(*words, "--array", table, "--no-figures", out=tmp_path / "o") == 0
    capsys.readouterr()
    found = sorted(p.name.removesuffix(".sweep.h5") for p in (tmp_path / "o").iterdir())
    assert found == ["cube", "cube-2", "one-cube", "two-cube"]
    assert Sweep.load(tmp_path / "o" / "one-cube.sweep.h5").labels == ("one",)


def test_a_batch_of_bad_ones_is_status_2(tmp_path, table, capsys):
    words = ["--object", "a.obj", "--object", "b.obj", "--array", table]
    assert run(*words, out=tmp_path / "o") == 2
    printed, remarks = capsys.readouterr()
    assert printed == ""
    assert remarks.splitlines()[-1].startswith("vibrissa: error: nothing was simulated: all 2")


def test_rodgers_with_film(tmp_path, table, capsys):
    words = ["--protocol", "rodgers6", "--array", table, "--no-figures", "--whisk.rate-hz", "12"]
    out = tmp_path / "o"
    quick = [*QUICK[:2], "--duration-s", "0.006", "--out", str(out)]
    assert main(["simulate", *words, "--animate", *quick]) == 0
    printed, _ = capsys.readouterr()
    assert len(printed.splitlines()) == 7
    sweep = Sweep.load(out / "rodgers6.sweep.h5")
    assert sweep.names[3] == "concave close"
    assert sweep.labels == ("convex",) * 3 + ("concave",) * 3
    assert sweep.nodes_mm is not None
    with Image.open(out / "rodgers6-concave-far.gif") as film:
        assert getattr(film, "n_frames", 1) > 1


def test_random_draws_and_whisking(tmp_path, table, cube, capsys):
    words = ["--object", str(cube), "--array", table, "--no-figures", "--json"]
    quick = ["simulate", *words, *QUICK[:4], "--out", str(tmp_path / "o")]
    assert main([*quick, "--protocol", "random-passive", "--sweeps", "3", "--seed", "7"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["simulated"]
    assert len(one["sweeps"]) == 3
    assert main([*quick, "--whisking", "sinusoid", "--distance-mm", "60"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["simulated"]
    sweep = Sweep.load(one["file"])
    assert not sweep.contact.any()
    assert np.abs(sweep.force_moment[..., 3:]).max() > 1.0


def test_a_protocol_of_ones_own(tmp_path, table, cube, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "protocol: passive-grid\ntheta_deg: [0, 45]\ndistance_mm: [5]\n"
        "sweep: {through: true, speed_mm_per_s: 90, duration_s: 0.25}\n"
    )
    words = ["--object", str(cube), "--array", table, "--no-figures", *QUICK[:2]]
    words += ["--protocol", str(file), "--out", str(tmp_path / "o"), "--height-mm", "-2"]
    assert main(["simulate", *words, "--distance-mm", "6"]) == 2  # the file lists distances
    assert "distance_mm = 6.0: protocol" in capsys.readouterr().err
    assert main(["simulate", *words]) == 0
    sweep = Sweep.load(tmp_path / "o" / "cube.sweep.h5")
    assert [p["theta_deg"] for p in sweep.parameters] == [0.0, 45.0]
    assert {(p["speed_mm_per_s"], p["height_mm"]) for p in sweep.parameters} == {(90.0, -2.0)}
    assert sweep.force_moment.shape[:2] == (2, 250)
    assert all("window_start_s" in p for p in sweep.parameters)
    capsys.readouterr()


def test_options_fill_in_what_a_file_leaves_open(tmp_path, table, cube, capsys):
    file = tmp_path / "mine.yml"
    file.write_text("protocol: passive\nsweep: {speed_mm_per_s: 90}\nwhisking: {rate_hz: 9}\n")
    words = ["simulate", "--object", str(cube), "--array", table, "--no-figures", *QUICK[:4]]
    words += ["--protocol", str(file), "--out", str(tmp_path / "o")]
    assert main([*words, "--height-mm", "-2"]) == 0
    told = Sweep.load(tmp_path / "o" / "cube.sweep.h5").parameters[0]
    assert (told["height_mm"], told["speed_mm_per_s"]) == (-2.0, 90.0)
    capsys.readouterr()
    for more in (["--speed-mm-per-s", "50"], ["--whisking", "none"], ["--sweeps", "3"]):
        assert main([*words, *more]) == 2
        assert f"{more[0].strip('-').replace('-', '_')} = " in capsys.readouterr().err
    for text, complaint in (("protocol: passiv\n", "did you mean"), ("protocol: [\n", "not YAML")):
        file.write_text(text)
        assert main(words) == 2
        remark = capsys.readouterr().err
        assert remark.count("\n") == 1
        assert complaint in remark


def test_the_left_side(tmp_path, cube, capsys):
    words = ["--object", cube, "--side", "L", "--no-figures", "--solver.links", "6"]
    assert run(*words, out=tmp_path / "o") == 0
    sweep = Sweep.load(tmp_path / "o" / "cube.sweep.h5")
    assert sweep.whiskers[0] == "LA0"
    assert sweep.contact.any()
    capsys.readouterr()


MESH = "procedural:cup"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "protocol passive needs one; give --object PATH"),
        (["--object", "gone.obj"], "gone.obj: there is no such file"),
        (["--object", "gone"], "object = 'gone': neither a file nor a folder"),
        (["--object", "cup"], "did you mean procedural:cup"),
        (["--object", "procedural:cupp"], "did you mean 'cup'"),
        (["--object", "procedural:cup:x"], "procedural index = 'x'"),
        (["--object", "{tmp}/empty"], "no class/name file"),
        (["--object", "{tmp}/text.obj"], "text.obj"),
        (["--object", MESH, "--array", "mose"], "did you mean 'mouse'"),
        (["--object", MESH, "--array", "gone.csv"], "gone.csv"),
        (["--object", MESH, "--array", "mouse:9"], "choose 1 to 8"),
        (["--object", MESH, "--parameters", "physicl"], "did you mean 'physical'"),
        (["--object", MESH, "--protocol", "rodgers"], "did you mean 'rodgers6'"),
        (["--object", MESH, "--protocol", "gone.yaml"], "gone.yaml: there is no such file"),
        (["--object", MESH, "--protocol", "passive-1000hz", "--through"], "sets this itself"),
        (["--object", MESH, "--start", "published", "--through"], "through = True"),
        (["--object", MESH, "--protocol", "rodgers6"], "brings its own objects"),
        (["--protocol", "rodgers6", "--theta-deg", "3"], "rodgers6 sets this itself"),
        (["--object", MESH, "--sweeps", "3"], "has a number of its own"),
        (["--object", MESH, "--whisking", "sine"], "did you mean 'sinusoid'"),
        (["--object", MESH, "--whisking", "gone.csv"], "gone.csv"),
        (
            ["--object", MESH, "--protocol", "passive-1000hz", "--whisking", "sinusoid"],
            "protocol passive-1000hz is without",
        ),
        (["--object", MESH, "--speed-mm-per-s", "fast"], "--speed-mm-per-s"),
        (["--object", MESH, "--speed-mm-per-s", "-1"], "must be positive"),
        (["--object", MESH, "--diagonal-mm", "0"], "diagonal_mm = 0.0"),
        (["--object", MESH, "--seed", "-1"], "seed = -1"),
        (["--object", MESH, "--solver.rate-hz", "0"], "rate_hz"),
        (["--object", MESH, "--solver.device", "tpu"], "no such device"),
        (["--object", MESH, "--engine", "bullet"], "--engine"),
        (["--object", MESH, "--distance-mm", "0"], "whisker's base, less than 1.5 mm"),
        (["--object", MESH, "--start", "published"], "stand inside the object"),
        (["--object", MESH, "--out", "{tmp}/text.obj"], "cannot be written"),
        (["--object", MESH, "--out", "{tmp}/text.obj/deeper"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_status_2(words, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.obj").write_text("no mesh")
    words = [word.replace("{tmp}", str(tmp_path)) for word in words]
    assert main(["simulate", "--solver.grid-spacing-mm", "1.0", *words]) == 2
    printed, remarks = capsys.readouterr()
    assert printed == ""
    assert remarks.count("\n") == 1
    assert remarks.startswith("vibrissa: error: ")
    assert complaint in remarks
    assert not list(tmp_path.rglob("*.h5"))


def test_debug_shows_where(capsys):
    assert main(["simulate", "--object", "gone.obj", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_leaves_no_half_file(tmp_path, table, cube, capsys, monkeypatch):
    from vibrissa.simulation import drawing

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(drawing, "draw_traces", stop)
    assert run("--object", cube, "--array", table, out=tmp_path / "o") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "vibrissa: error: interrupted."
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["cube.sweep.h5"]


def test_arrays_by_name(tmp_path, table):
    assert len(choose_array("mouse", "both", "physical")) == 60
    assert choose_array("rat", "R", "physical").species == "rat"
    assert len(choose_array("mouse:8", "R", "physical", fill=True)) == 30
    assert choose_array(table, "both", "physical").names == ("RC1", "RC2", "LC1", "LC2")
    with pytest.raises(InputError, match="no whisker of this array"):
        choose_array(table, "L", "physical")
    with pytest.raises(InputError, match="set fill"):
        choose_array("mouse:8", "R", "physical")


def test_objects_are_chosen_unread(tmp_path, cube):
    (cube.parent / ".hidden.obj").write_text(CUBE)
    found = list(choose_objects([str(cube.parent), "procedural:gear:4"], unit="cm"))
    assert [source.name for source in found] == ["cube", "gear/00004"]
    assert found[0].read(0).extent_mm[0] == pytest.approx(20.0)
    assert found[1].read(2).source.endswith("index 4, seed 2")
