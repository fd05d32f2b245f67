"""Every configuration of PyTorchTNN and of the tactile models beside PyTorchTNN itself.

Each is built there, its biases, norms and averages are moved off their start, and its weights are
taken over here and given back. Then both unroll the same movie, biologically and in full passes;
the largest difference of the outputs at all steps, as a share of the largest output, is printed for
the stepwise and the fast schedule in float32 and for the stepwise one in float64. ``varies`` is how
much the output differs between the two samples: that the stimulus has arrived.

    python benchmarks/tnn_parity.py --peer PyTorchTNN --configs FOLDER [FOLDER ...]

What PyTorchTNN cannot load (the format of its TensorFlow original) is read here and named. Images
are 96 x 96 instead of 224 x 224, to save time.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tnn import SHAPE, import_peer
from vibrissa.tnn import Fast, Stepwise, TemporalGraph, from_peer, state_from_peer, state_to_peer
from vibrissa.tnn.peer_ancestor import is_ancestor
from vibrissa.tnn.spec import Mode

IMAGE = (3, 96, 96)


def perturb(model: nn.Module) -> None:
    """Move biases, scales and averages off 0 and 1."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for name, values in model.named_buffers():
            if name.endswith("running_mean"):
                values.add_(0.1 * torch.randn_like(values))
            if name.endswith("running_var"):
                values.mul_(1 + 0.3 * torch.rand_like(values))


def build(peer: Any, tree: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, TemporalGraph]:
    """The model there and the graph here, with the same weights."""
    text = json.dumps(tree)
    more = {}
    if "ReciprocalGatedCell" in text:
        module = importlib.import_module("pt_tnn.recurrent_module")
        more["recurrent_module"] = module.RecurrentModuleRGC
    theirs = peer.TemporalGraph(
        copy.deepcopy(tree), input_shape=list(shape), num_timesteps=tree["num_timesteps"], **more
    )
    perturb(theirs)
    ours = TemporalGraph(from_peer(tree, input_shape=shape))
    if json.dumps(tree) != text:
        raise RuntimeError("the configuration was changed")
    state = theirs.state_dict()
    ours.load_state_dict(state_from_peer(ours, state))
    back = state_to_peer(ours)
    if back.keys() != state.keys() or any(not torch.equal(back[k], state[k]) for k in state):
        raise RuntimeError("weights do not come back as they were")
    return theirs.eval(), ours.eval()


def share(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    if found.shape != wanted.shape:
        raise RuntimeError(f"shapes {tuple(found.shape)} and {tuple(wanted.shape)} differ")
    return float((found - wanted).abs().max() / wanted.abs().max())


@torch.no_grad()
def compare(theirs: Any, ours: TemporalGraph, x: Tensor, mode: Mode) -> dict[str, float]:
    """Differences of the outputs at all steps."""
    run = theirs.forward if mode == "biological" else theirs.full_unroll
    options: dict[str, Any] = {"read": "all", "mode": mode}
    wanted = run(x, n_times=x.shape[1], return_all=True)
    found = {
        "stepwise": share(ours(x, schedule=Stepwise(), **options), wanted),
        "fast": share(ours(x, schedule=Fast(), **options), wanted),
        "varies": float((wanted[0] - wanted[1]).abs().max()),
    }
    torch.set_default_dtype(torch.float64)  # its zeros before the first step have the default type
    try:
        wanted = theirs.double()(x.double(), n_times=x.shape[1], return_all=True)
        if mode == "full":
            wanted = theirs.full_unroll(x.double(), n_times=x.shape[1], return_all=True)
    finally:
        torch.set_default_dtype(torch.float32)
    found["float64"] = share(
        copy.deepcopy(ours).double()(x.double(), schedule=Stepwise(), **options), wanted
    )
    theirs.float()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of PyTorchTNN")
    parser.add_argument("--configs", type=Path, nargs="+", required=True, help="folders of JSON")
    parser.add_argument("--only", default="", help="part of the name of the files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    peer = import_peer(options.peer)
    files = sorted(f for folder in options.configs for f in folder.glob("*.json"))
    worst = {"stepwise": 0.0, "fast": 0.0, "float64": 0.0}
    for path in files:
        if options.only not in path.name:
            continue
        tree = json.loads(path.read_text(encoding="utf-8"))
        if is_ancestor(tree):
            graph = TemporalGraph(from_peer(tree))
            count = sum(p.numel() for p in graph.parameters())
            print(f"{path.stem:58s} {count:>11,d}  format of the original, read here alone")
            continue
        shape = SHAPE if path.stem.startswith("rnn_fdb") else tuple(tree["input_shape"])
        shape = IMAGE if shape[-1] > IMAGE[-1] else shape
        steps = min(12, tree["num_timesteps"]) if "timevary" in path.stem else 12
        with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
            theirs, ours = build(peer, tree, shape)
            x = torch.rand(2, steps, *shape)
            found = {m: compare(theirs, ours, x, m) for m in ("biological", "full")}  # type: ignore[arg-type]
        counts = [sum(p.numel() for p in model.parameters()) for model in (theirs, ours)]
        same = f"{counts[1]:>11,d}" if counts[0] == counts[1] else f"{counts[0]} != {counts[1]}"
        line = "  ".join(
            f"{mode}: " + " ".join(f"{key} {value:.0e}" for key, value in values.items())
            for mode, values in found.items()
        )
        print(f"{path.stem:58s} {same}  {line}", flush=True)
        for values in found.values():
            worst = {key: max(value, values[key]) for key, value in worst.items()}
    print("worst: " + ", ".join(f"{key} {value:.1e}" for key, value in worst.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
