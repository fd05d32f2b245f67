"""Alignments and RDMs in the forms of other tools: xarray, parquet, rsatoolbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vibrissa.core.errors import InputError, require_extra
from vibrissa.core.files import atomic_path

if TYPE_CHECKING:
    from vibrissa.neural.alignment import Alignment


def to_xarray(alignment: Alignment) -> Any:
    """Dataset over ``model``, ``layer``, ``target``; cells that there are not are NaN or ``""``."""
    import xarray

    table = alignment.table
    axes = {axis: list(dict.fromkeys(table[axis])) for axis in ("model", "layer", "target")}
    place = tuple(np.array([axes[axis].index(n) for n in table[axis]]) for axis in axes)
    shape = tuple(len(names) for names in axes.values())
    data = {}
    for column in table.columns:
        if column in (*axes, "kind"):
            continue
        values = table[column].to_numpy()
        numeric = values.dtype.kind in "fiub"
        full = np.full(shape, np.nan if numeric else "", dtype=np.float64 if numeric else object)
        full[place] = values
        data[column] = (tuple(axes), full if numeric else full.astype(str))
    kinds = dict(zip(table["target"], table["kind"], strict=True))
    return xarray.Dataset(
        data,
        coords={**axes, "kind": ("target", [kinds[name] for name in axes["target"]])},
        attrs={"measure": alignment.measure, "remarks": " ".join(alignment.remarks)},
    )


def to_parquet(alignment: Alignment, path: Path | str) -> Path:
    """Write the table; conditions, measure and remarks go into the metadata of the file."""
    pyarrow = require_extra("pyarrow", "neural", "parquet")
    parquet = require_extra("pyarrow.parquet", "neural", "parquet")
    table = pyarrow.Table.from_pandas(alignment.table, preserve_index=False)
    extra = {
        b"vibrissa.measure": alignment.measure.encode(),
        b"vibrissa.conditions": "; ".join(alignment.conditions).encode(),
        b"vibrissa.remarks": " ".join(alignment.remarks).encode(),
    }
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), **extra})
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary)
    return Path(path)


def rsatoolbox_rdms(
    rdms: Mapping[str, np.ndarray], conditions: Sequence[str], measure: str, descriptor: str
) -> Any:
    """rsatoolbox ``RDMs`` with the names as descriptors.

    Args:
        rdms: name -> (pair,).
        conditions: names along the RDMs.
        measure: what the dissimilarity is called.
        descriptor: what the names are, for instance ``"animal"``.

    Raises:
        MissingExtraError: rsatoolbox is not installed.
    """
    module = require_extra("rsatoolbox.rdm", "neural", "export to rsatoolbox")
    return module.RDMs(
        np.array(list(rdms.values())),
        dissimilarity_measure=measure,
        rdm_descriptors={descriptor: list(rdms)},
        pattern_descriptors={"condition": list(conditions)},
    )


def to_rsatoolbox(alignment: Alignment) -> tuple[Any, Any]:
    """RDMs of the layers and of the targets, for rsatoolbox's own inference.

    Raises:
        InputError: the measure has no RDMs.
    """
    if not alignment.layer_rdms or not alignment.target_rdms:
        raise InputError(f"measure {alignment.measure}: it has no RDMs; align with rsa.")
    return (
        rsatoolbox_rdms(alignment.layer_rdms, alignment.conditions, alignment.measure, "layer"),
        rsatoolbox_rdms(alignment.target_rdms, alignment.conditions, alignment.measure, "target"),
    )
