"""From cells to tables: one row per (model, layer, target), one per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from vibrissa.core.manifest import Manifest
from vibrissa.neural.align_cells import Cells
from vibrissa.neural.align_group import Group, group_of, held_out
from vibrissa.neural.align_remarks import remarks_on
from vibrissa.neural.alignment import Alignment
from vibrissa.neural.inference import benjamini_hochberg, max_statistic, permutation_p
from vibrissa.neural.measures import RSA, Measure
from vibrissa.neural.rdm_moments import Moments
from vibrissa.neural.reliability import SessionMoments
from vibrissa.neural.session import Session
from vibrissa.neural.targets import ANIMALS, Target

COLUMNS: Final = (
    "model", "layer", "target", "kind", "raw", "reliability", "source_reliability", "ceiling",
    "score", "low", "high", "interval_over", "p", "p_max", "threshold", "kept", "ceiling_lower",
    "ceiling_upper", "animals", "sessions", "units", "status",
)  # fmt: skip
MODEL_COLUMNS: Final = (
    "model", "layers", "best_layer", "best_score", "best_p_max", "held_out_raw", "held_out_score",
    "low", "high", "p", "q", "chosen", "status",
)  # fmt: skip


def build(
    *, config: Any, sources: Sequence[Any], keys: list[tuple[str, str]],
    targets: Sequence[Target], usable: Mapping[str, Session], cells: Mapping[str, Cells],
    moments: Mapping[str, SessionMoments], conditions: tuple[str, ...],
    layer_moments: Sequence[Moments], excluded: Mapping[str, str], exact: bool,
    manifest: Manifest,
) -> Alignment:  # fmt: skip
    """Tables, RDMs and remarks of an alignment."""
    import pandas as pd

    measure: Measure = config.measure
    animals = [
        t.name for t in targets
        if t.kind == "animal" and t.name in cells and np.isfinite(cells[t.name].raw).any()
    ]  # fmt: skip
    models = [source.model for source in sources]
    rows: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    any_animal = any(t.kind == "animal" for t in targets)
    with_group = any_animal and bool(animals)
    pair = None
    bounds = (float("nan"), float("nan"))
    if len(animals) > 1 and measure.symmetric and not measure.on_patterns:
        features = np.array([cells[a].features for a in animals])
        pair = measure.compare(features, features)
        bounds = measure.ceiling_bounds([moments[a].full for a in animals])
    null_max: dict[str, np.ndarray] = {}
    for model in models:
        mine = np.array([k for k, (name, _) in enumerate(keys) if name == model])
        layers = [keys[k][1] for k in mine]
        group = None
        if with_group:
            arguments = _of_animals(cells, animals, mine)
            group = group_of(
                *arguments[:2], pair, arguments[2], config.level, floor=config.min_reliability,
                reasons=np.stack([cells[a].status[mine] for a in animals], axis=-1),
            )  # fmt: skip
        observed, null = _all(cells, targets, group, mine)
        found = max_statistic(observed.ravel(), null.reshape(len(null), -1))
        corrected, threshold = (values.reshape(observed.shape) for values in found)
        p = permutation_p(observed, null)
        null_max |= _largest(model, [t.name for t in targets] + [ANIMALS], null)
        for t, target in enumerate(targets):
            rows += _target_rows(
                model, layers, target, cells[target.name], mine, p[t], corrected[t], threshold[t],
                usable,
            )  # fmt: skip
        if group is not None:
            rows += _group_rows(model, layers, group, p[-1], corrected[-1], threshold[-1], bounds,
                                animals, targets, usable)  # fmt: skip
            summary.append(
                _model_row(model, layers, group, corrected[-1], cells, animals, mine, pair, config)
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    by_model = pd.DataFrame(summary, columns=list(MODEL_COLUMNS))
    if len(by_model):
        by_model["q"] = benjamini_hochberg(by_model["p"].to_numpy(dtype=np.float64))
    remarks = remarks_on(
        table, config, orders=len(next(iter(cells.values())).null), exact=exact,
        n_conditions=len(conditions), excluded=excluded,
    )  # fmt: skip
    rdms: dict[str, np.ndarray] = {}
    layer_rdms: dict[str, np.ndarray] = {}
    if isinstance(measure, RSA):
        rdms = {name: measure.entries(m.full) for name, m in moments.items()}
        layer_rdms = {
            f"{model}/{layer}": measure.entries(m)
            for (model, layer), m in zip(keys, layer_moments, strict=True)
        }
    return Alignment(
        table=table, models=by_model, conditions=conditions,
        measure=_name_of(measure), remarks=remarks, target_rdms=rdms,
        layer_rdms=layer_rdms, null_max=null_max, manifest=manifest,
    )  # fmt: skip


def _of_animals(
    cells: Mapping[str, Cells], animals: Sequence[str], mine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw (layer, animal), null (permutation, layer, animal), ceilings (layer, animal)."""
    raw = np.stack([cells[a].raw[mine] for a in animals], axis=-1)
    null = np.stack([cells[a].null[:, mine] for a in animals], axis=-1)
    ceiling = np.stack([_ceiling(cells[a])[mine] for a in animals], axis=-1)
    return raw, null, ceiling


def _ceiling(cells: Cells) -> np.ndarray:
    product = cells.reliability * cells.source_reliability
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.where(product > 0, product, np.nan))


def _all(
    cells: Mapping[str, Cells], targets: Sequence[Target], group: Group | None, mine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Observed (target, layer) and null (permutation, target, layer); the group comes last."""
    observed = [cells[t.name].raw[mine] for t in targets]
    null = [cells[t.name].null[:, mine] for t in targets]
    if group is not None:
        observed.append(group.raw)
        null.append(group.null)
    return np.array(observed), np.stack(null, axis=1)


def _largest(model: str, names: Sequence[str], null: np.ndarray) -> dict[str, np.ndarray]:
    """``model/target`` -> (permutation,) largest raw value over the layers."""
    known = np.where(np.isfinite(null), null, -np.inf).max(axis=2)
    known = np.where(np.isfinite(known), known, np.nan)
    return {f"{model}/{name}": known[:, k] for k, name in enumerate(names[: known.shape[1]])}


def _target_rows(
    model: str, layers: Sequence[str], target: Target, cells: Cells, mine: np.ndarray,
    p: np.ndarray, p_max: np.ndarray, threshold: np.ndarray, usable: Mapping[str, Session],
) -> list[dict[str, Any]]:  # fmt: skip
    inside = [usable[s.name] for s in target.sessions if s.name in usable]
    ceiling = _ceiling(cells)
    rows = []
    for j, layer in enumerate(layers):
        k = mine[j]
        rows.append(
            {
                "model": model, "layer": layer, "target": target.name, "kind": target.kind,
                "raw": cells.raw[k], "reliability": cells.reliability,
                "source_reliability": cells.source_reliability[k], "ceiling": ceiling[k],
                "score": cells.score[k], "low": cells.low[k], "high": cells.high[k],
                "interval_over": "trials" if np.isfinite(cells.low[k]) else "",
                "p": p[j], "p_max": p_max[j], "threshold": threshold[j], "kept": cells.kept,
                "ceiling_lower": np.nan, "ceiling_upper": np.nan,
                "animals": len({s.animal for s in inside}), "sessions": len(inside),
                "units": sum(s.n_units for s in inside), "status": cells.status[k],
            }
        )  # fmt: skip
    return rows


def _group_rows(
    model: str, layers: Sequence[str], group: Group, p: np.ndarray, p_max: np.ndarray,
    threshold: np.ndarray, bounds: tuple[float, float], animals: Sequence[str],
    targets: Sequence[Target], usable: Mapping[str, Session],
) -> list[dict[str, Any]]:  # fmt: skip
    names = {s.name for t in targets if t.name in animals for s in t.sessions} & set(usable)
    ceiling = np.sqrt(group.consistency) if group.consistency > 0 else np.nan
    return [
        {
            "model": model, "layer": layer, "target": ANIMALS, "kind": "group",
            "raw": group.raw[j], "reliability": group.consistency, "source_reliability": 1.0,
            "ceiling": ceiling, "score": group.score[j], "low": group.low[j],
            "high": group.high[j],
            "interval_over": "animals" if np.isfinite(group.low[j]) else "",
            "p": p[j], "p_max": p_max[j], "threshold": threshold[j], "kept": 1.0,
            "ceiling_lower": bounds[0], "ceiling_upper": bounds[1],
            "animals": group.n_animals, "sessions": len(names),
            "units": sum(usable[n].n_units for n in names), "status": group.status[j],
        }
        for j, layer in enumerate(layers)
    ]  # fmt: skip


def _model_row(
    model: str, layers: Sequence[str], group: Group, p_max: np.ndarray,
    cells: Mapping[str, Cells], animals: Sequence[str], mine: np.ndarray,
    pair: np.ndarray | None, config: Any,
) -> dict[str, Any]:  # fmt: skip
    raw, null, ceiling = _of_animals(cells, animals, mine)
    found = held_out(raw, null, pair, ceiling, config.level, floor=config.min_reliability)
    status = found.status
    if status == "undefined" and len(set(group.status)) == 1:
        status = group.status[0]
    known = np.isfinite(group.raw)
    best = int(np.argmax(np.where(known, group.raw, -np.inf)))
    picked = {str(layers[k]) for k in found.chosen if k >= 0}
    chosen = sorted(picked)
    return {
        "model": model, "layers": len(layers), "best_layer": layers[best] if known.any() else "",
        "best_score": group.score[best], "best_p_max": p_max[best], "held_out_raw": found.raw,
        "held_out_score": found.score, "low": found.low, "high": found.high, "p": found.p,
        "q": np.nan, "chosen": " ".join(chosen), "status": status,
    }  # fmt: skip


def _name_of(measure: Measure) -> str:
    from vibrissa.neural.measures import measures

    for name in measures.names():
        if measures.get(name) is type(measure):
            return name
    return type(measure).__name__
