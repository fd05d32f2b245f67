"""A linear support vector machine on whole sweeps, as published, with and without leakage.

The published figures are of a linear machine on the 23,100 numbers of a sweep, for 2, 3 and 4
classes. Here the same is done for any number of classes, cross-validated, once with whole objects
held out and once with sweeps held out, so that an object is both trained and tested on. What the
second gains over the first is what leakage is worth.

A linear machine sees inputs through their inner products alone, and neither the order of the
numbers nor the places of the grid that are always zero change these. There are many more numbers
than sweeps, so the inner products are computed once, one matrix per channel; training with them
as a precomputed kernel is the same as training with the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from vibrissa.core.axes import CHANNELS
from vibrissa.core.errors import refuse, refuse_unknown, require_extra
from vibrissa.core.progress import progress
from vibrissa.core.seeds import generator, integer_seed
from vibrissa.data.normalisation import LoadsFrame

if TYPE_CHECKING:
    from vibrissa.data.store import SweepStore

FoldKind = Literal["by_object", "by_sweep"]

_BOOTSTRAPS: Final = 2000
_READ_AT_ONCE: Final = 64
_LEAST_OBJECTS: Final = 2
_INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """What :func:`svm_baseline` does.

    Attributes:
        classes: of how many classes, 0 for all; published are 2, 3 and 4.
        kinds: how folds are made: ``by_object`` holds out whole objects, copies of equal geometry
            together; ``by_sweep`` holds out sweeps, whatever their object.
        folds: of the cross-validation.
        draws: how often classes are drawn, where fewer than all are wanted.
        c: the penalty of the machine, for inputs whose mean squared length is one.
        frame: of the loads.
        most_sweeps: of larger stores so many sweeps are used, in whole objects, class by class;
            memory grows with the square of it (3.4 GB for 9,000).
        seed: of draws and folds.

    Raises:
        InputError: unknown words, or numbers out of range.
    """

    classes: tuple[int, ...] = (2, 3, 4, 0)
    kinds: tuple[FoldKind, ...] = ("by_object", "by_sweep")
    folds: int = 5
    draws: int = 5
    c: float = 100.0
    frame: LoadsFrame = "base"
    most_sweeps: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.classes or any(k < 0 or k == 1 for k in self.classes):
            raise refuse("classes", self.classes, "not two or more", "give 2, 3, ..., or 0 for all")
        for kind in self.kinds:
            if kind not in get_args(FoldKind):
                raise refuse_unknown("kinds", kind, get_args(FoldKind))
        for name, least in (("folds", 2), ("draws", 1), ("most_sweeps", 4)):
            if getattr(self, name) < least:
                raise refuse(
                    name, getattr(self, name), f"must be at least {least}", f"give {least} or more"
                )
        if not (math.isfinite(self.c) and self.c > 0):
            raise refuse("c", self.c, "must be positive", "give a number above 0")
        if self.frame not in get_args(LoadsFrame):
            raise refuse_unknown("frame", self.frame, get_args(LoadsFrame))


@dataclass(frozen=True, kw_only=True)
class BaselineRow:
    """One line of the result.

    Attributes:
        classes: how many.
        all: whether these are all classes that can be used.
        kind: ``by_object`` or ``by_sweep``.
        accuracy: mean over draws of the share of sweeps recognised when held out.
        sd: standard deviation over all folds of all draws.
        low, high: 95 % interval of the accuracy from 2000 bootstrap samples, of draws and then of
            whole objects within each class; what another training set would change is not in it,
            and it has no width where every sweep was recognised.
        chance: accuracy of always giving the commonest class, mean over draws.
        sweeps: mean number over draws.
        objects: likewise.
        folds: folds per draw.
        draws: how many sets of classes.
    """

    classes: int
    all: bool
    kind: FoldKind
    accuracy: float
    sd: float
    low: float
    high: float
    chance: float
    sweeps: float
    objects: float
    folds: int
    draws: int


@dataclass(frozen=True, kw_only=True)
class BaselineResult:
    """What :func:`svm_baseline` found.

    Attributes:
        rows: one per number of classes and kind of folds.
        config: how.
        store: digest of the store.
        left_out: class -> why it was not used.
        drawn: number of classes -> the sets that were drawn.
    """

    rows: tuple[BaselineRow, ...]
    config: BaselineConfig
    store: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[int, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self) | {
            "rows": [asdict(row) for row in self.rows],
            "drawn": {str(count): [list(s) for s in sets] for count, sets in self.drawn.items()},
        }

    def to_markdown(self) -> str:
        """A table, and below it what was done."""
        lines = [
            "| classes | held out | accuracy, % | sd over folds | 95 % interval | chance, % "
            "| sweeps | objects |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for row in self.rows:
            count = f"all {row.classes}" if row.all else str(row.classes)
            held = "objects" if row.kind == "by_object" else "sweeps (leaks)"
            lines.append(
                f"| {count} | {held} | {100 * row.accuracy:.1f} | {100 * row.sd:.1f} | "
                f"{100 * row.low:.1f} to {100 * row.high:.1f} | {100 * row.chance:.1f} | "
                f"{row.sweeps:,.0f} | {row.objects:,.0f} |"
            )
        config = self.config
        lines += [
            "",
            f"Linear support vector machine, C = {config.c:g} for inputs of unit mean squared "
            f"length, one against one; loads in the {config.frame} frame, each channel divided by "
            f"its root mean square over the training folds; {config.folds} folds, "
            f"{config.draws} draws of the classes where not all are taken, seed {config.seed}. "
            "Intervals: bootstrap over draws and whole objects.",
        ]
        if self.left_out:
            some = ", ".join(f"{name} ({why})" for name, why in list(self.left_out.items())[:8])
            more = f" and {len(self.left_out) - 8} more" if len(self.left_out) > 8 else ""
            lines.append(f"Left out: {some}{more}.")
        return "\n".join(lines) + "\n"


def svm_baseline(
    store: SweepStore, config: BaselineConfig | None = None, *, quiet: bool = True
) -> BaselineResult:
    """Cross-validate a linear support vector machine; see the text of the module.

    Classes need as many objects as there are folds, so that each fold can test a new one; others
    are left out, and told. Draws of classes are the same for both kinds of folds.

    Args:
        store: the sweeps.
        config: what to do.
        quiet: no progress bar.

    Raises:
        InputError: fewer than two classes can be used.
        MissingExtraError: scikit-learn is not installed.
    """
    require_extra("sklearn", "baseline", "the linear baseline")
    settings = config or BaselineConfig()
    groups = _groups(store)
    usable, left_out = _usable(store, groups, settings.folds)
    chosen = _sample(store, usable, settings)
    grams = channel_grams(store, chosen, settings.frame, quiet=quiet)
    labels = store.table["label"].to_numpy(dtype=object).astype(str)[chosen]
    groups = groups[chosen]
    plans = {k: _draws(usable, k, settings) for k in dict.fromkeys(settings.classes)}
    rows: list[BaselineRow] = []
    total = settings.folds * len(settings.kinds) * sum(len(plan) for plan in plans.values())
    with progress("training", total=total, unit="fold", quiet=quiet) as bar:
        for count, plan in plans.items():
            for kind in settings.kinds if plan else ():
                outcomes = []
                for names in plan:
                    mine = np.flatnonzero(np.isin(labels, names))
                    # all of them are not copied: there may be gigabytes
                    part = grams if len(mine) == len(labels) else grams[:, mine[:, None], mine]
                    outcome = cross_validate(
                        part, labels[mine], groups[mine], kind=kind,
                        folds=settings.folds, c=settings.c, seed=settings.seed,
                    )  # fmt: skip
                    outcomes.append(outcome)
                    bar.update(settings.folds)
                rows.append(_row(outcomes, kind, count == 0, len(plan[0]), settings))
    return BaselineResult(
        rows=tuple(rows),
        config=settings,
        store=store.digest,
        left_out=left_out,
        drawn={k: plan for k, plan in plans.items() if plan and k},
    )


# --- cross-validation ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What cross-validation gave.

    Attributes:
        right: (sweep,) bool, whether the sweep was recognised when held out.
        fold: (sweep,) the fold that held it out.
        labels: (sweep,) classes.
        groups: (sweep,) objects.
    """

    right: np.ndarray
    fold: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the sweeps that were recognised."""
        return float(self.right.mean())

    @property
    def chance(self) -> float:
        """Share of the commonest class."""
        return float(np.unique(self.labels, return_counts=True)[1].max() / len(self.labels))

    @property
    def by_fold(self) -> np.ndarray:
        """Accuracy of each fold."""
        return np.array([self.right[self.fold == k].mean() for k in np.unique(self.fold)])


def channel_grams(
    store: SweepStore, indices: np.ndarray, frame: LoadsFrame = "base", *, quiet: bool = True
) -> np.ndarray:
    """Inner products of sweeps, channel by channel.

    Args:
        store: the sweeps.
        indices: which.
        frame: of the loads.
        quiet: no progress bar.

    Returns:
        (channel, sweep, sweep) float32, in uN^2 and uN^2*mm^2.
    """
    size = store.time * len(store.whiskers)
    inputs = np.empty((len(CHANNELS), len(indices), size), np.float32)
    with progress("reading", total=len(indices), unit="sweep", quiet=quiet) as bar:
        for start in range(0, len(indices), _READ_AT_ONCE):
            part = indices[start : start + _READ_AT_ONCE]
            loads = store.loads(part, frame).reshape(len(part), size, len(CHANNELS))
            inputs[:, start : start + len(part)] = np.moveaxis(loads, -1, 0)
            bar.update(len(part))
    grams = np.empty((len(CHANNELS), len(indices), len(indices)), np.float32)
    for values, gram in zip(inputs, grams, strict=True):
        np.matmul(values, values.T, out=gram)
    return grams


def cross_validate(
    grams: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, kind: FoldKind,
    folds: int = 5, c: float = 100.0, seed: int = 0,
) -> Outcome:  # fmt: skip
    """Train on all folds but one and test on that one, in turn.

    In each turn every channel is divided by its root mean square over the training folds, and all
    inputs by the root of their mean squared length there.

    Args:
        grams: (channel, sweep, sweep) inner products, see :func:`channel_grams`.
        labels: (sweep,) classes.
        groups: (sweep,) objects.
        kind: whether folds hold out whole groups or single sweeps; either way with every class in
            its share, as far as whole groups allow.
        folds: how many.
        c: penalty of the machine.
        seed: of the folds.
    """
    from sklearn.svm import SVC

    right = np.zeros(len(labels), bool)
    fold = np.full(len(labels), -1)
    for number, (train, test) in enumerate(_folds(labels, groups, kind, folds, seed)):
        squares = np.diagonal(grams, axis1=1, axis2=2)[:, train].mean(axis=1, dtype=np.float64)
        felt = np.flatnonzero(squares > 0)
        # channels of unit power, and then inputs of unit mean squared length
        weights = 1.0 / (squares[felt] * max(len(felt), 1))
        kernel = np.zeros((len(labels), len(train)))
        for channel, weight in zip(felt, weights, strict=True):
            kernel += weight * grams[channel][:, train]
        machine = SVC(kernel="precomputed", C=c, cache_size=500)
        machine.fit(kernel[train], labels[train])
        right[test] = machine.predict(kernel[test]) == labels[test]
        fold[test] = number
    return Outcome(right=right, fold=fold, labels=labels, groups=groups)


def _folds(
    labels: np.ndarray, groups: np.ndarray, kind: FoldKind, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    state = integer_seed(seed, "baseline", kind) % 2**32
    blank = np.zeros(len(labels))
    if kind == "by_object":
        maker = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=state)
        yield from maker.split(blank, labels, groups)
    else:
        maker = StratifiedKFold(n_splits=folds, shuffle=True, random_state=state)
        yield from maker.split(blank, labels)


def _row(
    outcomes: Sequence[Outcome], kind: FoldKind, whole: bool, classes: int, config: BaselineConfig
) -> BaselineRow:
    low, high = _interval(outcomes, config.seed)
    by_fold = np.concatenate([outcome.by_fold for outcome in outcomes])
    return BaselineRow(
        classes=classes,
        all=whole,
        kind=kind,
        accuracy=float(np.mean([outcome.accuracy for outcome in outcomes])),
        sd=float(by_fold.std(ddof=1)),
        low=low,
        high=high,
        chance=float(np.mean([outcome.chance for outcome in outcomes])),
        sweeps=float(np.mean([len(outcome.right) for outcome in outcomes])),
        objects=float(np.mean([len(np.unique(outcome.groups)) for outcome in outcomes])),
        folds=config.folds,
        draws=len(outcomes),
    )


def _interval(outcomes: Sequence[Outcome], seed: int) -> tuple[float, float]:
    """Bootstrap over draws of classes, and within each over whole objects, class by class."""
    draws = generator(seed, "baseline", "bootstrap")
    resampled = np.empty((len(outcomes), _BOOTSTRAPS))
    for k, outcome in enumerate(outcomes):
        # objects as rows: of which class, how many sweeps, how many of them recognised
        _, first, inverse = np.unique(outcome.groups, return_index=True, return_inverse=True)
        sweeps = np.bincount(inverse)
        right = np.bincount(inverse, weights=outcome.right)
        owners = outcome.labels[first]
        total, good = np.zeros(_BOOTSTRAPS), np.zeros(_BOOTSTRAPS)
        for label in np.unique(owners):
            mine = np.flatnonzero(owners == label)
            picked = mine[draws.integers(len(mine), size=(_BOOTSTRAPS, len(mine)))]
            total += sweeps[picked].sum(axis=1)
            good += right[picked].sum(axis=1)
        resampled[k] = good / total
    picks = draws.integers(len(outcomes), size=(len(outcomes), _BOOTSTRAPS))
    means = np.take_along_axis(resampled, picks, axis=0).mean(axis=0)
    low, high = np.percentile(means, _INTERVAL)
    return float(low), float(high)


# --- choosing --------------------------------------------------------------------------------


def _groups(store: SweepStore) -> np.ndarray:
    """What is held out together, as numbers: objects, copies of one another as one."""
    from vibrissa.data.split_table import Sweeps

    sweeps = Sweeps.of(store.table)
    shapes = np.array([sweeps.geometry_of[name] for name in sweeps.objects])
    return np.unique(shapes, return_inverse=True)[1][sweeps.object_of]


def _usable(
    store: SweepStore, groups: np.ndarray, folds: int
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Class -> its sweeps, of classes with enough objects; and why others are left out."""
    labels = store.table["label"].to_numpy(dtype=object).astype(str)
    usable, left_out = {}, {}
    for name in store.labels:
        mine = np.flatnonzero(labels == name)
        objects = len(np.unique(groups[mine]))
        if objects >= max(folds, _LEAST_OBJECTS):
            usable[name] = mine
        else:
            left_out[name] = f"{objects} objects for {folds} folds"
    if len(usable) < 2:
        raise refuse(
            "classes", sorted(usable), f"fewer than two classes have {folds} objects or more",
            "build more objects, or use fewer folds",
        )  # fmt: skip
    return usable, left_out


def _sample(
    store: SweepStore, usable: Mapping[str, np.ndarray], config: BaselineConfig
) -> np.ndarray:
    """Indices of the sweeps to use, ascending: whole objects, class by class in turn."""
    total = sum(map(len, usable.values()))
    if total <= config.most_sweeps:
        return np.sort(np.concatenate(list(usable.values())))
    shard = store.table["shard"].to_numpy()
    share = config.most_sweeps / total
    kept = []
    for name, mine in usable.items():
        objects = np.unique(shard[mine])
        order = generator(config.seed, "baseline", "sample", name).permutation(len(objects))
        count = max(config.folds, math.floor(share * len(objects)))
        kept.append(mine[np.isin(shard[mine], objects[order[:count]])])
    return np.sort(np.concatenate(kept))


def _draws(
    usable: Mapping[str, np.ndarray], count: int, config: BaselineConfig
) -> tuple[tuple[str, ...], ...]:
    """Sets of classes, all different; () if there are not so many classes."""
    names = sorted(usable)
    if count == 0 or count == len(names):
        return (tuple(names),)
    if count > len(names):
        return ()
    draws = generator(config.seed, "baseline", "classes", count)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < min(config.draws, math.comb(len(names), count)):
        picked = draws.choice(len(names), size=count, replace=False)
        found[tuple(sorted(names[k] for k in picked))] = None
    return tuple(found)
