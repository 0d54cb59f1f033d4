"""How faithful each map is to a trained network: the table of docs/trust.md.

    python benchmarks/faithfulness.py [weights ...]

Weights are "pretrained" (the default) or files that ``train`` wrote. For each network it prints the
mean gap between the two curves of ``analysis.removal`` and its 95 % bootstrap interval, over 1,000
test images, half of them misclassified if there are so many: for four methods on two layers, with
the maps drawn where their cells lie and stretched over the image, and for three maps that know
nothing of the network. The class is the predicted one. Six minutes a network on two CPU cores with
bfloat16, many times that without.
"""

import sys
import time

import numpy as np

from pytorch_vision.analysis import (
    METHODS,
    Explainer,
    baseline_maps,
    correctly_classified,
    misclassified,
    predict,
    removal,
)
from pytorch_vision.data import load_data
from pytorch_vision.explain.removal import interval
from pytorch_vision.models import Classifier
from pytorch_vision.models.registry import describe_network

COUNT = 1000  # images, half of them misclassified, if there are so many


def main(weights: list[str]) -> None:
    data = load_data("full")
    for path in weights:
        started = time.monotonic()
        classifier = Classifier.load(path)
        predictions = predict(classifier, data)
        errors = misclassified(predictions, COUNT // 2)
        correct = correctly_classified(predictions, COUNT - len(errors))
        images = np.concatenate([correct.images, errors.images])
        classes = np.concatenate([correct.predicted, errors.predicted])
        maps = baseline_maps(images)
        for layer in ("layer4", "layer3"):
            explainer = Explainer(classifier, layer)
            for drawn in ("aligned", "stretched"):
                of_methods = explainer.maps(images, classes, METHODS, drawn == "aligned")
                names = [f"{method} {layer} {drawn}" for method in METHODS]
                maps |= zip(names, of_methods, strict=True)
        removals = removal(classifier, images, classes, maps)

        accuracy = 100 * np.mean(predictions.predicted == predictions.labels)
        print(
            f"\n{describe_network(classifier.network)}, {accuracy:.2f} % correctly classified, "
            f"{classifier}; {len(correct)} correctly classified images, {len(errors)} "
            f"misclassified; {time.monotonic() - started:.0f} s"
        )
        groups = {"correct": slice(0, len(correct)), "errors": slice(len(correct), None)}
        print(f"{'score, with its 95 % interval':32} " + "".join(f"{g:>24}" for g in groups))
        for name, one in removals.items():
            cells = []
            for which in groups.values():
                score = one.score[which]
                low, high = interval(score)
                cells.append(f"{score.mean():8.3f} ({low:6.3f} to {high:6.3f})")
            print(f"{name:32} " + " ".join(cells))


if __name__ == "__main__":
    main(sys.argv[1:] or ["pretrained"])
