"""Memory modules: what a node computes before and after its recurrent cell."""

from vibrissa.tnn.modules.activation import Activation, ActivationModule
from vibrissa.tnn.modules.activations import activation, activations
from vibrissa.tnn.modules.base import Memory, MemoryConfig, memory_modules
from vibrissa.tnn.modules.batch_norm import BatchNorm, BatchNormModule
from vibrissa.tnn.modules.conv import Conv, ConvModule
from vibrissa.tnn.modules.dropout import Dropout, DropoutModule
from vibrissa.tnn.modules.full import Full, FullModule
from vibrissa.tnn.modules.identity import Identity, IdentityModule
from vibrissa.tnn.modules.initialisers import INITIALISERS, Init
from vibrissa.tnn.modules.pooling import (
    AdaptiveAvgPool,
    AdaptiveAvgPoolModule,
    MaxPool,
    MaxPoolModule,
)
from vibrissa.tnn.modules.residual_add import ResidualAdd, ResidualAddModule
from vibrissa.tnn.modules.sequence import Sequence, SequenceModule
from vibrissa.tnn.modules.shapes import Pair, Shape, same_conv2d

__all__ = [
    "INITIALISERS",
    "Activation",
    "ActivationModule",
    "AdaptiveAvgPool",
    "AdaptiveAvgPoolModule",
    "BatchNorm",
    "BatchNormModule",
    "Conv",
    "ConvModule",
    "Dropout",
    "DropoutModule",
    "Full",
    "FullModule",
    "Identity",
    "IdentityModule",
    "Init",
    "MaxPool",
    "MaxPoolModule",
    "Memory",
    "MemoryConfig",
    "Pair",
    "ResidualAdd",
    "ResidualAddModule",
    "Sequence",
    "SequenceModule",
    "Shape",
    "activation",
    "activations",
    "memory_modules",
    "same_conv2d",
]
