"""Recurrent cells: what a node remembers from step to step."""

from vibrissa.tnn.cells.base import (
    Cell,
    CellConfig,
    Context,
    ContextShape,
    ConvCellConfig,
    Drive,
    HiddenState,
    NoState,
    State,
    cells,
)
from vibrissa.tnn.cells.conv_basic import ConvBasic
from vibrissa.tnn.cells.gru import GRU, GRUCell
from vibrissa.tnn.cells.identity import Identity, IdentityCell
from vibrissa.tnn.cells.intersection import Intersection, IntersectionCell
from vibrissa.tnn.cells.lstm import LSTM, LSTMCell, LSTMState
from vibrissa.tnn.cells.maps import ChannelNorm, Gates, LinearMap, SeparableMap
from vibrissa.tnn.cells.reciprocal_gated import (
    ReciprocalGated,
    ReciprocalGatedCell,
    ReciprocalState,
)
from vibrissa.tnn.cells.time_decay import TimeDecay, TimeDecayCell
from vibrissa.tnn.cells.ugrnn import UGRNN, UGRNNCell
from vibrissa.tnn.cells.vanilla import Vanilla, VanillaCell

__all__ = [
    "GRU",
    "LSTM",
    "UGRNN",
    "Cell",
    "CellConfig",
    "ChannelNorm",
    "Context",
    "ContextShape",
    "ConvBasic",
    "ConvCellConfig",
    "Drive",
    "GRUCell",
    "Gates",
    "HiddenState",
    "Identity",
    "IdentityCell",
    "Intersection",
    "IntersectionCell",
    "LSTMCell",
    "LSTMState",
    "LinearMap",
    "NoState",
    "ReciprocalGated",
    "ReciprocalGatedCell",
    "ReciprocalState",
    "SeparableMap",
    "State",
    "TimeDecay",
    "TimeDecayCell",
    "UGRNNCell",
    "Vanilla",
    "VanillaCell",
    "cells",
]
