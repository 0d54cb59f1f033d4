"""The layer table of a model."""

import copy

import torch
import torchsummary
from torch import nn


def print_summary(model: nn.Module, image_shape: tuple[int, int, int] = (3, 32, 32)) -> None:
    """Print torchsummary's table: each layer's output shape and parameters, and the totals.

    torchsummary runs the model, which in training mode would move BatchNorm's running statistics
    and draw from the global random state; the table is made from a copy in evaluation mode, with
    the random state put back, so the model is left as it was.

    Args:
        model: the network, on any device.
        image_shape: (channels, height, width) of one image.
    """
    duplicate = copy.deepcopy(model).cpu().eval()
    with torch.random.fork_rng(devices=[]):
        torchsummary.summary(duplicate, image_shape, device="cpu")
