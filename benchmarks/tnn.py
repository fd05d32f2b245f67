"""Temporal graphs beside PyTorchTNN, in one process and with the same weights.

The published tactile graph, input (batch, 22, 30, 5, 7), last step read. Both compute in turns,
round after round; times are those of this process on one thread, medians are given, and the ratio
is the peer's time (in float32) over ours. A train step is forward, cross-entropy, backward.

    python benchmarks/tnn.py --peer PyTorchTNN --configs tactile_model/model_configs --out tnn.json

``--peer`` is a checkout of PyTorchTNN, ``--configs`` the folder of JSON files of the tactile
models. PyTorchTNN imports torchvision for one resize alone, which these graphs do not need (all
sizes agree); a small stand-in is put in its place if torchvision is not installed.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vibrissa.core.files import atomic_path
from vibrissa.tnn.fast import Fast
from vibrissa.tnn.graph import TemporalGraph
from vibrissa.tnn.peer import from_peer
from vibrissa.tnn.peer_weights import state_from_peer

MODELS = {
    "intersection+ln": "rnn_fdb_converted_modern_intersection_ln.json",
    "ugrnn": "rnn_fdb_converted_modern_ugrnn.json",
    "time_decay": "rnn_fdb_converted_modern.json",
}
FRAMES, SHAPE = 22, (30, 5, 7)


def import_peer(path: Path) -> Any:
    """The package ``pt_tnn`` of a checkout."""
    if importlib.util.find_spec("torchvision") is None:

        class Resize:
            def __init__(self, size: Any, interpolation: Any = None) -> None:
                self.size = tuple(size)

            def __call__(self, x: Tensor) -> Tensor:
                if tuple(x.shape[2:]) == self.size:
                    return x
                return F.interpolate(x, size=self.size, mode="bilinear", antialias=True)

        class InterpolationMode(Enum):
            BILINEAR = "bilinear"

        package, transforms = types.ModuleType("torchvision"), types.ModuleType("transforms")
        vars(transforms).update(Resize=Resize, InterpolationMode=InterpolationMode)
        vars(package).update(transforms=transforms)
        sys.modules.update({"torchvision": package, "torchvision.transforms": transforms})
    sys.path.insert(0, str(path))
    return importlib.import_module("pt_tnn")


def build(peer: Any, config: Path, seed: int) -> tuple[nn.Module, TemporalGraph]:
    """The peer's model and ours with its weights; biases and norms are moved off 0 and 1."""
    tree = json.loads(config.read_text(encoding="utf-8"))
    torch.manual_seed(seed)
    with open(os.devnull, "w") as quiet:  # it prints its order of nodes
        stdout, sys.stdout = sys.stdout, quiet
        try:
            theirs = peer.TemporalGraph(
                copy.deepcopy(tree), input_shape=list(SHAPE), num_timesteps=None
            )
        finally:
            sys.stdout = stdout
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn_like(parameter))
    ours = TemporalGraph(from_peer(tree, input_shape=SHAPE))
    ours.load_state_dict(state_from_peer(ours, theirs.state_dict()))
    return theirs.eval(), ours.eval()


def train_step(model: nn.Module, run: Callable[[], Tensor], labels: Tensor) -> Tensor:
    """Forward, cross-entropy, backward."""
    model.zero_grad(set_to_none=True)
    loss = F.cross_entropy(run().float(), labels)
    loss.backward()
    return loss.detach()


def saved_bytes(run: Callable[[], Any]) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters aside; 0 with checkpoints,
    whose bookkeeping hides them from this count."""
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        if not isinstance(x, nn.Parameter):
            storage = x.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    held: list[Tensor] = []  # so that no address is used twice

    def note(x: Tensor) -> Tensor:
        held.append(x)
        return keep(x)

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        run()
    return sum(kept.values())


def variants(
    theirs: nn.Module, ours: TemporalGraph, x: Tensor, precisions: list[str], more: bool
) -> dict[str, Callable[[], Tensor]]:
    """Name -> a forward pass."""

    def under_autocast() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return theirs(x, n_times=FRAMES)

    found: dict[str, Callable[[], Tensor]] = {
        "peer fp32": lambda: theirs(x, n_times=FRAMES),
        "fp32": lambda: ours(x, schedule="fast"),
    }
    if more:
        found["stepwise fp32"] = lambda: ours(x, schedule="stepwise")
        found["fp32 checkpoint"] = lambda: ours(x, schedule=Fast(checkpoint=True))
    if "bf16" in precisions:
        found["peer bf16"] = under_autocast
        found["bf16"] = lambda: ours(x, schedule=Fast(precision="bfloat16"))
    return found


def measure(
    theirs: nn.Module, ours: TemporalGraph, batch: int, train: bool, options: Any
) -> dict[str, Any]:
    """Seconds, ratios and differences of one model at one batch size."""
    x, labels = torch.randn(batch, FRAMES, *SHAPE), torch.randint(0, 100, (batch,))
    runs = variants(theirs, ours, x, options.precision, options.more)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    outputs: dict[str, Tensor] = {}
    for turn in range(options.rounds + 1):  # the first is a warm-up
        for name, run in runs.items():
            start = time.process_time()
            if train:
                train_step(theirs if name.startswith("peer") else ours, run, labels)
            else:
                with torch.no_grad():
                    outputs[name] = run()
            if turn:
                seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    result: dict[str, Any] = {
        "seconds": median, "ratio": {name: median["peer fp32"] / s for name, s in median.items()},
    }  # fmt: skip
    if train:
        result["saved_MB"] = {name: saved_bytes(run) / 1e6 for name, run in runs.items()}
    else:
        truth = outputs["peer fp32"]
        result["difference"] = {
            name: float((y.float() - truth).norm() / truth.norm()) for name, y in outputs.items()
        }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of PyTorchTNN")
    parser.add_argument("--configs", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--models", nargs="+", default=["intersection+ln", "ugrnn"], choices=MODELS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--what", nargs="+", default=["forward", "train"])
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--more", action="store_true", help="also stepwise and checkpointed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peer = import_peer(options.peer)
    flags = torch.backends.cpu.get_cpu_capability()
    results: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "simd": flags},
        "torch": torch.__version__, "threads": options.threads, "rounds": options.rounds,
    }  # fmt: skip
    print(
        f"{'model':16s} {'batch':>5s} {'':8s} {'variant':18s} {'s':>8s} {'ratio':>6s}  "
        "saved MB or difference"
    )
    for model in options.models:
        theirs, ours = build(peer, options.configs / MODELS[model], options.seed)
        for batch in options.batch:
            for what in options.what:
                found = measure(theirs, ours, batch, what == "train", options)
                results.setdefault(model, {}).setdefault(str(batch), {})[what] = found
                last = found.get("saved_MB") or found["difference"]
                for name, s in found["seconds"].items():
                    ratio = found["ratio"][name]
                    print(
                        f"{model:16s} {batch:5d} {what:8s} {name:18s} {s:8.3f} {ratio:6.2f}  "
                        f"{last[name]:.3g}",
                        flush=True,
                    )
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
