"""Two tests, in one call, of how far a classifier's Grad-CAM maps can be trusted."""

from dataclasses import dataclass

import numpy as np

from pytorch_vision.analysis.predictions import Predictions, correctly_classified, misclassified
from pytorch_vision.explain import Explainer, baseline_maps, randomization, removal
from pytorch_vision.explain.geometry import MapGeometry
from pytorch_vision.explain.removal import Removal
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine

FEWEST, SHARE = 50, 0.1  # of the tested images: their least number, and their share of all
RANDOMIZED = 50  # images whose maps are compared with those of the randomised network


@dataclass(frozen=True, eq=False)
class Trust:
    """The results of two tests of Grad-CAM maps.

    Attributes:
        removals: for the "correctly classified" and for the "misclassified" images, what
            ``removal`` returned for Grad-CAM and for the baseline maps.
        randomized: what ``randomization`` returned for each method.
        geometry: where the cells of the maps lie on the image.
    """

    removals: dict[str, dict[str, Removal]]
    randomized: dict[str, dict[str, np.ndarray]]
    geometry: MapGeometry


def measure_trust(
    classifier: Classifier, predictions: Predictions, machine: Machine | None = None
) -> Trust:
    """Test Grad-CAM maps by removing pixels in their order, and by randomising the network.

    ``predictions`` cover all test images. A tenth of them is tested, but at least 50: half of these
    are errors, if there are enough, and each half is a fair sample (see ``misclassified``).

    Raises:
        NoMapError: the network gives no map.
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
    randomized = randomization(classifier, few.images, few.predicted)
    return Trust(removals, randomized, explainer.geometry)
