import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from vibrissa.activations import Activations, LayerTap, ModuleAdapter, extract, weights_digest
from vibrissa.core.errors import InputError
from vibrissa.models import build

SHAPE = (10, 30, 5, 7)
STIMULI = tuple(f"s{k}" for k in range(5))


def draws(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


class Mixed(nn.Module):
    """Batch norm, dropout and a module in place, each of which falsifies careless recordings."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.drop(self.relu(self.norm(self.linear(x)))))


@pytest.fixture
def mixed():
    torch.manual_seed(0)
    net = Mixed()
    with torch.no_grad():
        net.norm.get_buffer("running_mean").copy_(torch.randn(8))
        net.norm.get_buffer("running_var").copy_(torch.rand(8) + 0.5)
    return net.train()


PARTS: tuple[str, ...] = ("linear", "norm", "relu", "drop", "out")
ALL: Mapping[str, str | LayerTap] = dict.fromkeys(PARTS, "batch unit")


def by_numpy(net, x):
    """The network in eval mode, in float64."""
    w = {n: v.detach().double().numpy() for n, v in net.state_dict().items()}
    found = {"linear": x.astype(float) @ w["linear.weight"].T + w["linear.bias"]}
    spread = np.sqrt(w["norm.running_var"] + net.norm.eps)
    centred = (found["linear"] - w["norm.running_mean"]) / spread
    found["norm"] = centred * w["norm.weight"] + w["norm.bias"]
    found["relu"] = np.maximum(found["norm"], 0)
    found["drop"] = found["relu"]
    found["out"] = found["drop"] @ w["out.weight"].T + w["out.bias"]
    return found


def test_dropout_and_batch_norm_are_off_and_work_in_place_does_not_show(mixed):
    x = draws(5, 6)
    acts = extract(ModuleAdapter(mixed, ALL), x, stimuli=STIMULI)
    wanted = by_numpy(mixed, x)
    assert acts.layer_names == ("input", *ALL)
    for name, values in wanted.items():
        assert np.allclose(acts.layers[name][:, 0], values, rtol=0, atol=1e-5), name
    assert np.array_equal(acts.layers["input"][:, 0], x)
    assert acts.kinds["input"] == "input"
    assert (acts.layers["norm"] < 0).any()


def test_nothing_is_left_changed(mixed):
    mixed.norm.eval()  # frozen while the rest trains
    before = {n: v.clone() for n, v in mixed.state_dict().items()}
    state = torch.get_rng_state()
    acts = extract(ModuleAdapter(mixed, ALL), draws(5, 6), stimuli=STIMULI)
    modes = {n: m.training for n, m in mixed.named_modules()}
    assert modes == dict.fromkeys(modes, True) | {"norm": False}
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[n]) for n, v in mixed.state_dict().items())
    assert torch.is_grad_enabled()
    assert not any(m._forward_hooks for m in mixed.modules())
    assert all(p.grad is None for p in mixed.parameters())
    assert acts.run_digest == weights_digest(mixed)
    broken = ModuleAdapter(mixed, {"out": "batch time unit"})
    with pytest.raises(InputError):
        extract(broken, draws(5, 6), stimuli=STIMULI)
    assert mixed.training
    assert not any(m._forward_hooks for m in mixed.modules())


def test_a_network_that_overrides_eval_is_in_eval_mode_all_the_same(mixed):
    class Stubborn(Mixed):
        def train(self, mode=True):
            return super().train(True)

    net = Stubborn()
    net.load_state_dict(mixed.state_dict())
    x = draws(5, 6)
    acts = extract(ModuleAdapter(net, ALL), x, stimuli=STIMULI)
    assert np.allclose(acts.layers["out"][:, 0], by_numpy(net, x)["out"], atol=1e-5)
    assert net.training


class Chance(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x):
        return self.inner(nn.functional.dropout(x, 0.5, training=True))


def test_chance_in_eval_mode_is_seeded_and_told():
    adapter = ModuleAdapter(Chance(), {"inner": "batch unit"})
    x = np.ones((5, 40), np.float32)
    with pytest.warns(UserWarning, match="change from pass to pass even in eval mode: inner"):
        one = extract(adapter, x, stimuli=STIMULI, seed=3)
    torch.manual_seed(99)
    with pytest.warns(UserWarning, match="one draw"):
        two = extract(adapter, x, stimuli=STIMULI, seed=3)
    with pytest.warns(UserWarning, match="inner"):
        other = extract(adapter, x, stimuli=STIMULI, seed=4)
    assert one.equals(two)
    assert not one.equals(other)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 4)
        self.cell = nn.RNNCell(4, 5)
        self.lstm = nn.LSTM(5, 3)
        self.read = nn.Linear(3, 2)

    def forward(self, x):  # (batch, time, feature)
        folded = self.embed(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:2], -1)
        state, states = None, []
        for t in range(x.shape[1]):
            state = self.cell(folded[:, t], state)
            states.append(state)
        found, _ = self.lstm(torch.stack(states))
        return self.read(found[-1])


def test_every_way_to_have_time():
    torch.manual_seed(0)
    net = Recurrent()
    x = draws(5, 7, 6)
    adapter = ModuleAdapter(
        net,
        {
            "embed": "batch*time unit",
            "cell": "batch unit",
            "lstm": LayerTap(axes="time batch unit", first_input_step=1, kind="attender"),
            "state": LayerTap(module="read", axes="batch unit", kind="decoder"),
        },
    )
    acts = extract(adapter, x, stimuli=STIMULI, times_s=np.arange(1, 8) * 0.1)
    with torch.no_grad():
        embedded = net.embed(torch.tensor(x))
        state, states = None, []
        for t in range(7):
            state = net.cell(embedded[:, t], state)
            states.append(state)
        states = torch.stack(states, 1)
        after, _ = net.lstm(states.transpose(0, 1))
        after = after.transpose(0, 1)
        read = net.read(after[:, -1])
    for name, wanted in (("embed", embedded), ("cell", states), ("lstm", after)):
        assert acts.layers[name].shape == tuple(wanted.shape)
        assert np.allclose(acts.layers[name], wanted, atol=1e-6), name
        assert acts.times_s[name].tolist() == pytest.approx(np.arange(1, 8) * 0.1)
    assert np.allclose(acts.layers["state"][:, 0], read, atol=1e-6)
    assert "state" not in acts.times_s
    assert acts.first_input_step == {"input": 0, "embed": 0, "cell": 0, "lstm": 1, "state": 0}
    assert (acts.kinds["lstm"], acts.kinds["state"]) == ("attender", "decoder")


def test_images_keep_the_shape_of_their_units():
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(3 * 4 * 6, 2))
    x = draws(5, 2, 5, 7)
    adapter = ModuleAdapter(net, {"0": "batch channel row column", "2": "batch unit"})
    acts = extract(adapter, x, stimuli=STIMULI)
    assert acts.unit_shapes["0"] == (3, 4, 6)
    with torch.no_grad():
        wanted = net[0](torch.tensor(x)).reshape(5, -1).numpy()
    assert np.allclose(acts.layers["0"][:, 0], wanted, atol=1e-6)
    assert acts.unit_shapes["input"] == (2, 5, 7)


@pytest.fixture(scope="module")
def ead():
    return build("tiny:inter_ln+none+mlp", n_classes=4, seed=0, input_shape=SHAPE)


@pytest.fixture(scope="module")
def touch():
    return draws(5, *SHAPE, seed=1)


def test_an_ead_and_the_input_as_a_layer(ead, touch):
    ead.train()
    acts = extract(ead, touch, stimuli=STIMULI, metadata={"k": range(5)})
    assert ead.training
    ead.eval()
    with torch.no_grad():
        wanted = ead.record(torch.tensor(touch))
        logits = ead(torch.tensor(touch))
    assert acts.layer_names == ("input", *ead.layers())
    for name, values in wanted.items():
        assert np.allclose(acts.layers[name], values.reshape(5, values.shape[1], -1), atol=1e-6)
        assert acts.first_input_step[name] == ead.first_input_step(name)
        assert acts.unit_shapes[name] == tuple(values.shape[2:])
    last = ead.layers()[-1]
    assert np.allclose(acts.layers[last][:, 0], logits, atol=1e-5)
    assert acts.kinds[last] == "decoder"
    assert acts.kinds[ead.layers()[0]] == "encoder"
    assert acts.layers["input"].shape == (5, 10, 30 * 5 * 7)
    assert np.array_equal(acts.layers["input"].reshape(touch.shape), touch)
    assert acts.model == "tiny:inter_ln+none+mlp"
    assert acts.manifest.config["model_config"] == ead.config.to_tree()
    assert acts.manifest.inputs["weights"] == weights_digest(ead)


def test_a_layer_before_its_first_input_does_not_know_the_stimulus(ead, touch):
    acts = extract(ead, touch, stimuli=STIMULI)
    told = 0
    for name, first in acts.first_input_step.items():
        values = acts.layers[name]
        assert np.array_equal(
            values[:, :first], np.broadcast_to(values[:1, :first], values[:, :first].shape)
        )
        assert np.abs(values[:, first] - values[:1, first]).max() > 0
        told += first > 0
    assert told


def test_batches_do_not_count(ead, touch):
    exact = copy.deepcopy(ead).double()
    for net, tolerance in ((ead, 2e-6), (exact, 1e-7)):  # the second: what float32 can hold
        whole = extract(net, touch, stimuli=STIMULI)
        for size in (1, 2, 5):
            batches = extract(net, touch, stimuli=STIMULI, batch_size=size)
            assert batches.equals(whole, tolerance=tolerance)
        order = [3, 0, 4, 2, 1]
        moved = extract(net, touch[order], stimuli=[STIMULI[k] for k in order])
        assert moved.equals(whole, tolerance=tolerance)
    plain = nn.Sequential(nn.Tanh(), nn.MaxPool2d(2))
    adapter = ModuleAdapter(plain, {"1": "batch channel row column"})
    images = draws(5, 2, 6, 8)
    one, all_of_them = (
        extract(adapter, images, stimuli=STIMULI, batch_size=size) for size in (1, 5)
    )
    assert one.equals(all_of_them)  # each number by itself: not a bit differs


def test_steps_and_reductions(ead, touch):
    every = extract(ead, touch, stimuli=STIMULI, times_s=np.arange(1, 11) / 22)
    name = next(n for n in ead.layers() if every.first_input_step[n] == 3)
    values = every.layers[name].astype(float)
    some = extract(ead, touch, stimuli=STIMULI, steps=(1, 4, 9), times_s=np.arange(1, 11) / 22)
    assert np.array_equal(some.layers[name], every.layers[name][:, [1, 4, 9]])
    assert some.first_input_step[name] == 1
    assert some.times_s[name].tolist() == [2 / 22, 5 / 22, 10 / 22]
    last = ead.layers()[-1]
    assert np.array_equal(some.layers[last], every.layers[last])
    wanted = {
        "mean": values[:, 3:].mean(1), "last": values[:, -1], "max": values[:, 3:].max(1),
        "flatten": values[:, 3:].reshape(5, -1),
    }  # fmt: skip
    for word, value in wanted.items():
        found = extract(ead, touch, stimuli=STIMULI, reduce=word)  # pyright: ignore
        assert found.reduction == word
        assert found.first_input_step[name] == 0
        assert np.allclose(found.layers[name][:, 0], value, rtol=1e-6, atol=1e-7), word
        assert found.layers[name].shape[1] == 1
    reduced = extract(ead, touch, stimuli=STIMULI, reduce="mean").mean_over_time(name)
    assert np.allclose(reduced, every.mean_over_time(name), rtol=1e-6, atol=1e-7)


def test_to_a_file_as_it_goes(ead, touch, tmp_path):
    whole = extract(ead, touch, stimuli=STIMULI, batch_size=2)
    with extract(ead, touch, stimuli=STIMULI, batch_size=2, out=tmp_path / "a.h5") as file:
        assert file.load().equals(whole)
        assert file.manifest == whole.manifest
        assert file.run_digest == whole.run_digest
    assert Activations.load(tmp_path / "a.h5").kinds == whole.kinds


def test_inputs_may_be_anything_that_slices(ead, touch, tmp_path):
    h5py = pytest.importorskip("h5py")
    whole = extract(ead, touch, stimuli=STIMULI, layers=["fc8"])
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = touch
        lazily = extract(ead, file["x"], stimuli=STIMULI, layers=["fc8"], batch_size=2)
    assert lazily.equals(whole, tolerance=1e-6)
    assert extract(ead, torch.tensor(touch), stimuli=STIMULI, layers=["fc8"]).equals(whole)
    assert extract(ead, touch, stimuli=STIMULI, layers=["fc8", "input"]).equals(whole)
    alone = extract(ead, touch, stimuli=STIMULI, layers=["fc8"], include_input=False)
    assert alone.layer_names == ("fc8",)


def test_a_run_is_taken_by_its_model(ead, touch):
    class Run:
        model = ead

    assert extract(Run(), touch, stimuli=STIMULI).equals(extract(ead, touch, stimuli=STIMULI))


class Diverges(nn.Module):
    def __init__(self):
        super().__init__()
        self.good, self.bad = nn.Identity(), nn.Identity()

    def forward(self, x):
        return self.bad(torch.log(self.good(x)))


def test_what_is_not_finite_is_named():
    adapter = ModuleAdapter(Diverges(), dict.fromkeys(("good", "bad"), "batch unit"))
    x = np.ones((5, 4), np.float32)
    x[3, 1] = -1.0
    with pytest.raises(InputError, match=r"layer 'bad' = 's3': a value is not finite"):
        extract(adapter, x, stimuli=STIMULI)
    assert extract(adapter, x, stimuli=STIMULI, layers=["good"]).layer_names == ("input", "good")
    x[2, 0] = np.inf
    with pytest.raises(InputError, match="inputs of stimulus = 's2'"):
        extract(adapter, x, stimuli=STIMULI)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stimuli": STIMULI[:4]}, "inputs = 5: there are 4 names"),
        ({"stimuli": ["a"] * 5}, "stands twice"),
        ({"layers": ["fc9"]}, "did you mean 'fc8'"),
        ({"layers": []}, "there are none"),
        ({"steps": [3, 1]}, "not rising from 0"),
        ({"steps": [-1]}, "not rising from 0"),
        ({"steps": [10]}, "has 10; count from 0"),
        ({"steps": [0], "layers": ["conv3"]}, "nothing has reached layer 'conv3' before step 2"),
        ({"reduce": "avg"}, "reduce = 'avg'"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"device": "gpu"}, "device = 'gpu'"),
        ({"seed": -1}, "seed = -1"),
        ({"times_s": [1.0, 1.0]}, "not 2 rising times"),
        ({"metadata": {"x": [1]}}, "not 5 numbers"),
    ],
)
def test_bad_wishes_are_refused_in_one_sentence(ead, touch, changes, words):
    given = {"stimuli": STIMULI} | changes
    with pytest.raises(InputError) as told:
        extract(ead, touch, **given)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("network", "x", "words"),
    [
        (lambda e: e, draws(5, 9, 30, 5, 7), "takes (batch, 10, 30, 5, 7)"),
        (lambda e: e, draws(5), "not (stimulus, ...)"),
        (lambda e: nn.Linear(3, 2), draws(5, 3), "wrap it: ModuleAdapter"),
        (lambda e: "tiny:zhuang", draws(5, 3), "its layers cannot be recorded"),
        (
            lambda e: ModuleAdapter(nn.Sequential(nn.Linear(3, 2)), {"0": "batch unit"}),
            draws(5, 4), "the network fails on them",
        ),
    ],
)  # fmt: skip
def test_bad_networks_and_inputs_are_refused_in_one_sentence(ead, network, x, words):
    with pytest.raises(InputError) as told:
        extract(network(ead), x, stimuli=STIMULI)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle, self.pair = nn.Linear(3, 3), nn.Linear(3, 3), nn.LSTM(3, 3)

    def forward(self, x):
        out, _ = self.pair(self.used(x)[None])
        return self.used(out[0])


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"idle": "batch unit"}, "was not called"),
        ({"pair": "batch unit"}, "not the 2 axes that are declared"),
        ({"used": "time*batch unit"}, "was called several times"),
        ({"usde": "batch unit"}, "did you mean 'used'"),
        ({"pair": LayerTap(output=1, axes="time batch unit")}, "without such a tensor"),
        ({"pair": LayerTap(output="h", axes="time batch unit")}, "without such a tensor"),
        ({"pair": "batch time unit"}, "axis 0 should be the 5 stimuli"),
        ({}, "there are none"),
    ],
)
def test_wrong_declarations_are_refused(layers, words):
    with pytest.raises(InputError) as told:
        extract(ModuleAdapter(Odd(), layers), draws(5, 3), stimuli=STIMULI)
    assert words in str(told.value)


def test_the_digest_of_weights_tells_networks_apart(ead):
    same = build("tiny:inter_ln+none+mlp", n_classes=4, seed=0, input_shape=SHAPE)
    other = build("tiny:inter_ln+none+mlp", n_classes=4, seed=1, input_shape=SHAPE)
    assert weights_digest(same) == weights_digest(ead)
    assert weights_digest(other) != weights_digest(ead)


def test_half_precision_networks_are_fed_in_kind():
    net = nn.Sequential(nn.Linear(6, 4)).double()
    acts = extract(ModuleAdapter(net, {"0": "batch unit"}), draws(5, 6), stimuli=STIMULI)
    assert acts.layers["0"].shape == (5, 1, 4)


@pytest.mark.cuda
def test_on_a_gpu(ead, touch):
    here = extract(ead, touch, stimuli=STIMULI)
    there = extract(ead, touch, stimuli=STIMULI, device="cuda")
    assert next(ead.parameters()).device.type == "cpu"
    assert here.equals(there, tolerance=1e-5)
    again = extract(ead, touch, stimuli=STIMULI, device="cuda")
    assert there.equals(again)
