import numpy as np
import pytest

from pytorch_vision.analysis import Predictions


@pytest.fixture
def predictions() -> Predictions:
    """Five images of which the second, the fourth and the fifth are misclassified."""
    return Predictions(
        images=np.arange(5, dtype=np.uint8)[:, None, None, None] + np.zeros((5, 32, 32, 3), "u1"),
        labels=np.array([0, 1, 2, 0, 1]),
        probabilities=np.array(
            [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0, 0.1, 0.9], [0, 0.9, 0.1], [0.7, 0.2, 0.1]],
            dtype=np.float32,
        ),
        indices=np.arange(5),
        class_names=("a", "b", "c"),
    )
