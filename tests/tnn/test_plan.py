import itertools
import random

import pytest

from vibrissa.tnn.order import NEVER, distances, readers
from vibrissa.tnn.plan import BEFORE, Question, blocks, make_plan, unread_steps
from vibrissa.tnn.published import published_graph

FEEDBACK = ["conv2", "conv3", "conv4", "conv5", "conv6"]
CHAIN = ["conv1", *FEEDBACK, "fc7", "fc8"]


def ask(spec, steps, wanted, **changes):
    timing = spec.timing()
    return Question(
        order=timing.order, inputs=spec.sources, same_step=timing.same_step, steps=steps,
        wanted=wanted, first_live=timing.first_input_step,
        stimuli={name: ["input"] for name in spec.entries}, **changes,
    )  # fmt: skip


def test_cones_of_the_published_graph():
    spec = published_graph("zhuang", cell="intersection", layer_norm=True)
    first = spec.timing().first_input_step
    assert [first[name] for name in CHAIN] == [0, 1, 2, 3, 4, 5, 2, 3]
    unread = unread_steps(spec.sources, spec.outputs)
    assert [unread[name] for name in CHAIN] == [3, 2, 3, 2, 3, 2, 1, 0]
    plan = make_plan(ask(spec, 22, {"fc8": [21]}, stateless=("fc7", "fc8"), together=5, block=2))
    live = [sum(t >= first[name] for t in plan.computed[name]) for name in CHAIN]
    assert live == [19, 19, 17, 17, 15, 15, 1, 1]
    assert [plan.computed[name][-1] for name in CHAIN] == [18, 19, 18, 19, 18, 19, 20, 21]
    shared = {task.node for task in plan.tasks if task.shared}
    assert shared == set(FEEDBACK)
    # fc7 and fc8 have no state: only what is read; with one they are needed all the way.
    plan = make_plan(ask(spec, 22, {"fc8": [21]}))
    assert [len(plan.computed[name]) for name in ("fc7", "fc8")] == [21, 22]


def test_blocks_of_the_published_graph_and_of_rings():
    spec = published_graph("zhuang")
    size, phases = blocks(FEEDBACK, spec.sources)
    assert size == 2
    assert [phases[name] for name in FEEDBACK] == [0, 1, 0, 1, 0]
    ring = {f"a{k}": [f"a{k - 1 if k else 3}"] for k in range(4)}
    assert blocks(list(ring), ring)[0] == 4
    assert blocks(list(ring), ring, limit=3)[0] == 3
    assert blocks(list(ring), ring, same_step={("a0", "a1")})[0] == 3
    chain = {"a": ["d"], "b": ["a"], "c": ["b"], "d": ["c", "b"]}
    assert blocks(list(chain), chain)[0] == 3  # the shorter of two cycles
    three = {"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}
    assert blocks(list(three), three)[0] == 1
    assert blocks(["a"], {"a": ["a"]})[0] == 1


def random_question(seed):
    draw = random.Random(seed)
    names = [f"n{k}" for k in range(draw.randint(1, 6))]
    inputs = {n: [m for m in names if draw.random() < 0.35] for n in names}
    order = draw.sample(names, len(names))
    place = {n: k for k, n in enumerate(order)}
    same_step = {
        (p, n) for n in names for p in inputs[n] if place[p] < place[n] and draw.random() < 0.3
    }
    steps = draw.randint(1, 9)
    entries = draw.sample(names, draw.randint(1, len(names)))
    stateless = {n for n in names if draw.random() < 0.5}
    first = distances(readers(inputs), entries, same_step)
    shown = draw.randint(0, steps)
    return Question(
        order=order, inputs=inputs, same_step=same_step, steps=steps,
        wanted={
            n: draw.sample(range(steps), draw.randint(1, steps))
            for n in draw.sample(names, draw.randint(1, len(names)))
        },
        stimuli={n: ["input"] for n in entries}, stateless=stateless,
        repeats=stateless if draw.random() < 0.5 else (),
        first_live=first if draw.random() < 0.7 else {},
        frame=lambda _, t: t if t < shown else -1,
        together=draw.randint(1, 4), block=draw.randint(1, 4),
    )  # fmt: skip


def history(q, name, t, stimulated, cache):
    """What a value depends on, as a nested key: the frames that it has seen and when."""
    if t < 0:
        return ("start", name)
    key = (name, t)
    if key not in cache:
        read = [
            history(q, p, t - q.delay(p, name), stimulated, cache) for p in sorted(q.inputs[name])
        ]
        frames = [q.frame(s, t) for s in q.stimuli.get(name, ())] if stimulated else []
        old = () if name in q.stateless else history(q, name, t - 1, stimulated, cache)
        cache[key] = hash((name, *read, *frames, old))
    return cache[key]


def sees_stimulus(q, name, t, cache):
    """Has any path brought a frame to this value? (Own state counts, for it had inputs too.)"""
    if t < 0:
        return False
    if (name, t) not in cache:
        cache[name, t] = (
            bool(q.stimuli.get(name))
            or any(sees_stimulus(q, p, t - q.delay(p, name), cache) for p in q.inputs[name])
            or sees_stimulus(q, name, t - 1, cache)
        )
    return cache[name, t]


@pytest.mark.parametrize("seed", range(150))
def test_plans_of_random_graphs(seed):
    q = random_question(seed)
    plan = make_plan(q)
    done, sees, keys = set(), {}, {}
    for task in plan.tasks:
        new = {(task.node, t) for t in task.steps}
        assert task.steps
        assert not new & done
        assert list(task.steps) == sorted(task.steps)
        for t in task.steps:
            for p in q.inputs[task.node]:
                source = plan.source(p, t - q.delay(p, task.node))
                assert source == BEFORE or (p, source) in done  # never of the same task
            if task.node not in q.stateless and t:
                assert (task.node, t - 1) in done | new
            if task.shared:
                assert not sees_stimulus(q, task.node, t, sees)
        done |= new
    assert done == {(n, t) for n, steps in plan.computed.items() for t in steps}
    # A value under another step is the same value.
    for (name, t), first in plan.same.items():
        assert first < t
        assert name in q.repeats
        assert history(q, name, t, True, keys) == history(q, name, first, True, keys)
    # Exactly what is wanted, directly or not: a search backwards from each wanted value.
    needed, todo = set(), [(n, t) for n, steps in q.wanted.items() for t in steps]
    while todo:
        name, t = todo.pop()
        t = plan.same.get((name, t), t)
        if (name, t) in needed or t < 0:
            continue
        needed.add((name, t))
        todo += [(p, t - q.delay(p, name)) for p in q.inputs[name]]
        if name not in q.stateless:
            todo.append((name, t - 1))
    assert done == needed
    reads = {}
    for name, t in done:
        for p in q.inputs[name]:
            key = (p, plan.source(p, t - q.delay(p, name)))
            reads[key] = reads.get(key, 0) + 1
    assert reads == plan.reads


@pytest.mark.parametrize("seed", range(40))
def test_blocks_against_all_phases(seed):
    """No larger block can be scheduled, by playing out every choice of phases."""
    draw = random.Random(seed)
    names = [f"n{k}" for k in range(draw.randint(2, 4))]
    inputs = {n: [m for m in names if draw.random() < 0.5] for n in names}
    for k, n in enumerate(names):  # one cycle through all, so that they are one component
        inputs[n] = sorted({*inputs[n], names[k - 1]})

    def runs(size, phases):
        done = dict.fromkeys(names, -1)  # last step computed
        for n in names:
            done[n] = phases[n] - 1  # steps before its phase are given
        while min(done.values()) < 40:
            ready = [
                n for n in names
                if all(done[p] >= done[n] + size - 1 for p in inputs[n])
            ]  # fmt: skip
            if not ready:
                return False
            for n in ready:
                done[n] += size
        return True

    def possible(size):
        return any(
            runs(size, dict(zip(names, phases, strict=True)))
            for phases in itertools.product(range(size), repeat=len(names))
        )

    size, phases = blocks(names, inputs)
    assert runs(size, phases)
    assert not any(possible(larger) for larger in range(size + 1, len(names) + 1))


def test_static_images_need_one_step_of_what_has_no_state():
    """A chain of three nodes on an image: each node once, from the step at which all is seen."""
    q = Question(
        order=["a", "b", "c"], inputs={"a": [], "b": ["a"], "c": ["b", "a"]}, steps=20,
        wanted={"c": range(20)}, stimuli={"a": ["input"]}, stateless="abc", repeats="abc",
        first_live={"a": 0, "b": 1, "c": 1}, frame=lambda *_: 0,
    )  # fmt: skip
    computed = make_plan(q).computed
    assert computed == {"a": (0,), "b": (0, 1), "c": (0, 1, 2)}


def test_nodes_that_the_stimulus_never_reaches_are_shared_throughout():
    q = Question(
        order=["a", "b"], inputs={"a": ["a"], "b": ["a"]}, steps=5, wanted={"b": [4]},
        first_live={"a": NEVER, "b": 0}, together=9,
    )  # fmt: skip
    assert {task.node: task.shared for task in make_plan(q).tasks} == {"a": True, "b": False}
