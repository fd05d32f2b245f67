"""Procedural objects: labelled classes of which any number of individuals can be drawn.

An individual is fixed by class, index and seed. All are closed, face outward, stand with z up,
centred on the origin, and by default have a bounding-box diagonal of 40 mm.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from vibrissa.core.errors import refuse
from vibrissa.core.seeds import generator
from vibrissa.objects import shapes_extrusion as _extrusion  # noqa: F401  (they register)
from vibrissa.objects import shapes_implicit as _implicit  # noqa: F401
from vibrissa.objects import shapes_revolution as _revolution  # noqa: F401
from vibrissa.objects.shape_building import SHAPES
from vibrissa.objects.tactile_object import TactileObject

DEFAULT_DIAGONAL_MM = 40.0


def procedural_classes() -> tuple[str, ...]:
    """Labels of all classes, sorted."""
    return SHAPES.names()


def procedural_object(
    class_name: str, index: int, seed: int = 0, diagonal_mm: float = DEFAULT_DIAGONAL_MM
) -> TactileObject:
    """Individual number ``index`` of a class.

    Args:
        class_name: one of :func:`procedural_classes`.
        index: 0 or more.
        seed: root seed; another one gives other individuals.
        diagonal_mm: bounding-box diagonal.

    Raises:
        InputError: unknown class, negative index or seed, or no positive diagonal.
    """
    draw = SHAPES.get(class_name)
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or index < 0:
        raise refuse("index", index, "not a non-negative integer", "give 0 or more")
    if not (math.isfinite(diagonal_mm) and diagonal_mm > 0):
        raise refuse("diagonal_mm", diagonal_mm, "not a positive length", "give one above 0")
    vertices, faces = draw(generator(seed, "objects", class_name, int(index)))
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = diagonal_mm / float(np.linalg.norm(high - low))
    # Rounded far below any effect, so that libraries that differ in the last bit agree.
    grain = diagonal_mm * 2.0**-34
    vertices = np.round((vertices - 0.5 * (low + high)) * scale / grain) * grain
    return TactileObject(
        name=f"{class_name}/{int(index):05d}",
        label=class_name,
        vertices_mm=vertices,
        faces=faces.astype(np.int32),
        source=f"procedural {class_name}, index {int(index)}, seed {seed}",
    )


def procedural_dataset(
    n_per_class: int,
    classes: Iterable[str] | None = None,
    seed: int = 0,
    diagonal_mm: float = DEFAULT_DIAGONAL_MM,
) -> Iterator[TactileObject]:
    """The first ``n_per_class`` individuals of each class, class by class, made as asked for.

    Args:
        n_per_class: 1 or more.
        classes: labels; all by default.
        seed: root seed.
        diagonal_mm: bounding-box diagonal.

    Raises:
        InputError: as for :func:`procedural_object`, before the first object.
    """
    if isinstance(n_per_class, bool) or n_per_class < 1:
        raise refuse("n_per_class", n_per_class, "not positive", "give 1 or more")
    names = tuple(classes) if classes is not None else procedural_classes()
    for name in names:
        SHAPES.get(name)
    return (
        procedural_object(name, index, seed, diagonal_mm)
        for name in names
        for index in range(n_per_class)
    )
