"""``vibrissa simulate``: objects past whiskers -> ``Sweep`` files, figures and films."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vibrissa.cli.choosing import (
    NamedSource,
    Side,
    choose_array,
    choose_objects,
    choose_whisking,
    writable_folder,
)
from vibrissa.cli.speaking import say
from vibrissa.core.errors import InputError, refuse
from vibrissa.core.progress import track
from vibrissa.simulation.passive import PassiveSweep
from vibrissa.simulation.scene import SolverConfig
from vibrissa.simulation.whisking import SinusoidalWhisking

if TYPE_CHECKING:
    from vibrissa.morphology.array import WhiskerArray
    from vibrissa.objects.tactile_object import TactileObject
    from vibrissa.simulation.protocols import Plan, SweepProtocol
    from vibrissa.simulation.run import Engine
    from vibrissa.simulation.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class PassOptions(PassiveSweep):
    """One straight pass; the side follows from the array."""

    side: Annotated[Literal["R", "L"], tyro.conf.Suppress] = "R"


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Options of ``vibrissa simulate``.

    Attributes:
        object: what to touch, may be repeated: a mesh file (obj, stl, ply, off, glb), a folder of
            them, or procedural:CLASS[:INDEX]; each object gives one Sweep file.
        array: mouse, mouse:N for one of the eight individuals, rat, or a table TABLE.csv.
        side: whiskers to simulate; objects pass on the right, for L on the left.
        parameters: mechanical parameter set.
        fill: take what was not measured on an individual from the average mouse.
        unit: unit of mesh files, mm, cm or m, if --diagonal-mm None leaves their size.
        protocol: which sweeps, see vibrissa list protocols, or a file NAME.yaml of the form
            "protocol: NAME" and its options; what the file sets, no option here may change.
        sweeps: sweeps per object, for protocols that draw them.
        sweep: the pass of the object.
        whisking: none, sinusoid, or a table TABLE.csv of angles; by default what the protocol has.
        whisk: what sinusoid means.
        solver: how to simulate.
        engine: rod, or mujoco as an independent check (slow).
        allow_overlap: simulate sweeps that start with whiskers inside the object.
        out: folder for everything that is written.
        seed: of procedural objects and random draws.
        figures: draw the moments over time as well; --no-figures leaves them out.
        animate: write a film as well (GIF).
        json: print one JSON document on stdout instead of paths.
        quiet: no remarks on stderr.
    """

    object: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    array: str = "mouse"
    side: Side = "R"
    parameters: str = "physical"
    fill: bool = False
    unit: str | None = None
    protocol: str = "passive"
    sweeps: int | None = None
    sweep: Annotated[PassOptions, tyro.conf.arg(name="")] = field(default_factory=PassOptions)
    whisking: str | None = None
    whisk: SinusoidalWhisking = field(default_factory=SinusoidalWhisking)
    solver: SolverConfig = field(default_factory=SolverConfig)
    engine: Literal["rod", "mujoco"] = "rod"
    allow_overlap: bool = False
    out: Path = Path("out")
    seed: int = 0
    figures: bool = True
    animate: bool = False
    json: bool = False
    quiet: bool = False


def run(config: SimulateConfig) -> int:
    """Simulate, write and say where; exit status 1 if some but not all objects were refused."""
    if config.seed < 0:
        raise refuse("seed", config.seed, "not a non-negative integer", "give 0 or more")
    array = choose_array(config.array, config.side, config.parameters, fill=config.fill)
    protocol = choose_protocol(config)
    sources: list[NamedSource | None] = list(choose_objects(config.object, config.unit))
    if protocol.needs_object and not sources:
        raise refuse(
            "object", None, f"protocol {config.protocol} needs one",
            "give --object PATH or --object procedural:CLASS",
        )  # fmt: skip
    if sources and not protocol.needs_object:
        raise refuse(
            "object", config.object[0], f"protocol {config.protocol} brings its own objects",
            "leave --object out",
        )  # fmt: skip
    writable_folder(config.out)
    work = _Work(config, array, protocol)
    alone = len(sources) <= 1
    for source in track(sources or [None], "objects", unit="object", quiet=config.quiet or alone):
        try:
            work.do(source)
        except InputError as error:
            if alone:
                raise
            work.refuse(source.name if source else config.protocol, None, str(error))
    return work.report()


def choose_protocol(config: SimulateConfig) -> SweepProtocol:
    """The protocol asked for, with the options that it heeds.

    Raises:
        InputError: no such protocol or file, an option that it does not heed, or one that its file
            sets.
    """
    from vibrissa.core.config import read_yaml
    from vibrissa.simulation.protocol_files import protocol_entries, protocol_from_tree
    from vibrissa.simulation.protocols import sweep_protocols

    if not _is_yaml(config.protocol):
        kind: Any = sweep_protocols.get(config.protocol)
        return kind(**_options(config, kind, {}, kind()))
    tree = read_yaml(config.protocol)
    kind, entries = protocol_entries(tree, config.protocol)
    set_there = protocol_from_tree(tree, config.protocol)
    return replace(set_there, **_options(config, kind, entries, set_there))  # type: ignore[type-var]


def _is_yaml(text: str) -> bool:
    return text.lower().endswith((".yaml", ".yml"))


def _options(
    config: SimulateConfig, kind: Any, entries: Mapping[str, Any], start: Any
) -> dict[str, Any]:
    """What the command line has to say about fields of a protocol that its file does not set."""
    names = {f.name for f in fields(kind)}
    plain = PassOptions()
    own = entries.get("sweep", {})
    listed = [name for name in entries if name in {f.name for f in fields(plain)}]
    for name in (*kind.sets, *own, *listed):
        if getattr(config.sweep, name) != getattr(plain, name):
            raise refuse(
                name, getattr(config.sweep, name), f"protocol {config.protocol} sets this itself",
                "leave it out or choose another protocol",
            )  # fmt: skip
    given: dict[str, Any] = {}
    if config.side == "L" and "sweep" not in names:
        raise refuse(
            "side", "L", f"protocol {config.protocol} is made for the right side",
            "leave it out, or choose R or both",
        )  # fmt: skip
    if "sweep" in names:
        side = {} if "side" in own else {"side": "L" if config.side == "L" else "R"}
        given["sweep"] = replace(
            config.sweep, **{name: getattr(start.sweep, name) for name in own}, **side
        )
    if config.sweeps is not None:
        if "sweeps" not in names or "sweeps" in entries:
            raise refuse(
                "sweeps", config.sweeps, f"protocol {config.protocol} has a number of its own",
                "leave it out or choose random-passive",
            )  # fmt: skip
        given["sweeps"] = config.sweeps
    if "whisking" in entries:
        if config.whisking is not None:
            raise refuse(
                "whisking", config.whisking, f"protocol {config.protocol} sets this itself",
                "leave it out or choose another protocol",
            )  # fmt: skip
    elif "whisking" in names:
        given["whisking"] = choose_whisking(config.whisking, config.whisk, start.whisking)
    elif config.whisking not in (None, "none"):
        raise refuse(
            "whisking", config.whisking, f"protocol {config.protocol} is without",
            "leave it out or choose another protocol",
        )  # fmt: skip
    return given


class _Work:
    """What was done, object by object."""

    def __init__(
        self, config: SimulateConfig, array: WhiskerArray, protocol: SweepProtocol
    ) -> None:
        self._config, self._array, self._protocol = config, array, protocol
        name = config.protocol
        self._protocol_name = Path(name).stem if _is_yaml(name) else name
        self._solver = config.solver
        if config.animate:
            self._solver = replace(self._solver, record_nodes=True)
        self._engine: Engine | None = None
        self._names: set[str] = set()
        self.done: list[dict[str, Any]] = []
        self.refused: list[dict[str, str | None]] = []

    def do(self, source: NamedSource | None) -> None:
        """Simulate one object and write its files.

        Raises:
            InputError: the object is no usable mesh, or all its scenes were refused.
        """
        config = self._config
        shape: TactileObject | None = source.read(config.seed) if source else None
        name = shape.name if shape else self._protocol_name
        plan = self._protocol.plan(
            self._array, shape, self._solver, seed=config.seed,
            allow_overlap=config.allow_overlap,
        )  # fmt: skip
        if self._engine is None and plan.scenes:
            self._engine = self._make_engine()
        sweep = plan.simulate(
            self._array, self._solver, engine=config.engine, worker=self._engine,
            seed=config.seed,
        )  # fmt: skip
        for skipped in plan.refused:
            self.refuse(name, skipped.scene, skipped.reason + ".")
        self._write(name, sweep, plan)

    def _make_engine(self) -> Engine:
        from vibrissa.simulation.run import make_engine

        return make_engine(self._array, self._solver, self._config.engine)

    def _write(self, name: str, sweep: Sweep, plan: Plan) -> None:
        stem = self._stem(name)
        file = sweep.save(self._config.out / f"{stem}.sweep.h5")
        several = len(sweep) > 1
        figures: list[Path] = []
        films: list[Path] = []
        for k, scene in enumerate(plan.scenes):
            base = f"{stem}-{_slug(scene.name)}" if several else stem
            if self._config.figures:
                from vibrissa.simulation.drawing import draw_traces, save_figure

                target = self._config.out / f"{base}-traces.png"
                figures.append(save_figure(draw_traces(sweep, k), target))
            if self._config.animate:
                from vibrissa.simulation.drawing import animate

                films.append(animate(sweep, scene, k, path=self._config.out / f"{base}.gif"))
        told = [summary(sweep, k) for k in range(len(sweep))]
        self.done.append(
            {
                "object": name,
                "label": sweep.labels[0],
                "file": str(file),
                "figures": [str(f) for f in figures],
                "films": [str(f) for f in films],
                "redrawn": plan.redrawn,
                "overlapping_at_start": {n: list(w) for n, w in plan.overlapping.items()},
                "sweeps": told,
            }
        )
        if not self._config.json:
            for path in (file, *figures, *films):
                print(path, flush=True)
        self._remark(_in_words(name, told, plan))

    def _stem(self, name: str) -> str:
        stem, k = _slug(name), 2
        while stem in self._names:
            stem, k = f"{_slug(name)}-{k}", k + 1
        self._names.add(stem)
        return stem

    def refuse(self, name: str, scene: str | None, reason: str) -> None:
        """Put an object or a scene on the list and say so."""
        self.refused.append({"object": name, "scene": scene, "reason": reason})
        self._remark(f"refused: {reason}", always=True)

    def _remark(self, text: str, *, always: bool = False) -> None:
        if always or not self._config.quiet:
            say(text)

    def report(self) -> int:
        """Print the document and give the exit status.

        Raises:
            InputError: nothing could be simulated.
        """
        if self._config.json:
            document = {"simulated": self.done, "refused": self.refused}
            print(json.dumps(document, indent=1, ensure_ascii=False))
        if not self.done:
            raise InputError(
                f"nothing was simulated: all {len(self.refused)} objects were refused; "
                "mend or replace them."
            )
        return 1 if self.refused else 0


def summary(sweep: Sweep, index: int) -> dict[str, Any]:
    """What one sweep felt, in plain numbers: uN, uN*mm and shares."""
    import numpy as np

    from vibrissa.simulation.sweep import LARGE_FORCE_UN

    loads = sweep.force_moment[index]
    force = np.linalg.norm(loads[..., :3], axis=-1)
    moment = np.linalg.norm(loads[..., 3:], axis=-1)
    touched = sweep.contact[index].any(axis=0)
    flagged = sweep.flagged[index]
    return {
        "name": sweep.names[index],
        "whiskers": len(sweep.whiskers),
        "touched": [w for w, yes in zip(sweep.whiskers, touched, strict=True) if yes],
        "contact_share": round(float(sweep.contact[index].mean()), 6),
        "peak_force_uN": round(float(force.max()), 3),
        "peak_moment_uN_mm": round(float(moment.max()), 3),
        "large_force_share": float(np.mean(force > LARGE_FORCE_UN)),
        "flagged": [w for w, yes in zip(sweep.whiskers, flagged, strict=True) if yes],
    }


def _in_words(name: str, told: list[dict[str, Any]], plan: Plan) -> str:
    touched = {whisker for one in told for whisker in one["touched"]}
    flagged = sum(len(one["flagged"]) for one in told)
    parts = [
        f"{name}: {len(told)} {'sweep' if len(told) == 1 else 'sweeps'}",
        f"{len(touched)} of {told[0]['whiskers']} whiskers touched",
        f"peak force {max(one['peak_force_uN'] for one in told):.0f} uN",
        f"peak moment {max(one['peak_moment_uN_mm'] for one in told):.0f} uN*mm",
    ]
    if not touched:
        parts.append("nothing came within reach: mind distance, height and duration")
    if plan.redrawn:
        parts.append(f"{plan.redrawn} badly placed draws drawn again")
    if plan.overlapping:
        parts.append(f"{len(plan.overlapping)} with whiskers inside the felt surface at the start")
    if flagged:
        parts.append(f"{flagged} whisker traces flagged")
    return ", ".join(parts) + "."


def _slug(name: str) -> str:
    """A file name that any system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "object"
