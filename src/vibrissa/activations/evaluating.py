"""A network truly in eval mode for a while, and the digest of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from vibrissa.core.errors import refuse


@contextmanager
def evaluating(
    module: nn.Module, device: str | torch.device | None
) -> Iterator[tuple[torch.device, torch.dtype]]:
    """The network in eval mode on a device; its modes, place and torch's settings come back."""
    tensors = [*module.parameters(), *module.buffers()]
    home = tensors[0].device if tensors else torch.device("cpu")
    try:
        target = home if device is None else torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise refuse("device", str(device), reason, "choose cpu, or see vibrissa doctor") from error
    floating = [t.dtype for t in tensors if t.is_floating_point()]
    modes = {part: part.training for part in module.modules()}
    with ExitStack() as stack:
        if target != home:
            stack.callback(module.to, home)
            module.to(target)
        stack.callback(_set_modes, modes)
        module.eval()
        _set_modes(dict.fromkeys(modes, False))  # also where a class overrides eval
        stack.enter_context(torch.no_grad())
        cuda = [target] if target.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        if cuda:
            matmul = torch.backends.cuda.matmul
            stack.callback(setattr, matmul, "allow_tf32", matmul.allow_tf32)
            matmul.allow_tf32 = False
            stack.enter_context(
                torch.backends.cudnn.flags(
                    enabled=torch.backends.cudnn.enabled,
                    benchmark=False,
                    deterministic=True,
                    allow_tf32=False,
                )
            )
        yield target, floating[0] if floating else torch.float32


def _set_modes(modes: Mapping[nn.Module, bool]) -> None:
    for part, mode in modes.items():
        part.training = mode


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, with their names, types and shapes."""
    sha = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            sha.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            sha.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return sha.hexdigest()
