"""What a training is: the configuration, to and from YAML, and where two of them differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from vibrissa.augment import Augmentation, augmentations
from vibrissa.core.config import read_yaml
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.models import EADConfig, config_of
from vibrissa.objectives import ObjectiveConfig, SupervisedConfig, make_objective, objectives
from vibrissa.tnn.trees import Families, read_config, write_config, write_member
from vibrissa.train.optimisers import AdamW, OptimiserConfig, optimisers
from vibrissa.train.schedules import Cosine, ScheduleConfig, schedules

FAMILIES: Final[Families] = {
    ObjectiveConfig: objectives,
    Augmentation: augmentations,
    OptimiserConfig: optimisers,
    ScheduleConfig: schedules,
}
Precision = Literal["fp32", "bf16"]
ProbeKind = Literal["none", "knn", "linear"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which sweeps a training sees, and how.

    Attributes:
        split: name of a split in the store.
        batch_size: sweeps per step of the optimiser, over all processes and parts together.
        eval_batch_size: the same where nothing is learned; None for ``batch_size``.
        drop_last: leave out what does not fill a batch.
        preprocessing: how loads become model input.

    Raises:
        InputError: numbers below 1.
    """

    split: str = "by_object"
    batch_size: int = 256
    eval_batch_size: int | None = None
    drop_last: bool = True
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    def __post_init__(self) -> None:
        for name in ("batch_size", "eval_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise refuse(name, value, "must be at least 1", "give 1 or more")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a model is trained, whatever model and objective.

    Attributes:
        optimiser: how steps are made.
        schedule: of the learning rate.
        data: the sweeps.
        epochs: passes over the training part.
        precision: ``bf16`` computes products in bfloat16; weights stay in float32.
        clip_norm: gradients longer than this are shortened to it; None leaves them.
        accumulate: parts in which a batch is computed, one after the other, to save memory. The
            gradient is that of the whole batch, except where sweeps see each other (contrast
            between samples, batch norm): there they see those of their part.
        sync_batch_norm: batch statistics are those of all processes.
        probe: what measures features of self-supervised training on the way, on the validation
            part: nearest neighbours or a linear probe.
        probe_every: epochs between its measurements.
        monitor: the validation metric by which the best epoch is known; by default top-1 accuracy
            where there is one, else the loss. A loss is best where it is least, all else where it
            is greatest.
        patience: stop after so many epochs without a better one; None never does.
        start: a run folder whose weights to begin with, those of encoder and attender, and those
            of the decoder where it fits.
        n_classes: how many classes the store must have; None takes what it has.
        seed: of weights, order, augmentation and dropout.

    Raises:
        InputError: values out of range or unknown words.
    """

    optimiser: OptimiserConfig = field(default_factory=AdamW)
    schedule: ScheduleConfig = field(default_factory=Cosine)
    data: DataConfig = field(default_factory=DataConfig)
    epochs: int = 30
    precision: Precision = "fp32"
    clip_norm: float | None = None
    accumulate: int = 1
    sync_batch_norm: bool = True
    probe: ProbeKind = "knn"
    probe_every: int = 5
    monitor: str | None = None
    patience: int | None = None
    start: Path | None = None
    n_classes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "probe_every", "patience", "n_classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise refuse(name, value, "must be at least 1", "give 1 or more")
        for name, known in (("precision", get_args(Precision)), ("probe", get_args(ProbeKind))):
            if getattr(self, name) not in known:
                raise refuse_unknown(name, getattr(self, name), known)
        clip = self.clip_norm
        if clip is not None and not (math.isfinite(clip) and clip > 0):
            raise refuse("clip_norm", clip, "not a positive number", "give one, or None")
        if self.accumulate > self.data.batch_size:
            raise refuse(
                "accumulate", self.accumulate, f"a batch has {self.data.batch_size} sweeps",
                "give fewer parts, or a larger batch",
            )  # fmt: skip
        if self.seed < 0:
            raise refuse("seed", self.seed, "negative", "give 0 or more")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopConfig):
    """What a training is. In YAML a member of a family is its name, or ``type`` beside options::

        model: tiny:inter_ln+none+linear
        objective: {type: simclr, temperature: 0.1}
        optimiser: {type: lars, lr: 0.1}
        schedule: cosine
        data: {split: by_object, batch_size: 256}
        epochs: 30

    Attributes:
        model: a name that :func:`vibrissa.models.build` takes, or a configuration.
        objective: what is learned.

    Raises:
        InputError: values out of range or unknown words.
    """

    model: str | EADConfig = "tiny:inter_ln+none+linear"
    objective: ObjectiveConfig = field(default_factory=SupervisedConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        config_of(self.model)  # refuses what cannot be built, before any work

    @property
    def model_config(self) -> EADConfig:
        """The configuration of the model."""
        return config_of(self.model)

    def to_tree(self) -> dict[str, Any]:
        """The tree that :func:`config_from_tree` reads, in plain JSON types."""
        model = self.model if isinstance(self.model, str) else self.model.to_tree()
        loop = LoopConfig(**{f.name: getattr(self, f.name) for f in fields(LoopConfig)})
        return {
            "model": model,
            "objective": write_member(self.objective, FAMILIES),
            **write_config(loop, FAMILIES),
        }


def config_from_tree(tree: object, origin: str = "recipe") -> TrainConfig:
    """Read a plain tree, as YAML and JSON give it; left unchanged.

    Raises:
        InputError: an entry is unknown, missing or wrong, named by its place.
    """
    if not isinstance(tree, Mapping):
        raise refuse(origin, tree, "not a mapping of names to values", "begin it with model:")
    entries = dict(tree)
    unknown = [key for key in entries if key not in TrainConfig.__dataclass_fields__]
    if unknown:
        raise refuse_unknown(f"{origin}: entry", str(unknown[0]), TrainConfig.__dataclass_fields__)
    given: dict[str, Any] = {}
    if "model" in entries:
        model = entries.pop("model")
        named = isinstance(model, str)
        given["model"] = model if named else EADConfig.from_tree(model, f"{origin}: model")
    if "objective" in entries:
        given["objective"] = make_objective(entries.pop("objective"), f"{origin}: objective")
    loop = read_config(LoopConfig, entries, FAMILIES, origin)
    try:
        return TrainConfig(**given, **{f.name: getattr(loop, f.name) for f in fields(LoopConfig)})
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def config_from_file(path: Path | str) -> TrainConfig:
    """Read a YAML file; errors as for :func:`config_from_tree`."""
    return config_from_tree(read_yaml(path), str(path))


def with_changes(
    tree: Mapping[str, Any], changes: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """A tree with entries set by their place, for instance ``{"optimiser.lr": 0.1}``.

    Where a member stands as its bare name, options are set beside it; where a model does, those
    of its parts.

    Raises:
        InputError: a model is unknown, or a place runs through something that has no entries.
    """
    changed = dict(tree)
    for place, value in changes.items():
        *path, last = place.split(".")
        node = changed
        for step in path:
            inner = node.get(step, {})
            if node is changed and step == "model" and isinstance(inner, str):
                inner = config_of(inner).to_tree()
            inner = {"type": inner} if isinstance(inner, str) else inner
            if not isinstance(inner, Mapping):
                raise refuse(
                    f"{origin}: {place}", value, f"{step} has no entries", "see the recipe"
                )
            node[step] = dict(inner)
            node = node[step]
        node[last] = value
    return changed


def first_difference(one: Any, other: Any, place: str = "") -> tuple[str, Any, Any] | None:
    """The first place where two plain trees differ, with both values; None if they are equal."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(k for k in other if k not in one)]:
            inside = f"{place}.{key}" if place else str(key)
            if key not in one or key not in other:
                return inside, one.get(key), other.get(key)
            found = first_difference(one[key], other[key], inside)
            if found is not None:
                return found
        return None
    return None if one == other else (place, one, other)
