"""A learning-rate range test: one short training in which the rate rises until the loss diverges.

Leslie Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import lightning_fabric
import numpy as np
from torch.optim.lr_scheduler import LambdaLR

from pytorch_vision.data import ImageData
from pytorch_vision.data.loaders import Batch
from pytorch_vision.models import Classifier
from pytorch_vision.models.module_utils import copied
from pytorch_vision.runtime import Machine, Processes
from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.devices import (
    device_settings,
    gradients_on,
    make_fabric,
    memory_explained,
    random_state_kept,
)
from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.run import Run

SMOOTHING = 0.9  # of the running mean of the losses
DIVERGED = 1.0  # above the smallest running mean: the right class is e times less probable
FEWEST = 5  # steps, below which there is no fall to see
Rate = Literal["learning_rate", "muon_learning_rate"]


@dataclass(frozen=True, eq=False)
class RangeTest:
    """What a range test found.

    Attributes:
        rate: which of ``TrainConfig``'s rates rose: "learning_rate" or
            "muon_learning_rate".
        rates: float64 (S,), at each step.
        losses: float64 (S,), a running mean of the training loss.
        suggestion: the rate at which that is smallest, before it rises again: the peak rate to
            try first. Nothing is taken off, as in a run only a few steps have the peak rate.
            The first ten steps do not count: their mean is one of few images, and can be small
            by chance.
    """

    rate: Rate
    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def find_learning_rate(
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig | None = None,
    machine: Machine | None = None,
    lowest: float = 1e-4,
    highest: float = 10.0,
    steps: int = 100,
) -> RangeTest:
    """Train a copy of a classifier for some steps, the rate rising evenly on a logarithmic scale.

    The rate is Muon's if ``config.optimizer`` is "muon", and SGD's then rises with it, in the
    ratio that the two have in ``config``: at its peak from the start, SGD would diverge before
    the filters have learned anything. It is SGD's if ``config.optimizer`` is "sgd", or if there
    are no filters. All else is the run's own: batches, augmentation, loss. It ends when the loss
    diverges. Classifier and random state are left as they were.

    Args:
        classifier: as for ``fit``.
        data: the training images.
        config: of the run that a rate is wanted for.
        machine: ``Machine()`` if None; one device is used.
        lowest, highest: between which the rate rises.
        steps: how many batches it takes; epochs follow each other if one has fewer.

    Raises:
        ValueError: the rates or the number of steps make no sense, or what is true of ``fit``.
        FloatingPointError: the loss is not finite from the start.
        MemoryError: the GPU has too little memory.
    """
    lowest, highest, steps = float(lowest), float(highest), whole_number(steps, "steps")
    if not 0 < lowest < highest < math.inf or steps < 10:
        raise ValueError(
            f"lowest={lowest}, highest={highest}, steps={steps}: expected 0 < lowest < highest and "
            "10 steps or more"
        )
    classifier.check(data)
    config = replace(config or TrainConfig(), average_weights=False)
    fabric = make_fabric(machine)
    with (
        memory_explained(f"batches of {config.batch_size_for(len(data.train_labels))} images"),
        device_settings(fabric.device),
        random_state_kept(fabric.device),
        warnings.catch_warnings(),
        gradients_on(),
    ):
        # float16's gradient scaler skips its first steps
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        rate, losses = _range_test(fabric, classifier, data, config, lowest, highest, steps)
    rates = lowest * (highest / lowest) ** (np.arange(len(losses)) / (steps - 1))
    if len(losses) < FEWEST:
        raise FloatingPointError(
            f"the loss diverges within {len(losses)} steps, from {rate} {lowest:g} on: begin lower"
        )
    return RangeTest(rate, rates, losses, _suggested(rates, losses))


def _range_test(
    fabric: lightning_fabric.Fabric,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    lowest: float,
    highest: float,
    steps: int,
) -> tuple[Rate, np.ndarray]:
    """Train the copy, and return which rate rose, and the running mean of the losses.

    The copy is in no frame above this one: ``memory_explained`` could not clear it there.
    """
    duplicate = classifier.with_network(copied(classifier.network))
    run = Run(Processes(fabric), duplicate, data, config)
    run.begin_epoch()
    return _raise_rates(run, lowest, highest, steps), _losses(run, steps)


def _raise_rates(run: Run, lowest: float, highest: float, steps: int) -> Rate:
    """Let all rates rise, in the ratio of their peaks; return which begins at ``lowest``."""
    optimizers = [schedule.optimizer for schedule in run.schedulers]  # SGD's first
    peaks = [run.config.peak_learning_rate, run.config.muon_learning_rate][: len(optimizers)]
    growth = (highest / lowest) ** (1 / (steps - 1))

    def factor(step: int) -> float:
        return lowest / peaks[-1] * growth**step

    for optimizer, peak in zip(optimizers, peaks, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = peak
    run.schedulers = [LambdaLR(optimizer, factor) for optimizer in optimizers]
    return "muon_learning_rate" if len(optimizers) == 2 else "learning_rate"


def _losses(run: Run, steps: int) -> np.ndarray:
    """Train, and return the running mean of the losses until it diverges."""
    mean, smallest, before, losses = 0.0, math.inf, 0.0, []
    batches = _batches(run)
    for step in Bar(range(steps), desc="Range test"):
        images, labels = next(batches)
        run.step(images, labels)
        total = float(run.sums[0])  # waits for the device: whether it diverges must be known now
        loss, before = (total - before) / len(labels), total
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or smoothed > smallest + DIVERGED:
            break
        smallest = min(smallest, smoothed)
        losses.append(smoothed)
    return np.array(losses)


def _batches(run: Run) -> Iterator[Batch]:
    epoch = 0
    while True:
        run.progress.batch = 0
        yield from run.loader.epoch(epoch)
        epoch += 1


def _suggested(rates: np.ndarray, losses: np.ndarray) -> float:
    """Return the rate of the smallest loss, leaving out the first ones if there are others."""
    few = round(1 / (1 - SMOOTHING))  # steps, before there are as many as the mean looks back on
    start = few if len(losses) > few else 0
    return float(rates[start + losses[start:].argmin()])
