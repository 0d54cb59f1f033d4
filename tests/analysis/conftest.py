from collections.abc import Callable

import numpy as np
import pytest

from pytorch_vision.analysis import Predictions


@pytest.fixture
def some_predictions() -> Callable[[int], Predictions]:
    """A function that makes so many predictions, of random images in three classes."""
    return _some_predictions


def _some_predictions(count: int) -> Predictions:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), count).astype(np.float32).reshape(count, 3)
    return Predictions(
        images=random.integers(0, 256, (count, 32, 32, 3), np.uint8),
        labels=random.integers(0, 3, count),
        probabilities=probabilities,
        indices=np.arange(count),
        class_names=("ant", "bee", "cow"),
    )
