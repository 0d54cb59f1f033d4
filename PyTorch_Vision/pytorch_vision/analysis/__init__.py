"""What a trained model gets right and wrong, and where it looked.

``predict`` has the answers and figures about them; ``geometry`` and ``gradcam`` the maps;
``faithfulness`` (by ``imputation``) and ``sanity`` say how far a map can be trusted; ``plots``
and ``galleries`` draw; ``report`` writes the page of all errors.
"""

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.faithfulness import (
    Removal,
    blind_maps,
    describe_removal,
    interval,
    removal,
)
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
from pytorch_vision.analysis.sanity import randomization

__all__ = [
    "METHODS",
    "Calibration",
    "MapGeometry",
    "Order",
    "Predictions",
    "Removal",
    "blind_maps",
    "calibration",
    "class_accuracy",
    "classify",
    "confusion_matrix",
    "correctly_classified",
    "describe_choice",
    "describe_removal",
    "error_page",
    "galleries",
    "grad_cam",
    "interval",
    "map_geometry",
    "misclassified",
    "plots",
    "predict",
    "randomization",
    "removal",
    "write_page",
]
