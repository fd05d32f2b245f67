"""Encoders: from forces and moments on the whisker grid to features, step by step."""

from vibrissa.models.encoders.conv_rnn import GRU as GRU
from vibrissa.models.encoders.conv_rnn import LSTM as LSTM
from vibrissa.models.encoders.conv_rnn import UGRNN as UGRNN
from vibrissa.models.encoders.conv_rnn import ConvRNN as ConvRNN
from vibrissa.models.encoders.conv_rnn import Inter as Inter
from vibrissa.models.encoders.conv_rnn import Zhuang as Zhuang
