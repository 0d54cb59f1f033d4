"""The state of a training, in plain values and tensors, for a checkpoint."""

from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from pytorch_vision.models.module_utils import load_state, tensors_of
from pytorch_vision.runtime.devices import random_state, set_random_state
from pytorch_vision.training.progress import Progress
from pytorch_vision.training.trainer import Trainer


def state_of_training(trainer: Trainer) -> dict[str, Any]:
    """Return the whole state of a training between two batches, over all processes."""
    return {
        "parts": {
            name: tensors_of(one) if isinstance(one, nn.Module) else _plain(one.state_dict())
            for name, one in _stateful(trainer).items()
        },
        "progress": asdict(trainer.progress),
        "sums": trainer.metrics.total(),
        "random": random_state(trainer.fabric.device),
    }


def restore_training(trainer: Trainer, state: dict[str, Any]) -> None:
    """Load what ``state_of_training`` returned into a trainer.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError, AttributeError: ``state`` is something else.
    """
    for name, one in _stateful(trainer).items():
        saved = state["parts"][name]
        if name == "precision" and not saved:  # only float16 has a scaler with a state
            continue
        if isinstance(one, nn.Module):
            load_state(one, saved)
        else:
            one.load_state_dict(saved)
    trainer.progress = Progress.from_dict(state["progress"])
    sums = state["sums"] * trainer.processes.is_main  # they cover all processes already
    trainer.metrics.sums = sums.to(trainer.fabric.device)
    set_random_state(state["random"], trainer.fabric.device)


def _stateful(trainer: Trainer) -> dict[str, Any]:
    """Return the objects that have a state dict, by their names in a checkpoint."""
    averaged = trainer.average.network
    return {
        "network": trainer.network,
        **({} if averaged is trainer.network else {"averaged": averaged}),
        **({"pruning": trainer.pruning} if trainer.config.pruning > 0 else {}),
        "optimizer": trainer.optimizer,
        **{f"scheduler {number}": one for number, one in enumerate(trainer.schedulers)},
        "precision": trainer.fabric.strategy.precision,
    }


def _plain(state: Any) -> Any:
    """Return a state with NumPy's numbers, which no checkpoint may hold, replaced by Python's."""
    if isinstance(state, np.generic):
        return state.item()
    if type(state) is dict:
        return {key: _plain(value) for key, value in state.items()}
    return type(state)(map(_plain, state)) if type(state) in (list, tuple) else state
