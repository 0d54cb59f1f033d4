"""How many of CIFAR-10's test images are nearly in training too, and what they are worth.

    python benchmarks/duplicates.py [data]

The network is the one that comes with PyTorch_Vision, in float32. By eye, arXiv 1902.00423 counted
3.3 % of the test images. Where the classes of a pair differ, it most probably is none.
"""

import sys
import time

import numpy as np

from pytorch_vision.analysis import predict
from pytorch_vision.data import find_duplicates, load_data
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine


def main() -> None:
    data = load_data("full", sys.argv[1] if len(sys.argv) > 1 else "data")
    start = time.perf_counter()
    found = find_duplicates(data)
    print(f"{found.describe(0)}\n({time.perf_counter() - start:.1f} s)")
    twins = found.in_training
    pairs = [(a, b) for a, b, _ in found.pairs if a < len(data.train_labels) <= b]
    equal = np.mean([found.class_name(a) == found.class_name(b) for a, b in pairs])
    print(f"{len(pairs):,} pairs across, {equal:.1%} of them of one class")
    predictions = predict(Classifier.load("pretrained"), data, Machine(precision="32-true"))
    right = predictions.predicted == predictions.labels
    for name, some in {"all": twins | True, "near in training": twins, "others": ~twins}.items():
        share = f"{right[some].sum():6,} right, {right[some].mean():.2%}"
        print(f"{name:16} {some.sum():6,} images, {share}")
    print(f"twin_share={twins.mean():.4f} of_right={twins[right].mean():.4f}")


if __name__ == "__main__":
    main()
