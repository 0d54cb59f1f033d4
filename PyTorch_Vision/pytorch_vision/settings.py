"""Defaults that the notebook and the command line share, and settings from the environment."""

import os
from dataclasses import dataclass, fields
from typing import Any

import torch

from pytorch_vision.analysis.predict import Order, check_order
from pytorch_vision.data.cifar10 import check_choice


def default_data() -> str:
    """Return "full" where a CUDA GPU makes 50,000 images a matter of minutes, else "sample"."""
    return "full" if torch.cuda.is_available() else "sample"


def default_batch_size(which: str) -> int:
    """Return 512, or 32 for up to 5,000 images, of which larger batches give too few steps.

    Raises:
        ValueError: ``which`` is nothing that ``data.load_data`` knows; so with the next.
    """
    which = check_choice(which)
    small = which == "sample" or (which.isdecimal() and int(which) <= 5000)
    return 32 if small else 512


def default_output(which: str, weights: str = "") -> str:
    """Return the notebook's own folder for a full training, and for all else one under ``runs``.

    So nothing but a full training can overwrite the pictures of one.
    """
    return "." if check_choice(which) == "full" and not weights else f"runs/{which}"


@dataclass(frozen=True)
class Settings:
    """What the notebook can be told.

    Attributes:
        data: "full", "sample" or a number of training images; "auto" is ``default_data()``.
        epochs: passes over the training images; 0 only tests.
        batch_size: images a step; 0 is ``default_batch_size(data)``.
        seed: of the first weights, the order and the augmentation.
        weights: "pretrained" or a weights file, to skip the training; empty to train.
        order: which errors to show, as ``analysis.misclassified`` has it.
        output: folder for pictures, history and weights; empty is ``default_output(data,
            weights)``.
        root: folder that CIFAR-10 is kept in.
        checkpoints: folder for the training's state; empty for none.
        devices: how many train together, or "auto" for all CUDA devices.

    Raises:
        ValueError: there is no such data, order or number of devices.
    """

    data: str = "auto"
    epochs: int = 20
    batch_size: int = 0
    seed: int = 0
    weights: str = ""
    order: Order = "first"
    output: str = ""
    root: str = "data"
    checkpoints: str = ""
    devices: int | str = 1

    def __post_init__(self) -> None:
        data = default_data() if self.data == "auto" else check_choice(self.data)
        check_order(self.order)
        chosen = {
            "data": data,
            "batch_size": self.batch_size or default_batch_size(data),
            "output": self.output or default_output(data, self.weights),
            "devices": _check_devices(self.devices),
        }
        for name, value in chosen.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_environment(cls, prefix: str, **values: Any) -> "Settings":
        """Return settings of which each may be overridden by an environment variable.

        Args:
            prefix: which the variables begin with: with "S8_", ``S8_EPOCHS`` overrides epochs.
                An empty variable overrides nothing.
            values: the settings where there is no variable.

        Raises:
            ValueError: a variable of this prefix is unknown, or holds no whole number where one
                is wanted; or as for ``Settings``.
        """
        known = {prefix + field.name.upper(): field for field in fields(cls)}
        for variable in sorted(os.environ):
            if variable.startswith(prefix) and variable not in known:
                raise ValueError(f"{variable} is not a setting; these are: {', '.join(known)}")
        for variable, field in known.items():
            text = os.environ.get(variable, "").strip()
            if not text:
                continue
            if field.type is int and not text.removeprefix("-").isdecimal():
                raise ValueError(f"{variable} is {text!r}, expected a whole number")
            values[field.name] = int(text) if field.type is int else text
        return cls(**values)


def _check_devices(wanted: int | str) -> int | str:
    """Return a number of devices, or "auto"."""
    if wanted == "auto":
        return wanted
    if not str(wanted).isdecimal() or int(wanted) < 1:
        raise ValueError(f"devices is {wanted!r}, expected a number from 1 on, or 'auto'")
    return int(wanted)
