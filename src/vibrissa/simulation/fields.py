"""The distance fields of the objects in scenes, each made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vibrissa.simulation.scene import Scene, SolverConfig

if TYPE_CHECKING:
    from vibrissa.objects.distance_field import DistanceField

WIDEST_WHISKER_MM = 0.2
"""No mouse or rat whisker has a larger radius; grids shared between sizes must reach so far."""


def distance_fields(
    scenes: Sequence[Scene],
    config: SolverConfig,
    *,
    known: Mapping[str, DistanceField] | None = None,
    cache: bool = True,
) -> dict[str, DistanceField]:
    """The distance fields of all objects in the scenes, by field key, each made once.

    Args:
        scenes: whose objects.
        config: the grid.
        known: fields of the same configuration that need not be made again.
        cache: whether the disk cache may be used.
    """
    fields: dict[str, DistanceField] = {}
    for scene in scenes:
        for placed in scene.objects:
            key = placed.shape.field_key
            if key not in fields:
                fields[key] = (known or {}).get(key) or placed.shape.distance_field(
                    spacing_mm=config.grid_spacing_mm,
                    # What is no device at all is for the engine to refuse.
                    device=config.device if config.device.startswith("cuda") else "cpu",
                    least_padding_mm=config.contact_offset_mm + WIDEST_WHISKER_MM,
                    cache=cache,
                    hold=True,
                )
    return fields
