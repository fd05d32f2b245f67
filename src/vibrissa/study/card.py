"""The data set of a study in its report: what it is, how it was made, how it is parted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vibrissa.report import Picture, Section, Table, Text

if TYPE_CHECKING:
    from vibrissa.data.store import SweepStore
    from vibrissa.study.stages import StudyConfig

_SHOWN_SWEEPS: Final = 6


def dataset_card(config: StudyConfig, store: SweepStore, split: str) -> Section:
    """The card of a data set.

    Args:
        config: of the study.
        store: its sweeps.
        split: name of the split that its networks were trained on.
    """
    import pandas as pd

    from vibrissa.data.figures import draw_sweeps

    table: Any = store.table
    firsts = table.reset_index().groupby("label")["index"].first().to_list()[:_SHOWN_SWEEPS]
    facts = pd.DataFrame(_facts(config, store, split), columns=["what", "value"])
    parts = store.split(split).codes(table)
    named: Any = table.assign(
        part=np.array(["unused", "train", "validate", "test"], dtype=object)[parts + 1]
    )
    objects = named.pivot_table(
        index="label", columns="part", values="object", aggfunc="nunique", fill_value=0
    )
    shown = [part for part in ("train", "validate", "test", "unused") if part in objects.columns]
    counts = objects[shown].add_prefix("objects, ").reset_index()
    counts["sweeps"] = table.groupby("label").size().loc[counts["label"]].to_numpy()
    return Section(
        title="Data set",
        parts=[
            Table(frame=facts, caption="What the data set is and how it was made.", name="card"),
            Picture(
                draw=lambda: draw_sweeps(store, firsts),
                caption="One sweep of each of the first classes: moment at each whisker's base.",
                alt="Images of whisker by time, one for each of several classes.",
                name="sweeps",
            ),
            Table(frame=counts, caption="Objects by class and part.", name="dataset"),
            Text(
                text="Loads are forces and moments at the whisker bases, simulated; no animal was "
                "touched by these objects.",
                kind="note",
            ),
        ],
    )


def _facts(config: StudyConfig, store: SweepStore, split: str) -> list[tuple[str, str]]:
    from vibrissa.data.describing import describe
    from vibrissa.data.splits import leaks

    known = describe(store)
    words = config.objects or config.grid.data.objects or ()
    given = [w for w in words if not w.startswith("procedural:")]
    objects = f"{len(given)} folder or file of the user" if given else ", ".join(words)
    protocol = config.grid.data.protocol
    way = protocol if isinstance(protocol, str) else json.dumps(protocol)
    crossing = leaks(store.split(split).codes(store.table), store.table).sentence()
    force, moment = known["touched"]["F"], known["touched"]["M"]
    names = known["whiskers"]
    return [
        ("objects", f"{known['objects']:,} in {len(known['classes'])} classes ({objects})"),
        ("sweeps", f"{known['sweeps']:,}, {known['duration_s']:.3g} s each"),
        ("protocol", way),
        ("whiskers", f"{len(names)}: {names[0]} to {names[-1]}"),
        ("stored", f"{known['rate_hz']:g} Hz, {known['frames']} frames, {known['sampling']}, "
                   f"{known['bytes_per_sweep'] / 1000:.3g} kB a sweep"),
        ("seed", str(known["seed"])),
        ("split", f"{config.grid.data.split}; {crossing}"),
        ("in contact", f"{100 * known['contact_share']:.1f} % of frames of whiskers"),
        ("force in contact", f"median {force['p50']:.3g} uN, largest {force['max']:.4g} uN"),
        ("moment in contact",
         f"median {moment['p50']:.3g} uN mm, largest {moment['max']:.4g} uN mm"),
        ("refused sweeps", f"{known['refused_sweeps']:,}"),
        ("whiskers inside the object at the start", f"{known['overlapping_sweeps']:,} sweeps"),
        ("flagged by the solver", f"{known['flagged_sweeps']:,} sweeps"),
    ]  # fmt: skip
