"""The state of a training: what a checkpoint holds of it, in plain values and tensors."""

from dataclasses import asdict
from typing import Any

import numpy as np
from torch import nn

from pytorch_vision.models.module_utils import load_state, tensors_of
from pytorch_vision.runtime.devices import random_state, set_random_state
from pytorch_vision.training.progress import Progress
from pytorch_vision.training.trainer import Trainer


def state_of_training(trainer: Trainer) -> dict[str, Any]:
    """Return all that makes up a training between two batches, over all processes."""
    parts = {
        name: tensors_of(part) if isinstance(part, nn.Module) else _plain(part.state_dict())
        for name, part in _parts(trainer).items()
    }
    return {
        "parts": parts,
        "progress": asdict(trainer.progress),
        "sums": trainer.metrics.total(),
        "random": random_state(trainer.fabric.device),
    }


def restore_training(trainer: Trainer, state: dict[str, Any]) -> None:
    """Put what ``state_of_training`` returned into a trainer.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: it is something else.
    """
    for name, part in _parts(trainer).items():
        saved = state["parts"][name]
        if not isinstance(saved, dict):
            raise TypeError(f"{name} is {type(saved).__name__}")
        if name == "precision" and not saved:  # only float16 has a scaler with a state
            continue
        if part in trainer.schedulers:  # torch would take any dictionary
            _check_alike(part.state_dict(), saved)
        if isinstance(part, nn.Module):
            load_state(part, saved)
        else:
            part.load_state_dict(saved)
    trainer.progress = Progress.from_dict(state["progress"])
    sums = state["sums"] * trainer.processes.is_main  # the others' images are in it already
    trainer.metrics.sums = sums.to(trainer.fabric.device)
    set_random_state(state["random"], trainer.fabric.device)


def _parts(trainer: Trainer) -> dict[str, Any]:
    """Return everything with a state of its own, by the name that it has in a checkpoint."""
    averaged = trainer.average.network
    return {
        "network": trainer.network,
        **({} if averaged is trainer.network else {"averaged": averaged}),
        **({"pruning": trainer.pruning} if trainer.config.pruning > 0 else {}),
        "optimizer": trainer.optimizer,
        **{f"scheduler {number}": one for number, one in enumerate(trainer.schedulers)},
        "precision": trainer.fabric.strategy.precision,
    }


def _check_alike(own: dict[str, Any], saved: dict[str, Any]) -> None:
    """Raise TypeError unless two dictionaries have the same keys, with values of the same types."""
    kinds = [{name: type(value) for name, value in part.items()} for part in (own, saved)]
    if kinds[0] != kinds[1]:
        raise TypeError(f"a schedule has {kinds[1]}")


def _plain(state: Any) -> Any:
    """Return a state with Python's numbers in place of NumPy's, which no checkpoint may hold."""
    if isinstance(state, np.generic):
        return state.item()
    if type(state) is dict:
        return {key: _plain(value) for key, value in state.items()}
    return type(state)(map(_plain, state)) if type(state) in (list, tuple) else state
