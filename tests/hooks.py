"""What tests see of a training, and how they disturb it: by hooks on its network."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytorch_vision.data import ImageData, Normalization, eval_batches


def at_step(network: nn.Module, number: int, act: Callable[[Tensor], object]) -> None:
    """Have something happen in the middle of a training step, counted from 1.

    Args:
        network: that is trained. Its hooks are no part of what a checkpoint is known by.
        act: is given the step's images, as the network is.
    """
    steps = itertools.count(1)

    def count(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training and next(steps) == number:
            act(inputs[0])

    network.register_forward_pre_hook(count)


def batches_shown(network: nn.Module, training: bool = True) -> list[Tensor]:
    """Return a list that grows by the images of every step of a training, or of a test."""
    batches: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training is training:
            batches.append(inputs[0].cpu())

    network.register_forward_pre_hook(note)
    return batches


def recognized(batch: Tensor, data: ImageData, normalization: Normalization) -> list[int]:
    """Return which training images make up a batch that was not augmented."""
    every = torch.cat(list(eval_batches(data.train_images, normalization, torch.device("cpu"))))
    return torch.cdist(batch.flatten(1), every.flatten(1)).argmin(1).tolist()
