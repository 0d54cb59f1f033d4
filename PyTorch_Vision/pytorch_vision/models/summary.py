"""The layer table of a model."""

import contextlib
import copy
import io

import torch
import torchsummary
from torch import nn


def print_summary(model: nn.Module, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
    """Print torchsummary's table: each layer's output shape and parameters, and the totals.

    torchsummary runs the model, which in training mode would move BatchNorm's running statistics
    and draw from the global random state; the table is made from a copy in evaluation mode, with
    the random state put back, so the model is left as it was. Where torchsummary cannot list a
    network's layers, as with attention, there is one line instead.

    Args:
        model: the network, on any device.
        image_shape: (channels, height, width) of one image.
    """
    duplicate = copy.deepcopy(model).cpu().eval()
    table = io.StringIO()
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(table):
            torchsummary.summary(duplicate, image_shape, device="cpu")
    except (AttributeError, TypeError, KeyError):  # it expects each layer to return one tensor
        total = sum(parameter.numel() for parameter in model.parameters())
        print(f"{type(model).__name__}: {total:,} parameters (torchsummary cannot list its layers)")
        return
    print(table.getvalue(), end="")
