"""Parts from the user's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vibrissa.core.errors import InputError
from vibrissa.models import EADConfig, build

HERE = Path(__file__).with_name("my_encoder.py")
SHAPE = (6, 6, 5, 7)


def test_an_encoder_by_its_file():
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    model = build(
        f"tiny:{HERE}:MyEncoder+self_attention+mlp", n_classes=3, input_shape=SHAPE, seed=0
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training
    assert model.n_features == 8
    assert model.layers()[0] == "encoder"
    assert model.flop is None
    x = torch.randn(2, *SHAPE)
    assert model(x).shape == (2, 3)
    model.eval()
    torch.testing.assert_close(model.record(x, ["encoder"])["encoder"], model.encoder(x))
    torch.testing.assert_close(model(x), model.decode(model.features(x)))
    assert any(key.startswith("encoder.module.memory") for key in model.state_dict())


def test_by_module_in_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "whiskers_of_mine.py").write_text(HERE.read_text())
    monkeypatch.chdir(tmp_path)
    model = build("whiskers_of_mine:MyEncoder+gpt", n_classes=3, input_shape=SHAPE)
    assert model(torch.randn(2, *SHAPE)).shape == (2, 3)


def test_options_and_files(tmp_path):
    config = EADConfig.from_tree(
        {
            "encoder": {"type": f"{HERE}:MyEncoder", "width": 4},
            "attender": f"{HERE}:my_attender",
            "decoder": f"{HERE}:MyDecoder",
        }
    )
    assert EADConfig.from_tree(config.to_tree()) == config
    model = build(config, n_classes=3, input_shape=SHAPE)
    assert model.encoder.n_features == 4
    assert model.n_features == 5
    assert model.layers() == ("encoder", "attender", "decoder")
    x = torch.randn(2, *SHAPE)
    assert model.record(x)["decoder"].shape == (2, 1, 3)
    torch.testing.assert_close(model(x), model.decode(model.features(x)))


def test_a_configuration_class_of_ours(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "from vibrissa.models.encoder import Flatten\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Wide(Flatten):\n"
        "    width: int = 9\n"
    )
    model = build(f"{path}:Wide", n_classes=2, input_shape=SHAPE)
    assert model.layers() == ("flat", "linear")
    assert model.n_features == 9


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (f"{HERE}:MyEncoderr", "no such name; did you mean 'MyEncoder'?"),
        ("nowhere/mine.py:MyEncoder", "there is no such file"),
        ("no_module_of_this_name:MyEncoder", "there is no such module here"),
        (f"{HERE}:LastStepOnly", "output = (2, 8): for an input of (2, 6, 6, 5, 7) not (batch, "),
        (f"{HERE}:Fails", "fails on an input of shape (2, 6, 6, 5, 7) (RuntimeError"),
        (f"{HERE}:not_a_module", "not a torch module"),
        (f"{HERE}:MyDecoder", "cannot be built with (6, 6, 5, 7)"),
    ],
)
def test_what_is_refused(target, complaint):
    with pytest.raises(InputError) as caught:
        build(target, n_classes=2, input_shape=SHAPE)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_import(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import torch\n1 / 0\n")
    with pytest.raises(InputError, match=r"cannot be imported \(ZeroDivisionError"):
        build(f"{path}:MyEncoder", n_classes=2)
    path.write_text("class MyEncoder(\n")
    with pytest.raises(InputError, match="SyntaxError"):
        build(f"{path}:MyEncoder", n_classes=2)
