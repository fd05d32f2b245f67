"""ResNet-18: cut kernels are exact, and the network is the ordinary one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vibrissa.models.encoder.resnet import Convolution, ResNet18


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3), (3, 4), (5, 7), (9, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)])
def test_cut_kernels_give_the_same(size, kernel, stride):
    torch.manual_seed(0)
    conv = Convolution((3, 4), size, kernel, stride).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    y = conv(x)
    wanted = F.conv2d(x, conv.weight, stride=stride, padding=kernel // 2)
    assert y.shape[2:] == conv.out_size
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-12)
    weights = torch.randn_like(y)
    parameters = (x, conv.weight)
    for a, b in zip(
        torch.autograd.grad((y * weights).sum(), parameters),
        torch.autograd.grad((wanted * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def ordinary(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """ResNet-18 in evaluation, from its weights, by table 1 of the paper."""

    def conv(x: Tensor, name: str, stride: int, norm: str) -> Tensor:
        weight = state[f"{name}.weight"]
        y = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        n = {
            key: state[f"{norm}.{key}"] for key in ("weight", "bias", "running_mean", "running_var")
        }
        return F.batch_norm(y, n["running_mean"], n["running_var"], n["weight"], n["bias"])

    x = F.max_pool2d(torch.relu(conv(x, "conv1", 2, "bn1")), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = torch.relu(conv(x, f"{name}.conv1", stride, f"{name}.bn1"))
            y = conv(y, f"{name}.conv2", 1, f"{name}.bn2")
            if stride == 2:
                x = conv(x, f"{name}.downsample.0", 2, f"{name}.downsample.1")
            x = torch.relu(y + x)
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def test_it_is_the_ordinary_network():
    torch.manual_seed(0)
    encoder = ResNet18(channels=8, width=12).build((4, 30, 5, 7)).double()
    x = torch.randn(3, 4, 30, 5, 7, dtype=torch.float64)
    for _ in range(3):
        encoder(x)  # moves the running statistics
    encoder.eval()
    wanted = ordinary(x.flatten(0, 1), dict(encoder.state_dict())).unflatten(0, (3, 4))
    torch.testing.assert_close(encoder(x), wanted, rtol=0, atol=1e-11)
    torch.testing.assert_close(encoder(x, steps=(3,)), wanted[:, 3:], rtol=0, atol=1e-11)


def test_initialisation():
    torch.manual_seed(0)
    encoder = ResNet18().build((22, 30, 5, 7))
    conv = encoder.get_submodule("layer3.1.conv1")
    assert isinstance(conv, nn.Conv2d)
    # Kaiming, fan out: sqrt(2 / (9 x 256)).
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)


def test_training_statistics_take_every_step():
    torch.manual_seed(0)
    encoder = ResNet18(channels=4, width=8).build((4, 6, 5, 7)).train()
    x = torch.randn(3, 4, 6, 5, 7)
    every = encoder(x)
    torch.testing.assert_close(encoder(x, steps=(1,)), every[:, 1:2])
