"""Names, configurations and files of models; what is refused, and how."""

from __future__ import annotations

import pytest
import torch
import yaml

from vibrissa.core.errors import InputError
from vibrissa.models import EADConfig, attenders, build, config_of, decoders, encoders
from vibrissa.models.attender import GPT, NoAttender
from vibrissa.models.decoder import MLP, Linear
from vibrissa.models.encoder import ConvRNN, Flatten
from vibrissa.models.own import OwnEncoder
from vibrissa.models.parts import SIZES


def test_names():
    config = config_of("tiny:inter_ln+gpt+mlp@3,-1")
    assert encoders.name_of(config.encoder) == "inter_ln"
    assert isinstance(config.decoder, MLP)
    assert config.decoder.steps == (3, -1)
    assert config_of("flatten") == EADConfig(encoder=Flatten())
    assert config_of("flatten+gpt") == EADConfig(encoder=Flatten(), attender=GPT())
    assert config_of("flatten+none+linear") == config_of("flatten")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("parts", ["zhuang+gpt+mlp@all", "resnet+mamba", "s4+s4+none", "flatten"])
def test_a_name_is_that_of_its_configuration(size, parts):
    name = parts if size == "published" else f"{size}:{parts}"
    config = config_of(name)
    assert config_of(config.name) == config
    assert EADConfig.from_tree(config.to_tree()) == config


def test_own_options_show_in_the_name():
    config = EADConfig(encoder=Flatten(width=7), attender=NoAttender())
    assert config.name == "flatten*+none+linear"


@pytest.mark.parametrize("family", [encoders, attenders, decoders], ids=lambda f: f.family)
def test_every_part_has_every_size(family):
    for name in family.names():
        for size in SIZES:
            part = family.get(name).of_size(size)
            assert family.name_of(part) == name
    with pytest.raises(InputError, match="size"):
        family.get(family.names()[0]).of_size("huge")


def test_files(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(
        "encoder: {type: inter_ln, units: [32, 16], channels: [4, 4, 4, 4, 4, 4]}\n"
        "attender: {type: gpt, width: 16, n_layers: 1, n_heads: 2}\n"
        "decoder: {type: mlp, steps: all, hidden: [8]}\n"
        "precision: bfloat16\n"
    )
    config = EADConfig.from_file(path)
    assert isinstance(config.encoder, ConvRNN)
    assert config.encoder.units == (32, 16)
    assert config.decoder == MLP(steps="all", hidden=(8,))
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(config.to_tree()))
    assert EADConfig.from_file(again) == config
    path.write_text("encoder: {type: inter_ln, unit: [32, 16]}\n")
    with pytest.raises(InputError, match="encoder: 'unit' is no entry here; did you mean 'units'"):
        EADConfig.from_file(path)


def test_seeds():
    first = build("tiny:flatten+gpt", n_classes=3, seed=1)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    second = build("tiny:flatten+gpt", n_classes=3, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    other = build("tiny:flatten+gpt", n_classes=3, seed=2)
    for (name, p), q, r in zip(
        first.named_parameters(), second.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(p, q)
        if p.ndim > 1:
            assert not torch.equal(p, r), name


def test_state_and_attributes():
    model = build("tiny:resnet+gpt+mlp", n_classes=5, input_shape=(4, 6, 5, 7))
    assert {key.partition(".")[0] for key in model.state_dict()} == {
        "encoder", "attender", "decoder",
    }  # fmt: skip
    assert (model.n_steps, model.n_classes, model.input_shape) == (4, 5, (4, 6, 5, 7))
    assert model.n_features == 16
    assert model.n_parameters == sum(p.numel() for p in model.parameters())
    assert "tiny:resnet+gpt+mlp" in repr(model)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("intr+gpt", "encoders = 'intr': no such name; did you mean 'inter'?"),
        ("flatten+gtp", "attenders = 'gtp': no such name; did you mean 'gpt'?"),
        ("flatten+none+liner", "decoders = 'liner': no such name; did you mean 'linear'?"),
        ("a+b+c+d", "4 parts"),
        ("tinny:zhuang", "'tinny' is no size, and no module here; did you mean 'tiny:zhuang'"),
        ("smal:zhuang+gpt", "did you mean 'small:zhuang+gpt'"),
        ("Tiny:zhuang", "did you mean 'tiny:zhuang'"),
        ("sl-zhuang-gtp", "model = 'sl-zhuang-gtp': no such name; did you mean 'sl-zhuang-gpt' or"),
        ("never-heard-of", "vibrissa list zoo"),
        ("", "not a name"),
        ("flatten+none+linear@22", "the sequence has 22 steps"),
        ("flatten+none+linear@3,3", "a step stands twice"),
        ("flatten+none+linear@x", "no steps after the @"),
        ("flatten+none+none@all", "reads no chosen steps"),
    ],
)
def test_bad_names(name, complaint):
    with pytest.raises(InputError) as caught:
        build(name, n_classes=4)
    assert complaint in str(caught.value)


def test_a_module_may_be_called_nearly_as_a_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tinny.py").write_text("")
    assert config_of("tinny:Own").encoder == OwnEncoder(target="tinny:Own")


def test_bad_numbers():
    with pytest.raises(InputError, match="a score per class"):
        build("tiny:flatten")
    with pytest.raises(InputError, match="n_classes = 0"):
        build("tiny:flatten", n_classes=0)
    with pytest.raises(InputError, match="input_shape"):
        build("tiny:flatten", n_classes=2, input_shape=(22, 30, 35))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not divide the width 16"):
        build(EADConfig(encoder=Flatten(), attender=GPT(width=16, n_heads=3)), n_classes=2)
    with pytest.raises(InputError, match="40 steps make 80 tokens"):
        build("tiny:flatten+gpt", n_classes=2, input_shape=(40, 30, 5, 7))
    with pytest.raises(InputError, match="channels = "):
        ConvRNN(channels=(1, 2))  # type: ignore[abstract]
    with pytest.raises(InputError, match="encoder = "):
        EADConfig(encoder=GPT())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="precision"):
        EADConfig(encoder=Flatten(), precision="float16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown"):
        Linear(steps="first")  # type: ignore[arg-type]
    model = build("tiny:flatten", n_classes=2)
    with pytest.raises(InputError, match=r"input = \(1, 22, 30, 7, 5\)"):
        model(torch.zeros(1, 22, 30, 7, 5))
    with pytest.raises(InputError, match="layer = 'flt'.*did you mean 'flat'"):
        model.record(torch.zeros(1, *model.input_shape), ["flt"])


def test_a_decoder_reads_its_steps():
    model = build("tiny:flatten+none+linear@1,-2", n_classes=2, input_shape=(6, 30, 5, 7))
    x = torch.randn(3, *model.input_shape)
    moved = x.clone()
    moved[:, [0, 2, 3, 5]] = torch.randn(3, 4, 30, 5, 7)
    assert torch.equal(model(x), model(moved))
    moved[:, 4] += 1
    assert not torch.equal(model(x), model(moved))
    bare = build("tiny:flatten+gpt+none", input_shape=(6, 30, 5, 7)).eval()
    assert bare.n_classes is None
    torch.testing.assert_close(bare(x), bare.features(x)[:, -1])
