"""Synthetic recordings as NWB files with the objects and columns of DANDI 000231.

Every file says in its description and keywords that it is synthetic. Equal seeds give equal bytes:
times and identifiers inside the files come from the seed, not from the clock.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np

from vibrissa.core.errors import InputError, require_extra
from vibrissa.core.files import atomic_path
from vibrissa.core.progress import track
from vibrissa.neural.synth import SynthConfig, synth_world
from vibrissa.neural.synth_recording import SynthRecording, synth_recordings
from vibrissa.neural.synth_truths import SynthTruth

TRUTH_FILE: Final = "truth.json"
_SAMPLE_HZ: Final = 30_000.0
_CHANNELS: Final = 4
_ZONE: Final = timezone(timedelta(hours=-4))
_NAMESPACE: Final = uuid.UUID("6f1e9c1e-6f5b-5d0a-9b7e-6a1b3c0d2e4f")
_DESCRIPTIONS: Final = {
    "direct_delivery": "whether water was given without a choice",
    "stim_is_random": "whether the stimulus was drawn at random",
    "optogenetic": "whether light was on",
    "ignore_trial": "whether the trial should be left out of analyses",
    "outcome": "correct, error or spoil",
    "choice": "left, right or nogo",
    "rewarded_side": "left or right",
    "servo_position": "close, medium or far",
    "stimulus": "convex, concave or nothing",
    "choice_time": "first lick after the response window opened, s",
    "response_window_open_time": "when licks began to count, s",
    "trial": "number of the trial in the session",
}


@dataclass(frozen=True, kw_only=True)
class SynthReport:
    """What :func:`write_synth` wrote.

    Attributes:
        files: the NWB files, in the order of the sessions.
        truth: the file with the truth.
    """

    files: tuple[Path, ...]
    truth: Path


def write_synth(
    out: Path | str,
    config: SynthConfig | None = None,
    seed: int = 0,
    *,
    features: Any = None,
    rdm: Any = None,
    quiet: bool = False,
) -> SynthReport:
    """Write synthetic recordings and, beside them, what is true of them (``truth.json``).

    Args:
        out: folder to write to; files are named as those of the dataset.
        config: what they are to be like.
        seed: root seed.
        features, rdm: the geometry, as for :func:`vibrissa.neural.synth.synth_world`.
        quiet: no progress bar.

    Raises:
        InputError: the folder holds other recordings, or values that make no sense.
        MissingExtraError: pynwb is not installed.
    """
    require_extra("pynwb", "neural", "writing NWB files")
    config, folder = config or SynthConfig(), Path(out)
    recordings = synth_recordings(config, seed, features=features, rdm=rdm)
    plan = [folder / f"sub-{r.raw.animal}" / file_name(r) for r in recordings]
    strangers = sorted(set(folder.rglob("*.nwb")) - set(plan)) if folder.exists() else []
    if strangers:
        raise InputError(
            f"{folder}: it already holds other recordings ({strangers[0].name}); "
            "choose an empty folder."
        )
    done: list[Path] = []
    for path, recording in track(
        list(zip(plan, recordings, strict=True)), "writing sessions", unit="file", quiet=quiet
    ):
        write_recording(path, recording)
        done.append(path)
    world = synth_world(config, seed, features=features, rdm=rdm)
    truth = SynthTruth.of(world).save(folder / TRUTH_FILE)
    return SynthReport(files=tuple(done), truth=truth)


def file_name(recording: SynthRecording) -> str:
    """As in the dataset: ``sub-X_ses-TIME_behavior+ecephys+image.nwb``, ecephys if it has units."""
    raw = recording.raw
    kinds = "behavior+ecephys+image" if raw.n_units else "behavior+image"
    return f"sub-{raw.animal}_ses-{_start_of(raw.name):%Y%m%dT%H%M%S}_{kinds}.nwb"


def write_recording(path: Path | str, recording: SynthRecording) -> Path:
    """Write one file; it stands there whole or not at all."""
    pynwb = require_extra("pynwb", "neural", "writing NWB files")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of pynwb, on spellings that the dataset has and it warns of
        nwb = _file(pynwb, recording)
        _settle_identifiers(nwb, recording.raw.name)
        with atomic_path(path) as temporary, pynwb.NWBHDF5IO(temporary, mode="w") as io:
            io.write(nwb, cache_spec=False)
    return Path(path)


def _start_of(name: str) -> datetime:
    date = name.split("_")[0]
    day = datetime(2000 + int(date[:2]), int(date[2:4]), 1, 14, 49, 23, tzinfo=_ZONE)
    return day + timedelta(days=int(date[4:6]) - 1)


def _file(pynwb: Any, recording: SynthRecording) -> Any:
    raw, start = recording.raw, _start_of(recording.raw.name)
    nwb = pynwb.NWBFile(
        session_description=f"SYNTHETIC session {raw.name}, made by vibrissa; no animal was used",
        identifier=raw.name,
        session_start_time=start,
        timestamps_reference_time=start,
        file_create_date=start,
        experiment_description=f"synthetic {recording.task}: spikes drawn from known tuning",
        institution="none (synthetic)",
        keywords=["synthetic", "whisker", "shape", recording.task],
    )
    nwb.subject = pynwb.file.Subject(
        subject_id=raw.animal, description=f"synthetic mouse {raw.animal}", sex="M",
        species="Mus musculus", strain="C57BL6/J",
        date_of_birth=datetime(2018, 9, 14, tzinfo=_ZONE),
    )  # fmt: skip
    _add_trials(pynwb, nwb, recording)
    _add_behaviour(pynwb, nwb, recording)
    camera = nwb.create_device(name="high-speed camera", description="synthetic")
    n_frames = round((float(raw.trials["stop_time"][-1]) + 1.0) * 30.0)
    nwb.add_acquisition(
        pynwb.image.ImageSeries(
            name="behavioral video", description="there is no video; synthetic", unit="n.a.",
            external_file=["none.mkv"], format="external", starting_frame=[0], rate=30.0,
            num_samples=n_frames, device=camera,
        )
    )  # fmt: skip
    if raw.n_units:
        _add_electrodes(pynwb, nwb, recording)
        _add_units(nwb, recording)
    return nwb


def _add_trials(pynwb: Any, nwb: Any, recording: SynthRecording) -> None:
    trials = recording.raw.trials
    table = pynwb.epoch.TimeIntervals(
        name="trials",
        description="synthetic trials",
        columns=[
            pynwb.core.VectorData(
                name=name, description=_DESCRIPTIONS.get(name, name), data=_listed(values)
            )
            for name, values in trials.items()
        ],
        id=recording.raw.trial_ids.tolist(),
    )
    nwb.trials = table
    if recording.raw.coverage is not None and len(recording.raw.coverage) > 1:  # gaps are declared
        for begin, end in recording.gaps_s:
            nwb.add_invalid_time_interval(start_time=float(begin), stop_time=float(end))


def _listed(values: np.ndarray) -> Any:
    return values.tolist() if values.dtype.kind in "US" else values


def _add_behaviour(pynwb: Any, nwb: Any, recording: SynthRecording) -> None:
    module = nwb.create_processing_module(name="behavior", description="synthetic behaviour")
    for whisker, track_of in recording.angles.items():
        angle = pynwb.TimeSeries(
            name="angle", data=track_of[:, 1], timestamps=track_of[:, 0], unit="degrees",
            description="angle of the whisker, 0 horizontal, positive protracting",
        )  # fmt: skip
        name = f"processed_position_whisker_{whisker}"
        module.add(pynwb.behavior.BehavioralTimeSeries(name=name, time_series=angle))
    for whisker, spans in recording.raw.contacts.items():
        at = recording.angles[whisker]
        angle = np.interp(spans[:, 0], at[:, 0], at[:, 1])
        columns = {"start_time": spans[:, 0], "stop_time": spans[:, 1], "angle": angle}
        module.add(
            pynwb.epoch.TimeIntervals(
                name=f"contacts_by_whisker_{whisker}",
                description=f"synthetic contacts of whisker {whisker}",
                columns=[
                    pynwb.core.VectorData(name=name, description=name, data=values)
                    for name, values in columns.items()
                ],
                id=list(range(len(spans))),
            )
        )
    licks = pynwb.behavior.BehavioralTimeSeries(name="licks")
    for side, times in recording.raw.licks.items():
        licks.add_timeseries(
            pynwb.TimeSeries(
                name=side, data=np.ones(len(times)), timestamps=times, unit="n.a.",
                description=f"licks to the {side}",
            )
        )  # fmt: skip
    module.add(licks)


def _add_electrodes(pynwb: Any, nwb: Any, recording: SynthRecording) -> None:
    from hdmf.backends.hdf5 import H5DataIO

    probe = nwb.create_device(name="4253", description="synthetic probe")
    group = nwb.create_electrode_group(
        name="all_channels", description="synthetic", location="barrel cortex", device=probe
    )
    for k in range(_CHANNELS):
        nwb.add_electrode(
            location="barrel cortex", group=group, id=k, rel_x=0.0, rel_y=20.0 * k, rel_z=0.0
        )
    region = nwb.create_electrode_table_region(list(range(_CHANNELS)), "all channels")
    start, stop = recording.span_s
    n = round((stop - start) * _SAMPLE_HZ)
    # Declared in full length but never written, so that it takes no room: only when was recorded
    # matters here.
    voltage = H5DataIO(
        shape=(n, _CHANNELS), dtype=np.dtype("int16"), chunks=(2**14, _CHANNELS), fillvalue=0
    )
    nwb.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="extracellular array recording", data=voltage, electrodes=region,
            starting_time=float(start), rate=_SAMPLE_HZ, conversion=1.95e-7,
            description="no voltage was simulated: all samples are 0",
        )
    )  # fmt: skip


def _add_units(nwb: Any, recording: SynthRecording) -> None:
    raw = recording.raw
    for name, text in (
        ("depth", "depth below the surface, um"),
        ("inhibitory", "whether narrow-spiking"),
        ("layer", "cortical layer"),
    ):
        nwb.add_unit_column(name=name, description=text)
    for k, unit in enumerate(raw.unit_ids.tolist()):
        nwb.add_unit(
            id=unit,
            spike_times=raw.spike_times[k],
            depth=float(raw.unit_info["depth_um"][k]),
            inhibitory=bool(raw.unit_info["inhibitory"][k]),
            layer=str(raw.unit_info["layer"][k]),
        )


def _settle_identifiers(nwb: Any, name: str) -> None:
    """Give every object an identifier that follows from its place instead of from chance."""
    for item in [nwb, *nwb.all_children()]:
        place, holder = [], item
        while holder is not None:
            place.append(str(holder.name))
            holder = holder.parent
        settled = uuid.uuid5(_NAMESPACE, "/".join([name, *place]))
        # There is no public way; where this one is gone, equal seeds differ in these identifiers.
        item._AbstractContainer__object_id = str(settled)


def write_recordings(out: Path | str, recordings: Sequence[SynthRecording]) -> tuple[Path, ...]:
    """Write recordings that were made or changed by hand; names as :func:`file_name` gives them."""
    return tuple(
        write_recording(Path(out) / f"sub-{r.raw.animal}" / file_name(r), r) for r in recordings
    )
