import random
import time
from itertools import combinations, permutations

import pytest

from vibrissa.tnn.order import NEVER, components, cycle_among, distances, feedforward_order, readers


def chain(n, *more):
    """a0 -> a1 -> ... with further edges (source, target)."""
    inputs = {f"a{k}": [f"a{k - 1}"] if k else [] for k in range(n)}
    for source, target in more:
        inputs[target].append(source)
    return inputs


def reach(inputs):
    """Node -> all nodes on a path into it, by transitive closure."""
    found = {name: set(read) for name, read in inputs.items()}
    for _ in inputs:
        for name in inputs:
            for source in list(found[name]):
                found[name] |= found[source]
    return found


@pytest.mark.parametrize("seed", range(60))
def test_components_and_distances_against_the_transitive_closure(seed):
    draw = random.Random(seed)
    names = [f"n{k}" for k in range(draw.randint(1, 8))]
    inputs = {n: [m for m in names if draw.random() < 0.25] for n in names}
    into = reach(inputs)
    together = {
        n: tuple(sorted({n} | {m for m in names if m in into[n] and n in into[m]})) for n in names
    }
    found = components(inputs)
    assert sorted(found) == sorted(set(together.values()))
    place = {n: k for k, members in enumerate(found) for n in members}
    assert all(place[m] <= place[n] for n in names for m in inputs[n])

    near = distances(readers(inputs), [names[0]])
    wanted, edge = {names[0]: 0}, {names[0]}
    for step in range(1, len(names) + 1):
        edge = {n for n in names if n not in wanted and any(m in edge for m in inputs[n])}
        wanted |= dict.fromkeys(edge, step)
    assert near == {n: wanted.get(n, NEVER) for n in names}

    order = feedforward_order(inputs, [names[0]], [names[-1]])
    assert sorted(order) == sorted(names)
    seat = {n: k for k, n in enumerate(order)}
    for n in names:
        for m in inputs[n]:
            if together[n] != together[m]:
                assert seat[m] < seat[n]


def test_chains_keep_their_order_whatever_the_feedback():
    names = [f"a{k}" for k in range(5)]
    back = [(names[j], names[i]) for j in range(5) for i in range(1, j)]
    for count in range(len(back) + 1):
        for chosen in combinations(back, count):
            assert feedforward_order(chain(5, *chosen), ["a0"], ["a4"]) == tuple(names)


def test_the_published_network_is_in_the_order_of_its_layers():
    chain = ["12", "23", "34", "45", "56", "67", "78"]
    feedback, skips = ["32", "42", "43", "53", "54", "64", "65"], ["47", "27"]
    inputs = {str(k): [] for k in range(1, 9)}
    for edge in chain + feedback + skips:
        inputs[edge[1]].append(edge[0])
    assert "".join(feedforward_order(inputs, ["1"], ["8"])) == "12345678"


def test_the_order_of_the_mapping_has_no_effect():
    inputs = chain(4, ("a3", "a1"), ("a2", "a1"), ("a0", "a2"))
    wanted = feedforward_order(inputs, ["a0"], ["a3"])
    for names in permutations(inputs):
        assert feedforward_order({n: inputs[n] for n in names}, ["a0"], ["a3"]) == wanted
        assert components({n: inputs[n] for n in names}) == components(inputs)


def test_edges_within_a_step_point_forwards():
    ring = chain(4, ("a3", "a1"))
    order = feedforward_order(ring, ["a0"], ["a3"], {("a3", "a1"), ("a2", "a3")})
    assert order.index("a2") < order.index("a3") < order.index("a1")


def test_cycles_are_named():
    assert cycle_among({("a", "b"), ("b", "c")}) == ()
    assert cycle_among({("a", "b"), ("b", "c"), ("c", "b")}) == ("b", "c")
    assert cycle_among({("a", "a")}) == ("a",)


def test_a_dense_graph_of_200_nodes_is_ordered_at_once():
    inputs = {f"n{k}": [f"n{j}" for j in range(k)] for k in range(200)}
    start = time.process_time()
    order = feedforward_order(inputs, ["n0"], ["n199"])
    assert time.process_time() - start < 1.0
    assert order == tuple(f"n{k}" for k in range(200))
    everyone = {n: [m for m in inputs if m != n] for n in inputs}
    start = time.process_time()
    assert len(feedforward_order(everyone, ["n0"], ["n199"])) == 200
    assert time.process_time() - start < 2.0


def test_a_long_chain_needs_no_recursion():
    assert len(feedforward_order(chain(5000), ["a0"], ["a4999"])) == 5000
