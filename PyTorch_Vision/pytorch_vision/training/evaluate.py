"""Testing: one forward pass of each test image, without augmentation."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Adapter
from pytorch_vision.models.inference import (
    BATCH,
    check_finite,
    images_at_once,
    inference_machine,
    inference_settings,
    logits_of,
)
from pytorch_vision.runtime import Machine, Processes
from pytorch_vision.runtime.devices import make_fabric, memory_explained
from pytorch_vision.runtime.processes import part_of


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy on the test images.

    Attributes:
        loss: the mean cross-entropy; NaN without test images.
        correct: the number of correctly classified images, out of ``count``.
        scale: the fraction of their height and width at which the images were shown.
        only: the class that all images were taken for, if they are of several classes.
    """

    loss: float
    correct: int
    count: int
    scale: float = 1.0
    only: str | None = None

    @property
    def accuracy(self) -> float:
        """In percent; NaN without test images."""
        return 100 * self.correct / self.count if self.count else math.nan

    def __str__(self) -> str:
        if not self.count:
            return "No test: there are no test images"
        return (
            f"Test set: Average loss: {self.loss:.4f}, "
            f"Accuracy: {self.correct}/{self.count} ({self.accuracy:.2f}%)"
            + (f" at {self.scale:g} of their size" if self.scale < 1 else "")
            + (f", all taken for {self.only!r}" if self.only is not None else "")
        )


def evaluate(classifier: Classifier, data: ImageData, machine: Machine | None = None) -> Evaluation:
    """Test a classifier on the test images: one forward pass each, no augmentation.

    The network is moved to the device and stays there; its layers keep their modes, its weights
    their memory format.

    Raises:
        FloatingPointError: the loss is NaN.
        MemoryError: there is too little memory.
        ValueError: the data has other classes or another size, or the network does not take images
            of that size or does not return one logit for each class.
    """
    classifier.check(data)
    fabric = make_fabric(inference_machine(machine))
    with memory_explained(), inference_settings(fabric.device), classifier.on(fabric) as adapter:
        result = evaluate_on(Processes(fabric), classifier, data, adapter)
        assert result is not None  # nothing interrupts it
        return result


def evaluate_on(
    processes: Processes,
    classifier: Classifier,
    data: ImageData,
    adapter: Adapter,
    interrupted: Callable[[], bool] = lambda: False,
    scale: float = 1.0,
    train_batch_size: int = BATCH,
) -> Evaluation | None:
    """Test a classifier whose network is on Fabric's device; return None if interrupted.

    The images are shown at ``scale`` of their height and width, in batches that take no more memory
    than training batches. Each process tests a shard of them; all return the same result.
    Raises FloatingPointError if the loss is NaN.
    """
    fabric, count = processes.fabric, len(data.test_images)
    shard = part_of(count, processes.rank, processes.world_size)
    labels = torch.from_numpy(data.test_labels[shard]).to(fabric.device)
    loss_sum = torch.zeros((), device=fabric.device)
    predicted: list[Tensor] = []
    size = images_at_once(data.size, fabric.device, train_batch_size)
    logits_by_batch = logits_of(
        adapter, data.test_images[shard], classifier.normalization, fabric.autocast, scale, size
    )
    with contextlib.closing(logits_by_batch) as batches:
        for logits, expected in zip(batches, labels.split(size), strict=False):
            if interrupted():
                break
            loss_sum += F.cross_entropy(logits, expected, reduction="sum")
            predicted.append(logits.argmax(1))
    classes = torch.cat([labels[:0], *predicted])
    correct = (classes == labels[: len(classes)]).sum()
    of_class = torch.bincount(classes.cpu(), minlength=len(classifier.class_names))
    loss, all_correct, *predictions = processes.total(
        float(loss_sum), float(correct), *of_class.tolist()
    )
    if sum(predictions) < count:
        return None
    check_finite(math.isnan(loss), str(classifier))
    only = only_class(predictions, data.test_labels, classifier.class_names)
    return Evaluation(loss / count if count else math.nan, round(all_correct), count, scale, only)


def only_class(
    predicted: Sequence[float] | np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> str | None:
    """Return the class that all images were taken for, if they are of several classes.

    ``predicted`` (C,) counts the images taken for each class; ``labels`` (N,) are the true ones.
    """
    if np.count_nonzero(predicted) == 1 and len(np.unique(labels)) > 1:
        return class_names[int(np.argmax(predicted))]
    return None
