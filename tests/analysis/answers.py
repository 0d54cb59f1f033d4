"""Predictions made up for a test."""

from collections.abc import Sequence

import numpy as np

from pytorch_vision.analysis import Predictions


def answered(
    labels: Sequence[int] | np.ndarray,
    predicted: Sequence[int] | np.ndarray,
    names: tuple[str, ...] = ("ant", "bee", "cow"),
    size: tuple[int, int] = (8, 8),
) -> Predictions:
    """Predictions of random images, each sure of one class."""
    count, probabilities = len(labels), np.eye(len(names), dtype=np.float32)[predicted]
    images = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
    return Predictions(images, np.asarray(labels), probabilities, np.arange(count), names)


def some_predictions(count: int) -> Predictions:
    """Random predictions of random images in three classes."""
    random = np.random.default_rng(0)
    return Predictions(
        images=random.integers(0, 256, (count, 32, 32, 3), np.uint8),
        labels=random.integers(0, 3, count),
        probabilities=random.dirichlet(np.ones(3), count).astype(np.float32).reshape(count, 3),
        indices=np.arange(count),
        class_names=("ant", "bee", "cow"),
    )
