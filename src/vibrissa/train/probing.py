"""Probes of trained and of untrained models: what their frozen features are worth.

A probe without its untrained control says little: random features of a network, too, tell classes
apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from torch import nn

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.memory import memory_advice
from vibrissa.data.datamodule import DataModule, LoaderConfig
from vibrissa.data.loader import SweepDataset, TactileLoader
from vibrissa.data.normalisation import Normalisation
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.store import SweepStore
from vibrissa.models import build
from vibrissa.objectives import (
    Features,
    KNNProbe,
    LinearProbe,
    LinearSGDProbe,
    ProbeResult,
    extract_features,
)
from vibrissa.train.config import TrainConfig
from vibrissa.train.folder import Run, load_run
from vibrissa.train.recording import Row

Kind = Literal["linear", "knn", "linear_sgd"]
KINDS: Final[dict[str, Any]] = {
    "linear": LinearProbe, "knn": KNNProbe, "linear_sgd": LinearSGDProbe
}  # fmt: skip
Pool = Literal["last", "mean"]
UNTRAINED: Final = "untrained:"


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What probes found.

    Attributes:
        model: its name.
        kind: of the probe.
        pool: how steps became one: ``last`` or ``mean``.
        split, part: on what it was tested; it learned from the training part.
        trained: of the run; None where only an untrained network was asked for.
        untrained: of the same network with its first weights.
        run: digest of the checkpoint, or None.
        store: digest of the store.
    """

    model: str
    kind: str
    pool: str
    split: str
    part: str
    trained: ProbeResult | None
    untrained: ProbeResult
    run: str | None
    store: str

    @property
    def sentence(self) -> str:
        """One sentence with both and chance."""
        told = [] if self.trained is None else [_told("trained", self.trained)]
        told.append(_told("untrained", self.untrained))
        return (
            f"{self.kind} probe of {self.model}, {self.part} part of {self.split}, top-1: "
            f"{', '.join(told)}, chance {100 * self.untrained.chance:.1f} %."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        found = {"trained": self.trained, "untrained": self.untrained}
        plain = {k: None if v is None else v.to_dict() for k, v in found.items()}
        return dict(vars(self)) | plain


def _told(name: str, result: ProbeResult) -> str:
    low, high = result.top1_interval
    return f"{name} {100 * result.top1:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def probe(
    target: Run | Path | str,
    store: SweepStore | Path | str,
    *,
    kind: Kind = "linear",
    split: str | None = None,
    part: str = "test",
    pool: Pool | None = None,
    batch_size: int = 256,
    seed: int | None = None,
    device: str = "cpu",
) -> ProbeReport:
    """Probe a run and the same network untrained, or an untrained network alone.

    Args:
        target: a run, its folder, or ``untrained:`` and the name of a model.
        store: the sweeps.
        kind: ``linear`` (solved to the end), ``knn``, or ``linear_sgd`` (the published recipe).
        split: of the store; by default that of the run, or ``by_object``.
        part: to test on.
        pool: features of the ``last`` step or their ``mean`` over steps; by default those that
            the run's objective looked at, or the last.
        batch_size: of the passes.
        seed: of the untrained weights; by default that of the run, whose first weights they are.
        device: where to compute features.

    Raises:
        InputError: no such run, model, split or part; or shapes that do not fit.
    """
    if kind not in KINDS:
        raise refuse_unknown("kind", kind, KINDS)
    store = store if isinstance(store, SweepStore) else SweepStore.open(store)
    run: Run | None = None
    if isinstance(target, Run):
        run = target
    elif not str(target).startswith(UNTRAINED):
        run = load_run(target)
    name = run.config.data.split if run is not None and split is None else split or "by_object"
    preprocessing, normalisation = _input_of(run, store, name)
    parts = [
        _loader(store, name, p, preprocessing, normalisation, batch_size) for p in ("train", part)
    ]
    shape: Any = parts[0].dataset.shape
    labels = store.labels
    if run is None:
        model_name = str(target).removeprefix(UNTRAINED)
        first = build(model_name, n_classes=len(labels), input_shape=shape, seed=seed or 0)
    else:
        if tuple(run.model.input_shape) != tuple(shape):
            raise refuse(
                "store", str(store.path), f"its input is {tuple(shape)}, the run takes "
                f"{tuple(run.model.input_shape)}", "give a store recorded alike",
            )  # fmt: skip
        if not math.isclose(store.rate_hz, run.rate_hz, rel_tol=1e-6):
            raise refuse(
                "store", str(store.path), f"recorded at {store.rate_hz:g} Hz, and the run was "
                f"trained at {run.rate_hz:g} Hz", "give a store recorded alike",
            )  # fmt: skip
        model_name = run.model.name
        own = run.config.seed if seed is None else seed
        first = build(run.config.model, n_classes=len(run.labels), input_shape=shape, seed=own)
    groups = store.table["object"].to_numpy(dtype=object).astype(str)
    if pool is None:
        pool = "last" if run is None else pool_of(run.config)

    def result(model: nn.Module) -> ProbeResult:
        with memory_advice("batch_size", batch_size, "choose a smaller one, or another device"):
            model.to(device)
            train, test = (extract_features(model, loader, pool=pool) for loader in parts)
        return _evaluate(kind, train, test, len(labels), groups)

    return ProbeReport(
        model=model_name,
        kind=kind,
        pool=pool,
        split=name,
        part=part,
        trained=None if run is None else result(run.model),
        untrained=result(first),
        run=None if run is None else run.digest,
        store=store.digest,
    )


def pool_of(config: TrainConfig) -> Pool:
    """Which features an objective looks at: of the last step, or the mean over steps."""
    return "mean" if getattr(config.objective, "pool", "last") == "mean" else "last"


def probe_online(model: nn.Module, data: DataModule, config: TrainConfig) -> Row:
    """Top-1, and top-5 if told, of a probe on the validation part, in the middle of a training."""
    found = probe_part(model, data, config, "validate")
    row: Row = {"probe_top1": found.top1}
    if found.top5 is not None:
        row["probe_top5"] = found.top5
    return row


def probe_part(model: nn.Module, data: DataModule, config: TrainConfig, part: str) -> ProbeResult:
    """Let a probe learn from the training part and test it on another, of all processes."""
    kind, pool = config.probe, pool_of(config)
    loaders = (whole_loader(data, p) for p in ("train", part))
    train, test = (extract_features(model, loader, pool=pool) for loader in loaders)
    groups = data.store.table["object"].to_numpy(dtype=object).astype(str)
    return _evaluate(kind, train, test, data.n_classes, groups)


def whole_loader(data: DataModule, part: str) -> TactileLoader:
    """All sweeps of a part in their order, for one process, beside the loaders in use."""
    size = data.config.eval_batch_size or data.config.batch_size
    return TactileLoader(data.dataset(part), size, shuffle=False)


def _evaluate(
    kind: str, train: Features, test: Features, n_classes: int, groups: np.ndarray
) -> ProbeResult:
    return KINDS[kind]().evaluate(
        train.values, train.label, test.values, test.label,
        groups=groups[test.index], n_classes=n_classes,
    )  # fmt: skip


def _input_of(
    run: Run | None, store: SweepStore, split: str
) -> tuple[Preprocessing, Normalisation]:
    """A trained network gets what it was trained on; an untrained one the measured default."""
    if run is not None:
        return run.preprocessing, run.normalisation
    data = DataModule(store, split, LoaderConfig(cache="never"), quiet=True)
    return data.preprocessing, data.normalisation


def _loader(
    store: SweepStore, split: str, part: str, preprocessing: Preprocessing,
    normalisation: Normalisation, batch_size: int,
) -> TactileLoader:  # fmt: skip
    dataset = SweepDataset(
        store, split=split, part=part, preprocessing=preprocessing, normalisation=normalisation
    )
    return TactileLoader(dataset, batch_size, shuffle=False)
