"""The run folder: who may train in it, what stands in it, and how a run is read back.

Its format is written down in docs/formats.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from vibrissa.core.config import from_tree
from vibrissa.core.errors import InputError, OutputError, refuse, refuse_unknown
from vibrissa.core.files import atomic_path, digest_of_file
from vibrissa.core.manifest import Manifest
from vibrissa.data.normalisation import Normalisation
from vibrissa.data.preprocessing import Preprocessing
from vibrissa.data.resampling import Recording
from vibrissa.models import EAD, EADConfig, build
from vibrissa.train.checkpoint import load_weights, read_checkpoint
from vibrissa.train.config import TrainConfig, config_from_tree, first_difference

MANIFEST: Final = "manifest.json"
RECIPE: Final = "recipe.yaml"
RESULT: Final = "result.json"
CHECKPOINTS: Final = "checkpoints"
WHAT: Final = "run"
RESULT_FORMAT: Final = "vibrissa run result"
RESULT_VERSION: Final = 1
Which = Literal["best", "last"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A training read back.

    Attributes:
        folder: of the run.
        which: ``best`` or ``last``.
        model: in eval mode, on the CPU.
        config: what was trained, and how.
        preprocessing: how loads become its input.
        normalisation: of its input.
        labels: names of the classes of its scores.
        rate_hz: frames per second of the sweeps that it was trained on, as stored.
        frames: of one of these sweeps, as stored.
        sampling: what such a frame is, ``average`` or ``point``, see
            :class:`vibrissa.simulation.SolverConfig`.
        recording: how the simulated frames became these; None for sweeps that were imported.
        epoch: epochs done when the weights were written.
        manifest: of the run.
        digest: SHA-256 of the checkpoint.
        objective: state dict of the heads.
    """

    folder: Path
    which: str
    model: EAD
    config: TrainConfig
    preprocessing: Preprocessing
    normalisation: Normalisation
    labels: tuple[str, ...]
    rate_hz: float
    frames: int
    sampling: str
    recording: Recording | None
    epoch: int
    manifest: Manifest
    digest: str
    objective: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name


def load_run(folder: Path | str, which: Which = "best") -> Run:
    """Read a run.

    Args:
        folder: a run folder.
        which: ``best`` for the weights of the best epoch, ``last`` for the newest.

    Raises:
        InputError: no run folder, no such checkpoint yet, or one that is damaged or of another
            model.
    """
    if which not in ("best", "last"):
        raise refuse_unknown("which", which, ("best", "last"))
    path = Path(folder)
    manifest = read_manifest(path)
    source = path / CHECKPOINTS / f"{which}.pt"
    if not source.is_file():
        raise refuse(
            "run", str(path), f"it has no {CHECKPOINTS}/{which}.pt",
            "train it to the end of its first epoch",
        )  # fmt: skip
    state = read_checkpoint(source)
    card = state["config"]
    if "recorded" not in card:
        raise InputError(f"{source}: it does not say at which rate it was trained; train it again.")
    recorded = card["recorded"]
    way = recorded["recording"]
    check_card(card, manifest.config, source)
    model = model_of_card(card)
    load_weights(model, state["model"], source)
    model.eval()
    return Run(
        folder=path,
        which=which,
        model=model,
        config=config_from_tree(card["recipe"], str(source)),
        preprocessing=from_tree(Preprocessing, card["preprocessing"], str(source)),
        normalisation=Normalisation.from_dict(card["normalisation"]),
        labels=tuple(card["labels"]),
        rate_hz=float(recorded["rate_hz"]),
        frames=int(recorded["frames"]),
        sampling=recorded["sampling"],
        recording=None if way is None else from_tree(Recording, way, str(source)),
        epoch=int(state["progress"]["epoch"]),
        manifest=manifest,
        digest=digest_of_file(source),
        objective=state["objective"],
    )


def check_card(card: Mapping[str, Any], recipe: object, source: Path) -> None:
    """Refuse a checkpoint of another training than the folder is of.

    Raises:
        InputError: their recipes differ; the first difference is told.
    """
    found = first_difference(card["recipe"], recipe)
    if found is not None:
        place, there, here = found
        raise InputError(
            f"{source}: a checkpoint of another training ({place} is {there!r} there, and {here!r} "
            "in this run); put back that of this run, or train again with another --out."
        )


def model_of_card(card: Mapping[str, Any]) -> EAD:
    """The model that a checkpoint describes, with weights of its own."""
    recipe = card["recipe"]["model"]
    model = recipe if isinstance(recipe, str) else EADConfig.from_tree(recipe, "checkpoint: model")
    shape: Any = tuple(card["input_shape"])
    return build(model, n_classes=card["n_classes"], input_shape=shape, seed=0)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        InputError: there is none, or that of something else.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(
            "run", str(folder), f"no run folder (it has no readable {MANIFEST})",
            "give the --out of a training",
        ) from error  # fmt: skip
    manifest = Manifest.from_json(text, origin=str(path))
    if manifest.what != WHAT:
        raise refuse(
            "run", str(folder), f"it holds a {manifest.what}", "give the --out of a training"
        )
    return manifest


def has_begun(folder: Path) -> bool:
    """Whether a run was begun there; what was refused before its first checkpoint binds nobody."""
    trained = (folder / CHECKPOINTS).is_dir() or (folder / RESULT).is_file()
    return (folder / MANIFEST).is_file() and trained


def claim(folder: Path, manifest: Manifest) -> bool:
    """Make the folder that of a run, or see that it is already.

    Returns:
        Whether the run was begun before.

    Raises:
        InputError: it holds a run of another configuration or data, the first difference is named;
            or other things.
        OutputError: it cannot be written.
    """
    path = folder / MANIFEST
    if has_begun(folder):
        known = read_manifest(folder)
        _compare(folder, known, manifest)
        return True
    try:
        busy = folder.is_dir() and any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read ({error.strerror}).") from error
    if (busy and not path.is_file()) or folder.is_file():
        raise refuse(
            "out", str(folder), "it is there and is no run folder", "choose another output folder"
        )
    with atomic_path(path) as temporary:
        temporary.write_text(manifest.to_json(), encoding="utf-8")
    return False


def _compare(folder: Path, known: Manifest, now: Manifest) -> None:
    # in the order of the new one: a file has its keys sorted
    found = first_difference(dict(now.config), dict(known.config))
    if found is not None:
        place, asked, before = found
        raise refuse(
            place, asked, f"the run in {folder} was begun with {before!r}",
            "use that, or choose another output folder",
        )  # fmt: skip
    for name, digest in now.inputs.items():
        if known.inputs.get(name) != digest:
            raise InputError(
                f"{name}: another one than the run in {folder} was begun with; "
                "use that, or choose another output folder."
            )


def write_result(folder: Path, tree: Mapping[str, Any]) -> Path:
    """Write ``result.json``, whole or not at all."""
    head = {"format": RESULT_FORMAT, "version": RESULT_VERSION}
    text = json.dumps(head | dict(tree), indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_path(folder / RESULT) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return folder / RESULT


def read_result(folder: Path | str) -> dict[str, Any] | None:
    """What :func:`write_result` wrote; None if there is none yet.

    Raises:
        InputError: it is damaged or of a newer version.
    """
    path = Path(folder) / RESULT
    if not path.is_file():
        return None
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not as it was written; delete it and train again.") from error
    if not isinstance(tree, dict) or tree.get("format") != RESULT_FORMAT:
        raise InputError(f"{path}: not a result of a training; delete it and train again.")
    if tree["version"] != RESULT_VERSION:
        raise refuse(
            f"{path}: version", tree["version"], f"this release reads version {RESULT_VERSION}",
            "upgrade vibrissa",
        )  # fmt: skip
    return tree
