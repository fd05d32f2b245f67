"""What is in a store, in numbers: read from its tables and from some of its shards."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import refuse
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import track
from vibrissa.core.seeds import generator
from vibrissa.data.building import failures
from vibrissa.data.index import SHARDS
from vibrissa.data.shard import Shard

if TYPE_CHECKING:
    from vibrissa.data.store import SweepStore

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
_QUANTITIES: Final = (*CHANNELS, "F", "M")
_BINS_PER_DECADE: Final = 100
_LOWEST, _DECADES = 1e-4, 12
_WHISKERS: Final = re.compile(r"\b[RL]?[A-Z]\d{1,2}\b(, [RL]?[A-Z]\d{1,2}\b)*( and \d+ more)?")
_EDGES: Final = _LOWEST * 10.0 ** (
    np.arange(_DECADES * _BINS_PER_DECADE + 1) / _BINS_PER_DECADE
)  # uN or uN*mm: from far below the rounding of a store to far beyond any whisker


@dataclass(kw_only=True)
class LoadStatistics:
    """Loads over frames in which a whisker touches, gathered shard by shard.

    Attributes:
        shards: how many were read.
        shards_total: how many there are.
        contact_known: whether the store knows of contact; else frames with any load count.
        frame: axes of the channels.
        counts: quantity (``Fx`` to ``Mz``, ``F``, ``M``) -> counts of absolute values in bins a
            hundredth of a decade wide; the last takes all that is larger, values below the first
            are not counted.
        values: number of touched frames of whiskers.
        largest: quantity -> its largest absolute value.
        contact_share: whisker -> share of its frames in contact; empty where not known.
        versions: package -> versions that wrote the shards read.
    """

    shards: int = 0
    shards_total: int = 0
    contact_known: bool = True
    frame: str = "base"
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    values: int = 0
    largest: dict[str, float] = field(default_factory=dict)
    contact_share: dict[str, float] = field(default_factory=dict)
    versions: dict[str, list[str]] = field(default_factory=dict)

    @property
    def edges(self) -> np.ndarray:
        """Borders of the bins, uN or uN*mm."""
        return _EDGES

    def percentile(self, quantity: str, percent: float) -> float | None:
        """The value below which this share of the values lies, to 2.4 %; None without any."""
        counts = self.counts[quantity]
        if not self.values:
            return None
        rank = percent / 100.0 * self.values - (self.values - int(counts.sum()))
        if rank <= 0:
            return 0.0
        above = np.cumsum(counts)
        k = int(np.searchsorted(above, rank))
        inside = (rank - (above[k] - counts[k])) / counts[k]
        value = _EDGES[k] * (_EDGES[k + 1] / _EDGES[k]) ** inside
        return float(min(value, self.largest[quantity]))


def load_statistics(
    store: SweepStore, *, most_shards: int = 200, seed: int = 0, quiet: bool = True
) -> LoadStatistics:
    """Read shards, one at a time, and count.

    Args:
        store: the sweeps.
        most_shards: no more shards than this are read, drawn evenly and by the seed.
        seed: of the choice.
        quiet: no progress bar.

    Raises:
        InputError: no shards wanted, or a damaged one.
    """
    if most_shards < 1:
        raise refuse("most_shards", most_shards, "must be at least 1", "give 1 or more")
    total = len(store.objects)
    found = LoadStatistics(
        shards_total=total,
        contact_known=contact_known(store),
        frame="base" if "base" in store.frames or not store.frames else store.frames[0],
        counts={name: np.zeros(len(_EDGES) - 1, np.int64) for name in _QUANTITIES},
        largest=dict.fromkeys(_QUANTITIES, 0.0),
    )
    touched = np.zeros(len(store.whiskers))
    frames = 0
    versions: dict[str, set[str]] = {}
    paths = _chosen([str(path) for path in store.objects["path"]], most_shards, seed)
    for path in track(paths, "reading shards", unit="shard", quiet=quiet):
        with Shard(store.path / SHARDS / path) as shard:
            loads = shard.loads(frame=found.frame)
            contact = shard.contact() if found.contact_known else (loads != 0).any(axis=-1)
            _count(found, loads[contact])
            touched += contact.sum(axis=(0, 1))
            frames += contact.shape[0] * contact.shape[1]
            if shard.manifest:
                manifest = Manifest.from_json(shard.manifest, origin=f"{shard.path}: manifest")
                for name, number in manifest.versions.items():
                    versions.setdefault(name, set()).add(number)
        found.shards += 1
    if found.contact_known and frames:
        found.contact_share = dict(zip(store.whiskers, (touched / frames).tolist(), strict=True))
    found.versions = {name: sorted(numbers) for name, numbers in sorted(versions.items())}
    return found


def contact_known(store: SweepStore) -> bool:
    """Whether the store says when whiskers touch; an imported one does not."""
    return "contact_known" not in store.table.columns or bool(
        store.table["contact_known"].to_numpy(bool).all()
    )


def _chosen(paths: list[str], most: int, seed: int) -> list[str]:
    if len(paths) <= most:
        return paths
    order = generator(seed, "describe").permutation(len(paths))[:most]
    return [paths[k] for k in sorted(order.tolist())]


def _count(found: LoadStatistics, loads: np.ndarray) -> None:
    """Take in loads (n, channel) of touched frames."""
    found.values += len(loads)
    if not len(loads):
        return
    wide = np.abs(loads.astype(np.float64))
    columns = [*wide.T, np.linalg.norm(wide[:, :3], axis=1), np.linalg.norm(wide[:, 3:], axis=1)]
    for name, values in zip(_QUANTITIES, columns, strict=True):
        found.largest[name] = max(found.largest[name], float(values.max()))
        kept = values[values >= _LOWEST]
        bins = np.minimum(
            (np.log10(kept / _LOWEST) * _BINS_PER_DECADE).astype(np.int64), len(_EDGES) - 2
        )
        found.counts[name] += np.bincount(bins, minlength=len(_EDGES) - 1)


# --- description -----------------------------------------------------------------------------


def describe(
    store: SweepStore,
    *,
    statistics: LoadStatistics | None = None,
    most_shards: int = 200,
    seed: int = 0,
    quiet: bool = True,
) -> dict[str, Any]:
    """A store in plain JSON types; None stands for what is not known.

    Args:
        store: what to describe.
        statistics: of its loads, if at hand; else measured over at most ``most_shards`` shards.
        most_shards: see :func:`load_statistics`.
        seed: see :func:`load_statistics`.
        quiet: no progress bar.
    """
    found = statistics or load_statistics(store, most_shards=most_shards, seed=seed, quiet=quiet)
    size = _total(store, "bytes")
    sweeps = len(store)
    recipe = store.manifest.config["recipe"]
    protocol = recipe.get("protocol") or {"name": f"imported {recipe.get('imported', '')}".strip()}
    objects = Counter(store.objects["label"].tolist())
    touched = {
        quantity: {
            "unit": unit,
            **{f"p{p:g}": found.percentile(quantity, p) for p in PERCENTILES},
            "max": found.largest[quantity] if found.values else None,
        }
        for quantity, unit in (("F", "uN"), ("M", "uN*mm"))
    }
    return {
        "path": str(store.path),
        "protocol": protocol["name"],
        "starts": dict(_counted(store, "start")),
        "seed": store.manifest.seed,
        "objects": len(store.objects),
        "sweeps": sweeps,
        "classes": {
            label: {
                "sweeps": int(count),
                "objects": objects[label],
            }
            for label, count in _counted(store, "label")
        },
        "bytes": size,
        "bytes_per_sweep": size / sweeps if sweeps else None,
        "rate_hz": store.rate_hz if sweeps else None,
        "frames": store.time,
        "duration_s": store.time / store.rate_hz if sweeps else None,
        "sampling": store.sampling,
        "axes": list(store.frames),
        "whiskers": list(store.whiskers),
        "contact_share": _mean(store, "contact_share"),
        "touched": touched,
        "touched_over": {
            "shards": found.shards,
            "of": found.shards_total,
            "contact_known": found.contact_known,
        },
        "peak_force_uN": _largest(store, "peak_force_uN"),
        "peak_moment_uN_mm": _largest(store, "peak_moment_uN_mm"),
        "overlapping_sweeps": _positive(store, "overlapping"),
        "overlapping_share": _share(store, "overlapping"),
        "flagged_sweeps": _positive(store, "flagged"),
        "large_force_sweeps": _positive(store, "large_force_share"),
        "refused_sweeps": len(store.refusals),
        "refused_for": dict(
            Counter(reason_kind(r) for r in store.refusals["reason"].tolist()).most_common()
        ),
        "redrawn": _total(store, "redrawn"),
        "failed_objects": len(failures(store.path)),
        "splits": list(store.splits),
        "versions": found.versions,
    }


def reason_kind(reason: str) -> str:
    """A reason without the names and numbers of its case, so that equal kinds can be counted."""
    text = reason.split(": ", 1)[-1].split(";", 1)[0].strip().rstrip(".")
    text = re.sub(
        r"\b[RL]?[A-Z]\d{1,2}\b(, [RL]?[A-Z]\d{1,2}\b)*( and \d+ more)?", "whiskers", text
    )
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "\N{HORIZONTAL ELLIPSIS}", text)


def _counted(store: SweepStore, column: str) -> Iterator[tuple[str, int]]:
    if column in store.table.columns:
        yield from sorted(Counter(store.table[column].tolist()).items())


def _total(store: SweepStore, column: str) -> int:
    return int(store.objects[column].to_numpy(np.int64).sum())


def _column(store: SweepStore, name: str) -> np.ndarray | None:
    """A column of the summary; None where it is not known of every sweep."""
    values = store.table[name].to_numpy(np.float64)
    return None if not len(values) or np.isnan(values).any() else values


def _mean(store: SweepStore, name: str) -> float | None:
    values = _column(store, name)
    return None if values is None else float(values.mean())


def _largest(store: SweepStore, name: str) -> float | None:
    values = _column(store, name)
    return None if values is None else float(values.max())


def _positive(store: SweepStore, name: str) -> int | None:
    values = _column(store, name)
    return None if values is None else int((values > 0).sum())


def _share(store: SweepStore, name: str) -> float | None:
    values = _column(store, name)
    return None if values is None else float((values > 0).mean())


def describe_text(tree: dict[str, Any]) -> str:
    """What :func:`describe` gives, in lines for a reader."""

    def told(value: Any, form: str = "{:,}", unit: str = "") -> str:
        return "not known" if value is None else form.format(value) + unit

    sweeps, starts = tree["sweeps"], tree["starts"]
    rows = [
        ("protocol", tree["protocol"] + (f", starts {_listed(starts)}" if starts else "")),
        ("objects", f"{tree['objects']:,} in {len(tree['classes'])} classes"),
        ("sweeps", f"{sweeps:,}"),
        ("size", f"{_bytes(tree['bytes'])}, {told(tree['bytes_per_sweep'], '{:,.0f}')} B a sweep"),
        (
            "recording",
            f"{tree['frames']} frames at {told(tree['rate_hz'], '{:.6g}')} Hz, "
            f"{len(tree['whiskers'])} whiskers, axes {' and '.join(tree['axes']) or 'none'}",
        ),
        ("in contact", told(tree["contact_share"], "{:.1%}", " of the frames of whiskers")),
    ]
    over = tree["touched_over"]
    for name, quantity in (("force", "F"), ("moment", "M")):
        values = dict(tree["touched"][quantity])
        unit = values.pop("unit").replace("u", "µ").replace("*", "·")
        shown = ", ".join(f"{key} {told(value, '{:,.4g}')}" for key, value in values.items())
        rows.append((f"{name} ({unit})", shown))
    where = "frames in contact" if over["contact_known"] else "frames with any load"
    rows.append(("", f"over {where} of {over['shards']} of {over['of']} shards"))
    share = tree["overlapping_share"]
    rows += [
        (
            "overlap at frame 0",
            told(tree["overlapping_sweeps"], "{:,}", " sweeps")
            + ("" if share is None else f" ({share:.1%})"),
        ),
        ("flagged", told(tree["flagged_sweeps"], "{:,}", " sweeps")),
        ("forces above 5 mN", told(tree["large_force_sweeps"], "{:,}", " sweeps")),
        ("refused", f"{tree['refused_sweeps']:,} sweeps"),
        *(("", f"{count:,} x {reason}") for reason, count in tree["refused_for"].items()),
        ("drawn again", f"{tree['redrawn']:,}"),
        ("failed", f"{tree['failed_objects']:,} objects"),
        ("splits", ", ".join(tree["splits"]) or "none"),
        ("made by", _versions(tree["versions"])),
    ]
    wide = max(len(name) for name, _ in rows)
    lines = [tree["path"], *(f"  {name:<{wide}}  {text}" for name, text in rows), ""]
    names = max((len(label) for label in tree["classes"]), default=0)
    lines.append(f"  {'class':<{max(names, 5)}}  {'objects':>8}  {'sweeps':>9}")
    for label, counts in tree["classes"].items():
        numbers = f"{counts['objects']:>8,}  {counts['sweeps']:>9,}"
        lines.append(f"  {label:<{max(names, 5)}}  {numbers}")
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def _versions(versions: dict[str, list[str]]) -> str:
    first = {"vibrissa": versions.get("vibrissa", [])} | versions
    return ", ".join(f"{name} {'/'.join(numbers)}" for name, numbers in first.items() if numbers)


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000.0:
            return f"{count:.4g} {unit}"
        count /= 1000.0
    return f"{count:.4g} TB"
