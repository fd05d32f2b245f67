"""metrics.csv, trackers, curves."""

import pytest

from vibrissa.core.errors import InputError, MissingExtraError
from vibrissa.train.curves import draw_curves
from vibrissa.train.recording import Recorder, check_trackers, read_metrics, write_metrics

ROWS = [
    {"epoch": 1, "step": 3, "lr": 0.1, "train_loss": 1.0 / 3.0, "train_top1": 0.5},
    {"epoch": 2, "step": 6, "lr": 0.05, "train_loss": 1e-9, "train_top1": 0.75,
     "probe_top1": 0.25},
]  # fmt: skip


def test_metrics_there_and_back(tmp_path):
    path = write_metrics(tmp_path / "metrics.csv", ROWS)
    assert path.read_text().splitlines()[0] == "epoch,step,lr,probe_top1,train_loss,train_top1"
    found = read_metrics(path)
    assert found[1] == ROWS[1]
    assert found[0] == ROWS[0] | {"probe_top1": None}


def test_trackers_that_cannot_be(monkeypatch):
    with pytest.raises(InputError, match="track = 'excel'"):
        check_trackers(["excel"])
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r'wandb.*pip install "vibrissa\[track\]"'):
        check_trackers(["wandb"])


def test_trackers_get_every_epoch(tmp_path, monkeypatch):
    """Lightning's loggers are replaced: neither service is installed where tests run."""
    import sys
    import types

    from lightning.pytorch import loggers

    logged = []

    class Logger:
        def __init__(self, *given, **named):
            self.who = "wandb" if "save_dir" in named else "mlflow"

        def log_hyperparams(self, tree):
            logged.append((self.who, "config", tree))

        def log_metrics(self, values, step):
            logged.append((self.who, step, values))

        def finalize(self, status):
            logged.append((self.who, status, None))

    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(loggers, "WandbLogger", Logger)
    monkeypatch.setattr(loggers, "MLFlowLogger", Logger)
    recorder = Recorder(tmp_path, trackers=("wandb", "mlflow"), config={"epochs": 2})
    for row in ROWS:
        recorder.epoch(row)
    recorder.close()
    wandb = [entry[1:] for entry in logged if entry[0] == "wandb"]
    assert wandb == [entry[1:] for entry in logged if entry[0] == "mlflow"]
    assert wandb[0] == ("config", {"epochs": 2})
    assert wandb[2] == (
        2, {"lr": 0.05, "loss/train": 1e-9, "top1/train": 0.75, "top1/probe": 0.25}
    )  # fmt: skip
    assert wandb[-1] == ("success", None)


def test_what_was_trained_twice_is_seen_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Recorder(tmp_path)
    for row in ROWS:
        first.epoch(row)
    first.close()
    second = Recorder(tmp_path, from_epoch=1)  # the second epoch was lost
    second.epoch(ROWS[1] | {"train_loss": 7.0})
    second.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    points = [(p.step, p.value) for p in board.Scalars("loss/train")]
    assert points == [(1, pytest.approx(1.0 / 3.0)), (2, 7.0)]


def lines_of(figure):
    return [
        {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
        for axis in figure.axes
    ]


def test_curves_show_what_was_measured():
    figure = draw_curves(ROWS, title="a model", chance=0.2)
    loss, accuracy, rate = lines_of(figure)
    assert loss["training"] == [[1, 1.0 / 3.0], [2, 1e-9]]
    assert accuracy["training"] == [[1, 50.0], [2, 75.0]]
    assert accuracy["probe"] == [[2, 25.0]]
    assert [0.0, 20.0] in next(v for k, v in accuracy.items() if str(k).startswith("_"))
    assert next(iter(rate.values())) == [[1, 0.1], [2, 0.05]]


def test_curves_without_accuracy_have_two_panels():
    rows = [{"epoch": 1, "lr": 0.1, "train_loss": 1.0, "train_contrast_top1": 0.5}]
    assert len(draw_curves(rows).axes) == 2


def test_metrics_are_found_in_the_folder_of_a_run(tmp_path):
    rows = [{"epoch": 1, "step": 3, "lr": 0.1, "train_loss": 2.0}]
    write_metrics(tmp_path / "metrics.csv", rows)
    assert read_metrics(tmp_path) == rows
    with pytest.raises(InputError, match=r"nowhere.*folder of a run"):
        read_metrics(tmp_path / "nowhere")
