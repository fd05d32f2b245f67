"""The doorway out of this room: what each layer of a network did, for each stimulus by name.

Needs numpy and, for files, h5py; no network code. Anyone's activations enter by
:meth:`Activations.from_arrays` or by a file as docs/formats.md describes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from vibrissa.activations.axes import arrange, has_time, parse_axes
from vibrissa.activations.checks import (
    check_layer,
    checked_metadata,
    checked_stimuli,
    checked_times,
    checked_values,
    checked_words,
    default_axes,
    numbers,
    positions,
    same_column,
    time_mean,
)
from vibrissa.core.axes import ACTIVATION_AXES
from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.core.manifest import Manifest

if TYPE_CHECKING:
    import xarray

    from vibrissa.activations.files import ActivationsFile


@dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """Activations of the layers of one network to a set of stimuli.

    Attributes:
        layers: name -> (stimulus, time, unit) float32, in the order of the network; a layer
            without time has time length 1.
        stimuli: names along ``stimulus``, each once; everything goes by name, never by order.
        first_input_step: layer -> the first step at which what came in had reached the layer.
        kinds: layer -> ``input`` (what the network is shown), ``encoder``, ``attender``,
            ``decoder`` or ``other``.
        times_s: layer -> (time,) end of each step; layers for which it is not known are left out.
        unit_shapes: layer -> lengths of the axes that were flattened into ``unit`` (C order), for
            instance (channel, row, column).
        metadata: column -> (stimulus,) numbers, truth values or text.
        model: name of the network.
        run_digest: SHA-256 of its weights or of the run they come from, or ``""``.
        reduction: ``none``, or how time was reduced when they were taken (``mean``, ``last``...).
        manifest: how they came about.

    Raises:
        InputError: names or shapes that do not fit together, or values that are not finite.
    """

    layers: Mapping[str, np.ndarray]
    stimuli: tuple[str, ...]
    first_input_step: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    times_s: Mapping[str, np.ndarray] = field(default_factory=dict)
    unit_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    model: str = ""
    run_digest: str = ""
    reduction: str = "none"
    manifest: Manifest = field(default_factory=lambda: Manifest(what="activations"))

    def __post_init__(self) -> None:
        stimuli = checked_stimuli(self.stimuli)
        object.__setattr__(self, "stimuli", stimuli)
        if not self.layers:
            raise refuse("layers", {}, "there are none", "give one or more")
        layers = {n: checked_values(n, v, len(stimuli)) for n, v in self.layers.items()}
        object.__setattr__(self, "layers", layers)
        for name in ("first_input_step", "kinds", "times_s", "unit_shapes"):
            for layer in getattr(self, name):
                if layer not in layers:
                    raise refuse_unknown(f"{name} of layer", layer, layers)
        first = {n: self.first_input_step.get(n, 0) for n in layers}
        kinds = {n: self.kinds.get(n, "other") for n in layers}
        shapes = {n: self.unit_shapes.get(n, (v.shape[2],)) for n, v in layers.items()}
        times = {n: self.times_s[n] for n in layers if n in self.times_s}
        for name, value in layers.items():
            check_layer(name, value.shape[1:], kinds[name], first[name], shapes[name])
            if name in times:
                times[name] = checked_times(name, times[name], value.shape[1])
        object.__setattr__(self, "first_input_step", {n: int(k) for n, k in first.items()})
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "unit_shapes", {n: tuple(s) for n, s in shapes.items()})
        object.__setattr__(self, "times_s", times)
        object.__setattr__(self, "metadata", checked_metadata(self.metadata, len(stimuli)))
        for name in ("model", "run_digest", "reduction"):
            if not isinstance(getattr(self, name), str):
                raise refuse(name, getattr(self, name), "not text", "give text")

    # --- from other networks -----------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        layers: Mapping[str, Any],
        *,
        stimuli: Sequence[str],
        axes: str | Mapping[str, str] | None = None,
        model: str = "",
        kinds: Mapping[str, str] | None = None,
        first_input_step: Mapping[str, int] | None = None,
        times_s: Any = None,
        metadata: Mapping[str, Any] | None = None,
        manifest: Manifest | None = None,
    ) -> Activations:
        """Activations of any network, from arrays: the way in for those made elsewhere.

        Args:
            layers: name -> array of numbers, (stimulus, unit) or (stimulus, time, unit); arrays
                with other axes need a declaration.
            stimuli: their names along the stimulus axis, for neural alignment those of the
                conditions (``"concave close"`` ... ``"convex far"``).
            axes: of all layers, or layer -> axes, as ``"time stimulus unit"`` or
                ``"stimulus channel row column"``.
            model: name of the network.
            kinds: layer -> kind; ``other`` where none is given.
            first_input_step: layer -> step; 0 where none is given.
            times_s: (time,) end of each step for all layers with so many steps, or layer ->
                (time,).
            metadata: column -> one value per stimulus.
            manifest: how they came about.

        Raises:
            InputError: as for the class, or axes that do not fit.
        """
        names = checked_stimuli(stimuli)
        if isinstance(axes, Mapping):
            for layer in axes:
                if layer not in layers:
                    raise refuse_unknown("axes of layer", layer, layers)
        values: dict[str, np.ndarray] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        timed: dict[str, bool] = {}
        for name, given in layers.items():
            array = numbers(name, given)
            word = axes.get(name) if isinstance(axes, Mapping) else axes
            declared = parse_axes(word) if word else default_axes(name, array)
            values[name], shapes[name] = arrange(array, declared, len(names), f"layer {name!r}")
            timed[name] = has_time(declared)
        if times_s is None or isinstance(times_s, Mapping):
            times = dict(times_s or {})
        else:
            steps = len(times_s)
            times = {n: times_s for n, v in values.items() if timed[n] and v.shape[1] == steps}
            if not times:
                raise refuse("times_s", steps, "no layer has so many steps", "give one per step")
        return cls(
            layers=values,
            stimuli=names,
            first_input_step=first_input_step or {},
            kinds=kinds or {},
            times_s=times,
            unit_shapes=shapes,
            metadata=metadata or {},
            model=model,
            manifest=manifest or Manifest(what="activations"),
        )

    # --- views -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.stimuli)

    def __repr__(self) -> str:
        name = f" of {self.model}" if self.model else ""
        return f"<Activations{name}: {len(self.stimuli)} stimuli, {len(self.layers)} layers>"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, in the order of the network."""
        return tuple(self.layers)

    def layer(self, name: str, stimuli: Sequence[str] | None = None) -> np.ndarray:
        """One layer (stimulus, time, unit) float32, of all stimuli or of those named.

        Raises:
            InputError: no such layer or stimulus.
        """
        if name not in self.layers:
            raise refuse_unknown("layer", name, self.layers)
        values = self.layers[name]
        return values if stimuli is None else values[positions(self.stimuli, stimuli)]

    @overload
    def mean_over_time(
        self, layer: None = None, *, from_first_input: bool = True
    ) -> dict[str, np.ndarray]: ...

    @overload
    def mean_over_time(self, layer: str, *, from_first_input: bool = True) -> np.ndarray: ...

    def mean_over_time(
        self, layer: str | None = None, *, from_first_input: bool = True
    ) -> dict[str, np.ndarray] | np.ndarray:
        """Averages over the steps, float64.

        Args:
            layer: which one; all where it is None.
            from_first_input: leave out the steps before anything had reached the layer.

        Returns:
            (stimulus, unit) of the layer named, or layer -> (stimulus, unit).

        Raises:
            InputError: no such layer.
        """
        if layer is None:
            return {
                n: self.mean_over_time(n, from_first_input=from_first_input) for n in self.layers
            }
        first = self.first_input_step.get(layer, 0) if from_first_input else 0
        return time_mean(self.layer(layer), first)

    def select(
        self, *, stimuli: Sequence[str] | None = None, layers: Sequence[str] | None = None
    ) -> Activations:
        """Some stimuli or layers by name, in the order given.

        Raises:
            InputError: an unknown name, one that stands twice, or nothing left.
        """
        rows = None if stimuli is None else positions(self.stimuli, stimuli)
        chosen = self.layer_names if layers is None else checked_words("layers", layers)
        values = {n: self.layer(n) if rows is None else self.layer(n)[rows] for n in chosen}
        return replace(
            self,
            layers=values,
            stimuli=self.stimuli if stimuli is None else tuple(stimuli),
            first_input_step={n: self.first_input_step[n] for n in chosen},
            kinds={n: self.kinds[n] for n in chosen},
            times_s={n: self.times_s[n] for n in chosen if n in self.times_s},
            unit_shapes={n: self.unit_shapes[n] for n in chosen},
            metadata={n: v if rows is None else v[rows] for n, v in self.metadata.items()},
        )

    def equals(self, other: Activations, *, tolerance: float = 0.0) -> bool:
        """Whether two hold the same, whatever the order of their stimuli and layers.

        Compared are values, stimuli, first input steps, kinds, unit axes, times and metadata; not
        the model's name and the manifest.

        Args:
            other: what to compare with.
            tolerance: largest difference of a value allowed, as a share of the layer's largest
                value.
        """
        alike = (
            set(self.stimuli) == set(other.stimuli)
            and set(self.layers) == set(other.layers)
            and self.first_input_step == other.first_input_step
            and self.kinds == other.kinds
            and self.unit_shapes == other.unit_shapes
            and set(self.times_s) == set(other.times_s)
            and set(self.metadata) == set(other.metadata)
        )
        if not alike:
            return False
        same = other.select(stimuli=self.stimuli)
        if not all(np.array_equal(v, same.times_s[n]) for n, v in self.times_s.items()):
            return False
        if not all(same_column(v, same.metadata[n]) for n, v in self.metadata.items()):
            return False
        for name, values in self.layers.items():
            theirs = same.layers[name]
            if values.shape != theirs.shape:
                return False
            limit = tolerance * float(np.abs(values).max())
            if np.abs(values.astype(np.float64) - theirs).max() > limit:
                return False
        return True

    @property
    def digest(self) -> str:
        """SHA-256 of names and values; the same for any order of stimuli and layers."""
        rows = sorted(range(len(self.stimuli)), key=lambda k: self.stimuli[k])
        sha = hashlib.sha256(json.dumps(sorted(self.stimuli)).encode())
        for name in sorted(self.layers):
            shape = self.layers[name].shape
            sha.update(json.dumps([name, list(shape), self.first_input_step[name]]).encode())
            for row in rows:
                sha.update(np.ascontiguousarray(self.layers[name][row], "<f4").tobytes())
        return sha.hexdigest()

    def to_xarray(self, layer: str) -> xarray.DataArray:
        """One layer with its axes labelled; the columns of metadata go along ``stimulus``.

        Raises:
            InputError: no such layer.
        """
        import xarray

        coordinates: dict[str, Any] = {"stimulus": list(self.stimuli)}
        values = self.layer(layer)
        if layer in self.times_s:
            coordinates["time"] = self.times_s[layer]
        for name, column in self.metadata.items():
            if name not in ACTIVATION_AXES:
                coordinates[name] = ("stimulus", column)
        return xarray.DataArray(
            values,
            dims=ACTIVATION_AXES,
            coords=coordinates,
            attrs={
                "model": self.model,
                "kind": self.kinds[layer],
                "first_input_step": self.first_input_step[layer],
                "unit_shape": self.unit_shapes[layer],
                "reduction": self.reduction,
            },
            name=layer,
        )

    # --- files -------------------------------------------------------------------------------

    def save(self, path: Path | str) -> Path:
        """Write one HDF5 file (docs/formats.md), whole or not at all; equal contents, equal bytes.

        Raises:
            OutputError: it cannot be written.
        """
        from vibrissa.activations.writing import save

        return save(self, Path(path))

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        layers: Sequence[str] | None = None,
        stimuli: Sequence[str] | None = None,
    ) -> Activations:
        """Read a file, or some of its layers and stimuli.

        Raises:
            InputError: no such file, another kind of file, another version, a damaged or cut one,
                values that are not finite, or unknown names.
        """
        with cls.open(path) as file:
            return file.load(layers=layers, stimuli=stimuli)

    @staticmethod
    def open(path: Path | str) -> ActivationsFile:
        """Open a file to read its layers one at a time; errors as for :meth:`load`."""
        from vibrissa.activations.files import ActivationsFile

        return ActivationsFile(Path(path))
