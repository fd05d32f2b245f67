"""Train steps of the published models beside the published code, in one process.

Encoders beside PyTorchTNN with the same weights, attenders beside the GPT of the published code,
the S4 of the published code, and the Mamba of ``transformers``; all compute in turns, round after
round. Times are those of this process, medians are given; the ratio is the peer's time in float32
over ours. A train step is forward, cross-entropy of the last step's scores, backward, in training
mode (dropout is on in both).

    python benchmarks/models.py --peer PyTorchTNN --tactile 2025-tactile-whisking --out models.json

``--peer`` and ``--tactile`` are checkouts of neuroagents-lab/PyTorchTNN and
neuroagents-lab/2025-tactile-whisking; nothing of them is in this package. The S4 of the latter
needs einops and opt_einsum, the Mamba transformers; what is missing is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import platform
import statistics
import sys
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vibrissa.core.files import atomic_path
from vibrissa.models import build, config_of
from vibrissa.models.attender import S4, Mamba
from vibrissa.tnn import TemporalGraph, state_from_peer

ENCODERS = {"zhuang": "time_decay", "ugrnn": "ugrnn", "inter_ln": "intersection+ln"}
N_CLASSES, STEPS, WIDTH = 117, 22, 512


def load(path: Path, name: str) -> Any:
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


tnn_benchmark = load(Path(__file__).with_name("tnn.py"), "tnn_benchmark")  # its peer is this one's


class Peer(nn.Module):
    """The published encoder, attender and linear read-out of the last step."""

    def __init__(self, encoder: nn.Module, attender: nn.Module | None, hidden: int | None) -> None:
        super().__init__()
        self.encoder, self.attender = encoder, attender
        if hidden is None:
            widths = (WIDTH, 1024, 512, N_CLASSES)
            self.decoder = nn.Sequential(
                nn.Linear(widths[0], widths[1]), nn.ReLU(), nn.Linear(widths[1], widths[2]),
                nn.ReLU(), nn.Linear(widths[2], widths[3]),
            )  # fmt: skip
        else:
            self.decoder = nn.Sequential(nn.Linear(hidden, N_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        features: Any = self.encoder(x, n_times=STEPS, return_all=True)
        if self.attender is not None:
            features = self.attender(features)
        return self.decoder(features[:, -1])


def peer_gpt(tactile: Path) -> nn.Module:
    """The GPT attender of the published code, at its published size."""
    module = load(tactile / "tactile-nn/tactile_model/enc_att_dec/attender/gpt.py", "peer_gpt")
    names = types.SimpleNamespace
    size = names(block_size=65, n_layer=8, n_head=4, dropout=0.1, num_feat_per_step=1)
    config = names(model=names(attender=size, repr_dim=WIDTH, hidden_dim=WIDTH))
    with contextlib.redirect_stdout(io.StringIO()):
        return module.GPT(config)


def copy_gpt(theirs: nn.Module, ours: nn.Module) -> None:
    """Give our attender the peer's weights."""
    names = {
        "_action_token": "action_token", "_policy.transformer.wte": "embed",
        "_policy.transformer.wpe": "position", "_policy.transformer.ln_f": "norm",
        "_policy.lm_head": "head", "_policy.transformer.h": "block", "ln_1": "norm1",
        "ln_2": "norm2", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.out",
        "mlp.c_fc": "perceptron.up", "mlp.c_proj": "perceptron.down",
    }  # fmt: skip
    state = {}
    for key, value in theirs.state_dict().items():
        if key.endswith(".attn.bias"):  # the mask
            continue
        for old, new in names.items():
            key = key.replace(old, new)
        state[key] = value.reshape(-1) if key == "action_token" else value
    ours.load_state_dict(state)


def pair(options: Any, peer: Any, encoder: str, attender: str) -> tuple[nn.Module, nn.Module]:
    """The peer's model and ours with the same weights."""
    config = options.tactile / "tactile-nn/tactile_model/model_configs"
    theirs, _ = tnn_benchmark.build(
        peer, config / tnn_benchmark.MODELS[ENCODERS[encoder]], options.seed
    )
    decoder = "mlp" if attender == "none" else "linear"
    ours = build(f"{encoder}+{attender}+{decoder}", n_classes=N_CLASSES, seed=options.seed)
    graph = ours.encoder.get_submodule("graph")
    assert isinstance(graph, TemporalGraph)
    graph.load_state_dict(state_from_peer(graph, theirs.state_dict()))
    gpt = peer_gpt(options.tactile) if attender == "gpt" else None
    model = Peer(theirs, gpt, WIDTH if attender == "gpt" else None)
    if gpt is not None:
        copy_gpt(gpt, ours.attender)
    linears = [m for m in model.decoder if isinstance(m, nn.Linear)]
    for mine, other in zip(ours.decoder.get_submodule("layer").children(), linears, strict=True):
        mine.load_state_dict(other.state_dict())
    return model, ours


def train_step(model: nn.Module, x: Tensor, labels: Tensor) -> None:
    """Forward, cross-entropy, backward."""
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(x).float(), labels).backward()


def timed(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Name -> median seconds, computed in turns; the first round is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def models(options: Any, peer: Any) -> dict[str, Any]:
    """Whole models."""
    found = {}
    for encoder in options.encoders:
        for attender in options.attenders:
            theirs, ours = pair(options, peer, encoder, attender)
            x = torch.randn(options.batch, STEPS, 30, 5, 7)
            labels = torch.randint(0, N_CLASSES, (options.batch,))
            with torch.no_grad():
                a, b = theirs.eval()(x), ours.eval()(x)
            difference = float((a - b).norm() / a.norm())
            theirs.train()
            ours.train()
            runs = {
                "peer fp32": lambda m=theirs, x=x, y=labels: train_step(m, x, y),
                "fp32": lambda m=ours, x=x, y=labels: train_step(m, x, y),
            }
            if "bf16" in options.precision:
                name = ours.name  # type: ignore[union-attr]
                low = build(
                    replace(config_of(str(name)), precision="bfloat16"), n_classes=N_CLASSES
                )
                low.load_state_dict(ours.state_dict())
                runs["bf16"] = lambda m=low, x=x, y=labels: train_step(m, x, y)
            found[f"{encoder}+{attender}"] = report(
                f"{encoder}+{attender}", timed(runs, options.rounds), difference
            )
    return found


def report(name: str, seconds: dict[str, float], difference: float) -> dict[str, Any]:
    """Print and collect one comparison."""
    first = next(iter(seconds.values()))
    for run, s in seconds.items():
        print(f"{name:24s} {run:14s} {s:9.3f} {first / s:7.2f}  {difference:.1e}", flush=True)
    ratio = {run: first / s for run, s in seconds.items()}
    return {"seconds": seconds, "ratio": ratio, "difference": difference}


def attenders(options: Any) -> dict[str, Any]:
    """Attenders alone, forward and backward on features of the published size."""
    found = {}
    x = torch.randn(options.batch, STEPS, WIDTH)

    def step(run: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: run()[:, -1].square().mean().backward()

    gpt = peer_gpt(options.tactile)
    ours = build("flatten+gpt", n_classes=N_CLASSES).attender
    copy_gpt(gpt, ours)
    last = (STEPS - 1,)
    with torch.no_grad():
        a, b = gpt.eval()(x), ours.eval()(x)
    gpt.train()
    ours.train()
    runs = {
        "peer": step(lambda: gpt(x)),
        "all steps": step(lambda: ours(x)),
        "last step": step(lambda: ours(x, steps=last)),
    }
    found["gpt"] = report(
        "gpt", timed(runs, options.rounds), float((a - b).norm() / a.norm())
    )  # fmt: skip

    base = options.tactile / "tactile-nn/tactile_model/enc_att_dec/attender/s4_base.py"
    try:
        block = load(base, "peer_s4").S4Block
        layers = nn.ModuleList(block(WIDTH, dropout=0.2, transposed=False) for _ in range(4))
        norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(4))

        def s4_peer() -> Tensor:
            y = x.transpose(1, 2)
            for layer, norm in zip(layers, norms, strict=True):
                y = norm((y + F.dropout(layer(y)[0], 0.2)).transpose(1, 2)).transpose(1, 2)
            return y.transpose(1, 2)

        s4 = S4().build(WIDTH, STEPS)
        runs = {"peer": step(s4_peer), "ours": step(lambda: s4(x))}
        found["s4"] = report("s4", timed(runs, options.rounds), float("nan"))
    except ImportError as error:
        print(f"s4: the peer needs {error.name}, which is not installed")

    if importlib.util.find_spec("transformers") is None:
        print("mamba: the referee needs transformers, which is not installed")
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import MambaConfig, MambaModel

        size = MambaConfig(
            vocab_size=1, hidden_size=WIDTH, num_hidden_layers=4, time_step_rank=32, use_cache=False
        )
        theirs = MambaModel(size)
    mamba = Mamba().build(WIDTH, STEPS)
    runs = {
        "transformers": step(lambda: theirs(inputs_embeds=x).last_hidden_state),
        "ours": step(lambda: mamba(x)),
    }
    found["mamba"] = report("mamba", timed(runs, 1), float("nan"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of PyTorchTNN")
    parser.add_argument("--tactile", type=Path, required=True, help="one of 2025-tactile-whisking")
    parser.add_argument("--what", nargs="+", default=["models", "attenders"])
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), choices=ENCODERS)
    parser.add_argument("--attenders", nargs="+", default=["none", "gpt"], choices=["none", "gpt"])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    results: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor()},
        "simd": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__,
        "threads": options.threads, "rounds": options.rounds, "batch": options.batch,
    }  # fmt: skip
    print(f"{'':24s} {'':14s} {'s':>9s} {'ratio':>7s}  difference of the outputs")
    if "attenders" in options.what:  # first: the peer's stand-in for torchvision disturbs others
        results["attenders"] = attenders(options)
    if "models" in options.what:
        results["models"] = models(options, tnn_benchmark.import_peer(options.peer))
    if options.out is not None:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
