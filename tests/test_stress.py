"""The stress run of ``benchmarks/stress.py`` in small."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import mouse_array
from vibrissa.simulation import SolverConfig

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "stress.py"
COARSE = SolverConfig(grid_spacing_mm=1.0)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("vibrissa_stress", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_200_random_sweeps(script):
    found = script.stress(200, seed=0, duration_s=0.25, sweeps_per_object=5, config=COARSE)
    assert found.passed, (found.crashes, found.non_finite)
    assert found.sweeps == 200
    assert found.objects >= 40
    assert found.refused_objects == {}
    assert found.redrawn > 0
    assert found.frames == 200 * 250 * 30
    assert found.frames_in_contact > 0.01 * found.frames
    assert found.frames_large < 1e-4 * found.frames
    assert found.whiskers_reset == 0
    assert found.whiskers_capped < 1e-3 * found.whisker_sweeps
    tree = json.loads(json.dumps(found.to_tree()))
    assert tree["passed"]
    assert tree["share_above_5_mN"] < 1e-4


def test_bad_meshes_are_listed_and_crashes_counted(script, tmp_path, monkeypatch):
    folder = tmp_path / "things"
    folder.mkdir()
    (folder / "bad.obj").write_text("v 0 0 0\nf 1 1 1\n")
    array = mouse_array().select(["RC1"])
    options = {"folders": [tmp_path], "duration_s": 0.02, "array": array, "config": COARSE}
    found = script.stress(4, sweeps_per_object=2, **options)
    assert found.sweeps == 4
    assert set(found.refused_objects) == {"things/bad #0", "things/bad #1"}
    assert all("bad" in reason for reason in found.refused_objects.values())
    assert found.passed

    def broken(*_):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(script, "procedural_object", broken)
    monkeypatch.setattr(script, "EMPTY_OBJECTS_IN_A_ROW", 4)
    with pytest.raises(InputError, match="5 objects in a row gave no sweep"):
        script.stress(2, **options)


def test_an_interrupt_keeps_what_was_done(script, capsys):
    def stop(found):
        if found.sweeps >= 2:
            raise KeyboardInterrupt

    array = mouse_array().select(["RC1"])
    found = script.stress(
        100, duration_s=0.02, sweeps_per_object=2, array=array, config=COARSE, told=stop
    )
    assert found.sweeps == 2
    assert "interrupted" in capsys.readouterr().err
