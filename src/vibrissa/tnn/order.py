"""Orders and distances on a graph, from adjacency alone: no torch, no paths enumerated.

Every function takes ``inputs``, a mapping from node to the nodes that it reads, and gives the same
answer whatever the order of that mapping.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

Adjacency: TypeAlias = Mapping[str, Collection[str]]
Edge: TypeAlias = tuple[str, str]

NEVER: Final = 2**62
"""Distance of what is not reached."""


@dataclass(frozen=True)
class Timing:
    """Which values meet in one step of an unrolling.

    Attributes:
        order: the nodes, in an order in which one step can be computed.
        same_step: edges (source, target) that deliver the source's value of this very step; all
            others deliver that of the step before.
        first_input_step: node -> the first step whose value depends on the stimulus.
    """

    order: tuple[str, ...]
    same_step: frozenset[Edge]
    first_input_step: Mapping[str, int]


def readers(inputs: Adjacency) -> dict[str, list[str]]:
    """Node -> the nodes that read it, sorted."""
    found: dict[str, list[str]] = {name: [] for name in sorted(inputs)}
    for name in sorted(inputs):
        for source in set(inputs[name]):
            found[source].append(name)
    return found


def distances(
    onward: Adjacency, sources: Iterable[str], free: Collection[Edge] = ()
) -> dict[str, int]:
    """Fewest edges from any source to each node; :data:`NEVER` where there is no path.

    Args:
        onward: node -> the nodes one edge further.
        sources: nodes at distance 0.
        free: edges (from, to) that cost nothing.
    """
    found = dict.fromkeys(onward, NEVER)
    queue: deque[str] = deque()
    for name in sources:
        found[name] = 0
        queue.append(name)
    while queue:
        name = queue.popleft()
        for reader in onward[name]:
            cost = 0 if (name, reader) in free else 1
            if found[name] + cost < found[reader]:
                found[reader] = found[name] + cost
                (queue.append if cost else queue.appendleft)(reader)
    return found


def components(inputs: Adjacency) -> list[tuple[str, ...]]:
    """Strongly connected components (sets of nodes on common cycles), each before its readers.

    Tarjan's algorithm, without recursion; O(nodes + edges). Members are sorted.
    """
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[tuple[str, ...]] = []
    for root in sorted(inputs):
        if root in index:
            continue
        index[root] = lowest[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        trail = [(root, iter(sorted(set(inputs[root]))))]
        while trail:
            name, rest = trail[-1]
            for source in rest:
                if source not in index:
                    index[source] = lowest[source] = len(index)
                    stack.append(source)
                    on_stack.add(source)
                    trail.append((source, iter(sorted(set(inputs[source])))))
                    break
                if source in on_stack:
                    lowest[name] = min(lowest[name], index[source])
            else:
                trail.pop()
                if trail:
                    above = trail[-1][0]
                    lowest[above] = min(lowest[above], lowest[name])
                if lowest[name] == index[name]:
                    members = [stack.pop()]
                    while members[-1] != name:
                        members.append(stack.pop())
                    on_stack.difference_update(members)
                    found.append(tuple(sorted(members)))
    return found  # an arrow followed backwards: sources come out first


def cycle_among(edges: Collection[Edge]) -> tuple[str, ...]:
    """Nodes of one cycle that these edges form; empty if they form none."""
    inputs: dict[str, list[str]] = {}
    for source, target in sorted(edges):
        inputs.setdefault(source, [])
        inputs.setdefault(target, []).append(source)
    for members in components(inputs):
        if len(members) > 1 or any(name in inputs[name] for name in members):
            return members
    return ()


def feedforward_order(
    inputs: Adjacency,
    sources: Collection[str],
    outputs: Collection[str],
    same_step: Collection[Edge] = (),
) -> tuple[str, ...]:
    """The order in which a full pass computes the nodes.

    Without cycles it is a topological order. Otherwise the components follow one another
    topologically, and inside each the node goes next whose inputs within the component were all
    computed; if there is none, the one that reads the latest computed node, among equals the one
    farthest from the read-outs, then the one nearest to the stimulus, then the first by name. The
    edges that then point backwards are the feedback ones. For a chain with feedback and a few skips
    this is the order of the chain, which is also what the longest simple path gives; that in
    general cannot be found at reasonable cost, so where the two differ, give the order yourself.
    O((nodes + edges) log nodes).

    Args:
        inputs: node -> nodes that it reads.
        sources: nodes that read a stimulus.
        outputs: read-out nodes.
        same_step: edges (source, target) that must point forwards; they form no cycle.
    """
    onward = readers(inputs)
    near = distances(onward, sources)
    far = distances(inputs, outputs)
    key = {name: (-far[name], near[name], name) for name in inputs}
    hard: dict[str, set[str]] = {name: set() for name in inputs}
    for source, target in same_step:
        hard[target].add(source)
    groups = components(inputs)
    group_of = {name: k for k, members in enumerate(groups) for name in members}
    waits = [
        {group_of[p] for name in members for p in inputs[name]} - {k}
        for k, members in enumerate(groups)
    ]
    order: list[str] = []
    seat: dict[str, int] = {}
    for k in _kahn(waits, [min((near[n], -far[n], n) for n in members) for members in groups]):
        for name in _order_within(groups[k], inputs, onward, hard, key, seat):
            order.append(name)
    return tuple(order)


def _kahn(waits: list[set[int]], keys: list[tuple[int, int, str]]) -> list[int]:
    """Topological order of numbered things, the least key first where there is a choice."""
    left = [len(w) for w in waits]
    onward: list[list[int]] = [[] for _ in waits]
    for k, sources in enumerate(waits):
        for source in sources:
            onward[source].append(k)
    ready = [(keys[k], k) for k, count in enumerate(left) if count == 0]
    heapify(ready)
    order = []
    while ready:
        _, k = heappop(ready)
        order.append(k)
        for reader in onward[k]:
            left[reader] -= 1
            if left[reader] == 0:
                heappush(ready, (keys[reader], reader))
    return order


def _order_within(
    members: tuple[str, ...],
    inputs: Adjacency,
    onward: Adjacency,
    hard: Mapping[str, set[str]],
    key: Mapping[str, tuple[int, int, str]],
    seat: dict[str, int],
) -> list[str]:
    """Order of one component; ``seat`` holds the places of nodes before it and takes these."""
    inside = set(members)
    left = {name: len({p for p in inputs[name] if p in inside and p != name}) for name in members}
    hard_left = {name: len(hard[name] & inside) for name in members}
    latest = {
        name: max((seat[p] for p in inputs[name] if p in seat), default=-1) for name in inside
    }
    ready = [(-latest[name], *key[name]) for name in members if left[name] == 0]
    allowed = [(-latest[name], *key[name]) for name in members if hard_left[name] == 0]
    heapify(ready)
    heapify(allowed)
    order: list[str] = []
    while len(order) < len(members):
        name = heappop(ready or allowed)[-1]
        if name in seat:
            continue
        seat[name] = len(seat)
        order.append(name)
        for reader in onward[name]:
            if reader not in inside or reader in seat:
                continue
            left[reader] -= 1
            hard_left[reader] -= name in hard[reader]
            if left[reader] == 0:
                heappush(ready, (-seat[name], *key[reader]))
            if hard_left[reader] == 0:  # again with each input: the newest comes out first
                heappush(allowed, (-seat[name], *key[reader]))
    return order
