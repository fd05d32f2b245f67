"""Objects to touch: meshes from files and folders, procedural shapes, signed-distance fields.

Public names load when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vibrissa.objects.distance_field import DistanceField as DistanceField
    from vibrissa.objects.distance_field import DistanceFieldConfig as DistanceFieldConfig
    from vibrissa.objects.distance_field import compute_distance_field as compute_distance_field
    from vibrissa.objects.files import ReadLimits as ReadLimits
    from vibrissa.objects.files import read_object as read_object
    from vibrissa.objects.folders import ObjectSource as ObjectSource
    from vibrissa.objects.folders import Refusal as Refusal
    from vibrissa.objects.folders import ShapeNetListing as ShapeNetListing
    from vibrissa.objects.folders import load_all as load_all
    from vibrissa.objects.folders import read_folder as read_folder
    from vibrissa.objects.folders import read_shapenet as read_shapenet
    from vibrissa.objects.procedural import procedural_classes as procedural_classes
    from vibrissa.objects.procedural import procedural_dataset as procedural_dataset
    from vibrissa.objects.procedural import procedural_object as procedural_object
    from vibrissa.objects.rodgers_shapes import rodgers_shape as rodgers_shape
    from vibrissa.objects.rodgers_shapes import rodgers_stimulus as rodgers_stimulus
    from vibrissa.objects.shape_building import shape as shape
    from vibrissa.objects.tactile_object import TactileObject as TactileObject

_MODULE_OF = {
    "DistanceField": "distance_field",
    "DistanceFieldConfig": "distance_field",
    "ObjectSource": "folders",
    "ReadLimits": "files",
    "Refusal": "folders",
    "ShapeNetListing": "folders",
    "TactileObject": "tactile_object",
    "compute_distance_field": "distance_field",
    "load_all": "folders",
    "procedural_classes": "procedural",
    "procedural_dataset": "procedural",
    "procedural_object": "procedural",
    "read_folder": "folders",
    "read_object": "files",
    "read_shapenet": "folders",
    "rodgers_shape": "rodgers_shapes",
    "rodgers_stimulus": "rodgers_shapes",
    "shape": "shape_building",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
