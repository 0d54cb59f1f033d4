"""What a trained model makes of the test images: its predictions, its errors, its successes."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from pytorch_vision.data import ImageData
from pytorch_vision.loaders import eval_batches
from pytorch_vision.train import TrainConfig, make_fabric, place

Order = Literal["first", "confident"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Classified images.

    Attributes:
        images: uint8 (N, H, W, 3).
        labels: int64 (N,), the true classes.
        probabilities: float32 (N, C), each row summing to 1.
        indices: int64 (N,), where each image stands in the test set.
        class_names: the C names, by label.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    indices: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """The probability of the predicted class, float32 (N,)."""
        return self.probabilities.max(axis=1, initial=0)

    def select(self, which: np.ndarray) -> "Predictions":
        """Return the chosen predictions, by a boolean mask (N,) or by positions."""
        return replace(
            self,
            images=self.images[which],
            labels=self.labels[which],
            probabilities=self.probabilities[which],
            indices=self.indices[which],
        )


def predict(model: nn.Module, data: ImageData, config: TrainConfig | None = None) -> Predictions:
    """Classify the test images, in order, in the device and precision that they were tested in.

    The model is put on the device, and left in the mode it was in.
    """
    fabric = make_fabric(config or TrainConfig())
    model = place(fabric, model)
    training, rows = model.training, []
    model.eval()
    try:
        with torch.inference_mode(), fabric.autocast():
            for images in eval_batches(data.test_images, *data.mean_and_std, fabric.device):
                logits = model(images).float()
                rows.append(logits.softmax(dim=1).cpu().numpy())
    finally:
        model.train(training)
    return Predictions(
        images=data.test_images,
        labels=data.test_labels,
        probabilities=np.concatenate(rows),
        indices=np.arange(len(data.test_labels)),
        class_names=data.class_names,
    )


def misclassified(
    predictions: Predictions, count: int | None = None, order: Order = "first"
) -> Predictions:
    """Return the images whose predicted class is not the true one.

    Args:
        predictions: what ``predict`` returned.
        count: at most so many; None for all.
        order: "first" in test order, or the most "confident" first.
    """
    return _chosen(predictions, predictions.predicted != predictions.labels, count, order)


def correctly_classified(
    predictions: Predictions, count: int | None = None, order: Order = "first"
) -> Predictions:
    """Return the images whose predicted class is the true one; arguments as above."""
    return _chosen(predictions, predictions.predicted == predictions.labels, count, order)


def _chosen(
    predictions: Predictions, mask: np.ndarray, count: int | None, order: Order
) -> Predictions:
    if order not in ("first", "confident"):
        raise ValueError(f"order is {order!r}, expected 'first' or 'confident'")
    if count is not None and count < 0:
        raise ValueError(f"count is {count}, expected 0 or more")
    chosen = np.flatnonzero(mask)
    if order == "confident":
        chosen = chosen[np.argsort(-predictions.confidence[chosen], kind="stable")]
    return predictions.select(chosen[:count])
