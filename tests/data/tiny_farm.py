"""A recipe so small that a build takes seconds: two whiskers, short passes, a coarse grid."""

import hashlib
import sys
from pathlib import Path

from vibrissa.data.recipe import Recipe
from vibrissa.data.resampling import Recording
from vibrissa.data.sources import sources_of
from vibrissa.morphology import mouse_array
from vibrissa.simulation import OnePass, PassiveSweep, SolverConfig


def tiny_recipe(**changes):
    settings = {
        "protocol": OnePass(sweep=PassiveSweep(duration_s=0.2, diagonal_mm=20.0, distance_mm=4.0)),
        "protocol_name": "passive",
        "array": mouse_array().select(["RC1", "RC2"]),
        "solver": SolverConfig(grid_spacing_mm=0.5),
        "recording": Recording(rate_hz=100.0),
    }
    return Recipe(**settings | changes)


def tiny_sources(count=4, seed=0):
    return sources_of(f"procedural:{count}", seed=seed)


def contents(root: Path, without=("log", "cache")):
    """Path -> digest of every file, besides the parts that are not made to be equal."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[0] not in without
    }


def read_one(store, index):
    """Importable by other processes."""
    return store.loads(index)


def main(out: str, who: str, objects: str) -> None:
    """A build in a process of its own: ``who`` is a number of workers or a Dask address."""
    from vibrissa.data.building import build
    from vibrissa.data.executors import make_executor

    executor = make_executor(None, int(who)) if who.isdecimal() else make_executor(who, 2)
    report = build(tiny_recipe(), tiny_sources(int(objects)), Path(out), executor=executor)
    print(report.sentence(), flush=True)
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
