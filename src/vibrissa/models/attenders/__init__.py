"""Attenders: from features to features, across steps."""

from vibrissa.models.attenders.none import NoAttender as NoAttender
