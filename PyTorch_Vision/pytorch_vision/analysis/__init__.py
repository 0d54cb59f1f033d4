"""What a classifier gets right and wrong, and where it looked.

``predict`` has the answers, ``metrics`` the figures about them, ``calibration`` whether their
probabilities hold; ``geometry`` (by ``layout`` and ``operations``) and ``gradcam`` the maps;
``faithfulness`` (by ``imputation``), ``sanity`` and ``trust`` say how far a map can be trusted;
``classify`` has the classes of new pictures, and ``runs`` compares runs; ``curves``, ``plots`` and
``galleries`` draw, on what ``figures`` gives them; ``report`` writes the page of errors, and
``lessons`` what was learned.
"""

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.calibration import calibration, cross_fitted, temperature
from pytorch_vision.analysis.classify import classify_files, write_file_predictions
from pytorch_vision.analysis.faithfulness import baseline_maps, removal
from pytorch_vision.analysis.gradcam import METHODS, grad_cam
from pytorch_vision.analysis.lessons import lessons_learned
from pytorch_vision.analysis.metrics import measure, write_predictions
from pytorch_vision.analysis.predict import (
    Predictions,
    class_accuracy,
    confusion_matrix,
    correctly_classified,
    misclassified,
    predict,
)
from pytorch_vision.analysis.report import write_report
from pytorch_vision.analysis.runs import FinishedRun, compare_runs
from pytorch_vision.analysis.trust import measure_trust

__all__ = [
    "METHODS",
    "FinishedRun",
    "Predictions",
    "baseline_maps",
    "calibration",
    "class_accuracy",
    "classify_files",
    "compare_runs",
    "confusion_matrix",
    "correctly_classified",
    "cross_fitted",
    "galleries",
    "grad_cam",
    "lessons_learned",
    "measure",
    "measure_trust",
    "misclassified",
    "plots",
    "predict",
    "removal",
    "temperature",
    "write_file_predictions",
    "write_predictions",
    "write_report",
]
