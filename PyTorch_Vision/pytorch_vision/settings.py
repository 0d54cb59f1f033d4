"""Defaults that the notebook and the command line share, and settings from the environment."""

import os
from typing import Any

import torch

from pytorch_vision.data import check_choice


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


def default_plots(which: str) -> str:
    """Return "plots" for a full run, and elsewhere a folder that cannot overwrite its pictures."""
    return "plots" if check_choice(which) == "full" else f"runs/{which}/plots"


class Environment:
    """Settings with defaults, each overridden by an environment variable of one prefix.

    Args:
        prefix: which the variables begin with, such as "S8_".
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.known: list[str] = []

    def get(self, name: str, default: Any) -> Any:
        """Return the variable ``prefix + name``, or the default where it is unset or empty.

        Raises:
            ValueError: the default is a whole number and the variable is not.
        """
        variable = self.prefix + name
        self.known.append(variable)
        text = os.environ.get(variable, "").strip()
        if not text:
            return default
        if isinstance(default, int):
            if not text.removeprefix("-").isdecimal():
                raise ValueError(f"{variable} is {text!r}, expected a whole number")
            return int(text)
        return text

    def check(self) -> None:
        """Raise ValueError if the environment holds a variable of this prefix that is unknown."""
        for variable in sorted(os.environ):
            if variable.startswith(self.prefix) and variable not in self.known:
                raise ValueError(f"{variable} is not a setting; these are: {', '.join(self.known)}")
