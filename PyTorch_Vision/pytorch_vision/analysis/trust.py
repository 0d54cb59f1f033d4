"""Two tests of how far a classifier's Grad-CAM maps can be trusted, in one call."""

from dataclasses import dataclass

import numpy as np

from pytorch_vision.analysis.predictions import Predictions, correctly_classified, misclassified
from pytorch_vision.explain import Explainer, baseline_maps, randomization, removal
from pytorch_vision.explain.removal import Removal
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine

FEWEST, SHARE = 50, 0.1  # images that are tested: a share of all, but no fewer
RANDOMIZED = 50  # images whose maps are compared with those of the randomised network


@dataclass(frozen=True, eq=False)
class Trust:
    """What two tests of Grad-CAM's maps found.

    Attributes:
        removals: what ``removal`` returned for Grad-CAM and for the baseline maps, of the
            "correctly classified" and of the "misclassified" images.
        randomized: what ``randomization`` returned for each method.
    """

    removals: dict[str, dict[str, Removal]]
    randomized: dict[str, dict[str, np.ndarray]]


def measure_trust(
    classifier: Classifier, predictions: Predictions, machine: Machine | None = None
) -> Trust:
    """Test Grad-CAM's maps by removing pixels in their order, and by randomising the network.

    A tenth of the images is tested, but at least 50; half of them are misclassified ones, if there
    are so many. They are a fair sample, as ``misclassified`` draws it. The predictions are those of
    all test images.

    Raises:
        NoMapError: the network has no map.
    """
    explainer = Explainer(classifier)
    count = max(FEWEST, round(SHARE * len(predictions)))
    errors = misclassified(predictions, count // 2)
    correct = correctly_classified(predictions, count - len(errors))
    removals = {}
    for group, chosen in {"correctly classified": correct, "misclassified": errors}.items():
        images, classes = chosen.images, chosen.predicted
        maps = {"Grad-CAM": explainer.maps(images, classes), **baseline_maps(images)}
        removals[group] = removal(classifier, images, classes, maps, machine=machine)
    few = correctly_classified(correct, RANDOMIZED)
    return Trust(removals, randomization(classifier, few.images, few.predicted))
