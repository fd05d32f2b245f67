"""Targets: named groups of sessions, one per animal and one of all animals together.

Sessions are joined by adding moments over their units (rdm_moments.py), with conditions matched by
name. Nothing is padded, and a condition that a session lacks is never stored as zero: the session
is left out of that comparison, and said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from vibrissa.core.errors import refuse, refuse_unknown
from vibrissa.neural.conditions import ordered_conditions
from vibrissa.neural.session import Session

Grouping = Literal["session", "animal", "pooled"]
POOLED: Final = "pooled"
ANIMALS: Final = "animals"
"""Name of the row that speaks of the animals as a group."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A group of sessions that one comparison is made with.

    Attributes:
        name: the animal, the session or ``pooled``.
        kind: ``animal``, ``session`` or ``pooled``.
        sessions: at least one, sorted by name.
        animal: the animal; ``""`` for several.
    """

    name: str
    kind: Grouping
    sessions: tuple[Session, ...]
    animal: str = ""

    def __post_init__(self) -> None:
        if not self.sessions:
            raise refuse(f"target {self.name}", (), "no sessions", "give one or more")
        order = sorted(self.sessions, key=lambda session: session.name)
        object.__setattr__(self, "sessions", tuple(order))
        check_sessions(order)

    @property
    def n_units(self) -> int:
        """Units of all its sessions."""
        return sum(session.n_units for session in self.sessions)

    def __repr__(self) -> str:
        return f"<Target {self.name}: {len(self.sessions)} sessions, {self.n_units} units>"


def targets(
    sessions: Sequence[Session], by: Grouping | Sequence[Grouping] = ("animal", "pooled")
) -> tuple[Target, ...]:
    """Group sessions.

    Args:
        sessions: in any order; each name once.
        by: ``animal``, ``session``, ``pooled``, or several of them.

    Returns:
        Targets in the order of ``by``, each kind sorted by name.

    Raises:
        InputError: no sessions, a name that stands twice, or an unknown grouping.
    """
    check_sessions(sessions)
    kinds = (by,) if isinstance(by, str) else tuple(by)
    found: list[Target] = []
    for kind in kinds:
        if kind == "session":
            ordered = sorted(sessions, key=lambda session: session.name)
            found += [
                Target(name=s.name, kind="session", sessions=(s,), animal=s.animal) for s in ordered
            ]
        elif kind == "animal":
            for animal in sorted({session.animal for session in sessions}):
                group = tuple(s for s in sessions if s.animal == animal)
                found.append(Target(name=animal, kind="animal", sessions=group, animal=animal))
        elif kind == "pooled":
            found.append(Target(name=POOLED, kind="pooled", sessions=tuple(sessions)))
        else:
            raise refuse_unknown("by", kind, ("animal", "session", "pooled"))
    names = [target.name for target in found]
    twice = sorted({name for name in names if names.count(name) > 1} | ({ANIMALS} & {*names}))
    if twice:
        raise refuse("target", twice[0], "the name stands twice or is reserved", "rename it")
    return tuple(found)


def check_sessions(sessions: Sequence[Session]) -> None:
    """Refuse an empty list, and names that stand twice.

    Raises:
        InputError: as said.
    """
    if not len(sessions):
        raise refuse("sessions", (), "there are none", "give one or more")
    names = [session.name for session in sessions]
    for name in names:
        if names.count(name) > 1:
            raise refuse("session", name, "the name stands twice", "give each session its own name")


def conditions_of(sessions: Sequence[Session]) -> tuple[str, ...]:
    """All conditions that any session shows: the canonical ones first, others by alphabet."""
    return ordered_conditions({name for session in sessions for name in session.conditions})


def why_unusable(session: Session, conditions: Sequence[str], min_trials: int) -> str:
    """Why a session cannot enter a comparison of these conditions; ``""`` if it can."""
    if session.n_units == 0:
        return "no units"
    if session.n_trials == 0:
        return "no trials"
    counts = [int(np.sum(session.condition == name)) for name in conditions]
    few = [name for name, count in zip(conditions, counts, strict=True) if count < min_trials]
    if not few:
        return ""
    if all(count == 0 for count in counts):
        return "none of the conditions"
    missing = [name for name, count in zip(conditions, counts, strict=True) if count == 0]
    if missing:
        return f"no trials of {', '.join(missing)}"
    return f"fewer than {min_trials} trials of {', '.join(few)}"
