# pyright: reportArgumentType=false, reportCallIssue=false
"""Two processes are one: same losses, same gradients, same batch statistics, same bank."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

sys.path.insert(0, str(Path(__file__).parent))
from toys import batch, build, generator, toy

from vibrissa.objectives import make_objective
from vibrissa.objectives.distributed import BatchNorm, gathered, sizes

CONFIGS: dict[str, dict[str, Any]] = {
    "supervised": {"type": "supervised"},
    "simclr": {"type": "simclr", "hidden": 24, "dimension": 8, "temperature": 0.5},
    "simsiam": {"type": "simsiam", "dimension": 24, "hidden": 8},
    "autoencoder": {"type": "autoencoder", "lag_steps": 1},
    "instances": {"type": "instance_discrimination", "dimension": 8},
}
SPLITS = {"even": (5, 5), "uneven": (6, 4)}


def step(name: str, part: slice) -> dict[str, torch.Tensor]:
    """Loss, gradients and buffers of one step on a part of the batch."""
    config = make_objective(CONFIGS[name] | {"augmentation": "none"})
    objective, model = build(config).double(), toy().double()
    x, y, i = batch(10)
    result = objective(model, x[part].double(), y[part], i[part], generator())
    result.loss.backward()
    found = {"loss": result.loss.detach()}
    for owner, module in (("model", model), ("head", objective)):
        for key, p in module.named_parameters():
            if p.grad is not None:
                found[f"{owner} {key}"] = p.grad
    return found | {f"buffer {k}": v for k, v in objective.named_buffers()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found: dict[str, Any] = {}
        for split, counts in SPLITS.items():
            part = slice(0, counts[0]) if rank == 0 else slice(counts[0], 10)
            for name in CONFIGS:
                found[f"{name} {split}"] = step(name, part)
        rows = torch.arange(6.0).view(3, 2)[: 1 + rank].clone().requires_grad_()
        counts_found = sizes(len(rows), rows.device)
        whole = gathered(rows, counts_found)
        ((rank + 1.0) * whole.sum(1) * torch.arange(1.0, 4.0)).sum().backward()
        found["gather"] = {"sizes": torch.tensor(counts_found), "whole": whole.detach()}
        found["gather"]["grad"] = rows.grad
        # Halves of one batch through a batch norm whose single halves would look different.
        x = torch.randn(12, 3, generator=generator(1)) * 3.0 + torch.arange(12.0)[:, None]
        norm = BatchNorm(3)
        out = norm(x[6 * rank : 6 * rank + 6]).detach()
        found["norm"] = {"out": out} | dict(norm.named_buffers())
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    folder = str(tmp_path_factory.mktemp("two"))
    spawn(worker, args=(folder,), nprocs=2, join=True)
    return [torch.load(f"{folder}/{rank}.pt", weights_only=True) for rank in range(2)]


# With uneven parts the mean over processes is the mean over sweeps only where the objective weighs
# them; that is so for the contrastive ones, whose loss is over all rows.
CASES = [(name, "even") for name in CONFIGS] + [("simclr", "uneven"), ("instances", "uneven")]


@pytest.mark.parametrize(("name", "split"), CASES)
def test_two_processes_are_one(two: list[dict[str, Any]], name: str, split: str):
    one = step(name, slice(None))
    parts = [found[f"{name} {split}"] for found in two]
    assert parts[0].keys() == one.keys()
    for key, value in one.items():
        if key.startswith("buffer"):
            for part in parts:
                torch.testing.assert_close(part[key], value, rtol=1e-6, atol=1e-8, msg=key)
        else:
            mean = (parts[0][key] + parts[1][key]) / 2.0
            torch.testing.assert_close(mean, value, rtol=1e-7, atol=1e-10, msg=key)


def test_one_process_alone_would_differ():
    """The negatives and batch statistics of a half are others: the test above can fail."""
    halves = [step("simclr", slice(0, 5)), step("simclr", slice(5, 10))]
    mean = (halves[0]["loss"] + halves[1]["loss"]) / 2.0
    assert abs(float(mean - step("simclr", slice(None))["loss"])) > 0.1


def test_gathering_keeps_order_and_sums_gradients(two: list[dict[str, Any]]):
    for rank, found in enumerate(two):
        assert found["gather"]["sizes"].tolist() == [1, 2]
        want = torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]])
        assert torch.equal(found["gather"]["whole"], want)
        # Row k was weighed (1 + 2) k by both together.
        rows = torch.tensor([[3.0, 3.0], [6.0, 6.0], [9.0, 9.0]])
        assert torch.equal(found["gather"]["grad"], rows[:1] if rank == 0 else rows[1:])


def test_batch_norm_over_both(two: list[dict[str, Any]]):
    x = torch.randn(12, 3, generator=generator(1)) * 3.0 + torch.arange(12.0)[:, None]
    plain = torch.nn.BatchNorm1d(3)
    out = torch.cat([found["norm"]["out"] for found in two])
    torch.testing.assert_close(out, plain(x).detach(), rtol=1e-5, atol=1e-5)
    for found in two:
        for key, value in plain.named_buffers():
            torch.testing.assert_close(found["norm"][key], value, rtol=1e-5, atol=1e-5)


def test_alone_it_is_plain_batch_norm():
    x = torch.randn(12, 3, generator=generator(1))
    norm, plain = BatchNorm(3), torch.nn.BatchNorm1d(3)
    assert torch.equal(norm(x), plain(x))
    assert torch.equal(norm.eval()(x), plain.eval()(x))
