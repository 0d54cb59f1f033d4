import pytest
from answers import made_up

from pytorch_vision.analysis import Predictions


@pytest.fixture
def predictions() -> Predictions:
    """Five images of which the second, the fourth and the fifth are misclassified."""
    shares = [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0, 0.1, 0.9], [0, 0.9, 0.1], [0.7, 0.2, 0.1]]
    return made_up([0, 1, 2, 0, 1], shares, ("a", "b", "c"))
