import json
import subprocess
import sys

import numpy as np
import pytest

from vibrissa.activations import Activations
from vibrissa.core.errors import InputError
from vibrissa.core.manifest import Manifest

STIMULI = ("concave close", "concave far", "convex close")


def drawn(seed=0, **changes):
    draws = np.random.default_rng(seed)
    given = {
        "layers": {"conv": draws.normal(size=(3, 4, 5)), "fc": draws.normal(size=(3, 2))},
        "stimuli": STIMULI,
        "first_input_step": {"conv": 2},
        "kinds": {"conv": "encoder"},
        "times_s": [0.1, 0.2, 0.3, 0.4],
        "metadata": {"distance_mm": [5.0, 8.0, 5.0], "side": ["a", "b", "b"], "odd": [1, 0, 1]},
        "model": "mine",
    }
    if "layers" in changes:
        given |= {"first_input_step": None, "kinds": None, "times_s": None}
    return Activations.from_arrays(**given | changes)


def test_layers_get_three_axes_and_what_is_known_of_them():
    acts = drawn()
    assert acts.layer_names == ("conv", "fc")
    assert {n: v.shape for n, v in acts.layers.items()} == {"conv": (3, 4, 5), "fc": (3, 1, 2)}
    assert all(v.dtype == np.float32 for v in acts.layers.values())
    assert acts.first_input_step == {"conv": 2, "fc": 0}
    assert acts.kinds == {"conv": "encoder", "fc": "other"}
    assert list(acts.times_s) == ["conv"]
    assert acts.unit_shapes == {"conv": (5,), "fc": (2,)}
    assert len(acts) == 3


@pytest.mark.parametrize(
    ("axes", "order"),
    [
        ("stimulus time channel row", (0, 1, 2, 3)),
        ("time stimulus channel row", (1, 0, 2, 3)),
        ("channel row time batch", (3, 2, 0, 1)),
    ],
)
def test_axes_by_name_land_where_they_belong(axes, order):
    truth = np.arange(3 * 4 * 2 * 5, dtype=float).reshape(3, 4, 2, 5)
    given = np.transpose(truth, np.argsort(order))
    acts = Activations.from_arrays({"a": given}, stimuli=STIMULI, axes=axes)
    for s, t, c, r in np.ndindex(truth.shape):
        assert acts.layers["a"][s, t, c * 5 + r] == truth[s, t, c, r]
    assert acts.unit_shapes["a"] == (2, 5)


def test_folded_steps_are_unfolded():
    truth = np.random.default_rng(0).normal(size=(3, 4, 7)).astype(np.float32)
    first = Activations.from_arrays(
        {"a": truth.reshape(12, 7)}, stimuli=STIMULI, axes={"a": "batch*time unit"}
    )
    second = Activations.from_arrays(
        {"a": truth.transpose(1, 0, 2).reshape(12, 7)}, stimuli=STIMULI, axes="time*stimulus unit"
    )
    assert np.array_equal(first.layers["a"], truth)
    assert np.array_equal(second.layers["a"], truth)


def test_means_leave_out_what_came_before_the_input():
    acts = drawn()
    conv = acts.layers["conv"].astype(float)
    found = acts.mean_over_time()
    assert np.allclose(found["conv"], (conv[:, 2] + conv[:, 3]) / 2, rtol=0, atol=1e-15)
    assert found["fc"].shape == (3, 2)
    assert np.allclose(
        acts.mean_over_time("conv", from_first_input=False), conv.sum(1) / 4, rtol=0, atol=1e-15
    )


def test_stimuli_and_layers_go_by_name():
    acts = drawn()
    one = acts.select(stimuli=["convex close", "concave close"], layers=["fc"])
    assert one.stimuli == ("convex close", "concave close")
    assert one.layer_names == ("fc",)
    assert np.array_equal(one.layers["fc"], acts.layers["fc"][[2, 0]])
    assert one.metadata["side"].tolist() == ["b", "a"]
    assert one.times_s == {}
    assert np.array_equal(acts.layer("conv", ["concave far"])[0], acts.layers["conv"][1])


def test_order_of_stimuli_does_not_count():
    acts = drawn()
    other = acts.select(stimuli=STIMULI[::-1], layers=["fc", "conv"])
    assert acts.equals(other)
    assert other.equals(acts)
    assert acts.digest == other.digest
    values = acts.layers["fc"].copy()
    values[0, 0, 0] = np.nextafter(values[0, 0, 0], np.float32(9))
    known = {"first_input_step": {"conv": 2}, "kinds": {"conv": "encoder"}}
    known |= {"times_s": [0.1, 0.2, 0.3, 0.4]}
    changed = drawn(layers={"conv": acts.layers["conv"], "fc": values[:, 0]}, **known)
    assert not acts.equals(changed)
    assert acts.equals(changed, tolerance=1e-6)
    assert acts.digest != changed.digest
    mislabelled = drawn(stimuli=(STIMULI[1], STIMULI[0], STIMULI[2]))
    assert not acts.equals(mislabelled)
    assert acts.digest != mislabelled.digest
    assert not acts.equals(drawn(first_input_step={}))
    assert not acts.equals(drawn(metadata={}))


def test_labelled_array():
    found = drawn().to_xarray("conv")
    assert found.dims == ("stimulus", "time", "unit")
    picked = found.sel(stimulus="concave far").isel(time=3)
    assert np.array_equal(picked, drawn().layers["conv"][1, 3])
    assert found.coords["time"].values.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert found.coords["side"].values.tolist() == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": {}}, "layers = {}: there are none"),
        ({"stimuli": STIMULI[:2]}, "axis 0 should be the 2 stimuli"),
        ({"stimuli": ("a", "a", "b")}, "stimuli = 'a': it stands twice"),
        ({"stimuli": ("a", "", "b")}, "stimuli = '': no name"),
        ({"stimuli": "abc"}, "one text, not a list"),
        ({"layers": {"a": np.zeros((3, 2, 2, 2))}}, "its axes cannot be told"),
        ({"layers": {"a": np.zeros((3, 0))}}, "not (stimulus, time, unit)"),
        ({"layers": {"a": np.array([[1.0], [np.nan], [0.0]])}}, "'stimulus': 1"),
        ({"layers": {"a": np.array([[1.0], [1e300], [0.0]])}}, "not finite in float32"),
        ({"layers": {"a": np.zeros((3, 2), complex)}}, "no real numbers"),
        ({"layers": {"a": np.array([["x"]] * 3)}}, "no real numbers"),
        ({"kinds": {"conv": "cortex"}}, "kind of layer 'conv' = 'cortex'"),
        ({"kinds": {"cnv": "encoder"}}, "did you mean 'conv'"),
        ({"first_input_step": {"conv": 4}}, "not one of its 4 steps"),
        ({"first_input_step": {"fc": 1}}, "not one of its 1 steps"),
        ({"first_input_step": {"conv": -1}}, "not one of its 4 steps"),
        ({"times_s": [0.1, 0.3, 0.2, 0.4]}, "not 4 rising times"),
        ({"times_s": [0.1, 0.2]}, "no layer has so many steps"),
        ({"metadata": {"x": [1.0, 2.0]}}, "not 3 numbers"),
        ({"metadata": {"x/y": [1, 2, 3]}}, "no name for a column"),
        ({"metadata": {"x": [{}, {}, {}]}}, "not 3 numbers"),
        ({"axes": "batch channel row column"}, "not the 4 axes that are declared"),
        ({"axes": {"other": "batch unit"}}, "axes of layer = 'other'"),
        ({"axes": "time unit"}, "no axis batch"),
        ({"axes": "batch batch"}, "stands twice"),
        ({"axes": "batch*unit"}, "only batch and time may be folded"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(changes, words):
    with pytest.raises(InputError) as told:
        drawn(**changes)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda a: a.layer("cov"), "did you mean 'conv'"),
        (lambda a: a.mean_over_time("x"), "no such name"),
        (lambda a: a.select(stimuli=["concave cloze"]), "did you mean 'concave close'"),
        (lambda a: a.select(stimuli=[STIMULI[0]] * 2), "stands twice"),
        (lambda a: a.select(layers=[]), "there are none"),
    ],
)
def test_unknown_names_are_refused(act, words):
    with pytest.raises(InputError) as told:
        act(drawn())
    assert words in str(told.value)


def test_what_is_given_is_left_alone():
    given = {"a": np.zeros((3, 2))}
    acts = Activations.from_arrays(given, stimuli=STIMULI)
    assert given["a"].shape == (3, 2)
    with pytest.raises(AttributeError):
        acts.model = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_tensor_with_gradient_gets_advice():
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(3, 2, requires_grad=True)
    with pytest.raises(InputError, match=r"t\.detach\(\)\.cpu\(\)\.numpy\(\)"):
        Activations.from_arrays({"a": tensor}, stimuli=STIMULI)
    acts = Activations.from_arrays({"a": tensor.detach()}, stimuli=STIMULI)
    assert acts.layers["a"].shape == (3, 1, 2)


def test_container_and_files_need_no_torch(tmp_path):
    code = (
        "import sys; from vibrissa.activations import Activations\n"
        "a = Activations.from_arrays({'l': [[1.0], [2.0]]}, stimuli=['p', 'q'])\n"
        f"a.save({str(tmp_path / 'a.h5')!r}); Activations.load({str(tmp_path / 'a.h5')!r})\n"
        "heavy = ('torch', 'scipy', 'pandas', 'warp', 'trimesh', 'matplotlib')\n"
        "rooms = [m for m in sys.modules if m.startswith('vibrissa.')]\n"
        "print([m for m in heavy if m in sys.modules])\n"
        "print(sorted({m.split('.')[1] for m in rooms}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['activations', 'core']"]


def test_manifest_travels(tmp_path):
    manifest = Manifest.of("activations", {"layers": ["conv"]}, seed=3, inputs={"x": "ab"})
    acts = drawn(manifest=manifest)
    again = Activations.load(acts.save(tmp_path / "a.h5"))
    assert again.manifest == manifest
    assert json.loads(again.manifest.to_json())["seed"] == 3
