"""What a classifier gets right and wrong, and where it looked.

``predict`` has the answers, ``metrics`` the figures about them, ``calibration`` whether their
probabilities hold; ``geometry`` (by ``layout`` and ``operations``) and ``gradcam`` the maps;
``faithfulness`` (by ``imputation``), ``sanity`` and ``trust`` say how far a map can be trusted;
``classify`` has the classes of new pictures, and ``runs`` compares runs; ``curves``, ``plots`` and
``galleries`` draw, on what ``figures`` gives them; ``report`` writes the page of errors, and
``lessons`` what was learned.
"""

import importlib
from typing import Any

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.calibration import calibration, cross_fitted, temperature
from pytorch_vision.analysis.lessons import lessons_learned
from pytorch_vision.analysis.metrics import measure, write_predictions
from pytorch_vision.analysis.predictions import (
    Predictions,
    class_accuracy,
    confusion_matrix,
    correctly_classified,
    misclassified,
    predict,
)
from pytorch_vision.analysis.report import write_report
from pytorch_vision.analysis.trust import measure_trust
from pytorch_vision.explain.gradcam import METHODS, grad_cam
from pytorch_vision.explain.removal import baseline_maps, removal

__all__ = [
    "METHODS",
    "Predictions",
    "baseline_maps",
    "calibration",
    "class_accuracy",
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
    "write_predictions",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Find three names that moved to ``app``, a wing that this one must not import."""
    if name in ("FinishedRun", "classify_files", "compare_runs"):
        return getattr(importlib.import_module("pytorch_vision.app"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
