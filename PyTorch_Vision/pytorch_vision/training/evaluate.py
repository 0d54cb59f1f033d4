"""Testing: one forward pass of each test image, without augmentation."""

import contextlib
from collections.abc import Callable
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
    images_at_once,
    inference_machine,
    inference_settings,
    logits_of,
)
from pytorch_vision.runtime import Machine, Processes
from pytorch_vision.runtime.devices import make_fabric, memory_explained


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy of the test images, and how many of them were correctly classified.

    Attributes:
        loss, correct: these two.
        count: of how many images.
        scale: the part of their height and width at which they were shown.
        only: the name of the class that all of them were taken for, if they were, though they
            are of several.
    """

    loss: float
    correct: int
    count: int
    scale: float = 1.0
    only: str | None = None

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.count

    def __str__(self) -> str:
        return (
            f"Test set: Average loss: {self.loss:.4f}, "
            f"Accuracy: {self.correct}/{self.count} ({self.accuracy:.2f}%)"
            + (f" at {self.scale:g} of their size" if self.scale < 1 else "")
            + (f", all taken for {self.only!r}" if self.only is not None else "")
        )


def evaluate(classifier: Classifier, data: ImageData, machine: Machine | None = None) -> Evaluation:
    """Test a classifier on the test images: one forward pass each, no augmentation.

    The network is put on the device and stays there; its layers are left in the mode, and its
    weights in the memory order, that they had.

    Raises:
        MemoryError: the GPU has too little memory.
        ValueError: the data has other classes or another size, or the network does not take
            images of that, or has not one logit for each class.
    """
    classifier.check(data)
    fabric = make_fabric(inference_machine(machine))
    with memory_explained(), inference_settings(fabric.device), classifier.on(fabric) as adapter:
        result = evaluate_on(Processes(fabric), classifier, data, adapter)
        assert result is not None  # nobody interrupts it
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
    """Test a classifier whose network stands on Fabric's device; None if interrupted.

    The images are shown at ``scale`` of their height and width, in batches that take no more
    memory than such of training. Each process tests its part of them; all return the sum.
    """
    fabric, part = processes.fabric, processes.part_of(len(data.test_images))
    sums = torch.zeros(2, device=fabric.device)  # of the losses, and of the correct answers
    labels = torch.from_numpy(data.test_labels[part]).to(fabric.device)
    answers = torch.zeros_like(labels)
    size = images_at_once(data.size, fabric.device, train_batch_size)
    start = 0
    images = data.test_images[part]
    logits_by_batch = logits_of(
        adapter, images, classifier.normalization, fabric.autocast, scale, size
    )
    with contextlib.closing(logits_by_batch) as batches:
        for logits in batches:
            if interrupted():
                break
            expected = labels[start : start + len(logits)]
            sums[0] += F.cross_entropy(logits, expected, reduction="sum")
            answers[start : start + len(logits)] = logits.argmax(1)
            sums[1] += (logits.argmax(1) == expected).sum()
            start += len(logits)
    loss, correct, unseen = processes.total(*sums.tolist(), len(labels) - start)
    if unseen:
        return None
    given = {int(one) for ones in processes.gather(*_ends(answers)) for one in ones if one >= 0}
    alike = len(given) == 1 and len(np.unique(data.test_labels)) > 1
    only = classifier.class_names[given.pop()] if alike else None
    count = len(data.test_images)
    return Evaluation(loss / count, round(correct), count, scale, only)


def _ends(answers: Tensor) -> tuple[int, int]:
    """Return the first and the last class that was given; -1 for none."""
    return (int(answers.min()), int(answers.max())) if len(answers) else (-1, -1)
