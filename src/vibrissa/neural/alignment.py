"""The doorway out of this room: scores of models, always with what they rest on."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from vibrissa.activations.sealing import sealed_bytes, sealed_h5
from vibrissa.core.errors import InputError, refuse, refuse_unknown
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.neural.rdm import square

FORMAT: Final = "vibrissa alignment"
VERSION: Final = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Scores of layers against targets.

    Attributes:
        table: (pandas) one row per (model, layer, target): ``raw``, the plain value;
            ``reliability`` of the target (for the row ``animals`` the mean likeness of two
            animals) and ``ceiling``, its root; ``score``, raw over ceiling, never clipped;
            ``low`` and ``high``, 95 % interval over what ``interval_over`` says; ``p``, one-sided,
            by relabelling the conditions;
            ``p_max``, the same for all layers and targets of the model at once; ``threshold``, the
            raw value above which ``p_max`` is 0.05 or less; ``kept``, share of the draws;
            ``ceiling_lower`` and ``ceiling_upper``, noise ceilings over animals, in units of
            ``raw``; ``status``, ``ok`` or why there is no score.
        models: (pandas) one row per model, its layer chosen on other animals than it is scored on;
            ``q`` is the false discovery rate over models.
        conditions: in the order of the RDMs.
        measure: name of the measure.
        remarks: sentences that belong to the numbers, that stimuli are fixed first of all.
        target_rdms: target -> (pair,) entries; empty for measures without RDMs.
        layer_rdms: ``model/layer`` -> (pair,).
        null_max: ``model/target`` -> (permutation,) largest raw value over the layers; of
            that target alone and not studentised, so not what ``p_max`` goes by.
        manifest: how it came about.
    """

    table: Any
    models: Any
    conditions: tuple[str, ...]
    measure: str
    remarks: tuple[str, ...] = ()
    target_rdms: Mapping[str, np.ndarray] = field(default_factory=dict)
    layer_rdms: Mapping[str, np.ndarray] = field(default_factory=dict)
    null_max: Mapping[str, np.ndarray] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=lambda: Manifest(what="alignment"))

    def __repr__(self) -> str:
        models, layers = self.table["model"].nunique(), self.table["layer"].nunique()
        n = self.table["target"].nunique()
        return f"<Alignment by {self.measure}: {models} models, {layers} layers, {n} targets>"

    def rows(self, **where: str) -> Any:
        """Rows of the table, for instance ``rows(target="pooled", layer="conv3")``.

        Raises:
            InputError: an unknown column or value.
        """
        found = self.table
        for column, wanted in where.items():
            if column not in found.columns:
                raise refuse_unknown("column", column, list(found.columns))
            if wanted not in set(self.table[column]):
                raise refuse_unknown(column, wanted, sorted(set(self.table[column].astype(str))))
            found = found[found[column] == wanted]
        return found

    def value(self, model: str, layer: str, target: str) -> Any:
        """One row of the table.

        Raises:
            InputError: there is none.
        """
        found = self.rows(model=model, layer=layer, target=target)
        if len(found) != 1:
            raise refuse("row", (model, layer, target), "not in the table", "see Alignment.table")
        return found.iloc[0]

    def rdm(self, name: str) -> np.ndarray:
        """(condition, condition) RDM of a target, or of a layer as ``model/layer``.

        Raises:
            InputError: no such RDM.
        """
        known = {**self.target_rdms, **self.layer_rdms}
        if name not in known:
            raise refuse_unknown("RDM", name, known)
        return square(known[name])

    def best_rows(self, target: str = "animals") -> Any:
        """The row of each model with the largest raw value on a target: a choice, see ``p_max``."""
        rows = self.rows(target=target)
        rows = rows[np.isfinite(rows["raw"].to_numpy())]
        return rows.loc[rows.groupby("model", sort=False)["raw"].idxmax()]

    # --- other forms -------------------------------------------------------------------------

    def to_xarray(self) -> Any:
        """Dataset with the axes ``model``, ``layer``, ``target``; see :mod:`.exchange`."""
        from vibrissa.neural.exchange import to_xarray

        return to_xarray(self)

    def to_rsatoolbox(self) -> tuple[Any, Any]:
        """rsatoolbox ``RDMs`` of the layers and of the targets; see :mod:`.exchange`."""
        from vibrissa.neural.exchange import to_rsatoolbox

        return to_rsatoolbox(self)

    def to_csv(self, path: Path | str) -> Path:
        """Write the table as CSV, numbers in full; equal tables give equal bytes."""
        with atomic_path(path) as temporary:
            self.table.to_csv(temporary, index=False, lineterminator="\n")
        return Path(path)

    def to_parquet(self, path: Path | str) -> Path:
        """Write the table as parquet (extra ``neural``)."""
        from vibrissa.neural.exchange import to_parquet

        return to_parquet(self, path)

    # --- files -------------------------------------------------------------------------------

    def save(self, path: Path | str) -> Path:
        """Write one HDF5 file, whole or not at all, sealed with digests of its bytes.

        The groups and attributes are described in docs/formats.md.
        """
        with sealed_h5(Path(path)) as file:
            file.attrs["format"] = FORMAT
            file.attrs["version"] = VERSION
            file.attrs["measure"] = self.measure
            file.attrs["manifest"] = self.manifest.to_json()
            file.attrs["conditions"] = json.dumps(self.conditions)
            file.attrs["remarks"] = json.dumps(self.remarks, ensure_ascii=False)
            for name in ("table", "models"):
                _write_table(file.create_group(name, track_order=True), getattr(self, name))
            for name, arrays in self._arrays().items():
                group = file.create_group(name, track_order=True)
                group.attrs["names"] = json.dumps(list(arrays), ensure_ascii=False)
                for k, array in enumerate(arrays.values()):
                    group.create_dataset(str(k), data=np.asarray(array, dtype="<f8"))
        return Path(path)

    def _arrays(self) -> dict[str, Mapping[str, np.ndarray]]:
        return {
            "rdms_target": self.target_rdms, "rdms_layer": self.layer_rdms,
            "null_max": self.null_max,
        }  # fmt: skip

    @classmethod
    def load(cls, path: Path | str) -> Alignment:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: no such file, another kind or version, or one of which a byte has changed.
        """
        import h5py

        source = Path(path)
        if source.is_dir():
            raise InputError(f"{source}: a folder, not a file; give the alignment.h5 in it.")
        if not source.is_file():
            raise InputError(f"{source}: there is no such file; check the path.")
        whole = sealed_bytes(source, "alignment")
        try:
            with h5py.File(source if whole is None else io.BytesIO(whole), "r") as file:
                attributes: dict[str, Any] = dict(file.attrs)
                if attributes.get("format") != FORMAT:
                    raise InputError(f"{source}: no alignment; give a file written by vibrissa.")
                version = int(attributes["version"])
                if version != VERSION:
                    raise refuse(
                        f"{source}: version", version, f"this release reads version {VERSION}",
                        "align again" if version < VERSION else "upgrade vibrissa",
                    )  # fmt: skip
                if whole is None:
                    raise InputError(
                        f"{source}: its seal is gone, so that damage cannot be told; restore it "
                        "from a copy or align again."
                    )
                arrays = {name: _read_arrays(file[name]) for name in _GROUPS}
                return cls(
                    table=_read_table(file["table"]), models=_read_table(file["models"]),
                    conditions=tuple(json.loads(attributes["conditions"])),
                    measure=str(attributes["measure"]),
                    remarks=tuple(json.loads(attributes["remarks"])),
                    target_rdms=arrays["rdms_target"], layer_rdms=arrays["rdms_layer"],
                    null_max=arrays["null_max"],
                    manifest=Manifest.from_json(attributes["manifest"], origin=str(source)),
                )  # fmt: skip
        except InputError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{source}: cannot be read as an alignment, it is damaged or cut short; restore it "
                "from a copy or align again."
            ) from error


_GROUPS: Final = ("rdms_target", "rdms_layer", "null_max")


def _write_table(group: Any, table: Any) -> None:
    import h5py

    group.attrs["columns"] = json.dumps(list(table.columns))
    for column in table.columns:
        values = table[column].to_numpy()
        if values.dtype.kind in "iub":
            group.create_dataset(column, data=values.astype("<i8"))
        elif values.dtype.kind == "f":
            group.create_dataset(column, data=values.astype("<f8"))
        else:
            text = np.array([str(v) for v in values], dtype=object)
            group.create_dataset(column, data=text, dtype=h5py.string_dtype())


def _read_table(group: Any) -> Any:
    import pandas as pd

    columns = json.loads(group.attrs["columns"])
    found = {}
    for column in columns:
        dataset = group[column]
        found[column] = dataset.asstr()[()] if dataset.dtype.kind == "O" else dataset[()]
    return pd.DataFrame(found, columns=columns)


def _read_arrays(group: Any) -> dict[str, np.ndarray]:
    names = json.loads(group.attrs["names"])
    return {name: group[str(k)][()] for k, name in enumerate(names)}
