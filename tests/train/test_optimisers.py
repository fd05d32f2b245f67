"""Optimisers against torch's own, and LARS against arithmetic in double precision."""

import numpy as np
import pytest
import torch
from torch import nn

from vibrissa.core.errors import InputError
from vibrissa.train.lars import LARS
from vibrissa.train.optimisers import SGD, Adam, AdamW, Lars, optimisers, split_parameters


def network(dtype=torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).to(dtype)


def descend(module: nn.Module, optimiser, steps=5):
    draws = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(6, 5, generator=draws, dtype=torch.float64)
        optimiser.zero_grad()
        module.forward(x).square().sum().backward()
        optimiser.step()
    return [p.detach().clone() for p in module.parameters()]


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (SGD(lr=0.02), lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, weight_decay=1e-4)),
        (
            SGD(lr=0.02, nesterov=True, weight_decay=0.0),
            lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True),
        ),
        (Adam(lr=0.01), lambda p: torch.optim.Adam(p, 0.01, weight_decay=1e-4)),
        (
            AdamW(lr=0.01, beta2=0.95),
            lambda p: torch.optim.AdamW(p, 0.01, betas=(0.9, 0.95), weight_decay=1e-4),
        ),
    ],
)
def test_equal_torch(config, reference):
    mine, other = network(), network()
    found = descend(mine, config.build([mine]))
    wanted = descend(other, reference(other.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_without_decay_biases_and_norms_keep_their_length():
    module = network()
    groups = AdamW(weight_decay=0.1, decay_all=False).build([module]).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {id(p) for p in groups[0]["params"]} == {id(module[0].weight), id(module[3].weight)}
    assert len(groups[1]["params"]) == 4


def test_split_parameters_counts_shared_ones_once_and_frozen_ones_never():
    module = network()
    module[3].requires_grad_(False)
    weights, others = split_parameters([module, module[0]])
    assert [tuple(p.shape) for p in weights] == [(4, 5)]
    assert len(others) == 3


def by_hand(w, gradients, lr, momentum, decay, eta, adapt=True):
    """You et al. 2017, algorithm 1, on numpy arrays."""
    velocity = np.zeros_like(w)
    for g in gradients:
        rate = 1.0
        if adapt:
            size, slope = np.sqrt((w * w).sum()), np.sqrt((g * g).sum())
            rate = eta * size / (slope + decay * size)
        velocity = momentum * velocity + lr * rate * (g + decay * w)
        w = w - velocity
    return w


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_lars_equals_its_formula(momentum, decay):
    draws = np.random.default_rng(0)
    w = draws.normal(size=(4, 3))
    gradients = draws.normal(size=(6, 4, 3))
    p = nn.Parameter(torch.tensor(w))
    optimiser = LARS([p], 0.5, momentum=momentum, weight_decay=decay, eta=0.02)
    for g in gradients:
        p.grad = torch.tensor(g)
        optimiser.step()
    wanted = by_hand(w, gradients, 0.5, momentum, decay, 0.02)
    np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-12)


def test_lars_spares_biases_and_norms_by_default_and_nothing_as_published():
    module = network()
    groups = Lars(weight_decay=0.1).build([module]).param_groups
    assert [(g["adapt"], g["weight_decay"], len(g["params"])) for g in groups] == [
        (True, 0.1, 2), (False, 0.0, 4)
    ]  # fmt: skip
    published = Lars(weight_decay=0.1, adapt_all=True, decay_all=True, zero_moves=False)
    groups = published.build([module]).param_groups
    assert [(g["adapt"], g["weight_decay"]) for g in groups] == [(True, 0.1), (True, 0.1)]
    assert not groups[0]["zero_moves"]
    # an excluded one steps as plain SGD
    bias: nn.Parameter = module[0].bias  # pyright: ignore[reportAssignmentType]
    before = bias.detach().numpy().copy()
    optimiser = Lars(lr=0.5, weight_decay=0.1).build([module])
    gradient = torch.ones(4, dtype=torch.float64)
    for _ in range(3):
        bias.grad = gradient
        optimiser.step()
    wanted = by_hand(before, [np.ones(4)] * 3, 0.5, 0.9, 0.0, 0.0, adapt=False)
    np.testing.assert_allclose(bias.detach().numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("zero_moves", [True, False])
def test_lars_at_zero(zero_moves):
    p, q, r = (nn.Parameter(torch.zeros(3)) for _ in range(3))
    with torch.no_grad():
        r.fill_(2.0)
    optimiser = LARS([p, q, r], 0.1, momentum=0.0, weight_decay=0.0, zero_moves=zero_moves)
    p.grad, q.grad, r.grad = torch.zeros(3), torch.ones(3), torch.zeros(3)
    optimiser.step()
    assert torch.equal(p, torch.zeros(3))  # nothing pulls
    assert torch.equal(r, torch.full((3,), 2.0))
    # the published rule never lets a bias leave zero
    wanted = -0.1 if zero_moves else 0.0
    torch.testing.assert_close(q, torch.full((3,), wanted))
    assert torch.isfinite(torch.cat([p, q, r])).all()


def test_states_go_on():
    whole, first = network(), network()
    config = Lars(lr=0.3)
    wanted = descend(whole, config.build([whole]), steps=5)
    descend(first, (optimiser := config.build([first])), steps=0)
    draws = torch.Generator().manual_seed(1)
    for k in range(5):
        if k == 2:
            state = optimiser.state_dict()
            optimiser = config.build([first])
            optimiser.load_state_dict(state)
        x = torch.randn(6, 5, generator=draws, dtype=torch.float64)
        optimiser.zero_grad()
        first.forward(x).square().sum().backward()
        optimiser.step()
    for a, b in zip(first.parameters(), wanted, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", optimisers.names())
def test_every_optimiser_goes_downhill(name):
    module = nn.Linear(3, 1, bias=False)
    optimiser = optimisers.get(name)(lr=0.05).build([module])
    x = torch.eye(3)
    first = module.forward(x).square().sum().item()
    for _ in range(30):
        optimiser.zero_grad()
        module.forward(x).square().sum().backward()
        optimiser.step()
    assert module.forward(x).square().sum().item() < first


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        (SGD, {"lr": 0.0}, "lr"),
        (SGD, {"lr": float("nan")}, "lr"),
        (SGD, {"momentum": 1.0}, "momentum"),
        (SGD, {"momentum": 0.0, "nesterov": True}, "nesterov"),
        (Adam, {"beta1": 1.0}, "beta1"),
        (AdamW, {"eps": 0.0}, "eps"),
        (AdamW, {"weight_decay": -1.0}, "weight_decay"),
        (Lars, {"eta": -1.0}, "eta"),
    ],
)
def test_what_is_out_of_range_is_refused(kind, settings, field):
    with pytest.raises(InputError, match=f"{field} = "):
        kind(**settings)
