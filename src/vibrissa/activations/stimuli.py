"""Stimuli for a network: the six of the shape task, sweeps of a data set or of a file, made into
input just as the network's training made its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.activations.inputs import InputConfig, at_rate, check_frames, same_rate, step_times_s
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.manifest import to_tree

if TYPE_CHECKING:
    from vibrissa.data.normalisation import Normalisation
    from vibrissa.data.store import SweepStore
    from vibrissa.morphology.array import WhiskerArray
    from vibrissa.simulation.scene import SolverConfig, Whisking
    from vibrissa.simulation.sweep import Sweep

RODGERS6: Final = "rodgers6"
CONDITIONS: Final = (
    "concave close", "concave medium", "concave far",
    "convex close", "convex medium", "convex far",
)  # fmt: skip
"""Names of the six stimuli, as recordings have them."""
_DISTANCES: Final = {
    "close": "close", "near": "close", "medium": "medium", "middle": "medium", "mid": "medium",
    "far": "far",
}  # fmt: skip
_AT_ONCE: Final = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class StimulusSet:
    """Named stimuli as :func:`~vibrissa.activations.extract` takes them.

    Attributes:
        names: one per stimulus, each once.
        inputs: (stimulus, step, channel, row, column) float32, an array or what gives one for a
            slice.
        times_s: (step,) end of each step.
        metadata: column -> (stimulus,).
        digest: SHA-256 of what they come from, or None for that of the values.
        about: where they come from, a JSON tree for the manifest.
    """

    names: tuple[str, ...]
    inputs: Any
    times_s: np.ndarray
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    digest: str | None = None
    about: Any = None

    def __len__(self) -> int:
        return len(self.names)

    def extract(self, model: Any, **options: Any) -> Any:
        """:func:`~vibrissa.activations.extract` with these stimuli."""
        from vibrissa.activations.extractor import extract

        return extract(
            model, self.inputs, stimuli=self.names, metadata=self.metadata, times_s=self.times_s,
            inputs_digest=self.digest, about=self.about, **options,
        )  # fmt: skip


def choose_stimuli(
    text: str, config: InputConfig, *, array: WhiskerArray | None = None
) -> StimulusSet:
    """Stimuli by name or place.

    Args:
        text: ``rodgers6`` for the six of the shape task, which are simulated; the folder of a data
            set, with or without ``:QUERY`` behind it; or a Sweep file.
        config: how they become input.
        array: whiskers for what is simulated; the right ones of the average mouse if omitted.

    Raises:
        InputError: no such thing, a query without result, or stimuli that do not fit the network.
    """
    if text == RODGERS6:
        return rodgers6(config, array=array)
    folder, _, query = text.partition(":")
    if Path(text).is_dir():
        folder, query = text, ""
    if Path(folder).is_dir():
        from vibrissa.data.store import SweepStore

        store = SweepStore.open(folder)
        return from_store(store, config, store.query(query) if query.strip() else None)
    if Path(text).is_file():
        from vibrissa.simulation.sweep import Sweep

        return from_sweep(Sweep.load(text), config)
    if text.endswith(".h5"):
        raise refuse("stimuli", text, "there is no such file", "check the path")
    raise refuse_unknown("stimuli", text, (RODGERS6, "STORE", "STORE:QUERY", "FILE.sweep.h5"))


def rodgers6(
    config: InputConfig,
    *,
    array: WhiskerArray | None = None,
    whisking: Whisking | None = None,
    solver: SolverConfig | None = None,
) -> StimulusSet:
    """The six stimuli of Rodgers et al. 2022 with active whisking, simulated for as long as the
    network's input lasts, in the order of :data:`CONDITIONS`.

    Args:
        config: how they become input.
        array: whiskers; the right ones of the average mouse if omitted.
        whisking: how the bases turn; that of the protocol if omitted.
        solver: how to simulate; frame and sampling are set as the preprocessing wants them.

    Raises:
        InputError: stimuli that do not fit the network.
    """
    from vibrissa.morphology.mouse import mouse_array
    from vibrissa.simulation.passive import PassiveSweep
    from vibrissa.simulation.rodgers import Rodgers6
    from vibrissa.simulation.scene import SolverConfig

    strided = config.preprocessing.stride_to is not None
    point = strided or config.recording.method == "stride"
    whiskers, solver = array or mouse_array("R"), solver or SolverConfig()
    how = replace(
        solver,
        rate_hz=max(solver.rate_hz, config.rate_hz or 0.0),
        record_world=config.preprocessing.frame == "world",
        sampling=config.sampling or ("point" if point else "average"),
    )
    frames = config.stored_frames or config.frames
    if config.recording.method == "stride":  # of what its rate says it keeps nearly so many
        seconds = frames / config.recording.rate_hz
    elif config.rate_hz is not None:
        seconds = frames / config.rate_hz
    else:
        seconds = 1.0 if strided else frames / config.recording.rate_hz
    protocol = Rodgers6(sweep=PassiveSweep(duration_s=seconds))
    if whisking is not None:
        protocol = replace(protocol, whisking=whisking)
    plan = protocol.plan(whiskers, None, how)
    if plan.refused:
        raise InputError(f"{RODGERS6}: {plan.refused[0].reason}.")
    found = from_sweep(plan.simulate(whiskers, how), config)
    return _in_order(found, CONDITIONS)


def from_sweep(sweep: Sweep, config: InputConfig) -> StimulusSet:
    """Sweeps as stimuli; names of conditions become those of :data:`CONDITIONS`.

    Raises:
        InputError: names that stand twice, or sweeps that do not fit the network.
    """
    from vibrissa.activations.checks import checked_stimuli

    names = checked_stimuli([condition_name(name) for name in sweep.names])
    way = config.preprocessing
    loads, rate_hz = sweep.loads(way.frame), sweep.rate_hz
    if config.rate_hz is not None:
        loads, rate_hz = at_rate(loads, rate_hz, sweep.sampling, config, config.rate_hz)
    elif way.stride_to is None and loads.shape[1] != config.frames:
        loads, rate_hz = config.recording.record(loads, rate_hz, sampling=sweep.sampling)
    check_frames(loads.shape[1], rate_hz, config)
    measured = _normalisation(config, [loads])
    inputs = way.apply(loads, sweep.whiskers, measured)
    metadata = _columns(sweep.parameters)
    if any(sweep.labels):
        metadata["label"] = np.array(sweep.labels)
    metadata["contact_share"] = sweep.contact.mean(axis=(1, 2), dtype=np.float64)
    return StimulusSet(
        names=names, inputs=inputs, times_s=step_times_s(loads.shape[1], rate_hz, config),
        metadata=metadata, about=_about(config, measured, sweep.manifest.config),
    )  # fmt: skip


def from_store(
    store: SweepStore, config: InputConfig, indices: Sequence[int] | np.ndarray | None = None
) -> StimulusSet:
    """Sweeps of a data set as stimuli, read when they are needed and named ``OBJECT/SWEEP``.

    Args:
        store: the data set.
        config: how they become input.
        indices: positions; all if omitted.

    Raises:
        InputError: none at all, or sweeps that do not fit the network.
    """
    from vibrissa.data.reading import ShardReader

    chosen = np.arange(len(store)) if indices is None else np.asarray(indices, np.int64)
    if not len(chosen):
        raise refuse("stimuli", str(store.path), "no sweep fits", "ask for more")
    if config.rate_hz is not None and not same_rate(store.rate_hz, config.rate_hz):
        raise refuse(
            "stimuli", f"{store.path} at {store.rate_hz:g} Hz",
            f"the network was trained at {config.rate_hz:g} Hz",
            "give a data set recorded at that rate, or sweeps in a file, which are brought to it",
        )  # fmt: skip
    check_frames(store.time, store.rate_hz, config)
    frame = config.preprocessing.frame
    blocks = (store.loads(chosen[k : k + _AT_ONCE], frame) for k in range(0, len(chosen), _AT_ONCE))
    measured = _normalisation(config, blocks)
    reader = ShardReader(store, config.preprocessing, measured)
    rows = store.table.iloc[chosen]
    metadata = {
        name: rows[name].to_numpy(str if rows[name].dtype.kind not in "biuf" else None)
        for name in rows.columns
        if name not in ("shard", "row", "geometry", "alike")
    }
    return StimulusSet(
        names=tuple(f"{o}/{s}" for o, s in zip(rows["object"], rows["sweep"], strict=True)),
        inputs=_Lazily(reader, chosen),
        times_s=step_times_s(store.time, store.rate_hz, config),
        metadata=metadata,
        digest=digest_of_bytes(reader.digest.encode(), chosen.astype("<i8").tobytes()),
        about=_about(config, measured, {"store": store.digest}),
    )


def condition_name(name: str) -> str:
    """``convex_close``, ``Near convex`` and the like as ``convex close``; other names as they are.

    A name is only changed if it has one shape, one distance and nothing else in it.
    """
    words = re.findall(r"[a-z]+", name.lower())
    if re.sub(r"[\W_]", "", name.lower()) != "".join(words) or len(words) != 2:
        return name
    shapes = [word for word in words if word in ("concave", "convex")]
    places = [_DISTANCES[word] for word in words if word in _DISTANCES]
    return f"{shapes[0]} {places[0]}" if len(shapes) == len(places) == 1 else name


# --- inside ------------------------------------------------------------------------------------


class _Lazily:
    """Sweeps of a store by slices."""

    def __init__(self, reader: Any, indices: np.ndarray) -> None:
        self._reader, self._indices = reader, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, part: slice) -> np.ndarray:
        chosen = self._indices[part]
        out = np.empty((len(chosen), *self._reader.shape), np.float32)
        self._reader.fill(chosen, out)
        return out


def _in_order(found: StimulusSet, names: Sequence[str]) -> StimulusSet:
    order = [found.names.index(name) for name in names]
    return replace(
        found, names=tuple(names), inputs=found.inputs[order],
        metadata={name: column[order] for name, column in found.metadata.items()},
    )  # fmt: skip


def _normalisation(config: InputConfig, blocks: Any) -> Normalisation | None:
    """The network's own, or that of the stimuli."""
    if config.preprocessing.normalise == "none" or config.normalisation is not None:
        return config.normalisation
    accumulator = config.preprocessing.accumulator()
    for loads in blocks:
        accumulator.add(loads)
    return accumulator.result()


def _about(config: InputConfig, measured: Normalisation | None, source: Any) -> Any:
    return {
        "source": source,
        "preprocessing": to_tree(config.preprocessing),
        "normalisation": None if measured is None else measured.to_dict(),
        "recording": to_tree(config.recording),
        "rate_hz": config.rate_hz,
    }


def _columns(parameters: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """What all sweeps have a number, truth value or text for."""
    shared = set.intersection(*(set(entry) for entry in parameters)) if parameters else set()
    columns: dict[str, np.ndarray] = {}
    for name in sorted(shared):
        values = [entry[name] for entry in parameters]
        for kind in (bool, str, int, float):
            fits = (int, float) if kind is float else kind
            if all(
                isinstance(v, fits) and (kind is bool or not isinstance(v, bool)) for v in values
            ):
                columns[name] = np.array(values)
                break
    return columns
