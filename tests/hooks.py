"""Hooks on a network in training, with which tests observe or disturb a run."""

import importlib
import itertools
import os
import signal
from collections.abc import Callable

import lightning_fabric
import pytest
import torch
from lightning_fabric.plugins import MixedPrecision
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


def interrupt_at(network: nn.Module, number: int) -> None:
    """Interrupt this process in the middle of a training step, counted from 1."""
    at_step(network, number, lambda _: os.kill(os.getpid(), signal.SIGINT))


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


def use_float16(monkeypatch: pytest.MonkeyPatch, scale: float = 65536.0) -> torch.amp.GradScaler:
    """Make ``fit`` train in float16 with a gradient scaler on the CPU, as on an older GPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1, plugins=[precision])
    fit_module = importlib.import_module("pytorch_vision.training.fit")  # not the function
    monkeypatch.setattr(fit_module, "start_processes", lambda _machine: fabric)
    return scaler
