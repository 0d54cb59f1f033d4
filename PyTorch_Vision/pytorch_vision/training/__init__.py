"""Training and testing: a recipe and images go in, a trained classifier comes out.

``config`` is the recipe. ``trainer`` makes the steps, with the help of ``optimizers``, ``muon``,
``loss``, ``average``, ``batchnorm`` and ``pruning``. ``fit`` trains to the end, and ``checkpoint``
keeps its ``state``. ``linear_probe`` fits a new last layer first, ``evaluate`` tests, and
``lr_finder`` looks for a learning rate.
"""

from pytorch_vision.runtime.lazy import loaded_when_used
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

# two names that moved to a wing that this one must not import
MOVED = dict.fromkeys(("Output", "train_into"), "pytorch_vision.app")
__getattr__ = loaded_when_used(__name__, MOVED)
