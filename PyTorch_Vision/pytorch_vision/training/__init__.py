"""Training and testing: a recipe and images go in, a trained classifier comes out.

``config`` is the recipe. ``trainer`` makes the steps, with the help of ``optimizers``, ``muon``,
``loss``, ``average``, ``batchnorm`` and ``pruning``. ``fit`` trains to the end, and ``checkpoint``
keeps its ``state``. ``linear_probe`` fits a new last layer first, ``evaluate`` tests, and
``lr_finder`` looks for a learning rate.
"""

import importlib
from typing import Any

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


def __getattr__(name: str) -> Any:
    """Find two names that moved to ``app``, a wing that this one must not import."""
    if name in ("Output", "train_into"):
        return getattr(importlib.import_module("pytorch_vision.app"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
