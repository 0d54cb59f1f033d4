"""Training and testing: a recipe and images go in, a trained classifier comes out.

``config`` says what is trained; ``optimizers``, ``pruning`` and ``progress`` are what a ``run``
consists of, which ``checkpoint`` keeps; ``fit`` is its story. ``evaluate`` tests, and
``lr_finder`` looks for a learning rate.
"""

from pytorch_vision.training.config import RECIPES, TrainConfig
from pytorch_vision.training.evaluate import Evaluation, evaluate
from pytorch_vision.training.fit import fit
from pytorch_vision.training.lr_finder import RangeTest, find_learning_rate

__all__ = [
    "RECIPES",
    "Evaluation",
    "RangeTest",
    "TrainConfig",
    "evaluate",
    "find_learning_rate",
    "fit",
]
