"""A training on two processes that writes down its views: ``python telling.py STORE OUT LOG STOP``.

LOG/RANK.txt gets a line for every view that is learned from: a digest of the view and of the
sweeps. After STOP of them (0 for never) the training is asked to stop.
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vibrissa.augment import Augmentation, augmentations
from vibrissa.core.files import digest_of_bytes
from vibrissa.objectives import InstanceDiscriminationConfig
from vibrissa.train import RunOptions, TrainConfig, train
from vibrissa.train.config import DataConfig


@augmentations.register("telling")
@dataclass(frozen=True, kw_only=True)
class Telling(Augmentation):
    """Noise that is told of."""

    sd: float = 0.01

    def change(self, x: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randn(x.shape, generator=generator)
        if torch.is_grad_enabled():  # not where only measured
            file = Path(os.environ["TELLING_LOG"]) / f"{torch.distributed.get_rank()}.txt"
            digests = [digest_of_bytes(t.numpy().tobytes()) for t in (drawn, x)]
            with file.open("a") as lines:
                lines.write(" ".join(digests) + "\n")
            if len(file.read_text().splitlines()) == int(os.environ["TELLING_STOP"]):
                os.kill(os.getpid(), signal.SIGINT)
        return x + self.sd * drawn


def main(store: str, out: str, log: str, stop: str) -> None:
    os.environ |= {"TELLING_LOG": log, "TELLING_STOP": stop}
    config = TrainConfig(
        model="tiny:flatten+none+linear",
        objective=InstanceDiscriminationConfig(augmentation=Telling(), dimension=8, pool="mean"),
        data=DataConfig(batch_size=24),
        epochs=2,
        accumulate=2,
        probe="none",
        seed=7,
    )
    options = RunOptions(devices=2, accelerator="cpu", threads=1, quiet=True)
    print(train(config, store, out, options=options).status)


if __name__ == "__main__":
    main(*sys.argv[1:])
