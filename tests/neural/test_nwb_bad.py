"""Files that cannot be used: one sentence each that names the file and says what to do."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest

from vibrissa.core.errors import InputError
from vibrissa.neural.mapping import RecordingMapping
from vibrissa.neural.nwb import find_recordings, read_recording, read_sessions
from vibrissa.neural.selecting import TrialRules
from vibrissa.neural.synth import SynthConfig
from vibrissa.neural.synth_nwb import write_synth

pynwb = pytest.importorskip("pynwb")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    config = SynthConfig(animals=1, sessions=1, units=4, trials=30)
    return write_synth(out, config, 2, quiet=True).files[0].read_bytes()


@pytest.fixture
def path(whole, tmp_path):
    file = tmp_path / "sub-219CR_ses-1_behavior+ecephys+image.nwb"
    file.write_bytes(whole)
    return file


def sentence(*given, **options):
    with pytest.raises(InputError) as caught:
        read_sessions(*given, quiet=True, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def group(file, name):
    found = file[name]
    assert isinstance(found, h5py.Group)
    return found


def replace_column(path, table, column, values):
    with h5py.File(path, "r+") as file:
        held = group(file, table)
        attributes = dict(held[column].attrs)
        del held[column]
        held[column] = values
        held[column].attrs.update(attributes)


@pytest.mark.parametrize("engine", ["h5py", "pynwb"])
class TestFiles:
    def test_truncated(self, path, whole, engine):
        path.write_bytes(whole[: len(whole) // 2])
        assert "truncated" in sentence(path, engine=engine)

    def test_not_hdf5(self, path, engine):
        path.write_text("date,unit\n")
        assert "not an NWB file (no HDF5 inside)" in sentence(path, engine=engine)

    def test_empty_file(self, path, engine):
        path.write_bytes(b"")
        assert "not an NWB file" in sentence(path, engine=engine)

    def test_hdf5_but_not_nwb(self, path, engine):
        with h5py.File(path, "w") as file:
            file["x"] = [1, 2]
        assert "not an NWB file" in sentence(path, engine=engine)

    def test_no_trials(self, path, engine):
        with h5py.File(path, "r+") as file:
            file.move("intervals/trials", "intervals/epochs2")
            group(file, "intervals/epochs2")
        text = sentence(path, engine=engine)
        assert "no trial table 'trials'" in text

    def test_nan_spikes(self, path, engine):
        with h5py.File(path, "r+") as file:
            file["units/spike_times"][3] = np.nan  # pyright: ignore
        assert "spike times are not finite" in sentence(path, engine=engine)

    @pytest.mark.parametrize(
        ("row", "end", "text"),
        [
            (2, 65_000, "beyond the values"),
            (2, 1, "before it begins"),
            (3, None, "belong to no unit"),
        ],
    )
    def test_damaged_index(self, path, engine, row, end, text):
        """Read on, it would hand the spikes of one unit to another."""
        with h5py.File(path, "r+") as file:
            ends = file["units/spike_times_index"]
            assert isinstance(ends, h5py.Dataset)
            unit = int(file["units/id"][row])  # pyright: ignore
            last = row == len(ends) - 1
            assert last == (end is None)
            ends[row] = ends[row] - 1 if end is None else end
        told = sentence(path, engine=engine)
        assert text in told
        assert path.name in told
        assert "spike_times_index" in told
        assert last or f"unit {unit} " in told

    def test_damaged_index_of_observations(self, path, engine):
        with h5py.File(path, "r+") as file:
            units = group(file, "units")
            n = len(np.array(units["id"]))
            flat = units.create_dataset("obs_intervals", data=np.tile([0.0, 1e4], (n, 1)))
            index = units.create_dataset("obs_intervals_index", data=np.arange(1, n + 1))
            for made, kind in ((flat, "VectorData"), (index, "VectorIndex")):
                made.attrs.update(dict(units["spike_times"].attrs))
                made.attrs["neurodata_type"] = kind
                made.attrs["object_id"] = f"00000000-0000-0000-0000-00000000000{len(kind) % 10}"
            index.attrs["target"] = flat.ref
            names = [*np.array(units.attrs["colnames"]), "obs_intervals"]
            units.attrs["colnames"] = np.array(names, dtype=h5py.string_dtype())
        assert read_recording(path, engine=engine).n_units == n
        with h5py.File(path, "r+") as file:
            file["units/obs_intervals_index"][0] = 3 * n  # pyright: ignore
        assert "obs_intervals_index of unit" in sentence(path, engine=engine)

    def test_column_of_another_length(self, path, engine):
        n = read_recording(path).n_trials
        replace_column(path, "intervals/trials", "outcome", ["correct"] * (n - 5))
        text = sentence(path, engine=engine)
        assert f"column 'outcome' has {n - 5} rows, the table {n}" in text

    @pytest.mark.parametrize("column", ["choice_time", "stimulus", "stop_time"])
    def test_missing_column_of_the_list(self, path, engine, column):
        """Whatever pynwb raises on it, it is a sentence, and h5py may do without the column."""
        with h5py.File(path, "r+") as file:
            del file[f"intervals/trials/{column}"]
        if engine == "h5py" and column == "stop_time":
            assert len(read_sessions(path, quiet=True)) == 1
        else:
            assert len(sentence(path, engine=engine)) < 400

    def test_empty_table_of_units(self, path, engine):
        start = datetime(2020, 1, 1, tzinfo=UTC)
        made = pynwb.NWBFile(session_description="x", identifier="x", session_start_time=start)
        made.add_trial(start_time=1.0, stop_time=2.0)
        made.units = pynwb.misc.Units(name="units", description="none")
        with pynwb.NWBHDF5IO(path.with_name("empty.nwb"), mode="w") as out:
            out.write(made)
        raw = read_recording(path.with_name("empty.nwb"), engine=engine)
        assert raw.n_units == 0
        assert "the table of units is empty" in raw.remarks

    def test_no_subject(self, path, engine):
        with h5py.File(path, "r+") as file:
            del file["general/subject"]
        (session,) = read_sessions(path, engine=engine)
        assert session.animal == "219CR"
        assert any("names no subject" in text for text in session.warnings)
        named = RecordingMapping(animal="rat7")
        (session,) = read_sessions(path, engine=engine, mapping=named)
        assert session.animal == "rat7"
        assert not any("names no subject" in text for text in session.warnings)

    def test_objects_of_another_kind(self, path, engine):
        """A table where numbers belong: a sentence as well."""
        with h5py.File(path, "r+") as file:
            units = group(file, "units")
            del units["spike_times"]
            units.create_group("spike_times")
        sentence(path, engine=engine)

    def test_units_without_spikes(self, path, engine):
        with h5py.File(path, "r+") as file:
            units = group(file, "units")
            del units["spike_times"], units["spike_times_index"]
            names = [n for n in np.array(units.attrs["colnames"]) if n != "spike_times"]
            units.attrs["colnames"] = np.array(names, dtype=h5py.string_dtype())
        assert "no spike_times" in sentence(path, engine=engine)


def test_missing_paths(path, tmp_path):
    assert "no such file or folder" in sentence(tmp_path / "nothing.nwb")
    (tmp_path / "empty").mkdir()
    assert "a folder without NWB files" in sentence(tmp_path / "empty")
    assert "nothing given" in sentence([])
    assert find_recordings([path, path, path.parent]) == (path,)


def test_missing_column(path):
    with h5py.File(path, "r+") as file:
        del file["intervals/trials/choice_time"]
    text = sentence(path)
    assert "no column 'choice_time'" in text
    assert "start_time" in text


def test_unknown_stimulus(path):
    n = read_recording(path).n_trials
    replace_column(path, "intervals/trials", "stimulus", ["convx"] * n)
    text = sentence(path)
    assert "condition" in text
    assert "convx" in text
    assert "did you mean 'convex" in text


def test_empty_condition(path):
    n = read_recording(path).n_trials
    replace_column(path, "intervals/trials", "servo_position", [""] * n)
    assert "servo_position is empty" in sentence(path)


def test_condition_that_never_occurs(path):
    assert "no session can be used" in sentence(path, trials=TrialRules(conditions=("nothing",)))
    text = sentence(path, trials=TrialRules(conditions=("convex far", "convex neer")))
    assert "convex neer" in text
    assert "no session has a trial of it" in text


def test_condition_without_trials_is_a_warning(path):
    n = read_recording(path).n_trials
    replace_column(path, "intervals/trials", "servo_position", ["far"] * n)
    (session,) = read_sessions(path)
    assert session.conditions == ("concave far", "convex far")
    assert any("no trials of concave close, concave medium" in w for w in session.warnings)


def test_all_trials_outside_the_recording(path):
    with h5py.File(path, "r+") as file:
        file["acquisition/extracellular array recording/starting_time"][()] = 1e6  # pyright: ignore
    text = sentence(path)
    assert "no trial left" in text
    assert "outside the recording" in text


def test_no_units_at_all(path):
    with h5py.File(path, "r+") as file:
        del file["units"]
    assert "no units" in sentence(path)


def test_twins(path, whole, tmp_path):
    (tmp_path / "again.nwb").write_bytes(whole)
    assert "is also in" in sentence(tmp_path)


def test_units_with_one_id(path):
    with h5py.File(path, "r+") as file:
        file["units/id"][...] = 7  # pyright: ignore
    assert "some stand twice" in sentence(path)


def test_spikes_out_of_order_are_sorted_and_told(path):
    before = read_recording(path)
    with h5py.File(path, "r+") as file:
        spikes = file["units/spike_times"]
        assert isinstance(spikes, h5py.Dataset)
        first = spikes[: len(before.spike_times[0])]
        spikes[: len(first)] = first[::-1]
    after = read_recording(path)
    np.testing.assert_array_equal(after.spike_times[0], before.spike_times[0])
    assert any("out of order" in text for text in after.remarks)


def test_no_series_no_coverage_but_a_warning(path):
    with h5py.File(path, "r+") as file:
        del file["acquisition/extracellular array recording"]
    (session,) = read_sessions(path)
    assert any("does not say when was recorded" in w for w in session.warnings)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trials": "corect"}, "did you mean 'correct'"),
        ({"window": "respnse_window"}, "did you mean 'response_window'"),
        ({"engine": "matlab"}, "engine = 'matlab'"),
        ({"shift_s": float("nan")}, "shift_s = nan"),
        ({"bin_s": 0.0}, "bin_s = 0.0"),
        ({"mapping": "nowhere.yaml"}, "there is no such file"),
        ({"mapping": RecordingMapping(ignore="outcome")}, "not truth values"),
        ({"mapping": RecordingMapping(trials="epochs")}, "no trial table 'epochs'"),
    ],
)
def test_options_that_make_no_sense(path, options, text):
    assert text in sentence(path, **options)


def test_choice_before_the_start_is_told(path):
    """The trial cannot be counted, and a table with such times should be looked at."""
    before = read_sessions(path)[0]
    trial = int(before.file_order[4])
    with h5py.File(path, "r+") as file:
        file["intervals/trials/choice_time"][trial] = 0.5  # pyright: ignore
    (session,) = read_sessions(path)
    assert session.n_trials == before.n_trials - 1
    (told,) = set(session.warnings) - set(before.warnings)
    assert f"trial {before.trial_ids[4]})" in told
    assert "in order?" in told


def test_spikes_in_milliseconds(path):
    with h5py.File(path, "r+") as file:
        file["units/spike_times"][...] = 1e3 * file["units/spike_times"][()]  # pyright: ignore
    text = sentence(path)
    assert "no spike lies within the trials" in text
    assert "not in seconds" in text
    (kept,) = read_sessions(path, empty="keep")
    assert any("no spike lies within the trials" in w for w in kept.warnings)


def test_text_where_times_belong(path):
    n = read_recording(path).n_trials
    replace_column(path, "intervals/trials", "start_time", ["noon"] * n)
    text = sentence(path)
    assert "'start_time' holds text, not times (the first is 'noon')" in text
    assert "str" not in text.replace("stimulus", "")
