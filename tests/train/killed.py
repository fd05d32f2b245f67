"""A training that kills itself: ``python killed.py STORE OUT CONFIG.json STEPS MOMENT``.

SIGKILL comes in the STEPS-th step of this process: ``before`` the optimiser's step, ``after`` it,
or while a checkpoint is ``writing``.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from vibrissa.train import RunOptions, checkpoint, config_from_tree, train
from vibrissa.train.loop import Loop


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def main(store, out, config, steps, moment):
    torch.set_num_threads(1)
    count = 0
    whole_step, save = Loop._step, torch.save

    def step(self, batch):
        nonlocal count
        count += 1
        if count == int(steps):
            if moment == "before":
                self.optimiser.step = die
            if moment == "writing":
                checkpoint.torch.save = half
        done = whole_step(self, batch)
        if count == int(steps) and moment == "after":
            die()
        return done

    def half(content, path):
        save(content, path)
        os.truncate(path, os.path.getsize(path) // 2)
        die()

    Loop._step = step
    tree = json.loads(Path(config).read_text())
    options = RunOptions(quiet=True, threads=1, save_every_steps=2, accelerator="cpu")
    train(config_from_tree(tree), store, out, options=options)


if __name__ == "__main__":
    main(*sys.argv[1:])
