"""One training after another: gradients in parts, precision, clipping, what is not finite."""

import random
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from vibrissa.core.errors import InputError
from vibrissa.data import ByObject, DataModule, LoaderConfig, Split, SweepStore
from vibrissa.models import build
from vibrissa.objectives import bootstrap_over_groups, wilson
from vibrissa.train import RunOptions, config_from_tree, load_run, read_metrics, train
from vibrissa.train.checkpoint import load_weights, read_checkpoint
from vibrissa.train.folder import read_result
from vibrissa.train.learner import Learner
from vibrissa.train.loop import Loop
from vibrissa.train.monitoring import Monitor
from vibrissa.train.preparing import check_config, make_learner

QUIET = RunOptions(quiet=True, threads=1, accelerator="cpu")
TREE = {
    "model": "tiny:flatten+none+linear@all",
    "optimiser": {"type": "sgd", "lr": 0.05},
    "data": {"batch_size": 24},
    "epochs": 2,
}


def weights(folder, name="last"):
    return read_checkpoint(folder / "checkpoints" / f"{name}.pt")["model"]


@pytest.fixture(scope="module")
def plain(store, tmp_path_factory):
    """A training of two epochs, and what it said."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    return train(config_from_tree(TREE), store, folder, options=QUIET)


def test_steps_are_those_of_torch_by_hand(store, plain):
    """The loop again in plain torch: order, rates, gradients, momentum and decay."""
    config = config_from_tree(TREE)
    model = build(config.model, n_classes=3, seed=0)
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    loader = DataModule(store, "by_object", LoaderConfig(batch_size=24), quiet=True).loader("train")
    losses = []
    for epoch in range(2):
        inside = []
        for k, batch in enumerate(loader):
            step = 3 * epoch + k
            # cosine over 6 steps with a warm-up of 6 // 4 = 1
            rate = 0.05 if step == 0 else 0.05 * 0.5 * (1 + np.cos(np.pi * (step - 1) / 5))
            optimiser.param_groups[0]["lr"] = rate
            loss = torch.nn.functional.cross_entropy(model(batch.input), batch.label)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            inside.append(loss.item())
        losses.append(np.mean(inside))
    for name, value in weights(plain.folder).items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    rows = read_metrics(plain.folder / "metrics.csv")
    assert [row["train_loss"] for row in rows] == pytest.approx(losses, rel=1e-5)
    assert [row["step"] for row in rows] == [3, 6]


@pytest.mark.parametrize("parts", [3, 5])
def test_a_batch_in_parts_is_the_whole_batch(store, plain, tmp_path, parts):
    config = replace(config_from_tree(TREE), accumulate=parts)  # 5 parts of 24 are not equal
    train(config, store, tmp_path / "run", options=QUIET)
    for name, value in weights(plain.folder).items():
        torch.testing.assert_close(weights(tmp_path / "run")[name], value, rtol=1e-5, atol=1e-6)


def test_bf16_learns_the_same_up_to_its_precision(store, plain, tmp_path):
    config = replace(config_from_tree(TREE), precision="bf16")
    train(config, store, tmp_path / "run", options=QUIET)
    apart = 0.0
    for name, value in weights(plain.folder).items():
        other = weights(tmp_path / "run")[name]
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, value, rtol=0.1, atol=0.02)
        apart = max(apart, float((other - value).abs().max()))
    assert apart > 1e-6  # it was used


def test_gradients_are_clipped(store, tmp_path, monkeypatch):
    lengths = []
    whole = torch.nn.utils.clip_grad_norm_

    def watched(parameters, most, *given, **named):
        parameters = list(parameters)
        found = whole(parameters, most, *given, **named)
        lengths.append(float(torch.cat([p.grad.flatten() for p in parameters]).norm()))
        return found

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    config = replace(config_from_tree(TREE), clip_norm=0.01)
    train(config, store, tmp_path / "run", options=QUIET)
    assert lengths == pytest.approx([0.01] * 6, rel=1e-3)


def test_the_same_seed_gives_the_same_weights_and_another_others(store, plain, tmp_path):
    again = train(config_from_tree(TREE), store, tmp_path / "again", options=QUIET)
    other = train(config_from_tree(TREE | {"seed": 1}), store, tmp_path / "other", options=QUIET)
    name = "decoder." + next(k for k in weights(again.folder) if k.startswith("decoder."))[8:]
    assert torch.equal(weights(again.folder)[name], weights(plain.folder)[name])
    assert not torch.equal(weights(other.folder)[name], weights(plain.folder)[name])
    assert again.tree == plain.tree


def test_global_random_states_are_left_alone(store, tmp_path):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    wanted = torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    train(config_from_tree(TREE | {"epochs": 1}), store, tmp_path / "run", options=QUIET)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == wanted  # noqa: NPY002


# --- results ---------------------------------------------------------------------------------


def test_scores_are_those_of_the_best_weights(store, plain):
    run = load_run(plain.folder)
    assert not run.model.training
    data = DataModule(store, "by_object", quiet=True)
    right, objects = [], []
    with torch.no_grad():
        for batch in data.loader("test"):
            right += (run.model(batch.input).argmax(dim=1) == batch.label).tolist()
            objects += store.table["object"].iloc[batch.index.numpy()].tolist()
    top1 = plain.scores["test"]["top1"]
    assert (top1["right"], top1["value"]) == (sum(right), np.mean(right))
    assert top1["wilson_95"] == list(wilson(sum(right), len(right)))
    assert top1["objects_95"] == list(bootstrap_over_groups(right, objects))
    lines = (plain.folder / "predictions.csv").read_text().splitlines()
    told = [line.split(",") for line in lines[1:]]
    assert sum(w[0] == "test" and w[3] == w[4] for w in told) == sum(right)
    best = plain.tree["best"]
    assert best["validate_top1"] == pytest.approx(plain.scores["validate"]["top1"]["value"])


def test_what_stands_in_the_folder(plain):
    names = {path.name for path in plain.folder.iterdir()}
    assert names == {
        "manifest.json", "recipe.yaml", "metrics.csv", "result.json", "predictions.csv",
        "curves.png", "curves.svg", "checkpoints", "tensorboard",
    }  # fmt: skip
    from vibrissa.train import config_from_file

    assert config_from_file(plain.folder / "recipe.yaml") == config_from_tree(TREE)
    run = load_run(plain.folder, "last")
    assert run.config == config_from_tree(TREE)
    assert (run.labels, run.epoch) == (("ball", "cup", "fork"), 2)
    assert run.manifest.inputs.keys() == {"store", "split by_object"}
    whole = torch.load(plain.folder / "checkpoints" / "last.pt", weights_only=True)
    assert whole["format"] == "vibrissa checkpoint"
    # TensorBoard has every epoch
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(plain.folder / "tensorboard")).Reload()
    points = board.Scalars("loss/train")
    rows = read_metrics(plain.folder / "metrics.csv")
    assert [p.step for p in points] == [1, 2]
    assert [p.value for p in points] == pytest.approx([row["train_loss"] for row in rows])


def test_self_supervised_is_chosen_by_loss_and_probed(store, tmp_path):
    objective = {"type": "simclr", "hidden": 16, "dimension": 8, "pool": "mean"}
    config = config_from_tree(
        TREE | {"objective": objective, "epochs": 3, "probe_every": 2,
                "optimiser": {"type": "lars", "lr": 0.1}}
    )  # fmt: skip
    result = train(config, store, tmp_path / "run", options=QUIET)
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row["probe_top1"] is not None for row in rows] == [False, True, True]
    assert result.tree["monitor"] == "validate_loss"
    losses = [float(row["validate_loss"] or "nan") for row in rows]
    assert result.tree["best"]["epoch"] == 1 + losses.index(min(losses))
    assert result.scores is not None
    assert result.scores["test"]["knn_probe"]["n_train"] == 72
    assert result.tree["collapse"]["effective_rank"] > 1.0
    # the decoder has no part in it
    first = make_learner(config, DataModule(store, "by_object", quiet=True)).model.state_dict()
    for name, value in weights(tmp_path / "run").items():
        assert torch.equal(value, first[name]) == name.startswith("decoder.")


def test_beginning_with_the_weights_of_a_run(store, plain, tmp_path):
    config = config_from_tree(TREE | {"start": str(plain.folder), "seed": 9})
    learner = make_learner(config, DataModule(store, "by_object", quiet=True))
    for name, value in weights(plain.folder, "best").items():
        assert torch.equal(learner.model.state_dict()[name], value)
    other = config_from_tree(TREE | {"start": str(plain.folder), "model": "tiny:zhuang"})
    with pytest.raises(InputError, match="start = .*another model"):
        make_learner(other, DataModule(store, "by_object", quiet=True))


def test_patience(store, tmp_path):
    config = config_from_tree(
        TREE | {"optimiser": {"type": "sgd", "lr": 1e-12}, "epochs": 9, "patience": 2}
    )
    result = train(config, store, tmp_path / "run", options=QUIET)
    assert result.status == "finished"
    assert result.tree["epochs"] < 9
    assert "without a better" in result.message


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [("validate_top1", [0.2, 0.5, 0.4], 2), ("validate_loss", [0.2, 0.1, 0.4], 2),
     ("top1", [0.2, 0.2], 2), (None, [0.3, 0.1], 1)],
)  # fmt: skip
def test_the_best_epoch(metric, values, best):
    monitor = Monitor(metric)
    for k, value in enumerate(values):
        name = metric if metric and "_" in metric else "validate_top1"
        row = {"epoch": k + 1, name: value, "validate_loss": value if "loss" in name else 1.0 - k}
        monitor.look(row)
    assert monitor.best is not None
    assert monitor.best["epoch"] == best  # of equal shares that with the lower loss


# --- what goes wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_before_the_weights(store, tmp_path, monkeypatch, what):
    forward, count = Learner.forward, 0

    def broken(self, x, label, index, generator):
        nonlocal count
        count += self.training
        loss, metrics, outputs = forward(self, x, label, index, generator)
        if count == 5:
            # the root of zero has an infinite slope
            loss = loss * float("nan") if what == "loss" else loss + (loss - loss.detach()).sqrt()
        return loss, metrics, outputs

    monkeypatch.setattr(Learner, "forward", broken)
    result = train(config_from_tree(TREE), store, tmp_path / "run", options=QUIET)
    assert result.status == "non-finite"
    assert f"The {what} was not finite in step 5 (epoch 2)" in result.message
    assert result.scores is None
    assert result.tree["before_non_finite"]["epoch"] == 1
    assert result.tree["collapse"]["verdict"] == "not finite"
    batch = torch.load(tmp_path / "run" / "non_finite_batch.pt", weights_only=True)
    assert batch["input"].shape == (24, 22, 30, 5, 7)
    loader = DataModule(store, "by_object", LoaderConfig(batch_size=24), quiet=True).loader("train")
    loader.set_epoch(1)
    assert torch.equal(batch["index"], list(loader)[1].index)
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / "run").values())
    monkeypatch.setattr(Loop, "run", lambda *_: pytest.fail("it trained again"))
    assert train(config_from_tree(TREE), store, tmp_path / "run", options=QUIET).repeated


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
              RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)  # fmt: skip
def test_out_of_memory_comes_with_advice(store, tmp_path, monkeypatch, error):
    def greedy(*_):
        raise error

    monkeypatch.setattr(Learner, "forward", greedy)
    config = replace(config_from_tree(TREE), accumulate=2)
    with pytest.raises(InputError, match=r"batch_size = 24: .*out of memory.*--accumulate 4"):
        train(config, store, tmp_path / "run", options=QUIET)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ProcessRaisedException("RuntimeError: can't allocate memory", 1, 2), "ran out of memory"),
        (
            ProcessExitedException("gone", 1, 2, -9, "SIGKILL"),
            "a process was killed",
        ),
        (
            ProcessRaisedException("\nvibrissa.core.errors.InputError: lr = 0: no.\n", 1, 2),
            "^lr = 0: no.$",
        ),
    ],
)
def test_what_ends_a_process_of_several_is_one_sentence(store, tmp_path, monkeypatch, error, text):
    def ended(*_):
        raise error

    monkeypatch.setattr("lightning.fabric.Fabric.launch", ended)
    with pytest.raises(InputError, match=text):
        train(config_from_tree(TREE), store, tmp_path / "run", options=QUIET)


def test_other_errors_are_not_hidden(store, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug of the user's model")

    monkeypatch.setattr(Learner, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug of the user's model"):
        train(config_from_tree(TREE), store, tmp_path / "run", options=QUIET)


def damaged(path, how):
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[len(content) // 2 :]
    elif how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "empty":
        content.clear()
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_is_refused(store, plain, tmp_path, how):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(plain.folder, folder)
    (folder / "result.json").unlink()
    for name in ("last", "best"):
        damaged(folder / "checkpoints" / f"{name}.pt", how)
    with pytest.raises(InputError, match=r"best\.pt: not a checkpoint as it was written"):
        load_run(folder)
    with pytest.raises(InputError, match=r"last\.pt: not a checkpoint as .*; delete it to begin"):
        train(config_from_tree(TREE), store, folder, options=QUIET)
    (folder / "checkpoints" / "last.pt").unlink()  # as it was told
    assert train(config_from_tree(TREE), store, folder, options=QUIET).status == "finished"
    for name in ("last", "best"):
        new, old = weights(folder, name), weights(plain.folder, name)
        assert all(torch.equal(new[key], old[key]) for key in old)
    for name in ("metrics.csv", "result.json"):
        assert (folder / name).read_bytes() == (plain.folder / name).read_bytes()


def test_a_checkpoint_of_another_model_is_refused(store, plain, tmp_path):
    import shutil

    other = train(
        config_from_tree(TREE | {"model": "tiny:flatten+none+mlp@all", "epochs": 1}),
        store, tmp_path / "other", options=QUIET,
    )  # fmt: skip
    folder = tmp_path / "run"
    shutil.copytree(plain.folder, folder)
    (folder / "result.json").unlink()
    shutil.copy(other.folder / "checkpoints" / "last.pt", folder / "checkpoints" / "last.pt")
    here = r"model is 'tiny:flatten\+none\+mlp@all' there, and 'tiny:flatten\+none\+linear@all'"
    with pytest.raises(InputError, match=rf"last\.pt: a checkpoint of another training \({here}"):
        train(config_from_tree(TREE), store, folder, options=QUIET)
    shutil.copy(other.folder / "checkpoints" / "best.pt", folder / "checkpoints" / "best.pt")
    with pytest.raises(InputError, match=rf"best\.pt: a checkpoint of another training \({here}"):
        load_run(folder)


def test_weights_of_another_model_are_refused():
    model = build("tiny:flatten+none+linear", n_classes=3)
    state = model.state_dict()
    one, *others = state
    with pytest.raises(InputError, match=f"another model \\({one} is missing, 1 names differ"):
        load_weights(model, {name: state[name] for name in others}, "a.pt")
    with pytest.raises(InputError, match="another model .x is not in the model, 1 names differ"):
        load_weights(model, state | {"x": state[one]}, "a.pt")
    with pytest.raises(InputError, match="another model .* has the shape"):
        load_weights(model, state | {one: state[one][:1]}, "a.pt")


def test_no_memory_for_a_checkpoint_is_not_damage(plain, monkeypatch):
    def greedy(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 B")

    monkeypatch.setattr(torch, "load", greedy)
    with pytest.raises(InputError, match=r"best\.pt: it does not fit into the memory"):
        load_run(plain.folder)


def test_a_pickle_is_not_read(plain, tmp_path):
    import pickle
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(plain.folder, folder)
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (ran.write_text, ("x",))

    (folder / "checkpoints" / "best.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="not a checkpoint"):
        load_run(folder)
    torch.save({"format": "vibrissa checkpoint", "x": Evil()}, folder / "checkpoints" / "best.pt")
    with pytest.raises(InputError, match="not a checkpoint"):
        load_run(folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"n_classes": 117}, "n_classes = 117: the store .* has 3"),
        ({"data": {"split": "by_class"}}, "classes to be tested have no sweeps to train with"),
        ({"data": {"split": "by_moon"}}, "split = 'by_moon'"),
        ({"model": "tiny:flatten+none+none"}, "it has no decoder"),
        ({"monitor": "beauty"}, "monitor = 'beauty': no such name"),
        (
            {"objective": {"type": "simclr", "augmentation": "tactile_world"}},
            "augmentation MirrorLeftRight.frame = 'world': the loads are in the base frame",
        ),
        (
            {
                "objective": {"type": "supervised", "augmentation": "tactile"},
                "data": {"preprocessing": {"normalise": "standard"}},
            },
            "normalise = 'standard': .* needs no load to be zero",
        ),
        (
            {"objective": "simclr", "data": {"batch_size": 1}},
            "batch_size = 1: simclr learns from comparing sweeps of a batch; give 2 or more",
        ),
        (
            {"objective": "simsiam", "data": {"batch_size": 4}, "accumulate": 3},
            "batch_size = 4: simsiam .* a batch in 3 parts; give 6 or more",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_binds_nobody(store, tmp_path, change, text):
    with pytest.raises(InputError, match=text):
        train(config_from_tree(TREE | change), store, tmp_path / "run", options=QUIET)
    assert read_result(tmp_path / "run") is None


@pytest.mark.parametrize("objective", ["autoencoder", "instance_discrimination"])
def test_objectives_that_compare_nothing_within_a_batch_take_single_sweeps(objective):
    check_config(config_from_tree({"objective": objective, "data": {"batch_size": 1}}))


@pytest.mark.parametrize("monitor", ["val_acc", "top1", "probe_top1"])
def test_without_a_validation_part_there_is_nothing_to_monitor(store, tmp_path, monitor):
    whole = shutil.copytree(store.path, tmp_path / "data")
    split = Split.make("two_parts", ByObject(fractions=(0.8, 0.0, 0.2)), store.table)
    SweepStore.open(whole).save_split(split)
    change = {"monitor": monitor, "data": {"split": "two_parts", "batch_size": 24}}
    with pytest.raises(InputError, match="the split two_parts has no validation part"):
        train(config_from_tree(TREE | change), whole, tmp_path / "run", options=QUIET)
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_data_set(tmp_path):
    (tmp_path / "h.py").touch()
    with pytest.raises(InputError, match=r"data = '.*h\.py': a file, and a data set is a folder"):
        train(config_from_tree(TREE), tmp_path / "h.py", tmp_path / "run", options=QUIET)


def test_what_has_ended_is_told_without_lightning(store, plain, monkeypatch):
    monkeypatch.setattr("vibrissa.train.training.require_extra", lambda *_: pytest.fail("slow"))
    assert train(config_from_tree(TREE), store, plain.folder, options=QUIET).repeated


def test_a_folder_with_other_things_is_refused(store, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="it is there and is no run folder"):
        train(config_from_tree(TREE), store, tmp_path, options=QUIET)


def test_folders_that_hold_no_run(tmp_path, store):
    for folder in (tmp_path, store.path):
        with pytest.raises(InputError, match="run = "):
            load_run(folder)
