"""The learning-rate range test: a short training whose rate rises until the loss diverges.

Leslie Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import lightning_fabric
import numpy as np
from torch.optim.lr_scheduler import LambdaLR

from pytorch_vision.data import ImageData
from pytorch_vision.data.loaders import Batch
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine, Processes
from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.devices import make_fabric, memory_explained
from pytorch_vision.runtime.terminal import Bar
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.linear_probe import fit_last_layer, partly_frozen
from pytorch_vision.training.trainer import Trainer, training_settings

SMOOTHING = 0.9  # of the running mean of the losses
DIVERGED = 1.0  # above the smallest running mean: the right class is e times less probable
FEWEST = 5  # steps that show a falling loss


@dataclass(frozen=True, eq=False)
class RangeTest:
    """The result of a range test.

    Attributes:
        rate: the setting of ``TrainConfig`` that rose: "learning_rate" or "muon_learning_rate".
        rates: float64 (S,), its value at each step.
        losses: float64 (S,), a running mean of the training loss.
        suggestion: the rate of the smallest mean loss: the peak rate to try first. It is not
            divided by 10, as by other finders, because few steps of a run have the peak rate. The
            first ten steps do not count, as a mean over few images can be small by chance.
        settings: the arguments of ``TrainConfig`` for a training with the suggestion: "optimizer"
            and the peaks of all its rates, in the ratio that they had in the test; and "transfer"
            and "train" if the recipe sets them.
    """

    rate: str
    rates: np.ndarray
    losses: np.ndarray
    suggestion: float
    settings: dict[str, str | float] = field(default_factory=dict)


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

    The copy is trained as ``fit`` would train the classifier: with its batches, augmentation and
    loss, and near the weights that it begins with if the recipe says so. Where an optimizer has two
    rates, both rise, in the ratio that they have in the recipe: at its peak from the start, SGD
    beside Muon would diverge before the filters have learned anything. The test ends when the loss
    diverges. Classifier and random state are unchanged afterwards.

    Args:
        classifier: as for ``fit``.
        data: the training images.
        config: of the run that a rate is wanted for.
        machine: ``Machine()`` if None; one device is used.
        lowest, highest: the range of the rate.
        steps: the number of batches; epochs follow each other if one has fewer.

    Raises:
        ValueError: the rates or the number of steps are out of range, or as for ``fit``.
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
        training_settings(fabric.device),
    ):
        peaks, losses = _range_test(fabric, classifier, data, config, lowest, highest, steps)
    rate = list(peaks)[-1]
    rates = lowest * (highest / lowest) ** (np.arange(len(losses)) / (steps - 1))
    if len(losses) < FEWEST:
        raise FloatingPointError(
            f"the loss diverges within {len(losses)} steps, from {rate} {lowest:g} on: begin lower"
        )
    few = round(1 / (1 - SMOOTHING))  # the number of steps that the mean is over
    start = few if len(losses) > few else 0
    suggestion = float(rates[start + losses[start:].argmin()])
    settings: dict[str, str | float] = {"optimizer": config.optimizer}
    settings |= {"transfer": config.transfer} if config.transfer != "no" else {}
    settings |= {"train": config.train} if config.train != "all" else {}
    settings |= {name: peak * suggestion / peaks[rate] for name, peak in peaks.items()}
    return RangeTest(rate, rates, losses, suggestion, settings)


def _range_test(
    fabric: lightning_fabric.Fabric,
    classifier: Classifier,
    data: ImageData,
    config: TrainConfig,
    lowest: float,
    highest: float,
    steps: int,
) -> tuple[dict[str, float], np.ndarray]:
    """Train a copy; return the recipe's peak rates and the running mean of the losses.

    No frame above this one refers to the copy, as ``memory_explained`` could not clear it.
    """
    duplicate = classifier.copy()
    fabric.to_device(duplicate.network)
    adapter = duplicate.adapted(fabric)
    fit_last_layer(fabric, adapter, duplicate, data, config)
    with partly_frozen(adapter, duplicate.size, config):
        trainer = Trainer(Processes(fabric), duplicate, data, config, adapter)
        names = config.rates[: len(trainer.schedulers)]
        peaks = {name: config.chosen(name) for name in names}
        growth = (highest / lowest) ** (1 / (steps - 1))
        *_, last = peaks.values()
        optimizers = [schedule.optimizer for schedule in trainer.schedulers]
        for optimizer, peak in zip(optimizers, peaks.values(), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] = peak
        trainer.schedulers = [
            LambdaLR(optimizer, lambda step: lowest / last * growth**step)
            for optimizer in optimizers
        ]
        trainer.begin_epoch()
        return peaks, _losses(trainer, steps)


def _losses(trainer: Trainer, steps: int) -> np.ndarray:
    """Train, and return the running mean of the losses until it diverges."""
    mean, smallest, before, losses = 0.0, math.inf, 0.0, []
    batches = _batches(trainer)
    for step in Bar(range(steps), desc="Range test"):
        images, labels = next(batches)
        trainer.step(images, labels)
        total = float(trainer.metrics.sums[0])  # waits for the device
        loss, before = (total - before) / len(labels), total
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or smoothed > smallest + DIVERGED:
            break
        smallest = min(smallest, smoothed)
        losses.append(smoothed)
    return np.array(losses)


def _batches(trainer: Trainer) -> Iterator[Batch]:
    for epoch in itertools.count():
        trainer.progress.batch = 0
        yield from trainer.loader.epoch(epoch)
