"""Morphology: whiskers as elastic rods, arrays of them on a head, and the grid they form."""

from vibrissa.morphology.array import WhiskerArray as WhiskerArray
from vibrissa.morphology.grid import (
    EMPTY_PLACES as EMPTY_PLACES,
)
from vibrissa.morphology.grid import (
    GRID_SHAPE as GRID_SHAPE,
)
from vibrissa.morphology.grid import (
    gather_from_grid as gather_from_grid,
)
from vibrissa.morphology.grid import (
    grid_name as grid_name,
)
from vibrissa.morphology.grid import (
    grid_place as grid_place,
)
from vibrissa.morphology.grid import (
    scatter_to_grid as scatter_to_grid,
)
from vibrissa.morphology.mouse import mouse_array as mouse_array
from vibrissa.morphology.names import WhiskerName as WhiskerName
from vibrissa.morphology.names import parse_name as parse_name
from vibrissa.morphology.parameters import MechanicalParameters as MechanicalParameters
from vibrissa.morphology.parameters import parameter_sets as parameter_sets
from vibrissa.morphology.parameters import parameters as parameters
from vibrissa.morphology.placement import HeadPose as HeadPose
from vibrissa.morphology.rat import rat_array as rat_array
from vibrissa.morphology.whisker import Whisker as Whisker
from vibrissa.morphology.whisker import (
    published_joint_angles_rad as published_joint_angles_rad,
)
