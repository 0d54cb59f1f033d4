"""Where a classifier looked, and how far to believe that.

``geometry`` (by ``tensor_layout`` and ``layout_rules``) and ``gradcam`` have the maps; ``removal``
(by ``imputation``) and ``randomization`` say how far a map can be trusted.
"""

from pytorch_vision.explain.geometry import last_map, map_geometry
from pytorch_vision.explain.gradcam import METHODS, grad_cam
from pytorch_vision.explain.randomization import randomization
from pytorch_vision.explain.removal import baseline_maps, removal

__all__ = [
    "METHODS",
    "baseline_maps",
    "grad_cam",
    "last_map",
    "map_geometry",
    "randomization",
    "removal",
]
