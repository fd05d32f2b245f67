"""``vibrissa train`` and ``vibrissa probe``: a model on a data set, and what its features know."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro

from vibrissa.cli.choosing import torch_device
from vibrissa.cli.speaking import say
from vibrissa.core.errors import refuse

if TYPE_CHECKING:
    from vibrissa.train import RunResult, TrainConfig

EXIT_OF: Final = {"finished": 0, "stopped": 130, "non-finite": 1}
# option -> its place in a recipe
_PLACES: Final = {
    "model": "model", "split": "data.split", "batch_size": "data.batch_size", "epochs": "epochs",
    "lr": "optimiser.lr", "weight_decay": "optimiser.weight_decay",
    "augmentation": "objective.augmentation", "precision": "precision", "clip_norm": "clip_norm",
    "accumulate": "accumulate", "probe": "probe", "monitor": "monitor", "patience": "patience",
    "start": "start", "n_classes": "n_classes", "seed": "seed",
}  # fmt: skip
_MEMBERS: Final = ("objective", "optimiser", "schedule")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of ``vibrissa train``. What is not given is as the recipe says, or the default.

    Attributes:
        data: folder of the data set.
        out: the run folder; what was begun there with the same options goes on.
        recipe: a YAML file, a recipe of this package (quick, quick_simclr, quick_simsiam,
            quick_autoencoder) or a published model (vibrissa list zoo).
        model: ENCODER+ATTENDER+DECODER (vibrissa list models), narrower with tiny: or small:
            before it; a part of your own is module:Class or ./file.py:Class.
        objective: supervised, simclr, simsiam, autoencoder, instance_discrimination.
        split: name of a split of the data set (vibrissa dataset split).
        epochs: passes over the training part.
        batch_size: sweeps per step, over all devices together.
        lr: learning rate.
        weight_decay: pull of weights towards zero.
        optimiser: sgd, adam, adamw, lars.
        schedule: constant, step, cosine, cosine_annealing.
        augmentation: what views are made by: none, tactile, published, image and others (vibrissa
            list augmentations).
        precision: fp32, or bf16 for products in bfloat16.
        clip_norm: gradients longer than this are shortened to it.
        accumulate: compute a batch in so many parts, to save memory.
        probe: on the way, for self-supervised training: knn, linear or none.
        monitor: the metric by which the best epoch is known.
        patience: end after so many epochs without a better one.
        start: a run whose weights to begin with.
        n_classes: refuse a data set with another number of classes.
        seed: of weights, order, augmentation and dropout.
        set: any other entry of the recipe, may be repeated, as objective.temperature=0.2.
        resume: go on with the recipe that stands in the run folder.
        print_recipe: print the recipe that the options make, as YAML, and do nothing.
        devices: processes on this machine, each with a device of its own.
        nodes: machines, where a launcher started this on each.
        accelerator: auto, cpu, cuda.
        cache: of decoded sweeps: auto, always or never.
        threads: how many read ahead.
        save_every_s: seconds between checkpoints within an epoch.
        track: wandb or mlflow as well, may be repeated.
        json: print result.json on stdout.
        quiet: no progress, no remarks.
    """

    data: tyro.conf.Positional[Path]
    out: Path
    recipe: str | None = None
    model: str | None = None
    objective: str | None = None
    split: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    optimiser: str | None = None
    schedule: str | None = None
    augmentation: str | None = None
    precision: Literal["fp32", "bf16"] | None = None
    clip_norm: float | None = None
    accumulate: int | None = None
    probe: Literal["none", "knn", "linear"] | None = None
    monitor: str | None = None
    patience: int | None = None
    start: Path | None = None
    n_classes: int | None = None
    seed: int | None = None
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    resume: bool = False
    print_recipe: bool = False
    devices: int = 1
    nodes: int = 1
    accelerator: str = "auto"
    cache: Literal["auto", "always", "never"] = "auto"
    threads: int | None = None
    save_every_s: float = 600.0
    track: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    json: bool = False
    quiet: bool = False


def run(config: TrainOptions) -> int:
    """Train, and say what came of it; exit status 1 if a loss was not finite, 130 if stopped."""
    from vibrissa.train import RunOptions, train

    chosen = config_of(config)
    if config.print_recipe:
        import yaml

        print(yaml.safe_dump(chosen.to_tree(), sort_keys=False, allow_unicode=True), end="")
        return 0
    options = RunOptions(
        devices=config.devices,
        nodes=config.nodes,
        accelerator=config.accelerator,
        cache=config.cache,
        threads=config.threads,
        save_every_s=config.save_every_s,
        track=config.track,
        tell=None if config.quiet else say,
        quiet=config.quiet,
    )
    result = train(chosen, config.data, config.out, options=options)
    _tell(config, result)
    return EXIT_OF[result.status]


def config_of(config: TrainOptions) -> TrainConfig:
    """The training that the options mean.

    Raises:
        InputError: an option, or an entry of the recipe, that cannot be used.
    """
    from vibrissa.train import TrainConfig, config_from_tree
    from vibrissa.train.config import with_changes

    base, origin = _base(config)
    tree = TrainConfig().to_tree() | base
    for name in _MEMBERS:
        asked, known = getattr(config, name), tree[name]
        if asked is not None and asked != (known if isinstance(known, str) else known["type"]):
            tree[name] = {"type": asked}
    changes: dict[str, Any] = {}
    for option, place in _PLACES.items():
        value = getattr(config, option)
        if value is not None:
            changes[place] = value.as_posix() if isinstance(value, Path) else value
    changes |= dict(_entry(text) for text in config.set)
    return config_from_tree(with_changes(tree, changes, origin), origin)


def _base(config: TrainOptions) -> tuple[dict[str, Any], str]:
    """The recipe as a plain tree, and what to call it in an error."""
    from vibrissa.core.config import read_yaml
    from vibrissa.train.folder import RECIPE, read_manifest
    from vibrissa.train.recipe_files import recipe_tree

    if config.resume:
        if config.recipe is not None:
            raise refuse("recipe", config.recipe, "--resume takes the run's own", "leave it out")
        read_manifest(config.out)
        path = config.out / RECIPE
    elif config.recipe is None:
        return {}, "options"
    elif config.recipe.lower().endswith((".yaml", ".yml", ".json")):
        path = Path(config.recipe)
    else:
        return recipe_tree(config.recipe), f"recipe {config.recipe}"
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise refuse(str(path), tree, "not a mapping of names to values", "begin it with model:")
    return tree, str(path)


def _entry(text: str) -> tuple[str, Any]:
    import yaml

    place, equals, value = text.partition("=")
    if not equals or not place.strip():
        raise refuse("set", text, "not PLACE=VALUE", "write it as objective.temperature=0.2")
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise refuse("set", text, "the value is not YAML", "put it in quotes") from error
    if isinstance(read, str):
        with contextlib.suppress(ValueError):
            read = float(read)  # YAML itself takes 1e-3 for text
    return place.strip(), read


def _tell(config: TrainOptions, result: RunResult) -> None:
    if result.repeated:
        say(f"{result.folder} had ended before; nothing was done.")
    if not config.quiet or result.status != "finished":
        say(result.message)
    collapse = result.tree.get("collapse") or {}
    if collapse.get("verdict") not in (None, "healthy"):
        say(f"collapsed: {collapse.get('sentence', collapse['verdict'])}")
    for part, scores in (result.scores or {}).items():
        if not config.quiet:
            say(_scores(part, scores))
    if config.json:
        print(json.dumps(result.tree, indent=1, ensure_ascii=False))
    else:
        print(result.folder)


def _scores(part: str, scores: dict[str, Any]) -> str:
    for name, found in scores.items():
        if name.endswith("_probe"):
            low, high = found["top1_interval"]
            return (
                f"{part}: {name.replace('_', ' ')} top-1 {100 * found['top1']:.1f} % "
                f"({100 * low:.1f} to {100 * high:.1f}), chance {100 * found['chance']:.1f} %"
            )
    top1 = scores["top1"]
    low, high = top1["objects_95"] or top1["wilson_95"]
    five = f"top-5 {100 * scores['top5']['value']:.1f} %, " if "top5" in scores else ""
    return (
        f"{part}: top-1 {100 * top1['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f}), "
        f"{five}chance {100 * scores['chance']:.1f} %, "
        f"{scores['sweeps']} sweeps of {scores['objects']} objects"
    )


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of ``vibrissa probe``.

    Attributes:
        run: a run folder; the same network untrained is probed as well. Or untrained:MODEL for an
            untrained network alone, as untrained:small:zhuang.
        data: folder of the data set.
        kind: linear (solved to the end), knn, or linear_sgd (the published recipe).
        split: of the data set; by default that of the run, or by_object.
        part: to test on: test, validate or train.
        pool: features of the last step, or their mean over steps; by default those that the run's
            objective looked at.
        seed: of the untrained weights; by default that of the run.
        device: where to compute features, cpu or cuda.
        batch_size: of the passes.
        out: write the numbers there; by default to probe/ in the run folder.
        json: print them on stdout.
        quiet: no remarks.
    """

    run: tyro.conf.Positional[str]
    data: tyro.conf.Positional[Path]
    kind: str = "linear"
    split: str | None = None
    part: str = "test"
    pool: Literal["last", "mean"] | None = None
    seed: int | None = None
    device: str = "cpu"
    batch_size: int = 256
    out: Path | None = None
    json: bool = False
    quiet: bool = False


def run_probe(config: ProbeOptions) -> int:
    """Probe a trained and an untrained network."""
    from vibrissa.core.files import atomic_path
    from vibrissa.core.memory import memory_advice
    from vibrissa.train.probing import UNTRAINED, probe

    kind: Any = config.kind
    remedy = "choose a smaller one, or a smaller model"
    with memory_advice("batch_size", config.batch_size, remedy):
        report = probe(
            config.run, config.data, kind=kind, split=config.split, part=config.part,
            pool=config.pool, seed=config.seed, device=torch_device(config.device),
            batch_size=config.batch_size,
        )  # fmt: skip
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False)
    path = config.out
    if path is None and not config.run.startswith(UNTRAINED):
        name = f"{report.kind}-{report.pool}-{report.split}-{report.part}.json"
        path = Path(config.run) / "probe" / name
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if not config.quiet:
        say(report.sentence)
    if config.json or path is None:
        print(text)
    else:
        print(path)
    return 0
