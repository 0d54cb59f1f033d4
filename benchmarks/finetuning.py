"""Does it help to begin with weights? Train on a folder with and without them; print both.

    python benchmarks/finetuning.py FOLDER --weights FILE [--epochs 10] [--size 32] [--seeds 1 2 3]

Prints the test accuracy of each seed from random weights (recipe ``default``) and from the file's
(recipe ``finetune``), both means, and their difference.
"""

import argparse
import contextlib
import io
import statistics

import torch

from pytorch_vision.data import ImageData, load_folder
from pytorch_vision.models import Classifier
from pytorch_vision.training import TrainConfig, fit


def accuracy(data: ImageData, config: TrainConfig, weights: str = "") -> float:
    """Return the test accuracy, in percent, of ResNet18 after a training."""
    torch.manual_seed(config.seed)
    classifier = Classifier("ResNet18", data)
    with contextlib.redirect_stdout(io.StringIO()):
        if weights:
            classifier.begin_with(weights)
        return fit(classifier, data, config).records[-1].test_accuracy


def main() -> None:
    """Print the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    data = load_folder(options.folder, options.size, "pad")
    means = []
    for name, weights, recipe in (
        ("from random weights", "", TrainConfig),
        (f"from {options.weights}", options.weights, TrainConfig.finetune),
    ):
        reached = [
            accuracy(data, recipe(epochs=options.epochs, seed=seed), weights)
            for seed in options.seeds
        ]
        means.append(statistics.mean(reached))
        print(f"{name}: {', '.join(f'{one:.2f}' for one in reached)}; mean {means[-1]:.2f} %")
    print(f"gain={means[1] - means[0]:.2f}")


if __name__ == "__main__":
    main()
