# pyright: reportArgumentType=false, reportCallIssue=false
"""Collapse is found and named; what is healthy is not."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.objectives import diagnose, effective_rank


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_healthy():
    found = diagnose(logits=normal(400, 9), embedding=normal(400, 32, seed=1), loss=2.0)
    assert found.verdict == "healthy"
    assert not found.collapsed
    assert found.effective_rank is not None
    assert found.effective_rank > 25
    assert json.loads(json.dumps(found.to_dict()))["dimensions"] == 32


def test_constant_answer_scores_the_prior():
    """135 of 11,927 sweeps are of the class that is always answered: 1.132 %, as published."""
    labels = torch.randint(1, 117, (11927,), generator=torch.Generator().manual_seed(0))
    labels[labels == 7] = 8
    labels[:135] = 7
    logits = 0.01 * normal(11927, 117)
    logits[:, 7] += 5.0
    found = diagnose(logits=logits, labels=labels)
    assert found.verdict == "constant answer"
    assert found.commonest_answer == 7
    assert found.commonest_share == 1.0
    assert found.equals_prior
    assert found.accuracy == found.prior == pytest.approx(135 / 11927)
    assert "1.13%" in str(found)


def test_nearly_constant_answer():
    logits = torch.zeros(100, 5)
    logits[:, 2] = 1.0
    logits[:4, 3] = 2.0
    assert diagnose(logits=logits).verdict == "nearly constant answer"
    logits[:10, 3] = 2.0
    assert diagnose(logits=logits).verdict == "healthy"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number(value: float):
    logits, embedding = normal(10, 3), normal(10, 4)
    assert diagnose(loss=value).verdict == "not finite"
    logits[3, 1] = value
    assert diagnose(logits=logits).not_finite == 1
    embedding[0, 0] = value
    found = diagnose(logits=logits, embedding=embedding, loss=torch.tensor(value))
    assert found.not_finite == 3
    assert found.verdict == "not finite"


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_constant_embedding(size: float):
    point = size * normal(1, 16)
    found = diagnose(embedding=point + 1e-5 * size * normal(200, 16, seed=1))
    assert found.verdict == "constant embedding"
    assert found.relative_sd is not None
    assert found.relative_sd < 1e-4
    assert diagnose(embedding=torch.zeros(20, 4)).verdict == "constant embedding"
    assert diagnose(embedding=size * normal(200, 16)).verdict == "healthy"


def test_low_rank_embedding():
    line = normal(300, 1) @ normal(1, 16, seed=1)
    found = diagnose(embedding=line + normal(1, 16, seed=2))
    assert found.verdict == "low-rank embedding"
    assert found.effective_rank == pytest.approx(1.0, abs=1e-3)
    half = normal(300, 16) * (torch.arange(16) < 8)
    found = diagnose(embedding=half)
    assert found.verdict == "healthy"
    assert found.dead_dimensions == 8


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_directions(rank: int):
    """Orthonormal columns have equal singular values: the entropy is log(rank)."""
    columns, _ = torch.linalg.qr(normal(50, rank).double())
    values = columns @ torch.linalg.qr(normal(20, rank, seed=1).double())[0].T
    assert effective_rank(values, centre=False) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_by_definition():
    x = normal(40, 6).double()
    singular = np.sqrt(np.linalg.eigvalsh(x.numpy().T @ x.numpy()))
    p = singular / singular.sum() + 1e-7
    want = math.exp(-sum(q * math.log(q) for q in p))
    assert effective_rank(x, centre=False) == pytest.approx(want, rel=1e-9)
    assert effective_rank(7.0 * x) == pytest.approx(effective_rank(x))
    turn, _ = torch.linalg.qr(normal(6, 6, seed=3).double())
    assert effective_rank(x @ turn) == pytest.approx(effective_rank(x))
    assert effective_rank(torch.ones(30, 5)) == 0.0


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="nothing to look at"):
        diagnose()
    with pytest.raises(InputError, match="logits"):
        diagnose(logits=torch.zeros(3))
    with pytest.raises(InputError, match="labels"):
        diagnose(logits=torch.zeros(3, 2), labels=torch.zeros(4, dtype=torch.long))
