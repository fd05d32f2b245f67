"""An encoder as a user would write it, and some that are broken."""

import torch
from torch import nn


class MyEncoder(nn.Module):
    def __init__(self, input_shape, width=8):
        super().__init__()
        _, channels, rows, columns = input_shape
        self.grid = nn.Linear(channels * rows * columns, width)
        self.memory = nn.GRU(width, width, batch_first=True)

    def forward(self, x):
        return self.memory(torch.relu(self.grid(x.flatten(2))))[0]


class LastStepOnly(MyEncoder):
    def forward(self, x):
        return super().forward(x)[:, -1]


class Fails(MyEncoder):
    def forward(self, x):
        return self.grid(x)


def not_a_module(input_shape):
    return input_shape


def my_attender(n_features, n_steps):
    return nn.Linear(n_features, 5)


class MyDecoder(nn.Module):
    def __init__(self, n_features, n_steps, n_classes):
        super().__init__()
        self.score = nn.Linear(n_features, n_classes)

    def forward(self, features):
        return self.score(features.mean(1))
