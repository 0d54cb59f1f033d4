"""How faithful each map is to a trained network: the table of README's section on the maps.

    python benchmarks/faithfulness.py [weights ...]

Weights are "pretrained" (the default) or files that ``train`` left. For each network, on 1,000
test images, half of them misclassified if there are so many: the area between the curves of
``analysis.removal``, with 95 % bootstrap intervals over the images. It is printed for four methods
on two layers, drawn where the cells are and stretched over the image, and for three maps that know
nothing of the network. The class is the predicted one. About a quarter of an hour a network on two
CPU cores.
"""

import sys
import time

import numpy as np

from pytorch_vision.analysis import (
    METHODS,
    blind_maps,
    correctly_classified,
    grad_cam,
    interval,
    misclassified,
    predict,
    removal,
)
from pytorch_vision.data import load_data
from pytorch_vision.models import describe_network
from pytorch_vision.training import load_trained

COUNT = 1000  # images, half of them misclassified, if there are so many


def main(weights: list[str]) -> None:
    data = load_data("full")
    for path in weights:
        started = time.monotonic()
        trained = load_trained(path)
        predictions = predict(trained.model, trained.normalized(data))
        wrong = misclassified(predictions, COUNT // 2)
        right = correctly_classified(predictions, COUNT - len(wrong))
        images = np.concatenate([right.images, wrong.images])
        classes = np.concatenate([right.predicted, wrong.predicted])
        maps = {
            f"{method} {layer} {'aligned' if aligned else 'stretched'}": grad_cam(
                trained.model, images, classes, trained.mean_and_std, layer, method, aligned
            )
            for layer in ("layer4", "layer3")
            for method in METHODS
            for aligned in (True, False)
        }
        maps |= blind_maps(images)
        found = removal(trained.model, images, classes, maps, trained.mean_and_std)

        errors = np.mean(predictions.predicted != predictions.labels)
        print(
            f"\n{describe_network(trained.model)}, {100 * (1 - errors):.2f} % right, "
            f"{trained.description}; {len(right)} images classified rightly, {len(wrong)} wrongly; "
            f"{time.monotonic() - started:.0f} s"
        )
        groups = {"right": slice(0, len(right)), "wrong": slice(len(right), None)}
        print(f"{'score, with its 95 % interval':32} " + "".join(f"{g:>24}" for g in groups))
        for name, one in found.items():
            cells = []
            for which in groups.values():
                score = one.score[which]
                low, high = interval(score)
                cells.append(f"{score.mean():8.3f} ({low:6.3f} to {high:6.3f})")
            print(f"{name:32} " + " ".join(cells))


if __name__ == "__main__":
    main(sys.argv[1:] or ["pretrained"])
