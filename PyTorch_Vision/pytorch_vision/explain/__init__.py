"""Where a classifier looked, and how far its maps can be trusted.

``gradcam`` makes the maps, and ``geometry`` finds where their cells lie on the image. ``removal``
and ``randomization`` test how far a map can be trusted.
"""

from pytorch_vision.explain.geometry import NoMapError, map_geometry
from pytorch_vision.explain.gradcam import METHODS, Explainer, Explanation, grad_cam
from pytorch_vision.explain.randomization import randomization
from pytorch_vision.explain.removal import baseline_maps, removal
