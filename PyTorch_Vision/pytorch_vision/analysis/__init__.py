"""What a trained model gets right and wrong, and where it looked.

``predict`` has the answers and figures about them, ``geometry`` and ``gradcam`` the maps;
``plots`` and ``galleries`` draw, ``report`` writes the page of all errors.
"""

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.geometry import MapGeometry, map_geometry
from pytorch_vision.analysis.gradcam import METHODS, grad_cam
from pytorch_vision.analysis.predict import (
    Calibration,
    Order,
    Predictions,
    calibration,
    class_accuracy,
    classify,
    confusion_matrix,
    correctly_classified,
    describe_choice,
    misclassified,
    predict,
)
from pytorch_vision.analysis.report import error_page, write_page

__all__ = [
    "METHODS",
    "Calibration",
    "MapGeometry",
    "Order",
    "Predictions",
    "calibration",
    "class_accuracy",
    "classify",
    "confusion_matrix",
    "correctly_classified",
    "describe_choice",
    "error_page",
    "galleries",
    "grad_cam",
    "map_geometry",
    "misclassified",
    "plots",
    "predict",
    "write_page",
]
