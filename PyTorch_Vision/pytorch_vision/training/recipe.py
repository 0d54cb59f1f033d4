"""What a run is made of: settings, data and network, by which a checkpoint is known."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from pytorch_vision.data import ImageData
from pytorch_vision.data.images import fingerprint
from pytorch_vision.training.config import TrainConfig

LONGER = (
    " A run cannot be made longer or shorter, as its learning rates fall to zero at its last "
    "epoch: to train on after it, begin a new run with its weights."
)


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says why and what to do about it."""


def check_recipe(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Compare what a checkpoint was trained with and what it is to be continued with.

    Raises:
        CheckpointError: they differ; the message names each difference.
    """
    missing = "not there"
    differences = [
        f"{name} was {saved.get(name, missing)!r} and is {current.get(name, missing)!r}"
        for name in sorted(saved.keys() | current.keys())
        if saved.get(name, missing) != current.get(name, missing)
    ]
    if differences:
        longer = saved.get("epochs") != current.get("epochs")
        raise CheckpointError(
            f"{path} belongs to another run: {'; '.join(differences)}. It was left "
            "as it is; set the old values again, move it away, or name another folder."
            + (LONGER if longer else "")
        )


def run_recipe(config: TrainConfig, data: ImageData, model: nn.Module) -> dict[str, Any]:
    """Return what must be equal in a run and in the checkpoint that it continues."""
    recipe = asdict(config)
    for name in ("accelerator", "devices", "precision", "compile"):
        del recipe[name]
    recipe["augmentation"]["steps"] = repr(config.augmentation.steps)
    return {
        **recipe,
        "data": f"{data.name} ({fingerprint(data)[:16]})",
        "model": _describe_model(model),
    }


def _describe_model(model: nn.Module) -> str:
    """Name a model's kind, its size, and a hash of its layers with all their settings."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = hashlib.sha256(str(model).encode()).hexdigest()[:16]
    return f"{type(model).__name__} with {parameters:,} parameters (layers {layers})"
