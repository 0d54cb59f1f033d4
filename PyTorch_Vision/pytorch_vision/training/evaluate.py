"""Testing: one forward pass of each test image, without augmentation."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pytorch_vision.data import ImageData
from pytorch_vision.models import Classifier
from pytorch_vision.runtime import Machine, Processes
from pytorch_vision.runtime.devices import device_settings, make_fabric, memory_explained, place


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy of the test images, and how many of them were correctly classified.

    Attributes:
        loss, correct: these two.
        count: of how many images.
        scale: the part of their height and width at which they were shown.
    """

    loss: float
    correct: int
    count: int
    scale: float = 1.0

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.count

    def __str__(self) -> str:
        return (
            f"Test set: Average loss: {self.loss:.4f}, "
            f"Accuracy: {self.correct}/{self.count} ({self.accuracy:.2f}%)"
            + (f" at {self.scale:g} of their size" if self.scale < 1 else "")
        )


def evaluate(classifier: Classifier, data: ImageData, machine: Machine | None = None) -> Evaluation:
    """Test a classifier on the test images: one forward pass each, no augmentation.

    The network is put on the device, and left in the mode it was in.

    Raises:
        MemoryError: the GPU has too little memory.
        ValueError: the data has other classes or another size, or the network has not one logit
            for each class.
    """
    classifier.check(data)
    fabric = make_fabric(machine)
    with memory_explained(), device_settings(fabric.device):
        place(fabric, classifier.network)
        classifier.check_outputs(fabric)
        result = evaluate_on(Processes(fabric), classifier, data)
        assert result is not None  # nobody interrupts it
        return result


def evaluate_on(
    processes: Processes,
    classifier: Classifier,
    data: ImageData,
    interrupted: Callable[[], bool] = lambda: False,
    scale: float = 1.0,
) -> Evaluation | None:
    """Test a classifier whose network stands on Fabric's device; None if interrupted.

    The images are shown at ``scale`` of their height and width. Each process tests its part of
    them; all return the sum.
    """
    fabric, part = processes.fabric, processes.part_of(len(data.test_images))
    sums = torch.zeros(2, device=fabric.device)  # of the losses, and of the correct answers
    labels = torch.from_numpy(data.test_labels[part]).to(fabric.device)
    start = 0
    with contextlib.closing(classifier.logits(fabric, data.test_images[part], scale)) as batches:
        for logits in batches:
            if interrupted():
                break
            expected = labels[start : start + len(logits)]
            sums[0] += F.cross_entropy(logits, expected, reduction="sum")
            sums[1] += (logits.argmax(1) == expected).sum()
            start += len(logits)
    loss, correct, unseen = processes.total(*sums.tolist(), len(labels) - start)
    count = len(data.test_images)
    return None if unseen else Evaluation(loss / count, round(correct), count, scale)
