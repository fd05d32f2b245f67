"""Temporal graphs beside PyTorchTNN, in one process and with the same weights.

The published tactile graph, input (batch, 22, 30, 5, 7), last step read. Both compute in turns,
round after round; the ratio is the peer's median time (in float32) over ours. With one thread times
are CPU times of this process, which other processes disturb little; with several they are those of
the clock, which need an idle machine. A train step is forward, cross-entropy, backward.

    python benchmarks/tnn.py --peer PyTorchTNN --configs tactile_model/model_configs --out tnn.json
    python benchmarks/tnn.py --peer ... --configs ... --what memory launches --batch 32

Columns besides: the relative difference of outputs from the peer's (Frobenius), and the share of
the processor's peak at which matrix products and convolutions ran, were the rest free (``share``;
operations that are really made, tried beside a square product in the same precision).
``memory`` is the growth of resident memory in one train step at its highest, each in a process of
its own, after a step with one sample. ``launches`` counts dispatched operators that are no views,
in one forward pass; a function that goes through torch.compile counts as one, which holds where the
compiler makes one kernel of it.

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
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import vibrissa.tnn.gathered
import vibrissa.tnn.rows
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


class Operators(TorchDispatchMode):
    """Counts launches, and operations of matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0
        self.operations = 0
        self.within = False

    def fused(self, run: Any) -> Any:
        """Stands for torch.compile: one launch."""

        def one(*tensors: Any) -> Any:
            self.launches += not self.within
            was, self.within = self.within, True
            try:
                return run(*tensors)
            finally:
                self.within = was

        return one

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.name().split("::")[1].split(".")[0]
        if not (self.within or func.is_view or name in ("_unsafe_view", "empty", "new_empty")):
            self.launches += 1
        if name in ("mm", "addmm", "addmm_"):
            matrix = args[0] if name == "mm" else args[1]
            self.operations += 2 * out.numel() * matrix.shape[1]
        elif name == "convolution":
            self.operations += 2 * out.numel() * args[1][0].numel()
        elif name == "convolution_backward":
            masks = sum(args[-1][:2])
            self.operations += 2 * masks * args[0].numel() * args[2][0].numel()
        elif name == "_linear_pointwise":
            self.operations += 2 * out.numel() * args[0].shape[1]
        return out


def peak(dtype: torch.dtype) -> float:
    """Operations per second of a product of square matrices."""
    a, b = (torch.randn(1536, 1536).to(dtype) for _ in range(2))
    times = []
    for _ in range(5):
        start = clock()
        torch.mm(a, b)
        times.append(clock() - start)
    return 2 * 1536**3 / min(times)


def clock() -> float:
    """CPU time with one thread, else that of the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def variants(
    theirs: nn.Module, ours: TemporalGraph, x: Tensor, options: Any
) -> dict[str, Callable[[], Tensor]]:
    """Name -> a forward pass."""

    def under_autocast() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return theirs(x, n_times=FRAMES)

    found: dict[str, Callable[[], Tensor]] = {
        "peer fp32": lambda: theirs(x, n_times=FRAMES),
        "fp32": lambda: ours(x, schedule="fast"),
    }
    if options.more:
        found["stepwise fp32"] = lambda: ours(x, schedule="stepwise")
        found["fp32 checkpoint"] = lambda: ours(x, schedule=Fast(checkpoint=True))
    if "bf16" in options.precision:
        found["peer bf16"] = under_autocast
        found["bf16"] = lambda: ours(x, schedule=Fast(precision="bfloat16"))
        if options.more:
            low = Fast(precision="bfloat16", checkpoint=True)
            found["bf16 checkpoint"] = lambda: ours(x, schedule=low)
    if options.compile:
        found["fp32 compiled"] = lambda: ours(x, schedule=Fast(compile=True))
        found["bf16 compiled"] = lambda: ours(x, schedule=Fast(precision="bfloat16", compile=True))
    return {n: run for n, run in found.items() if options.only is None or n in options.only}


def measure(
    theirs: nn.Module, ours: TemporalGraph, batch: int, train: bool, options: Any
) -> dict[str, Any]:
    """Seconds, ratios and differences of one model at one batch size."""
    x, labels = torch.randn(batch, FRAMES, *SHAPE), torch.randint(0, 100, (batch,))
    runs = variants(theirs, ours, x, options)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    outputs: dict[str, Tensor] = {}
    operations: dict[str, int] = {}

    def once(name: str, run: Callable[[], Tensor]) -> float:
        start = clock()
        if train:
            train_step(theirs if name.startswith("peer") else ours, run, labels)
        else:
            with torch.no_grad():
                outputs[name] = run()
        return clock() - start

    for name, run in runs.items():  # a warm-up, while operations are counted
        if "compiled" in name:
            once(name, run)
            continue
        with Operators() as counter:
            once(name, run)
        operations[name] = counter.operations
    for _ in range(options.rounds):
        for name, run in runs.items():
            seconds[name].append(once(name, run))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    result: dict[str, Any] = {
        "seconds": seconds,
        "ratio": {name: median["peer fp32"] / s for name, s in median.items()},
        "share": {
            name: count / median[name] / peaks["bf16" if "bf16" in name else "fp32"]
            for name, count in operations.items()
        },
        "peak_GFLOPS": {name: p / 1e9 for name, p in peaks.items()},
    }
    if not train:
        truth = outputs["peer fp32"]
        result["difference"] = {
            name: float((y.float() - truth).norm() / truth.norm()) for name, y in outputs.items()
        }
    return result


def memory(
    theirs: nn.Module, ours: TemporalGraph, model: str, batch: int, options: Any
) -> dict[str, float]:
    """Highest growth of resident memory in a train step, in MB."""
    found = {}
    names = variants(theirs, ours, torch.empty(0), options)
    for name in names:
        command = [
            sys.executable, __file__, "--peer", str(options.peer), "--configs",
            str(options.configs), "--models", model, "--batch", str(batch), "--what", "grow",
            "--only", name, "--more", "--precision", "fp32", "bf16", "--seed", str(options.seed),
        ]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = float(done.stdout.split()[-1])
    return found


def grow(theirs: nn.Module, ours: TemporalGraph, batch: int, options: Any) -> float:
    """The growth of this process in one train step of the one variant, in MB."""

    def status(field: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return float(next(line for line in lines if line.startswith(field)).split()[1]) / 1e3

    def step(n: int) -> None:
        x, labels = torch.randn(n, FRAMES, *SHAPE), torch.randint(0, 100, (n,))
        ((name, run),) = variants(theirs, ours, x, options).items()
        model = theirs if name.startswith("peer") else ours
        train_step(model, run, labels)
        model.zero_grad(set_to_none=True)

    step(1)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = status("VmRSS")
    step(batch)
    return status("VmHWM") - before


def launches(theirs: nn.Module, ours: TemporalGraph, batch: int) -> dict[str, int]:
    """Of one forward pass."""
    x = torch.randn(batch, FRAMES, *SHAPE)
    gathered: Any = vibrissa.tnn.gathered
    rows: Any = vibrissa.tnn.rows
    found = {}
    runs: dict[str, Callable[[], Tensor]] = {
        "peer": lambda: theirs(x, n_times=FRAMES),
        "stepwise": lambda: ours(x, schedule="stepwise"),
        "CPU form": lambda: ours(x, schedule="fast"),
        "GPU form": lambda: ours(x, schedule=Fast(convolutions="gather", together=FRAMES, block=1)),
    }
    compiled = Fast(convolutions="gather", together=FRAMES, block=1, compile=True)
    runs["GPU form, compiled"] = lambda: ours(x, schedule=compiled)
    for name, run in runs.items():
        gathered.gathering.cache_clear()
        counter, kept = Operators(), gathered.fused
        gathered.fused = rows.fused = counter.fused
        with torch.no_grad():
            run()  # constants are made
            counter.launches = 0
            with counter:
                run()
        gathered.fused = rows.fused = kept
        found[name] = counter.launches
    gathered.gathering.cache_clear()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of PyTorchTNN")
    parser.add_argument("--configs", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--models", nargs="+", default=["intersection+ln", "ugrnn"], choices=MODELS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 32])
    parser.add_argument(
        "--what", nargs="+", default=["forward", "train"],
        choices=["forward", "train", "memory", "launches", "grow"],
    )  # fmt: skip
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--more", action="store_true", help="also stepwise and checkpointed")
    parser.add_argument("--compile", action="store_true", help="also with compiled gates")
    parser.add_argument("--only", nargs="+", help="of the variants")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="Using padding='same'")  # of the peer
    peer = import_peer(options.peer)
    flags = torch.backends.cpu.get_cpu_capability()
    results: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "simd": flags},
        "torch": torch.__version__, "threads": options.threads, "rounds": options.rounds,
    }  # fmt: skip
    for model in options.models:
        theirs, ours = build(peer, options.configs / MODELS[model], options.seed)
        for batch in options.batch:
            for what in options.what:
                if what == "grow":
                    print(grow(theirs, ours, batch, options))
                    return 0
                if what in ("memory", "launches"):
                    found: dict[str, Any] = (
                        memory(theirs, ours, model, batch, options)
                        if what == "memory"
                        else launches(theirs, ours, batch)
                    )
                    for name, value in found.items():
                        print(f"{model:16s} {batch:5d} {what:8s} {name:20s} {value:8.0f}")
                else:
                    found = measure(theirs, ours, batch, what == "train", options)
                    print_times(model, batch, what, found)
                sys.stdout.flush()
                results.setdefault(model, {}).setdefault(str(batch), {})[what] = found
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def print_times(model: str, batch: int, what: str, found: dict[str, Any]) -> None:
    """One line for each variant."""
    peaks = ", ".join(f"{n} {p:.0f}" for n, p in found["peak_GFLOPS"].items())
    print(f"{model}, batch {batch}, {what}; peak GFLOPS: {peaks}")
    for name, seconds in found["seconds"].items():
        share, difference = found["share"].get(name), found.get("difference", {}).get(name)
        print(
            f"  {name:18s} {statistics.median(seconds):8.3f} s, least {min(seconds):8.3f} s"
            f"  ratio {found['ratio'][name]:5.2f}"
            + ("" if share is None else f"  share {share:4.0%}")
            + ("" if difference is None else f"  difference {difference:.1e}")
        )


if __name__ == "__main__":
    sys.exit(main())
