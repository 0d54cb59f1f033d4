"""What a trained model gets right and wrong, and where it looked.

``predict`` has the answers and figures about them, ``calibration`` whether their probabilities
hold; ``geometry`` and ``gradcam`` the maps;
``faithfulness`` (by ``imputation``) and ``sanity`` say how far a map can be trusted; ``plots``
and ``galleries`` draw; ``report`` writes the page of all errors.
"""

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.calibration import (
    Calibration,
    calibration,
    describe_scaling,
    scaled,
    temperature,
    two_fold,
)
from pytorch_vision.analysis.faithfulness import (
    Removal,
    blind_maps,
    describe_removal,
    interval,
    removal,
)
from pytorch_vision.analysis.geometry import MapGeometry, last_map, map_geometry
from pytorch_vision.analysis.gradcam import METHODS, grad_cam
from pytorch_vision.analysis.predict import (
    Order,
    Predictions,
    class_accuracy,
    classify,
    confusion_matrix,
    correctly_classified,
    describe_choice,
    misclassified,
    predict,
)
from pytorch_vision.analysis.report import error_page, make_report, write_page
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
    "describe_scaling",
    "error_page",
    "galleries",
    "grad_cam",
    "interval",
    "last_map",
    "make_report",
    "map_geometry",
    "misclassified",
    "plots",
    "predict",
    "randomization",
    "removal",
    "scaled",
    "temperature",
    "two_fold",
    "write_page",
]
