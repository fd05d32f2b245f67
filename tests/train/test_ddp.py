"""Two processes learn what one does: gradients, negatives, batch statistics."""

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from vibrissa.core.errors import InputError
from vibrissa.train import RunOptions, config_from_tree, train
from vibrissa.train.checkpoint import read_checkpoint
from vibrissa.train.sync_batch_norm import synchronise_batch_norms

SUPERVISED = {
    "model": "tiny:zhuang+none+linear",
    "optimiser": {"type": "sgd", "lr": 0.1},
    "data": {"batch_size": 24},
    "epochs": 1,
    "seed": 3,
}
# views without draws, so that one process and two see the same; batch norm in the head
SIMCLR = SUPERVISED | {
    "model": "tiny:flatten+none+linear",
    "objective": {
        "type": "simclr",
        "augmentation": "none",
        "hidden": 16,
        "dimension": 8,
        "pool": "mean",
    },
    "probe": "none",
}
# batch norm in the encoder as well
RESNET = SUPERVISED | {
    "model": "tiny:resnet+none+linear@all",
    "optimiser": {"type": "sgd", "lr": 0.01},
}


def weights(folder):
    state = read_checkpoint(folder / "checkpoints" / "last.pt")
    parts = {**state["model"], **{f"objective.{k}": v for k, v in state["objective"].items()}}
    return {k: v for k, v in parts.items() if v.is_floating_point()}, state["progress"]


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param(SUPERVISED, id="supervised", marks=pytest.mark.slow),
        pytest.param(SIMCLR, id="simclr", marks=pytest.mark.slow),
        pytest.param(RESNET, id="resnet", marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(store, tmp_path, tree):
    config = config_from_tree(tree)
    for devices in (1, 2):
        options = RunOptions(devices=devices, accelerator="cpu", threads=1, quiet=True)
        result = train(config, store, tmp_path / str(devices), options=options)
        assert result.status == "finished"
    (one, told), (two, also) = weights(tmp_path / "1"), weights(tmp_path / "2")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5, msg=name)
    for a, b in zip(told["history"], also["history"], strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    first, _ = weights_of_start(config, store)
    moved = max(float((one[k] - first[k]).abs().max()) for k in first)
    assert moved > 1e-3  # so that equality says something


def weights_of_start(config, store):
    from vibrissa.data import DataModule
    from vibrissa.train.preparing import make_learner

    learner = make_learner(config, DataModule(store, "by_object", quiet=True))
    return {k: v for k, v in learner.model.state_dict().items() if v.is_floating_point()}, None


def test_a_batch_that_cannot_be_shared_evenly_is_refused(store, tmp_path):
    config = config_from_tree(SIMCLR | {"data": {"batch_size": 25}})
    with pytest.raises(InputError, match="batch_size = 25: 2 processes cannot share it evenly"):
        train(config, store, tmp_path / "run", options=RunOptions(devices=2, accelerator="cpu"))


# --- synchronised batch norm -----------------------------------------------------------------


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.BatchNorm1d(4 * 9), nn.Linear(36, 2)
    ).double()  # fmt: skip


def inputs():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(10, 3, 4, 4, generator=draws, dtype=torch.float64)


def halves(rank, address, folder):
    """One of two processes: shares of six and of four rows."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{address}", rank=rank, world_size=2
    )
    module = network()
    assert synchronise_batch_norms(module) == 2
    x = inputs().split((6, 4))[rank].clone().requires_grad_(True)
    module(x).square().sum().backward()
    gradients = []
    for p in module.parameters():
        assert p.grad is not None
        torch.distributed.all_reduce(p.grad)
        gradients.append(p.grad)
    module.eval()
    state = {"gradients": gradients, "x": x.grad, "state": module.state_dict(), "out": module(x)}
    torch.save(state, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_synchronised_batch_norm_equals_the_whole_batch(tmp_path):
    spawn(halves, args=(str(tmp_path / "meet"), str(tmp_path)), nprocs=2)
    module = network()
    x = inputs().requires_grad_(True)
    module(x).square().sum().backward()
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for part in parts:
        for p, gradient in zip(module.parameters(), part["gradients"], strict=True):
            torch.testing.assert_close(gradient, p.grad, rtol=1e-9, atol=1e-9)
        for name, value in module.state_dict().items():
            torch.testing.assert_close(part["state"][name], value, rtol=1e-9, atol=1e-9)
    assert x.grad is not None
    torch.testing.assert_close(torch.cat([p["x"] for p in parts]), x.grad, rtol=1e-9, atol=1e-9)
    module.eval()
    torch.testing.assert_close(torch.cat([p["out"] for p in parts]), module(x))


def test_synchronised_batch_norm_alone_is_torchs():
    one, other = network(), network()
    synchronise_batch_norms(other)
    x = inputs()
    assert torch.equal(one(x), other(x))
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))
