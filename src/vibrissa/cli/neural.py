"""``vibrissa neural inspect / synth / download``: recordings before anything is scored."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro

from vibrissa.cli.choosing import writable_folder
from vibrissa.cli.speaking import say
from vibrissa.core.errors import InputError, refuse
from vibrissa.neural.synth import SynthConfig


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """Options of ``vibrissa neural inspect``.

    Attributes:
        paths: NWB files, or folders that are searched for them.
        window: published (start to choice), response_window, first_touch or contacts.
        trials: correct, answered (correct and error), error or published.
        mapping: YAML file that says what the columns mean; by default DANDI 000231.
        figure: draw the contact-triggered rates there (.png, .svg or .pdf).
        engine: h5py is quick, pynwb knows extensions of the format; both give the same.
        subtract_recording_start: subtract the start of the recording from all spike times, as the
            published loader does, to see what that does.
        json: print one JSON document on stdout.
        quiet: no progress bar.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    window: str | None = None
    trials: str = "correct"
    mapping: Path | None = None
    figure: Path | None = None
    engine: Literal["h5py", "pynwb"] = "h5py"
    subtract_recording_start: bool = False
    json: bool = False
    quiet: bool = False


def run_inspect(config: InspectConfig) -> int:
    """Describe every file; exit status 1 if one cannot be used, 2 if none can."""
    from vibrissa.neural.inspecting import describe_inspections, inspect_recordings

    found = inspect_recordings(
        config.paths, window=config.window, trials=config.trials, mapping=config.mapping,
        engine=config.engine, subtract_recording_start=config.subtract_recording_start,
        quiet=config.quiet,
    )  # fmt: skip
    if config.json:
        print(json.dumps([one.to_dict() for one in found], indent=1, ensure_ascii=False))
    else:
        print(describe_inspections(found))
    for one in found:
        if one.clock is not None and one.clock.status == "shifted":
            say(f"WARNING: {one.path.name}: {one.clock.sentence}")
    if config.figure is not None:
        from vibrissa.neural.inspecting_figures import draw_inspections
        from vibrissa.simulation.drawing import save_figure

        save_figure(draw_inspections(found), config.figure)
        say(f"figure: {config.figure}")
    usable = sum(one.usable for one in found)
    return 0 if usable == len(found) else 1 if usable else 2


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """Options of ``vibrissa neural synth``.

    Attributes:
        out: folder to write to.
        recordings: how many, how tuned, what is wrong with them.
        geometry: .npy, .csv or Activations file (.h5) with one row per condition, concave close,
            medium, far, convex close, medium, far: the conditions then have its correlation RDM.
            An Activations file needs --layer.
        layer: the layer of an Activations file.
        seed: root seed; equal seeds give equal bytes.
        quiet: no progress bar, no remarks.
    """

    out: Path
    recordings: tyro.conf.OmitArgPrefixes[SynthConfig] = field(default_factory=SynthConfig)
    geometry: Path | None = None
    layer: str | None = None
    seed: int = 0
    quiet: bool = False


def run_synth(config: SynthOptions) -> int:
    """Write the recordings and their truth, and say where."""
    from vibrissa.neural.synth_nwb import write_synth

    features = None if config.geometry is None else _features(config.geometry, config.layer)
    writable_folder(config.out)
    report = write_synth(
        config.out, config.recordings, config.seed, features=features, quiet=config.quiet
    )
    if not config.quiet:
        n = len(report.files)
        say(f"{n} synthetic recording{'s' * (n != 1)}; what is true of them: {report.truth}")
    print(config.out)
    return 0


def _features(path: Path, layer: str | None) -> Any:
    """(condition, feature) rows in the canonical order."""
    import numpy as np

    from vibrissa.neural.conditions import CONDITIONS

    if path.suffix.lower() in (".h5", ".hdf5"):
        from vibrissa.activations.container import Activations

        if layer is None:
            raise refuse("layer", None, "an Activations file has many", "name one")
        loaded = Activations.load(path)
        mean = loaded.mean_over_time(layer)
        absent = [name for name in CONDITIONS if name not in loaded.stimuli]
        if absent:
            raise refuse("geometry", str(path), f"it lacks {absent[0]!r}", "give all six stimuli")
        return mean[[loaded.stimuli.index(name) for name in CONDITIONS]]
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, allow_pickle=False)
        return np.loadtxt(path, delimiter=",", ndmin=2)
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: no table of numbers ({why}); give .npy, .csv or .h5.") from error


@dataclass(frozen=True, kw_only=True)
class DownloadConfig:
    """Options of ``vibrissa neural download``.

    Attributes:
        out: folder to write to.
        dandiset: number of the dandiset; 000231 is the mouse shape task.
        version: its version, or draft.
        only: all fetches whole files (about 7 GB per session with recordings); trials-units leaves
            the raw voltage and other large arrays on the server (some MB per session).
        match: only files whose path matches, with * and ?.
        dry_run: list what would be fetched.
        quiet: no progress bar, no remarks.
    """

    out: Path
    dandiset: str = "000231"
    version: str = "0.220904.1554"
    only: Literal["trials-units", "all"] = "trials-units"
    match: str = "*ecephys*.nwb"
    dry_run: bool = False
    quiet: bool = False


def run_download(config: DownloadConfig) -> int:
    """Fetch, going on where an earlier run stopped; exit status 1 if a file failed."""
    from vibrissa.neural.download import DandiArchive, fetch

    archive = DandiArchive(dandiset=config.dandiset, version=config.version)
    if not config.dry_run:
        writable_folder(config.out)
    report = fetch(
        archive, config.out, only=config.only, match=config.match, dry_run=config.dry_run,
        quiet=config.quiet,
    )  # fmt: skip
    if config.dry_run:
        for asset in report.planned:
            print(f"{asset.size:>15,d}  {asset.path}")
    for path, why in report.failed:
        say(f"failed: {path}: {why}")
    if not config.quiet:
        say(report.sentence())
    print(config.out)
    return 1 if report.failed else 0
