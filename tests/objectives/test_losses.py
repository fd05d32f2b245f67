# pyright: reportArgumentType=false, reportCallIssue=false
"""Losses against loops in double precision, their invariances, where gradients go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from toys import N_FEATURES, SHAPE, batch, build, generator, toy

from vibrissa.core.errors import InputError
from vibrissa.core.manifest import to_tree
from vibrissa.objectives import (
    AutoencoderConfig,
    InstanceDiscriminationConfig,
    SimCLRConfig,
    SimSiamConfig,
    SupervisedConfig,
    make_objective,
    objectives,
)
from vibrissa.objectives.similarity import direction, negative_cosine, nt_xent, spread

SMALL: dict[str, dict[str, Any]] = {
    "simclr": {"hidden": 24, "dimension": 8},
    "simsiam": {"dimension": 24, "hidden": 8},
    "autoencoder": {"lag_steps": 1},
    "instance_discrimination": {"dimension": 8},
    "supervised": {},
}


def small(name: str, **options: Any) -> Any:
    return make_objective({"type": name} | SMALL[name] | options)


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


# --- against loops --------------------------------------------------------------------------------


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(sum(x * y for x, y in zip(a, b, strict=True))) / math.sqrt(
        sum(x * x for x in a) * sum(y * y for y in b)
    )


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_nt_xent_by_loops(count: int, temperature: float):
    one, two = draws(count, 6, seed=1), draws(count, 6, seed=2)
    rows = [*one.numpy(), *two.numpy()]
    total, hits = 0.0, 0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = {k: cosine(rows[i], rows[k]) / temperature for k in range(2 * count) if k != i}
        total -= others[partner] - math.log(sum(math.exp(v) for v in others.values()))
        hits += max(others, key=lambda k: others[k]) == partner
    loss, found, _ = nt_xent(one, two, temperature)
    assert float(loss) == pytest.approx(total / (2 * count), abs=1e-8)
    assert float(found) == pytest.approx(hits / (2 * count))


def test_negative_cosine_by_loops():
    p, z = draws(7, 5, seed=3), draws(7, 5, seed=4)
    want = -sum(cosine(a, b) for a, b in zip(p.numpy(), z.numpy(), strict=True)) / 7
    assert float(negative_cosine(p, z)) == pytest.approx(want, abs=1e-8)


def test_simclr_whole_by_loops():
    """Neck, normalisation and contrast of the objective, from its weights alone."""
    model, objective = toy().double(), build(small("simclr", augmentation="none")).double()
    x, y, i = batch()
    x = x.double()
    result = objective(model, x, y, i, generator())
    h = model.features(x)[:, -1].detach().numpy()
    h = np.concatenate([h, h])
    first, norm, _, second, last = objective.neck
    for linear, bn, relu in ((first, norm, True), (second, last, False)):
        h = h @ linear.weight.detach().numpy().T
        h = (h - h.mean(0)) / np.sqrt(h.var(0) + bn.eps)
        h = h * bn.weight.detach().numpy() + bn.bias.detach().numpy()
        h = np.maximum(h, 0.0) if relu else h
    total = 0.0
    for a in range(16):
        scores = {b: cosine(h[a], h[b]) / 0.1 for b in range(16) if b != a}
        total -= scores[(a + 8) % 16] - math.log(sum(math.exp(s) for s in scores.values()))
    assert float(result.loss.detach()) == pytest.approx(total / 16, abs=1e-8)
    assert float(result.metrics["positive"]) == pytest.approx(1.0)
    negatives = [cosine(h[a], h[b]) for a in range(16) for b in range(16) if b % 8 != a % 8]
    partners = [cosine(h[a], h[(a + 8) % 16]) for a in range(16)]
    want = sum(negatives) / (16 * 14)
    assert np.mean(partners) == pytest.approx(1.0)
    assert float(result.metrics["negative"]) == pytest.approx(want, abs=1e-8)


def test_autoencoder_by_loops():
    config = small("autoencoder", lag_steps=1, sparsity=0.3)
    model, objective = toy().double(), build(config).double()
    x, y, i = batch(3)
    x = x.double()
    result = objective(model, x, y, i, generator())
    h = model.features(x).detach()
    error, cells, size, numbers = 0.0, 0, 0.0, 0
    for n in range(3):
        for t in range(SHAPE[0]):
            size += sum(abs(v) for v in h[n, t].tolist())
            numbers += N_FEATURES
            if t < 1:
                continue
            out = objective.start(h[n, t]).view(1, -1, *SHAPE[2:])
            for layer in list(objective.maps)[1:]:
                out = layer(out)
            difference = out[0].detach() - x[n, t - 1]
            error += float((difference**2).sum())
            cells += difference.numel()
    want = 0.5 * error / cells + 0.3 * size / numbers
    assert float(result.loss.detach()) == pytest.approx(want, abs=1e-8)
    assert result.outputs["rebuilt"].shape == x.shape


def test_autoencoder_as_published_looks_ahead():
    published, aligned = (build(small("autoencoder", lag_steps=n)) for n in (0, 2))
    x, y, i = batch()
    model = toy()
    rebuilt = published.rebuild(model.features(x))
    mse = float((rebuilt - x).square().mean().detach())
    assert float(published(model, x, y, i, generator()).metrics["mse"]) == pytest.approx(mse)
    mse = float((rebuilt[:, 2:] - x[:, :-2]).square().mean().detach())
    assert float(aligned(model, x, y, i, generator()).metrics["mse"]) == pytest.approx(mse)


def test_the_lag_is_that_of_the_model():
    """A ConvRNN's features have not seen the three latest steps, so that the aligned autoencoder
    compares with the input of step t - 3."""
    import vibrissa.models as models
    from vibrissa.objectives.autoencoder import lag_of

    model = models.build("tiny:zhuang+none+linear", n_classes=4, seed=0).eval()
    lag = lag_of(model)
    assert lag == 3
    x = torch.randn(1, 22, 30, 5, 7, generator=generator())
    changed = x.clone()
    changed[:, 10] += 1.0
    with torch.no_grad():
        moved = (model.features(x) - model.features(changed)).abs().amax(dim=(0, 2)) > 0
    assert int(moved.nonzero()[0]) == 10 + lag
    assert lag_of(toy()) == 0


@pytest.mark.parametrize(("n_classes", "told"), [(5, {"top1"}), (6, {"top1", "top5"})])
def test_top5_is_told_where_it_can_be_wrong(n_classes: int, told: set[str]):
    objective = SupervisedConfig().build(16, 4, n_classes, SHAPE, 8)
    x, _, i = batch()
    scores = torch.randn(len(x), n_classes, generator=generator())
    result = objective(lambda _: scores, x, torch.zeros_like(i), i, generator())  # pyright: ignore
    assert set(result.metrics) == {"loss"} | told


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_supervised_by_loops(smoothing: float):
    config = SupervisedConfig(label_smoothing=smoothing)
    model, objective = toy().double(), build(config)
    x, y, i = batch()
    x = x.double()
    logits = model(x).detach().numpy()
    total, first, five = 0.0, 0, 0
    for row, label in zip(logits, y.tolist(), strict=True):
        log_p = row - math.log(sum(math.exp(v) for v in row))
        target = np.full(7, smoothing / 7)
        target[label] += 1.0 - smoothing
        total -= float(target @ log_p)
        rank = int((row > row[label]).sum())
        first, five = first + (rank < 1), five + (rank < 5)
    result = objective(model, x, y, i, generator())
    assert float(result.loss.detach()) == pytest.approx(total / 8, abs=1e-8)
    assert float(result.metrics["top1"]) == pytest.approx(first / 8)
    assert float(result.metrics["top5"]) == pytest.approx(five / 8)
    plain = objective.eval()(model, x, y, i, generator())
    if smoothing:
        assert float(plain.loss.detach()) != pytest.approx(total / 8, abs=1e-3)


def trained_bank(config: InstanceDiscriminationConfig, n_samples: int = 30):
    """An objective with some rows seen."""
    objective = build(config, n_samples).double()
    objective.seen[torch.tensor([0, 3, 5, 6, 11, 20])] = True
    return objective


def test_instance_softmax_by_loops():
    objective = trained_bank(small("instance_discrimination", augmentation="none"))
    model = toy().double()
    x, y, _ = batch(4)
    x, index = x.double(), torch.tensor([3, 7, 20, 8])
    before = objective.bank.clone().numpy()
    view = objective.neck(model.features(x)[:, -1]).detach().numpy()
    seen = sorted({0, 3, 5, 6, 11, 20} | {3, 7, 20, 8})
    total = 0.0
    for v, i in zip(view, index.tolist(), strict=True):
        v = v / math.sqrt(v @ v)
        scores = {k: float(v @ before[k]) / 0.07 for k in seen}
        total -= scores[i] - math.log(sum(math.exp(s) for s in scores.values()))
    result = objective(model, x, y, index, generator())
    assert float(result.loss.detach()) == pytest.approx(total / 4, abs=1e-8)
    result.loss.backward()
    # The rows of the batch moved, the others did not.
    after = objective.bank.numpy()
    for k in range(30):
        if k in index.tolist():
            v = view[index.tolist().index(k)]
            moved = 0.5 * before[k] + 0.5 * v / math.sqrt(v @ v)
            np.testing.assert_allclose(after[k], moved / math.sqrt(moved @ moved), atol=1e-12)
        else:
            np.testing.assert_array_equal(after[k], before[k])
    assert objective.seen.nonzero()[:, 0].tolist() == seen


def test_instance_nce_by_loops():
    config = small("instance_discrimination", augmentation="none", negatives=5)
    objective, model = trained_bank(config), toy().double()
    x, y, _ = batch(4)
    x, index = x.double(), torch.tensor([3, 7, 20, 8])
    bank = objective.bank.clone().numpy()
    view = objective.neck(model.features(x)[:, -1]).detach().numpy()
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    rows = sorted({0, 3, 5, 6, 11, 20} | {3, 7, 20, 8})
    picked = torch.randint(len(rows), (4, 5), generator=generator(9)).numpy()
    noise = [[float(view[b] @ bank[rows[picked[b, m]]]) / 0.07 for m in range(5)] for b in range(4)]
    z = len(rows) * np.mean(np.exp(noise))  # equation 8
    total = 0.0
    for b, i in enumerate(index.tolist()):
        p = math.exp(float(view[b] @ bank[i]) / 0.07) / z
        total -= math.log(p / (p + 5 / len(rows)))  # equations 6 and 7
        for s in noise[b]:
            q = math.exp(s) / z
            total -= math.log(1.0 - q / (q + 5 / len(rows)))
    result = objective(model, x, y, index, generator(9))
    assert float(result.loss.detach()) == pytest.approx(total / 4, abs=1e-8)
    kept = float(objective.log_z)
    objective(model, x, y, index, generator(10))
    assert float(objective.log_z) == kept == pytest.approx(math.log(z), abs=1e-6)


def test_a_sweep_twice_in_a_batch_counts_once():
    objective = build(small("instance_discrimination", augmentation="none", momentum=0.0))
    x, y, _ = batch(2)
    index = torch.tensor([4, 4])
    model = toy()
    result = objective(model, x, y, index, generator())
    mean = direction(result.outputs["embedding"][0].mean(0, keepdim=True))
    torch.testing.assert_close(objective.bank[4], mean[0])


def test_instances_in_eval_mode_tell_a_view_from_the_bank():
    """Nothing is remembered, and a sweep that was never trained on has a row of its own."""
    objective = trained_bank(small("instance_discrimination", augmentation="none")).eval()
    model = toy().double()
    x, y, _ = batch(3)
    before = objective.bank.clone(), objective.seen.clone()
    result = objective(model, x.double(), y, torch.tensor([25, 26, 27]), generator())
    assert torch.equal(objective.bank, before[0])
    assert torch.equal(objective.seen, before[1])
    v = result.outputs["embedding"][0].numpy()
    rows = before[0][before[1]].numpy()
    want = np.mean(
        [
            -math.log(math.exp(1 / 0.07) / (math.exp(1 / 0.07) + np.exp(rows @ a / 0.07).sum()))
            for a in v
        ]
    )
    assert float(result.loss.detach()) == pytest.approx(float(want), abs=1e-8)


# --- invariances ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", objectives)
def test_the_order_of_the_batch_does_not_matter(name: str):
    x, y, i = batch(10)
    order = torch.randperm(10, generator=generator(2))
    found = []
    for chosen in (slice(None), order):
        objective, model = build(small(name, augmentation="none")).double(), toy().double()
        found.append(objective(model, x[chosen].double(), y[chosen], i[chosen], generator()))
    torch.testing.assert_close(found[0].loss, found[1].loss, rtol=0.0, atol=1e-10)
    for key, value in found[0].metrics.items():
        assert float(value) == pytest.approx(float(found[1].metrics[key]), abs=1e-10), key


def test_the_length_of_embeddings_does_not_matter():
    one, two = draws(6, 5, seed=5), draws(6, 5, seed=6)
    stretch = draws(6, 1, seed=7).exp()
    for factor in (stretch, 1e-6 * stretch, 1e6 * stretch):
        assert float(nt_xent(one * factor, two, 0.1)[0]) == pytest.approx(
            float(nt_xent(one, two, 0.1)[0]), abs=1e-10
        )
        assert float(negative_cosine(one * factor, two)) == pytest.approx(
            float(negative_cosine(one, two)), abs=1e-10
        )
    turn, _ = torch.linalg.qr(draws(5, 5, seed=8))
    assert float(nt_xent(one @ turn, two @ turn, 0.1)[0]) == pytest.approx(
        float(nt_xent(one, two, 0.1)[0]), abs=1e-10
    )


def test_perfect_and_senseless_embeddings():
    """All alike: log(2 N - 1). Pairs along axes of their own: log(1 + (2 N - 2) exp(-1 / T))."""
    same = torch.ones(8, 8, dtype=torch.float64)
    assert float(nt_xent(same, same, 0.1)[0]) == pytest.approx(math.log(15))
    own = torch.eye(8, dtype=torch.float64)
    want = math.log(1 + 14 * math.exp(-1 / 0.5))
    assert float(nt_xent(own, own, 0.5)[0]) == pytest.approx(want)


def test_no_direction_is_no_number_less():
    """Zero vectors, as ReLU makes them, give no NaN and no infinite gradient."""
    x = torch.zeros(4, 5, requires_grad=True)
    other = torch.randn(4, 5, generator=generator(), requires_grad=True)
    loss = nt_xent(x, other, 0.1)[0] + negative_cosine(x, other) + negative_cosine(other, x)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.equal(x.grad, torch.zeros_like(x))
    assert torch.isfinite(other.grad).all()
    assert torch.equal(direction(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("name", ["simclr", "simsiam", "instance_discrimination"])
def test_silent_input_gives_finite_losses(name: str):
    _, y, i = batch()
    objective, model = build(small(name)), toy()
    result = objective(model, torch.zeros(8, *SHAPE), y, i, generator())
    result.loss.backward()
    assert torch.isfinite(result.loss)
    for p in [*model.parameters(), *objective.parameters()]:
        assert p.grad is None or torch.isfinite(p.grad).all()


def test_half_precision_is_widened():
    one, two = draws(6, 32).bfloat16(), draws(6, 32, seed=1).bfloat16()
    assert nt_xent(one, two, 0.1)[0].dtype == torch.float32
    assert negative_cosine(one, two).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = nt_xent(one, two, 0.1)[0]
    assert torch.equal(mixed, nt_xent(one, two, 0.1)[0])


# --- gradients ------------------------------------------------------------------------------------


def test_the_target_of_simsiam_does_not_learn():
    p, z = (draws(5, 4, seed=s).requires_grad_() for s in (1, 2))
    negative_cosine(p, z).backward()
    assert p.grad is not None
    assert z.grad is None
    # And in the whole: the projector's gradient is that through the predictor alone.
    objective, model = build(small("simsiam", augmentation="none")).double(), toy().double()
    x, y, i = batch()
    objective(model, x.double(), y, i, generator()).loss.backward()
    found = objective.projector[0].weight.grad.clone()
    objective.zero_grad()
    h = model.features(x.double())[:, -1].detach()
    z = objective.projector(h)
    p = objective.predictor(z)
    fixed = z.detach()
    loss = -torch.cosine_similarity(p, fixed, dim=1).mean()
    loss.backward()
    torch.testing.assert_close(found, objective.projector[0].weight.grad, rtol=1e-8, atol=1e-12)
    assert float(found.abs().max()) > 0


@pytest.mark.parametrize("name", objectives)
def test_every_weight_learns_and_nothing_else_is_drawn(name: str):
    x, y, i = batch()
    objective, model = build(small(name)), toy()
    state = torch.get_rng_state()
    first = objective(model, x, y, i, generator(3))
    assert torch.equal(torch.get_rng_state(), state)
    first.loss.backward()
    trained = {k for k, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert ("decoder.weight" in trained) == objective.uses_decoder
    assert "layer.weight" in trained
    assert all(p.grad is not None for p in objective.parameters())
    again = build(small(name))(toy(), x, y, i, generator(3))
    assert torch.equal(first.loss, again.loss)
    assert all(not value.requires_grad for value in first.metrics.values())
    assert all(not value.requires_grad for value in first.outputs.values())


@pytest.mark.parametrize("name", objectives)
def test_eval_mode_changes_nothing(name: str):
    x, y, i = batch()
    objective, model = build(small(name)), toy()
    objective(model, x, y, i, generator())
    objective.eval()
    before = {k: v.clone() for k, v in objective.state_dict().items()}
    with torch.no_grad():
        one = objective(model, x, y, i, generator(1)).loss
        two = objective(model, x, y, i, generator(1)).loss
    assert torch.equal(one, two)
    for key, value in objective.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_supervised_augments_in_training_only():
    x, y, i = batch()
    objective, model = build(small("supervised", augmentation="tactile")), toy()
    clean = float(nn.functional.cross_entropy(model(x), y).detach())
    assert float(objective(model, x, y, i, generator()).loss.detach()) != pytest.approx(clean)
    assert float(objective.eval()(model, x, y, i, generator()).loss.detach()) == pytest.approx(
        clean
    )


def test_spread_tells_collapse():
    same = direction(draws(1, 16)).expand(50, 16)
    assert float(spread(same)) == pytest.approx(0.0, abs=1e-6)
    assert float(spread(direction(draws(2000, 16)))) == pytest.approx(1.0, abs=0.01)


def test_training_a_little_lowers_every_loss():
    """Twenty steps on eight sweeps."""
    for name in objectives:
        x, y, i = batch()
        objective, model = build(small(name, augmentation="none")), toy()
        parameters = [*model.parameters(), *objective.parameters()]
        descent = torch.optim.Adam(parameters, 3e-3)
        losses = []
        for _ in range(20):
            result = objective(model, x, y, i, generator())
            descent.zero_grad()
            result.loss.backward()
            descent.step()
            losses.append(float(result.loss.detach()))
        assert losses[-1] < losses[0] - 0.02 * abs(losses[0]), name


# --- configurations -------------------------------------------------------------------------------

PUBLISHED = {"simclr": 1_315_072, "simsiam": 11_556_352, "autoencoder": 289_665, "supervised": 0}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_head_sizes(name: str):
    objective = objectives.get(name)().build(512, 22, 117, (22, 30, 5, 7), 100)
    assert sum(p.numel() for p in objective.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", objectives)
def test_yaml_round_trip(name: str):
    for config in (make_objective(name), small(name, augmentation=["mirror_up_down", "gain"])):
        tree = yaml.safe_load(yaml.safe_dump(to_tree(config)))
        assert make_objective(tree) == config


def test_defaults():
    assert to_tree(SupervisedConfig().augmentation)["type"].endswith("Identity")
    assert to_tree(AutoencoderConfig().augmentation)["type"].endswith("Identity")
    for config in (SimCLRConfig(), SimSiamConfig(), InstanceDiscriminationConfig()):
        assert type(config.augmentation).__name__ == "Compose"
    w_ssl = AutoencoderConfig(augmentation="published")
    assert type(w_ssl.augmentation).__name__ == "Published"


BAD = [
    ({"name": "simclr"}, "no type"),
    ("simclrr", "did you mean 'simclr'"),
    ({"type": "simclr", "temperature": 0.0}, "temperature"),
    ({"type": "simclr", "pool": "first"}, "pool"),
    ({"type": "simsiam", "dimension": 0}, "dimension"),
    ({"type": "autoencoder", "lag_steps": -1}, "lag_steps"),
    ({"type": "autoencoder", "target": "none"}, "target"),
    ({"type": "autoencoder", "sparsity": -1.0}, "sparsity"),
    ({"type": "supervised", "label_smoothing": 1.0}, "label_smoothing"),
    ({"type": "supervised", "augmentation": "tactil"}, "did you mean 'tactile'"),
    ({"type": "instance_discrimination", "momentum": 1.0}, "momentum"),
    ({"type": "instance_discrimination", "negatives": 0}, "negatives"),
]


@pytest.mark.parametrize(("tree", "said"), BAD, ids=lambda v: str(v)[:50])
def test_bad_configurations_are_refused(tree: Any, said: str):
    with pytest.raises(InputError, match=said) as caught:
        make_objective(tree)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_refused():
    x, y, i = batch()
    with pytest.raises(InputError, match="n_classes"):
        build(SupervisedConfig(), n_classes=None)
    with pytest.raises(InputError, match="not \\(batch, 9 classes\\)"):
        build(SupervisedConfig(), n_classes=9)(toy(), x, y, i, generator())
    with pytest.raises(InputError, match="lag_steps"):
        build(AutoencoderConfig(lag_steps=4))
    with pytest.raises(InputError, match="n_samples"):
        build(InstanceDiscriminationConfig(), n_samples=1)
    with pytest.raises(InputError, match="20 rows"):
        build(small("instance_discrimination"))(toy(), x, y, i + 20, generator())
    objective = build(small("instance_discrimination", negatives=4)).eval()
    with pytest.raises(InputError, match="train before"):
        objective(toy(), x, y, i, generator())
