"""The registry of objectives, with all members of this package in it."""

from __future__ import annotations

from vibrissa.objectives import autoencoder, instances, simclr, simsiam, supervised
from vibrissa.objectives.base import objectives

__all__ = ["objectives"]

_MEMBERS = (autoencoder, instances, simclr, simsiam, supervised)  # registered by being imported
