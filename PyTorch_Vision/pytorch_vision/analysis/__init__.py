"""What a classifier gets right and wrong, and where it looked.

``predict`` has the answers and figures about them, ``calibration`` whether their probabilities
hold; ``geometry`` (by ``layout`` and ``operations``) and ``gradcam`` the maps; ``faithfulness`` (by
``imputation``), ``sanity`` and ``trust`` say how far a map can be trusted; ``curves``, ``plots``
and ``galleries`` draw; ``report`` writes the page of all errors.
"""

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.calibration import (
    calibration,
    cross_fitted,
    temperature,
    temperature_scaled,
)
from pytorch_vision.analysis.faithfulness import Removal, baseline_maps, removal
from pytorch_vision.analysis.geometry import MapGeometry, last_map, map_geometry
from pytorch_vision.analysis.gradcam import METHODS, grad_cam
from pytorch_vision.analysis.predict import (
    Predictions,
    class_accuracy,
    confusion_matrix,
    correctly_classified,
    describe_choice,
    misclassified,
    predict,
)
from pytorch_vision.analysis.report import write_report
from pytorch_vision.analysis.sanity import randomization
from pytorch_vision.analysis.trust import Trust, measure_trust

__all__ = [
    "METHODS",
    "MapGeometry",
    "Predictions",
    "Removal",
    "Trust",
    "baseline_maps",
    "calibration",
    "class_accuracy",
    "confusion_matrix",
    "correctly_classified",
    "cross_fitted",
    "describe_choice",
    "galleries",
    "grad_cam",
    "last_map",
    "map_geometry",
    "measure_trust",
    "misclassified",
    "plots",
    "predict",
    "randomization",
    "removal",
    "temperature",
    "temperature_scaled",
    "write_report",
]
