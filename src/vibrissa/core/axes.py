"""Names of axes and channels: the only words by which arrays pass from room to room."""

from __future__ import annotations

from typing import Final

FORCE_CHANNELS: Final = ("Fx", "Fy", "Fz")
MOMENT_CHANNELS: Final = ("Mx", "My", "Mz")
CHANNELS: Final = (*FORCE_CHANNELS, *MOMENT_CHANNELS)
"""Force and moment at a base, in the base frame; the order of the ``channel`` axis."""

CHANNEL_UNITS: Final = {
    **dict.fromkeys(FORCE_CHANNELS, "uN"),
    **dict.fromkeys(MOMENT_CHANNELS, "uN*mm"),
}

SWEEP_AXES: Final = ("sweep", "time", "whisker", "channel")
MODEL_INPUT_AXES: Final = ("batch", "time", "channel", "row", "column")
ACTIVATION_AXES: Final = ("stimulus", "time", "unit")
