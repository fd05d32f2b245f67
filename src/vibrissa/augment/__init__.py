"""Augmentations of model input: physical, as published, and image-style as the control.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.augment.base import Augmentation as Augmentation
    from vibrissa.augment.base import Identity as Identity
    from vibrissa.augment.compose import Compose as Compose
    from vibrissa.augment.compose import augmentations as augmentations
    from vibrissa.augment.compose import make_augmentation as make_augmentation
    from vibrissa.augment.compose import pipelines as pipelines
    from vibrissa.augment.compose import tactile as tactile
    from vibrissa.augment.fitting import check_fits as check_fits
    from vibrissa.augment.image_style import ImageStyle as ImageStyle
    from vibrissa.augment.published import Published as Published
    from vibrissa.augment.rotation import GridRotation as GridRotation
    from vibrissa.augment.symmetry import HalfTurn as HalfTurn
    from vibrissa.augment.symmetry import MirrorFrontBack as MirrorFrontBack
    from vibrissa.augment.symmetry import MirrorLeftRight as MirrorLeftRight
    from vibrissa.augment.symmetry import MirrorUpDown as MirrorUpDown
    from vibrissa.augment.symmetry import TimeReversal as TimeReversal
    from vibrissa.augment.variation import Gain as Gain
    from vibrissa.augment.variation import Noise as Noise
    from vibrissa.augment.variation import TimeShift as TimeShift
    from vibrissa.augment.variation import WhiskerDropout as WhiskerDropout

_MODULE_OF = {
    "Augmentation": "base",
    "Compose": "compose",
    "Gain": "variation",
    "GridRotation": "rotation",
    "HalfTurn": "symmetry",
    "Identity": "base",
    "ImageStyle": "image_style",
    "MirrorFrontBack": "symmetry",
    "MirrorLeftRight": "symmetry",
    "MirrorUpDown": "symmetry",
    "Noise": "variation",
    "Published": "published",
    "TimeReversal": "symmetry",
    "TimeShift": "variation",
    "WhiskerDropout": "variation",
    "augmentations": "compose",
    "check_fits": "fitting",
    "make_augmentation": "compose",
    "pipelines": "compose",
    "tactile": "compose",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
