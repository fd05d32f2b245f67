"""Mamba: the scan against its equation, the block against transformers."""

from __future__ import annotations

import sys
import types
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vibrissa.models.blocks import scan
from vibrissa.models.blocks.mamba import MambaBlock, MambaStack


def by_the_equation(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    batch, steps, channels = x.shape
    y = []
    h = x.new_zeros(batch, channels, a.shape[1])
    for t in range(steps):
        h = torch.exp(dt[:, t, :, None] * a) * h + (dt * x)[:, t, :, None] * b[:, t, None]
        y.append((h * c[:, t, None]).sum(-1) + d * x[:, t])
    return torch.stack(y, 1)


def operands(batch: int = 5, steps: int = 7, channels: int = 6, state: int = 3) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [
        (batch, steps, channels), (batch, steps, channels), (channels, state),
        (batch, steps, state), (batch, steps, state), (channels,),
    ]  # fmt: skip
    x, dt, a, b, c, d = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    return [v.requires_grad_() for v in (x, F.softplus(dt), -torch.exp(a), b, c, d)]


@pytest.mark.parametrize("together", [1, 2, 5])
def test_scan_and_its_gradients(together, monkeypatch):
    monkeypatch.setattr(scan, "_samples_together", lambda x, n: together)
    given = [v.detach().requires_grad_() for v in operands()]
    y, wanted = scan.selective_scan(*given), by_the_equation(*given)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(y)
    for found, right in zip(
        torch.autograd.grad((y * weights).sum(), given),
        torch.autograd.grad((wanted * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(found, right, rtol=1e-11, atol=1e-11)


def test_the_kernel_of_mamba_ssm_is_called_as_it_wants(monkeypatch):
    """Its convention: (batch, channel, step), B and C (batch, state, step)."""

    def selective_scan_fn(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor):
        x, dt = u.transpose(1, 2), delta.transpose(1, 2)
        y = by_the_equation(x, dt, a, b.transpose(1, 2), c.transpose(1, 2), d)
        return y.transpose(1, 2)

    names = ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.selective_scan_interface")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    vars(sys.modules[names[-1]])["selective_scan_fn"] = selective_scan_fn
    scan._kernel.cache_clear()
    kernel = scan._kernel()
    scan._kernel.cache_clear()
    assert kernel is selective_scan_fn
    given = [v.detach().float() for v in operands()]
    wanted = by_the_equation(*given)
    monkeypatch.setattr(scan, "_kernel", lambda: kernel)
    torch.testing.assert_close(scan.by_kernel(kernel, *given), wanted)


def test_block_is_that_of_transformers():
    pytest.importorskip("transformers", reason="the referee is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses its own kernels
        from transformers import MambaConfig, MambaModel

        width, layers, batch, steps = 32, 2, 3, 22
        config = MambaConfig(
            vocab_size=1, hidden_size=width, num_hidden_layers=layers, state_size=16,
            conv_kernel=4, expand=2, time_step_rank=2, use_cache=False,
        )  # fmt: skip
        torch.manual_seed(0)
        theirs: Any = MambaModel(config).eval()
    ours: Any = MambaStack(layers, width, state=16, kernel=4, expand=2)
    names = {name for name, _ in MambaBlock(width).named_parameters()}
    x = torch.randn(batch, steps, width)
    y, wanted = x, x
    for k in range(layers):
        layer, other = ours.layer[k], theirs.layers[k]
        with torch.no_grad():
            for p in other.mixer.parameters():
                p.add_(0.05 * torch.randn_like(p))
        state = {key: value for key, value in other.mixer.state_dict().items() if key in names}
        assert set(state) == names
        layer["mixer"].load_state_dict(state)
        # The block alone: norms differ on purpose (layer norm here, RMS norm there).
        with torch.no_grad():
            y = layer["mixer"](y)
            wanted = other.mixer(wanted)
    scale = float(wanted.abs().max())
    assert scale > 1e-3
    assert float((y - wanted).abs().max()) <= 1e-5 * max(1.0, scale)


def test_initial_step_sizes_and_rates():
    torch.manual_seed(0)
    block = MambaBlock(512)
    dt = F.softplus(block.dt_proj.bias.detach())
    assert float(dt.min()) >= 1e-3 * 0.999
    assert float(dt.max()) <= 1e-1 * 1.001
    assert float(torch.log(dt).mean()) == pytest.approx(-4.60517, abs=0.2)
    torch.testing.assert_close(
        torch.exp(block.A_log.detach()), torch.arange(1.0, 17).expand(1024, 16)
    )
    assert sum(p.numel() for p in block.parameters()) == 1_694_720
