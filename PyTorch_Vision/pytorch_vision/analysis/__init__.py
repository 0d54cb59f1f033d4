"""What a classifier gets right and wrong, and what that says.

``predictions`` holds the answers; ``metrics`` measures them, and ``calibration`` their
probabilities; ``trust`` tests the maps of ``explain``. ``curves``, ``plots`` and ``galleries`` draw
all this with the help of ``drawing``; ``report`` writes the error page, ``lessons`` the
conclusions.
"""

from pytorch_vision.analysis import galleries, plots
from pytorch_vision.analysis.calibration import calibration, cross_fitted, temperature
from pytorch_vision.analysis.lessons import lessons_learned, trust_lessons
from pytorch_vision.analysis.metrics import measure, write_predictions
from pytorch_vision.analysis.predictions import (
    Predictions,
    confusion_matrix,
    correctly_classified,
    misclassified,
    predict,
)
from pytorch_vision.analysis.report import write_report
from pytorch_vision.analysis.trust import measure_trust
from pytorch_vision.explain import (
    METHODS,
    Explainer,
    NoMapError,
    baseline_maps,
    grad_cam,
    removal,
)
