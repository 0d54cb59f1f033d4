"""Training and testing: a configuration and images go in, a trained model and its history come out.

``config`` and ``devices`` say how and on what; ``launch`` starts ``processes``, which train
together; ``optimizers``, ``history`` and ``checkpoint`` are what a ``run`` consists of; ``fit`` is
its story. ``evaluate`` tests, ``pretrained`` and ``output`` keep.
"""

from pytorch_vision.training.config import RECIPES, TrainConfig
from pytorch_vision.training.devices import (
    describe_hardware,
    device_settings,
    make_fabric,
    memory_explained,
    place,
    random_state_kept,
)
from pytorch_vision.training.evaluate import Evaluation, evaluate, logits_of
from pytorch_vision.training.files import written_whole
from pytorch_vision.training.fit import fit
from pytorch_vision.training.history import EpochRecord, History
from pytorch_vision.training.interrupts import ended_by_signals
from pytorch_vision.training.launch import start_processes
from pytorch_vision.training.lr_finder import RateTest, find_rate
from pytorch_vision.training.output import Output
from pytorch_vision.training.pretrained import (
    PRETRAINED,
    TrainedModel,
    begin_with,
    load_trained,
    save_trained,
)
from pytorch_vision.training.processes import Processes, ProcessLostError, only_first_prints
from pytorch_vision.training.recipe import CheckpointError

__all__ = [
    "PRETRAINED",
    "RECIPES",
    "CheckpointError",
    "EpochRecord",
    "Evaluation",
    "History",
    "Output",
    "ProcessLostError",
    "Processes",
    "RateTest",
    "TrainConfig",
    "TrainedModel",
    "begin_with",
    "describe_hardware",
    "device_settings",
    "ended_by_signals",
    "evaluate",
    "find_rate",
    "fit",
    "load_trained",
    "logits_of",
    "make_fabric",
    "memory_explained",
    "only_first_prints",
    "place",
    "random_state_kept",
    "save_trained",
    "start_processes",
    "written_whole",
]
