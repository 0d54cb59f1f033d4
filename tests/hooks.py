"""Hooks on a network in training, with which tests observe or disturb a run."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pytorch_vision.data import ImageData, Normalization, eval_batches


def at_step(network: nn.Module, number: int, act: Callable[[Tensor], object]) -> None:
    """Call ``act`` with the images of one training step, counted from 1, during that step.

    Hooks do not change a network's fingerprint.
    """
    steps = itertools.count(1)

    def count(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training and next(steps) == number:
            act(inputs[0])

    network.register_forward_pre_hook(count)


def batches_shown(network: nn.Module, training: bool = True) -> list[Tensor]:
    """Return a list to which every training (or test) step appends its images."""
    batches: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if module.training is training:
            batches.append(inputs[0].cpu())

    network.register_forward_pre_hook(note)
    return batches


def recognized(batch: Tensor, data: ImageData, normalization: Normalization) -> list[int]:
    """Return the indices of the training images in a batch without augmentation."""
    every = torch.cat(list(eval_batches(data.train_images, normalization, torch.device("cpu"))))
    return torch.cdist(batch.flatten(1), every.flatten(1)).argmin(1).tolist()
