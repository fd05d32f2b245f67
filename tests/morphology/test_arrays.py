import csv
from importlib.resources import files

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.morphology import (
    WhiskerArray,
    mouse_array,
    parameter_sets,
    parameters,
    rat_array,
)
from vibrissa.morphology.mouse import (
    _RAW_COLUMN,
    average_measurements,
    individual_measurements,
    place_of_raw_id,
)

# Counted in the raw table: whiskers with all eight numbers on one side at least.
WHISKERS_OF_MOUSE = {1: 26, 2: 24, 3: 19, 4: 27, 5: 23, 6: 26, 7: 25}


def test_the_average_mouse():
    array = mouse_array()
    assert len(array) == 30
    assert array.names[0] == "RA0"
    assert array.names[-1] == "RE5"
    counts = [len(array.select(rows=row)) for row in "ABCDE"]
    assert counts == [5, 5, 7, 7, 6]
    assert array["RC2"].length_mm == 15.2646
    assert array["RC2"].young_modulus_Pa == 5e9


def test_the_average_rat():
    array = rat_array()
    assert len(array) == 27
    assert array["RC0"].length_mm == 52.8
    assert "RE0" not in array
    assert len(rat_array("both")) == 54


@pytest.mark.parametrize("build", [mouse_array, rat_array])
def test_left_is_the_mirror_image_of_right(build):
    right, left, both = build("R"), build("L"), build("both")
    assert left == right.mirrored()
    assert both == right.both_sides() == left.both_sides() == both.both_sides()
    assert both.side("L").names == left.names
    assert both.names == (*right.names, *left.names)


@pytest.mark.parametrize("build", [mouse_array, rat_array])
@pytest.mark.parametrize("name", parameter_sets.names())
def test_every_whisker_is_sound(build, name):
    if build is rat_array and name == "published_as_shipped":
        with pytest.raises(InputError, match="measured on the mouse's whiskers"):
            build("R", name)
        return
    for whisker in build("both", name):
        assert whisker.radius_base_mm >= whisker.radius_tip_mm > 0
        assert np.linalg.det(whisker.base_rotation) == pytest.approx(1.0)
        sign = 1 if whisker.name[0] == "R" else -1
        assert sign * whisker.base_position_mm[0] > 0
        tip = whisker.centreline_in_head_mm(whisker.length_mm)
        assert sign * (tip[0] - whisker.base_position_mm[0]) > 0


def test_parameter_sets():
    assert parameters("physical").damping_ratio == 0.14
    with pytest.raises(InputError, match="did you mean 'physical'"):
        mouse_array("R", "phisical")
    physical, written, shipped = (
        mouse_array("R", name)["RC2"]
        for name in ("physical", "published_as_written", "published_as_shipped")
    )
    assert physical.density_base_g_per_mm3 == 2 * written.density_base_g_per_mm3 == 1.26e-3
    assert physical.density_tip_g_per_mm3 == 2 * shipped.density_tip_g_per_mm3 == 1.69e-3
    assert (written.joint_rule, written.damping_ratio) == ("published", 0.01)
    # Row RC2 of the measurements on the released program.
    assert (shipped.stiffness_factor, shipped.damping_ratio) == (0.34, 0.075)
    assert shipped.joint_rule == "beam"
    assert shipped.rest_shape == "published"
    with pytest.raises(InputError, match="not on Z9"):
        parameters("published_as_shipped").stiffness_factor_of("Z9")
    factors = parameters("published_as_shipped").stiffness_factors
    assert len(factors) == 30
    assert (min(factors.values()), max(factors.values())) == (0.12, 10.51)


def test_the_average_is_the_mean_of_the_individuals():
    """The means over mice and sides of the raw table, columns renumbered, are the average array.

    This pins down three things that the files do not say: lengths are those of plucked whiskers
    (S_2D), columns are counted from 1, and those of row E from 2.
    """
    text = (files("vibrissa.morphology") / "data" / "mouse_individual.csv").read_text()
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    average = average_measurements()
    assert {place_of_raw_id(row["Whisker ID"]) for row in rows} == set(average)
    for place, measured in average.items():
        mine = [row for row in rows if place_of_raw_id(row["Whisker ID"]) == place]
        for column, raw in _RAW_COLUMN.items():
            mean = np.mean([float(row[raw]) for row in mine if row[raw]])
            assert mean == pytest.approx(getattr(measured, column), rel=1e-5, abs=1e-5), place


@pytest.mark.parametrize(("mouse", "count"), WHISKERS_OF_MOUSE.items())
def test_individual_mice(mouse, count):
    right = mouse_array("R", individual=mouse)
    left = mouse_array("L", individual=mouse)
    assert len(right) == len(left) == count
    assert {n[1:] for n in right.names} == {n[1:] for n in left.names}
    assert right.mirrored() != left  # the two sides of one animal differ
    assert f"mouse {mouse}" in right.source
    assert len(mouse_array("both", individual=mouse, fill="average")) == 60


def test_a_whisker_measured_on_one_side_only_is_mirrored():
    table = individual_measurements()
    whole = {k for k, v in table.items() if all(x is not None for x in v.values())}
    sides = {key: [other[1] for other in whole if other[::2] == key[::2]] for key in whole}
    one_sided = sorted(key for key in whole if len(sides[key]) == 1)
    assert one_sided
    for key in one_sided[:5]:
        mouse, side, place = key
        array = mouse_array("both", individual=mouse)
        assert array[f"R{place}"].mirrored() == array[f"L{place}"]
        assert array[f"{side}{place}"].length_mm == table[key]["arc_length_mm"]


def test_gaps_fall_back_to_the_average_on_request_only():
    with pytest.raises(InputError, match='individual = 8: .* set fill to "average"'):
        mouse_array("R", individual=8)
    filled, average = mouse_array("R", individual=8, fill="average"), mouse_array("R")
    for one, other in zip(filled, average, strict=True):
        assert one.length_mm == other.length_mm  # mouse 8's whiskers were not measured in 2-D
    assert any(
        not np.allclose(one.base_rotation, other.base_rotation)
        for one, other in zip(filled, average, strict=True)
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"side": "right"}, "side = 'right': no such side; choose R, L or both"),
        ({"individual": 9}, "individual = 9: no such mouse"),
        ({"individual": 1, "fill": "zeros"}, "fill = 'zeros'"),
    ],
)
def test_refusals(arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        mouse_array(**arguments)


def test_whiskers_go_by_name():
    array = mouse_array()
    assert array["RC2"].name == "RC2"
    assert "RC2" in array
    with pytest.raises(InputError, match="whisker = 'RC9': no such name; did you mean 'RC"):
        array["RC9"]
    assert array.select(["RC2", "RB1"]).names == ("RB1", "RC2")
    assert array.select(rows="AB", columns=[0, 1]).names == ("RA0", "RA1", "RB0", "RB1")
    with pytest.raises(InputError, match="no whisker of this array meets it"):
        array.side("L")
    with pytest.raises(InputError, match="one text, not a list"):
        array.select("RC2")
    with pytest.raises(InputError, match="no such name"):
        array.select(["RZ2"])


def test_an_array_needs_whiskers_of_different_names():
    array = mouse_array()
    with pytest.raises(InputError, match="at least one"):
        array.with_whiskers([])
    with pytest.raises(InputError, match="whiskers = 'RA0': given twice"):
        array.with_whiskers([array["RA0"], array["RA0"]])
    assert array.with_whiskers(reversed(array.whiskers)) == array


@pytest.mark.parametrize("name", parameter_sets.names())
@pytest.mark.parametrize("individual", [None, 3])
def test_table_round_trip(tmp_path, name, individual):
    array = mouse_array("both", name, individual=individual)
    path = tmp_path / "array.csv"
    array.to_table(path)
    back = WhiskerArray.from_table(path)
    assert back.names == array.names
    assert back.species == "mouse"
    assert back.source == array.source
    assert back.origin_mm == array.origin_mm
    for one, other in zip(array, back, strict=True):
        for field in vars(one):
            value = getattr(one, field)
            if isinstance(value, str):
                assert getattr(other, field) == value
            else:
                np.testing.assert_allclose(getattr(other, field), value, rtol=1e-12, atol=1e-12)
    again = tmp_path / "again.csv"
    mouse_array("both", name, individual=individual).to_table(again)
    assert again.read_bytes() == path.read_bytes()
