"""Predictions made up for a test."""

from collections.abc import Sequence

import numpy as np

from pytorch_vision.analysis import Predictions

NAMES = ("ant", "bee", "cow")
Labels = Sequence[int] | np.ndarray


def made_up(
    labels: Labels,
    probabilities: np.ndarray | list[list[float]],
    names: tuple[str, ...] = NAMES,
    size: tuple[int, int] = (8, 8),
) -> Predictions:
    """Predictions of random images."""
    count, shares = len(labels), np.asarray(probabilities, np.float32)
    images = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
    return Predictions(images, np.asarray(labels), shares, np.arange(count), names)


def answered(
    labels: Labels,
    predicted: Labels,
    names: tuple[str, ...] = NAMES,
    size: tuple[int, int] = (8, 8),
) -> Predictions:
    """Predictions of random images, each sure of one class."""
    return made_up(labels, np.eye(len(names))[predicted], names, size)


def some_predictions(count: int) -> Predictions:
    """Random predictions of random images in three classes."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), count).reshape(count, 3)
    return made_up(random.integers(0, 3, count), probabilities, size=(32, 32))
