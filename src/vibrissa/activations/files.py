"""Reading of Activations files, one layer at a time (docs/formats.md); what is read was
checked (:mod:`vibrissa.activations.sealing`)."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, overload

import numpy as np

from vibrissa.activations.checks import (
    check_layer,
    checked_metadata,
    checked_stimuli,
    checked_times,
    checked_values,
    checked_words,
    positions,
    time_mean,
)
from vibrissa.activations.container import Activations
from vibrissa.activations.sealing import sealed_stream
from vibrissa.activations.writing import FORMAT, FORMAT_VERSION, LayerHeader
from vibrissa.core.axes import ACTIVATION_AXES
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.manifest import Manifest

_READ_BYTES: Final = 32 * 2**20
_DAMAGE: Final = (
    OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError,
    IndexError, EOFError,
)  # fmt: skip
"""What h5py raises at bytes that make no sense."""


class ActivationsFile:
    """An open file: names and columns are read at once, values when they are asked for.

    Use it in a ``with`` block, or call :meth:`close`.

    Args:
        path: the file.

    Attributes:
        stimuli, metadata, model, run_digest, reduction, manifest: as in
            :class:`~vibrissa.activations.Activations`.
        headers: layer -> shape, kind, first input step and the like.

    Raises:
        InputError: no such file, another kind of file, another version, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        self.path = path
        if path.is_dir():
            raise refuse("activations file", str(path), "a folder", "give a file in it")
        if not path.is_file():
            raise refuse("activations file", str(path), "there is no such file", "check the path")
        self._stream = sealed_stream(path)  # None if nothing seals it
        self._file: Any = None
        try:
            with self._damage():
                self._file = h5py.File(self._stream or path, "r")
                self._read_header()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Around every step that reads: damage and disorder become one sentence."""
        try:
            yield
        except InputError as error:
            self._raise_damage()
            if str(error).startswith(str(self.path)):
                raise
            raise InputError(f"{self.path}: {error}") from error
        except _DAMAGE as error:
            # h5py's frames hold HDF5 handles, and those must not outlive the interpreter
            traceback.clear_frames(error.__traceback__)
            self._raise_damage()
            raise InputError(
                f"{self.path}: not a readable Activations file, it is damaged or cut short; "
                "write it again or restore it from a copy."
            ) from error
        self._raise_damage()

    def _raise_damage(self) -> None:
        damage = getattr(self._stream, "damage", "")
        if damage:
            raise InputError(damage) from None

    def _read_header(self) -> None:
        file, where = self._file, self.path
        attributes = file.attrs
        found = attributes.get("format")
        if not _is(found, FORMAT):
            raise refuse(f"{where}: format", found, f"not {FORMAT!r}", "give an activations file")
        for key, wanted in (("version", FORMAT_VERSION), ("axes", " ".join(ACTIVATION_AXES))):
            if not _is(attributes.get(key), wanted):
                raise refuse(
                    f"{where}: {key}", _plain(attributes.get(key)), f"must be {wanted!r}",
                    "convert the file, or upgrade vibrissa",
                )  # fmt: skip
        self.model = str(attributes.get("model", ""))
        self.run_digest = str(attributes.get("run_digest", ""))
        self.reduction = str(attributes.get("reduction", "none"))
        self.stimuli = checked_stimuli(_read_text(file, "stimuli"))
        self.metadata = self._read_metadata()
        places = sorted(file["layers"]) if "layers" in file else []
        if not places:
            raise refuse("layers", [], "there are none", "write one or more")
        headers = [self._read_layer(place) for place in places]
        names = checked_words("layers", [name for name, _ in headers])
        self.headers = dict(zip(names, (header for _, header in headers), strict=True))
        text = str(attributes.get("manifest", ""))
        self.manifest = (
            Manifest.from_json(text, origin=str(where)) if text else Manifest(what="activations")
        )

    def _read_metadata(self) -> dict[str, np.ndarray]:
        import h5py

        columns: dict[str, Any] = {}
        if "metadata" in self._file:
            for name, dataset in self._file["metadata"].items():
                text = h5py.check_string_dtype(dataset.dtype) is not None
                columns[name] = list(dataset.asstr()[()]) if text else dataset[()]
        return checked_metadata(columns, len(self.stimuli))

    def _read_layer(self, place: str) -> tuple[str, LayerHeader]:
        dataset = self._file["layers"][place]
        shape = tuple(int(n) for n in dataset.shape)
        if dataset.dtype.kind not in "fiu" or len(shape) != 3 or shape[0] != len(self.stimuli):
            raise refuse(
                f"layers/{place}", f"{dataset.dtype} array of shape {shape}",
                f"not (stimulus, time, unit) numbers of {len(self.stimuli)} stimuli",
                "write the layer with these axes",
            )  # fmt: skip
        said = dataset.attrs
        name = str(said.get("name", place))
        unit_shape = tuple(int(n) for n in np.atleast_1d(said.get("unit_shape", shape[2])))
        first = int(np.asarray(said.get("first_input_step", 0)).item())
        kind = str(said.get("kind", "other"))
        check_layer(name, shape[1:], kind, first, unit_shape)
        times = None
        if f"times_s/{place}" in self._file:
            times = checked_times(name, self._file[f"times_s/{place}"][()], shape[1])
        header = LayerHeader(
            place=place, shape=shape, kind=kind, first_input_step=first, unit_shape=unit_shape,
            times_s=times,
        )  # fmt: skip
        return name, header

    # --- what is known without reading ---------------------------------------------------------

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, in the order of the network."""
        return tuple(self.headers)

    @property
    def kinds(self) -> dict[str, str]:
        """Layer -> kind."""
        return {name: header.kind for name, header in self.headers.items()}

    @property
    def first_input_step(self) -> dict[str, int]:
        """Layer -> the first step at which what came in had reached it."""
        return {name: header.first_input_step for name, header in self.headers.items()}

    def __len__(self) -> int:
        return len(self.stimuli)

    def __repr__(self) -> str:
        return f"<ActivationsFile {self.path}: {len(self)} stimuli, {len(self.headers)} layers>"

    # --- reading values --------------------------------------------------------------------------

    def layer(self, name: str, stimuli: Sequence[str] | None = None) -> np.ndarray:
        """One layer (stimulus, time, unit) float32, of all stimuli or of those named.

        Raises:
            InputError: no such layer or stimulus, or damaged values.
        """
        header = self._header(name)
        if stimuli is None:
            out = np.empty(header.shape, np.float32)
            for start, block in self._blocks(name):
                out[start : start + len(block)] = block
            return out
        rows = positions(self.stimuli, stimuli)
        with self._damage():
            # HDF5 wants rows in rising order
            order = np.argsort(rows)
            values = self._file["layers"][header.place][rows[order]]
            out = np.empty((len(rows), *header.shape[1:]), np.float32)
            out[order] = checked_values(name, values, len(rows))
        return out

    @overload
    def mean_over_time(
        self, layer: None = None, *, from_first_input: bool = True
    ) -> dict[str, np.ndarray]: ...

    @overload
    def mean_over_time(self, layer: str, *, from_first_input: bool = True) -> np.ndarray: ...

    def mean_over_time(
        self, layer: str | None = None, *, from_first_input: bool = True
    ) -> dict[str, np.ndarray] | np.ndarray:
        """As :meth:`Activations.mean_over_time`; at most some 32 MB of values are held at a time.

        Raises:
            InputError: no such layer, or damaged values.
        """
        if layer is None:
            return {
                n: self.mean_over_time(n, from_first_input=from_first_input) for n in self.headers
            }
        header = self._header(layer)
        first = header.first_input_step if from_first_input else 0
        out = np.empty((header.shape[0], header.shape[2]), np.float64)
        for start, block in self._blocks(layer):
            out[start : start + len(block)] = time_mean(block, first)
        return out

    def load(
        self, *, layers: Sequence[str] | None = None, stimuli: Sequence[str] | None = None
    ) -> Activations:
        """Read all, or some layers and stimuli by name.

        Raises:
            InputError: unknown names, or damaged values.
        """
        names = self.layer_names if layers is None else checked_words("layers", layers)
        headers = {name: self._header(name) for name in names}
        rows = slice(None) if stimuli is None else positions(self.stimuli, stimuli)
        times = {n: h.times_s for n, h in headers.items() if h.times_s is not None}
        return Activations(
            layers={name: self.layer(name, stimuli) for name in names},
            stimuli=self.stimuli if stimuli is None else tuple(stimuli),
            first_input_step={n: h.first_input_step for n, h in headers.items()},
            kinds={n: h.kind for n, h in headers.items()},
            times_s=times,
            unit_shapes={n: h.unit_shape for n, h in headers.items()},
            metadata={name: column[rows] for name, column in self.metadata.items()},
            model=self.model,
            run_digest=self.run_digest,
            reduction=self.reduction,
            manifest=self.manifest,
        )

    def _header(self, name: str) -> LayerHeader:
        if name not in self.headers:
            raise refuse_unknown("layer", name, self.headers)
        return self.headers[name]

    def _blocks(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """(first stimulus, block) of all of a layer."""
        header = self._header(name)
        each = 4 * header.shape[1] * header.shape[2]
        with self._damage():
            dataset = self._file["layers"][header.place]
            chunk = dataset.chunks[0] if dataset.chunks else 1
        rows = max(1, _READ_BYTES // (each * chunk)) * chunk
        for start in range(0, header.shape[0], rows):
            with self._damage():
                block = dataset[start : start + rows]
                values = checked_values(name, block, len(block))
            yield start, values

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        if self._stream is not None:
            self._stream.close()

    def __enter__(self) -> ActivationsFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _is(found: object, wanted: object) -> bool:
    """Equal, whatever an attribute may be."""
    try:
        return bool(np.ndim(found) == 0 and found == wanted)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _plain(found: object) -> object:
    """A number of numpy as Python's, for messages."""
    return found.item() if isinstance(found, np.generic) else found


def _read_text(file: Any, name: str) -> tuple[str, ...]:
    return tuple(file[name].asstr()[()])
