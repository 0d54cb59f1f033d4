"""Testing: one forward pass of each test image, without augmentation."""

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import lightning_fabric
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.data import ImageData, eval_batches
from pytorch_vision.training.config import TrainConfig
from pytorch_vision.training.devices import device_settings, make_fabric, memory_explained, place
from pytorch_vision.training.processes import Processes
from pytorch_vision.training.resizing import resized


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy of the test images, and how many of them were classified rightly.

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


def evaluate(model: nn.Module, data: ImageData, config: TrainConfig | None = None) -> Evaluation:
    """Test a model on the test images: one forward pass each, no augmentation.

    The model is put on the device, and left in the mode it was in.

    Raises:
        MemoryError: the GPU has too little memory.
        ValueError: the model has not one logit for each class.
    """
    fabric = make_fabric(config or TrainConfig())
    with memory_explained(), device_settings(fabric.device):
        check_outputs(fabric, place(fabric, model), data)
        result = evaluate_on(Processes(fabric), model, data)
        assert result is not None  # nobody interrupts it
        return result


def logits_of(
    fabric: lightning_fabric.Fabric,
    model: nn.Module,
    images: np.ndarray,
    mean_and_std: tuple[Sequence[float], Sequence[float]],
    scale: float = 1.0,
) -> Generator[Tensor]:
    """Yield the logits of images, batch by batch, as in a test: without augmentation.

    Args:
        fabric: of ``make_fabric``; its precision is used.
        model: stands on Fabric's device; in evaluation mode while this runs.
        images: uint8 (N, H, W, 3).
        mean_and_std: by which they are normalised.
        scale: the part of their height and width at which they are shown.

    Yields:
        float32 (B, C), on the device.
    """
    training = model.training
    model.eval()
    try:
        for batch in eval_batches(images, *mean_and_std, fabric.device):
            # not around the loop: the caller's code runs in whatever is open at a yield
            with torch.inference_mode(), fabric.autocast():
                logits = model(resized(batch, scale)).float()
            yield logits
    finally:
        model.train(training)


def check_outputs(fabric: lightning_fabric.Fabric, model: nn.Module, data: ImageData) -> None:
    """Raise ValueError unless a model gives one logit for each class of the data.

    Args:
        fabric: of ``make_fabric``.
        model: stands on Fabric's device.
        data: of which one image is shown to the model.
    """
    logits = next(logits_of(fabric, model, data.test_images[:1], data.mean_and_std))
    expected = (1, len(data.class_names))
    if logits.shape != expected:
        raise ValueError(
            f"the network gives {tuple(logits.shape)} for one image, expected {expected}: one "
            f"logit for each class of {data.name}"
        )


def evaluate_on(
    processes: Processes,
    model: nn.Module,
    data: ImageData,
    interrupted: Callable[[], bool] = lambda: False,
    scale: float = 1.0,
) -> Evaluation | None:
    """Test a model that stands on Fabric's device; None if interrupted.

    The images are shown at ``scale`` of their height and width. Each process tests its part of
    them; all return the sum.
    """
    fabric, part = processes.fabric, processes.part_of(len(data.test_images))
    sums = torch.zeros(2, device=fabric.device)  # of the losses, and of the right answers
    labels = torch.from_numpy(data.test_labels[part]).to(fabric.device)
    start = 0
    with contextlib.closing(
        logits_of(fabric, model, data.test_images[part], data.mean_and_std, scale)
    ) as batches:
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
