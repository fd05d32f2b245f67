"""What of an unrolling has to be computed, and in which order: pure Python, no torch.

Four observations save work without changing a number:

* **Backward cone.** Only what a wanted value depends on is computed: a node without state at
  exactly the steps that are read, a node with state up to the last of them.
* **Forward cone.** Until the stimulus has reached a node, its value is the same for all samples:
  one sample stands for the batch.
* **Equal inputs.** A node without state that reads the same values at two steps (a static image, a
  blank screen) is computed once.
* **Folding.** Outside cycles a node's steps can be computed together but for the state's own half.
  Inside a strongly connected component k steps of each node can, where every node n begins its
  blocks at a phase a(n): block j of n reads block ``j + floor((a(n) - a(p) + k - 1 - delay) / k)``
  of its input p, and that is possible if these numbers sum to less than zero along every cycle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import product
from typing import Final

from vibrissa.tnn.order import Adjacency, Edge, components, distances

# So many combinations of phases are tried for one block size.
_TRIES: Final = 20_000

BEFORE: Final = -1
"""The step whose values were there before the first one: those of the state handed over."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a graph.

    Attributes:
        order: the nodes, in an order in which one step can be computed.
        inputs: node -> the nodes that it reads.
        stimuli: node -> the stimuli that it reads; may leave out nodes that read none.
        same_step: edges (source, target) that take no step.
        steps: how many, T.
        wanted: node -> steps whose outputs are asked for.
        stateless: nodes whose cell has no state.
        repeats: those of the stateless nodes that give the same for the same inputs at every step.
        first_live: node -> first step whose value may differ from sample to sample; nodes left out
            are so from the beginning.
        frame: (stimulus, step) -> a number that is equal for equal frames; the step if left out.
        together: most steps of one node that are computed at once.
        block: the same within cycles; 1 goes step by step.
    """

    order: Sequence[str]
    inputs: Adjacency
    steps: int
    wanted: Mapping[str, Collection[int]]
    stimuli: Mapping[str, Sequence[str]] = field(default_factory=dict)
    same_step: Collection[Edge] = frozenset()
    stateless: Collection[str] = ()
    repeats: Collection[str] = ()
    first_live: Mapping[str, int] = field(default_factory=dict)
    frame: Callable[[str, int], int] = lambda _, step: step
    together: int = 1
    block: int = 1

    def delay(self, source: str, target: str) -> int:
        """Steps that an edge takes, 0 or 1."""
        return 0 if (source, target) in self.same_step else 1


@dataclass(frozen=True)
class Task:
    """Steps of one node to be computed at once; one sample stands for all if ``shared``."""

    node: str
    steps: tuple[int, ...]
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to compute.

    Attributes:
        tasks: in an order in which everything that a task reads is there before it.
        computed: node -> steps that are computed, ascending; nodes never needed are missing.
        needed: node -> those whose output somebody reads.
        same: (node, step) -> the earlier step with the same value, where there is one.
        reads: (node, step) -> how many inputs of computed steps read it (step :data:`BEFORE` for
            what was handed over).
    """

    tasks: tuple[Task, ...]
    computed: Mapping[str, tuple[int, ...]]
    needed: Mapping[str, frozenset[int]]
    same: Mapping[tuple[str, int], int]
    reads: Mapping[tuple[str, int], int]

    def source(self, name: str, step: int) -> int:
        """The step under which a value is kept."""
        return BEFORE if step < 0 else self.same.get((name, step), step)


def make_plan(q: Question) -> Plan:
    """Plan an unrolling. O(T (nodes + edges)), but for the search of phases within cycles."""
    same = _equal_steps(q)
    computed, needed = _backward(q, same)
    reads: Counter[tuple[str, int]] = Counter()
    for name, steps in computed.items():
        for p in q.inputs[name]:
            lag = q.delay(p, name)
            for t in steps:
                reads[p, BEFORE if t < lag else same.get((p, t - lag), t - lag)] += 1
    return Plan(
        tasks=tuple(_tasks(q, computed)), computed=computed, needed=needed, same=same,
        reads=dict(reads),
    )  # fmt: skip


def unread_steps(
    inputs: Adjacency, outputs: Collection[str], same_step: Collection[Edge] = ()
) -> dict[str, int]:
    """Node -> how many of its last steps cannot reach the last step of any of the outputs."""
    back = {(target, source) for source, target in same_step}
    return distances({name: sorted(set(read)) for name, read in inputs.items()}, outputs, back)


# --- what is needed --------------------------------------------------------------------------


def _equal_steps(q: Question) -> dict[tuple[str, int], int]:
    """(node, step) -> the first step at which the node read the same."""
    same: dict[tuple[str, int], int] = {}
    if not q.repeats:
        return same
    seen: dict[object, int] = {}
    repeats = frozenset(q.repeats)
    for t in range(q.steps):
        for name in q.order:
            if name not in repeats:
                continue
            read = []
            for p in q.inputs[name]:
                step = t - q.delay(p, name)
                read.append(BEFORE if step < 0 else same.get((p, step), step))
            key = (name, *read, *(q.frame(stimulus, t) for stimulus in q.stimuli.get(name, ())))
            first = seen.setdefault(key, t)
            if first != t:
                same[name, t] = first
    return same


def _backward(
    q: Question, same: Mapping[tuple[str, int], int]
) -> tuple[dict[str, tuple[int, ...]], dict[str, frozenset[int]]]:
    """Steps computed and outputs needed, by node."""
    needed: dict[str, set[int]] = {name: set() for name in q.order}
    computed: dict[str, set[int]] = {name: set() for name in q.order}
    stateless = frozenset(q.stateless)
    todo = [(name, t) for name, steps in q.wanted.items() for t in steps]
    while todo:
        name, t = todo.pop()
        t = same.get((name, t), t)
        if t in needed[name]:
            continue
        needed[name].add(t)
        fresh = [t] if name in stateless else range(len(computed[name]), t + 1)
        for step in fresh:
            computed[name].add(step)
            for p in q.inputs[name]:
                before = step - q.delay(p, name)
                if before >= 0:
                    todo.append((p, before))
    return (
        {name: tuple(sorted(steps)) for name, steps in computed.items() if steps},
        {name: frozenset(steps) for name, steps in needed.items() if steps},
    )


# --- in which order --------------------------------------------------------------------------


def _tasks(q: Question, computed: Mapping[str, tuple[int, ...]]) -> list[Task]:
    inputs = {name: [p for p in q.inputs[name] if p in computed] for name in computed}
    place = {name: k for k, name in enumerate(q.order)}
    tasks: list[Task] = []
    for members in components(inputs):
        if len(members) == 1 and members[0] not in inputs[members[0]]:
            tasks.extend(_cut(q, members[0], computed[members[0]], q.together))
            continue
        names = sorted(members, key=place.__getitem__)
        size, phases = blocks(names, inputs, q.same_step, limit=q.block)
        for name, j in _in_blocks(q, names, inputs, size, phases):
            first = j * size + phases[name]
            steps = [t for t in range(first, first + size) if t in _Within(computed[name])]
            tasks.extend(_cut(q, name, steps, size))
    return tasks


class _Within:
    """Membership in an ascending tuple."""

    def __init__(self, steps: tuple[int, ...]) -> None:
        self.steps = steps
        self.whole = steps[-1] - steps[0] + 1 == len(steps)

    def __contains__(self, t: int) -> bool:
        if self.whole:
            return self.steps[0] <= t <= self.steps[-1]
        return t in self.steps


def _cut(q: Question, name: str, steps: Sequence[int], size: int) -> list[Task]:
    """Tasks of at most ``size`` steps, apart where the stimulus arrives."""
    live = q.first_live.get(name, 0)
    parts = ([t for t in steps if t < live], True), ([t for t in steps if t >= live], False)
    return [
        Task(name, tuple(part[k : k + size]), shared)
        for part, shared in parts
        for k in range(0, len(part), size)
    ]


def blocks(
    names: Sequence[str],
    inputs: Adjacency,
    same_step: Collection[Edge] = (),
    *,
    limit: int | None = None,
) -> tuple[int, dict[str, int]]:
    """The largest block size of a component, and the phase of each node.

    Args:
        names: its nodes.
        inputs: node -> nodes that it reads; those outside the component do not count.
        same_step: edges that take no step.
        limit: no larger than this.

    Returns:
        k and the phases, each from 0 to k - 1; 1 and zeros if nothing better is found.
    """
    inside = set(names)
    edges = [
        (p, n, 0 if (p, n) in same_step else 1) for n in names for p in inputs[n] if p in inside
    ]
    shortest = _shortest_cycle(names, edges)
    largest = shortest if limit is None else min(shortest, limit)
    for size in range(largest, 1, -1):
        if size ** (len(names) - 1) > _TRIES:
            continue
        for rest in product(range(size), repeat=len(names) - 1):
            phases = dict(zip(names, (0, *rest), strict=True))
            if _feasible(names, edges, size, phases):
                low = min(phases.values())
                return size, {name: phase - low for name, phase in phases.items()}
    return 1, dict.fromkeys(names, 0)


def _shortest_cycle(names: Sequence[str], edges: Sequence[tuple[str, str, int]]) -> int:
    """Fewest steps around a cycle."""
    far = len(names) + 1
    length = {(a, b): far for a in names for b in names}
    for p, n, lag in edges:
        length[p, n] = min(length[p, n], lag)
    for via in names:
        for a in names:
            for b in names:
                length[a, b] = min(length[a, b], length[a, via] + length[via, b])
    return max(1, min((length[a, a] for a in names), default=1))


def _ahead(size: int, phases: Mapping[str, int], p: str, n: str, lag: int) -> int:
    """How many blocks ahead of its own a node reads an input's block; usually below 0 or 0."""
    return (phases[n] - phases[p] + size - 1 - lag) // size


def _feasible(
    names: Sequence[str],
    edges: Sequence[tuple[str, str, int]],
    size: int,
    phases: Mapping[str, int],
) -> bool:
    """Do the blocks ahead sum to less than zero along every cycle (Bellman-Ford)?"""
    worth = dict.fromkeys(names, 0)
    scale = len(names) + 1  # makes cycles of sum 0 count as positive
    for _ in range(len(names) + 1):
        changed = False
        for p, n, lag in edges:
            value = worth[p] + scale * _ahead(size, phases, p, n, lag) + 1
            if value > worth[n]:
                worth[n] = value
                changed = True
        if not changed:
            return True
    return False


def _in_blocks(
    q: Question, names: Sequence[str], inputs: Adjacency, size: int, phases: Mapping[str, int]
) -> list[tuple[str, int]]:
    """The blocks (node, number) of a component, each after those that it reads."""
    count = {name: -(-(q.steps - phases[name]) // size) for name in names}
    # Blocks begin at -1: steps before a node's phase.
    nodes = [(name, j) for name in names for j in range(-1, max(count[name], 0))]
    known = set(nodes)
    place = {name: k for k, name in enumerate(names)}
    inside = {name: [p for p in inputs[name] if p in place] for name in names}
    left: Counter[tuple[str, int]] = Counter()
    for name, j in nodes:
        for p in set(inside[name]):
            if (p, _limit(j + _ahead(size, phases, p, name, q.delay(p, name)), count[p])) in known:
                left[name, j] += 1
        if (name, j - 1) in known:
            left[name, j] += 1
    waiting: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for name, j in nodes:
        for p in set(inside[name]):
            source = (p, _limit(j + _ahead(size, phases, p, name, q.delay(p, name)), count[p]))
            if source in known:
                waiting.setdefault(source, []).append((name, j))
        waiting.setdefault((name, j - 1), []).append((name, j))
    ready = [(j, place[name], name) for name, j in nodes if not left[name, j]]
    heapify(ready)
    found = []
    while ready:
        j, _, name = heappop(ready)
        found.append((name, j))
        for reader in waiting.get((name, j), ()):
            left[reader] -= 1
            if not left[reader]:
                heappush(ready, (reader[1], place[reader[0]], reader[0]))
    assert len(found) == len(nodes)
    return found


def _limit(block: int, count: int) -> int:
    """The last block, where a later one would lie beyond the end."""
    return min(block, count - 1)
