# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false
"""Augmentations: the group they form, what they draw, what they leave alone."""

from __future__ import annotations

import copy
import time
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from vibrissa.augment import (
    Augmentation,
    Compose,
    Gain,
    GridRotation,
    HalfTurn,
    Identity,
    ImageStyle,
    MirrorFrontBack,
    MirrorLeftRight,
    MirrorUpDown,
    Noise,
    Published,
    TimeReversal,
    TimeShift,
    WhiskerDropout,
    augmentations,
    check_fits,
    make_augmentation,
    pipelines,
    tactile,
)
from vibrissa.augment.rotation import places_from
from vibrissa.augment.symmetry import signs
from vibrissa.core.errors import InputError
from vibrissa.core.files import digest_of_bytes
from vibrissa.core.manifest import to_tree
from vibrissa.data.preprocessing import Preprocessing, from_model_input, model_input_to_flat
from vibrissa.morphology.grid import EMPTY_PLACES, grid_place
from vibrissa.morphology.mouse import mouse_array

NAMES = mouse_array("R").names
ALWAYS = {
    "left_right": MirrorLeftRight(probability=1.0),
    "front_back": MirrorFrontBack(probability=1.0),
    "up_down": MirrorUpDown(probability=1.0),
    "half_turn": HalfTurn(probability=1.0),
    "samples": TimeReversal(probability=1.0),
    "steps": TimeReversal(probability=1.0, over="steps"),
}
EVERY: dict[str, Augmentation] = {
    **{name: pipelines.get(name) for name in pipelines},
    **{name: augmentations.get(name)() for name in augmentations},
}


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sweeps(count: int = 6, seed: int = 0) -> torch.Tensor:
    """Model input with the empty places empty, no value twice."""
    x = torch.randn(count, 22, 30, 5, 7, generator=dice(seed))
    x.view(count, 22, 30, 35)[..., list(EMPTY_PLACES)] = 0.0
    return x


# --- what every one keeps ---------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_pure_and_deterministic(name: str):
    x, augmentation = sweeps(), EVERY[name]
    before = x.clone()
    state = torch.get_rng_state()
    one, two = augmentation(x, dice(3)), augmentation(x, dice(3))
    assert torch.equal(one, two)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state), "it draws from the global generator"
    assert (one.shape, one.dtype) == (x.shape, x.dtype)
    if name not in ("none", "identity", "compose"):
        assert any(not torch.equal(augmentation(x, dice(k)), x) for k in range(8))


@pytest.mark.parametrize("name", EVERY)
def test_not_contiguous_and_other_types(name: str):
    x = sweeps()
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(EVERY[name](turned, dice(1)), EVERY[name](x, dice(1)))
    assert EVERY[name](x.double(), dice(1)).dtype == torch.float64
    assert EVERY[name](x.bfloat16(), dice(1)).dtype == torch.bfloat16
    assert torch.equal(EVERY[name](x[:1], dice(1)), EVERY[name](x[:1].clone(), dice(1)))


@pytest.mark.parametrize("name", EVERY)
def test_yaml_round_trip(name: str):
    text = yaml.safe_dump(to_tree(EVERY[name]))
    assert make_augmentation(yaml.safe_load(text)) == EVERY[name]


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"none", "identity", "compose"}))
def test_samples_differ_unless_published(name: str):
    """Equal sweeps in a batch come out different where draws are per sample."""
    x = sweeps(1).expand(64, -1, -1, -1, -1)
    drawn = [EVERY[name](x, dice(seed)) for seed in range(4)]
    alike = [all(torch.equal(out[0], other) for other in out) for out in drawn]
    assert all(alike) if name.startswith("published") else not any(alike)


def test_sweeps_do_not_mix():
    """What a sample becomes does not depend on the values of its neighbours."""
    for name, augmentation in EVERY.items():
        x, other = sweeps(), sweeps(seed=1)
        other[2] = x[2]
        assert torch.equal(augmentation(x, dice(7))[2], augmentation(other, dice(7))[2]), name


def test_published_per_sample_differs():
    x = sweeps(1).expand(64, -1, -1, -1, -1)
    out = Published(per_sample=True)(x, dice(0))
    assert len({tuple(sample.flatten()[:4000].tolist()) for sample in out}) > 8


# --- symmetries as a group --------------------------------------------------------------------


@pytest.mark.parametrize("name", ALWAYS)
def test_twice_is_nothing(name: str):
    x = sweeps()
    once = ALWAYS[name](x, dice())
    assert not torch.equal(once, x)
    assert torch.equal(ALWAYS[name](once, dice()), x)


@pytest.mark.parametrize("pair", list(combinations(ALWAYS, 2)), ids="-".join)
def test_they_commute(pair: tuple[str, str]):
    one, two = (ALWAYS[name] for name in pair)
    x = sweeps()
    assert torch.equal(one(two(x, dice()), dice()), two(one(x, dice()), dice()))


def test_both_mirrors_are_the_half_turn():
    x = sweeps()
    both = ALWAYS["up_down"](ALWAYS["front_back"](x, dice()), dice())
    assert torch.equal(both, ALWAYS["half_turn"](x, dice()))
    assert torch.equal(both, x.flip(-1, -2)), "a turn carries base frames along"


@pytest.mark.parametrize("axis", range(3))
def test_sign_rules_from_a_reflection(axis: int):
    """From F' = R F and M' = -R M, seen in the mirrored whisker's frame (R x, R y, R x cross R y)
    and in world axes; no sign is written down here."""
    draws = np.random.default_rng(axis)
    flip = np.eye(3)
    flip[axis, axis] = -1.0
    frame, _ = np.linalg.qr(draws.normal(size=(3, 3)))
    frame *= np.sign(np.linalg.det(frame))
    force, moment = draws.normal(size=3), draws.normal(size=3)
    new_force, new_moment = flip @ force, np.linalg.det(flip) * flip @ moment
    x, y = flip @ frame[:, 0], flip @ frame[:, 1]
    new_frame = np.stack([x, y, np.cross(x, y)], axis=1)
    element = (1, 2, 4)[axis]  # right, rostral, dorsal
    before = np.concatenate([force @ frame, moment @ frame])
    after = np.concatenate([new_force @ new_frame, new_moment @ new_frame])
    np.testing.assert_allclose(after, before * signs(element, "base"), atol=1e-12)
    before, after = np.concatenate([force, moment]), np.concatenate([new_force, new_moment])
    np.testing.assert_allclose(after, before * signs(element, "world"), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_up_down_by_name(name: str):
    """One whisker's loads, found by name before and after; E5 comes to stand at A5."""
    loads = np.zeros((1, 110, 30, 6), dtype=np.float32)
    loads[0, :, NAMES.index(name)] = np.arange(1, 7) + np.arange(110)[:, None]
    x = torch.from_numpy(Preprocessing(normalise="none").apply(loads, NAMES))
    flat = model_input_to_flat(ALWAYS["up_down"](x, dice()).numpy())[0]
    row, column = grid_place(name)
    place = (4 - row) * 7 + column
    rule = np.array([1, 1, -1, -1, -1, 1])
    np.testing.assert_array_equal(flat[:, place], loads[0, :, NAMES.index(name)] * rule)
    assert np.count_nonzero(np.abs(flat).max(axis=(0, 2))) == 1


def test_time_reversal_by_samples():
    x = sweeps(2)
    house = from_model_input(x.numpy(), NAMES)
    back = from_model_input(ALWAYS["samples"](x, dice()).numpy(), NAMES)
    np.testing.assert_array_equal(back, house[:, ::-1])
    steps = from_model_input(ALWAYS["steps"](x, dice()).numpy(), NAMES)
    by_step = house.reshape(2, 22, 5, 30, 6)[:, ::-1].reshape(house.shape)
    np.testing.assert_array_equal(steps, by_step)


def test_composed_in_one_pass_is_one_by_one():
    """A composition equals its parts one after the other, drawn in the same order."""
    for parts in (tactile().parts[4:], tactile("world").parts[4:], tactile().parts[1:3]):
        x, together, apart = sweeps(64), dice(5), dice(5)
        want = x
        for part in parts:
            want = part(want, apart)
        torch.testing.assert_close(Compose(parts=parts)(x, together), want, rtol=1e-6, atol=0.0)
        assert torch.equal(together.get_state(), apart.get_state())


def test_frames_are_not_joined():
    mixed = Compose(
        parts=(MirrorLeftRight(probability=1.0), MirrorLeftRight(frame="world", probability=1.0))
    )
    x = sweeps(2)
    want = x.view(2, 22, 5, 6, 5, 7).clone()
    want *= torch.tensor(signs(1, "base")).view(6, 1, 1) * torch.tensor(signs(1, "world")).view(
        6, 1, 1
    )
    assert torch.equal(mixed(x, dice()), want.view(x.shape))


# --- draws ------------------------------------------------------------------------------------


def binomial(found: int, count: int, probability: float) -> bool:
    """Within 4.5 standard deviations."""
    sd = (count * probability * (1 - probability)) ** 0.5
    return abs(found - count * probability) <= 4.5 * sd


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
def test_mirrors_come_as_often_as_said(probability: float):
    x = torch.arange(1.0, 8.0).expand(4000, 1, 6, 5, 7)
    out = MirrorFrontBack(probability=probability)(x, dice())
    turned = (out[:, 0, 0, 0, 0] == 7.0).sum()
    assert binomial(int(turned), 4000, probability)


def test_all_eight_mirror_images_are_equally_likely():
    elements = sum(
        part.draw(8000, g)
        for part, g in zip(tactile().parts[4:7], [dice(k) for k in range(3)], strict=True)
    )
    counts = torch.bincount(elements, minlength=8)
    assert len(counts) == 8
    assert all(binomial(int(n), 8000, 1 / 8) for n in counts)


def test_dropout_takes_whole_whiskers():
    x = torch.ones(500, 2, 6, 5, 7)
    out = WhiskerDropout(probability=0.1)(x, dice()).flatten(3)
    assert set(out.unique().tolist()) == {0.0, 1.0}
    kept = out.amax(dim=(1, 2))
    assert torch.equal(kept, out.amin(dim=(1, 2)))
    assert binomial(int((kept == 0).sum()), kept.numel(), 0.1)


@pytest.mark.parametrize("each", ["sweep", "whisker"])
def test_gain_is_log_normal(each: str):
    x = torch.ones(3000, 1, 6, 5, 7)
    log = Gain(log_sd=0.3, each=each)(x, dice()).log()[:, 0, 0].flatten(1)
    assert torch.equal(log.amin(1), log.amax(1)) == (each == "sweep")
    values = log[:, 0] if each == "sweep" else log.flatten()
    count = len(values)
    assert abs(float(values.mean())) < 4.5 * 0.3 / count**0.5
    assert float(values.std()) == pytest.approx(0.3, rel=4.5 / (2 * count) ** 0.5)


def test_noise_is_normal_and_spares_empty_places():
    x = sweeps(8)
    noise = (Noise(sd=0.2)(x, dice()) - x).flatten(3)
    assert (noise[..., list(EMPTY_PLACES)] == 0).all()
    filled = noise[..., [p for p in range(35) if p not in EMPTY_PLACES]].flatten()
    assert abs(float(filled.mean())) < 4.5 * 0.2 / len(filled) ** 0.5
    assert float(filled.std()) == pytest.approx(0.2, rel=4.5 / (2 * len(filled)) ** 0.5)
    x.view(8, 22, 30, 35)[..., 3] = 0.0
    touched = (Noise(sd=0.2, where="touched")(x, dice()) - x).flatten(3)
    assert (touched[..., [3, *EMPTY_PLACES]] == 0).all()
    assert (touched[..., 4] != 0).all()
    assert ((Noise(where="all")(x, dice()) - x) != 0).float().mean() > 0.999
    assert torch.equal(Noise(sd=0.0)(x, dice()), x)


def test_shifts_are_uniform_and_bring_in_nothing():
    time_axis = torch.arange(1.0, 111.0).view(1, 22, 5, 1, 1, 1)
    x = time_axis.expand(5500, 22, 5, 6, 1, 1).reshape(5500, 22, 30, 1, 1).contiguous()
    out = TimeShift(most=5).change(x, dice()).view(5500, 110, 6)
    found = 50 - (out[:, 54, 0] - 5)  # sample 54 holds 55 where nothing moved
    counts = torch.bincount((found + 5).long(), minlength=11)
    assert len(counts) == 11
    assert all(binomial(int(n), 5500, 1 / 11) for n in counts)
    for k in range(20):
        s = int(found[k])
        want = torch.zeros(110)
        source = torch.arange(110) - s
        inside = (source >= 0) & (source < 110)
        want[inside] = source[inside] + 1.0
        assert torch.equal(out[k, :, 2], want)


# --- rotation, published, image -----------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 30.0, 45.0, 90.0, 180.0, 270.0])
def test_rotation_loses_nothing(angle: float):
    assert sorted(places_from(5, 7, angle)) == list(range(35))
    assert sorted(places_from(3, 3, angle)) == list(range(9))
    out = GridRotation(angles_deg=(angle,))(sweeps(), dice())
    assert torch.equal(out.abs().flatten().sort().values, sweeps().abs().flatten().sort().values)


def test_rotation_of_a_square_is_exact():
    square = torch.arange(1.0, 26.0).view(1, 1, 1, 5, 5).repeat(2, 1, 6, 1, 1)
    for turns, angle in ((1, 90.0), (2, 180.0), (3, 270.0)):
        out = GridRotation(angles_deg=(angle,)).change(square.clone(), dice())
        assert torch.equal(out, square.rot90(turns, (-2, -1)))
    x = sweeps()
    assert torch.equal(
        GridRotation(angles_deg=(180.0,))(x, dice()), HalfTurn(probability=1.0)(x, dice())
    )


def published_by_hand(x: np.ndarray, flip: int, turns: int, back: bool) -> np.ndarray:
    """One of the published images, sample by sample and place by place."""
    out = np.zeros_like(x)
    for row in range(5):
        for column in range(7):
            # where it comes from: a turn about the middle place, (2, 3), then the flip
            down, right = row - 2, column - 3
            quarter, three = (2 + right, 3 - down), (2 - right, 3 + down)
            r, c = ((row, column), quarter, (4 - row, 6 - column), three)[turns]
            if 0 <= r < 5 and 0 <= c < 7 and (turns % 2 == 0 or abs(right) <= 2):
                r, c = (4 - r if flip == 2 else r), (6 - c if flip == 1 else c)
                out[..., row, column] = x[..., r, c]
    if back:
        frames = out.reshape(len(x), 110, 6, 5, 7)
        out = -frames[:, ::-1].reshape(out.shape)
    return out


def test_published_images():
    """All sixteen come, each as often as it should, and each is what was published."""
    x = sweeps(1)
    images: dict[str, list[tuple[int, int, bool]]] = {}
    for flip in range(3):
        for turns in range(4):
            for back in (False, True):
                image = published_by_hand(x.numpy(), flip, turns, back) + 0.0
                images.setdefault(digest_of_bytes(image.tobytes()), []).append((flip, turns, back))
    # (flip, turns): half of the draws flip nothing, a quarter columns, a quarter rows.
    share = {
        key: sum((0.5, 0.25, 0.25)[flip] / 8 for flip, _, _ in ways) for key, ways in images.items()
    }
    augmentation, generator, seen = Published(), dice(1), dict.fromkeys(images, 0)
    for _ in range(2000):
        seen[digest_of_bytes((augmentation(x, generator) + 0.0).numpy().tobytes())] += 1
    assert all(binomial(n, 2000, share[key]) for key, n in seen.items())
    assert sum(share.values()) == pytest.approx(1.0)


def test_published_turn_zeroes_ten_places():
    x = torch.ones(1, 22, 30, 5, 7)
    lost = {int((Published()(x, dice(k)) == 0).flatten(3)[0, 0, 0].sum()) for k in range(40)}
    assert lost == {0, 10}
    assert all((Published(rotation=False)(x, dice(k)) != 0).all() for k in range(40))


def test_published_variants():
    x = sweeps(1)
    ordered = x.flatten().abs().sort().values
    for k in range(20):
        plain = Published(rotation=False, reversal=None)(x, dice(k))
        assert any(torch.equal(plain, x.flip(dims)) for dims in ((), (-1,), (-2,)))
        by_step = Published(rotation=False, reversal="steps")(x, dice(k))
        assert torch.equal(by_step.flatten().abs().sort().values, ordered)
        kept = Published(rotation=False, sign_change=False)(x, dice(k))
        assert torch.equal(kept.flatten().sort().values, x.flatten().sort().values)
    assert pipelines.get("published_no_rot_tflip22") == Published(rotation=False, reversal="steps")


def image_style_by_hand(
    x: torch.Tensor, b: float, c: float, s: float, sigma: float
) -> torch.Tensor:
    """Brightness, contrast, saturation and blur on triples, as they are defined."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype).view(3, 1, 1)
    triples = x.view(-1, 3, 5, 7).clone()
    kernel = torch.exp(-0.5 * (torch.arange(-1.0, 2.0, dtype=x.dtype) / sigma) ** 2)
    kernel = (kernel / kernel.sum())[:, None] * (kernel / kernel.sum())
    for k, triple in enumerate(triples):
        triple = b * triple
        triple = c * triple + (1 - c) * (triple * weights).sum(0).mean()
        triple = s * triple + (1 - s) * (triple * weights).sum(0)
        padded = torch.nn.functional.pad(triple[None], (1, 1, 1, 1), mode="reflect")
        triples[k] = torch.nn.functional.conv2d(padded.transpose(0, 1), kernel[None, None])[:, 0]
    return triples.view(x.shape)


def test_image_style_is_jitter_and_blur():
    x = sweeps(1).double()[:, :2]
    style = ImageStyle(jitter_probability=1.0, hue=0.0, grey_probability=0.0, blur_probability=1.0)
    amounts = torch.rand(5, 1, generator=dice(4))[:, 0].double()
    b, c, s = (0.6 + 0.8 * amounts[:3]).tolist()
    want = image_style_by_hand(x, b, c, s, 0.1 + 1.9 * float(amounts[4]))
    torch.testing.assert_close(style(x, dice(4)), want, rtol=1e-5, atol=1e-5)


def test_grey_and_hue():
    x = sweeps(4)
    grey = ImageStyle(jitter_probability=0.0, grey_probability=1.0, blur_probability=0.0)
    out = grey(x, dice()).view(-1, 3, 5, 7)
    luma = (x.view(-1, 3, 5, 7) * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1)
    for k in range(3):
        torch.testing.assert_close(out[:, k], luma)
    hue = ImageStyle(
        jitter_probability=1.0, jitter=0.0, hue=0.1, grey_probability=0.0, blur_probability=0.0
    )
    turned = hue(x, dice()).view(-1, 3, 35)
    assert not torch.allclose(turned, x.view(-1, 3, 35))
    torch.testing.assert_close(turned.norm(dim=1), x.view(-1, 3, 35).norm(dim=1))
    torch.testing.assert_close(turned.sum(1), x.view(-1, 3, 35).sum(1), rtol=1e-4, atol=1e-4)


# --- names, trees, refusals --------------------------------------------------------------------


def test_made_from_names_lists_and_mappings():
    assert make_augmentation("none") == Identity()
    assert make_augmentation("tactile") == tactile()
    assert make_augmentation({"type": "noise", "sd": 0.5}) == Noise(sd=0.5)
    made = make_augmentation(["mirror_up_down", {"type": "gain", "log_sd": 0.1}])
    assert made == Compose(parts=(MirrorUpDown(), Gain(log_sd=0.1)))
    nested = {"type": "compose", "parts": ["tactile", {"type": "time_shift", "most": 3}]}
    assert make_augmentation(nested) == Compose(parts=(tactile(), TimeShift(most=3)))
    x = sweeps(3)
    assert Compose()(x, dice()) is x
    assert Identity()(x, dice()) is x


BAD: list[tuple[Any, str]] = [
    ("tactil", "did you mean"),
    ({"type": "noise", "sdd": 1.0}, "sdd"),
    ({"type": "noise", "sd": -1.0}, "sd"),
    ({"sd": 1.0}, "no type"),
    ({"name": "noise"}, "no type"),
    ({"type": "elsewhere.Noise"}, "elsewhere"),
    (3, "neither"),
    ({"type": "mirror_up_down", "probability": 1.5}, "probability"),
    ({"type": "mirror_up_down", "frame": "head"}, "frame"),
    ({"type": "time_reversal", "over": "frames"}, "over"),
    ({"type": "time_shift", "most": -1}, "most"),
    ({"type": "gain", "each": "row"}, "each"),
    ({"type": "noise", "where": "here"}, "where"),
    ({"type": "published", "reversal": "no"}, "reversal"),
    ({"type": "grid_rotation", "angles_deg": []}, "angles_deg"),
    ({"type": "image_style", "blur_sigma": [2.0, 0.1]}, "blur_sigma"),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "said"), BAD, ids=lambda value: str(value)[:40])
def test_bad_configurations_are_refused(tree: Any, said: str):
    before = copy.deepcopy(tree)
    with pytest.raises(InputError, match=said) as caught:
        make_augmentation(tree)
    assert str(caught.value).count("\n") == 0
    assert tree == before


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(2, 22, 30, 35), "not floating point"),
        (torch.zeros(2, 22, 30, 5, 7, dtype=torch.int64), "not floating point"),
        (torch.zeros(2, 22, 31, 5, 7), r"shape = \(2, 22, 31, 5, 7\): not .*n x 6, 5, 7"),
        (torch.zeros(2, 22, 0, 5, 7), r"n x 6, 5, 7"),
        (torch.zeros(2, 22, 30, 5, 6), r"shape = \(2, 22, 30, 5, 6\): not .*n x 6, 5, 7"),
        (torch.zeros(2, 22, 30, 7, 5), r"n x 6, 5, 7"),
        (np.zeros((2, 22, 30, 5, 7)), "x = 'ndarray': not a tensor"),
    ],
    ids=lambda value: str(tuple(value.shape)) if hasattr(value, "shape") else "",
)
def test_what_is_no_model_input_is_refused(name: str, x: Any, said: str):
    with pytest.raises(InputError, match=said) as caught:
        EVERY[name](x, dice())
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("generator", [None, 3, np.random.default_rng(0)])
def test_draws_want_a_generator_of_torch(name: str, generator: Any):
    with pytest.raises(InputError, match="generator = .*give torch.Generator"):
        EVERY[name](sweeps(2), generator)


def test_published_turn_wants_its_canvas():
    with pytest.raises(InputError, match="even surplus"):
        Published().change(torch.zeros(1, 22, 30, 5, 6), dice())


def test_whether_it_fits_the_input():
    check_fits(tactile(), Preprocessing())
    check_fits(tactile("world"), Preprocessing(frame="world"))
    check_fits(pipelines.get("published"), Preprocessing.published())
    check_fits(Noise(), Preprocessing(normalise="standard"))
    with pytest.raises(InputError, match="world frame"):
        check_fits(tactile(), Preprocessing.published())
    with pytest.raises(InputError, match="rms"):
        check_fits(tactile(), Preprocessing(normalise="standard"))
    with pytest.raises(InputError, match="rms"):
        check_fits(WhiskerDropout(), Preprocessing(normalise="standard"))


def test_fast_enough_for_a_loader():
    """The default pipeline costs less than a millisecond per sweep on one core (it needs about a
    third of one; a loader gives thousands of sweeps a second)."""
    x, generator = sweeps(64), dice()
    tactile()(x, generator)
    start = time.process_time()
    for _ in range(3):
        tactile()(x, generator)
    assert (time.process_time() - start) / (3 * 64) < 1e-3


@pytest.mark.cuda
def test_on_a_gpu_the_same_draws():
    x = sweeps(16)
    for name, augmentation in EVERY.items():
        here, there = augmentation(x, dice(2)), augmentation(x.cuda(), dice(2))
        assert there.is_cuda
        if not any(isinstance(p, Noise) for p in getattr(augmentation, "parts", [augmentation])):
            torch.testing.assert_close(there.cpu(), here, msg=name)
