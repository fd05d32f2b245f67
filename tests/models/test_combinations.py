"""Every encoder with every attender and decoder: shapes, gradients, independence of samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vibrissa.models import EAD, attenders, build, decoders, encoders

SHAPE = (6, 6, 5, 7)  # six steps: one more than the input takes to every layer of a ConvRNN
N_CLASSES = 3
READ_OUTS = (*decoders.names(), "linear@all", "mlp@2,4")


def model_of(name: str, **options: object) -> EAD:
    return build(f"tiny:{name}", n_classes=N_CLASSES, input_shape=SHAPE, seed=0, **options)  # type: ignore[arg-type]


def inputs(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("attender", attenders.names())
@pytest.mark.parametrize("encoder", encoders.names())
def test_every_combination(encoder, attender):
    x = inputs(3)
    for decoder in decoders.names():
        model = model_of(f"{encoder}+{attender}+{decoder}")
        y = model(x)
        assert y.shape == (3, model.n_features if decoder == "none" else N_CLASSES)
        (y * torch.arange(1.0, y.shape[1] + 1)).sum().backward()
        for name, p in model.named_parameters():
            if p.grad is not None:
                assert torch.isfinite(p.grad).all(), name
        trained = [p for p in model.parameters() if p.grad is not None and p.grad.any()]
        assert len(trained) > len(list(model.parameters())) // 2
        if decoder != "linear":
            continue  # the others read the same features
        model.eval()
        with torch.no_grad():
            whole = model(x)
            torch.testing.assert_close(whole, model.decode(model.features(x)))
            for k in range(3):
                torch.testing.assert_close(model(x[k : k + 1])[0], whole[k], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("decoder", READ_OUTS)
@pytest.mark.parametrize("attender", attenders.names())
def test_what_is_not_read_is_left_out_exactly(attender, decoder):
    model = model_of(f"zhuang+{attender}+{decoder}").double().eval()
    x = inputs(2).double().requires_grad_()
    short = model(x)
    long = model.decode(model.features(x))
    torch.testing.assert_close(short, long, rtol=1e-10, atol=1e-12)
    weights = torch.randn_like(short)
    parameters = [x, *model.parameters()]
    for a, b in zip(
        torch.autograd.grad((short * weights).sum(), parameters, allow_unused=True),
        torch.autograd.grad((long * weights).sum(), parameters, allow_unused=True),
        strict=True,
    ):
        a = torch.zeros(()) if a is None else a
        b = torch.zeros(()) if b is None else b
        torch.testing.assert_close(a.broadcast_to(b.shape), b.double(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [*encoders.names(), *(f"flatten+{a}" for a in attenders.names())])
def test_causal_where_it_says_so(name):
    model = model_of(f"{name}+none" if "+" not in name else name).eval()
    assert model.encoder.causal
    assert model.attender.causal
    x = inputs(2)
    moved = x.clone()
    moved[:, 4:] = 5 * inputs(2, seed=1)[:, 4:]
    with torch.no_grad():
        a, b = model.features(x), model.features(moved)
    torch.testing.assert_close(a[:, :4], b[:, :4], atol=1e-6, rtol=1e-5)


def test_attention_can_look_ahead():
    from vibrissa.models import EADConfig
    from vibrissa.models.attender import SelfAttention
    from vibrissa.models.encoder import Flatten

    config = EADConfig(
        encoder=Flatten(width=8),
        attender=SelfAttention(n_layers=1, n_heads=2, dropout=0, causal=False),
    )
    model = build(config, n_classes=2, input_shape=SHAPE, seed=0).eval()
    assert not model.attender.causal
    x = inputs(2)
    moved = x.clone()
    moved[:, 5] += 1
    assert not torch.allclose(model.features(x)[:, 0], model.features(moved)[:, 0])
    torch.testing.assert_close(model.features(x, steps=(1, 3)), model.features(x)[:, [1, 3]])


@pytest.mark.parametrize("name", [*encoders.names(), *(f"flatten+{a}" for a in attenders.names())])
def test_layers(name):
    model = model_of((name if "+" in name else f"{name}+none") + "+mlp").eval()
    x = inputs(2)
    with torch.no_grad():
        found = model.record(x)
        y = model(x)
    assert tuple(found) == model.layers()
    for layer, values in found.items():
        steps = 1 if layer.startswith("mlp") else SHAPE[0]
        assert values.shape[:2] == (2, steps), layer
        assert values.dtype == x.dtype
    torch.testing.assert_close(found["mlp.l2"][:, 0], y)
    last = model.layers()[0]
    some = model.record(x, [last])
    assert list(some) == [last]
    torch.testing.assert_close(some[last], found[last])


@pytest.mark.parametrize("name", ["zhuang+gpt", "inter_ln+mamba", "resnet+s4", "lstm+none"])
def test_first_input_step_is_where_gradients_begin(name):
    model = model_of(f"{name}+linear").double().eval()
    x = inputs(1).double().requires_grad_()
    for layer, values in model.record(x).items():
        if layer == "linear":
            assert model.first_input_step(layer) == 0
            continue
        seen = []
        for t in range(SHAPE[0]):
            (gradient,) = torch.autograd.grad(
                (values[:, t] * torch.randn_like(values[:, t])).sum(), x, retain_graph=True,
                allow_unused=True,
            )  # fmt: skip
            seen.append(gradient is not None and bool(gradient.any()))
        first = model.first_input_step(layer)
        assert seen == [t >= first for t in range(SHAPE[0])], layer


@pytest.mark.parametrize("name", ["inter_ln+gpt", "s4+mamba", "resnet+s4", "mamba+self_attention"])
def test_checkpoints_change_nothing(name):
    from dataclasses import replace

    from vibrissa.models import config_of

    config = config_of(f"tiny:{name}+linear")
    gradients = []
    for checkpoint in (False, True):
        model = build(
            replace(config, checkpoint=checkpoint), n_classes=3, input_shape=SHAPE, seed=0
        ).double()
        model(inputs(3).double()).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["inter_ln+gpt", "s4+mamba", "resnet+s4", "flatten+self_attention"]
)
def test_bfloat16_is_near(name):
    from dataclasses import replace

    from vibrissa.models import config_of

    config = config_of(f"tiny:{name}+mlp")
    x = inputs(4)
    full, low = (
        build(replace(config, precision=p), n_classes=3, input_shape=SHAPE, seed=0)  # type: ignore[arg-type]
        for p in ("float32", "bfloat16")
    )
    assert low(x).dtype == torch.float32
    for model in (full, low):
        model.train()
    a, b = full.features(x), low.features(x)
    assert b.dtype == torch.float32
    near = 0.1 if "resnet" in name else 0.03  # batch norm of small batches enlarges it
    assert 0 < float((a - b).detach().norm() / a.detach().norm()) < near
    low(x).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in low.parameters() if p.grad is not None)
    # The same under the automatic mixed precision of a training loop.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        c = full.features(x)
    assert float((a - c).detach().norm() / a.detach().norm()) < near


@pytest.mark.parametrize("name", [n for n in encoders.names() if n not in ("s4", "s4d", "mamba")])
def test_multiply_adds_of_encoders_are_those_that_torch_counts(name):
    from torch.utils.flop_counter import FlopCounterMode

    encoder = model_of(f"{name}+none").eval().encoder
    graph = getattr(encoder, "graph", None)
    x = inputs(1)
    if name == "resnet":
        whole: Any
        for whole in encoder.modules():
            if hasattr(whole, "_rows"):  # count the whole kernels
                whole.forward = lambda x, m=whole: F.conv2d(
                    x, m.weight, stride=m.stride, padding=m.padding
                )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(x) if graph is None else graph(x, schedule="stepwise")  # the fast one leaves out
    assert 2 * (encoder.multiply_adds or 0) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_multiply_adds_of_transformers_are_those_that_torch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from vibrissa.models.blocks.transformer import Stack

    stack = Stack(2, 16, 2, 0.0, causal=False).eval()
    x = torch.randn(1, 10, 16)
    with (
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
    ):
        stack.run(x, queries=None, keep=False, checkpointed=False)
    assert 2 * stack.multiply_adds(10, 16) == counter.get_total_flops()
