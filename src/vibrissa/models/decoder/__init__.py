"""Decoders: from features to class scores."""

from vibrissa.models.decoder.read_out import MLP as MLP
from vibrissa.models.decoder.read_out import Linear as Linear
from vibrissa.models.decoder.read_out import NoDecoder as NoDecoder
