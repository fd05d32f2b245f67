"""Schedules against closed forms, tables and torch's own."""

import math
from itertools import pairwise

import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.train.schedules import Constant, Cosine, CosineAnnealing, Step, schedules

EPOCHS, STEPS = 100, 7


def by_epoch(schedule, epochs=EPOCHS):
    """The factor of every epoch; it must not change within one."""
    found = []
    for epoch in range(epochs):
        inside = {schedule.at(epoch * STEPS + k, STEPS, epochs) for k in range(STEPS)}
        assert len(inside) == 1
        found.append(inside.pop())
    return found


def torch_factors(make, epochs=EPOCHS):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = make(optimiser)
    found = []
    for _ in range(epochs):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return found


def test_constant():
    assert by_epoch(Constant()) == [1.0] * EPOCHS


def test_step_is_torchs():
    wanted = torch_factors(lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.1))
    assert by_epoch(Step()) == pytest.approx(wanted, rel=1e-12)
    assert by_epoch(Step())[29:31] == [1.0, 0.1]


def test_cosine_by_epochs_as_published():
    # arXiv 2505.18361: linear over a quarter, then cosine; the first epoch runs at zero
    found = by_epoch(Cosine(per="epoch"))
    assert found[0] == 0.0
    assert found[1] == pytest.approx(1 / 25)
    assert found[25] == 1.0
    assert found[62] == pytest.approx(0.5 * (1 + math.cos(math.pi * 37 / 75)))
    assert found[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 74 / 75)))
    assert max(found) == 1.0


def test_cosine_by_steps_begins_above_zero_and_is_smooth():
    schedule = Cosine()
    total = EPOCHS * STEPS
    found = [schedule.at(t, STEPS, EPOCHS) for t in range(total)]
    length = total // 4
    assert found[:length] == pytest.approx([(t + 1) / length for t in range(length)])
    rest = total - length
    assert found[length:] == pytest.approx(
        [math.cos(math.pi * t / (2 * rest)) ** 2 for t in range(rest)]  # the half-angle form
    )
    assert max(abs(a - b) for a, b in pairwise(found)) < 0.01


def test_cosine_annealing_by_epochs_as_published():
    # ten epochs from 1e-4 of the rate, counted from one; the last epoch has zero
    found = by_epoch(CosineAnnealing(per="epoch"))
    slope = (1 - 1e-4) / 10
    wanted = [1e-4 + slope * (e + 1) for e in range(10)]
    assert found[:10] == pytest.approx(wanted)
    assert found[9] == 1.0
    assert found[54] == pytest.approx(0.5)  # half way
    assert found[-1] == pytest.approx(0.0, abs=1e-15)


def test_without_warmup_the_first_epoch_is_almost_full():
    found = by_epoch(CosineAnnealing(per="epoch", warmup_epochs=0))
    assert found[0] == pytest.approx(0.5 * (1 + math.cos(math.pi / 100)))
    assert found == sorted(found, reverse=True)


def test_cosine_annealing_without_warmup_is_torchs_one_step_on():
    wanted = torch_factors(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, EPOCHS))
    found = by_epoch(CosineAnnealing(per="epoch", warmup_epochs=0))
    assert found[:-1] == pytest.approx(wanted[1:], abs=1e-12)


@pytest.mark.parametrize("name", schedules.names())
@pytest.mark.parametrize("per", ["step", "epoch"])
@pytest.mark.parametrize("epochs", [1, 2, 3, 30])
def test_factors_are_shares_for_any_length(name, per, epochs):
    schedule = schedules.get(name)(per=per)
    for step in range(epochs * STEPS):
        assert 0.0 <= schedule.at(step, STEPS, epochs) <= 1.0


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        (Step, {"every_epochs": 0}, "every_epochs"),
        (Step, {"gamma": 0.0}, "gamma"),
        (Cosine, {"warmup_epochs": -1}, "warmup_epochs"),
        (CosineAnnealing, {"warmup_ratio": 2.0}, "warmup_ratio"),
        (Constant, {"per": "week"}, "per"),
    ],
)
def test_what_is_out_of_range_is_refused(kind, settings, field):
    with pytest.raises(InputError, match=f"{field} = "):
        kind(**settings)
