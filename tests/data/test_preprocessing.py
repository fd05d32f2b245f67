import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from vibrissa.core.errors import InputError
from vibrissa.data.normalisation import Normalisation, NormalisationAccumulator
from vibrissa.data.preprocessing import (
    Preprocessing,
    Recording,
    flat_to_model_input,
    from_grid,
    from_model_input,
    model_input_to_flat,
    pad_published,
    published_clean,
    published_layout,
    published_stride,
    resampling_matrix,
    to_grid,
    to_model_input,
    unpad_published,
)

# the published order and the published pads, written out by hand
ORDER = [
    f"R{row}{col}" for row, n in zip("ABCDE", (5, 5, 7, 7, 6), strict=True) for col in range(n)
]
PADS = (5, 6, 12, 13, 34)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- recording -------------------------------------------------------------------------------


@pytest.mark.parametrize("to_hz", [110.0, 333.3, 200 * math.pi])
def test_tones_pass_or_vanish(to_hz):
    nyquist, seconds, rate = to_hz / 2, 1.0, 1000.0
    matrix = resampling_matrix(int(seconds * rate), rate, to_hz)
    inside = slice(10, -10)
    old = (np.arange(matrix.shape[1]) + 0.5) / rate
    new = ((np.arange(matrix.shape[0]) + 0.5) / to_hz)[inside]
    low = np.linspace(0.0, 0.8 * nyquist, 40)
    got = (matrix @ np.exp(2j * np.pi * old[:, None] * low))[inside]
    assert np.abs(got - np.exp(2j * np.pi * new[:, None] * low)).max() < 0.001
    high = np.linspace(1.2 * nyquist, rate / 2, 150)
    got = (matrix @ np.exp(2j * np.pi * old[:, None] * high))[inside]
    assert np.abs(got).max() < 1e-3  # 60 dB


def test_point_samples_are_at_the_end_of_their_frame():
    tone = np.sin(2 * np.pi * 7.0 * (np.arange(1000) + 1) / 1000).astype(np.float32)
    got, _ = Recording().record(tone[:, None, None], 1000.0, sampling="point")
    wanted = np.sin(2 * np.pi * 7.0 * (np.arange(110) + 0.5) / 110)
    np.testing.assert_allclose(got[10:-10, 0, 0], wanted[10:-10], atol=1e-3)


def test_agrees_with_resample_poly():
    """Another resampler, another filter: what is in the pass band must come out alike."""
    rate, up, down = 1000.0, 11, 100
    time = (np.arange(2000) + 0.5) / rate
    pitch = np.array([0.0, 3.0, 11.0, 23.0, 31.0])
    tones = np.cos(2 * np.pi * np.outer(time, pitch) + pitch).sum(axis=1)
    got, new_rate = Recording().record(tones[:, None, None], rate)
    assert new_rate == 110.0
    # its sample k stands at k / 110 s from the first sample, ours half a frame later: shift the
    # input by half an output frame less half an input frame
    shift = 0.5 / 110 - 0.5 / rate
    moved = np.cos(2 * np.pi * np.outer(time + shift, pitch) + pitch).sum(axis=1)
    theirs = resample_poly(moved, up, down, window=("kaiser", 8.0))
    np.testing.assert_allclose(got[15:-15, 0, 0], theirs[15:205], atol=5e-3)


@pytest.mark.parametrize("method", ["anti-aliased", "average"])
@pytest.mark.parametrize(("frames", "to_hz"), [(1000, 110.0), (37, 999.0), (9, 120.0), (500, 1e3)])
def test_constants_pass_everywhere(method, frames, to_hz):
    matrix = resampling_matrix(frames, 1000.0, to_hz, method=method)
    assert matrix.shape == (math.floor(frames * to_hz / 1000.0), frames)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-14)
    got, _ = Recording(rate_hz=to_hz, method=method).record(np.ones((frames, 1, 6)), 1000.0)
    np.testing.assert_array_equal(got, 1.0)


@given(st.integers(1, 60), st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_average_is_the_integral(frames, ratio):
    to_hz = 1000.0 * ratio
    if math.floor(frames * ratio + 1e-6) < 1:
        return
    values = noise(frames, 1, 1, seed=frames).astype(np.float64)
    got, _ = Recording(rate_hz=to_hz, method="average").record(values, 1000.0)
    integral = np.concatenate([[0.0], np.cumsum(values[:, 0, 0])])
    edges = np.minimum(np.arange(len(got) + 1) / ratio, frames)
    wanted = np.diff(np.interp(edges, np.arange(frames + 1), integral)) * ratio
    np.testing.assert_allclose(got[:, 0, 0], wanted, atol=2e-5)


def test_a_sweep_is_recorded_alike_alone_and_among_others():
    values = noise(5, 300, 4, 6)
    for method in ("anti-aliased", "average", "stride", "full"):
        recording = Recording(method=method)
        together, _ = recording.record(values, 1000.0)
        assert together.dtype == np.float32
        for k in range(5):
            alone, _ = recording.record(values[k], 1000.0)
            np.testing.assert_array_equal(together[k].view(np.int32), alone.view(np.int32))
        nested, _ = recording.record(values.reshape(1, 5, 300, 4, 6), 1000.0)
        np.testing.assert_array_equal(nested[0], together)


def test_no_load_stays_no_load_and_a_touch_reaches_as_far_as_the_kernel():
    values = np.zeros((1000, 1, 1))
    values[500] = 1.0
    got = Recording().record(values, 1000.0)[0][:, 0, 0]
    assert np.flatnonzero(got).min() >= 55 - 10
    assert np.flatnonzero(got).max() <= 55 + 10
    assert got.sum() == pytest.approx(0.11, rel=1e-3)


def test_equal_rates_change_nothing():
    values = noise(40, 2, 6)
    for method in ("anti-aliased", "average", "stride", "full"):
        got, rate = Recording(rate_hz=1000.0, method=method).record(values, 1000.0)
        np.testing.assert_array_equal(got, values)
        assert rate == 1000.0


@pytest.mark.parametrize("method", ["anti-aliased", "average", "stride", "full"])
def test_contact_of_any_overlapped_frame(method):
    contact = np.random.default_rng(1).random((3, 100, 2)) < 0.02
    recording = Recording(rate_hz=130.0, method=method)
    got = recording.record_contact(contact, 1000.0)
    assert got.dtype == bool
    assert got.shape == (3, recording.frames_after(100, 1000.0), 2)
    assert got.any()
    assert not got.all()
    for sweep, frame, whisker in np.ndindex(*got.shape):
        if method == "full":
            overlapped = [frame]
        elif method == "stride":  # 100 // 13 = 7
            overlapped = range(7 * frame, 7 * frame + 7)
        else:  # whole numbers: [k/130, (k+1)/130] meets [j/1000, (j+1)/1000] inside
            begin, end = frame * 100, (frame + 1) * 100  # in 1/13 of an input frame
            overlapped = [j for j in range(100) if j * 13 < end and (j + 1) * 13 > begin]
        assert got[sweep, frame, whisker] == any(contact[sweep, j, whisker] for j in overlapped)


def test_published_recording_takes_frames_0_to_981():
    frames = np.arange(1000.0).reshape(1000, 1, 1) * np.ones((1, 2, 6))
    for total in (999, 1000):
        got, rate = Recording.published().record(frames[:total], 1000.0)
        assert got[:, 0, 0].tolist() == list(range(0, 982, 9))
        assert rate == pytest.approx(1000 / 9)
        assert (
            Recording.published().record_contact(frames[:total, :, 0] > 0, 1000.0).shape[0] == 110
        )


def test_published_stride_of_rows():
    for total in (999, 1000):
        assert published_stride(np.arange(total), axis=0).tolist() == list(range(1, 983, 9))
    assert published_stride(np.arange(110), axis=0).tolist() == list(range(110))
    for total in (111, 219, 220, 2000):
        step = total // 110
        wanted = [1 + k * step for k in range(110)]
        assert published_stride(np.arange(total), axis=0).tolist() == wanted
    with pytest.raises(InputError, match="too few to take 110 from frame 1"):
        published_stride(np.zeros((109, 30, 6)))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"method": "cubic"}, "method = 'cubic'"),
        ({"rate_hz": 0.0}, "rate_hz = 0.0"),
        ({"rate_hz": math.nan}, "rate_hz"),
        ({"first_frame": -1}, "first_frame = -1"),
    ],
)
def test_recording_refuses(settings, text):
    with pytest.raises(InputError, match=text):
        Recording(**settings)


def test_recording_refuses_data():
    with pytest.raises(InputError, match="above the 100 Hz of the simulation"):
        Recording().record(np.zeros((50, 1, 6)), 100.0)
    with pytest.raises(InputError, match="less than one frame"):
        Recording().record(np.zeros((5, 1, 6)), 1000.0)
    with pytest.raises(InputError, match="sampling = 'middle'"):
        Recording().record(np.zeros((50, 1, 6)), 1000.0, sampling="middle")
    with pytest.raises(InputError, match="time, whisker, channel"):
        Recording().record(np.zeros((50, 6)), 1000.0)
    with pytest.raises(InputError, match="too few"):
        Recording(method="stride", first_frame=30).record(np.zeros((50, 1, 6)), 1000.0)


# --- published clean-up and layout -----------------------------------------------------------


def clean_by_hand(trace, limit=1000.0):
    cleaned, last = [], 0.0
    for value in trace:
        if math.isnan(value):
            value = 0.0
        if abs(value) > limit:
            value = last
        last = value
        cleaned.append(value)
    return cleaned


SOME_VALUES = st.sampled_from(
    [0.0, 1.0, -2.5, 1000.0, -1000.0, 1000.5, -4e8, math.nan, math.inf, -math.inf]
)


@given(st.lists(st.lists(SOME_VALUES, min_size=3, max_size=3), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_clean_is_as_described(rows):
    values = np.array(rows)[:, None, :]
    kept = values.copy()
    got = published_clean(values)
    wanted = np.array([clean_by_hand(trace) for trace in values[:, 0].T.tolist()]).T
    np.testing.assert_array_equal(got[:, 0], wanted)
    np.testing.assert_array_equal(values, kept)
    np.testing.assert_array_equal(published_clean(values[:, 0].T, axis=1), wanted.T)


def layout_by_hand(rows, clean):
    """The published processing from its description alone, with loops."""
    total = len(rows)
    if total != 110:
        stride = total // 110
        rows = [rows[1 + k * stride] for k in range(110)]
    placed = np.zeros((110, 35, 6), dtype=np.float64)
    for channel in range(6):
        whisker = 0
        for place in range(35):
            if place in PADS:
                continue
            trace = [float(rows[t][whisker][channel]) for t in range(110)]
            placed[:, place, channel] = clean_by_hand(trace) if clean else trace
            whisker += 1
        assert whisker == 30
    return placed


def model_input_by_hand(flat):
    """(22 5) (5 7) 6 -> 22 (5 6) 5 7, float32."""
    out = np.full((22, 30, 5, 7), np.nan, dtype=np.float32)
    for step in range(22):
        for sub in range(5):
            for row in range(5):
                for column in range(7):
                    for channel in range(6):
                        out[step, sub * 6 + channel, row, column] = flat[
                            step * 5 + sub, row * 7 + column, channel
                        ]
    return out


@pytest.mark.parametrize("total", [1000, 999, 110])
def test_published_layout_from_scratch(total):
    random = np.random.default_rng(total)
    rows = random.normal(size=(total, 30, 6))
    rows[random.random(rows.shape) < 0.01] = 5e4
    rows[:, 7, 2][random.random(total) < 0.3] = np.nan
    rows[0] = 1e30  # the invalid first row
    for clean in (True, False):
        flat = layout_by_hand(rows, clean)
        np.testing.assert_array_equal(published_layout(rows, clean=clean), flat)
        single = flat.astype(np.float32)
        np.testing.assert_array_equal(flat_to_model_input(single), model_input_by_hand(flat))


def test_published_preset_from_scratch():
    """Our frame k is their row k + 1: the same sweep, given in both ways, must come out alike."""
    frames = noise(2, 1000, 30, 6, seed=3) * 400.0  # uN
    rows = np.concatenate([np.full((2, 1, 30, 6), np.nan), frames[:, :999] / 1000.0], axis=1)
    wanted = np.stack([model_input_by_hand(layout_by_hand(r, False)) for r in rows])
    preset = Preprocessing.published()
    assert preset.frame == "world"
    got = preset.apply(frames, ORDER)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=2e-7, atol=0)
    # the unit alone may round: float32 loads in mN are those of the exact quotient
    exact = np.stack([model_input_by_hand(layout_by_hand(r, False)) for r in to_double(frames)])
    np.testing.assert_array_equal(got, exact)
    recorded, _ = Recording.published().record(frames, 1000.0, sampling="point")
    np.testing.assert_array_equal(preset.apply(recorded, ORDER), got)


def to_double(frames):
    rows = frames[:, :999].astype(np.float64) / 1000.0
    return np.concatenate([np.full((2, 1, 30, 6), np.nan), rows], axis=1)


# --- grid and steps --------------------------------------------------------------------------


def test_grid_by_name_equals_published_padding():
    values = noise(4, 110, 30, 6)
    flat = pad_published(values)
    assert np.flatnonzero(~flat.any(axis=(0, 1, 3))).tolist() == list(PADS)
    np.testing.assert_array_equal(unpad_published(flat), values)
    wanted = flat.reshape(4, 110, 5, 7, 6).transpose(0, 1, 4, 2, 3)
    np.testing.assert_array_equal(to_grid(values, ORDER), wanted)
    np.testing.assert_array_equal(
        to_model_input(values, ORDER), np.stack([model_input_by_hand(f) for f in flat])
    )


@given(st.lists(st.sampled_from(ORDER), unique=True, min_size=1), st.sampled_from("RL"))
@settings(max_examples=40, deadline=None)
def test_any_whiskers_of_either_side(names, side):
    names = [side + name[1:] for name in names]
    values = noise(2, 4, len(names), 6, seed=len(names)) + 10.0
    grid = to_grid(values, names)
    assert np.count_nonzero(grid) == values.size
    for k, name in enumerate(names):
        at = grid[:, :, :, "ABCDE".index(name[1]), int(name[2])]
        np.testing.assert_array_equal(at, values[:, :, k])
    np.testing.assert_array_equal(from_grid(grid, names), values)
    model = to_model_input(values, names, steps=2)
    assert model.shape == (2, 2, 12, 5, 7)
    np.testing.assert_array_equal(from_model_input(model, names), values)
    plain = Preprocessing(normalise="none", steps=2)
    np.testing.assert_array_equal(plain.apply(values, names), model)


@pytest.mark.parametrize("steps", [22, 110, 10, 1, None])
def test_steps_there_and_back(steps):
    flat = pad_published(noise(3, 110, 30, 6))
    model = flat_to_model_input(flat, steps=steps)
    sub = 110 // (steps or 110)
    assert model.shape == (3, 110 // sub, 6 * sub, 5, 7)
    np.testing.assert_array_equal(model_input_to_flat(model), flat)
    assert Preprocessing(steps=steps).model_shape(110) == model.shape[1:]


def test_layouts_refuse():
    with pytest.raises(InputError, match="109 frames cannot be shared out"):
        to_model_input(np.zeros((109, 30, 6)), ORDER)
    with pytest.raises(InputError, match="cannot be shared out"):
        to_model_input(np.zeros((0, 30, 6)), ORDER)
    with pytest.raises(InputError, match=r"not \(..., 30, channel\)"):
        pad_published(np.zeros((110, 29, 6)))
    with pytest.raises(InputError, match="35, channel"):
        unpad_published(np.zeros((110, 30, 6)))
    with pytest.raises(InputError, match="35, channel"):
        flat_to_model_input(np.zeros((110, 30, 6)))
    with pytest.raises(InputError, match="give model input"):
        model_input_to_flat(np.zeros((22, 29, 5, 7)))
    with pytest.raises(InputError, match="share a place"):
        to_grid(np.zeros((5, 2, 6)), ["RC1", "LC1"])


# --- normalisation ---------------------------------------------------------------------------


def test_rms_and_standard_from_their_definitions():
    loads = noise(3, 20, 4, 6).astype(np.float64) * [1, 10, 100, 1, 2, 3] + [0, 5, -900, 0, 0, 1]
    flat = loads.reshape(-1, 6)
    rms, standard = NormalisationAccumulator(), NormalisationAccumulator(kind="standard")
    for sweep in loads:
        rms.add(sweep)
        standard.add(sweep)
    wanted = [math.sqrt(math.fsum(v * v for v in column) / len(column)) for column in flat.T]
    np.testing.assert_allclose(rms.result().scale, wanted, rtol=1e-13)
    assert rms.result().mean == (0.0,) * 6
    np.testing.assert_allclose(standard.result().mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(standard.result().scale, flat.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        standard.result().apply(loads).reshape(-1, 6).std(axis=0), 1.0, rtol=1e-5
    )
    assert not rms.result().apply(np.zeros((2, 6))).any()


@given(st.permutations(range(8)), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_order_of_chunks_does_not_matter(order, size):
    loads = noise(40, 7, 3, 6) * 300 + np.float32(40)
    chunks = [loads[k * 5 : k * 5 + 5] for k in range(8)]
    for kind in ("rms", "standard"):
        first, other, again = (NormalisationAccumulator(kind=kind) for _ in range(3))
        parts = [NormalisationAccumulator(kind=kind) for _ in range(2)]
        for k in range(8):
            first.add(chunks[k])
            again.add(chunks[k].copy())
            other.add(chunks[order[k]])
            parts[k % 2].add(chunks[k])
        parts[0].merge(parts[1])
        small = NormalisationAccumulator(kind=kind)
        for start in range(0, 40, size):
            small.add(loads[start : start + size])
        assert first.result() == again.result()  # to the last bit
        for another in (other, parts[0], small):
            np.testing.assert_allclose(another.result().scale, first.result().scale, rtol=1e-12)
            np.testing.assert_allclose(another.result().mean, first.result().mean, rtol=1e-12)


def test_channels_without_spread_get_scale_1():
    loads = np.zeros((2, 10, 3, 6))
    loads[..., 1] = 0.1
    loads[..., 2] = noise(2, 10, 3)
    for measure, ones in (
        (NormalisationAccumulator(kind="rms"), [0, 3, 4, 5]),
        (NormalisationAccumulator(kind="standard"), [0, 1, 3, 4, 5]),
    ):
        for sweep in loads:
            measure.add(sweep)
        scale = measure.result().scale
        assert [k for k in range(6) if scale[k] == 1.0] == ones
    assert Preprocessing(normalise="none").accumulator().result() == Normalisation()


def test_measuring_leaves_the_loads_alone():
    loads = np.array([[1.0, 2, 3, 4, 5, 6]])
    NormalisationAccumulator().add(loads)
    assert loads.tolist() == [[1, 2, 3, 4, 5, 6]]


def test_normalisation_as_json_keeps_every_bit():
    measure = NormalisationAccumulator(kind="standard", frame="world")
    measure.add(noise(4, 6))
    known = measure.result()
    assert Normalisation.from_dict(json.loads(json.dumps(known.to_dict()))) == known
    for key, value in (("mean", [0.0]), ("scale", ["x"] * 6), ("scale", None), ("kind", "max")):
        with pytest.raises(InputError):
            Normalisation.from_dict(known.to_dict() | {key: value})
    with pytest.raises(InputError, match="fields"):
        Normalisation.from_dict({})


def test_normalisation_refuses():
    with pytest.raises(InputError, match="nothing to measure"):
        NormalisationAccumulator().result()
    with pytest.raises(InputError, match="Fz"):
        NormalisationAccumulator().add(np.array([[0.0, 0, np.inf, 0, 0, 0]]))
    with pytest.raises(InputError, match="six channels"):
        NormalisationAccumulator().add(np.zeros((3, 5)))
    with pytest.raises(InputError, match="merge equal"):
        NormalisationAccumulator().merge(NormalisationAccumulator(frame="world"))
    with pytest.raises(InputError, match="takes no mean away"):
        Normalisation(kind="rms", mean=(1.0,) * 6)
    with pytest.raises(InputError, match="does not scale"):
        Normalisation(scale=(2.0,) * 6)
    with pytest.raises(InputError, match="not positive"):
        Normalisation(kind="rms", scale=(0.0,) * 6)


# --- the whole -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rms", "standard"])
def test_apply_equals_normalising_then_gridding(kind):
    loads = noise(19, 110, 30, 6) * 100 + np.float32(5)  # more than two blocks
    measure = Preprocessing(normalise=kind).accumulator()
    measure.add(loads)
    known = measure.result()
    wanted = to_model_input(known.apply(loads), ORDER)
    got = Preprocessing(normalise=kind).apply(loads, ORDER, known)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    pads = got.reshape(19, 22, 30, 35)[..., PADS]
    np.testing.assert_array_equal(pads.view(np.int32), 0)  # not even a minus zero
    if kind == "rms":
        assert np.sqrt(np.mean(got.astype(float) ** 2)) == pytest.approx(math.sqrt(30 / 35))


def test_apply_writes_where_told_and_does_not_depend_on_neighbours():
    loads = noise(11, 110, 30, 6)
    plan = Preprocessing(normalise="none", unit="mN")
    out = np.full((11, 22, 30, 5, 7), np.nan, dtype=np.float32)
    assert plan.apply(loads, ORDER, out=out) is out
    np.testing.assert_array_equal(plan.apply(loads.astype(np.float64), ORDER), out)
    np.testing.assert_array_equal(plan.apply(np.asfortranarray(loads), ORDER), out)
    for k in (0, 7, 10):
        np.testing.assert_array_equal(plan.apply(loads[k : k + 1], ORDER)[0], out[k])
    assert plan.apply(loads[:0], ORDER).shape == (0, 22, 30, 5, 7)


def test_preprocessing_refuses():
    loads = noise(1, 110, 30, 6)
    rms = Normalisation(kind="rms", scale=(1.0,) * 6)
    cases = [
        (lambda: Preprocessing().apply(loads, ORDER), "normalisation = None"),
        (lambda: Preprocessing(frame="world").apply(loads, ORDER, rms), "in the world frame"),
        (lambda: Preprocessing(normalise="standard").apply(loads, ORDER, rms), "is wanted"),
        (lambda: Preprocessing().apply(loads, ORDER[1:], rms), "the loads have 30"),
        (lambda: Preprocessing().apply(loads[:, :109], ORDER, rms), "109 frames cannot be"),
        (lambda: Preprocessing().apply(loads[0], ORDER, rms), "sweep, time, whisker, 6"),
        (lambda: Preprocessing(frame="head"), "frame = 'head'"),  # pyright: ignore
        (lambda: Preprocessing(unit="N"), "unit = 'N'"),  # pyright: ignore
        (lambda: Preprocessing(steps=0), "steps = 0"),
        (lambda: Preprocessing.published().apply(loads[:, :100], ORDER), "too few"),
        (lambda: Preprocessing().apply(loads, ORDER, rms, out=loads), "out ="),
        (lambda: Preprocessing().apply(loads, ["RC1"] * 30, rms), "share a place"),
    ]
    for call, text in cases:
        with pytest.raises(InputError, match=text):
            call()
