"""What verbs say besides their results."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """One line on stderr."""
    print(f"vibrissa: {text}", file=sys.stderr, flush=True)
