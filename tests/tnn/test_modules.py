"""Memory modules against torch's own layers, their shapes by formula, and their refusals."""

import math
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vibrissa.core.config import from_tree
from vibrissa.core.errors import InputError
from vibrissa.tnn.modules import (
    INITIALISERS,
    Activation,
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dropout,
    Full,
    Identity,
    Init,
    MaxPool,
    ResidualAdd,
    Sequence,
    activations,
    memory_modules,
)

SHAPE = (4, 5, 6)
EXAMPLES = {
    "activation": Activation(name="elu"),
    "adaptive_avg_pool": AdaptiveAvgPool(size=(2, 3), flatten=True),
    "batch_norm": BatchNorm(),
    "conv": Conv(channels=3, kernel=2, padding="same", activation="relu"),
    "dropout": Dropout(rate=0.3),
    "full": Full(units=7, activation="tanh"),
    "identity": Identity(),
    "max_pool": MaxPool(kernel=2),
    "residual_add": ResidualAdd(forward=Conv(channels=4, padding=1), activation="relu"),
    "sequence": Sequence(modules=(MaxPool(kernel=2), Full(units=2))),
}


def made(config, *args, **kwargs) -> Any:
    return config.build(*args, **kwargs)


def example(name) -> Any:
    return EXAMPLES[name].build(SHAPE, residual=SHAPE)


def frame(batch=3, shape=SHAPE, dtype=torch.float32):
    return torch.randn(batch, *shape, dtype=dtype)


def close(found, right, atol=1e-12):
    torch.testing.assert_close(found, right, rtol=0, atol=atol)


def test_every_registered_module_has_an_example_here():
    assert set(EXAMPLES) == set(memory_modules.names())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_shapes_and_types(name, training, dtype):
    module = example(name).to(dtype).train(training)
    x = frame(dtype=dtype)
    y = module(x, residual=x, t=0)
    assert tuple(y.shape) == (3, *module.out_shape)
    assert module.out_shape == EXAMPLES[name].output_shape(SHAPE, residual=SHAPE)
    assert y.dtype == dtype
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("name", EXAMPLES)
def test_samples_do_not_mix_where_steps_may_fold(name):
    module = example(name).double()
    x = frame(4, dtype=torch.float64)
    for training in (True, False):
        module.train(training)
        assert module.foldable or not EXAMPLES[name].foldable
        if not module.foldable:
            assert training
            continue
        whole = module(x, residual=x, t=0)
        for n in range(4):
            one = x[n : n + 1]
            close(whole[n : n + 1], module(one, residual=one, t=n))


def test_what_may_fold():
    for config in (BatchNorm(), Dropout(), Conv(channels=2, batch_norm=BatchNorm()),
                   Full(units=2, dropout=Dropout()), Sequence(modules=(Identity(), Dropout())),
                   ResidualAdd(forward=Identity(), residual=BatchNorm())):  # fmt: skip
        module = config.build(SHAPE, residual=SHAPE)
        assert not config.foldable
        assert not module.foldable
        assert module.eval().foldable
    assert Conv(channels=2, dropout=Dropout(rate=0.0)).foldable
    assert not BatchNorm(per_step=True).build(SHAPE).eval().foldable


# --- convolution ---------------------------------------------------------------------------------


sizes = st.integers(1, 9)
small = st.integers(1, 4)


@settings(max_examples=80, deadline=None)
@given(h=sizes, w=sizes, kernel=st.tuples(small, small), stride=st.tuples(small, small),
       padding=st.tuples(st.integers(0, 3), st.integers(0, 3)), dilation=st.tuples(small, small),
       groups=st.sampled_from([1, 2]))  # fmt: skip
def test_conv_is_torchs_conv(h, w, kernel, stride, padding, dilation, groups):
    config = Conv(
        channels=4, kernel=kernel, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    torch.manual_seed(3)
    peer = nn.Conv2d(2, 4, kernel, stride, padding, dilation, groups)
    x = frame(2, (2, h, w))
    try:
        right = peer(x)
    except RuntimeError:
        with pytest.raises(InputError, match="larger than the input"):
            config.build((2, h, w))
        return
    torch.manual_seed(3)
    module = config.build((2, h, w))
    assert module.out_shape == tuple(right.shape[1:])
    assert torch.equal(module.weight, peer.weight)
    close(module(x), right, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(h=sizes, w=sizes, kernel=st.tuples(small, small), dilation=st.tuples(small, small))
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_same_conv_is_torchs_same_conv(h, w, kernel, dilation):
    torch.manual_seed(3)
    module = Conv(channels=2, kernel=kernel, padding="same", dilation=dilation).build((3, h, w))
    x = frame(2, (3, h, w))
    right = F.conv2d(x, module.weight, module.bias, padding="same", dilation=dilation)
    assert module.out_shape == (2, h, w) == tuple(right.shape[1:])
    close(module(x), right, atol=1e-6)


def test_an_even_same_kernel_reads_below_and_to_the_right():
    module = Conv(channels=1, kernel=2, padding="same", bias=0.0).build((1, 2, 2))
    module.load_state_dict(
        {"weight": torch.tensor([[[[1.0, 10], [100, 1000]]]]), "bias": torch.zeros(1)}
    )
    y = module(torch.tensor([[[[1.0, 2], [3, 4]]]]))
    assert y[0, 0].tolist() == [[1 + 20 + 300 + 4000, 2 + 400], [3 + 40, 4]]


def test_conv_goes_drop_conv_norm_activation():
    config = Conv(
        channels=3, kernel=2, dropout=Dropout(rate=0.5), batch_norm=BatchNorm(), activation="relu",
        padding="valid",
    )  # fmt: skip
    module = made(config, SHAPE).double()
    norm = nn.BatchNorm2d(3).double()
    for parameter, other in zip(module.batch_norm.parameters(), norm.parameters(), strict=True):
        nn.init.uniform_(parameter, 0.5, 1.5)
        other.data = parameter.detach().clone()
    x = frame(dtype=torch.float64)
    for t in range(3):
        torch.manual_seed(t)
        y = module(x, t=t)
        torch.manual_seed(t)
        right = F.relu(norm(F.conv2d(F.dropout(x, 0.5), module.weight, module.bias)))
        close(y, right)
    norm.eval()
    right = F.relu(norm(F.conv2d(x, module.weight, module.bias)))
    close(module.eval()(x), right)


def test_full_goes_flat_drop_product_norm_activation():
    config = Full(units=3, dropout=Dropout(rate=0.5), batch_norm=BatchNorm(), activation="elu")
    torch.manual_seed(1)
    module = made(config, SHAPE).double()
    torch.manual_seed(1)
    peer = nn.Linear(math.prod(SHAPE), 3)
    assert torch.equal(module.weight, peer.weight.double())
    assert torch.equal(module.bias, peer.bias.double())
    norm = nn.BatchNorm1d(3).double()
    x = frame(dtype=torch.float64)
    torch.manual_seed(5)
    y = module(x)
    torch.manual_seed(5)
    channel_major = torch.stack(
        [x[:, c, row, column] for c in range(4) for row in range(5) for column in range(6)], dim=1
    )
    right = F.elu(norm(F.linear(F.dropout(channel_major, 0.5), module.weight, module.bias)))
    close(y, right)


def test_starts_of_weights_and_biases():
    module = made(Conv(channels=4, bias=0.1, init=Init(name="zeros")), SHAPE)
    assert torch.equal(module.weight, torch.zeros(4, 4, 3, 3))
    assert torch.equal(module.bias, torch.full((4,), 0.1))
    assert Conv(channels=4, use_bias=False).build(SHAPE).bias is None
    assert set(Full(units=2, use_bias=False).build(SHAPE).state_dict()) == {"weight"}
    init = Init(name="trunc_normal", options={"std": 0.01})
    weight = Full(units=300, init=init, bias=0.1).build(SHAPE).weight.detach()
    assert float(weight.std()) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers_are_torchs(name):
    options = {"constant": {"val": 0.3}}.get(name, {})
    torch.manual_seed(2)
    weight = Conv(channels=4, init=Init(name=name, options=options)).build(SHAPE).weight
    torch.manual_seed(2)
    right = getattr(nn.init, f"{name}_")(torch.empty(4, 4, 3, 3), **options)
    assert torch.equal(weight, right)


def test_multiply_adds():
    assert Conv(channels=8, kernel=2, stride=2).build(SHAPE).multiply_adds == 8 * 4 * 4 * 2 * 3
    assert Conv(channels=8, groups=4, padding=1).build(SHAPE).multiply_adds == 8 * 9 * 5 * 6
    assert Full(units=7).build(SHAPE).multiply_adds == 7 * 120
    config = Sequence(modules=(Conv(channels=4, padding=1), Full(units=2)))
    assert config.build(SHAPE).multiply_adds == 16 * 9 * 30 + 240
    assert ResidualAdd(forward=Conv(channels=4, padding=1)).build(
        SHAPE, residual=SHAPE
    ).multiply_adds == 16 * 9 * 30  # fmt: skip


# --- pooling and activation -----------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(h=sizes, w=sizes, kernel=st.tuples(small, small),
       stride=st.none() | st.tuples(small, small),
       padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
       dilation=st.integers(1, 2), ceil=st.booleans())  # fmt: skip
@hypothesis.example(1, 1, (2, 2), (2, 2), (1, 1), 1, True)  # the last window would begin outside
def test_max_pool_is_torchs(h, w, kernel, stride, padding, dilation, ceil):
    x = frame(2, (2, h, w))
    options = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    if any(zeros > size / 2 for zeros, size in zip(padding, kernel, strict=True)):
        with pytest.raises(InputError, match="more than half the kernel"):
            MaxPool(**options)
        with pytest.raises(RuntimeError, match="half of"):
            F.max_pool2d(torch.randn(1, 1, 99, 99), kernel, stride, padding, dilation, ceil)
        return
    config = MaxPool(**options, ceil=ceil)
    try:
        right = F.max_pool2d(x, kernel, stride, padding, dilation, ceil)
    except RuntimeError:
        with pytest.raises(InputError, match="larger than the input"):
            config.build((2, h, w))
        return
    module = config.build((2, h, w))
    assert module.out_shape == tuple(right.shape[1:])
    assert torch.equal(module(x), right)


@settings(max_examples=40, deadline=None)
@given(h=sizes, w=sizes, size=st.tuples(small, small), flatten=st.booleans())
def test_adaptive_average_pool_is_torchs(h, w, size, flatten):
    x = frame(2, (2, h, w))
    module = AdaptiveAvgPool(size=size, flatten=flatten).build((2, h, w))
    right = F.adaptive_avg_pool2d(x, size)
    right = right.flatten(1) if flatten else right
    assert module.out_shape == tuple(right.shape[1:])
    assert torch.equal(module(x), right)


def test_adaptive_average_pool_follows_its_formula():
    x = frame(1, (1, 5, 7), dtype=torch.float64)
    y = AdaptiveAvgPool(size=(2, 3)).build((1, 5, 7))(x)
    for i in range(2):
        for j in range(3):
            rows = slice(i * 5 // 2, -(-(i + 1) * 5 // 2))
            columns = slice(j * 7 // 3, -(-(j + 1) * 7 // 3))
            close(y[0, 0, i, j], x[0, 0, rows, columns].mean())


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("elu", nn.ELU()),
        ("gelu", nn.GELU()),
        ("gelu_tanh", nn.GELU("tanh")),
        ("identity", nn.Identity()),
        ("leaky_relu", nn.LeakyReLU()),
        ("relu", nn.ReLU()),
        ("sigmoid", nn.Sigmoid()),
        ("silu", nn.SiLU()),
        ("softplus", nn.Softplus()),
        ("tanh", nn.Tanh()),
    ],
)
def test_activations_are_torchs(name, right):
    x = frame()
    assert torch.equal(Activation(name=name).build(SHAPE)(x), right(x))
    assert name in activations.names()


# --- residual and sequence ------------------------------------------------------------------------


def test_residual_add():
    x, harbor = frame(dtype=torch.float64), frame(shape=(2, 5, 6), dtype=torch.float64)
    config = ResidualAdd(
        forward=Conv(channels=3, padding="same"), residual=Conv(channels=3, kernel=1),
        activation="relu",
    )  # fmt: skip
    assert config.uses_residual
    module = made(config, SHAPE, residual=(2, 5, 6)).double()
    main, beside = module.main, module.beside
    right = F.relu(
        F.conv2d(x, main.weight, main.bias, padding=1)
        + F.conv2d(harbor, beside.weight, beside.bias)
    )
    close(module(x, residual=harbor), right)
    plain = ResidualAdd(forward=Identity()).build(SHAPE, residual=SHAPE)
    assert torch.equal(plain(x, residual=2 * x), x + 2 * x)


def test_sequence_hands_on_residual_and_step():
    config = Sequence(
        modules=(
            Activation(name="relu"),
            ResidualAdd(forward=Identity()),
            BatchNorm(per_step=True),
            MaxPool(kernel=2),
            Full(units=3),
        )
    )
    assert config.uses_residual
    assert not Sequence(modules=(Identity(),)).uses_residual
    module = made(config, SHAPE, residual=SHAPE).double()
    assert module.out_shape == (3,)
    norms = [nn.BatchNorm2d(4).double() for _ in range(3)]
    for t in range(3):
        x, residual = frame(dtype=torch.float64), frame(dtype=torch.float64)
        pooled = F.max_pool2d(norms[t](x.relu() + residual), 2)
        right = F.linear(pooled.flatten(1), module.parts[4].weight, module.parts[4].bias)
        close(module(x, residual=residual, t=t), right)
    keys = {key.split(".")[1] for key in module.state_dict()}
    assert keys == {"2", "4"}


# --- batch norm ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_batch_norm_is_torchs(vector, momentum):
    shape = SHAPE[:1] if vector else SHAPE
    kind = nn.BatchNorm1d if vector else nn.BatchNorm2d
    module, peer = BatchNorm(momentum=momentum).build(shape), kind(4, momentum=momentum)
    for t in range(4):
        x = 2 * frame(5, shape) + 1
        close(module(x, t=t), peer(x), atol=1e-6)
    x = frame(5, shape)
    close(module.eval()(x, t=99), peer.eval()(x), atol=1e-6)
    close(module.running_mean[0], peer.running_mean, atol=1e-6)
    close(module.running_var[0], peer.running_var, atol=1e-6)
    assert int(module.num_batches_tracked) == 4


def train_per_step(config, steps=4, passes=3):
    """A trained module and torch's own layers, one per step, trained on the same frames."""
    module = made(config, SHAPE).double()
    peers = [nn.BatchNorm2d(4).double() for _ in range(steps)]
    for _ in range(passes):
        for t in range(steps):
            x = (t + 1) * frame(5, dtype=torch.float64) + t
            close(module(x, t=t), peers[t](x))
    return module.eval(), [peer.eval() for peer in peers]


@pytest.mark.parametrize("steps", [None, 4])
def test_statistics_per_step_are_those_of_one_layer_per_step(steps):
    module, peers = train_per_step(BatchNorm(per_step=True, steps=steps))
    x = frame(2, dtype=torch.float64)
    for t, peer in enumerate(peers):
        close(module(x, t=t), peer(x))
        close(module.running_var[t], peer.running_var)
    assert module.num_batches_tracked.tolist() == [3] * 4
    for t in (4, 5, 100):  # longer sequences use the last
        close(module(x, t=t), peers[-1](x))
    parameters = sum(p.numel() for p in module.parameters())
    assert parameters == (8 if steps is None else 4 * 8)


def test_the_number_of_steps_grows_and_travels(tmp_path):
    module, peers = train_per_step(BatchNorm(per_step=True))
    torch.save(module.state_dict(), tmp_path / "norm.pt")
    fresh = BatchNorm(per_step=True).build(SHAPE).double().eval()
    x = frame(2, dtype=torch.float64)
    close(fresh(x, t=2), x / math.sqrt(1 + 1e-5))  # nothing trained yet
    fresh.load_state_dict(torch.load(tmp_path / "norm.pt", weights_only=True))
    for t in range(6):
        assert torch.equal(fresh(x, t=t), module(x, t=t))
    fresh.train()
    fresh(x, t=5)  # goes on growing
    fresh.eval()
    close(fresh(x, t=4), peers[3](x))  # never trained: the last one before it
    assert fresh.num_batches_tracked.tolist() == [3, 3, 3, 3, 0, 1]
    shorter = BatchNorm(per_step=True).build(SHAPE).double()
    for t in range(9):
        shorter(x, t=t)
    shorter.load_state_dict(module.state_dict())
    assert len(shorter.running_mean) == 4


def test_steps_trained_late_alone_serve_earlier_ones():
    module = BatchNorm(per_step=True).build(SHAPE).double()
    module(3 + frame(5, dtype=torch.float64), t=3)
    module.eval()
    x = frame(2, dtype=torch.float64)
    assert torch.equal(module(x, t=0), module(x, t=3))


def test_affine_parameters_of_each_step_are_its_own():
    module = made(BatchNorm(per_step=True, steps=2), (3,)).double()
    nn.init.normal_(module.weight)
    nn.init.normal_(module.bias)
    x = frame(6, (3,), dtype=torch.float64)
    for t in (0, 1, 7):
        row = min(t, 1)
        close(
            module(x, t=t), F.batch_norm(x, None, None, module.weight[row], module.bias[row], True)
        )
    assert not list(BatchNorm(affine=False).build((3,)).parameters())


def test_gradients_pass_through_all_steps():
    """The same module at several steps, and one backward pass through all of them."""
    for config in (BatchNorm(), BatchNorm(per_step=True), BatchNorm(per_step=True, steps=2)):
        module = config.build((2,)).double()
        x = frame(4, (2,), dtype=torch.float64).requires_grad_()

        def run(x, module=module):
            for t in range(3):
                x = torch.tanh(module(x, t=t)) + x
            return x

        assert torch.autograd.gradcheck(run, (x,))


# --- dropout -------------------------------------------------------------------------------------


def test_dropout_is_torchs():
    x = frame()
    module = Dropout(rate=0.4).build(SHAPE)
    torch.manual_seed(9)
    y = module(x, t=0)
    torch.manual_seed(9)
    assert torch.equal(y, F.dropout(x, 0.4))
    assert not torch.equal(module(x, t=1), y)
    assert torch.equal(module.eval()(x, t=0), x)


def test_a_shared_mask_lasts_one_sequence():
    module = Dropout(rate=0.4, shared_over_time=True).build((1000,))
    x = torch.ones(8, 1000)
    first = module(x, t=0)
    assert set(first.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.6)}
    assert float((first == 0).double().mean()) == pytest.approx(0.4, abs=0.02)  # 8000 draws
    for t in (1, 5):
        assert torch.equal(module(x, t=t), first)
        assert torch.equal(module(3 * x, t=t), 3 * first)
    module.reset()
    assert not torch.equal(module(x, t=0), first)
    assert not torch.equal(module(x), module(x))  # without a step: a sequence of its own
    with pytest.raises(InputError, match="call reset.. before each new sequence"):
        module(x[:3], t=1)
    assert not module.state_dict()


def test_reset_reaches_modules_inside():
    shared = Dropout(shared_over_time=True)
    config = Sequence(modules=(ResidualAdd(forward=shared), Full(units=60, dropout=shared)))
    module = config.build((64,), residual=(64,))
    x = torch.ones(2, 64)
    first = module(x, residual=x, t=0)
    assert torch.equal(module(x, residual=x, t=1), first)
    module.reset()
    assert not torch.equal(module(x, residual=x, t=0), first)


# --- refusals ------------------------------------------------------------------------------------


def refused(text, call, *args, **kwargs):
    with pytest.raises(InputError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert text in message
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        (Conv, {"channels": 0}, "channels = 0"),
        (Conv, {"channels": 2, "kernel": 0}, "kernel = 0"),
        (Conv, {"channels": 2, "kernel": (1, 2, 3)}, "kernel = (1, 2, 3)"),
        (Conv, {"channels": 2, "padding": "SAME"}, "choose same, valid or a number"),
        (Conv, {"channels": 2, "padding": -1}, "padding = -1"),
        (Conv, {"channels": 2, "padding": "same", "stride": 2}, "stride 1"),
        (Conv, {"channels": 3, "groups": 2}, "choose a divisor"),
        (Conv, {"channels": 3, "activation": "ReLU"}, "did you mean 'relu'"),
        (Conv, {"channels": 3, "use_bias": False, "bias": 0.0}, "use_bias is off"),
        (Full, {"units": 1.5}, "units = 1.5"),
        (Full, {"units": 2, "activation": "relo"}, "did you mean 'relu'"),
        (MaxPool, {"kernel": 2, "padding": 2}, "more than half the kernel"),
        (AdaptiveAvgPool, {"size": 0}, "size = 0"),
        (Activation, {"name": "swisch"}, "no such name"),
        (Dropout, {"rate": 1.0}, "rate = 1.0"),
        (BatchNorm, {"steps": 3}, "per_step is off"),
        (BatchNorm, {"momentum": 2.0}, "momentum = 2.0"),
        (BatchNorm, {"eps": 0.0}, "eps = 0.0"),
        (Sequence, {"modules": ()}, "give at least one"),
        (Init, {"name": "xavier"}, "did you mean 'xavier_"),
        (Init, {"name": "normal", "options": {"sd": 1.0}}, "did you mean 'std'"),
        (Init, {"name": "normal", "options": {"std": None}}, "not a number or a name"),
        (Init, {"name": "constant"}, "val is missing"),
    ],
)
def test_bad_options_are_refused(kind, options, text):
    refused(text, kind, **options)


@pytest.mark.parametrize("name", EXAMPLES)
def test_misspelt_options_are_refused(name):
    refused("'atcivation' is no entry here", from_tree, memory_modules.get(name), {"atcivation": 1})
    refused("no such name; did you mean 'max_pool'", memory_modules.get, "maxpool")


@pytest.mark.parametrize("name", EXAMPLES)
def test_bad_shapes_are_refused(name):
    for shape in ((2, 3), (0, 3, 3), 4):
        refused("not a shape without the batch", EXAMPLES[name].build, shape, residual=SHAPE)
    module, x = example(name), frame()
    for wrong in (x[:, :3], x[0], x[:, :, 1:]):
        refused("the input has shape", module, wrong, residual=x, t=0)


def test_inputs_that_do_not_suit():
    refused("it works on maps, this is a vector", Conv(channels=2).build, (4,))
    refused("it works on maps, this is a vector", MaxPool().build, (4,))
    refused("it works on maps, this is a vector", AdaptiveAvgPool().build, (4,))
    refused("kernel (9, 9)", Conv(channels=2, kernel=9).build, SHAPE)
    refused("window (9, 9)", MaxPool(kernel=9).build, SHAPE)
    refused("the input's 4 channels", Conv(channels=6, groups=3).build, SHAPE)
    add = ResidualAdd(forward=Conv(channels=3))
    refused("no residual is offered", add.build, SHAPE)
    refused("F gives (3, 3, 4) from (4, 5, 6), R gives (4, 5, 6)", add.build, SHAPE, residual=SHAPE)
    x = frame()
    refused("pass residual=", example("residual_add"), x)
    refused("give the step", BatchNorm(per_step=True).build(SHAPE), x)
    refused("no variance", BatchNorm().build((4,)), frame(1, (4,)))


def test_configurations_are_left_as_they_were():
    options = {"std": 0.5}
    init = Init(name="normal", options=options)
    options["std"] = 9.0
    assert init.options == {"std": 0.5}
    assert hash(init) == hash(Init(name="normal", options={"std": 0.5}))
    for config in EXAMPLES.values():
        before = replace(config)
        state = torch.get_rng_state()
        config.output_shape(SHAPE, residual=SHAPE)
        assert torch.equal(state, torch.get_rng_state())
        config.build(SHAPE, residual=SHAPE)
        assert config == before
