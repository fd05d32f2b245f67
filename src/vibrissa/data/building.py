"""The build of a data set: it may be stopped at any moment and goes on where it was."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vibrissa.core.errors import InputError, OutputError, refuse
from vibrissa.core.files import atomic_path
from vibrissa.core.manifest import Manifest
from vibrissa.core.progress import progress
from vibrissa.data.declaration import STORE, declared_objects, read_manifest
from vibrissa.data.executors import Executor, Outcome, SerialExecutor
from vibrissa.data.index import SHARDS, shard_files, write_index
from vibrissa.data.recipe import Recipe, first_difference
from vibrissa.data.sealed import check_seal
from vibrissa.data.shard import Shard
from vibrissa.data.sources import Source, shard_path
from vibrissa.data.units import LOG, Made, ShardMaker

FAILURES: Final = "failures"
_LOCK: Final = "build.lock"
_BUILDERS: Final = "builders.lock"
_ABANDONED_S: Final = 3600.0
"""A shard is written at one go, which takes seconds: what is older than this nobody writes."""
_ALIKE: Final = 3
"""So many objects that are refused for the same reason, and no other result, are no accident."""


@dataclass(kw_only=True)
class BuildReport:
    """What a build did.

    Attributes:
        made: objects whose shards were written now.
        kept: number of objects whose shards were there and whole.
        mended: shards that were damaged or out of date and were made anew -> why.
        failed: objects whose shards could not be made now.
        missing: how many objects of the store have no shard at the end, whoever is to make them.
        sweeps: sweeps written now.
        refused: sweeps refused now because of their placement.
        overlapping: sweeps written now that start with whiskers inside the felt surface.
        redrawn: draws thrown away now.
    """

    made: int = 0
    kept: int = 0
    mended: dict[str, str] = field(default_factory=dict)
    failed: list[Made] = field(default_factory=list)
    missing: int = 0
    sweeps: int = 0
    refused: int = 0
    overlapping: int = 0
    redrawn: int = 0

    def sentence(self) -> str:
        """The report in words."""
        parts = [f"{self.made} objects made ({self.sweeps} sweeps)", f"{self.kept} kept"]
        if self.mended:
            parts.append(f"{len(self.mended)} mended")
        if self.refused:
            parts.append(f"{self.refused} sweeps refused for their placement")
        if self.redrawn:
            parts.append(f"{self.redrawn} draws drawn again")
        if self.sweeps:
            share = f"{self.overlapping} ({self.overlapping / self.sweeps:.0%})"
            parts.append(f"{share} of the new sweeps with whiskers inside the object at frame 0")
        if self.failed:
            parts.append(f"{len(self.failed)} objects failed")
        return ", ".join(parts) + "."


def build(
    recipe: Recipe,
    sources: Sequence[Source],
    out: Path | str,
    *,
    executor: Executor | None = None,
    batch: int = 16,
    group: int = 1,
    threads: int | None = 1,
    cache_fields: bool = False,
    part: tuple[int, int] = (1, 1),
    prune: bool = False,
    quiet: bool = True,
) -> BuildReport:
    """Make every shard that is missing, damaged or out of date; leave the others alone.

    Args:
        recipe: how sweeps are made; that of the store, if there is one already.
        sources: the objects; those of earlier builds stay in the store unless ``prune``.
        out: the folder.
        executor: who works; this process by default.
        batch: sweeps simulated at a time.
        group: objects per unit of work, for a GPU that wants more sweeps at a time than one
            object gives.
        threads: CPU threads for each unit of work.
        cache_fields: keep distance fields in the user's cache.
        part: (k, n) makes the k-th of n parts of the objects, for job arrays; k from 1.
        prune: take objects of earlier builds that are not among the sources out of the store,
            shards and all.
        quiet: no progress bar.

    Returns:
        What was done; ``failed`` lists the objects that remain.

    Raises:
        InputError: the folder holds a set made by another recipe, another build works on it, or
            every object is refused for one and the same reason, which is then told once.
        OutputError: the folder cannot be written to, or the disk is full; what is done stays.
    """
    root = Path(out)
    if not (1 <= part[0] <= part[1]):
        raise refuse("part", part, "not k of n", "give 1 <= k <= n, for instance 3/10")
    if prune and part[1] > 1:
        raise refuse("prune", prune, "not for a part of the objects", "leave one of the two out")
    if group < 1:
        raise refuse("group", group, "must be at least 1", "give 1 or more")
    sources = sorted(sources, key=lambda source: source.name)
    maker = ShardMaker(
        recipe=recipe, root=root, batch=batch, threads=threads, cache_fields=cache_fields
    )
    for folder in (SHARDS, LOG):
        _make_folder(root / folder)
    with _alone(root, part), _builders(root):
        everything = _declare(root, recipe, sources, prune=prune)
        mine = sources[part[0] - 1 :: part[1]]
        report = BuildReport()
        todo = _to_do(root, recipe, mine, report, quiet=quiet)
        try:
            _work(executor or SerialExecutor(), maker, todo, group, report, quiet=quiet)
        finally:
            # Whatever ended the work, what is done can be read at once. Of a job array the last
            # part to end does it.
            there = [name for name in everything if (root / SHARDS / shard_path(name)).exists()]
            report.missing = len(everything) - len(there)
            lost = {entry["object"] for entry in failures(root)} - set(there)
            if part[1] == 1 or len(there) + len(lost) >= len(everything):
                with suppress(OutputError):
                    write_index(root)
    return report


# --- before the work -------------------------------------------------------------------------


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be made ({error.strerror}); choose another output folder."
        ) from error


@contextmanager
def _alone(root: Path, part: tuple[int, int]) -> Iterator[None]:
    """Let no second build of the same part work in the folder; the system lifts the lock when the
    process ends, however it ends."""
    name = _LOCK if part[1] == 1 else f"build-{part[0]}-of-{part[1]}.lock"
    try:
        stream = (root / LOG / name).open("a")
    except OSError as error:
        raise OutputError(
            f"{root}: cannot be written ({error.strerror}); choose another output folder."
        ) from error
    with stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # no such locks on this system; shards are safe all the same
        except BlockingIOError:
            raise refuse(
                "out", str(root), "another build works there now", "wait until it has ended"
            ) from None
        except OSError:
            pass  # some network file systems have no locks
        yield


@contextmanager
def _builders(root: Path) -> Iterator[None]:
    """Be one of the builds, of whatever parts, that work in the folder at the same time. The first
    removes what killed ones left, and no other begins meanwhile."""
    with (root / LOG / _BUILDERS).open("a") as stream:
        first = _lock(stream, "LOCK_EX", "LOCK_NB")
        _remove_rests(root, older_than_s=0.0 if first else _ABANDONED_S)
        _lock(stream, "LOCK_SH")  # gives up the lock of the first, or waits until it has
        yield


def _lock(stream: Any, *words: str) -> bool:
    """Whether a lock could be had; some systems, and network file systems, have none."""
    try:
        import fcntl

        fcntl.flock(stream, sum(getattr(fcntl, word) for word in words))
    except (ImportError, OSError):
        return False
    return True


def _declare(
    root: Path, recipe: Recipe, sources: Sequence[Source], *, prune: bool
) -> dict[str, str]:
    """Write ``store.json``, or check that it agrees; name -> label of all objects of the store."""
    objects = {source.name: source.label for source in sources}
    there = shard_files(root)
    if (root / STORE).exists():
        known = read_manifest(root)
        earlier = declared_objects(root, known)
        if there:
            _agree(root, known, recipe)
            if prune:
                _forget(root, [name for name in earlier if name not in objects])
            objects = objects if prune else earlier | objects
            if objects == earlier:
                return objects
    else:
        _same_recipe(root, recipe, there)
    config = {"recipe": recipe.tree, "objects": dict(sorted(objects.items()))}
    with atomic_path(root / STORE) as temporary:
        text = Manifest.of("dataset", config, seed=recipe.seed).to_json()
        temporary.write_text(text, encoding="utf-8")
    return objects


def _same_recipe(root: Path, recipe: Recipe, files: Iterable[str]) -> None:
    """Without the manifest, see to it that no shards of another recipe would be replaced."""
    for file in files:
        try:
            with Shard(root / SHARDS / file) as shard:
                other = shard.recipe_sha256 != recipe.digest
        except InputError:
            continue
        if other:
            raise refuse(
                f"{root / STORE}", None, f"it is lost, and {file} was made by another recipe",
                "restore it, repeat the settings of then, or choose another output folder",
            )  # fmt: skip


def _forget(root: Path, names: Sequence[str]) -> None:
    for name in names:
        (root / SHARDS / shard_path(name)).unlink(missing_ok=True)
        for file in _failure_files(root, name):
            file.unlink(missing_ok=True)


def _agree(root: Path, known: Manifest, recipe: Recipe) -> None:
    # Through JSON, which knows no tuples and no two kinds of numbers.
    found = first_difference(known.config["recipe"], json.loads(json.dumps(recipe.tree)))
    if found is not None:
        where, old, new = found
        raise refuse(
            where, new, f"{root} was made with {_shown(old)}",
            "choose another output folder, or the same settings",
        )  # fmt: skip


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _to_do(
    root: Path, recipe: Recipe, sources: Sequence[Source], report: BuildReport, *, quiet: bool
) -> list[Source]:
    """The objects without a whole shard of this recipe."""
    todo: list[Source] = []
    known = [s for s in sources if (root / SHARDS / shard_path(s.name)).exists()]
    done = set()
    with progress("checking shards", total=len(known), unit="shard", quiet=quiet) as bar:
        for source in known:
            path = root / SHARDS / shard_path(source.name)
            trouble = _trouble(path, recipe, source)
            if trouble is None:
                report.kept += 1
                done.add(source.name)
            else:
                report.mended[source.name] = trouble
            bar.update(1)
    for source in sources:
        if source.name not in done:
            todo.append(source)
    return todo


def _trouble(path: Path, recipe: Recipe, source: Source) -> str | None:
    """Why a shard must be made anew, or None."""
    try:
        check_seal(path)
        with Shard(path) as shard:
            if shard.recipe_sha256 != recipe.digest:
                return f"{path}: made by another recipe."
            if shard.object != source.name or shard.label != source.label:
                return f"{path}: holds {shard.object} of class {shard.label}."
            if source.changed_since(path.stat().st_mtime, shard.source_sha256):
                return f"{source.name}: its file has changed since."
    except InputError as error:
        return str(error)
    return None


def _remove_rests(root: Path, *, older_than_s: float = 0.0) -> None:
    """Remove what killed processes left of shards under temporary names."""
    latest = time.time() - older_than_s
    for rest in (root / SHARDS).rglob(".*.partial.h5"):
        with suppress(OSError):
            if not older_than_s or rest.stat().st_mtime < latest:
                rest.unlink()


# --- the work --------------------------------------------------------------------------------


def _work(
    executor: Executor,
    maker: ShardMaker,
    todo: Sequence[Source],
    group: int,
    report: BuildReport,
    *,
    quiet: bool,
) -> None:
    units = [tuple(todo[k : k + group]) for k in range(0, len(todo), group)]
    names = {unit[0].name: unit for unit in units}
    with progress("building", total=len(todo), unit="object", quiet=quiet) as bar:
        outcomes = executor.run(maker, ((unit[0].name, unit) for unit in units))
        with closing(outcomes):  # so that workers end here, whatever ends the loop
            for outcome in outcomes:
                for made in _results(outcome, names[outcome.key]):
                    _take(maker.root, made, report)
                    bar.update(1)
                _refuse_settings(maker.root, report, len(todo))
                if report.failed:
                    bar.set_postfix_str(f"{len(report.failed)} failed")


def _refuse_settings(root: Path, report: BuildReport, total: int) -> None:
    """End the build where all that it has tried is refused for one reason that names no object:
    it is not the objects that are wrong.

    Raises:
        InputError: that reason.
    """
    failed = report.failed
    if report.made or report.kept or len(failed) < max(2, min(_ALIKE, total)):
        return
    reasons = {made.reason for made in failed}
    if len(reasons) > 1 or any(made.trouble != "refused" for made in failed):
        return
    reason = reasons.pop()
    if any(made.object in reason or Path(made.object).name in reason for made in failed):
        return
    for made in failed:
        for file in _failure_files(root, made.object):
            file.unlink(missing_ok=True)
    if (root / FAILURES).is_dir() and not any(p.is_file() for p in (root / FAILURES).rglob("*")):
        shutil.rmtree(root / FAILURES, ignore_errors=True)
    raise InputError(
        f"{reason.rstrip('.')} (so for each of the {len(failed)} objects tried, and the build was "
        "ended)."
    )


def _results(outcome: Outcome[list[Made]], unit: Sequence[Source]) -> list[Made]:
    if outcome.result is not None:
        return outcome.result
    failure = outcome.failure
    assert failure is not None
    return [
        Made(object=s.name, trouble="error", reason=failure.message, traceback=failure.traceback)
        for s in unit
    ]


def _take(root: Path, made: Made, report: BuildReport) -> None:
    if made.trouble == "unwritable":
        # So it will be for all others; what is done stays.
        raise OutputError(
            f"{made.reason.rstrip('.')}; then run the same command again, which goes on."
        )
    folder = root / FAILURES
    files = _failure_files(root, made.object)
    if made.trouble is None:
        for file in files:
            file.unlink(missing_ok=True)
        if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)
        report.made += 1
        report.sweeps += made.sweeps
        report.refused += made.refused
        report.overlapping += made.overlapping
        report.redrawn += made.redrawn
        return
    report.failed.append(made)
    entry = {"object": made.object, "kind": made.trouble, "reason": made.reason}
    texts = (json.dumps(entry, indent=1, ensure_ascii=False), made.traceback or made.reason)
    with suppress(OutputError):
        for file, text in zip(files, texts, strict=True):
            with atomic_path(file) as temporary:
                temporary.write_bytes((text + "\n").encode(errors="backslashreplace"))


def _failure_files(root: Path, name: str) -> tuple[Path, Path]:
    stem = shard_path(name).removesuffix(".h5")
    return root / FAILURES / f"{stem}.json", root / FAILURES / f"{stem}.txt"


def failures(root: Path) -> list[dict[str, str]]:
    """What could not be built: object, kind and reason, sorted by object; unreadable files are
    passed over."""
    found: list[dict[str, str]] = []
    for file in sorted((root / FAILURES).rglob("*.json")):
        with suppress(OSError, ValueError):
            entry = json.loads(file.read_text(encoding="utf-8"))
            fields = ("object", "kind", "reason")
            if isinstance(entry, dict) and all(isinstance(entry.get(f), str) for f in fields):
                found.append(entry)
    return found
