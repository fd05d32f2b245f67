"""Recordings of another laboratory: other names, numbers for conditions, no choice."""

from datetime import UTC, datetime

import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.neural.inspecting import inspect_recordings
from vibrissa.neural.mapping import RecordingMapping
from vibrissa.neural.nwb import read_sessions

pynwb = pytest.importorskip("pynwb")

MAPPING = """\
trials: presentations
condition: "{texture} {speed}"
rename: {"2 10": smooth slow, "2 40": smooth fast, "7 10": rough slow, "7 40": rough fast}
conditions: [smooth slow, smooth fast, rough slow, rough fast]
leave_out: ["0"]
keep: {valid: [true], block: [1, 2]}
choice: null
choice_time: null
outcome: null
ignore: null
session: file
animal: rat7
contacts: touches_of_
unit_columns: {quality: label}
task: ""
window: {kind: response_window, column: onset, start_s: 0.05, stop_s: 0.55}
"""


@pytest.fixture(scope="module")
def table():
    draw = np.random.default_rng(3)
    n = 40
    start = 2.0 + 3.0 * np.arange(n)
    return {
        "start_time": start,
        "stop_time": start + 2.5,
        "onset": start + 0.5,
        "texture": draw.choice([0, 2, 7], n),
        "speed": draw.choice([10.0, 40.0], n),
        "valid": draw.random(n) < 0.9,
        "block": draw.integers(1, 4, n),
    }


@pytest.fixture(scope="module")
def spikes():
    draw = np.random.default_rng(4)
    return [np.sort(draw.uniform(0, 130, 900)) for _ in range(3)]


@pytest.fixture(scope="module")
def file(table, spikes, tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "rat7-day2.nwb"
    nwb = pynwb.NWBFile(
        session_description="other", identifier="0f3e", keywords=["x"],
        session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    intervals = pynwb.epoch.TimeIntervals(name="presentations", description="x")
    for name in list(table)[2:]:
        intervals.add_column(name=name, description=name)
    for k in range(len(table["onset"])):
        intervals.add_row(**{name: values[k] for name, values in table.items()})
    nwb.add_time_intervals(intervals)
    nwb.add_unit_column(name="label", description="x")
    for k, times in enumerate(spikes):
        nwb.add_unit(spike_times=times, label="good" if k else "mua", obs_intervals=[[0.0, 100.0]])
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path


@pytest.fixture(scope="module")
def mapping(tmp_path_factory):
    path = tmp_path_factory.mktemp("mapping") / "other.yaml"
    path.write_text(MAPPING)
    return path


@pytest.mark.parametrize("engine", ["h5py", "pynwb"])
def test_another_schema_is_read_through_a_mapping(file, mapping, table, spikes, engine):
    (session,) = read_sessions(file, mapping=mapping, engine=engine)
    assert (session.name, session.animal, session.task) == ("rat7-day2", "rat7", "")
    assert session.unit_info["quality"].tolist() == ["mua", "good", "good"]
    names = {(2, 10): "smooth slow", (2, 40): "smooth fast", (7, 10): "rough slow",
             (7, 40): "rough fast"}  # fmt: skip
    rows = [
        k
        for k in range(40)
        if table["texture"][k] != 0 and table["valid"][k] and table["block"][k] in (1, 2)
        and table["onset"][k] + 0.55 <= 100.0
    ]  # fmt: skip
    assert session.file_order.tolist() == rows
    for row, k in enumerate(rows):
        assert session.condition[row] == names[table["texture"][k], table["speed"][k]]
        for unit in range(3):
            a, b = table["onset"][k] + 0.05, table["onset"][k] + 0.55
            assert session.counts[row, unit] == sum(a <= s < b for s in spikes[unit])
    assert set(session.dropped) <= {
        "stimulus left out", "valid not kept", "block not kept", "outside the recording",
    }  # fmt: skip
    assert session.conditions == ("rough fast", "rough slow", "smooth fast", "smooth slow")


def test_inspect_takes_a_mapping(file, mapping):
    (one,) = inspect_recordings(file, mapping=mapping)
    assert one.usable
    assert one.to_dict()["trials_per_condition"].keys() == {
        "rough fast", "rough slow", "smooth fast", "smooth slow",
    }  # fmt: skip


def test_without_its_mapping_the_file_is_refused(file):
    with pytest.raises(InputError, match=r"no trial table 'trials' .*presentations"):
        read_sessions(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("condition: texture", "it names no column"),
        ('condition: "{texture"', "mend the braces"),
        ("conditoin: x", "did you mean 'condition'"),
        ("keep: 3", "not a mapping"),
        ("session: name", "choose one of identifier, file"),
        ("- 1", "not a mapping"),
    ],
)
def test_mappings_that_make_no_sense(tmp_path, text, said):
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        RecordingMapping.from_yaml(path)
