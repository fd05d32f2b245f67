"""Encoders: from forces and moments on the whisker grid to features, step by step."""

from vibrissa.models.encoder.conv_rnn import GRU as GRU
from vibrissa.models.encoder.conv_rnn import LSTM as LSTM
from vibrissa.models.encoder.conv_rnn import UGRNN as UGRNN
from vibrissa.models.encoder.conv_rnn import ConvRNN as ConvRNN
from vibrissa.models.encoder.conv_rnn import Inter as Inter
from vibrissa.models.encoder.conv_rnn import Zhuang as Zhuang
from vibrissa.models.encoder.flatten import Flatten as Flatten
from vibrissa.models.encoder.resnet import ResNet18 as ResNet18
from vibrissa.models.encoder.sequence import S4 as S4
from vibrissa.models.encoder.sequence import S4D as S4D
from vibrissa.models.encoder.sequence import Mamba as Mamba
