"""The registry of objectives, with all members of this package in it."""

from __future__ import annotations

from vibrissa.objectives import simclr, supervised
from vibrissa.objectives.base import objectives

__all__ = ["objectives"]

_MEMBERS = (simclr, supervised)  # registered by being imported
