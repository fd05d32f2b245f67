"""Writing of Activations files, a block of stimuli at a time (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.activations.checks import (
    check_layer,
    checked_metadata,
    checked_stimuli,
    checked_times,
    checked_values,
)
from vibrissa.activations.sealing import sealed_h5
from vibrissa.core.axes import ACTIVATION_AXES
from vibrissa.core.errors import refuse
from vibrissa.core.manifest import Manifest

if TYPE_CHECKING:
    from vibrissa.activations.container import Activations

FORMAT: Final = "vibrissa-activations"
FORMAT_VERSION: Final = 1
_CHUNK_BYTES: Final = 2**18
_LARGEST_CHUNK_BYTES: Final = 2**28


@dataclass(frozen=True, kw_only=True)
class LayerHeader:
    """What a file says of a layer beside its values.

    Attributes:
        place: name of the dataset within ``layers``.
        shape: (stimulus, time, unit).
        kind: see :class:`~vibrissa.activations.Activations`.
        first_input_step: likewise.
        unit_shape: likewise.
        times_s: likewise; None if not known.
    """

    place: str
    shape: tuple[int, ...]
    kind: str = "other"
    first_input_step: int = 0
    unit_shape: tuple[int, ...] = ()
    times_s: np.ndarray | None = None


class ActivationsWriter:
    """Fills a file layer by layer, stimuli in order, a block of them at a time.

    Made by :func:`writing`; a layer is there once its first block is.

    Attributes:
        manifest: may be set until the end.
        run_digest: likewise.
    """

    def __init__(
        self,
        file: Any,
        stimuli: Sequence[str],
        metadata: Mapping[str, Any],
        model: str,
        reduction: str,
    ) -> None:
        self._file = file
        self._stimuli = checked_stimuli(stimuli)
        self._metadata = checked_metadata(metadata, len(self._stimuli))
        self._words = {"model": model, "reduction": reduction}
        self._headers: dict[str, LayerHeader] = {}
        self._written: dict[str, int] = {}
        self.manifest = Manifest(what="activations")
        self.run_digest = ""
        file.create_group("layers")

    def append(
        self,
        name: str,
        block: np.ndarray,
        *,
        kind: str = "other",
        first_input_step: int = 0,
        unit_shape: Sequence[int] | None = None,
        times_s: np.ndarray | None = None,
    ) -> None:
        """Add the next stimuli of a layer.

        Args:
            name: of the layer.
            block: (stimulus, time, unit) numbers.
            kind: of the layer; this and the rest count at its first block.
            first_input_step: of the layer.
            unit_shape: of the layer.
            times_s: of the layer.

        Raises:
            InputError: shapes that do not fit, too many stimuli, or a value that is not finite.
        """
        values = checked_values(name, block, len(block))
        if name not in self._headers:
            shape = values.shape[2:] if unit_shape is None else tuple(unit_shape)
            check_layer(name, values.shape[1:], kind, first_input_step, shape)
            times = None if times_s is None else checked_times(name, times_s, values.shape[1])
            self._headers[name] = LayerHeader(
                place=f"{len(self._headers):04d}",
                shape=(len(self._stimuli), *values.shape[1:]),
                kind=kind,
                first_input_step=int(first_input_step),
                unit_shape=shape,
                times_s=times,
            )
            self._written[name] = 0
            self._create(self._headers[name], len(values))
        header, start = self._headers[name], self._written[name]
        stop = start + len(values)
        if values.shape[1:] != header.shape[1:] or stop > header.shape[0]:
            raise refuse(
                f"layer {name!r}", values.shape, f"does not go on {header.shape} at {start}",
                "give every block the same steps and units",
            )  # fmt: skip
        self._file[f"layers/{header.place}"][start:stop] = values
        self._written[name] = stop

    def _create(self, header: LayerHeader, block: int) -> None:
        self._file["layers"].create_dataset(
            header.place, shape=header.shape, dtype="<f4", chunks=_chunks(header.shape, block),
            compression="gzip", compression_opts=1, shuffle=True,
        )  # fmt: skip

    def finish(self) -> None:
        """Write the rest.

        Raises:
            InputError: no layer, or one that lacks stimuli.
        """
        if not self._headers:
            raise refuse("layers", {}, "there are none", "give one or more")
        for name, written in self._written.items():
            if written < len(self._stimuli):
                raise refuse(
                    f"layer {name!r}", written, f"there are {len(self._stimuli)} stimuli",
                    "give all of them",
                )  # fmt: skip
        file = self._file
        words = self._words | {
            "run_digest": self.run_digest, "manifest": self.manifest.to_json()
        }  # fmt: skip
        file.attrs["format"] = FORMAT
        file.attrs["version"] = FORMAT_VERSION
        file.attrs["axes"] = " ".join(ACTIVATION_AXES)
        for key, text in words.items():
            file.attrs[key] = text
        _write_text(file, "stimuli", self._stimuli)
        for name, column in self._metadata.items():
            if column.dtype.kind == "U":
                _write_text(file, f"metadata/{name}", column.tolist())
            else:
                file[f"metadata/{name}"] = column.astype(column.dtype.newbyteorder("<"))
        for name, header in self._headers.items():
            dataset = file[f"layers/{header.place}"]
            dataset.attrs["name"] = name
            dataset.attrs["kind"] = header.kind
            dataset.attrs["first_input_step"] = header.first_input_step
            dataset.attrs["unit_shape"] = np.array(header.unit_shape, "<i8")
            if header.times_s is not None:
                file[f"times_s/{header.place}"] = header.times_s.astype("<f8")


@contextmanager
def writing(
    path: Path,
    stimuli: Sequence[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    model: str = "",
    reduction: str = "none",
) -> Iterator[ActivationsWriter]:
    """A writer; the file appears under ``path`` whole when the block ends, or not at all.

    Raises:
        InputError: see :class:`ActivationsWriter`.
        OutputError: it cannot be written.
    """
    with sealed_h5(path) as file:
        writer = ActivationsWriter(file, stimuli, metadata or {}, model, reduction)
        yield writer
        writer.finish()


def save(activations: Activations, path: Path) -> Path:
    """Write activations that are in memory."""
    with writing(
        path, activations.stimuli, metadata=activations.metadata, model=activations.model,
        reduction=activations.reduction,
    ) as writer:  # fmt: skip
        writer.manifest, writer.run_digest = activations.manifest, activations.run_digest
        for name, values in activations.layers.items():
            writer.append(
                name, values, kind=activations.kinds[name],
                first_input_step=activations.first_input_step[name],
                unit_shape=activations.unit_shapes[name], times_s=activations.times_s.get(name),
            )  # fmt: skip
    return path


def _chunks(shape: tuple[int, ...], block: int) -> tuple[int, ...]:
    """Some stimuli each, so that one stimulus or all of them are read at little cost; blocks are
    made of whole chunks, so that none is written twice."""
    _, time, units = shape
    each = 4 * time * units
    if each > _LARGEST_CHUNK_BYTES:
        return (1, 1, min(units, _LARGEST_CHUNK_BYTES // 4))
    most = max(1, min(block, _CHUNK_BYTES // each))
    return (next(n for n in range(most, 0, -1) if block % n == 0), time, units)


def _write_text(file: Any, name: str, values: Sequence[str]) -> None:
    import h5py

    file.create_dataset(name, data=list(values), dtype=h5py.string_dtype("utf-8"))
